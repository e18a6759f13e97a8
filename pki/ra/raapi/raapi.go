// Package raapi is the registration desk's programming interface. (注册接口)
package raapi

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/sheet"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// API offers the desk's verbs.
type API struct {
	Desk  *ra.Registrar
	Chain func(der []byte) [][]byte // above a certificate, or the first CA key's: issuing CA first, then root; further chains follow
	// Published returns how far the public ledger is and the lists it names.
	Published  func(ctx context.Context) (Published, error)
	RemindDays []int          // before the end, rising; what the pages say of reminders
	Books      *ra.Reconciler // the desk's figures against the CA's
	// Waits tells when a certificate comes into the directory, false when it is
	// there or never will be; nil knows of none.
	Waits   func(serial string) (time.Time, bool)
	Dropped string // folder the reminders are put into
	// Bind returns the evidence file about a case's certificates and its name; the
	// reading is on the trail by then.
	Bind func(ctx context.Context, id string, who access.Person, source string) (name string, data []byte, err error)
}

// CaseLine is a case in a list.
type CaseLine struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	KindTitle  string    `json:"kind_title"`
	State      string    `json:"state"`
	StateTitle string    `json:"state_title"`
	Title      string    `json:"title"`
	Profile    string    `json:"profile"`
	Batch      string    `json:"batch,omitempty"`
	Row        int       `json:"row,omitempty"`
	CreatedBy  string    `json:"created_by"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	SignSerial string    `json:"sign_serial,omitempty"`
	EncSerial  string    `json:"enc_serial,omitempty"`
}

// EventLine is one step of a case's history.
type EventLine struct {
	At        time.Time `json:"at"`
	Who       string    `json:"who"`
	Name      string    `json:"name"`
	Did       string    `json:"did"`
	Title     string    `json:"title"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Note      string    `json:"note,omitempty"`
	Statement string    `json:"statement,omitempty"`
	Signature []byte    `json:"signature,omitempty"`
	Cert      []byte    `json:"cert,omitempty"`
}

// CaseView is a case whole.
type CaseView struct {
	CaseLine
	Application *enroll.Application `json:"application,omitempty"`
	Revocation  *enroll.Revocation  `json:"revocation,omitempty"`
	Unit        *ra.UnitChange      `json:"unit,omitempty"`
	Events      []EventLine         `json:"events"`
	Body        string              `json:"body,omitempty"`  // registration body that took it
	Taker       string              `json:"taker,omitempty"` // its name, and the institution in whose name it acts
	May         []string            `json:"may"`             // acts open to the person asking
	Trouble     *refusal.Report     `json:"trouble,omitempty"`
	PublishAt   *time.Time          `json:"publish_at,omitempty"` // when its certificates come into the directory, if that is still to be
	Sign        []byte              `json:"sign,omitempty"`
	Enc         []byte              `json:"enc,omitempty"`
}

// Line shows a case in a list, natural persons masked.
func (a *API) Line(r ra.Record) CaseLine {
	r.Title = a.Desk.Called(r)
	return line(r)
}

func line(r ra.Record) CaseLine {
	k := ra.Kinds[r.Kind]
	return CaseLine{r.ID, r.Kind, k.Title, string(r.State), k.StateTitle(r.State), r.Title, r.Profile, r.Batch, r.Row,
		string(r.CreatedBy), r.CreatedAt, r.UpdatedAt, r.SignSerial, r.EncSerial}
}

// View shows a case whole to a person, which is on the trail first.
func (a *API) View(ctx context.Context, r ra.Record, who access.Person, source string) (CaseView, error) {
	if err := a.Desk.SeenCase(ctx, who, ra.ByShow, r, source); err != nil {
		return CaseView{}, err
	}
	k := ra.Kinds[r.Kind]
	taker, err := a.Desk.TakerOf(ctx, r.Body)
	if err != nil {
		return CaseView{}, err
	}
	v := CaseView{CaseLine: line(r), Body: r.Body, Taker: taker, Trouble: r.Trouble, Sign: r.Reply.Sign, Enc: r.Reply.Enc, Events: []EventLine{}, May: []string{}}
	v.PublishAt = a.Publishes(r.SignSerial)
	for _, e := range r.Events {
		v.Events = append(v.Events, EventLine{e.At, string(e.Who), e.Name, string(e.Did), k.ActTitle(e.Did), string(e.From), string(e.To), e.Note,
			string(e.Signed.Text), e.Signed.Signature, e.Signed.Cert})
	}
	for _, do := range k.May(r.Case, who) {
		if !ra.Whole(do) && (!ra.Own(do) || r.CreatedBy == who.ID || r.State == ra.Asked) {
			v.May = append(v.May, "ra."+string(do))
		}
	}
	if ra.AboutStatus(r.Kind) {
		v.Revocation = new(enroll.Revocation)
		return v, enroll.Decode(r.Content, v.Revocation)
	}
	if r.Kind == ra.UnitKind.Name {
		c, err := ra.UnitChangeOf(r.Content)
		v.Unit = &c
		return v, err
	}
	v.Application = new(enroll.Application)
	return v, enroll.Decode(r.Content, v.Application)
}

