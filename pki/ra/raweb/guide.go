package raweb

import (
	"net/http"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

// guide is a path at the counter: without a certificate what was begun and how
// to begin, with one where it stands and what comes next.
func (p *Pages) guide(code string) func(r *http.Request, who access.Person) (string, any, error) {
	return func(r *http.Request, who access.Person) (string, any, error) {
		var d struct {
			Guide  ra.Guide
			Way    *raapi.WayView
			Begun  []raapi.CaseLine
			Causes []choice
			Clerk  bool
		}
		var err error
		if d.Guide, err = ra.GuideOf(code); err != nil {
			return "", nil, err
		}
		d.Clerk, d.Causes = who.Holds(access.RAClerk), choices(ra.Causes, "fault", "change")
		title := "证书" + d.Guide.Title
		if serial := strings.TrimSpace(r.URL.Query().Get("serial")); serial != "" {
			w, err := p.API.Way(r.Context(), code, serial)
			d.Way = &w
			return title, d, err
		}
		list, err := p.API.Desk.OnTheWay(r.Context(), code)
		for _, rec := range list {
			d.Begun = append(d.Begun, p.API.Line(rec))
		}
		return title, d, err
	}
}
