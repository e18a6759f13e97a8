// Package matrix walks every role through every act of every system and holds
// what happens to what is declared. (角色权限核对)
package matrix

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/roles"
	"github.com/hufu-pki/hufu/zone/up"
)

var verbs = []string{staff.Add, staff.Renew, staff.Freeze, staff.Unfreeze, staff.Revoke}

// table is declared with the chain spelled out: by system and act, who may.
func table() map[string]map[string]string {
	all := map[string]map[string]string{}
	for system, acts := range declared {
		all[system] = maps.Clone(acts)
		if system == "ra" {
			for _, m := range bodies {
				all[system][m+"/propose"], all[system][m+"/confirm"], all[system][m+"/reject"], all[system][m+"/withdraw"] = "ra.admin", "ra.super", "ra.super", "ra.admin"
			}
			for _, level := range []string{"ra.issue2", "ra.issue3"} { // as with one level of review
				for act, by := range acts {
					if do, ok := strings.CutPrefix(act, "ra.issue/"); ok {
						all[system][level+"/"+do] = by
					}
				}
			}
		}
		for role, hands := range chain[system] {
			for _, v := range verbs {
				name := "people." + v + ":" + role
				if all[system][name+"/propose"] = hands[0]; v != staff.Freeze {
					all[system][name+"/confirm"], all[system][name+"/reject"], all[system][name+"/withdraw"] = hands[1], hands[1], hands[0]
				}
			}
		}
		for role, hands := range tops[system] {
			for _, v := range verbs {
				name := "people." + v + ":" + role
				if v == staff.Freeze {
					all[system][name+"/propose"] = hands[1]
					continue
				}
				for _, step := range []string{"propose", "confirm", "reject", "withdraw", "release"} {
					all[system][name+"/"+step] = hands[0]
				}
			}
		}
	}
	return all
}

// The matrix the program exports is the one declared here.
func TestTheExportIsWhatIsDeclared(t *testing.T) {
	want := table()
	for _, row := range roles.Matrix() {
		by := make([]string, len(row.By))
		for i, r := range row.By {
			by[i] = string(r)
		}
		if got := strings.Join(by, " "); got != want[row.System][row.Act] {
			t.Errorf("%s %s: exported %q, declared %q", row.System, row.Act, got, want[row.System][row.Act])
		}
		delete(want[row.System], row.Act)
	}
	for system, left := range want {
		for act := range left {
			t.Errorf("%s %s is declared and not exported", system, act)
		}
	}
}

// attempt is a call with what has to come of it counted.
type attempt struct {
	who, code string
}

// world is every system, running, with everybody signed in.
type world struct {
	t       *testing.T
	dir     string
	e       desk.Endpoints
	people  map[string]*desk.Person
	refused map[string]map[attempt]int // by system
}

func open(t *testing.T) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "D")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = up.Run(ctx, up.Config{Dir: dir, Addr: "127.0.0.1", BasePort: base(), Now: time.Now, Out: io.Discard})
	}()
	t.Cleanup(func() {
		cancel()
		if <-ended; failed != nil {
			t.Error(failed)
		}
	})
	w := &world{t: t, dir: dir, people: map[string]*desk.Person{}, refused: map[string]map[attempt]int{"ca": {}, "ra": {}, "km": {}}}
	for w.e.RA == "" {
		select {
		case <-ended:
			t.Fatal(failed)
		case <-time.After(20 * time.Millisecond):
		}
		if err := w.e.Read(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for _, s := range roles.Systems {
		for _, r := range s.Roles {
			w.signIn(s.Name, holder(r))
		}
	}
	w.signIn("ca", "ca-operator2")
	w.signIn("km", "km-forensic2")
	w.signIn("km", "km-forensic3")
	w.signIn("ca", "ca-custodian2")
	w.signIn("ca", "ca-custodian3")
	return w
}

// base is the first of forty ports nobody listens on; where to look depends on
// the process, since other tests look at the same time.
func base() int {
	for at := 24000 + os.Getpid()%100*40; ; at += 40 {
		free := true
		for i := range 12 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", at+i))
			if free = free && err == nil; err == nil {
				_ = l.Close()
			}
		}
		if free {
			return at
		}
	}
}

