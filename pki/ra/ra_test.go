package ra_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// device wraps by turning bytes round: a case does not look into it.
type device struct{ hsm.Device }

func (device) Wrap(master string, secret, bound []byte) (hsm.Wrapped, error) {
	blob := append(bytes.Clone(secret), bound...)
	slices.Reverse(blob)
	return hsm.Wrapped{Version: 1, Master: master, Blob: blob}, nil
}

func (device) Unwrap(_ string, w hsm.Wrapped, bound []byte) ([]byte, error) {
	blob := bytes.Clone(w.Blob)
	slices.Reverse(blob)
	secret, ok := bytes.CutSuffix(blob, bound)
	if !ok {
		return nil, errors.New("bound to something else")
	}
	return secret, nil
}

// authority is a CA that answers a request ID the same way each time, refuses
// or passes over those it is told to, and fails once, at call at.
type authority struct {
	t     testing.TB
	down  atomic.Bool
	at    int
	after bool
	deny  map[string]*refusal.Refusal
	mute  map[string]bool

	calls   int
	issued  map[string]enroll.Reply
	revoked map[string]bool
	asked   []enroll.Request
}

func (a *authority) call(do func() error) error {
	a.calls++
	if a.down.Load() || a.calls == a.at && !a.after {
		return ratest.ErrCrash
	}
	err := do()
	if a.calls == a.at {
		return ratest.ErrCrash
	}
	return err
}

func (a *authority) Issue(_ context.Context, requests []enroll.Request) (answers []ra.Answer, err error) {
	err = a.call(func() error {
		a.asked = append(a.asked, requests...)
		for _, r := range requests {
			answers = append(answers, a.answer(r.ID))
		}
		return nil
	})
	return answers, err
}

func (a *authority) answer(id string) ra.Answer {
	if no := a.deny[id]; no != nil {
		return ra.Answer{Refusal: no}
	}
	if a.mute[id] {
		return ra.Answer{}
	}
	if _, ok := a.issued[id]; !ok {
		a.issued[id] = ratest.Reply(a.t, id, ratest.Now)
	}
	return ra.Answer{Reply: a.issued[id]}
}

func (a *authority) Revoke(_ context.Context, r enroll.Request) (enroll.Revoked, error) {
	return enroll.Revoked{}, a.call(func() error {
		a.asked = append(a.asked, r)
		if no := a.deny[r.ID]; no != nil {
			return no
		}
		a.revoked[r.ID] = true
		return nil
	})
}

// place is a registration desk over memory, with people who really sign.
type place struct {
	*ra.Registrar
	ratest.Staff
	t      *testing.T
	memory *ratest.Memory
	ca     *authority
	now    time.Time
}

func newPlace(t *testing.T) *place {
	t.Helper()
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, memory: new(ratest.Memory), now: ratest.Now}
	p.ca = &authority{t: t, deny: map[string]*refusal.Refusal{}, mute: map[string]bool{}, issued: map[string]enroll.Reply{}, revoked: map[string]bool{}}
	p.Staff = ratest.Hire(t, ratest.Now, map[string][]access.Role{
		"clerk": {access.RAClerk}, "clerk2": {access.RAClerk}, "reviewer": {access.RAReviewer}, "reviewer2": {access.RAReviewer},
		"both": {access.RAClerk, access.RAReviewer}, "producer": {access.RAProducer}, "auditor": {access.RAAuditor},
	})
	now := func() time.Time { return p.now }
	p.Registrar = &ra.Registrar{
		Store: p.memory, CA: p.ca, Profiles: set, Desk: access.Desk{Site: "注册系统", People: p.Staff, Now: now}, Device: device{}, Master: "m",
		BlindKey: []byte("blind"), CPS: "CPS-1", Accord: "协议-1", Now: now,
	}
	return p
}

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const number = "11010519491231002X"

