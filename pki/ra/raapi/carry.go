package raapi

import (
	"context"
	"net/http"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// Carried is what became of a file of answers, row by row.
type Carried struct {
	Rows []ra.Row `json:"rows"`
}

// carriedMax bounds a file of answers: two hundred pairs, packed.
const carriedMax = 32 << 20

func (a *API) carry(s *api.Site) {
	handle(a, s, api.Op{ID: "offline-out", Method: http.MethodGet, Path: "/api/v1/offline/requests", Summary: "导出待离线签发的申请（签名文件，交 CA 业务操作员提议 offline.issue）"},
		func(ctx context.Context, a *API, _ *struct{}) (*api.File, error) {
			who := api.Person(ctx)
			data, _, err := a.Desk.CarryOut(ctx, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.offline", "", api.Source(ctx), err)
			}
			return api.Attachment("requests.json", "application/json", data), nil
		})
	type fileIn struct{ RawBody []byte }
	handle(a, s, api.Op{ID: "offline-in", Method: http.MethodPost, Path: "/api/v1/offline/answers", Summary: "导入 CA 的答复（签名文件），逐件报告；再导入一次不变", MaxBody: carriedMax},
		func(ctx context.Context, a *API, in *fileIn) (*api.Body[Carried], error) {
			who := api.Person(ctx)
			rows, err := a.Desk.CarryIn(ctx, in.RawBody, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.offline", "", api.Source(ctx), err)
			}
			return &api.Body[Carried]{Body: Carried{rows}}, nil
		})
}