// holder is who holds a role since the ceremony.
func holder(r access.Role) string {
	if r == access.KMForensic || r == access.CACustodian {
		return strings.Replace(string(r), ".", "-", 1) + "1"
	}
	return strings.Replace(string(r), ".", "-", 1)
}

func (w *world) url(system string) string {
	return map[string]string{"ca": w.e.CAConsole, "ra": w.e.RA, "km": w.e.KMConsole}[system]
}

func (w *world) signIn(system, name string) {
	w.t.Helper()
	p, err := desk.Open(w.e.People, name)
	if err != nil {
		w.t.Fatal(err)
	}
	p.URL = w.url(system)
	if err := p.SignIn(w.t.Context()); err != nil {
		w.t.Fatal(name, err)
	}
	w.people[name] = p
}

// call makes one call and returns the code it was refused with, or nothing.
func (w *world) call(who, method, path string, in, out any) string {
	w.t.Helper()
	err := w.people[who].Call(w.t.Context(), method, path, in, out)
	var no *desk.Refused
	if errors.As(err, &no) {
		if slices.Contains(authority, no.Report.Code) {
			w.refused[who[:2]][attempt{who, no.Report.Code}]++
		}
		return no.Report.Code
	}
	if err != nil {
		w.t.Fatalf("%s %s %s: %v", who, method, path, err)
	}
	return ""
}

// authority are the refusals that say: not you.
var authority = []string{"case.not_yours", "case.same_person", "proposal.not_yours", "ra.not_your_draft", "access.role", "access.signature", "km.share"}

func (w *world) must(who, method, path string, in, out any) {
	w.t.Helper()
	if code := w.call(who, method, path, in, out); code != "" {
		w.t.Fatalf("%s %s %s: %s", who, method, path, code)
	}
}

// order prepares an order; whoever is refused sends it all the same, with a
// signature over something else.
func (w *world) order(who, at string, o any) string {
	w.t.Helper()
	code := w.call(who, "POST", at+"/prepare", o, new(api.Prepared))
	if code != "" {
		claim := access.Claim{Cert: w.people[who].Cert, At: time.Now(), Nonce: rand.Text(), Signature: []byte{1}}
		if again := w.call(who, "POST", at, map[string]any{"order": o, "claim": claim}, nil); again != code {
			w.t.Errorf("%s: prepared it is %s, sent it is %q", who, code, again)
		}
	}
	return code
}

// sign carries an order out and returns the id.
func (w *world) sign(who, at string, o map[string]any) string {
	w.t.Helper()
	var st api.Prepared
	w.must(who, "POST", at+"/prepare", o, &st)
	if st.ID != "" {
		o["id"] = st.ID
	}
	claim, err := w.people[who].Claim(st)
	if err != nil {
		w.t.Fatal(err)
	}
	var done struct {
		ID    string
		Cases []struct{ ID string }
	}
	w.must(who, "POST", at, map[string]any{"order": o, "claim": claim}, &done)
	if len(done.Cases) > 0 {
		return done.Cases[0].ID
	}
	return done.ID
}

func request(t testing.TB, cn string) string {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := csr.New(dn.Name{C: "CN", CN: cn}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(csr.PEM(der))
}

func (w *world) until(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waiting for %s", what)
		}
	}
}

// Every role tries every act of every system. Whoever may is let through,
// whoever may not is refused, and each refusal is a line of the trail.
func TestEveryRoleTriesEveryAct(t *testing.T) {
	w := open(t)
	tries := w.tries()
	want := table()
	for _, s := range roles.Systems {
		for _, act := range slices.Sorted(maps.Keys(want[s.Name])) {
			try := tries[s.Name+" "+act]
			if try == nil {
				t.Errorf("%s %s: nobody tries it", s.Name, act)
				continue
			}
			for _, r := range s.Roles {
				may := slices.Contains(strings.Fields(want[s.Name][act]), string(r))
				code := try(r)
				if may && code != "" || !may && !slices.Contains(authority, code) {
					t.Errorf("%s: %s %s: may %v, refused with %q", s.Name, r, act, may, code)
				}
			}
		}
		w.offered(s)
	}
	w.outsiders()
	for _, s := range roles.Systems {
		w.audited(s)
	}
	w.everyOperation()
}