// Publishes is when a certificate comes into the directory; nil when it is there
// or never will be. (将于何时发布)
func (a *API) Publishes(serial string) *time.Time {
	if a.Waits == nil || serial == "" {
		return nil
	}
	if at, ok := a.Waits(serial); ok {
		return &at
	}
	return nil
}

// Reader checks that somebody may look at cases.
func (a *API) Reader(ctx context.Context, who access.Person, act, source string) (access.Person, error) {
	if slices.ContainsFunc(access.RA.Roles, who.Holds) {
		return who, nil
	}
	err := access.WrongRole.At("role", access.WrongRole.Clause)
	return who, a.Desk.Turned(ctx, who, act, "", source, err)
}

// For is the interface as somebody sees it: the desk of their registration body.
func (a *API) For(ctx context.Context, who access.Person) (*API, error) {
	desk, err := a.Desk.For(ctx, who)
	if err != nil {
		return nil, err
	}
	c := *a
	c.Desk = desk
	return &c, nil
}

// handle adds an operation that works on the desk as the person sees it.
func handle[I, O any](a *API, s *api.Site, op api.Op, f func(ctx context.Context, a *API, in *I) (*O, error)) {
	api.Handle(s, op, func(ctx context.Context, in *I) (*O, error) {
		own, err := a.For(ctx, api.Person(ctx))
		if err != nil {
			return nil, err
		}
		return f(ctx, own, in)
	})
}

// Mount adds the operations to a site.
func (a *API) Mount(s *api.Site) {
	a.drafts(s)
	a.acts(s)
	a.lists(s)
	a.evidence(s)
	a.evidenceFile(s)
	a.personal(s)
	a.bulks(s)
	a.certificates(s)
	a.batches(s)
	a.status(s)
	a.reminders(s)
	a.guides(s)
	a.units(s)
	a.bodies(s)
	a.tally(s)
	a.campaigns(s)
	a.carry(s)
}

func (a *API) drafts(s *api.Site) {
	type formIn struct{ RawBody []byte }
	handle(a, s, api.Op{ID: "draft", Method: http.MethodPost, Path: "/api/v1/drafts", Summary: "起草或修改申请（JSON 正文见手册）", MaxBody: 16 << 20},
		func(ctx context.Context, a *API, in *formIn) (*api.Body[CaseLine], error) {
			f, err := ra.ParseForm(in.RawBody)
			if err != nil {
				return nil, err
			}
			rec, err := a.Desk.Draft(ctx, f, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.draft", "", api.Source(ctx), err)
			}
			return &api.Body[CaseLine]{Body: a.Line(rec)}, nil
		})
	type sheetIn struct {
		Name    string `query:"name" doc:"文件名"`
		RawBody []byte
	}
	handle(a, s, api.Op{ID: "sheet", Method: http.MethodPost, Path: "/api/v1/sheets", Summary: "批量录入（XLSX、CSV 或申请的 JSON 数组）", MaxBody: sheet.FileMax + 1024},
		func(ctx context.Context, a *API, in *sheetIn) (*api.Body[ra.Batch], error) {
			b, err := a.Desk.DraftSheet(ctx, in.Name, in.RawBody, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.sheet", "", api.Source(ctx), err)
			}
			return &api.Body[ra.Batch]{Body: b}, nil
		})
}

func (a *API) acts(s *api.Site) {
	type orderIn struct{ Body ra.Order }
	handle(a, s, api.Op{ID: "act-prepare", Method: http.MethodPost, Path: "/api/v1/acts/prepare", Summary: "操作声明（待签名）"},
		func(ctx context.Context, a *API, in *orderIn) (*api.Body[api.Prepared], error) {
			who := api.Person(ctx)
			p, err := a.Desk.Plan(ctx, in.Body, who)
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, in.Body.Act, cmp.Or(first(in.Body.IDs), in.Body.Bulk), api.Source(ctx), err)
			}
			out := api.PreparedOf(a.Desk.Statement(p, who))
			out.ID = p.Order.ID
			return &api.Body[api.Prepared]{Body: out}, nil
		})
	type actIn struct {
		Body struct {
			Order ra.Order     `json:"order"`
			Claim access.Claim `json:"claim"`
		}
	}
	type actOut struct {
		Cases []CaseLine `json:"cases"`
	}
	handle(a, s, api.Op{ID: "act", Method: http.MethodPost, Path: "/api/v1/acts", Summary: "办理（附签名）"},
		func(ctx context.Context, a *API, in *actIn) (*api.Body[actOut], error) {
			who, o := api.Person(ctx), in.Body.Order
			p, err := a.Desk.Plan(ctx, o, who)
			var done []ra.Record
			if err == nil {
				done, err = a.Desk.Do(ctx, p, in.Body.Claim, api.Source(ctx))
			}
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, o.Act, cmp.Or(first(o.IDs), o.Bulk), api.Source(ctx), err)
			}
			out := actOut{Cases: []CaseLine{}}
			for _, r := range done {
				out.Cases = append(out.Cases, a.Line(r))
			}
			return &api.Body[actOut]{Body: out}, nil
		})
	type idIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "package", Method: http.MethodGet, Path: "/api/v1/cases/{id}/package", Summary: "下载包"},
		func(ctx context.Context, a *API, in *idIn) (*api.Body[ra.Package], error) {
			rec, err := a.Desk.Delivery(ctx, in.ID, api.Person(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.package", in.ID, api.Source(ctx), err)
			}
			p, err := a.Desk.Package(rec, a.above(rec))
			return &api.Body[ra.Package]{Body: p}, err
		})
	handle(a, s, api.Op{ID: "package-zip", Method: http.MethodGet, Path: "/api/v1/cases/{id}/package.zip", Summary: "下载包（ZIP）"},
		func(ctx context.Context, a *API, in *idIn) (*api.File, error) {
			rec, err := a.Desk.Delivery(ctx, in.ID, api.Person(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.package", in.ID, api.Source(ctx), err)
			}
			p, err := a.Desk.Package(rec, a.above(rec))
			if err != nil {
				return nil, err
			}
			data, err := p.Zip()
			return api.Attachment(in.ID+".zip", "application/zip", data), err
		})
}

