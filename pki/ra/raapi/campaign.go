package raapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/hufu-pki/hufu/format/sheet"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// Invitations tells how many were written.
type Invitations struct {
	ID    string `json:"id"`
	Count int    `json:"count"`
}

func (a *API) campaigns(s *api.Site) {
	type idIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "bulk-draft", Method: http.MethodPost, Path: "/api/v1/bulks/{id}/drafts", Summary: "集中延期：按试算起草，成为一个批次（再办一次是同一批次）"},
		func(ctx context.Context, a *API, in *idIn) (*api.Body[ra.Batch], error) {
			who := api.Person(ctx)
			b, err := a.Desk.DraftCampaign(ctx, in.ID, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.draft", in.ID, api.Source(ctx), err)
			}
			return &api.Body[ra.Batch]{Body: b}, nil
		})
	handle(a, s, api.Op{ID: "bulk-invite", Method: http.MethodPost, Path: "/api/v1/bulks/{id}/invitations", Summary: "集中更新：给试算找出的每张证书写一份更新邀请（每张一次）"},
		func(ctx context.Context, a *API, in *idIn) (*api.Body[Invitations], error) {
			who := api.Person(ctx)
			n, err := a.Desk.Invite(ctx, in.ID, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.invite", in.ID, api.Source(ctx), err)
			}
			return &api.Body[Invitations]{Body: Invitations{in.ID, n}}, nil
		})
	handle(a, s, api.Op{ID: "bulk-sheet", Method: http.MethodGet, Path: "/api/v1/bulks/{id}/requests.csv", Summary: "集中更新：待填证书请求的表格（CSV；姓名遮盖）"},
		func(ctx context.Context, a *API, in *idIn) (*api.File, error) {
			who := api.Person(ctx)
			rows, err := a.Desk.CampaignSheet(ctx, in.ID, who)
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.invite", in.ID, api.Source(ctx), err)
			}
			return table(in.ID+"-requests.csv", rows)
		})
	type sheetIn struct {
		Name     string `query:"name" doc:"文件名"`
		Evidence string `query:"evidence" doc:"单位委托书等材料的 SM3，逗号分隔；给出时查验方式记为核验委托书"`
		RawBody  []byte
	}
	handle(a, s, api.Op{ID: "renewals", Method: http.MethodPost, Path: "/api/v1/renewals/sheets", Summary: "集中更新：交回填好证书请求的表格，逐行按序列号配对原证书", MaxBody: sheet.FileMax + 1024},
		func(ctx context.Context, a *API, in *sheetIn) (*api.Body[ra.Batch], error) {
			who := api.Person(ctx)
			var evidence []string
			if in.Evidence != "" {
				evidence = strings.Split(in.Evidence, ",")
			}
			b, err := a.Desk.DraftRenewals(ctx, in.Name, in.RawBody, evidence, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.sheet", "", api.Source(ctx), err)
			}
			return &api.Body[ra.Batch]{Body: b}, nil
		})
}
