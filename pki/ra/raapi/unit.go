package raapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/format/sheet"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// UnitLine is a unit as lists show it, its people masked.
type UnitLine struct {
	Code        string    `json:"code"`
	Name        string    `json:"name"`
	ST          string    `json:"ST,omitempty"`
	L           string    `json:"L,omitempty"`
	Status      string    `json:"status"` // good, suspended, expired
	StatusTitle string    `json:"status_title"`
	Why         string    `json:"why,omitempty"`
	Agent       ra.Agent  `json:"agent"`
	Letter      ra.Letter `json:"letter"`
	Case        string    `json:"case"` // the change that made it what it is
	At          time.Time `json:"at"`
}

var unitStatus = map[string]string{"good": "正常", "suspended": "已停用", "expired": "授权书不在有效期"}

// UnitPage is one page of units; Next is what to pass as after.
type UnitPage struct {
	Units []UnitLine `json:"units"`
	Next  string     `json:"next,omitempty"`
}

// UnitView is a unit with its history.
type UnitView struct {
	UnitLine
	History []CaseLine `json:"history"`
}

func (a *API) unitLine(u ra.Unit) UnitLine {
	s := a.Desk.UnitStatus(u)
	return UnitLine{u.Code, u.Name, u.ST, u.L, s, unitStatus[s], u.Why, u.Agent, u.Letter, u.Case, u.At}
}

// Units lists a page of units.
func (a *API) Units(ctx context.Context, q ra.UnitQuery) (UnitPage, error) {
	if q.Limit <= 0 || q.Limit >= ra.PageMax {
		q.Limit = 50
	}
	want := q.Limit
	q.Limit++
	list, err := a.Desk.FindUnits(ctx, q)
	p := UnitPage{Units: []UnitLine{}}
	for i, u := range list {
		if i == want {
			p.Next = list[i-1].Code
			break
		}
		p.Units = append(p.Units, a.unitLine(u))
	}
	return p, err
}

// Unit shows one with the changes that were asked for.
func (a *API) Unit(ctx context.Context, code string) (UnitView, error) {
	u, err := a.Desk.Store.Unit(ctx, strings.ToUpper(code))
	if err != nil {
		return UnitView{}, err
	}
	v := UnitView{UnitLine: a.unitLine(u), History: []CaseLine{}}
	list, err := a.Desk.Store.Find(ctx, ra.Query{Kind: ra.UnitKind.Name, Blind: a.Desk.Blind(u.Code), Limit: ra.PageMax})
	for _, r := range list {
		v.History = append(v.History, line(r))
	}
	return v, err
}

func (a *API) unitChanges(s *api.Site) {
	type formIn struct{ RawBody []byte }
	handle(a, s, api.Op{ID: "unit-draft", Method: http.MethodPost, Path: "/api/v1/units/drafts", Summary: "起草单位登记、变更、停用或恢复（JSON 正文见手册；提交和审核见 /api/v1/acts）", MaxBody: ra.FormMax + 1024},
		func(ctx context.Context, a *API, in *formIn) (*api.Body[CaseLine], error) {
			f, err := ra.ParseUnit(in.RawBody)
			if err != nil {
				return nil, err
			}
			rec, err := a.Desk.DraftUnit(ctx, f, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.unit.draft", "", api.Source(ctx), err)
			}
			return &api.Body[CaseLine]{Body: a.Line(rec)}, nil
		})
	type sheetIn struct {
		Name    string `query:"name" doc:"文件名"`
		RawBody []byte
	}
	handle(a, s, api.Op{ID: "unit-sheet", Method: http.MethodPost, Path: "/api/v1/units/sheets", Summary: "批量登记单位（XLSX 或 CSV），逐行答复", MaxBody: sheet.FileMax + 1024},
		func(ctx context.Context, a *API, in *sheetIn) (*api.Body[ra.Batch], error) {
			b, err := a.Desk.DraftUnits(ctx, in.Name, in.RawBody, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.unit.draft", "", api.Source(ctx), err)
			}
			return &api.Body[ra.Batch]{Body: b}, nil
		})
}

// unitSearch are the parameters of a list of units.
type unitSearch struct {
	Q      string `query:"q" doc:"单位名称或统一社会信用代码"`
	Status string `query:"status" enum:"good,suspended,expired"`
	After  string `query:"after"`
	Limit  int    `query:"limit" maximum:"199"`
}

func (in unitSearch) query() ra.UnitQuery {
	return ra.UnitQuery{Text: in.Q, Status: in.Status, After: in.After, Limit: in.Limit}
}

