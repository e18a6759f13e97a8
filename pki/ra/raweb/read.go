package raweb

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/page"
)

// certificates lists cases in which certificates were issued.
func (p *Pages) certificates(r *http.Request, _ access.Person) (string, any, error) {
	var d struct {
		raapi.Page
		Profiles []choice
	}
	q := query(r)
	switch r.URL.Query().Get("status") {
	case "live":
		q.States = []casework.State{ra.Issued, ra.Delivered}
	case "held":
		q.States = []casework.State{ra.IssuedHeld, ra.DeliveredHeld}
	case "revoked":
		q.States = []casework.State{ra.Revoked, ra.Superseded}
	default:
		q.States = []casework.State{ra.Issued, ra.Delivered, ra.IssuedHeld, ra.DeliveredHeld, ra.Revoked, ra.Superseded}
	}
	q.State = ""
	found, err := p.API.Find(r.Context(), q)
	d.Page, d.Profiles = found, p.open()
	return "证书", d, err
}

// certificate is one certificate, its fields read from the bytes.
func (p *Pages) certificate(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		Case              raapi.CaseLine
		Serial, Other     string
		Use               string
		Subject, Issuer   string
		NotBefore, Expire time.Time
		State             string
		Digest            []byte
		Names             []string
		Text              string
		Live, Held        bool
		Extensions        []extension
		Next              []ra.Purpose // what may follow it
		Signing           string
		PublishAt         *time.Time // into the directory, if that is still to be
	}
	d.Serial = strings.ToUpper(r.PathValue("serial"))
	rec, err := p.API.Desk.Store.BySerial(r.Context(), d.Serial)
	if err != nil {
		return "", nil, err
	}
	if err := p.API.Desk.SeenCase(r.Context(), who, ra.ByShow, rec, source(r)); err != nil {
		return "", nil, err
	}
	der := rec.Reply.Sign
	d.Use, d.Other = "签名证书", rec.EncSerial
	if d.Serial == rec.EncSerial {
		d.Use, d.Other, der = "加密证书", rec.SignSerial, rec.Reply.Enc
	}
	c, err := cert.Parse(der)
	if err != nil {
		return "", nil, err
	}
	d.Case, d.NotBefore, d.Expire, d.Text = p.API.Line(rec), c.NotBefore, c.NotAfter, string(cert.PEM(der))
	d.Digest = cert.KeyID(c.Point)
	d.Subject, d.Issuer = dn.Text(c.Subject), dn.Text(c.Issuer)
	d.Extensions = extensions(c)
	now := p.API.Desk.Now()
	clerk := who.Holds(access.RAClerk)
	d.Signing, d.PublishAt = rec.SignSerial, p.API.Publishes(d.Serial)
	for _, next := range ra.Purposes {
		if clerk && slices.Contains(next.From, rec.State) {
			d.Next = append(d.Next, next)
		}
	}
	switch {
	case rec.State == ra.Revoked:
		d.State = "已撤销"
	case rec.State == ra.Superseded:
		d.State = "已被替代"
	case rec.State == ra.IssuedHeld || rec.State == ra.DeliveredHeld:
		d.State, d.Held = "已冻结", clerk
	case now.After(c.NotAfter):
		d.State = "已过期"
	default:
		d.State, d.Live = "有效", clerk
	}
	return d.Use + " " + rec.Title, d, nil
}

// extension is one extension as the page shows it.
type extension struct {
	Name     string
	Critical bool
	Value    string
}

func extensions(c *cert.Certificate) (list []extension) {
	for _, e := range c.Extensions {
		list = append(list, extension{cert.ExtensionName(e.ID), e.Critical, cert.ExtensionText(e)})
	}
	return list
}

