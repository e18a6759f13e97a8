package proposals_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/proposals"
)

// world is the key centre's chain behind a real interface.
type world struct {
	t       *testing.T
	staff   *accesstest.Staff
	changes *proposal.Desk
	trail   *audit.Trail
	mux     http.Handler
	tokens  map[access.PersonID]string
	now     time.Time
}

func open(t *testing.T) *world {
	t.Helper()
	db := accesstest.Database(t)
	if err := proposal.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, tokens: map[access.PersonID]string{}, now: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	w.staff, w.trail = accesstest.Open(db, clock), &audit.Trail{DB: db, Auditor: access.KMAuditor, Now: clock}
	ca := accesstest.Key(t)
	keeper := &staff.Keeper{DB: db, People: w.staff.People, Now: clock, Issue: func(_ context.Context, _ string, _ access.Role, name string, point []byte) ([]byte, error) {
		return accesstest.Certify(t, name, point, ca, w.now), nil
	}}
	desk := access.Desk{Site: "密钥管理系统", People: w.staff, Now: clock}
	w.changes = (&proposal.Desk{DB: db, Now: clock, People: desk, Matters: keeper.Matters(staff.KM)}).Start()
	site := (&api.Site{Title: "样例", Desk: desk, Trail: w.trail, Now: clock}).Start()
	(&proposals.API{Desk: w.changes, People: w.staff.People}).Mount(site)
	w.mux = site.Mux
	for id, role := range map[access.PersonID]access.Role{"km-super": access.KMSuper, "km-audit-admin": access.KMAuditAdmin, "km-admin": access.KMAdmin, "km-operator": access.KMOperator} {
		w.staff.Hire(t, id, role)
		var st api.Prepared
		w.call("", "POST", "/session/prepare", map[string][]byte{"cert": w.staff.Cert(id)}, 200, &st)
		var me api.Me
		w.call("", "POST", "/session", w.claim(id, st), 200, &me)
		w.tokens[id] = me.Token
	}
	return w
}

func (w *world) claim(id access.PersonID, st api.Prepared) access.Claim {
	return access.Claim{Cert: w.staff.Cert(id), At: st.At, Nonce: st.Nonce, Signature: w.staff.Sign(w.t, id, []byte(st.Text))}
}

// call expects a status and decodes the answer; a refusal into *refusal.Report.
func (w *world) call(who access.PersonID, method, path string, in any, status int, out any) {
	w.t.Helper()
	data, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, "/api/v1"+path, bytes.NewReader(data))
	r.Header.Set("Content-Type", "application/json")
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[who])
	}
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	if rec.Code != status {
		w.t.Fatalf("%s %s %s: %d %s", who, method, path, rec.Code, rec.Body)
	}
	if raw, ok := out.(*string); ok {
		*raw = rec.Body.String()
	} else if out != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			w.t.Fatalf("%s: %v", rec.Body, err)
		}
	}
}

func (w *world) order(who access.PersonID, o proposal.Order) proposals.ChangeLine {
	w.t.Helper()
	var st api.Prepared
	w.call(who, "POST", "/proposals/prepare", o, 200, &st)
	if o.ID != "" && st.ID != o.ID || st.ID == "" {
		w.t.Fatalf("%+v", st)
	}
	o.ID = st.ID
	var line proposals.ChangeLine
	w.call(who, "POST", "/proposals", map[string]any{"order": o, "claim": w.claim(who, st)}, 200, &line)
	return line
}

func change(verb, id, name, rest string) proposal.Order {
	content := fmt.Sprintf(`{"id":%q,%s}`, id, rest)
	if name != "" {
		content = fmt.Sprintf(`{"id":%q,"name":%q,%s}`, id, name, rest)
	}
	return proposal.Order{Act: proposal.Propose, Matter: "people." + verb + ":km.operator", Content: []byte(content)}
}

func adding(t *testing.T, id, name string) proposal.Order {
	text, err := json.Marshal(accesstest.Request(t, name, accesstest.Key(t)))
	if err != nil {
		t.Fatal(err)
	}
	return change("add", id, name, `"csr":`+string(text))
}

