package raapi

import (
	"context"
	"net/http"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

func (a *API) bodies(s *api.Site) {
	handle(a, s, api.Op{ID: "bodies", Method: http.MethodGet, Path: "/api/v1/bodies", Summary: "注册机构：受托机构与受理网点（变更见 /api/v1/proposals，事项 body.*）"},
		func(ctx context.Context, a *API, _ *struct{}) (*api.Body[[]ra.BodyView], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			list, err := a.Desk.BodyList(ctx)
			return &api.Body[[]ra.BodyView]{Body: list}, err
		})
	handle(a, s, api.Op{ID: "levels", Method: http.MethodGet, Path: "/api/v1/levels", Summary: "各证书模板的审核级数（变更见 /api/v1/proposals，事项 review.set）"},
		func(ctx context.Context, a *API, _ *struct{}) (*api.Body[map[string]int], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			m, err := a.Desk.ReviewLevels(ctx)
			return &api.Body[map[string]int]{Body: m}, err
		})
}
