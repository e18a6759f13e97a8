// Package console is the pages of a management zone: people, changes, audit,
// and what a system adds of its own. (管理控制台)
//
// It holds no key and decides nothing: it asks the core's interface with the
// visitor's own session and passes signed commands on as they are (design §2).
package console

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/page"
	"github.com/hufu-pki/hufu/web/proposals"
)

//go:embed pages/*.html
var shared embed.FS

// Remote is the core's interface.
type Remote struct {
	URL  string
	HTTP *http.Client
}

// answerMax bounds an answer read into memory.
const answerMax = 64 << 20

// refused carries a refusal of the core to the page.
type refused struct {
	status int
	report refusal.Report
}

func (r *refused) Error() string { return r.report.Text }

// away is what people are told while the core does not answer.
func away() *refused {
	return &refused{http.StatusBadGateway, Away.Because("核心区没有应答").Report()}
}

// Get asks the core with the visitor's session.
func (m Remote) Get(r *http.Request, path string, out any) error {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, m.URL+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Cookie", r.Header.Get("Cookie"))
	req.Header.Set(api.SourceHeader, host(r))
	resp, err := m.HTTP.Do(req)
	if err != nil {
		slog.Error("asking the core", "path", path, "err", err)
		return away()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return fmt.Errorf("asking the core: %w", err)
	}
	if resp.StatusCode >= 300 {
		f := &refused{status: resp.StatusCode}
		if json.Unmarshal(data, &f.report) != nil {
			f.report.Text = resp.Status
		}
		return f
	}
	return json.Unmarshal(data, out)
}

func host(r *http.Request) string {
	h, _, _ := net.SplitHostPort(r.RemoteAddr)
	return h
}

// proxy passes the programming interface on to the core.
func (m Remote) proxy() (http.Handler, error) {
	to, err := url.Parse(m.URL)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Header.Set(api.SourceHeader, host(p.In))
		},
		Transport: m.HTTP.Transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			_ = json.NewEncoder(w).Encode(away().report) // whoever left needs no answer
		},
	}, nil
}

// Own is a page a system adds.
type Own struct {
	Page string
	Read func(r *http.Request, m Remote) (title string, data any, err error)
}

// Console is one system's management pages.
type Console struct {
	Title  string
	Mark   string
	Core   Remote
	Nav    []page.Link // of the system's own pages
	Files  fs.FS       // templates of the system's own pages
	Pages  map[string]Own
	Audits []string // roles that read the trail
}

// Common are the pages every system has that changes its people by proposal,
// with their templates, for a console that has pages of its own besides.
func Common() (files fs.FS, pages map[string]Own, err error) {
	files, err = fs.Sub(shared, "pages")
	return files, map[string]Own{
		"GET /changes": {"changes", changes}, "GET /changes/{id}": {"change", change}, "GET /propose": {"propose", propose}, "GET /people": {"people", people},
	}, err
}

// Handler builds the pages.
func (c Console) Handler() (http.Handler, error) {
	nav := append([]page.Link{{Path: "/", Title: "运行总览", Icon: "home"}}, c.Nav...)
	nav = append(nav, page.Link{Path: "/changes", Title: "变更", Icon: "check", Group: "管理"}, page.Link{Path: "/people", Title: "人员", Icon: "people"},
		page.Link{Path: "/audit", Title: "审计", Icon: "eye", Roles: c.Audits})
	pages := &page.Console{Title: c.Title, Mark: c.Mark, Nav: nav, Who: c.who, Problem: Problem}
	files, all, err := Common()
	if err != nil {
		return nil, err
	}
	if err := pages.Parse(page.Union(files, c.Files), nil); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	api, err := c.Core.proxy()
	if err != nil {
		return nil, err
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		mux.Handle(method+" /api/", api)
	}
	for path, own := range map[string]Own{"GET /{$}": {"overview", overview}, "GET /audit": {"audit", audits}, "GET /audit/archives": {"archives", archives}, "GET /": {"refused", nowhere}} {
		all[path] = own
	}
	for path, own := range c.Pages {
		all[path] = own
	}
	for path, own := range all {
		mux.HandleFunc(path, pages.Handler(own.Page, func(r *http.Request, _ page.User) (string, any, error) { return own.Read(r, c.Core) }))
	}
	return page.Guarded(mux), page.Assets(mux)
}

func (c Console) who(r *http.Request) (page.User, error) {
	var me api.Me
	err := c.Core.Get(r, "/api/v1/me", &me)
	return page.User{ID: me.ID, Name: me.Name, Serial: me.Serial, Roles: me.Roles, Titles: me.Titles}, err
}

// Problem is what a visitor may see of an error: the core's own words where it
// refused.
func Problem(err error) (int, refusal.Report) {
	var f *refused
	if errors.As(err, &f) {
		return f.status, f.report
	}
	return api.Problem(err)
}

func nowhere(*http.Request, Remote) (string, any, error) { return "", nil, NoPage.At("", "") }

// pageSize is how many lines a list shows at once.
const pageSize = 50

func changes(r *http.Request, m Remote) (string, any, error) {
	var d struct {
		proposals.ChangePage
		Offers []proposals.MatterLine
	}
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for _, k := range []string{"state", "matter", "after"} {
		if v := r.URL.Query().Get(k); v != "" {
			q.Set(k, v)
		}
	}
	err := errors.Join(m.Get(r, "/api/v1/proposals?"+q.Encode(), &d.ChangePage), m.Get(r, "/api/v1/matters", &d.Offers))
	return "变更", d, err
}