func (a *API) units(s *api.Site) {
	a.unitChanges(s)
	handle(a, s, api.Op{ID: "units", Method: http.MethodGet, Path: "/api/v1/units", Summary: "单位清单（经办人遮盖）"},
		func(ctx context.Context, a *API, in *unitSearch) (*api.Body[UnitPage], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			p, err := a.Units(ctx, in.query())
			return &api.Body[UnitPage]{Body: p}, err
		})
	type codeIn struct {
		Code string `path:"code" doc:"统一社会信用代码"`
	}
	handle(a, s, api.Op{ID: "unit", Method: http.MethodGet, Path: "/api/v1/units/{code}", Summary: "单位与其登记变更的经过"},
		func(ctx context.Context, a *API, in *codeIn) (*api.Body[UnitView], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			v, err := a.Unit(ctx, in.Code)
			return &api.Body[UnitView]{Body: v}, err
		})
	type agentIn struct {
		Code string `path:"code"`
		Body struct {
			Reason string `json:"reason" doc:"事由，记入审计"`
		}
	}
	handle(a, s, api.Op{ID: "unit-agent", Method: http.MethodPost, Path: "/api/v1/units/{code}/agent", Summary: "查看法定代表人和经办人（须写明事由，记入审计）"},
		func(ctx context.Context, a *API, in *agentIn) (*api.Body[AgentView], error) {
			secret, err := a.Desk.UnitAgent(ctx, in.Code, in.Body.Reason, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), ra.ReadAct, in.Code, api.Source(ctx), err)
			}
			return &api.Body[AgentView]{Body: agentView(secret)}, nil
		})
	type exportIn struct {
		unitSearch
		Personal bool   `query:"personal" doc:"含法定代表人和经办人；须写明事由"`
		Reason   string `query:"reason" doc:"事由，记入审计"`
	}
	handle(a, s, api.Op{ID: "units-csv", Method: http.MethodGet, Path: "/api/v1/units.csv", Summary: "导出单位清单（CSV；经办人遮盖，含个人信息须写明事由）"},
		func(ctx context.Context, a *API, in *exportIn) (*api.File, error) {
			who, err := a.Reader(ctx, api.Person(ctx), "ra.export", api.Source(ctx))
			if err != nil {
				return nil, err
			}
			list, err := a.Desk.ExportUnits(ctx, in.query(), in.Personal, in.Reason, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.export", "", api.Source(ctx), err)
			}
			return a.unitTable(list, in.Personal)
		})
	handle(a, s, api.Op{ID: "unit-sample", Method: http.MethodGet, Path: "/api/v1/units/sheets/sample.csv", Summary: "单位批量登记表格样例"},
		func(_ context.Context, a *API, _ *struct{}) (*api.File, error) {
			return table("hufu-units.csv", [][]string{ra.UnitColumns,
				{"91350100M000100Y43", "某某局（样例）", "北京市", "北京市", "李四（样例）", "张三（样例）", "010-12345678", "", "resident-id", "11010519491231002X", "授权书文件的 SM3（先收存）", "2026-01-01", "2026-12-31"}})
		})
}

// AgentView is who may act for a unit, in full.
type AgentView struct {
	ra.UnitSecret
	Line string `json:"line"` // the same in one line, for people
}

func agentView(s ra.UnitSecret) AgentView {
	parts := []string{"经办人 " + s.Name, s.Phone, s.Email, identity.Kinds[s.Kind] + " " + s.Number}
	if s.Legal != "" {
		parts = append(parts, "法定代表人 "+s.Legal)
	}
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return AgentView{s, strings.Join(kept, "，")}
}

func (a *API) unitTable(list []ra.RevealedUnit, personal bool) (*api.File, error) {
	rows := [][]string{{"统一社会信用代码", "名称", "省级行政区", "市县", "状态", "授权书 SM3", "授权起", "授权止", "法定代表人", "经办人", "电话", "电子邮件", "证件类型", "证件号码", "登记变更案件", "更新时间"}}
	for _, u := range list {
		who := u.Agent
		if personal {
			who = ra.Agent(u.Secret)
		}
		l := a.unitLine(u.Unit)
		rows = append(rows, []string{u.Code, u.Name, u.ST, u.L, l.StatusTitle, u.Letter.Evidence, u.Letter.From, u.Letter.To, who.Legal, who.Name, who.Phone, who.Email, identity.Kinds[who.Kind], who.Number, u.Case, u.At.Format(time.RFC3339)})
	}
	return table("units.csv", rows)
}