// above is what a package carries above its certificates: the chain of the
// signing certificate, and what else the encryption certificate hangs on, which
// stays where it was issued when its key is recovered under a later CA key.
func (a *API) above(rec ra.Record) [][]byte {
	chain := slices.Clone(a.Chain(rec.Reply.Sign))
	if rec.Reply.Enc == nil {
		return chain
	}
	for _, der := range a.Chain(rec.Reply.Enc) {
		if !slices.ContainsFunc(chain, func(have []byte) bool { return bytes.Equal(have, der) }) {
			chain = append(chain, der)
		}
	}
	return chain
}

func first(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// Page is one page of cases; Next is what to pass as after.
type Page struct {
	Cases []CaseLine `json:"cases"`
	Next  string     `json:"next,omitempty"`
}

func (a *API) lists(s *api.Site) {
	handle(a, s, api.Op{ID: "cases", Method: http.MethodGet, Path: "/api/v1/cases", Summary: "查询案件"},
		func(ctx context.Context, a *API, in *Search) (*api.Body[Page], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			page, err := a.Find(ctx, in.query())
			return &api.Body[Page]{Body: page}, err
		})
	type idIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "case", Method: http.MethodGet, Path: "/api/v1/cases/{id}", Summary: "案件详情"},
		func(ctx context.Context, a *API, in *idIn) (*api.Body[CaseView], error) {
			who, err := a.Reader(ctx, api.Person(ctx), "ra.show", api.Source(ctx))
			if err != nil {
				return nil, err
			}
			rec, err := a.Desk.Store.Case(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			v, err := a.View(ctx, rec, who, api.Source(ctx))
			return &api.Body[CaseView]{Body: v}, err
		})
	handle(a, s, api.Op{ID: "profiles", Method: http.MethodGet, Path: "/api/v1/profiles", Summary: "证书模板"},
		func(_ context.Context, a *API, _ *struct{}) (*api.Body[[]profile.Profile], error) {
			return &api.Body[[]profile.Profile]{Body: a.Profiles()}, nil
		})
	type counts struct {
		Counts map[string]map[casework.State]int `json:"counts"`
	}
	handle(a, s, api.Op{ID: "counts", Method: http.MethodGet, Path: "/api/v1/counts", Summary: "各状态件数"},
		func(ctx context.Context, a *API, _ *struct{}) (*api.Body[counts], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			c, err := a.Desk.Store.Counts(ctx, nil)
			return &api.Body[counts]{Body: counts{c}}, err
		})
}

// Profiles lists those that can be applied for, by name.
func (a *API) Profiles() (list []profile.Profile) {
	for _, p := range a.Desk.InForce() {
		if !p.Internal {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(x, y profile.Profile) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// Find lists cases. A whole number of an institution finds its cases by blind
// index; that of a person is no text to search for.
func (a *API) Find(ctx context.Context, q ra.Query) (Page, error) {
	if q.Limit <= 0 || q.Limit > ra.PageMax {
		q.Limit = 50
	}
	q, err := a.whole(q)
	if err != nil {
		return Page{}, err
	}
	want := q.Limit
	q.Limit++
	list, err := a.Desk.Store.Find(ctx, q)
	if err == nil && len(list) == 0 && q.Blind != nil && q.Text != "" {
		q.Blind = nil
		list, err = a.Desk.Store.Find(ctx, q)
	}
	if err != nil {
		return Page{}, err
	}
	p := Page{Cases: []CaseLine{}}
	for i, r := range list {
		if i == want {
			p.Next = list[i-1].ID
			break
		}
		p.Cases = append(p.Cases, a.Line(r))
	}
	return p, nil
}
