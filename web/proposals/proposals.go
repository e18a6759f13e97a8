// Package proposals is the programming interface of changes and people, the
// same in every system. (变更接口)
package proposals

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/web/api"
)

// API offers a system's changes and its register of people.
type API struct {
	Desk   *proposal.Desk
	People *access.People
}

// MatterLine is a change somebody may propose.
type MatterLine struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Clause  string `json:"clause"`
	Confirm string `json:"confirm"` // title of the role that must agree; empty if one signature is enough

	Fields  []proposal.Field  `json:"fields"`
	Current map[string]string `json:"current,omitempty"`
}

// ChangeLine is a proposal in a list.
type ChangeLine struct {
	ID         string    `json:"id"`
	Matter     string    `json:"matter"`
	MatterName string    `json:"matter_title"`
	State      string    `json:"state"`
	StateTitle string    `json:"state_title"`
	Title      string    `json:"title"`
	By         string    `json:"by"`
	At         time.Time `json:"at"`
	Updated    time.Time `json:"updated"`
}

// ChangeView is a proposal whole.
type ChangeView struct {
	ChangeLine
	Content json.RawMessage `json:"content"`
	Lines   []proposal.Line `json:"lines"`
	Events  []ChangeEvent   `json:"events"`
	May     []string        `json:"may"`
	Shares  bool            `json:"shares"` // a release carries the person's own share
	Trouble *refusal.Report `json:"trouble,omitempty"`
	Result  []byte          `json:"result,omitempty"`
}

// ChangeEvent is one step of a proposal's history.
type ChangeEvent struct {
	At        time.Time `json:"at"`
	Who       string    `json:"who"`
	Name      string    `json:"name"`
	Did       string    `json:"did"`
	Title     string    `json:"title"`
	Note      string    `json:"note,omitempty"`
	Statement string    `json:"statement,omitempty"`
	Signature []byte    `json:"signature,omitempty"`
	Cert      []byte    `json:"cert,omitempty"`
}

// PersonLine is somebody on the register.
type PersonLine struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	RoleTitle string     `json:"role_title"`
	Serial    string     `json:"serial"`
	NotAfter  time.Time  `json:"not_after"`
	State     string     `json:"state"` // active, frozen, expired, ended
	Ended     *time.Time `json:"ended,omitempty"`
}

func (a *API) line(r proposal.Record) ChangeLine {
	l := ChangeLine{ID: r.ID, Matter: r.Kind, MatterName: r.Kind, State: string(r.State), StateTitle: string(r.State), Title: r.Title, By: string(r.CreatedBy), At: r.CreatedAt, Updated: r.UpdatedAt}
	if m, err := a.Desk.Matter(r.Kind); err == nil {
		l.MatterName, l.StateTitle = m.Title, m.Kind().StateTitle(r.State)
	}
	return l
}

func (a *API) view(ctx context.Context, r proposal.Record, who access.Person) ChangeView {
	v := ChangeView{ChangeLine: a.line(r), Content: r.Content, Lines: []proposal.Line{}, Events: []ChangeEvent{}, May: []string{}, Trouble: r.Trouble, Result: r.Result}
	m, err := a.Desk.Matter(r.Kind)
	if err != nil {
		return v
	}
	v.Shares = m.Accept != nil
	if shown, _ := m.Read(ctx, r.Content); shown.Lines != nil { // refused once it is carried out, but still to be read
		v.Lines = shown.Lines
	}
	for _, e := range r.Events {
		v.Events = append(v.Events, ChangeEvent{e.At, string(e.Who), e.Name, string(e.Did), m.Kind().ActTitle(e.Did), e.Note, string(e.Signed.Text), e.Signed.Signature, e.Signed.Cert})
	}
	for _, act := range a.Desk.May(r, who) {
		v.May = append(v.May, string(act))
	}
	return v
}

// Mount adds the operations to a site.
func (a *API) Mount(s *api.Site) {
	a.acts(s)
	a.lists(s)
	a.register(s)
	a.result(s)
}

func (a *API) acts(s *api.Site) {
	type changeOrder proposal.Order // a desk may have orders of another kind
	type orderIn struct{ Body changeOrder }
	type changePrepared struct {
		api.Prepared
		Lines []proposal.Line `json:"lines"`
	}
	api.Handle(s, api.Op{ID: "proposal-prepare", Method: http.MethodPost, Path: "/api/v1/proposals/prepare", Summary: "变更的声明（待签名）"},
		func(ctx context.Context, in *orderIn) (*api.Body[changePrepared], error) {
			who, o := api.Person(ctx), proposal.Order(in.Body)
			p, err := a.Desk.Plan(ctx, o, who)
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, o, api.Source(ctx), err)
			}
			out := changePrepared{api.PreparedOf(a.Desk.Statement(p, who)), p.Shown.Lines}
			out.ID = p.Order.ID
			return &api.Body[changePrepared]{Body: out}, nil
		})
	type changeAct struct {
		Body struct {
			Order changeOrder  `json:"order"`
			Claim access.Claim `json:"claim"`
		}
	}
	api.Handle(s, api.Op{ID: "proposal-act", Method: http.MethodPost, Path: "/api/v1/proposals", Summary: "提议、批准或撤回变更（附签名）"},
		func(ctx context.Context, in *changeAct) (*api.Body[ChangeLine], error) {
			who, o := api.Person(ctx), proposal.Order(in.Body.Order)
			p, err := a.Desk.Plan(ctx, o, who)
			var r proposal.Record
			if err == nil {
				r, err = a.Desk.Do(ctx, p, in.Body.Claim, api.Source(ctx))
			}
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, o, api.Source(ctx), err)
			}
			return &api.Body[ChangeLine]{Body: a.line(r)}, nil
		})
}

