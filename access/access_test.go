package access_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// world is a desk, its register and people who really sign.
type world struct {
	access.Desk
	who  map[string]access.Person
	keys map[string]*sm2.PrivateKey
	now  time.Time
}

func (w *world) PersonByCert(_ context.Context, digest []byte) (access.Person, error) {
	for _, p := range w.who {
		if bytes.Equal(alg.Digest(p.Cert), digest) {
			return p, nil
		}
	}
	return access.Person{}, access.NoSuchPerson.At("certificate", access.NoSuchPerson.Clause)
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := &world{who: map[string]access.Person{}, keys: map[string]*sm2.PrivateKey{}, now: start}
	w.Desk = access.Desk{Site: "注册系统", People: w, Now: func() time.Time { return w.now }}
	for _, name := range names {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, subject := alg.Point(&key.PublicKey), dn.Name{C: "CN", CN: name}.Bytes()
		der, err := cert.Seal(cert.Draft{Serial: append([]byte{0x41}, point[1:9]...), Issuer: subject, Subject: subject, Point: point,
			NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(1, 0, 0), Extensions: []cert.Extension{cert.SKI(point)}}.TBS(), key)
		if err != nil {
			t.Fatal(err)
		}
		p, err := access.PersonOf(access.PersonID(name), name, der, access.RAClerk)
		if err != nil {
			t.Fatal(err)
		}
		w.who[name], w.keys[name] = p, key
	}
	return w
}

func item(n int) access.Item { return items(n + 1)[n] }

func moved(it access.Item) access.Item {
	it.Seq++
	return it
}

func (w *world) sign(t *testing.T, who string, list []access.Item) (access.Signed, access.Claim) {
	t.Helper()
	s, err := w.Draft(w.who[who], "ra.approve", "审核通过", "证书申请 A0", "同意", list).Sign(w.keys[who], w.who[who].Cert)
	if err != nil {
		t.Fatal(err)
	}
	return s, access.Claim{Cert: s.Cert, At: s.At, Nonce: s.Nonce, Signature: s.Signature}
}

// refused checks the reason and the field; nil wants no refusal.
func refused(t *testing.T, name string, err error, want *refusal.Reason, field string) {
	t.Helper()
	f := refusal.Of(err)
	switch {
	case want == nil && err != nil || want != nil && !errors.Is(err, want):
		t.Errorf("%s: got %v, want %v", name, err, want)
	case want != nil && (f.Field != field || f.Clause == "" || f.Fix == ""):
		t.Errorf("%s: %+v, want field %q", name, f.Report(), field)
	}
}