func TestEverybodyIsOfferedTheirOwnMatters(t *testing.T) {
	w := open(t)
	for who, want := range map[access.PersonID]int{"km-super": 6, "km-audit-admin": 6, "km-admin": 10, "km-operator": 0} {
		var list []proposals.MatterLine
		w.call(who, "GET", "/matters", nil, 200, &list)
		if len(list) != want || list == nil {
			t.Errorf("%s: %d matters", who, len(list))
		}
		for _, m := range list {
			if m.Title == "" || m.Clause == "" || len(m.Fields) == 0 || (m.Confirm == "") != strings.HasPrefix(m.Name, "people.freeze:") {
				t.Errorf("%+v", m)
			}
		}
	}
}

// A change from its first statement to the certificate that comes of it.
func TestAChangeFromBeginningToEnd(t *testing.T) {
	w := open(t)
	line := w.order("km-admin", adding(t, "km-new", "新人"))
	if line.State != "proposed" || line.StateTitle != "待批准" || line.MatterName != "新增密钥管理业务操作员" || line.By != "km-admin" || line.Title != "新人（km-new）" {
		t.Errorf("%+v", line)
	}
	var v proposals.ChangeView
	for who, want := range map[access.PersonID][]string{"km-super": {"confirm", "reject"}, "km-admin": {"withdraw"}, "km-operator": {}, "km-audit-admin": {}} {
		w.call(who, "GET", "/proposals/"+line.ID, nil, 200, &v)
		if !slices.Equal(v.May, want) || len(v.Lines) != 4 {
			t.Errorf("%s may %v; %v", who, v.May, v.Lines)
		}
	}
	if e := v.Events[0]; e.Did != "propose" || !strings.Contains(e.Statement, "密钥管理系统") || len(e.Signature) == 0 || len(e.Cert) == 0 {
		t.Errorf("%+v", e)
	}
	w.order("km-super", proposal.Order{Act: proposal.Confirm, ID: line.ID, Note: "同意"})
	if err := w.changes.Carry(t.Context()); err != nil {
		t.Fatal(err)
	}
	v = proposals.ChangeView{}
	w.call("km-operator", "GET", "/proposals/"+line.ID, nil, 200, &v)
	if v.State != "done" || len(v.Events) != 3 || v.Events[1].Note != "同意" || v.Events[2].Title != "执行" || len(v.Result) == 0 || len(v.Lines) < 4 {
		t.Errorf("%+v", v)
	}
	var pem string
	w.call("km-operator", "GET", "/people/km-new/cert", nil, 200, &pem)
	if !strings.Contains(pem, "BEGIN CERTIFICATE") {
		t.Error(pem)
	}
	w.call("km-operator", "GET", "/people/km-none/cert", nil, 404, nil)
}

