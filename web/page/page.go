// Package page is the design language of every console: layout, components,
// signing in the page. (页面语言)
//
// Pages are rendered here and only read; whatever changes something goes
// through the programming interface, which the page's own script calls with the
// person's signature. The script is loaded once and links swap the page's body,
// so that the key stays in the memory of one module.
package page

import (
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/emmansun/gmsm/sm3"

	"github.com/hufu-pki/hufu/base/refusal"
)

//go:embed layout/*.html
var layout embed.FS

//go:embed static
var static embed.FS

// policy lets a page load nothing and talk to nobody but its own server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Link is an entry of the side navigation. Roles says who sees it: a page that
// would only refuse is not offered.
type Link struct {
	Path, Title, Icon string
	Roles             []string
	Group             string // heading above the entry, when it begins a group
}

// User is who is looking.
type User struct {
	ID, Name, Serial string
	Roles, Titles    []string
}

func (u User) holds(roles []string) bool {
	for _, want := range roles {
		for _, have := range u.Roles {
			if want == have {
				return true
			}
		}
	}
	return len(roles) == 0
}

// Console is one system's set of pages.
type Console struct {
	Title string // 注册系统
	Base  string // path below which the pages are served; empty is the root
	Mark  string // a standing warning, such as that keys are soft; may be empty
	Nav   []Link
	// Who returns who is signed in. An error that Problem calls unauthorised shows
	// the way in; any other is shown as what it is.
	Who func(*http.Request) (User, error)
	// Problem turns an error into a status and what a person may see.
	Problem func(error) (int, refusal.Report)

	pages map[string]*template.Template
}

// View is what a template gets.
type View struct {
	Console *Console
	User    User
	Path    string
	Title   string
	Crumbs  []Link
	Query   Query
	Data    any
}

// Links is the navigation as this person sees it.
func (v View) Links() (list []Link) {
	for _, l := range v.Console.Nav {
		if v.User.holds(l.Roles) {
			list = append(list, l)
		}
	}
	return list
}

// Here reports whether a navigation entry is the page in view or above it.
func (v View) Here(l Link) bool {
	return v.Path == l.Path || l.Path != "/" && strings.HasPrefix(v.Path, l.Path+"/")
}

// Holds reports whether the person holds any of the roles.
func (v View) Holds(roles ...string) bool { return v.User.holds(roles) }

// Parse reads a console's own templates; each file is one page over the layout.
func (c *Console) Parse(files fs.FS, funcs template.FuncMap) error {
	base, err := template.New("layout").Funcs(builtin).Funcs(funcs).ParseFS(layout, "layout/*.html")
	if err != nil {
		return err
	}
	names, err := fs.Glob(files, "*.html")
	if err != nil {
		return err
	}
	shared, err := template.Must(base.Clone()).ParseFS(layout, "layout/*.html")
	if err != nil {
		return err
	}
	c.pages = map[string]*template.Template{}
	for _, name := range append(names, "sign-in.html", "refused.html") {
		t := template.Must(shared.Clone())
		if _, inLayout := own[name]; !inLayout || slices.Contains(names, name) { // a console may have its own door
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			if _, err := t.Parse(string(text)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		} else if t, err = t.Parse(own[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.pages[strings.TrimSuffix(name, ".html")] = t
	}
	return nil
}

// Union is several sets of templates as one; a later set wins.
func Union(sets ...fs.FS) fs.FS { return union(sets) }

type union []fs.FS

func (u union) Open(name string) (fs.File, error) {
	for i := len(u) - 1; i > 0; i-- {
		if u[i] == nil {
			continue
		}
		if f, err := u[i].Open(name); err == nil {
			return f, nil
		}
	}
	return u[0].Open(name)
}

// Glob lists the templates of every set.
func (u union) Glob(pattern string) (names []string, err error) {
	for _, set := range u {
		if set == nil {
			continue
		}
		more, err := fs.Glob(set, pattern)
		if err != nil {
			return nil, err
		}
		for _, n := range more {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// own are pages every console has.
var own = map[string]string{
	"sign-in.html": `{{define "main"}}{{template "sign-in" .}}{{end}}`,
	"refused.html": `{{define "main"}}{{template "refused" .}}{{end}}`,
}

// Handler shows one page to somebody who is signed in; f returns the title and
// what the template needs.
func (c *Console) Handler(name string, f func(r *http.Request, u User) (title string, data any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, err := c.Who(r)
		v := View{Console: c, User: u, Path: r.URL.Path, Query: Query{c.Base + r.URL.Path, r.URL.Query()}}
		if err != nil {
			status, report := c.Problem(err)
			name := "sign-in"
			if v.Title, v.Data = "登录", report; status != http.StatusUnauthorized {
				name, v.Title = "refused", "无法显示"
			}
			c.render(w, status, name, v)
			return
		}
		title, data, err := f(r, u)
		if err != nil {
			status, report := c.Problem(err)
			v.Title, v.Data = "无法显示", report
			c.render(w, status, "refused", v)
			return
		}
		v.Title, v.Data = title, data
		c.render(w, http.StatusOK, name, v)
	}
}

func (c *Console) render(w http.ResponseWriter, status int, name string, v View) {
	var b bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&b, "page", v); err != nil {
		slog.Error("rendering a page", "page", name, "err", err)
		http.Error(w, "页面无法显示，请稍后重试", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	Guard(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever left needs no answer
}

// Guard sets the headers every page and asset carries.
func Guard(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// Guarded sets them on every answer of a handler, pages or not.
func Guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Guard(w.Header())
		h.ServeHTTP(w, r)
	})
}

// Assets serves the shared styles and scripts under /static/.
func Assets(mux *http.ServeMux) error {
	files, err := fs.Sub(static, "static")
	if err != nil {
		return err
	}
	tags := map[string]string{}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		sum := sm3.Sum(data)
		tags[name] = `"` + hex.EncodeToString(sum[:8]) + `"`
		return err
	})
	if err != nil {
		return err
	}
	server := http.StripPrefix("/static/", http.FileServerFS(files))
	mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
		Guard(w.Header())
		if tags[strings.TrimPrefix(path.Clean(r.URL.Path), "/static/")] == "" { // a folder's list is nobody's business
			http.NotFound(w, r)
			return
		}
		if tag := tags[strings.TrimPrefix(path.Clean(r.URL.Path), "/static/")]; tag != "" {
			w.Header().Set("ETag", tag)
		}
		w.Header().Set("Cache-Control", "no-cache")
		server.ServeHTTP(w, r)
	})
	return nil
}