// A signature verifies for the act, the object, the opinion and the items the
// desk itself knows, and for no other.
func TestVerifyTakesTheVeryActThatWasSigned(t *testing.T) {
	w := newWorld(t, "a", "b")
	_, claim := w.sign(t, "a", items(3))
	for _, c := range []struct {
		name              string
		act, title, o, no string
		list              []access.Item
		want              *refusal.Reason
	}{
		{"the very act", "ra.approve", "审核通过", "证书申请 A0", "同意", items(3), nil},
		{"another act", "ra.reject", "审核通过", "证书申请 A0", "同意", items(3), access.BadSignature},
		{"under another title", "ra.approve", "不予通过", "证书申请 A0", "同意", items(3), access.BadSignature},
		{"another object", "ra.approve", "审核通过", "证书申请 A1", "同意", items(3), access.BadSignature},
		{"another opinion", "ra.approve", "审核通过", "证书申请 A0", "", items(3), access.BadSignature},
		{"fewer items", "ra.approve", "审核通过", "证书申请 A0", "同意", items(2), access.BadSignature},
		{"more items", "ra.approve", "审核通过", "证书申请 A0", "同意", items(4), access.BadSignature},
		{"no items", "ra.approve", "审核通过", "证书申请 A0", "同意", nil, access.BadSignature},
		{"an item that has moved on", "ra.approve", "审核通过", "证书申请 A0", "同意", []access.Item{item(0), moved(item(1)), item(2)}, access.BadSignature},
		{"items in another order", "ra.approve", "审核通过", "证书申请 A0", "同意", []access.Item{item(1), item(0), item(2)}, access.BadSignature},
	} {
		cmd, err := w.Verify(t.Context(), claim, c.act, c.title, c.o, c.no, c.list)
		refused(t, c.name, err, c.want, "signature")
		if ok := cmd.Authentic(); ok != (c.want == nil) {
			t.Errorf("%s: the command is authentic: %v", c.name, ok)
		}
		if c.want == nil && (cmd.Who().ID != "a" || !cmd.Holds(access.RAClerk) || cmd.Act() != "ra.approve" || cmd.Note() != "同意" || cmd.Signed().Count != 3) {
			t.Errorf("%+v", cmd)
		}
	}
	for name, change := range map[string]func(*access.Claim){
		"another's certificate": func(c *access.Claim) { c.Cert = w.who["b"].Cert },
		"another second":        func(c *access.Claim) { c.At = c.At.Add(time.Second) },
		"another nonce":         func(c *access.Claim) { c.Nonce = "AAAA" + c.Nonce[4:] },
		"no signature":          func(c *access.Claim) { c.Signature = nil },
		"a flipped bit":         func(c *access.Claim) { c.Signature = bytes.Clone(c.Signature); c.Signature[12] ^= 1 },
	} {
		bad := claim
		change(&bad)
		_, err := w.Verify(t.Context(), bad, "ra.approve", "审核通过", "证书申请 A0", "同意", items(3))
		refused(t, name, err, access.BadSignature, "signature")
	}
	for _, nonce := range []string{"", "short", strings.Repeat("n", 65), strings.Repeat("n", 10<<20)} {
		bad := claim
		bad.Nonce = nonce
		_, err := w.Verify(t.Context(), bad, "ra.approve", "审核通过", "证书申请 A0", "同意", items(3))
		refused(t, "a nonce of odd length", err, access.BadSignature, "nonce")
	}
}

// A statement is good for five minutes either way, to the second, and its
// signer must be somebody who may act today.
func TestVerifyHasAWindow(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    time.Time
		who   func(p *access.Person)
		want  *refusal.Reason
		field string
	}{
		{"at once", start, nil, nil, ""},
		{"five minutes later", start.Add(access.Window), nil, nil, ""},
		{"a moment more", start.Add(access.Window + time.Millisecond), nil, access.Stale, "at"},
		{"a clock five minutes ahead", start.Add(-access.Window), nil, nil, ""},
		{"further ahead", start.Add(-access.Window - time.Millisecond), nil, access.Stale, "at"},
		{"the certificate expired", start, func(p *access.Person) { p.NotAfter = start.Add(-time.Second) }, access.Expired, "certificate"},
		{"its last second", start, func(p *access.Person) { p.NotAfter = start }, nil, ""},
		{"the certificate not yet valid", start, func(p *access.Person) { p.NotBefore = start.Add(time.Second) }, access.Expired, "certificate"},
		{"the person disabled", start, func(p *access.Person) { p.Disabled = true }, access.Disabled, "certificate"},
		{"the person removed", start, func(p *access.Person) { p.Cert = []byte("another") }, access.NoSuchPerson, "certificate"},
	} {
		w := newWorld(t, "a")
		_, claim := w.sign(t, "a", items(1))
		w.now = c.at
		if c.who != nil {
			p := w.who["a"]
			c.who(&p)
			w.who["a"] = p
		}
		_, err := w.Verify(t.Context(), claim, "ra.approve", "审核通过", "证书申请 A0", "同意", items(1))
		refused(t, c.name, err, c.want, c.field)
	}
}

