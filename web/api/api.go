// Package api is what every console's programming interface shares. (应用接口)
//
// Sign-in by SM2 certificate, sessions, refusals as JSON, the audit trail, and
// an OpenAPI document. Pages and commands call the same operations.
package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
)

// Site is one system's interface: its people, its trail, its operations.
type Site struct {
	Title    string
	Desk     access.Desk
	Trail    *audit.Trail
	Files    func(ctx context.Context) ([]byte, error) // the audit ledger as a ZIP
	Archive  string                                    // folder of the closed periods of the trail; empty where periods are not closed
	Log      string                                    // folder of the process's log; empty where there is none
	Now      func() time.Time
	Mux      *http.ServeMux
	Secure   bool          // cookies only over TLS
	Behind   bool          // only the console reaches it and says for whom it asks
	Staff    []access.Role // who has business here; nobody else on the register signs in
	Cookie   string        // name of the session's; CookieName when empty
	Under    string        // path below which the site is served; empty is the root
	api      huma.API
	sessions sessions
}

// hook is set once: several systems in one process start at the same time.
var hook sync.Once

// Start builds the interface; operations are added with Handle.
func (s *Site) Start() *Site {
	hook.Do(func() { huma.NewError = plainError; speak() }) // huma has one hook for its own validation errors
	s.Mux = http.NewServeMux()
	c := huma.DefaultConfig(s.Title, "1")
	c.DocsPath, c.SchemasPath, c.OpenAPIPath = "", "", "/api/v1/openapi"
	c.CreateHooks = nil // no $schema links in answers
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: s.cookieName()}, "token": {Type: "http", Scheme: "bearer"},
	}
	s.api = humago.New(s.Mux, c)
	s.session()
	if s.Trail.Auditor != "" {
		s.audit()
	}
	return s
}

type failed struct {
	status int
	report refusal.Report
}

func (f *failed) Error() string                { return f.report.Code }
func (f *failed) GetStatus() int               { return f.status }
func (f *failed) MarshalJSON() ([]byte, error) { return json.Marshal(f.report) }

// plainError gives validation errors the shape of a refusal.
func plainError(status int, msg string, errs ...error) huma.StatusError {
	if no := refusal.Of(errors.Join(errs...)); no != nil {
		return &failed{status, no.Report()}
	}
	switch {
	case status == http.StatusUnauthorized:
		return &failed{status, access.NotSignedIn.At("", access.NotSignedIn.Clause).Report()}
	case status >= http.StatusInternalServerError:
		status, report := trouble(errors.Join(append(errs, errors.New(msg))...))
		return &failed{status, report}
	}
	var where, why []string
	for _, e := range errs {
		var d *huma.ErrorDetail
		if errors.As(e, &d) {
			where = append(where, strings.TrimPrefix(strings.TrimPrefix(d.Location, "body."), "query."))
			why = append(why, inChinese(d.Message))
		} else if e != nil {
			why = append(why, inChinese(e.Error()))
		}
	}
	if lead := inChinese(msg); lead != "" {
		why = append([]string{lead}, why...)
	}
	r := Malformed.Because("%s", strings.Join(why, "；")).Report()
	r.Field = strings.Join(where, ",")
	if r.Field == "" && bodily.MatchString(msg) {
		r.Field = "file"
	}
	return &failed{status, r}
}

// status maps kinds of refusal to HTTP, once.
func status(k refusal.Kind) int {
	switch k {
	case refusal.Forbidden:
		return http.StatusForbidden
	case refusal.NotFound:
		return http.StatusNotFound
	case refusal.Conflict:
		return http.StatusConflict
	case refusal.Limit:
		return http.StatusTooManyRequests
	}
	return http.StatusUnprocessableEntity
}

// Problem turns an error into a status and what a caller may see; a failure is
// logged and shown as a reference number only.
func Problem(err error) (int, refusal.Report) {
	if f := refusal.Of(err); f != nil {
		code := status(f.Reason.Kind)
		if f.Reason == access.NotSignedIn {
			code = http.StatusUnauthorized
		}
		return code, f.Report()
	}
	return trouble(err)
}