// brought is a person's application, in order in every field.
func brought(t testing.TB, cn string) ra.Form {
	t.Helper()
	request, err := csr.New([]byte{0x30, 0}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return ra.Form{
		Profile: "person-dual", Subject: dn.Name{C: "CN", O: "某某局", CN: cn}, CSR: string(csr.PEM(request)),
		Identity: ra.IdentityForm{Kind: "resident-id", Number: number},
	}
}

// draft opens a case of the clerk's.
func (p *place) draft(cn string) ra.Record {
	p.t.Helper()
	rec, err := p.Draft(p.t.Context(), brought(p.t, cn), p.Who["clerk"], "10.0.0.1")
	if err != nil {
		p.t.Fatal(err)
	}
	return rec
}

// act plans, signs and does.
func (p *place) act(who string, o ra.Order) ([]ra.Record, error) {
	p.t.Helper()
	plan, err := p.Plan(p.t.Context(), o, p.Who[who])
	if err != nil {
		return nil, err
	}
	return p.Do(p.t.Context(), plan, p.Claim(p.t, who, p.Statement(plan, p.Who[who])), "10.0.0.1")
}

func (p *place) must(who string, o ra.Order) ra.Record {
	p.t.Helper()
	done, err := p.act(who, o)
	if err != nil {
		p.t.Fatalf("%s by %s: %v", o.Act, who, err)
	}
	return done[0]
}

// approved takes a new case as far as the CA.
func (p *place) approved(cn string) ra.Record {
	p.t.Helper()
	rec := p.draft(cn)
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	return p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{rec.ID}})
}

