package raweb

import (
	"net/http"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

// unitStatuses are how a unit may stand.
var unitStatuses = []choice{{"good", "正常"}, {"suspended", "已停用"}, {"expired", "授权书不在有效期"}}

// units lists the register of units.
func (p *Pages) units(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		raapi.UnitPage
		Statuses []choice
		May      bool
		Export   bool
	}
	v := r.URL.Query()
	page, err := p.API.Units(r.Context(), ra.UnitQuery{Text: v.Get("q"), Status: v.Get("status"), After: v.Get("after"), Limit: pageSize})
	d.UnitPage, d.Statuses, d.May = page, unitStatuses, who.Holds(access.RAClerk)
	d.Export = d.May || who.Holds(access.RAReviewer) || who.Holds(access.RAAdmin)
	return "单位", d, err
}

// unit is one with what has become of it, and what may be done to it.
func (p *Pages) unit(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		raapi.UnitView
		May, Agents bool
		Kept        []kept
	}
	v, err := p.API.Unit(r.Context(), r.PathValue("code"))
	if err != nil {
		return "", nil, err
	}
	d.UnitView, d.May = v, who.Holds(access.RAClerk)
	d.Agents = d.May || who.Holds(access.RAReviewer)
	d.Kept, err = p.kept(r.Context(), []string{v.Letter.Evidence})
	return "单位 " + v.Name, d, err
}

// unitForm is the form of a new unit, of an amendment, or of a draft to be
// corrected. What is sealed is never shown.
func (p *Pages) unitForm(r *http.Request, who access.Person) (string, any, error) {
	if !who.Holds(access.RAClerk) {
		return "", nil, p.turned(r, who, "ra.unit.draft", casework.NotYours.At("role", casework.NotYours.Clause).Because("单位登记须由录入员办理"))
	}
	var d struct {
		ID, Do    string
		Unit      raapi.UnitLine
		Documents []choice
	}
	d.Documents = choices(identity.Kinds, "resident-id", "passport", "military-id")
	if d.Do = ra.UnitAdd; r.PathValue("code") != "" {
		v, err := p.API.Unit(r.Context(), r.PathValue("code"))
		if err != nil {
			return "", nil, err
		}
		d.Do, d.Unit = ra.UnitAmend, v.UnitLine
		return "变更单位 " + v.Name, d, nil
	}
	return "登记单位", d, nil
}

// ofUnit fills the application form from a unit on the register.
func (p *Pages) ofUnit(r *http.Request, d *sheetOf) error {
	code := d.App.Unit
	if code == "" {
		code = strings.ToUpper(r.URL.Query().Get("unit"))
	}
	if code == "" {
		return nil
	}
	v, err := p.API.Unit(r.Context(), code)
	if err == nil {
		d.Unit = &v.UnitLine
	}
	if err == nil && d.ID == "" && d.Purpose == nil {
		d.Chosen = "organisation-dual"
	}
	return err
}
