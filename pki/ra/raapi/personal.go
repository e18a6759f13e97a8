package raapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// Watchers are the roles that see who read personal data how often.
var Watchers = []access.Role{access.RAAuditor, access.RAAuditAdmin}

// Document is an identity document with its number.
type Document struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Number string `json:"number"`
}

// Exported is a case of an export as programs receive it.
type Exported struct {
	CaseLine
	Document string `json:"identity_kind,omitempty"`
	Number   string `json:"identity_number,omitempty"`
}

// Readings returns who read personal data, for an auditor.
func (a *API) Readings(ctx context.Context, who access.Person, from, to time.Time, source string) ([]ra.ReadCount, error) {
	if !slices.ContainsFunc(Watchers, who.Holds) {
		err := access.WrongRole.At("role", access.WrongRole.Clause).Because("查阅统计由注册审计员或审计管理员查看")
		return nil, a.Desk.Turned(ctx, who, "ra.readings", "", source, err)
	}
	if to.IsZero() {
		to = a.Desk.Now()
	}
	list, err := a.Desk.Store.Readings(ctx, from, to)
	if list == nil {
		list = []ra.ReadCount{}
	}
	return list, err
}

func (a *API) personal(s *api.Site) {
	type numberIn struct {
		ID   string `path:"id"`
		Body struct {
			Reason string `json:"reason" doc:"事由，记入审计"`
		}
	}
	handle(a, s, api.Op{ID: "identity", Method: http.MethodPost, Path: "/api/v1/cases/{id}/identity", Summary: "查看证件号码（须写明事由，记入审计）"},
		func(ctx context.Context, a *API, in *numberIn) (*api.Body[Document], error) {
			kind, number, err := a.Desk.Number(ctx, in.ID, in.Body.Reason, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), ra.ReadAct, in.ID, api.Source(ctx), err)
			}
			return &api.Body[Document]{Body: Document{in.ID, kind, number}}, nil
		})
	type readingsIn struct {
		From time.Time `query:"from"`
		To   time.Time `query:"to"`
	}
	handle(a, s, api.Op{ID: "readings", Method: http.MethodGet, Path: "/api/v1/readings", Summary: "个人信息查阅统计（按人员与方式）"},
		func(ctx context.Context, a *API, in *readingsIn) (*api.Body[[]ra.ReadCount], error) {
			list, err := a.Readings(ctx, api.Person(ctx), in.From, in.To, api.Source(ctx))
			return &api.Body[[]ra.ReadCount]{Body: list}, err
		})
	type findIn struct {
		Body struct {
			Number string `json:"number" minLength:"1" maxLength:"64"`
		}
	}
	type key struct {
		Key string `json:"key"`
	}
	handle(a, s, api.Op{ID: "number-key", Method: http.MethodPost, Path: "/api/v1/cases/number", Summary: "用证件号码换取查询键：网址里只出现查询键"},
		func(ctx context.Context, a *API, in *findIn) (*api.Body[key], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			return &api.Body[key]{Body: key{base64.RawURLEncoding.EncodeToString(a.Desk.Blind(strings.TrimSpace(in.Body.Number)))}}, nil
		})
	a.exports(s)
}

// Unkey reads what a number is searched by; one nobody gave finds nothing.
func Unkey(key string) []byte {
	if key == "" {
		return nil
	}
	blind, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil || len(blind) == 0 {
		return []byte(key)
	}
	return blind
}

// whole has the number of an institution found by its blind index, and refuses
// that of a person: a query is part of an address.
func (a *API) whole(q ra.Query) (ra.Query, error) {
	if identity.Looks(q.Text) {
		return q, ra.NumberInURL.At("q", ra.NumberInURL.Clause)
	}
	if len(q.Text) == 18 && q.Blind == nil {
		q.Blind = a.Desk.Blind(q.Text)
	}
	return q, nil
}

// exportIn is a query, and whether names and numbers are wanted with it.
type exportIn struct {
	Search
	Personal bool   `query:"personal" doc:"含姓名和证件号码；须写明事由"`
	Reason   string `query:"reason" doc:"事由，记入审计"`
}

func (a *API) exports(s *api.Site) {
	export := func(ctx context.Context, a *API, in *exportIn) ([]Exported, error) {
		who, err := a.Reader(ctx, api.Person(ctx), "ra.export", api.Source(ctx))
		if err != nil {
			return nil, err
		}
		q, err := a.whole(in.query())
		if err != nil {
			return nil, err
		}
		list, err := a.Desk.Export(ctx, q, in.Personal, in.Reason, who, api.Source(ctx))
		if err != nil {
			return nil, a.Desk.Turned(ctx, who, "ra.export", "", api.Source(ctx), err)
		}
		out := make([]Exported, len(list))
		for i, e := range list {
			out[i] = Exported{line(e.Record), e.Document, e.Number}
		}
		return out, nil
	}
	handle(a, s, api.Op{ID: "cases-csv", Method: http.MethodGet, Path: "/api/v1/cases.csv", Summary: "导出案件清单（CSV；姓名遮盖，含个人信息须写明事由）"},
		func(ctx context.Context, a *API, in *exportIn) (*api.File, error) {
			list, err := export(ctx, a, in)
			if err != nil {
				return nil, err
			}
			rows := [][]string{{"案件编号", "种类", "状态", "名称", "证书模板", "批次", "行", "起草人", "起草时间", "更新时间", "签名证书序列号", "加密证书序列号"}}
			if in.Personal {
				rows[0] = append(rows[0], "证件类型", "证件号码")
			}
			for _, c := range list {
				row := []string{c.ID, c.KindTitle, c.StateTitle, c.Title, c.Profile, c.Batch, strconv.Itoa(c.Row), c.CreatedBy,
					c.CreatedAt.Format(time.RFC3339), c.UpdatedAt.Format(time.RFC3339), c.SignSerial, c.EncSerial}
				if in.Personal {
					row = append(row, identity.Kinds[c.Document], c.Number)
				}
				rows = append(rows, row)
			}
			return table("cases.csv", rows)
		})
	handle(a, s, api.Op{ID: "cases-json", Method: http.MethodGet, Path: "/api/v1/cases.json", Summary: "导出案件清单（JSON；姓名遮盖，含个人信息须写明事由）"},
		func(ctx context.Context, a *API, in *exportIn) (*api.File, error) {
			list, err := export(ctx, a, in)
			if err != nil {
				return nil, err
			}
			data, err := json.Marshal(list)
			return api.Attachment("cases.json", "application/json", data), err
		})
}