// What was accepted stays good when its signer's certificate has run out, but
// nothing signed outside its validity ever was.
func TestRecheckLooksAtTheTimeOfSigning(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, s *access.Signed)
		want   *refusal.Reason
		field  string
	}{
		{"at once", func(*world, *access.Signed) {}, nil, ""},
		{"ten years later", func(w *world, _ *access.Signed) { w.now = start.AddDate(10, 0, 0) }, nil, ""},
		{"signed after the certificate ended", func(w *world, _ *access.Signed) {
			w.change(func(p *access.Person) { p.NotAfter = start.Add(-time.Second) })
		}, access.Expired, "certificate"},
		{"signed before it began", func(w *world, _ *access.Signed) {
			w.change(func(p *access.Person) { p.NotBefore = start.Add(time.Second) })
		}, access.Expired, "certificate"},
		{"the person disabled since", func(w *world, _ *access.Signed) { w.change(func(p *access.Person) { p.Disabled = true }) }, access.Disabled, "certificate"},
		{"backdated into the validity", func(w *world, s *access.Signed) {
			w.change(func(p *access.Person) { p.NotAfter = start.Add(-time.Hour) })
			s.At = start.Add(-2 * time.Hour)
		}, access.BadSignature, "text"},
		{"somebody not on the register", func(_ *world, s *access.Signed) { s.Cert = []byte("x") }, access.NoSuchPerson, "certificate"},
		{"in another's name", func(_ *world, s *access.Signed) { s.Person = "b" }, access.BadSignature, "text"},
		{"another serial", func(_ *world, s *access.Signed) { s.Serial = "41" }, access.BadSignature, "text"},
		{"another act than the text's", func(_ *world, s *access.Signed) { s.Act = "ra.reject" }, access.BadSignature, "text"},
		{"another digest than the text's", func(_ *world, s *access.Signed) { s.Digest = alg.Digest() }, access.BadSignature, "text"},
		{"another count than the text's", func(_ *world, s *access.Signed) { s.Count++ }, access.BadSignature, "text"},
		{"text and fields changed alike", func(_ *world, s *access.Signed) { s.Note = "不同意"; s.Text = s.Statement.Text() }, access.BadSignature, "signature"},
		{"a flipped bit", func(_ *world, s *access.Signed) { s.Signature[12] ^= 1 }, access.BadSignature, "signature"},
	} {
		w := newWorld(t, "a", "b")
		s, _ := w.sign(t, "a", items(5))
		c.change(w, &s)
		cmd, err := w.Recheck(t.Context(), s)
		refused(t, c.name, err, c.want, c.field)
		if cmd.Authentic() != (c.want == nil) {
			t.Errorf("%s: authentic %v", c.name, cmd.Authentic())
		}
	}
}

func (w *world) change(f func(*access.Person)) {
	p := w.who["a"]
	f(&p)
	w.who["a"] = p
}

// A kept statement survives the wire and the database as JSON.
func TestASignedStatementTravels(t *testing.T) {
	w := newWorld(t, "a")
	s, _ := w.sign(t, "a", items(5))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back access.Signed
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recheck(t.Context(), back); err != nil {
		t.Error(err)
	}
}

func TestOnlySignaturesAndProcessesAreAuthentic(t *testing.T) {
	w := newWorld(t, "a")
	for _, c := range []struct {
		name string
		cmd  access.Command
		want bool
	}{
		{"a process", access.AsMachine("ra"), true}, {"somebody who has not signed", access.Preview(w.who["a"]), false}, {"nothing", access.Command{}, false},
	} {
		if c.cmd.Authentic() != c.want {
			t.Errorf("%s: %v", c.name, !c.want)
		}
	}
	if who := access.AsMachine("ra").Who(); who.ID != "system:ra" || !who.Holds(access.Machine) || who.Holds(access.RAClerk) {
		t.Errorf("%+v", who)
	}
	for role, title := range access.RoleTitles {
		if role.Title() != title || title == "" {
			t.Errorf("%s is called %q", role, role.Title())
		}
	}
	if access.Role("x").Title() != "x" {
		t.Error("a role without a title is called by its code")
	}
}