func change(r *http.Request, m Remote) (string, any, error) {
	var v proposals.ChangeView
	err := m.Get(r, "/api/v1/proposals/"+url.PathEscape(r.PathValue("id")), &v)
	return "变更 " + v.ID, v, err
}

// propose is the form of one matter, or the choice of one.
func propose(r *http.Request, m Remote) (string, any, error) {
	var d struct {
		Offers []proposals.MatterLine
		Matter *proposals.MatterLine
		Given  map[string]string
	}
	if err := m.Get(r, "/api/v1/matters", &d.Offers); err != nil {
		return "", nil, err
	}
	d.Given = map[string]string{}
	for i, o := range d.Offers {
		if o.Name != r.URL.Query().Get("matter") {
			continue
		}
		d.Matter = &d.Offers[i]
		for k, v := range o.Current {
			d.Given[k] = v
		}
		if id := r.URL.Query().Get("id"); id != "" {
			d.Given["id"] = id
		}
		return o.Title, d, nil
	}
	return "提议变更", d, nil
}

func people(r *http.Request, m Remote) (string, any, error) {
	var d struct {
		People []proposals.PersonLine
		Offers map[string]proposals.MatterLine // by name
		Adds   []proposals.MatterLine          // that bring somebody new
		All    bool
		Desk   bool // people of a registration system are among them
	}
	var list []proposals.PersonLine
	var offers []proposals.MatterLine
	if err := errors.Join(m.Get(r, "/api/v1/people", &list), m.Get(r, "/api/v1/matters", &offers)); err != nil {
		return "", nil, err
	}
	d.All, d.Offers = r.URL.Query().Get("all") != "", map[string]proposals.MatterLine{}
	for _, p := range list {
		d.Desk = d.Desk || strings.HasPrefix(p.Role, "ra.")
		if p.State != "ended" || d.All {
			d.People = append(d.People, p)
		}
	}
	for _, o := range offers {
		if d.Offers[o.Name] = o; strings.HasPrefix(o.Name, "people.add:") {
			d.Adds = append(d.Adds, o)
		}
	}
	return "人员", d, nil
}

func audits(r *http.Request, m Remote) (string, any, error) {
	var d struct {
		Lines []api.AuditLine
		Next  string
		New   int
	}
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for _, k := range []string{"who", "item", "object", "serial", "result", "before"} {
		if v := r.URL.Query().Get(k); v != "" {
			q.Set(k, v)
		}
	}
	for _, k := range []string{"from", "to"} {
		if t := page.Day(r.URL.Query().Get(k)); !t.IsZero() {
			if k == "to" {
				t = t.AddDate(0, 0, 1)
			}
			q.Set(k, t.UTC().Format("2006-01-02T15:04:05Z"))
		}
	}
	if err := m.Get(r, "/api/v1/audit?"+q.Encode(), &d.Lines); err != nil {
		return "", nil, err
	}
	for _, l := range d.Lines {
		if !l.Marked {
			d.New++
		}
	}
	if n := len(d.Lines); n == pageSize && d.Lines[n-1].Index > 0 {
		d.Next = strconv.FormatInt(d.Lines[n-1].Index, 10)
	}
	return "审计", d, nil
}

// archives are the closed periods of the trail, figures and the system's log.
func archives(r *http.Request, m Remote) (string, any, error) {
	v, in := url.Values{}, r.URL.Query()
	for _, k := range []string{"from", "to"} {
		if t := page.Day(in.Get(k)); !t.IsZero() {
			if k == "to" {
				t = t.AddDate(0, 0, 1)
			}
			v.Set(k, t.UTC().Format("2006-01-02T15:04:05Z"))
		}
	}
	var d api.Review
	if err := errors.Join(m.Get(r, "/api/v1/audit/archives", &d.Archives), m.Get(r, "/api/v1/audit/figures?"+v.Encode(), &d.Figures)); err != nil {
		return "", nil, err
	}
	if n, err := strconv.ParseInt(in.Get("n"), 10, 64); err == nil && n > 0 {
		d.N = n
		q := url.Values{"who": {in.Get("who")}, "item": {in.Get("item")}}
		if err := m.Get(r, fmt.Sprintf("/api/v1/audit/archives/%d?%s", n, q.Encode()), &d.Lines); err != nil {
			return "", nil, err
		}
	}
	for _, k := range []string{"level", "q"} {
		if s := in.Get(k); s != "" {
			v.Set(k, s)
		}
	}
	v.Set("limit", "100")
	err := m.Get(r, "/api/v1/system-log?"+v.Encode(), &d.Log)
	return "归档、统计与系统日志", d, err
}

// overview is how the system stands and what waits for a second person.
func overview(r *http.Request, m Remote) (string, any, error) {
	var d struct {
		Checks   []api.Check
		Bad      int
		Proposed proposals.ChangePage
	}
	err := errors.Join(m.Get(r, "/api/v1/overview", &d.Checks), m.Get(r, "/api/v1/proposals?state=proposed&limit=20", &d.Proposed))
	for _, c := range d.Checks {
		if c.State != "good" {
			d.Bad++
		}
	}
	return "运行总览", d, err
}
