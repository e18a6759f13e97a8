package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/web/api"
)

// site is an interface with a small register, and a clock of the test's.
type site struct {
	*api.Site
	t      *testing.T
	url    string
	people *access.People
	ahead  atomic.Int64
}

func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *site) pass(d time.Duration) { s.ahead.Add(int64(d)) }

// full is a refusal that says all it can; broken is not a refusal.
var full = &refusal.Reason{Kind: refusal.Conflict, Code: "test.full", Text: "名额已满", Clause: "办法 第九条", Fix: "请改日再来"}

func open(t *testing.T) *site {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "site.db"))
	if err == nil {
		err = access.Migrate(t.Context(), db)
	}
	if err == nil {
		err = audit.Migrate(t.Context(), db)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &site{t: t, people: &access.People{DB: db}}
	s.Site = (&api.Site{Title: "样例接口", Desk: access.Desk{Site: "样例", People: s.people, Now: s.now}, Trail: &audit.Trail{DB: db, Auditor: access.RAAuditor, Now: s.now},
		Files: func(context.Context) ([]byte, error) { return []byte("PK"), nil }, Now: s.now}).Start()
	type desk struct {
		Body struct {
			Size  int    `json:"size" maximum:"10"`
			Title string `json:"title,omitempty"`
		}
	}
	api.Handle(s.Site, api.Op{ID: "take-seat", Method: http.MethodPost, Path: "/api/v1/seats", Summary: "就座", MaxBody: 4 << 10},
		func(_ context.Context, in *desk) (*api.Body[string], error) {
			switch in.Body.Size {
			case 9:
				return nil, full.At("size", "办法 第九条之二").Because("现有 %d 人", 9)
			case 10:
				return nil, io.ErrUnexpectedEOF
			}
			return &api.Body[string]{Body: "坐"}, nil
		})
	server := httptest.NewServer(s.Mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// person is on the register and has a key.
type person struct {
	s     *site
	key   *sm2.PrivateKey
	cert  []byte
	token string
}

// certificate is somebody's own.
func certificate(t *testing.T, id string, ends time.Time) (*sm2.PrivateKey, []byte) {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := make([]byte, 8)
	_, _ = rand.Read(serial)
	serial[0] = 1
	d := cert.Draft{Serial: serial, Subject: dn.Name{C: "CN", CN: id}.Bytes(), Point: alg.Point(&key.PublicKey), NotBefore: time.Now().Add(-time.Hour), NotAfter: ends}
	d.Issuer = d.Subject
	der, err := cert.Seal(d.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func (s *site) person(id string, ends time.Time, roles ...access.Role) *person {
	s.t.Helper()
	key, der := certificate(s.t, id, ends)
	p, err := access.PersonOf(access.PersonID(id), "人员"+id, der, roles...)
	if err == nil {
		err = s.Trail.DB.Write(s.t.Context(), func(tx *sqldb.Tx) error { _, err := s.people.Add(tx, p, "test", s.now()); return err })
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return &person{s: s, key: key, cert: der}
}

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
	refusal.Report
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %s", a.Status, err, a.body)
	}
}

func (s *site) call(token, method, path string, in any) answer {
	s.t.Helper()
	body, raw := []byte(nil), false
	if body, raw = in.([]byte); !raw && in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{Response: resp}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	_ = json.Unmarshal(a.body, &a.Report) // an answer that is no refusal leaves it empty
	return a
}

// claim asks for a statement and signs it.
func (p *person) claim() access.Claim {
	p.s.t.Helper()
	var st api.Prepared
	p.s.call("", "POST", "/api/v1/session/prepare", map[string]any{"cert": p.cert}).into(p.s.t, &st)
	return p.sign(st)
}

func (p *person) sign(st api.Prepared) access.Claim {
	p.s.t.Helper()
	sig, err := alg.Sign(p.key, []byte(st.Text))
	if err != nil {
		p.s.t.Fatal(err)
	}
	return access.Claim{Cert: p.cert, At: st.At, Nonce: st.Nonce, Signature: sig}
}

func (p *person) signIn() *person {
	p.s.t.Helper()
	var me api.Me
	p.s.call("", "POST", "/api/v1/session", p.claim()).into(p.s.t, &me)
	p.token = me.Token
	return p
}

func (p *person) call(method, path string, in any) answer {
	p.s.t.Helper()
	return p.s.call(p.token, method, path, in)
}

func (a answer) refused(t *testing.T, status int, code string) {
	t.Helper()
	if a.StatusCode != status || a.Code != code {
		t.Errorf("%s %s: %d %s, want %d %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, status, code)
	}
	for _, c := range a.Cookies() {
		if c.Value != "" {
			t.Error("a refusal sets a session")
		}
	}
}

func year() time.Time { return time.Now().AddDate(1, 0, 0) }

func TestWhoSignsTheStatementIsIn(t *testing.T) {
	s := open(t)
	p := s.person("li", year(), access.RAClerk).signIn()
	var me api.Me
	p.call("GET", "/api/v1/me", nil).into(t, &me)
	if me.ID != "li" || me.Name != "人员li" || len(me.Titles) != 1 || me.Titles[0] != "录入员" || me.Token != "" {
		t.Errorf("%+v", me)
	}
	lines, err := s.Trail.List(t.Context(), audit.Query{Item: api.ActSignIn})
	if err != nil || len(lines) != 1 || lines[0].Entry.Who != "li" || lines[0].Entry.Result != audit.Done || lines[0].Entry.Source != "127.0.0.1" {
		t.Errorf("%+v %v", lines, err)
	}
}

func TestWhoDoesNotIsNot(t *testing.T) {
	s := open(t)
	li, wang := s.person("li", year(), access.RAClerk), s.person("wang", year(), access.RAClerk)
	old := s.person("old", time.Now().Add(-time.Minute), access.RAClerk)
	key, unseen := certificate(t, "stranger", year())
	stranger := &person{s: s, key: key, cert: unseen}
	for what, x := range map[string]struct {
		claim  func() access.Claim
		status int
		code   string
	}{
		"another key":          {func() access.Claim { c := li.claim(); c.Signature = wang.claim().Signature; return c }, 403, "access.signature"},
		"another's statement":  {func() access.Claim { c := li.claim(); c.Cert = wang.cert; return c }, 403, "access.signature"},
		"another nonce":        {func() access.Claim { c := li.claim(); c.Nonce = wang.claim().Nonce; return c }, 403, "access.signature"},
		"a short nonce":        {func() access.Claim { c := li.claim(); c.Nonce = "1"; return c }, 403, "access.signature"},
		"no signature":         {func() access.Claim { c := li.claim(); c.Signature = []byte{0}; return c }, 403, "access.signature"},
		"another time":         {func() access.Claim { c := li.claim(); c.At = c.At.Add(time.Second); return c }, 403, "access.signature"},
		"a stale time":         {func() access.Claim { c := li.claim(); s.pass(access.Window + time.Second); return c }, 409, "access.stale"},
		"a time to come":       {func() access.Claim { c := li.claim(); s.pass(-access.Window - 2*time.Second); return c }, 409, "access.stale"},
		"a certificate unseen": {func() access.Claim { c := li.claim(); c.Cert = stranger.cert; return c }, 403, "access.no_person"},
		"no certificate":       {func() access.Claim { c := li.claim(); c.Cert = wang.cert[:len(wang.cert)-1]; return c }, 422, "access.not_certificate"},
		"an old certificate":   {func() access.Claim { c := li.claim(); c.Cert = old.cert; return c }, 403, "access.expired"},
	} {
		s.ahead.Store(0)
		a := s.call("", "POST", "/api/v1/session", x.claim())
		if a.StatusCode != x.status || a.Code != x.code || len(a.Cookies()) > 0 {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
	}
	s.ahead.Store(0)
	for _, p := range []*person{stranger, old} {
		if a := s.call("", "POST", "/api/v1/session/prepare", map[string]any{"cert": p.cert}); a.StatusCode != 403 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	if lines, err := s.Trail.List(t.Context(), audit.Query{Result: "access.signature"}); err != nil || len(lines) != 6 {
		t.Errorf("%d refusals on the trail, %v", len(lines), err)
	}
}

// Whoever has seen a claim go by cannot sign in with it.
func TestAClaimIsGoodOnce(t *testing.T) {
	s := open(t)
	c := s.person("li", year(), access.RAClerk).claim()
	s.call("", "POST", "/api/v1/session", c).into(t, new(api.Me))
	s.call("", "POST", "/api/v1/session", c).refused(t, 409, "access.replayed")
}

// A statement signed for one thing does nothing else.
func TestASignInIsNotAMark(t *testing.T) {
	s := open(t)
	p := s.person("sun", year(), access.RAAuditor).signIn()
	p.call("POST", "/api/v1/audit/mark", map[string]any{"last": 0, "claim": p.claim()}).refused(t, 403, "access.signature")
}

func TestWhoIsStruckOffIsSignedOut(t *testing.T) {
	s := open(t)
	p := s.person("li", year(), access.RAClerk).signIn()
	c := p.claim()
	err := s.Trail.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := s.people.Freeze(tx, "li", true)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.people.Forget()
	s.call("", "POST", "/api/v1/session", c).refused(t, 403, "access.disabled")
	p.call("GET", "/api/v1/me", nil).refused(t, 401, "access.sign_in")
}

func TestSessionsEnd(t *testing.T) {
	s := open(t)
	me := func(p *person) int { return p.call("GET", "/api/v1/me", nil).StatusCode }
	idle, busy := s.person("idle", year(), access.RAClerk).signIn(), s.person("busy", year(), access.RAClerk).signIn()
	for range 24 { // twelve hours of work
		s.pass(29 * time.Minute)
		if got := me(busy); got != 200 {
			t.Fatalf("signed out at work: %d", got)
		}
	}
	if me(idle) != 401 {
		t.Error("a desk left alone stays open")
	}
	s.pass(25 * time.Minute)
	if me(busy) != 401 {
		t.Error("a session outlives its twelve hours")
	}
	s.ahead.Store(0)
	soon := s.person("soon", time.Now().Add(10*time.Minute), access.RAClerk).signIn()
	s.pass(11 * time.Minute)
	if me(soon) != 401 {
		t.Error("a session outlives its certificate")
	}
	s.ahead.Store(0)
	p := s.person("out", year(), access.RAClerk).signIn()
	if a := p.call("DELETE", "/api/v1/session", nil); a.StatusCode >= 300 || len(a.Cookies()) != 1 || a.Cookies()[0].MaxAge >= 0 {
		t.Errorf("%d %v", a.StatusCode, a.Cookies())
	}
	p.call("GET", "/api/v1/me", nil).refused(t, 401, "access.sign_in")
}

func TestTheCookieStaysHome(t *testing.T) {
	s := open(t)
	p := s.person("li", year(), access.RAClerk)
	for _, secure := range []bool{false, true} {
		s.Secure = secure
		a := s.call("", "POST", "/api/v1/session", p.claim())
		if len(a.Cookies()) != 1 {
			t.Fatal(a.Status)
		}
		c := a.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.Secure != secure || len(c.Value) < 43 || c.MaxAge != 12*60*60 {
			t.Errorf("%+v", c)
		}
		req, err := http.NewRequest(http.MethodGet, s.url+"/api/v1/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(c)
		if _, ok := s.SignedIn(req); !ok {
			t.Error("pages do not know the cookie")
		}
		if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 200 {
			t.Errorf("%v %v", resp, err)
		}
		p.token = strings.ToLower(c.Value)
		p.call("GET", "/api/v1/me", nil).refused(t, 401, "access.sign_in")
	}
}

func TestRefusalsSayWhereWhyAndWhatToDo(t *testing.T) {
	s := open(t)
	p := s.person("li", year(), access.RAClerk).signIn()
	a := p.call("POST", "/api/v1/seats", map[string]any{"size": 9})
	want := refusal.Report{Code: "test.full", Field: "size", Clause: "办法 第九条之二", Fix: "请改日再来", Text: "名额已满：现有 9 人"}
	if a.StatusCode != 409 || a.Report != want || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	var fields map[string]string
	if err := json.Unmarshal(a.body, &fields); err != nil || len(fields) != 5 {
		t.Errorf("%v %v", fields, err)
	}
	failed := p.call("POST", "/api/v1/seats", map[string]any{"size": 10})
	if failed.refused(t, 500, "api.failure"); strings.Contains(string(failed.body), "EOF") || !strings.Contains(failed.Text, "编号") {
		t.Errorf("%s", failed.body)
	}
	s.call("", "POST", "/api/v1/seats", map[string]any{"size": 1}).refused(t, 401, "access.sign_in")
	s.call("x", "POST", "/api/v1/seats", map[string]any{"size": 1}).refused(t, 401, "access.sign_in")
	p.call("GET", "/api/v1/audit", nil).refused(t, 403, "access.role")
	p.call("GET", "/api/v1/audit/export", nil).refused(t, 403, "access.role")
	p.call("POST", "/api/v1/audit/mark/prepare", map[string]any{}).refused(t, 403, "access.role")
	if lines, err := s.Trail.List(t.Context(), audit.Query{Result: "access.role"}); err != nil || len(lines) != 3 {
		t.Errorf("%d refusals on the trail, %v", len(lines), err)
	}
}

func TestBodiesThatDoNotFitAreRefused(t *testing.T) {
	s := open(t)
	p := s.person("li", year(), access.RAClerk).signIn()
	for what, x := range map[string]struct {
		body   string
		status int
		field  string
	}{
		"an unknown field": {`{"size":1,"sise":2}`, 422, "sise"},
		"too large":        {`{"size":11}`, 422, "size"},
		"missing":          {`{}`, 422, ""},
		"another type":     {`{"size":"1"}`, 422, "size"},
		"no JSON":          {`{"size":`, 400, ""},
		"two values":       {`{"size":1} {"size":2}`, 400, ""},
		"nothing":          {``, 400, ""},
		"a long body":      {`{"size":1,"title":"` + strings.Repeat("a", 8<<10) + `"}`, 413, ""},
	} {
		a := p.call("POST", "/api/v1/seats", []byte(x.body))
		if a.StatusCode != x.status || a.Code != "api.malformed" || !strings.Contains(a.Field, x.field) || a.Clause == "" || a.Fix == "" || a.Text == "" {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
	}
	s.call("", "POST", "/api/v1/session", map[string]any{"cert": p.cert, "at": s.now(), "nonce": "", "signature": "", "role": "ca.super"}).refused(t, 422, "api.malformed")
	s.call("", "POST", "/api/v1/session", []byte(`{"cert":"`+strings.Repeat("A", 2<<20)+`"}`)).refused(t, 413, "api.malformed")
}

func TestAnAuditorListsMarksAndExports(t *testing.T) {
	s := open(t)
	s.person("li", year(), access.RAClerk).signIn()
	p := s.person("sun", year(), access.RAAuditor).signIn()
	var lines []api.AuditLine
	p.call("GET", "/api/v1/audit?item=session.sign-in", nil).into(t, &lines)
	if len(lines) != 2 || lines[0].Who != "sun" || lines[0].Marked {
		t.Errorf("%+v", lines)
	}
	var st api.Prepared
	p.call("POST", "/api/v1/audit/mark/prepare", map[string]any{}).into(t, &st)
	claim := p.sign(st)
	p.call("POST", "/api/v1/audit/mark", map[string]any{"last": st.Last, "claim": claim}).into(t, new(map[string]string))
	p.call("GET", "/api/v1/audit?item=session.sign-in", nil).into(t, &lines)
	if len(lines) != 2 || !lines[0].Marked || !lines[1].Marked {
		t.Errorf("%+v", lines)
	}
	p.call("POST", "/api/v1/audit/mark", map[string]any{"last": st.Last, "claim": claim}).refused(t, 409, "audit.nothing_new")
	if a := p.call("GET", "/api/v1/audit/export", nil); a.StatusCode != 200 || string(a.body) != "PK" || a.Header.Get("Content-Type") != "application/zip" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// Audit cannot be switched off: where it cannot be written, nothing happens,
// and a refusal that cannot be noted is a failure.
func TestWhereTheTrailFailsNothingHappens(t *testing.T) {
	s := open(t)
	clerk, auditor := s.person("li", year(), access.RAClerk).signIn(), s.person("sun", year(), access.RAAuditor).signIn()
	var st api.Prepared
	auditor.call("POST", "/api/v1/audit/mark/prepare", map[string]any{}).into(t, &st)
	claim := clerk.claim()
	s.exec(`CREATE TRIGGER full BEFORE INSERT ON ledger_leaf BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	s.call("", "POST", "/api/v1/session", claim).refused(t, 500, "api.failure")
	bad := clerk.claim()
	bad.Signature = []byte{0}
	s.call("", "POST", "/api/v1/session", bad).refused(t, 500, "api.failure")
	auditor.call("POST", "/api/v1/audit/mark", map[string]any{"last": st.Last, "claim": auditor.sign(st)}).refused(t, 500, "api.failure")
	if a := auditor.call("GET", "/api/v1/audit/export", nil); a.StatusCode != 500 || bytes.Contains(a.body, []byte("PK")) {
		t.Errorf("exported without a trace: %d", a.StatusCode)
	}
	clerk.call("GET", "/api/v1/audit", nil).refused(t, 500, "api.failure")
	clerk.call("DELETE", "/api/v1/session", nil).refused(t, 500, "api.failure")
	clerk.call("GET", "/api/v1/me", nil).refused(t, 401, "access.sign_in") // out all the same
	s.exec(`DROP TRIGGER full`)
	s.call("", "POST", "/api/v1/session", claim).into(t, new(api.Me)) // the failure did not use it up
	auditor.call("POST", "/api/v1/audit/mark/prepare", map[string]any{}).into(t, &st)
	if !strings.Contains(st.Text, "审计记录 0 至") {
		t.Errorf("something was marked:\n%s", st.Text)
	}
}

func (s *site) exec(q string) {
	s.t.Helper()
	err := s.Trail.DB.Write(s.t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(q)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestTheDocumentListsEveryOperation(t *testing.T) {
	s := open(t)
	a := s.call("", "GET", "/api/v1/openapi.json", nil)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Security             []map[string][]string
		}
		Components struct {
			SecuritySchemes map[string]any
		}
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.") {
		t.Fatalf("%v %s", err, a.body)
	}
	for _, op := range []struct {
		method, path, id string
		open             bool
	}{
		{"post", "/api/v1/session/prepare", "session-prepare", true}, {"post", "/api/v1/session", "session-begin", true}, {"delete", "/api/v1/session", "session-end", false},
		{"get", "/api/v1/me", "me", false}, {"get", "/api/v1/audit", "audit-list", false}, {"post", "/api/v1/audit/mark/prepare", "audit-mark-prepare", false},
		{"post", "/api/v1/audit/mark", "audit-mark", false}, {"get", "/api/v1/audit/export", "audit-export", false}, {"post", "/api/v1/seats", "take-seat", false},
	} {
		have := doc.Paths[op.path][op.method]
		if have.OperationID != op.id || have.Summary == "" || (len(have.Security) == 0) != op.open {
			t.Errorf("%s %s: %+v", op.method, op.path, have)
		}
		for _, alternative := range have.Security {
			for name := range alternative {
				if doc.Components.SecuritySchemes[name] == nil {
					t.Errorf("%s names %s, which the document does not define", op.id, name)
				}
			}
		}
		delete(doc.Paths[op.path], op.method)
	}
	for path, left := range doc.Paths {
		if len(left) > 0 {
			t.Errorf("%s has operations nobody expects: %v", path, left)
		}
	}
}