// issued takes a new case through the CA.
func (p *place) issued(cn string) ra.Record {
	p.t.Helper()
	rec := p.approved(cn)
	if _, err := p.Fulfil(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return p.stands(rec.ID, ra.Issued)
}

// stands checks where a case stands.
func (p *place) stands(id string, want casework.State) ra.Record {
	p.t.Helper()
	rec, err := p.memory.Case(p.t.Context(), id)
	if err != nil || rec.State != want {
		p.t.Errorf("%s is %q, want %q: %v", id, rec.State, want, err)
	}
	return rec
}

// same runs something and checks that the desk's memory is as before.
func (p *place) same(t *testing.T, do func()) {
	t.Helper()
	picture := func() string { return fmt.Sprintf("%+v\n%+v", p.memory.All(), p.memory.Lines()) }
	before := picture()
	do()
	if picture() != before {
		t.Error("something changed")
	}
}

// refused checks the reason, the field, and that a person learns clause and fix
// in a few words.
func refused(t *testing.T, err error, want *refusal.Reason, field string) {
	t.Helper()
	f := refusal.Of(err)
	if f == nil || !errors.Is(err, want) {
		t.Errorf("got %.200v, want %s", err, want.Code)
		return
	}
	r := f.Report()
	if r.Field != field || r.Clause == "" || r.Fix == "" || r.Text == "" {
		t.Errorf("field %.40q, want %q: %.200v", r.Field, field, r)
	}
	if n := len(fmt.Sprint(r)); n > 2000 {
		t.Errorf("a refusal of %d bytes", n)
	}
}

func dids(rec ra.Record) string {
	var s []string
	for _, e := range rec.Events {
		s = append(s, string(e.Did)+" "+string(e.Who))
	}
	return strings.Join(s, ", ")
}

func TestACaseGoesFromTheCounterToTheSubscribersHand(t *testing.T) {
	p := newPlace(t)
	woken := 0
	p.Wake = func() { woken++ }
	rec := p.issued("张三")
	if woken != 1 {
		t.Errorf("the worker was woken %d times", woken)
	}
	p.must("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}})
	rec, err := p.Delivery(t.Context(), rec.ID, p.Who["producer"])
	if err != nil {
		t.Fatal(err)
	}
	pack, err := p.Package(rec, [][]byte{p.Who["clerk"].Cert})
	if err != nil || !bytes.Contains(pack.Sign, []byte("BEGIN CERTIFICATE")) || pack.Enc == nil || pack.Chain == nil || !bytes.Equal(pack.Sealed, rec.Reply.Sealed) {
		t.Errorf("%+v %v", pack, err)
	}
	r := p.must("clerk2", ra.Order{Act: "ra.revoke", Serial: " " + strings.ToLower(rec.EncSerial), Reason: "keyCompromise", Note: "丢失"})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{r.ID}})
	if _, err := p.Fulfil(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.stands(r.ID, ra.Done)
	rec = p.stands(rec.ID, ra.Revoked)
	if got := dids(rec); got != "submit clerk, approve reviewer, issue system:ra, produce producer, end system:ra" {
		t.Error(got)
	}
	for _, request := range p.ca.asked {
		for _, e := range request.Evidence {
			if _, err := p.Desk.Recheck(t.Context(), e.Signed); err != nil || !e.Covers(map[byte]string{'A': "ra.issue", 'R': "ra.revoke"}[request.ID[0]], request.ID, request.Content) {
				t.Errorf("the CA was sent evidence that does not cover %s: %v", request.ID, err)
			}
		}
		if len(request.Evidence) != 2 {
			t.Errorf("%d pieces of evidence", len(request.Evidence))
		}
	}
	var items []string
	for _, l := range p.memory.Lines() {
		items = append(items, l.Item)
		if signed := !strings.HasPrefix(l.Who, "system:") && l.Item != "ra.draft"; signed != (len(l.Proof) == 32) {
			t.Errorf("%s by %s has a proof of %d bytes", l.Item, l.Who, len(l.Proof))
		}
	}
	if got := strings.Join(items, " "); got != "ra.draft ra.submit ra.approve ra.issue ra.produce ra.revoke ra.approve ra.carry ra.end" {
		t.Error(got)
	}
	if holder, err := p.memory.KeyHolder(t.Context(), rec.KeyHash); err != nil || holder != rec.ID {
		t.Errorf("a key that was given away is held by %q, and not for ever", holder)
	}
}

// An identity number is nowhere in what is signed, sent or listed.
func TestAnIdentityNumberStaysSealed(t *testing.T) {
	p := newPlace(t)
	rec := p.approved("张三")
	if _, err := p.Fulfil(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%s %+v %s", rec.Content, p.memory.Lines(), p.ca.asked[0].Content); strings.Contains(text, number) || !strings.Contains(string(rec.Content), "110*************2X") {
		t.Error("the number can be read, or its mask cannot")
	}
	for _, n := range []string{number, strings.ToLower(number)} {
		if list, err := p.Store.Find(t.Context(), ra.Query{Blind: p.Blind(n)}); err != nil || len(list) != 1 {
			t.Errorf("found %d by %s: %v", len(list), n, err)
		}
	}
}

// One signature covers many cases, wholly or not at all.
func TestOneSignatureMovesManyCasesOrNone(t *testing.T) {
	p := newPlace(t)
	var ids []string
	for n := range 7 {
		ids = append(ids, p.draft(fmt.Sprint("张", n)).ID)
	}
	plan, err := p.Plan(t.Context(), ra.Order{Act: "ra.submit", IDs: ids}, p.Who["clerk"])
	if err != nil {
		t.Fatal(err)
	}
	if plan.Object != fmt.Sprintf("证书申请 %s（张0，模板 person-dual，主体 C=CN, O=某某局, CN=张0，365 天） 等 7 件", ids[0]) {
		t.Error(plan.Object)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: ids[3:4]})
	p.same(t, func() {
		_, err := p.Do(t.Context(), plan, p.Claim(t, "clerk", p.Statement(plan, p.Who["clerk"])), "")
		refused(t, err, casework.Stale, "id")
		_, err = p.act("clerk", ra.Order{Act: "ra.submit", IDs: []string{ids[0], ids[0]}})
		refused(t, err, casework.Stale, "id")
	})
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: slices.Concat(ids[:3], ids[4:])})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: ids})
	if n, err := p.Fulfil(t.Context()); err != nil || n != 7 {
		t.Error(n, err)
	}
}