func database(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := access.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestTheRegisterKnowsPeopleByTheirCertificates(t *testing.T) {
	w, db := newWorld(t, "a", "b"), database(t)
	people := &access.People{DB: db}
	a := w.who["a"]
	a.Roles = []access.Role{access.RAClerk, access.RAReviewer}
	if _, err := people.PersonByCert(t.Context(), alg.Digest(a.Cert)); !errors.Is(err, access.NoSuchPerson) {
		t.Errorf("before: %v", err)
	}
	for _, p := range []access.Person{w.who["b"], a} {
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := people.Add(tx, p, "admin", start); return err }); err != nil {
			t.Fatal(err)
		}
	}
	got, err := people.PersonByCert(t.Context(), alg.Digest(a.Cert))
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", a) {
		t.Errorf("%+v %v", got, err)
	}
	if list, err := people.All(t.Context()); err != nil || len(list) != 2 || list[0].ID != "a" || list[1].ID != "b" {
		t.Errorf("%v %v", list, err)
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE person SET disabled = $1 WHERE id = $2`, true, "a")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	people.Forget()
	if got, err := people.PersonByCert(t.Context(), alg.Digest(a.Cert)); err != nil || !got.Disabled {
		t.Errorf("%+v %v", got, err)
	}
	w.Desk.People = people
	_, claim := w.sign(t, "a", nil)
	_, err = w.Verify(t.Context(), claim, "ra.approve", "审核通过", "证书申请 A0", "同意", nil)
	refused(t, "a person disabled in the register", err, access.Disabled, "certificate")
}

// A statement works once for as long as it could be verified at all.
func TestANonceIsSpentOnce(t *testing.T) {
	w, db := newWorld(t, "a"), database(t)
	_, claim := w.sign(t, "a", nil)
	cmd, err := w.Verify(t.Context(), claim, "ra.approve", "审核通过", "证书申请 A0", "同意", nil)
	if err != nil {
		t.Fatal(err)
	}
	spend := func(c access.Command, now time.Time, then error) error {
		return db.Write(t.Context(), func(tx *sqldb.Tx) error { return errors.Join(access.Spend(tx, c, now), then) })
	}
	failed := errors.New("the effect failed")
	if err := spend(cmd, start, failed); !errors.Is(err, failed) || errors.Is(err, access.Replayed) {
		t.Error(err)
	}
	if err := spend(cmd, start, nil); err != nil {
		t.Errorf("an act that failed used the statement up: %v", err)
	}
	for _, later := range []time.Duration{0, access.Window, 2 * access.Window} {
		refused(t, "again", spend(cmd, start.Add(later), nil), access.Replayed, "nonce")
	}
	for range 2 {
		if err := spend(access.AsMachine("ra"), start, nil); err != nil {
			t.Errorf("a process: %v", err)
		}
	}
}

// A desk with a secret takes back only what it drafted itself, for the same
// certificate, act and second.
func TestADeskKnowsItsOwnStatements(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.Secret = []byte("0123456789abcdef0123456789abcdef")
	_, claim := w.sign(t, "a", items(1))
	if _, err := w.Verify(t.Context(), claim, "ra.approve", "审核通过", "证书申请 A0", "同意", items(1)); err != nil {
		t.Fatal(err)
	}
	resign := func(change func(s *access.Statement)) access.Claim {
		st := w.Draft(w.who["a"], "ra.approve", "审核通过", "证书申请 A0", "同意", items(1))
		change(&st)
		s, err := st.Sign(w.keys["a"], w.who["a"].Cert)
		if err != nil {
			t.Fatal(err)
		}
		return access.Claim{Cert: s.Cert, At: s.At, Nonce: s.Nonce, Signature: s.Signature}
	}
	for name, change := range map[string]func(s *access.Statement){
		"a nonce of the signer's own": func(s *access.Statement) { s.Nonce = access.NonceOf(make([]byte, 32)) },
		"another second":              func(s *access.Statement) { s.At = s.At.Add(time.Second) },
		"drafted for another act": func(s *access.Statement) {
			s.Nonce = w.Draft(w.who["a"], "ra.reject", "", "", "", nil).Nonce
		},
		"drafted for another person": func(s *access.Statement) {
			s.Nonce = w.Draft(w.who["b"], "ra.approve", "", "", "", nil).Nonce
		},
	} {
		_, err := w.Verify(t.Context(), resign(change), "ra.approve", "审核通过", "证书申请 A0", "同意", items(1))
		refused(t, name, err, access.BadSignature, "nonce")
	}
}