// Each refusal says where, by which rule and what to do; those of authority
// are on the trail with the address.
func TestRefusals(t *testing.T) {
	w := open(t)
	id := w.order("km-admin", adding(t, "km-new", "新人")).ID
	reason := `"reason":"查"`
	for name, c := range map[string]struct {
		who     access.PersonID
		o       proposal.Order
		status  int
		code    string
		audited bool
	}{
		"out of turn":          {"km-operator", adding(t, "km-x", "某"), 403, "case.not_yours", true},
		"super makes one":      {"km-super", adding(t, "km-x", "某"), 403, "case.not_yours", true},
		"their own":            {"km-admin", proposal.Order{Act: proposal.Confirm, ID: id}, 403, "case.same_person", true},
		"another's withdrawal": {"km-super", proposal.Order{Act: proposal.Withdraw, ID: id}, 403, "proposal.not_yours", true},
		"nobody":               {"km-admin", change("freeze", "km-none", "", reason), 422, "staff.change", false},
		"no matter":            {"km-admin", proposal.Order{Act: proposal.Propose, Matter: "x", Content: []byte(`{}`)}, 422, "proposal.matter", false},
		"no proposal":          {"km-super", proposal.Order{Act: proposal.Confirm, ID: "P0"}, 404, "proposal.none", false},
		"no act":               {"km-super", proposal.Order{Act: "burn", ID: id}, 409, "case.no_step", false},
		"the system's own act": {"km-super", proposal.Order{Act: proposal.Carry, ID: id}, 409, "case.no_step", false},
	} {
		count := func() int {
			list, err := w.trail.List(t.Context(), audit.Query{Result: c.code})
			if err != nil {
				t.Fatal(err)
			}
			if len(list) > 0 && (list[0].Entry.Source != "192.0.2.1" || list[0].Entry.Who != string(c.who)) {
				t.Errorf("%s: %+v", name, list[0].Entry)
			}
			return len(list)
		}
		var before int
		if list, err := w.trail.List(t.Context(), audit.Query{Result: c.code}); err == nil {
			before = len(list)
		}
		var r refusal.Report
		w.call(c.who, "POST", "/proposals/prepare", c.o, c.status, &r)
		if r.Code != c.code || r.Fix == "" || r.Text == "" || r.Clause == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if got := count() > before; got != c.audited {
			t.Errorf("%s: on the trail: %v", name, got)
		}
		w.call(c.who, "POST", "/proposals", map[string]any{"order": c.o, "claim": access.Claim{Cert: w.staff.Cert(c.who), At: w.now, Nonce: strings.Repeat("n", 22), Signature: []byte{1}}}, c.status, &r)
	}
	o := change("freeze", "km-operator", "", reason)
	var r refusal.Report
	w.call("km-admin", "POST", "/proposals", map[string]any{"order": o, "claim": access.Claim{Cert: w.staff.Cert("km-admin"), At: w.now, Nonce: strings.Repeat("n", 22), Signature: []byte{1}}}, 403, &r)
	if list, err := w.trail.List(t.Context(), audit.Query{Result: "access.signature"}); err != nil || len(list) != 1 || r.Code != "access.signature" {
		t.Errorf("a forged signature: %+v %v", list, err)
	}
	w.call("km-admin", "POST", "/proposals", map[string]any{"order": o, "claim": map[string]any{}, "as": "km-super"}, 422, &r)
}

func TestTheRegisterTellsHowPeopleStand(t *testing.T) {
	w := open(t)
	write := func(f func(tx *sqldb.Tx) error) {
		if err := w.staff.DB.Write(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		w.staff.Forget()
	}
	for _, id := range []access.PersonID{"km-frozen", "km-left"} {
		w.staff.Hire(t, id, access.KMOperator)
	}
	write(func(tx *sqldb.Tx) error { _, err := w.staff.Freeze(tx, "km-frozen", true); return err })
	write(func(tx *sqldb.Tx) error { _, err := w.staff.End(tx, "km-left", w.now); return err })
	var list []proposals.PersonLine
	w.call("km-operator", "GET", "/people", nil, 200, &list)
	got := map[string]string{}
	for _, p := range list {
		got[p.ID] = p.State
		if p.RoleTitle == "" || len(p.Serial) != 32 || (p.Ended != nil) != (p.State == "ended") {
			t.Errorf("%+v", p)
		}
	}
	if got["km-frozen"] != "frozen" || got["km-left"] != "ended" || got["km-operator"] != "active" || len(got) != 6 {
		t.Errorf("%v", got)
	}
}

func TestListsArePaged(t *testing.T) {
	w := open(t)
	for i := range 5 {
		w.now = w.now.Add(time.Second)
		w.order("km-admin", adding(t, fmt.Sprint("km-new", i), "新人"))
	}
	seen := map[string]bool{}
	after := ""
	for range 3 {
		var p proposals.ChangePage
		w.call("km-operator", "GET", "/proposals?limit=2&state=proposed&after="+after, nil, 200, &p)
		for _, l := range p.Proposals {
			seen[l.ID] = true
		}
		after = p.Next
	}
	if len(seen) != 5 || after != "" {
		t.Errorf("%v, %q", seen, after)
	}
	w.call("km-operator", "GET", "/proposals?after=P0", nil, 404, nil)
}