// status is the form of a revocation, a freezing or a release.
func (p *Pages) status(do, title string) func(r *http.Request, who access.Person) (string, any, error) {
	return func(r *http.Request, who access.Person) (string, any, error) {
		var d struct {
			Do, Title string
			Serial    string
			Case      *raapi.CaseLine
			Reasons   []choice
			Grounds   []ra.Ground
			Askers    []choice
			Ground    string
		}
		if !who.Holds(access.RAClerk) {
			return "", nil, p.turned(r, who, "ra."+do, casework.NotYours.At("role", casework.NotYours.Clause).Because("%s须由录入员办理", title))
		}
		d.Ground = r.URL.Query().Get("ground")
		d.Do, d.Title, d.Reasons, d.Grounds = do, title, reasons, ra.Grounds
		d.Askers = choices(ra.Askers, "holder", "unit", "authority", "court", "institution")
		if d.Serial = strings.ToUpper(strings.TrimSpace(r.URL.Query().Get("serial"))); d.Serial != "" {
			rec, err := p.API.Desk.Store.BySerial(r.Context(), d.Serial)
			if err != nil {
				return "", nil, err
			}
			if err := p.API.Desk.SeenCase(r.Context(), who, ra.ByShow, rec, source(r)); err != nil {
				return "", nil, err
			}
			line := p.API.Line(rec)
			line.Title = rec.Title
			d.Case = &line
		}
		return title, d, nil
	}
}

func (p *Pages) profiles(*http.Request, access.Person) (string, any, error) {
	type shown struct {
		profile.Profile
		Digest []byte
	}
	var list []shown
	for _, f := range p.API.Profiles() {
		list = append(list, shown{f, f.Digest()})
	}
	return "证书模板", list, nil
}

// reminders are those of certificates that run out.
func (p *Pages) reminders(r *http.Request, _ access.Person) (string, any, error) {
	var d struct {
		raapi.ReminderPage
		Days, Folder string
	}
	list, err := p.API.Reminders(r.Context(), r.URL.Query().Get("after"), pageSize)
	days := make([]string, len(p.API.RemindDays))
	for i, n := range p.API.RemindDays {
		days[len(days)-1-i] = strconv.Itoa(n)
	}
	d.ReminderPage, d.Days, d.Folder = list, strings.Join(days, "、"), p.API.Dropped
	return "到期提醒", d, err
}

func (p *Pages) ledger(r *http.Request, _ access.Person) (string, any, error) {
	d, err := p.API.Published(r.Context())
	return "账本与状态", d, err
}

func (p *Pages) audit(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		Lines []api.AuditLine
		Next  string
		New   int
	}
	v := r.URL.Query()
	before, _ := strconv.ParseInt(v.Get("before"), 10, 64) // anything else is the newest page
	q := audit.Query{
		Who: v.Get("who"), Item: v.Get("item"), Object: v.Get("object"), Serial: v.Get("serial"), Result: v.Get("result"),
		From: page.Day(v.Get("from")), To: page.Day(v.Get("to")), Before: before, Limit: pageSize,
	}
	if !q.To.IsZero() {
		q.To = q.To.AddDate(0, 0, 1)
	}
	lines, err := p.Site.Lines(r.Context(), who, q)
	if err != nil {
		return "", nil, err
	}
	d.Lines = lines
	for _, l := range lines {
		if !l.Marked {
			d.New++
		}
	}
	if n := len(lines); n == pageSize && lines[n-1].Index > 0 {
		d.Next = strconv.FormatInt(lines[n-1].Index, 10)
	}
	return "审计", d, nil
}

// archives are the closed periods of the trail, figures and the system's log.
func (p *Pages) archives(r *http.Request, who access.Person) (string, any, error) {
	v := r.URL.Query()
	n, _ := strconv.ParseInt(v.Get("n"), 10, 64) // anything else is no period
	q := api.ReviewQuery{N: max(n, 0), Who: v.Get("who"), Item: v.Get("item"), From: page.Day(v.Get("from")), To: page.Day(v.Get("to")), Level: v.Get("level"), Text: v.Get("q")}
	if !q.To.IsZero() {
		q.To = q.To.AddDate(0, 0, 1)
	}
	d, err := p.Site.Review(r.Context(), who, q)
	return "归档、统计与系统日志", d, err
}

func (p *Pages) help(*http.Request, access.Person) (string, any, error) {
	var b bytes.Buffer
	for _, f := range p.API.Profiles() {
		b.WriteString(f.Name + "（" + f.Title + "） ")
	}
	return "帮助", b.String(), nil
}

// readings is who read personal data, and how often, over the days asked for.
func (p *Pages) readings(r *http.Request, who access.Person) (string, any, error) {
	type line struct {
		ra.ReadCount
		Title string
	}
	v := r.URL.Query()
	list, err := p.API.Readings(r.Context(), who, page.Day(v.Get("from")), page.Day(v.Get("to")), source(r))
	var d []line
	for _, c := range list {
		d = append(d, line{c, ra.Ways[c.Way]})
	}
	return "个人信息查阅", d, err
}