// ChangePage is one page of proposals; Next is what to pass as after.
type ChangePage struct {
	Proposals []ChangeLine `json:"proposals"`
	Next      string       `json:"next,omitempty"`
}

func (a *API) lists(s *api.Site) {
	api.Handle(s, api.Op{ID: "matters", Method: http.MethodGet, Path: "/api/v1/matters", Summary: "本人可以提议的变更"},
		func(ctx context.Context, _ *struct{}) (*api.Body[[]MatterLine], error) {
			list := []MatterLine{}
			for _, m := range a.Desk.Offers(api.Person(ctx)) {
				l := MatterLine{Name: m.Name, Title: m.Title, Clause: m.Clause, Fields: m.Fields}
				if m.Confirm != "" {
					l.Confirm = m.Confirm.Title()
				}
				if m.Current != nil {
					var err error
					if l.Current, err = m.Current(ctx); err != nil {
						return nil, err
					}
				}
				list = append(list, l)
			}
			return &api.Body[[]MatterLine]{Body: list}, nil
		})
	type find struct {
		State  string `query:"state"`
		Matter string `query:"matter"`
		After  string `query:"after"`
		Limit  int    `query:"limit" maximum:"200"`
	}
	api.Handle(s, api.Op{ID: "proposals", Method: http.MethodGet, Path: "/api/v1/proposals", Summary: "变更清单"},
		func(ctx context.Context, in *find) (*api.Body[ChangePage], error) {
			want := in.Limit
			if want <= 0 || want > 199 {
				want = 50
			}
			list, err := a.Desk.Find(ctx, proposal.Query{State: casework.State(in.State), Matter: in.Matter, After: in.After, Limit: want + 1})
			p := ChangePage{Proposals: []ChangeLine{}}
			for i, r := range list {
				if i == want {
					p.Next = list[i-1].ID
					break
				}
				p.Proposals = append(p.Proposals, a.line(r))
			}
			return &api.Body[ChangePage]{Body: p}, err
		})
	type changeIn struct {
		ID string `path:"id"`
	}
	api.Handle(s, api.Op{ID: "proposal", Method: http.MethodGet, Path: "/api/v1/proposals/{id}", Summary: "变更详情"},
		func(ctx context.Context, in *changeIn) (*api.Body[ChangeView], error) {
			r, err := a.Desk.Get(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &api.Body[ChangeView]{Body: a.view(ctx, r, api.Person(ctx))}, nil
		})
}

// result hands out what came of a proposal, as a file.
func (a *API) result(s *api.Site) {
	type idIn struct {
		ID string `path:"id"`
	}
	api.Handle(s, api.Op{ID: "proposal-result", Method: http.MethodGet, Path: "/api/v1/proposals/{id}/result", Summary: "变更的结果（文件）"},
		func(ctx context.Context, in *idIn) (*api.File, error) {
			r, err := a.Desk.Get(ctx, in.ID)
			name := r.ID + ".json"
			if bytes.HasPrefix(r.Result, []byte("-----BEGIN ")) {
				name = r.ID + ".pem"
			}
			return api.Attachment(name, "application/octet-stream", r.Result), err
		})
}

func (a *API) register(s *api.Site) {
	api.Handle(s, api.Op{ID: "people", Method: http.MethodGet, Path: "/api/v1/people", Summary: "人员登记"},
		func(ctx context.Context, _ *struct{}) (*api.Body[[]PersonLine], error) {
			all, err := a.People.All(ctx)
			list := []PersonLine{}
			for _, p := range all {
				list = append(list, personLine(p, s.Now()))
			}
			return &api.Body[[]PersonLine]{Body: list}, err
		})
	type changeIn struct {
		ID string `path:"id"`
	}
	api.Handle(s, api.Op{ID: "person-cert", Method: http.MethodGet, Path: "/api/v1/people/{id}/cert", Summary: "人员证书（PEM）"},
		func(ctx context.Context, in *changeIn) (*api.File, error) {
			p, err := a.People.Current(ctx, access.PersonID(in.ID))
			if errors.Is(err, access.NoSuchPerson) {
				err = NoPerson.At("id", NoPerson.Clause).Because("%.40q", in.ID)
			}
			return api.Attachment(in.ID+".pem", "application/x-pem-file", cert.PEM(p.Cert)), err
		})
}

func personLine(p access.Person, now time.Time) PersonLine {
	l := PersonLine{ID: string(p.ID), Name: p.Name, Serial: p.Serial, NotAfter: p.NotAfter, State: "active"}
	if len(p.Roles) > 0 {
		l.Role, l.RoleTitle = string(p.Roles[0]), p.Roles[0].Title()
	}
	switch {
	case !p.Ended.IsZero():
		l.State, l.Ended = "ended", &p.Ended
	case p.Disabled:
		l.State = "frozen"
	case now.After(p.NotAfter):
		l.State = "expired"
	}
	return l
}
