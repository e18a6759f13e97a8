package raapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// Binders are the roles that may take the evidence file of a certificate.
var Binders = []access.Role{access.RAAuditor, access.RAAdmin, access.RAReviewer}

func (a *API) evidenceFile(s *api.Site) {
	type idIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "evidence-file", Method: http.MethodGet, Path: "/api/v1/cases/{id}/evidence.zip", Summary: "证书证据文件（ZIP，可用 evidence-verify 离线核验；记入审计）"},
		func(ctx context.Context, a *API, in *idIn) (*api.File, error) {
			who, source := api.Person(ctx), api.Source(ctx)
			if !slices.ContainsFunc(Binders, who.Holds) {
				err := access.WrongRole.At("role", access.WrongRole.Clause).Because("证据文件由审核员、注册业务管理员或注册审计员取得")
				return nil, a.Desk.Turned(ctx, who, "ra.evidence-file", in.ID, source, err)
			}
			rec, err := a.Desk.Store.Case(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			if err := a.Desk.SeenCase(ctx, who, ra.ByBundle, rec, source); err != nil {
				return nil, err
			}
			name, data, err := a.Bind(ctx, in.ID, who, source)
			return api.Attachment(name, "application/zip", data), err
		})
}
