package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// selfSigned is a certificate good enough to be somebody.
func selfSigned(t testing.TB, cn string, key *sm2.PrivateKey, from, to time.Time) *cert.Certificate {
	t.Helper()
	point, subject := alg.Point(&key.PublicKey), dn.Name{C: "CN", O: "测试机构", CN: cn}.Bytes()
	der, err := cert.Seal(cert.Draft{Serial: alg.Digest(point)[:8], Issuer: subject, Subject: subject, NotBefore: from, NotAfter: to, Point: point,
		Extensions: []cert.Extension{cert.SKI(point)}}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// staff is the register of the registration desk, with everybody's keys.
type staff struct {
	who  map[string]access.Person
	keys map[string]*sm2.PrivateKey
}

func (s staff) PersonByCert(_ context.Context, digest []byte) (access.Person, error) {
	for name, p := range s.who {
		if name != "stranger" && bytes.Equal(alg.Digest(p.Cert), digest) {
			return p, nil
		}
	}
	return access.Person{}, access.NoSuchPerson.At("certificate", access.NoSuchPerson.Clause)
}

// hire makes the people of the tests once: they do not change.
var hire = sync.OnceValue(func() staff {
	t := testing.TB(new(testing.B))
	s := staff{map[string]access.Person{}, map[string]*sm2.PrivateKey{}}
	for name, roles := range map[string][]access.Role{
		"clerk": {access.RAClerk}, "reviewer": {access.RAReviewer}, "producer": {access.RAProducer}, "both": {access.RAClerk, access.RAReviewer},
		"former": {access.RAReviewer}, "disabled": {access.RAReviewer}, "stranger": {access.RAReviewer}, "admin": {access.RAAdmin},
	} {
		key, to := newKey(t), start.AddDate(1, 0, 0)
		if name == "former" {
			to = start.Add(-time.Hour)
		}
		p, err := access.PersonOf(access.PersonID(name), name, selfSigned(t, name, key, start.AddDate(-1, 0, 0), to).Raw, roles...)
		if err != nil {
			panic(err)
		}
		p.Disabled = name == "disabled"
		s.who[name], s.keys[name] = p, key
	}
	return s
})

// signer records each message and whether it was on record when it was signed.
type signer struct {
	crypto.Signer
	store *catest.Memory

	mu       sync.Mutex
	messages [][]byte
	early    int
}

func (s *signer) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.mu.Lock()
	s.messages = append(s.messages, bytes.Clone(message))
	if !contains(s.store.Intents(), message) {
		s.early++
	}
	s.mu.Unlock()
	return s.Signer.Sign(random, message, opts)
}

func contains(list [][]byte, one []byte) bool {
	return slices.ContainsFunc(list, func(b []byte) bool { return bytes.Equal(b, one) })
}

// check holds the key to what is on record: it signed every intent, nothing
// before it was on record and nothing else.
func (s *signer) check(t *testing.T) {
	t.Helper()
	intents := s.store.Intents()
	for _, m := range s.messages {
		if !contains(intents, m) {
			t.Error("the key signed what is not on record")
		}
	}
	for _, tbs := range intents {
		if !contains(s.messages, tbs) {
			t.Error("an intent was never signed")
		}
	}
	if s.early > 0 {
		t.Errorf("%d signatures before the intent was on record", s.early)
	}
}

// centre is a key centre that answers a message on record the same way each
// time, and fails once, at call at.
type centre struct {
	at    int
	after bool
	deny  string // subject it refuses
	spoil string // subject it gives an unusable key

	mu      sync.Mutex
	calls   int
	given   map[string]ca.KeyAnswer // by serial
	private []*sm2.PrivateKey       // of those given, in order
	retired [][]byte
}

type letter struct {
	Task   int64
	Asks   []ca.KeyAsk
	Retire [][]byte
}

func (c *centre) call(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.calls == c.at && !c.after {
		return catest.ErrCrash
	}
	err := do()
	if c.calls == c.at {
		return catest.ErrCrash
	}
	return err
}

func (c *centre) write(l letter) (message []byte, err error) {
	err = c.call(func() (err error) { message, err = json.Marshal(l); return err })
	return message, err
}

func (c *centre) Apply(task int64, asks []ca.KeyAsk, _ time.Time) ([]byte, error) {
	return c.write(letter{Task: task, Asks: asks})
}

func (c *centre) Retire(task int64, serials [][]byte, _ time.Time) ([]byte, error) {
	return c.write(letter{Task: task, Retire: serials})
}

func (c *centre) Send(_ context.Context, message []byte) (answers []ca.KeyAnswer, err error) {
	err = c.call(func() error {
		var l letter
		if err := json.Unmarshal(message, &l); err != nil {
			return err
		}
		for _, a := range l.Asks {
			answers = append(answers, c.answer(a))
		}
		c.retired = append(c.retired, l.Retire...)
		return nil
	})
	return answers, err
}

func (c *centre) answer(a ca.KeyAsk) ca.KeyAnswer {
	if a.Name == c.deny && c.deny != "" {
		return ca.KeyAnswer{Serial: a.Serial, Refused: "8 备用库不足"}
	}
	if c.given == nil {
		c.given = map[string]ca.KeyAnswer{}
	}
	got, ok := c.given[string(a.Serial)]
	if !ok {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		c.private = append(c.private, key)
		got = ca.KeyAnswer{Serial: a.Serial, Point: alg.Point(&key.PublicKey), Sealed: append([]byte("sealed "), a.Serial...)}
		c.given[string(a.Serial)] = got
	}
	if a.Name == c.spoil && c.spoil != "" {
		got.Point = a.Point
	}
	return got
}

// place is a CA over memory with a desk whose people really sign.
type place struct {
	*ca.Issuer
	staff
	memory *catest.Memory
	key    *signer
	keys   *centre
	gates  gates
	now    time.Time
}

// gates are open for every policy, but for those that are told otherwise.
type gates map[string]ca.Gate

func (g gates) Gate(_ context.Context, policy string) (ca.Gate, bool, error) {
	if own, ok := g[policy]; ok {
		return own, own.Policy != "", nil
	}
	return ca.Gate{Policy: policy, Qualification: "Q", From: start.AddDate(-1, 0, 0), To: start.AddDate(9, 0, 0), CPS: "CPS-1"}, true, nil
}

func newPlace(t testing.TB) *place {
	t.Helper()
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	p := &place{staff: hire(), memory: new(catest.Memory), keys: new(centre), gates: gates{}, now: start}
	p.key = &signer{Signer: key, store: p.memory}
	now := func() time.Time { return p.now }
	p.Issuer = &ca.Issuer{
		Key: p.key, Cert: selfSigned(t, "运营 CA", key, start.AddDate(-1, 0, 0), start.AddDate(3, 0, 0)), Store: p.memory, Keys: p.keys, Profiles: set, Gates: p.gates,
		Desk: access.Desk{Site: "注册系统", People: p.staff, Now: now}, Public: "http://ca.test", Now: now,
	}
	return p
}

// application is a person's, in order in every field.
func application(t testing.TB, id string, key *sm2.PrivateKey) enroll.Application {
	t.Helper()
	subject := dn.Name{C: "CN", O: "某某局", CN: "张三" + id}
	request, err := csr.New(subject.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	return enroll.Application{
		ID: id, Profile: "person-dual", Version: 1, Subject: subject, Days: 365, CSR: request,
		Identity: enroll.Identity{Kind: "resident-id", Masked: "1101****", Commitment: alg.Digest([]byte(id))},
		Check:    enroll.IdentityCheck{Method: "in-person", By: "clerk", At: start.Format(time.RFC3339)},
		Notices:  []string{"conditions", "liability", "holder-data", "scope"}, Accord: "协议-1", CPS: "CPS-1",
	}
}

// device is an application for a single certificate.
func device(t testing.TB, id string, key *sm2.PrivateKey) enroll.Application {
	a := application(t, id, key)
	a.Profile = "device-sign"
	return a
}

// sign is one person's signed step over a content.
func (p *place) sign(t testing.TB, who, act, kind, id string, seq int, content []byte) enroll.Evidence {
	t.Helper()
	item := access.Item{Kind: kind, ID: id, Seq: seq, Digest: alg.Digest(content)}
	signed, err := p.Desk.Draft(p.who[who], act, act, id, "", []access.Item{item}).Sign(p.staff.keys[who], p.who[who].Cert)
	if err != nil {
		t.Fatal(err)
	}
	return enroll.Evidence{Signed: signed, Item: item, Proof: access.Proof{Count: 1}}
}

func (p *place) request(t testing.TB, a enroll.Application, clerk, reviewer string) enroll.Request {
	t.Helper()
	content := a.Bytes()
	return enroll.Request{ID: a.ID, Content: content, Evidence: []enroll.Evidence{
		p.sign(t, clerk, "ra.submit", ca.IssueKind, a.ID, 0, content), p.sign(t, reviewer, "ra.approve", ca.IssueKind, a.ID, 1, content),
	}}
}

// fresh is a request in order, for a new key.
func (p *place) fresh(t testing.TB, id string) enroll.Request {
	t.Helper()
	return p.request(t, application(t, id, newKey(t)), "clerk", "reviewer")
}

// issue issues one certificate pair.
func (p *place) issue(t testing.TB, id string) enroll.Reply {
	t.Helper()
	results, err := p.Issue(t.Context(), []enroll.Request{p.fresh(t, id)})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	return results[0].Reply
}

// certificate reads a certificate and checks its signature.
func (p *place) certificate(t *testing.T, der []byte) *cert.Certificate {
	t.Helper()
	c, err := cert.Parse(der)
	if err == nil {
		err = c.SignedBy(p.Cert)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The pair says what was asked for: the subscriber's key in one certificate,
// the centre's in the other, and the status of each under its own shard.
func TestAPairSaysWhatWasAskedFor(t *testing.T) {
	p := newPlace(t)
	key := newKey(t)
	woken := 0
	p.Wake = func() { woken++ }
	results, err := p.Issue(t.Context(), []enroll.Request{p.request(t, application(t, "A1", key), "clerk", "reviewer")})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results[0].Err)
	}
	r := results[0].Reply
	sign, enc := p.certificate(t, r.Sign), p.certificate(t, r.Enc)
	given := p.keys.given[string(enc.Serial.Bytes())]
	if !bytes.Equal(sign.Point, alg.Point(&key.PublicKey)) || !bytes.Equal(enc.Point, given.Point) || !bytes.Equal(r.Sealed, given.Sealed) {
		t.Error("a key is in the wrong place")
	}
	if !bytes.Equal(sign.Subject, enc.Subject) || !bytes.Equal(sign.Validity, enc.Validity) || sign.NotAfter.Sub(sign.NotBefore) != 365*24*time.Hour {
		t.Error("the certificates of the pair differ in name or validity")
	}
	for _, c := range []*cert.Certificate{sign, enc} {
		serial := c.Serial.Bytes()
		if len(serial) != 16 {
			t.Errorf("a serial of %d bytes", len(serial))
		}
		if want := fmt.Sprintf("http://ca.test/crl/shard-%d.crl", ca.ShardOf(serial)); !bytes.Contains(c.Raw, []byte(want)) {
			t.Errorf("the certificate does not name %s", want)
		}
	}
	if lines := p.memory.Lines(); len(lines) != 1 || lines[0].Item != "ca.issue" || lines[0].Object != "A1" || lines[0].Serial != sign.SerialHex() {
		t.Errorf("trail %+v", lines)
	}
	if n := len(p.memory.Leaves()); n != 3 || woken != 1 { // two certificates and the escrow
		t.Errorf("%d leaves, woken %d times", n, woken)
	}
	p.key.check(t)
}

// A key of the institution itself takes the same road, once.
func TestAnInternalKeyIsCertifiedOnce(t *testing.T) {
	p := newPlace(t)
	subject := dn.Name{C: "CN", O: "测试机构", CN: "状态查询服务器"}
	point := alg.Point(&newKey(t).PublicKey)
	first, err := p.IssueInternal(t.Context(), "ocsp", "ocsp", subject, point)
	if err != nil {
		t.Fatal(err)
	}
	if c := p.certificate(t, first); !bytes.Equal(c.Point, point) {
		t.Error("another key")
	}
	again, err := p.IssueInternal(t.Context(), "ocsp", "ocsp", subject, point)
	if err != nil || !bytes.Equal(again, first) {
		t.Errorf("asked again: %v", err)
	}
	if _, err := p.IssueInternal(t.Context(), "x", "person-dual", subject, point); err == nil {
		t.Error("a profile that is applied for was used")
	}
	p.key.check(t)
}