// trouble is a failure: people see a reference number, the log the rest.
func trouble(err error) (int, refusal.Report) {
	ref := rand.Text()[:8]
	slog.Error("request failed", "ref", ref, "err", err)
	return http.StatusInternalServerError, Failure.Because("编号 %s", ref).Report()
}

func problem(err error) error {
	code, report := Problem(err)
	return &failed{code, report}
}

// File is an answer that is no JSON.
type File struct {
	Type string `header:"Content-Type"`
	Name string `header:"Content-Disposition"`
	Body []byte
}

// Attachment is a file to be saved under a name.
func Attachment(name, kind string, data []byte) *File {
	return &File{kind, mime.FormatMediaType("attachment", map[string]string{"filename": name}), data}
}

// SourceHeader is how a console tells the core where its visitor comes from.
const SourceHeader = "X-Hufu-Source"

// Op describes an operation for the OpenAPI document.
type Op struct {
	ID, Method, Path, Summary string
	MaxBody                   int64
	Open                      bool // no session needed
}

// Handle adds an operation.
func Handle[In, Out any](s *Site, op Op, f func(ctx context.Context, in *In) (*Out, error)) {
	o := huma.Operation{OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, MaxBodyBytes: op.MaxBody, BodyReadTimeout: 30 * time.Second}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 1 << 20
	}
	if !op.Open {
		o.Security = []map[string][]string{{"session": {}}, {"token": {}}}
	}
	o.Middlewares = huma.Middlewares{s.who(op.Open)}
	huma.Register(s.api, o, func(ctx context.Context, in *In) (*Out, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		return out, nil
	})
}

type ctxKey int

const (
	personKey ctxKey = iota
	sourceKey
	tokenKey
)

// who finds the session a request belongs to.
func (s *Site) who(open bool) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		source, _, _ := net.SplitHostPort(c.RemoteAddr())
		if told := c.Header(SourceHeader); s.Behind && told != "" {
			source = told
		}
		c = huma.WithValue(c, sourceKey, source)
		if c.Method() != http.MethodGet && c.Method() != http.MethodHead && foreign(c, s.Behind) {
			_ = huma.WriteErr(s.api, c, http.StatusForbidden, "", CrossSite.At("Origin", CrossSite.Clause))
			return
		}
		token := strings.TrimPrefix(c.Header("Authorization"), "Bearer ")
		if token == "" {
			if cookie, err := huma.ReadCookie(c, s.cookieName()); err == nil {
				token = cookie.Value
			}
		}
		p, ok := s.signedIn(c.Context(), token)
		if !ok && !open {
			_ = huma.WriteErr(s.api, c, http.StatusUnauthorized, access.NotSignedIn.Text)
			return
		}
		next(huma.WithValue(huma.WithValue(c, personKey, p), tokenKey, token))
	}
}

// foreign reports whether a browser says that another site's page sent this.
// Programs say nothing and pass: they hold a token, which no page of another
// site can have sent for them.
func foreign(c huma.Context, behind bool) bool {
	switch c.Header("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		origin := c.Header("Origin")
		u, err := url.Parse(origin)
		return !behind && origin != "" && (err != nil || u.Host != c.Host())
	}
	return true
}

// Person is who is signed in.
func Person(ctx context.Context) access.Person {
	p, _ := ctx.Value(personKey).(access.Person)
	return p
}

// Source is the network address of the request.
func Source(ctx context.Context) string {
	s, _ := ctx.Value(sourceKey).(string)
	return s
}

// SignedIn returns the person of a page request, by its cookie.
func (s *Site) SignedIn(r *http.Request) (access.Person, bool) {
	c, err := r.Cookie(s.cookieName())
	if err != nil {
		return access.Person{}, false
	}
	return s.signedIn(r.Context(), c.Value)
}

// signedIn is who a session belongs to, while the register still has them:
// whoever is frozen or revoked is out at once.
func (s *Site) signedIn(ctx context.Context, token string) (access.Person, bool) {
	p, ok := s.sessions.find(token, s.Now())
	if !ok {
		return access.Person{}, false
	}
	p, err := s.Desk.Who(ctx, p.Cert)
	if refusal.Of(err) != nil {
		s.sessions.end(token)
	} else if err != nil {
		slog.Error("the register of people cannot be read", "err", err)
	}
	return p, err == nil
}

// Body is an answer in JSON.
type Body[T any] struct{ Body T }
