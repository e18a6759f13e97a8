package raweb

import (
	"net/http"
	"net/url"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

// sheetMax is how many lines one printed list has; more are printed by batch.
const sheetMax = 500

// paper is a case as its printed form shows it.
type paper struct {
	raapi.CaseView
	Of        string // institution whose certificates these are
	Profile   profile.Profile
	Submitted *raapi.EventLine
	Approved  *raapi.EventLine
	Delivered *raapi.EventLine
	Printed   time.Time
	By        string
}

// paper reads a case for printing, which is on the trail as a reading of it.
func (p *Pages) paper(r *http.Request, who access.Person) (paper, error) {
	rec, err := p.API.Desk.Store.Case(r.Context(), r.PathValue("id"))
	if err != nil {
		return paper{}, err
	}
	v, err := p.API.View(r.Context(), rec, who, source(r))
	d := paper{CaseView: v, Of: p.house(), Profile: p.API.Desk.InForce()[rec.Profile], Printed: p.API.Desk.Now(), By: who.Name}
	for i, e := range v.Events { // the last of each counts
		switch casework.Action(e.Did) {
		case ra.Submit, ra.Revoke, ra.Freeze, ra.Unfreeze:
			d.Submitted = &v.Events[i]
		case ra.Approve, ra.Authorise:
			d.Approved = &v.Events[i]
		case ra.Produce, ra.Carry:
			d.Delivered = &v.Events[i]
		}
	}
	return d, err
}

// form is the application as a paper to sign: what was asked for, what was told,
// who checked.
func (p *Pages) form(r *http.Request, who access.Person) (string, any, error) {
	d, err := p.paper(r, who)
	return d.KindTitle + "表", d, err
}

// receipt says what the desk took in, or handed out.
func (p *Pages) receipt(r *http.Request, who access.Person) (string, any, error) {
	d, err := p.paper(r, who)
	if err == nil && d.Submitted == nil {
		err = ra.NotYet.At("state", ra.NotYet.Clause).Because("案件 %s 尚未提交，没有可回执的事项", d.ID)
	}
	if d.Delivered != nil {
		return "办结回执", d, err
	}
	return "受理回执", d, err
}

// production lists what waits to be produced, or was handed out since a day.
func (p *Pages) production(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		raapi.Page
		Of       string
		Profiles []choice
		Done     bool
		Printed  time.Time
		By       string
	}
	q := query(r)
	q.Kind, q.Text, q.By, q.Limit = "", "", "", sheetMax
	q.State, d.Done = ra.Issued, r.URL.Query().Get("state") == string(ra.Delivered)
	if d.Done {
		q.State = ra.Delivered
	}
	found, err := p.API.Find(r.Context(), q)
	d.Page, d.Of, d.Profiles, d.Printed, d.By = found, p.house(), p.open(), p.API.Desk.Now(), who.Name
	return "制证清单", d, err
}

// scanned leads from a scanned number to its case.
func (p *Pages) scanned(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/cases/"+url.PathEscape(r.FormValue("id")), http.StatusSeeOther)
}

// house is the institution in whose name certificates are issued, as its
// certificate has it.
func (p *Pages) house() string {
	for _, der := range p.API.Chain(nil) {
		c, err := cert.Parse(der)
		if err != nil {
			break
		}
		list, err := dn.Attributes(c.Subject)
		if err != nil {
			break
		}
		for _, a := range list {
			if a.Type == "O" {
				return a.Value
			}
		}
	}
	return ""
}
