package quorum_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/quorum"
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// house is a data folder with keys of a CA and registers of people.
type house struct {
	quorum.Zone
	t *testing.T
}

func build(t *testing.T) house {
	t.Helper()
	dir := t.TempDir()
	h := house{quorum.Zone{Dir: dir, Name: "ca", Now: func() time.Time { return now }}, t}
	for _, system := range []string{"ca", "km"} {
		if err := os.MkdirAll(filepath.Join(dir, system), 0o700); err != nil {
			t.Fatal(err)
		}
		h.register(system)
	}
	for name, data := range map[string]string{"hufu.json": "{}", "secrets/ca.pass": "pass"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := soft.Open(filepath.Join(dir, "ca", "keys"), []byte("pass"))
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"audit-ca", "root-ca"} {
		if _, err := d.Generate(label); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// register writes people to a system's register.
func (h house) register(system string, people ...access.Person) {
	h.t.Helper()
	db, err := sqldb.Open(h.t.Context(), filepath.Join(h.Dir, system, system+".db"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if err := errors.Join(access.Migrate(h.t.Context(), db), audit.Migrate(h.t.Context(), db)); err != nil {
		h.t.Fatal(err)
	}
	err = db.Write(h.t.Context(), func(tx *sqldb.Tx) error {
		for _, p := range people {
			if _, err := (&access.People{}).Add(tx, p, "test", now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func person(t *testing.T, name string) *desk.Person {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &desk.Person{Name: name, Key: key, Cert: accesstest.Certify(t, name, alg.Point(&key.PublicKey), key, now)}
}

// custodians are people registered as such.
func (h house) custodians(names ...string) (list []*desk.Person) {
	h.t.Helper()
	for _, n := range names {
		who := person(h.t, n)
		h.hire("ca", who, access.CACustodian)
		list = append(list, who)
	}
	return list
}

// hire puts somebody on a register.
func (h house) hire(system string, who *desk.Person, role access.Role) access.Person {
	h.t.Helper()
	p, err := access.PersonOf(access.PersonID(fmt.Sprintf("%s-%x", system, who.Name)), who.Name, who.Cert, role)
	if err != nil {
		h.t.Fatal(err)
	}
	h.register(system, p)
	return p
}

// change alters a register.
func (h house) change(system string, f func(tx *sqldb.Tx, r *access.People) error) {
	h.t.Helper()
	db, err := sqldb.Open(h.t.Context(), filepath.Join(h.Dir, system, system+".db"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Write(h.t.Context(), func(tx *sqldb.Tx) error { return f(tx, &access.People{}) }); err != nil {
		h.t.Fatal(err)
	}
}

func plan(t *testing.T, threshold int, list []*desk.Person) quorum.Plan {
	t.Helper()
	p := quorum.Plan{Threshold: threshold}
	for _, who := range list {
		c, err := cert.Parse(who.Cert)
		if err != nil {
			t.Fatal(err)
		}
		p.Custodians = append(p.Custodians, c)
	}
	return p
}

// Three of five open the keys; two, one twice, or a stranger do not; the
// passphrase file is gone.
func TestFewerThanTheThresholdOpenNothing(t *testing.T) {
	h := build(t)
	five := h.custodians("甲", "乙", "丙", "丁", "戊")
	if _, err := h.Init(t.Context(), plan(t, 3, five), five[:2]); !errors.Is(err, quorum.TooFew) {
		t.Fatalf("two prove it: %v", err)
	}
	if h.Shared() {
		t.Fatal("changed before it was proven")
	}
	m, err := h.Init(t.Context(), plan(t, 3, five), five[:3])
	if err != nil || !m.Closed() {
		t.Fatalf("%+v %v", m, err)
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "secrets", "ca.pass")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the passphrase file is there")
	}
	for _, c := range []struct {
		name    string
		present []*desk.Person
		want    error
	}{
		{"nobody", nil, quorum.TooFew}, {"two", five[:2], quorum.TooFew}, {"one three times", []*desk.Person{five[0], five[0], five[0]}, quorum.TooFew},
		{"a stranger", append(five[:2:2], person(t, "己")), quorum.NotHolder}, {"three", five[2:], nil}, {"all", five, nil},
	} {
		d, err := h.Open(c.present)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.want == nil {
			if _, err := d.Signer("root-ca"); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := h.Init(t.Context(), plan(t, 3, five), five); !errors.Is(err, quorum.Made) {
		t.Errorf("made twice: %v", err)
	}
}

// Posts of GM/T 0034 §10.3 exclude, by key and by name; as do those of auditors;
// nobody keeps a share who is not registered for it.
func TestWhoMayNotHoldAShare(t *testing.T) {
	h := build(t)
	list := h.custodians("甲", "乙", "丙")
	bad := map[string]access.Role{"超管": access.CASuper, "业管": access.CAAdmin, "操作员": access.CAOperator, "录入员": access.RAClerk}
	var staff []access.Person
	for name, role := range bad {
		who := person(t, name)
		p, err := access.PersonOf(access.PersonID("ca-"+string(role[3:])), name, who.Cert, role)
		if err != nil {
			t.Fatal(err)
		}
		staff = append(staff, p)
	}
	auditor := person(t, "审计员")
	p, err := access.PersonOf("ca-auditor", "审计员", auditor.Cert, access.CAAuditor)
	if err != nil {
		t.Fatal(err)
	}
	h.register("ca", append(staff, p)...)
	for _, s := range staff {
		same := &desk.Person{Name: s.Name, Cert: s.Cert}
		namesake := person(t, s.Name) // another certificate of the same person
		for _, who := range []*desk.Person{same, namesake} {
			if _, err := h.Init(t.Context(), plan(t, 2, append(list[:2:2], who)), list); !errors.Is(err, quorum.Excluded) {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	for name, broken := range map[string]quorum.Plan{
		"one is enough": plan(t, 1, list), "more than there are": plan(t, 4, list), "twice": plan(t, 2, append(list, list[0])), "nobody": {Threshold: 2},
	} {
		if _, err := h.Init(t.Context(), broken, list); !errors.Is(err, quorum.BadPlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Init(t.Context(), plan(t, 2, append(list[:2:2], auditor)), list); !errors.Is(err, quorum.Excluded) {
		t.Errorf("an auditor: %v", err)
	}
	frozen := h.custodians("丁")[0]
	h.change("ca", func(tx *sqldb.Tx, r *access.People) error {
		_, err := r.Freeze(tx, access.PersonID(fmt.Sprintf("ca-%x", "丁")), true)
		return err
	})
	elsewhere, both := person(t, "别处"), h.custodians("两处")[0]
	h.hire("km", elsewhere, access.KMForensic)
	h.hire("km", both, access.KMForensic)
	for name, c := range map[string]struct {
		who  *desk.Person
		want error
	}{
		"a stranger":                  {person(t, "己"), quorum.NotRegistered},
		"a stranger with a good name": {person(t, "甲二"), quorum.NotRegistered},
		"of another system":           {elsewhere, quorum.NotRegistered},
		"of two systems":              {both, quorum.BadPlan},
		"frozen":                      {frozen, quorum.BadPlan},
	} {
		if _, err := h.Init(t.Context(), plan(t, 2, append(list[:2:2], c.who)), list); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Init(t.Context(), plan(t, 2, list), list); err != nil {
		t.Error(err)
	}
}

// Whoever was taken off the register still opens what would else be lost, and
// the minutes say so.
func TestARevokedHolderOpensAndTheMinutesSaySo(t *testing.T) {
	h := build(t)
	three := h.custodians("甲", "乙", "丙")
	m, err := h.Init(t.Context(), plan(t, 2, three), three)
	if err != nil || strings.Contains(m.Steps[len(m.Steps)-1].Text, "失效") {
		t.Fatal(err)
	}
	h.change("ca", func(tx *sqldb.Tx, r *access.People) error {
		_, err := r.End(tx, access.PersonID(fmt.Sprintf("ca-%x", "乙")), now)
		return err
	})
	next := append(three[2:], h.custodians("丁")...)
	m, err = h.Reshare(t.Context(), plan(t, 2, next), "乙离任", append(next, three[1]))
	if err != nil || !strings.Contains(m.Steps[0].Text, "乙（已撤销或已更换）") || !m.Closed() {
		t.Fatalf("%+v %v", m, err)
	}
}

// A ceremony that ended before its minutes were closed goes on from there, and
// a reshare leaves the keys and makes the old shares worthless.
func TestItGoesOnAndOldSharesOpenNothing(t *testing.T) {
	h := build(t)
	five := h.custodians("甲", "乙", "丙", "丁", "戊")
	if _, err := h.Init(t.Context(), plan(t, 3, five), five); err != nil {
		t.Fatal(err)
	}
	d, err := h.Open(five)
	if err != nil {
		t.Fatal(err)
	}
	root, err := d.Signer("root-ca")
	if err != nil {
		t.Fatal(err)
	}
	all, err := quorum.List(h.Dir)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d %v", len(all), err)
	}
	name := filepath.Join(h.Dir, "ceremony", all[0].ID+".json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.Index(string(text), `"key":`) // as if it had been interrupted before it was signed
	if err := os.WriteFile(name, []byte(strings.TrimRight(string(text[:cut]), " \n,")+"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := h.Init(t.Context(), quorum.Plan{}, five[:3]); err != nil || !m.Closed() {
		t.Fatalf("it does not go on: %v", err)
	}
	next := append(five[:2:2], h.custodians("己")...)
	if _, err := h.Reshare(t.Context(), plan(t, 2, next), "丙离任", next); !errors.Is(err, quorum.TooFew) {
		t.Fatalf("two of the old ones: %v", err)
	}
	if _, err := h.Reshare(t.Context(), plan(t, 2, next), "丙离任", append(next, five[2])); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Open(five[2:]); !errors.Is(err, quorum.NotHolder) {
		t.Errorf("old shares: %v", err)
	}
	d, err = h.Open(next[1:])
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Signer("root-ca")
	if err != nil || !again.(*sm2.PrivateKey).Equal(root) {
		t.Errorf("another key: %v", err)
	}
	db, err := sqldb.Open(t.Context(), filepath.Join(h.Dir, "ca", "ca.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lines, err := (&audit.Trail{DB: db}).List(context.Background(), audit.Query{Item: "ceremony.reshare"})
	if err != nil || len(lines) != 2 {
		t.Errorf("%d lines of the trail, %v", len(lines), err)
	}
}

// Minutes tell when they were touched anywhere.
func TestMinutesCannotBeTouched(t *testing.T) {
	h := build(t)
	three := h.custodians("甲", "乙", "丙")
	m, err := h.Init(t.Context(), plan(t, 2, three), three)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(h.Dir, "ceremony", m.ID+".json")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"共 3 名", "共 5 名"}, {`"name": "乙"`, `"name": "丁"`}, {"08:00:00Z", "09:00:00Z"}, {`"kind": "init"`, `"kind": "destroy"`}} {
		if err := os.WriteFile(name, []byte(strings.Replace(string(whole), c[0], c[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := quorum.Read(h.Dir, m.ID); !errors.Is(err, quorum.Altered) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if m, err := quorum.Read(h.Dir, m.ID); err != nil || m.Print(&b) != nil || !strings.Contains(b.String(), "共 3 名") || strings.Contains(b.String(), "<script") {
		t.Error(err)
	}
}
