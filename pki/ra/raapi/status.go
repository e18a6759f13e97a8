package raapi

import (
	"context"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/web/api"
)

// Published is how far the public ledger is, as the service zone holds it, and
// what it says of revocation lists.
type Published struct {
	Origin string      `json:"origin"`
	Size   int64       `json:"size"`
	Root   string      `json:"root"`
	At     time.Time   `json:"at"`
	Note   string      `json:"note"`
	Lists  []List      `json:"lists"`
	Public string      `json:"public"` // base URL of the public's services
	Checks []api.Check `json:"checks"` // of the registration system itself

	Edition int       `json:"edition"` // of the profiles the CA told of last; 0 before it did
	Synced  time.Time `json:"synced"`  // when
}

// List is the newest revocation list of a scope.
type List struct {
	Scope      string    `json:"scope"`
	Number     int64     `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
}

func (a *API) status(s *api.Site) {
	handle(a, s, api.Op{ID: "status", Method: http.MethodGet, Path: "/api/v1/status", Summary: "公开账本的检查点与撤销列表"},
		func(ctx context.Context, a *API, _ *struct{}) (*api.Body[Published], error) {
			p, err := a.Published(ctx)
			return &api.Body[Published]{Body: p}, err
		})
}
