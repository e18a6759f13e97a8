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
	Unit      string            // credit code of the unit
}

// sheetOf is what the application form shows.
type sheetOf struct {
	ID      string // of a draft to be corrected
	Forms   []form
	Chosen  string // profile
	App     enroll.Application
	CSR     string
	Methods []choice
	Notices []choice
	Kept    []kept
	Trouble string // why it was returned
	Accord  string
	CPS     string
	Purpose *ra.Purpose // of a certificate that follows another
	Old     raapi.CaseLine
	Causes  []choice
	Whole   bool            // subject and document are asked for
	Unit    *raapi.UnitLine // that fields are taken from
}

// apply is the form of a new application, of one that follows a certificate, or
// of a draft to be corrected. The identity number is sealed and never shown.
func (p *Pages) apply(r *http.Request, who access.Person) (string, any, error) {
	if !who.Holds(access.RAClerk) {
		return "", nil, p.turned(r, who, "ra.draft", casework.NotYours.At("role", casework.NotYours.Clause).Because("起草须由录入员办理"))
	}
	desk := p.API.Desk
	d := sheetOf{ID: r.PathValue("id"), Accord: desk.Accord, CPS: desk.CPS, Chosen: "person-dual", Whole: true}
	if err := p.correct(r, &d, who); err != nil {
		return "", nil, err
	}
	if err := p.follow(r, &d, who); err != nil {
		return "", nil, err
	}
	if err := p.ofUnit(r, &d); err != nil {
		return "", nil, err
	}
	for _, f := range p.API.Profiles() {
		if d.Purpose == nil || f.Name == d.Chosen {
			d.Forms = append(d.Forms, d.form(f))
		}
	}
	d.Causes = choices(ra.Causes, "change", "fault")
	d.Methods = choices(ra.CheckMethods, "in-person", "entrusted", "remote-video", "official-data", "none")
	for _, n := range ra.Notices {
		d.Notices = append(d.Notices, choice{n.Code, n.Text})
	}
	switch {
	case d.ID != "":
		return "修改草稿 " + d.ID, d, nil
	case d.Purpose != nil:
		return d.Purpose.Title, d, nil
	}
	return "新申请", d, nil
}

// correct fills the form from a draft of the person's own.
func (p *Pages) correct(r *http.Request, d *sheetOf, who access.Person) error {
	ctx := r.Context()
	if d.ID == "" {
		return nil
	}
	rec, err := p.API.Desk.Store.Case(ctx, d.ID)
	if err != nil {
		return err
	}
	if !ra.Issues(rec.Kind) || rec.State != ra.Drafted || rec.CreatedBy != who.ID {
		return ra.NotYours.At("id", ra.NotYours.Clause)
	}
	if err := p.API.Desk.SeenCase(ctx, who, ra.ByShow, rec, source(r)); err != nil {
		return err
	}
	if err := enroll.Decode(rec.Content, &d.App); err != nil {
		return err
	}
	d.Chosen = d.App.Profile
	d.CSR = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: d.App.CSR}))
	for _, e := range slices.Backward(rec.Events) {
		if e.Note != "" {
			d.Trouble = e.Name + "：" + e.Note
			break
		}
	}
	d.Kept, err = p.kept(ctx, d.App.Check.Evidence)
	return err
}

// follow fills the form from the certificate it is to follow, if there is one.
func (p *Pages) follow(r *http.Request, d *sheetOf, who access.Person) error {
	purpose, serial := d.App.For, d.App.Replaces
	if d.ID == "" {
		purpose, serial = r.URL.Query().Get("for"), strings.ToUpper(r.URL.Query().Get("serial"))
	}
	found, ok := ra.PurposeOf(purpose)
	if !ok {
		return nil
	}
	old, err := p.API.Desk.Store.BySerial(r.Context(), serial)
	if err != nil {
		return err
	}
	d.Purpose, d.Old, d.Chosen, d.Whole = &found, p.API.Line(old), old.Profile, found.Subject
	if d.ID != "" {
		return nil
	}
	if err := p.API.Desk.SeenCase(r.Context(), who, ra.ByShow, old, source(r)); err != nil {
		return err
	}
	if err := enroll.Decode(old.Content, &d.App); err != nil {
		return err
	}
	if found.Subject {
		d.App.Cause = r.URL.Query().Get("cause")
	}
	d.App.Check, d.App.Notices, d.App.Accord, d.App.Days = enroll.IdentityCheck{}, nil, "", 0
	return nil
}

// form shows one profile, with what is known of the subject.
func (d *sheetOf) form(f profile.Profile) form {
	one := form{Profile: f, Documents: choices(identity.Kinds, f.Identity...), Values: map[string]string{"C": "CN"}}
	if u := d.Unit; u != nil {
		one.Values["O"], one.Values["ST"], one.Values["L"] = u.Name, u.ST, u.L
		one.Unit = u.Code
	}
	if f.Name != d.Chosen || d.ID == "" && d.Purpose == nil {
		return one
	}
	one.Values = map[string]string{}
	for _, a := range d.App.Subject.Attrs() {
		one.Values[a.Type] = strings.TrimPrefix(one.Values[a.Type]+"\n"+a.Value, "\n")
	}
	for _, n := range d.App.SAN {
		one.Names += n.Kind + ":" + n.Value + "\n"
	}
	return one
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
	list, err := p.API.Desk.Store.Batches(r.Context(), nil, r.URL.Query().Get("after"), pageSize+1)
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
		Pause     bool // there is something to be held back
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
	d.Moving = v.Counts[ra.Approved] > 0 && !v.Held
	open := v.Counts[ra.Drafted] + v.Counts[ra.Submitted] + v.Counts[ra.Approved]
	d.Pause = v.Held || open > 0 && (who.Holds(access.RAClerk) || who.Holds(access.RAReviewer) || who.Holds(access.RAAdmin))
	return "批次 " + v.ID, d, nil
}

type stateCount struct {
	State, Title string
	N            int
}
