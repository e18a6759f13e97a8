package raweb

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// kept is an evidence file as a case names it; Here is false when the case
// names a file kept elsewhere.
type kept struct {
	Digest, Name string
	Size         int
	Here         bool
}

func (p *Pages) kept(ctx context.Context, digests []string) (list []kept, err error) {
	for _, d := range digests {
		raw, err := hex.DecodeString(d)
		if err != nil {
			return nil, err
		}
		e, err := p.API.Desk.Store.Evidence(ctx, raw)
		switch {
		case errors.Is(err, ra.NoEvidence):
			list = append(list, kept{Digest: d})
		case err != nil:
			return nil, err
		default:
			list = append(list, kept{d, e.Name, e.Size, true})
		}
	}
	return list, nil
}

// form is a profile as the application form shows it.
type form struct {
	profile.Profile
	Documents []choice
	Values    map[string]string // of the subject, by attribute
	Names     string            // alternative names, one a line
}

// apply is the form of a new application, or of a draft to be corrected. The
// identity number is asked for again: it is sealed and never shown.
func (p *Pages) apply(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		ID       string
		Forms    []form
		Chosen   string
		App      enroll.Application
		CSR      string
		Methods  []choice
		Notices  []choice
		Kept     []kept
		Trouble  string
		Accord   string
		CPS      string
		Defaults bool
	}
	if !who.Holds(access.RAClerk) {
		return "", nil, p.turned(r, who, "ra.draft", casework.NotYours.At("role", casework.NotYours.Clause).Because("起草须由录入员办理"))
	}
	desk := p.API.Desk
	d.Accord, d.CPS, d.Chosen, d.Defaults = desk.Accord, desk.CPS, "person-dual", true
	if id := r.PathValue("id"); id != "" {
		rec, err := desk.Store.Case(r.Context(), id)
		if err != nil {
			return "", nil, err
		}
		if rec.Kind != ra.IssueKind.Name || rec.State != ra.Drafted || rec.CreatedBy != who.ID {
			return "", nil, ra.NotYours.At("id", ra.NotYours.Clause)
		}
		if err := enroll.Decode(rec.Content, &d.App); err != nil {
			return "", nil, err
		}
		d.ID, d.Chosen, d.Defaults = id, d.App.Profile, false
		d.CSR = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: d.App.CSR}))
		if d.Kept, err = p.kept(r.Context(), d.App.Check.Evidence); err != nil {
			return "", nil, err
		}
		for _, e := range slices.Backward(rec.Events) {
			if e.Note != "" {
				d.Trouble = e.Name + "：" + e.Note
				break
			}
		}
	}
	for _, f := range p.API.Profiles() {
		one := form{Profile: f, Documents: choices(identity.Kinds, f.Identity...), Values: map[string]string{"C": "CN"}}
		if f.Name == d.Chosen && d.ID != "" {
			one.Values = map[string]string{}
			for _, a := range d.App.Subject.Attrs() {
				one.Values[a.Type] = strings.TrimPrefix(one.Values[a.Type]+"\n"+a.Value, "\n")
			}
			for _, n := range d.App.SAN {
				one.Names += n.Kind + ":" + n.Value + "\n"
			}
		}
		d.Forms = append(d.Forms, one)
	}
	d.Methods = choices(ra.CheckMethods, "in-person", "entrusted", "remote-video", "official-data", "none")
	for _, n := range ra.Notices {
		d.Notices = append(d.Notices, choice{n.Code, n.Text})
	}
	title := "新申请"
	if d.ID != "" {
		title = "修改草稿 " + d.ID
	}
	return title, d, nil
}

// turned records a refusal of authority met while reading a page.
func (p *Pages) turned(r *http.Request, who access.Person, act string, err error) error {
	return p.API.Desk.Turned(r.Context(), who, act, "", source(r), err)
}

func (p *Pages) sheets(r *http.Request, _ access.Person) (string, any, error) {
	var d struct {
		Batches []ra.Batch
		Next    string
	}
	list, err := p.API.Desk.Store.Batches(r.Context(), r.URL.Query().Get("after"), pageSize+1)
	if len(list) > pageSize {
		list = list[:pageSize]
		d.Next = list[pageSize-1].ID
	}
	d.Batches = list
	return "批量录入", d, err
}

// sheet is a batch with its rows; a part of it refreshes while work goes on.
func (p *Pages) sheet(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		raapi.BatchView
		Good, Bad int
		All, Past int // cases, and those that are issued or ended
		States    []stateCount
		Submit    bool
		Moving    bool
		Rows      []ra.Row
	}
	v, err := p.API.Batch(r.Context(), r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	d.BatchView = v
	for _, row := range v.Rows {
		if row.Refusal != nil {
			d.Bad++
			d.Rows = append(d.Rows, row)
		} else {
			d.Good++
		}
	}
	for _, s := range []casework.State{ra.Drafted, ra.Submitted, ra.Approved, ra.Issued, ra.Delivered, ra.Rejected, ra.Revoked, ra.Discarded} {
		if n := v.Counts[s]; n > 0 {
			d.States = append(d.States, stateCount{string(s), ra.IssueKind.StateTitle(s), n})
			d.All += n
			if s != ra.Drafted && s != ra.Submitted && s != ra.Approved {
				d.Past += n
			}
		}
	}
	d.Submit = v.By == who.ID && len(v.Waiting) > 0
	d.Moving = v.Counts[ra.Approved] > 0
	return "批次 " + v.ID, d, nil
}

type stateCount struct {
	State, Title string
	N            int
}