// offered compares the changes a system offers to each role with the table.
func (w *world) offered(s access.System) {
	w.t.Helper()
	for _, r := range s.Roles {
		var list []struct{ Name string }
		w.must(holder(r), "GET", "/api/v1/matters", nil, &list)
		var got, want []string
		for _, m := range list {
			got = append(got, m.Name)
		}
		for act, by := range table()[s.Name] {
			if m, ok := strings.CutSuffix(act, "/propose"); ok && by == string(r) {
				want = append(want, m)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			w.t.Errorf("%s offers %s %v, want %v", s.Name, r, got, want)
		}
	}
}

// outsiders are people of one system at the door of another.
func (w *world) outsiders() {
	w.t.Helper()
	for _, s := range roles.Systems {
		for _, other := range roles.Systems {
			for _, r := range other.Roles {
				if s.Name == other.Name {
					continue
				}
				p := *w.people[holder(r)]
				p.URL = w.url(s.Name)
				err := p.SignIn(w.t.Context())
				var no *desk.Refused
				if !errors.As(err, &no) {
					w.t.Errorf("%s signs in at %s: %v", r, s.Name, err)
					continue
				}
				who := "?"
				if no.Report.Code == access.WrongRole.Code {
					who = holder(r)
				}
				w.refused[s.Name][attempt{who, no.Report.Code}]++
			}
		}
	}
}

// audited counts the refusals on the trail.
func (w *world) audited(s access.System) {
	w.t.Helper()
	got := map[attempt]int{}
	for before := int64(0); ; {
		var lines []api.AuditLine
		w.must(holder(s.Auditor), "GET", fmt.Sprintf("/api/v1/audit?limit=500&before=%d", before), nil, &lines)
		for _, l := range lines {
			if l.Result != "done" {
				got[attempt{l.Who, l.Result}]++
			}
			before = l.Index
		}
		if len(lines) < 500 {
			break
		}
	}
	if !maps.Equal(got, w.refused[s.Name]) {
		w.t.Errorf("%s refused %v\nand wrote down %v", s.Name, w.refused[s.Name], got)
	}
	if len(got) == 0 {
		w.t.Errorf("%s refused nothing", s.Name)
	}
}

// covered says under which acts of the table each operation of an interface is
// tried; an operation nobody listed fails the test.
var covered = map[string]string{
	"session-prepare": "read", "session-begin": "read", "session-end": "read", "me": "read", "overview": "read", "people": "read", "person-cert": "read", "matters": "read", "proposals": "read", "proposal": "read", "proposal-result": "read", "custody": "km.custody", "key": "km.pool", "drills": "km.pool", "statistics": "ca.statistics", "statistics-csv": "ca.statistics", "rules": "ca.rules", "profile-version": "ca.rules", "evidence-file": "ra.evidence-file",
	"proposal-prepare": "people.", "proposal-act": "people.", "audit-list": "audit.list", "audit-export": "audit.export", "audit-mark": "audit.mark", "audit-mark-prepare": "audit.mark", "audit-archives": "audit.archives", "audit-archive-file": "audit.archives", "audit-archived": "audit.archives", "audit-figures": "audit.figures", "system-log": "audit.system-log", "audit-archive-prepare": "audit.archive", "audit-archive": "audit.archive", "pool": "km.pool",
	"draft": "ra.draft", "sheet": "ra.sheet", "evidence": "ra.evidence", "package": "ra.package", "package-zip": "ra.package", "act": "ra.issue/", "act-prepare": "ra.issue/",
	"cases": "ra.read", "case": "ra.read", "counts": "ra.read", "profiles": "ra.read", "certificate": "ra.read", "cases-csv": "ra.read", "evidence-read": "ra.read", "batch": "ra.read", "batches": "ra.read", "batch-csv": "ra.read",
	"identity": "ra.personal.number", "number-key": "ra.read", "readings": "ra.readings", "cases-json": "ra.read", "bulk-try": "ra.bulk.try", "bulk": "ra.read", "bulks": "ra.read", "bulk-csv": "ra.read",
	"unit-draft": "ra.unit.draft", "unit-sheet": "ra.unit.draft", "unit-agent": "ra.unit.agent", "units": "ra.read", "unit": "ra.read", "units-csv": "ra.read", "unit-sample": "ra.read",
	"bodies": "ra.read", "levels": "ra.read", "tally": "ra.read", "tally-csv": "ra.read", "bulk-draft": "ra.bulk.try", "bulk-invite": "ra.bulk.try", "bulk-sheet": "ra.bulk.try", "renewals": "ra.sheet", "offline-out": "ra.offline", "offline-in": "ra.offline", "registrars": "ca.registrars", "handover": "ca.rules", "handover-piece": "handover.piece",
	"sheet-sample": "ra.read", "reminders": "ra.read", "guide": "ra.read", "reminders-csv": "ra.read", "status": "ra.read",
}

func (w *world) everyOperation() {
	w.t.Helper()
	for _, s := range roles.Systems {
		resp, err := http.Get(w.url(s.Name) + "/api/v1/openapi.json")
		if err != nil {
			w.t.Fatal(err)
		}
		defer resp.Body.Close()
		var doc struct {
			Paths map[string]map[string]struct {
				OperationID string `json:"operationId"`
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
			w.t.Fatal(err)
		}
		for path, ops := range doc.Paths {
			for _, op := range ops {
				act := covered[op.OperationID]
				if op.OperationID == "due" {
					act = map[string]string{"km": "km.pool", "ra": "ra.due"}[s.Name]
				}
				if act == "" || !slices.ContainsFunc(slices.Collect(maps.Keys(table()[s.Name])), func(a string) bool { return strings.HasPrefix(a, act) }) {
					w.t.Errorf("%s %s (%s): no act of the table covers it", s.Name, path, op.OperationID)
				}
			}
		}
		if len(doc.Paths) == 0 {
			w.t.Errorf("%s: no operations", s.Name)
		}
	}
}

type try func(r access.Role) (code string)

// tries are how each act is tried, by system and act.
func (w *world) tries() map[string]try {
	m := map[string]try{}
	gets := func(paths ...string) try {
		return func(r access.Role) (code string) {
			codes := map[string]bool{}
			for _, p := range paths {
				code = w.call(holder(r), "GET", "/api/v1/"+p, nil, new([]byte))
				codes[code] = true
			}
			if len(codes) != 1 {
				w.t.Errorf("%s: %v differ: %v", r, paths, codes)
			}
			return code
		}
	}
	for _, s := range roles.Systems {
		m[s.Name+" audit.list"] = gets("audit", "audit?who=x&limit=5")
		m[s.Name+" audit.export"] = gets("audit/export")
		m[s.Name+" audit.mark"] = func(r access.Role) string {
			code := w.call(holder(r), "POST", "/api/v1/audit/mark/prepare", struct{}{}, new(api.Prepared))
			if code != "" {
				w.call(holder(r), "POST", "/api/v1/audit/mark", map[string]any{"last": 0, "claim": access.Claim{Cert: w.people[holder(r)].Cert, At: time.Now(), Nonce: rand.Text(), Signature: []byte{1}}}, nil)
			}
			return code
		}
		w.close(s)
		m[s.Name+" audit.archives"] = gets("audit/archives", "audit/archives/1", "audit/archives/1/file")
		m[s.Name+" audit.figures"] = gets("audit/figures")
		m[s.Name+" audit.system-log"] = gets("system-log")
		m[s.Name+" audit.archive"] = func(r access.Role) string {
			if r == s.Auditor { // something to close
				w.mark(s)
			}
			code := w.call(holder(r), "POST", "/api/v1/audit/archive/prepare", struct{}{}, new(api.Prepared))
			if code != "" {
				w.call(holder(r), "POST", "/api/v1/audit/archive", map[string]any{"last": 0, "claim": access.Claim{Cert: w.people[holder(r)].Cert, At: time.Now(), Nonce: rand.Text(), Signature: []byte{1}}}, nil)
			}
			return code
		}
		w.changes(m, s)
		w.top(m, s)
	}
	id := w.sign("ca-admin", "/api/v1/proposals", propose("people.revoke:ca.operator", staff.Change{ID: "ca-operator2", Reason: "核对"}))
	m["ca read"] = gets("me", "overview", "people", "people/ca-admin/cert", "matters", "proposals", "proposals/"+id, "proposals/"+id+"/result")
	m["km read"] = gets("me", "overview", "people", "people/km-admin/cert", "matters", "proposals")
	m["ra read"] = gets("me", "people", "people/ra-clerk/cert", "matters", "proposals")
	m["ca ca.registrars"] = gets("registrars")
	m["ca ca.statistics"] = gets("statistics", "statistics.csv")
	m["ca ca.rules"] = gets("rules", "rules/profiles/person-dual/1")
	m["ca crl.publish/propose"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", propose("crl.publish", map[string]string{"reason": "核对"}))
	}
	m["ca certificate.publish/propose"] = func(r access.Role) string {
		code := w.order(holder(r), "/api/v1/proposals", propose("certificate.publish", map[string]string{"serial": "0123", "reason": "核对"}))
		if code == "ca.no_certificate" { // who may is told that there is none
			return ""
		}
		return code
	}
	w.gates(m)
	w.authorities(m)
	w.handedOver(m)
	enc := w.cases(m, gets)
	w.court(m, enc)
	m["km km.custody"] = gets("custody")
	m["km km.pool"] = gets("pool", "drills", "due", "keys/"+enc)
	w.matter(m, "km", "km.marks", map[string]int{"low": 100, "high": 200}, "km-operator", "km-admin")
	w.matter(m, "km", "km.master", map[string]string{"reason": "核对"}, "km-admin", "km-super")
	w.age(enc)
	w.outlive()
	m["ra ra.due"] = gets("due")
	w.matter(m, "ra", "ra.forget", map[string]string{"audience": "government", "before": time.Now().AddDate(-11, 0, 0).Format("2006-01-02"), "reason": "核对"}, "ra-admin", "ra-super")
	old := map[string]string{"before": time.Now().AddDate(-11, 0, 0).Format("2006-01-02"), "reason": "核对"}
	w.matter(m, "km", "km.destroy", old, "km-operator", "km-admin")
	agreed := w.agree("km.destroy", old, "km-operator", "km-admin")
	m["km km.destroy/release"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": agreed})
	}
	for _, name := range []string{"km.make", "km.drill"} {
		m["km "+name+"/propose"] = func(r access.Role) string {
			return w.order(holder(r), "/api/v1/proposals", propose(name, map[string]int{"count": 1}))
		}
	}
	return m
}

// mark marks all there is, close closes it as a period.
func (w *world) mark(s access.System) { w.audits(s, "mark") }

func (w *world) close(s access.System) {
	w.mark(s)
	w.audits(s, "archive")
}

func (w *world) audits(s access.System, act string) {
	who := holder(s.Auditor)
	var st api.Prepared
	w.must(who, "POST", "/api/v1/audit/"+act+"/prepare", struct{}{}, &st)
	claim, err := w.people[who].Claim(st)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(who, "POST", "/api/v1/audit/"+act, map[string]any{"last": st.Last, "claim": claim}, nil)
}

// age makes one archived key so old that it may be destroyed.
func (w *world) age(but string) {
	w.t.Helper()
	db, err := sqldb.Open(w.t.Context(), filepath.Join(w.dir, "km", "km.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	not, err := hex.DecodeString(but)
	if err != nil {
		w.t.Fatal(err)
	}
	err = db.Write(w.t.Context(), func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE held SET state = 3, retired_at = 1 WHERE pair = (SELECT MIN(pair) FROM held WHERE state = 2 AND serial <> $1)`, not)
		if err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("%d keys", n))
		}
		_, err = tx.Exec(`UPDATE vault SET in_use = in_use - 1, history = history + 1`)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// outlive makes one certificate's end so long ago that what identified its
// holder may be destroyed.
func (w *world) outlive() {
	w.t.Helper()
	db, err := sqldb.Open(w.t.Context(), filepath.Join(w.dir, "ra", "ra.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	err = db.Write(w.t.Context(), func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE cases SET not_after = 1 WHERE id = (SELECT MIN(id) FROM cases WHERE not_after > 0 AND identity IS NOT NULL AND profile = 'person-dual')`)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d cases", n)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
