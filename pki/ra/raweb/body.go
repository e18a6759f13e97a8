package raweb

import (
	"net/http"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/pki/ra"
)

// bodies are who registers for the institution, and the reviews each profile needs.
func (p *Pages) bodies(r *http.Request, who access.Person) (string, any, error) {
	type level struct {
		choice
		N int
	}
	var d struct {
		List        []ra.BodyView
		Levels      []level
		Propose     bool
		Barred, Fix string // by the CA, the whole system
	}
	list, err := p.API.Desk.BodyList(r.Context())
	if err != nil {
		return "", nil, err
	}
	n, err := p.API.Desk.ReviewLevels(r.Context())
	for _, f := range p.open() {
		d.Levels = append(d.Levels, level{f, n[f.Value]})
	}
	d.Barred, d.Fix = p.API.Desk.Barred(), ra.UntilResumed
	d.List, d.Propose = list, who.Holds(access.RAAdmin)
	return "注册机构", d, err
}

// statistics are what was issued and how it stands, held against the CA's figures.
func (p *Pages) statistics(r *http.Request, _ access.Person) (string, any, error) {
	t, err := p.API.Tally(r.Context(), r.URL.Query().Get("from"))
	return "业务量统计", t, err
}
