package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/console"
	"github.com/hufu-pki/hufu/web/proposals"
)

// evil is a name that would be a script if anybody let it.
const evil = `</td><script>alert(1)</script>"'><img src=x onerror=alert(2)>`

// world is a core with its console before it, over real HTTP.
type world struct {
	t       *testing.T
	staff   *accesstest.Staff
	changes *proposal.Desk
	trail   *audit.Trail
	core    *httptest.Server
	console string
}

func open(t *testing.T) *world {
	t.Helper()
	db := accesstest.Database(t)
	if err := proposal.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	now := time.Now
	w := &world{t: t, staff: accesstest.Open(db, now), trail: &audit.Trail{DB: db, Auditor: access.CAAuditor, Now: now}}
	ca := accesstest.Key(t)
	keeper := &staff.Keeper{DB: db, People: w.staff.People, Now: now, Issue: func(_ context.Context, _ string, _ access.Role, name string, point []byte) ([]byte, error) {
		return accesstest.Certify(t, name, point, ca, now()), nil
	}}
	desk := access.Desk{Site: "样例", People: w.staff, Now: now}
	w.changes = (&proposal.Desk{DB: db, Now: now, People: desk, Matters: keeper.Matters(staff.CA)}).Start()
	site := (&api.Site{Title: "样例", Desk: desk, Trail: w.trail, Files: func(context.Context) ([]byte, error) { return []byte("PK"), nil }, Now: now, Behind: true}).Start()
	(&proposals.API{Desk: w.changes, People: w.staff.People}).Mount(site)
	site.Overview(func(context.Context) ([]api.Check, error) {
		return []api.Check{{Name: "时钟", Value: "准", State: "good"}, {Name: "磁盘", Value: evil, State: "bad", Advice: "请扩容"}}, nil
	})
	w.core = httptest.NewServer(site.Mux)
	t.Cleanup(w.core.Close)
	h, err := console.Console{Title: "样例系统", Mark: "评估环境", Core: console.Remote{URL: w.core.URL, HTTP: &http.Client{Transport: &http.Transport{}}}, Audits: []string{"ca.auditor"}}.Handler()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.console = server.URL
	for id, role := range map[access.PersonID]access.Role{"ca-super": access.CASuper, "ca-admin": access.CAAdmin, "ca-operator": access.CAOperator, "ca-auditor": access.CAAuditor} {
		w.staff.Hire(t, id, role)
	}
	return w
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// call asks the console; cookie is a session, or none.
func (w *world) call(method, path, cookie string, in any, header ...string) answer {
	w.t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			w.t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.console+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if cookie != "" {
		req.AddCookie(&http.Cookie{Name: api.CookieName, Value: cookie})
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// signIn returns the cookie of a session begun through the console.
func (w *world) signIn(id access.PersonID) string {
	w.t.Helper()
	var st api.Prepared
	w.call("POST", "/api/v1/session/prepare", "", map[string][]byte{"cert": w.staff.Cert(id)}).into(w.t, &st)
	a := w.call("POST", "/api/v1/session", "", w.claim(id, st))
	var me api.Me
	a.into(w.t, &me)
	if me.ID != string(id) || !strings.Contains(a.header.Get("Set-Cookie"), "HttpOnly") {
		w.t.Fatalf("%+v %v", me, a.header)
	}
	return me.Token
}

func (w *world) claim(id access.PersonID, st api.Prepared) access.Claim {
	return access.Claim{Cert: w.staff.Cert(id), At: st.At, Nonce: st.Nonce, Signature: w.staff.Sign(w.t, id, []byte(st.Text))}
}

// order signs and sends one, as the page's script does.
func (w *world) order(id access.PersonID, cookie string, o proposal.Order, header ...string) answer {
	w.t.Helper()
	a := w.call("POST", "/api/v1/proposals/prepare", cookie, o, header...)
	if a.status != 200 {
		return a
	}
	var st api.Prepared
	a.into(w.t, &st)
	o.ID = st.ID
	return w.call("POST", "/api/v1/proposals", cookie, map[string]any{"order": o, "claim": w.claim(id, st)}, header...)
}

func adding(t *testing.T, id, name string) proposal.Order {
	data, err := json.Marshal(staff.Change{ID: access.PersonID(id), Name: name, CSR: accesstest.Request(t, "x", accesstest.Key(t))})
	if err != nil {
		t.Fatal(err)
	}
	return proposal.Order{Act: proposal.Propose, Matter: "people.add:ca.operator", Content: data}
}

var pages = []string{"/", "/changes", "/changes?state=proposed", "/propose", "/propose?matter=people.add:ca.operator", "/people", "/people?all=1", "/audit", "/audit?who=x&from=2026-01-01&to=2026-12-31"}

// Whoever is not signed in sees the way in, on every page, and the interface
// tells them nothing.
func TestAStrangerSeesTheDoorOnly(t *testing.T) {
	w := open(t)
	for _, cookie := range []string{"", "guess"} {
		for _, path := range append(pages, "/nowhere") {
			if a := w.call("GET", path, cookie, nil); a.status != 401 || !strings.Contains(a.body, "data-sign-in") || strings.Contains(a.body, "ca-admin") {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"me", "people", "matters", "proposals", "overview", "audit", "audit/export", "people/ca-admin/cert"} {
			if a := w.call("GET", "/api/v1/"+path, cookie, nil); a.status != 401 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	}
}

func TestPagesShowWhatTheCoreSays(t *testing.T) {
	w := open(t)
	admin, super, auditor := w.signIn("ca-admin"), w.signIn("ca-super"), w.signIn("ca-auditor")
	see := func(path, cookie string, status int, want ...string) {
		t.Helper()
		a := w.call("GET", path, cookie, nil)
		for _, s := range want {
			if a.status != status || !strings.Contains(a.body, s) {
				t.Errorf("%s: %d, no %q in\n%s", path, a.status, s, a.body)
			}
		}
	}
	see("/", admin, 200, "评估环境", "1 项需要留意", "请扩容", "没有待批准的变更")
	see("/changes", admin, 200, "没有变更", "提议变更")
	see("/propose", super, 200, "新增业务管理员", "另一名审计管理员")
	see("/propose", auditor, 200, "您的角色没有可以提议的事项")
	see("/propose?matter=people.freeze:ca.operator&id=ca-operator", admin, 200, "签名后立即执行", `value="ca-operator"`)
	var line proposals.ChangeLine
	w.order("ca-admin", admin, adding(t, "ca-new", "新人")).into(t, &line)
	see("/", super, 200, line.ID)
	see("/changes/"+line.ID, super, 200, "新人", "公钥", `data-act="confirm"`, "签名的声明")
	see("/changes/"+line.ID, admin, 200, `data-act="withdraw"`)
	see("/changes/"+line.ID, auditor, 200, "等待另一人批准")
	w.order("ca-super", super, proposal.Order{Act: proposal.Confirm, ID: line.ID}).into(t, &line)
	see("/changes/"+line.ID, super, 200, "正在执行")
	if err := w.changes.Carry(t.Context()); err != nil {
		t.Fatal(err)
	}
	see("/changes/"+line.ID, super, 200, "已执行", "已结束", "公钥", "新人")
	see("/people", admin, 200, "ca-new", "新人", "/propose?matter=people.freeze%3aca.operator&amp;id=ca-new")
	see("/people", auditor, 200, "ca-new")
	if a := w.call("GET", "/people", auditor, nil); strings.Contains(a.body, "/propose?") {
		t.Error("an auditor is offered changes")
	}
	see("/audit", auditor, 200, "people.add:ca.operator/confirm", "全部标记已审计")
	see("/audit", admin, 403, "您的角色无权进行此操作", "依据", "处理")
	see("/changes/P0", admin, 404, "没有此变更", "回到首页")
	see("/nowhere", admin, 404, "没有这个页面")
	see("/propose?matter=people.add:ca.super", admin, 200, "可以提议的事项")
}

// A refusal of the core reaches the page's script whole, and the trail.
func TestRefusalsComeThrough(t *testing.T) {
	w := open(t)
	cookie := w.signIn("ca-operator")
	var r refusal.Report
	a := w.order("ca-operator", cookie, adding(t, "ca-new", "新人"))
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 403 || r.Code != "case.not_yours" || r.Clause == "" || r.Fix == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	lines, err := w.trail.List(t.Context(), audit.Query{Who: "ca-operator", Result: "case.not_yours"})
	if err != nil || len(lines) != 1 {
		t.Errorf("%+v %v", lines, err)
	}
	if a := w.call("PUT", "/api/v1/proposals", cookie, nil); a.status < 400 {
		t.Errorf("PUT: %d", a.status)
	}
}

// A command goes over as it was signed, with the visitor's address and no
// address a visitor makes up; with another's session it fails.
func TestTheConsolePassesOnAndAddsNothing(t *testing.T) {
	w := open(t)
	admin, super := w.signIn("ca-admin"), w.signIn("ca-super")
	var line proposals.ChangeLine
	w.order("ca-admin", admin, adding(t, "ca-new", "新人"), api.SourceHeader, "203.0.113.9", "X-Forwarded-For", "203.0.113.9").into(t, &line)
	r, err := w.changes.Get(t.Context(), line.ID)
	if err != nil || r.Events[0].Signed.Person != "ca-admin" || !bytes.Equal(r.Events[0].Signed.Cert, w.staff.Cert("ca-admin")) {
		t.Errorf("%+v %v", r, err)
	}
	lines, err := w.trail.List(t.Context(), audit.Query{Object: line.ID})
	if err != nil || len(lines) != 1 || lines[0].Entry.Source != "127.0.0.1" {
		t.Errorf("%+v %v", lines, err)
	}
	if a := w.order("ca-admin", super, proposal.Order{Act: proposal.Confirm, ID: line.ID}); a.status != 403 {
		t.Errorf("somebody else's session signs: %d %s", a.status, a.body)
	}
	a := w.call("GET", "/api/v1/people/ca-admin/cert", admin, nil)
	if a.status != 200 || !strings.Contains(a.body, "BEGIN CERTIFICATE") || !strings.Contains(a.header.Get("Content-Disposition"), "ca-admin.pem") {
		t.Errorf("%d %v", a.status, a.header)
	}
	if a := w.call("DELETE", "/api/v1/session", admin, nil); a.status >= 300 {
		t.Errorf("signing out: %d", a.status)
	}
	if a := w.call("GET", "/people", admin, nil); a.status != 401 {
		t.Errorf("after signing out: %d", a.status)
	}
}

// Frozen, somebody is out with the session they have.
func TestWhoeverIsFrozenIsOut(t *testing.T) {
	w := open(t)
	cookie := w.signIn("ca-operator")
	if err := w.staff.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := w.staff.Freeze(tx, "ca-operator", true); return err }); err != nil {
		t.Fatal(err)
	}
	w.staff.Forget()
	if a := w.call("GET", "/people", cookie, nil); a.status != 401 {
		t.Errorf("%d", a.status)
	}
}

// While the core is away the pages say so, and do not pretend that somebody is
// signed out.
func TestTheCoreIsAway(t *testing.T) {
	w := open(t)
	cookie := w.signIn("ca-admin")
	w.core.Close()
	for _, path := range pages {
		if a := w.call("GET", path, cookie, nil); a.status != 502 || !strings.Contains(a.body, "核心区暂时不可用") || strings.Contains(a.body, "data-sign-in") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	var r refusal.Report
	a := w.call("POST", "/api/v1/proposals", cookie, map[string]any{})
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 502 || r.Code != "console.away" || r.Fix == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("GET", "/static/hufu.css", "", nil); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

// What people have written is shown and never obeyed; a page loads nothing from
// elsewhere; every answer carries the policy.
func TestNothingForeignInAPage(t *testing.T) {
	w := open(t)
	admin, auditor := w.signIn("ca-admin"), w.signIn("ca-auditor")
	o := adding(t, "ca-evil", evil)
	o.Note = evil
	var line proposals.ChangeLine
	w.order("ca-admin", admin, o).into(t, &line)
	p, err := access.PersonOf("ca-evil2", evil, accesstest.Certify(t, "x", point(t), accesstest.Key(t), time.Now()), access.CAOperator)
	if err == nil {
		err = w.staff.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := w.staff.Add(tx, p, "test", time.Now()); return err })
	}
	if err != nil {
		t.Fatal(err)
	}
	foreign := regexp.MustCompile(`(?:src|href|action|data-post|hx-get)="(?:https?:)?//`)
	seen := 0
	for _, cookie := range []string{admin, auditor, ""} {
		for _, path := range append(slices.Clone(pages), "/changes/"+line.ID, "/propose?matter=people.freeze:ca.operator&id="+"%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/audit?who=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
			"/nowhere", "/changes/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/static/hufu.js", "/static/none.js", "/api/v1/people", "/api/v1/none") {
			a := w.call("GET", path, cookie, nil)
			if got := a.header.Values("Content-Security-Policy"); len(got) != 1 || !strings.Contains(got[0], "default-src 'none'") || strings.Contains(got[0], "unsafe") || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: policy %q", path, got)
			}
			if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				continue
			}
			if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img src=x") || strings.Contains(a.body, "onerror=alert(2)>") || foreign.MatchString(a.body) || strings.Contains(a.body, "style=") {
				t.Errorf("%s:\n%s", path, a.body)
			}
			seen += strings.Count(a.body, "&lt;script&gt;alert(1)")
		}
	}
	if seen < 10 {
		t.Errorf("the name was shown %d times: the test looks past it", seen)
	}
}

func point(t *testing.T) []byte { return alg.Point(&accesstest.Key(t).PublicKey) }

// A system in the same process is asked as one across the wire is.
func TestWithin(t *testing.T) {
	var got *http.Request
	m := console.Within(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code":"x.no","text":"不可"}`)
			return
		}
		_, _ = io.WriteString(w, `{"name":"甲"}`)
	}))
	r := httptest.NewRequest("GET", "/people", nil)
	r.RemoteAddr = "192.0.2.3:999"
	r.AddCookie(&http.Cookie{Name: api.CookieName, Value: "c"})
	var v struct{ Name string }
	if err := m.Get(r, "/yes?a=1", &v); err != nil || v.Name != "甲" || got.URL.RawQuery != "a=1" || got.RemoteAddr != "192.0.2.3:0" || got.RequestURI != "/yes?a=1" {
		t.Errorf("%+v %v %+v", v, err, got)
	}
	if c, err := got.Cookie(api.CookieName); err != nil || c.Value != "c" {
		t.Error(err)
	}
	status, report := console.Problem(m.Get(r, "/no", &v))
	if status != 403 || report.Code != "x.no" {
		t.Errorf("%d %+v", status, report)
	}
}
