package caescrow_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/kmmsg"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/caescrow"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func identity(t testing.TB, name string, k *sm2.PrivateKey) *cert.Certificate {
	t.Helper()
	n := dn.Name{C: "CN", CN: name}.Bytes()
	der, err := cert.Seal(cert.Draft{Serial: []byte(name), Issuer: n, Subject: n, Point: alg.Point(&k.PublicKey), NotBefore: start, NotAfter: start.AddDate(1, 0, 0)}.TBS(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// place is a CA, and a key centre of a few lines that answers what it is asked.
type place struct {
	t      testing.TB
	centre *caescrow.Centre
	device *soft.Device
	key    *sm2.PrivateKey // signs for the key centre
	km     *cert.Certificate
	got    [][]byte // messages received
	now    time.Time
	// answer changes an answer before it is signed.
	answer func(asked kmmsg.Ask, a *kmmsg.Answer)
}

func newPlace(t testing.TB) *place {
	t.Helper()
	d, err := soft.Open(t.TempDir(), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := d.Generate("km")
	if err := errors.Join(err, d.NewMaster("m")); err != nil {
		t.Fatal(err)
	}
	caKey, kmKey := newKey(t), signer.(*sm2.PrivateKey)
	p := &place{t: t, device: d, key: kmKey, km: identity(t, "KM", kmKey), now: start}
	p.centre = &caescrow.Centre{Key: caKey, Cert: identity(t, "CA", caKey), KM: p.km, Ask: p.respond, Now: func() time.Time { return p.now }}
	return p
}

func (p *place) respond(_ context.Context, request []byte) ([]byte, error) {
	p.got = append(p.got, bytes.Clone(request))
	r, err := kmmsg.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(p.centre.Cert); err != nil {
		return nil, err
	}
	out := kmmsg.Response{KM: kmmsg.EntityOf(p.km), At: p.now, Task: r.Task}
	for _, asked := range r.Asks {
		a := kmmsg.Answer{Kind: asked.Kind, Serial: asked.Serial}
		if asked.Kind == kmmsg.Apply {
			pair, err := p.device.NewPair("m")
			if err != nil {
				return nil, err
			}
			s, err := p.device.Envelope("m", pair, asked.Point, "km")
			if err != nil {
				return nil, err
			}
			a.Point = pair.Point
			a.Sealed = cms.Envelope{Recipient: cms.Ref{Serial: asked.Serial}, SessionKey: s.SessionKey, Content: s.Content,
				Signer: cms.RefOf(p.km), Cert: p.km.Raw, Signature: s.Signature}.Bytes()
		}
		if p.answer != nil {
			p.answer(asked, &a)
		}
		out.Answers = append(out.Answers, a)
	}
	return out.Sign(p.key)
}

// apply asks for pairs for signing keys, with serials 41 01, 41 02, …
func (p *place) apply(owners ...*sm2.PrivateKey) ([]ca.KeyAnswer, error) {
	p.t.Helper()
	var asks []ca.KeyAsk
	for i, o := range owners {
		asks = append(asks, ca.KeyAsk{Serial: []byte{0x41, byte(i + 1)}, Point: alg.Point(&o.PublicKey), Name: "张三", From: p.now, To: p.now.AddDate(1, 0, 0)})
	}
	message, err := p.centre.Apply(7, asks, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.centre.Send(p.t.Context(), message)
}

func refuse(no int) func(kmmsg.Ask, *kmmsg.Answer) {
	return func(_ kmmsg.Ask, a *kmmsg.Answer) {
		*a = kmmsg.Answer{Kind: kmmsg.Failed, ErrNo: no, ErrDesc: "不行"}
	}
}

// What the CA gets is sealed to the subscriber's signing key, re-encoded as
// SM2EnvelopedKey and readable by nobody on the way.
func TestTheSubscriberAloneOpensWhatTheCAGot(t *testing.T) {
	p := newPlace(t)
	owners := []*sm2.PrivateKey{newKey(t), newKey(t)}
	answers, err := p.apply(owners...)
	if err != nil || len(answers) != 2 {
		t.Fatalf("%d answers: %v", len(answers), err)
	}
	for i, a := range answers {
		e, err := sealedkey.Parse(a.Sealed)
		if err != nil || a.Refused != "" || !bytes.Equal(a.Serial, []byte{0x41, byte(i + 1)}) || !bytes.Equal(e.Point, a.Point) || len(e.Content) != 32 {
			t.Fatalf("%+v: %v", a, err)
		}
		if _, err := e.Open(owners[i]); err != nil {
			t.Errorf("owner %d: %v", i, err)
		}
		for name, k := range map[string]*sm2.PrivateKey{"the other owner": owners[1-i], "the CA": p.centre.Key.(*sm2.PrivateKey), "the key centre's server": p.key} {
			if _, err := e.Open(k); err == nil {
				t.Errorf("%s opens key %d", name, i)
			}
		}
	}
}

// The serial of the encryption certificate is reserved first and travels with
// the question, next to the key the answer is sealed to.
func TestARequestNamesTheReservedSerialAndTheSigningKey(t *testing.T) {
	p := newPlace(t)
	owner := newKey(t)
	if _, err := p.apply(owner); err != nil {
		t.Fatal(err)
	}
	r, err := kmmsg.ParseRequest(p.got[0])
	if err != nil {
		t.Fatal(err)
	}
	a := r.Asks[0]
	if !r.CA.Is(p.centre.Cert) || !bytes.Equal(r.Task, kmmsg.Task(7)) || a.Kind != kmmsg.Apply || !bytes.Equal(a.Serial, []byte{0x41, 1}) ||
		!bytes.Equal(a.Point, alg.Point(&owner.PublicKey)) || a.UserName != "张三" || !a.From.Equal(start) || !a.To.Equal(start.AddDate(1, 0, 0)) {
		t.Errorf("%+v", r.Request)
	}
}

func TestARefusalOfOneLeavesTheOthersTheirKeys(t *testing.T) {
	p := newPlace(t)
	p.answer = func(asked kmmsg.Ask, a *kmmsg.Answer) {
		if asked.Serial[1] == 1 {
			refuse(7)(asked, a)
		}
	}
	answers, err := p.apply(newKey(t), newKey(t))
	if err != nil || answers[0].Refused != "7 不行" || answers[0].Sealed != nil || answers[1].Refused != "" || answers[1].Sealed == nil {
		t.Errorf("%+v %v", answers, err)
	}
}

// A message on record may be sent days later; the key centre then has nothing
// of it, and the same asks are signed with a new time under the same number.
func TestAMessageThatLayTooLongIsSignedAgainOnce(t *testing.T) {
	p := newPlace(t)
	p.answer = func(asked kmmsg.Ask, a *kmmsg.Answer) {
		if len(p.got) == 1 {
			refuse(4)(asked, a)
		}
	}
	owner := newKey(t)
	message, err := p.centre.Apply(7, []ca.KeyAsk{{Serial: []byte{0x41, 1}, Point: alg.Point(&owner.PublicKey), From: start, To: start.AddDate(1, 0, 0)}}, start)
	if err != nil {
		t.Fatal(err)
	}
	p.now = start.AddDate(0, 0, 3)
	answers, err := p.centre.Send(t.Context(), message)
	if err != nil || answers[0].Sealed == nil || len(p.got) != 2 {
		t.Fatalf("%+v after %d messages: %v", answers, len(p.got), err)
	}
	first, err1 := kmmsg.ParseRequest(p.got[0])
	second, err2 := kmmsg.ParseRequest(p.got[1])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Task, second.Task) || !second.At.Equal(p.now) || !bytes.Equal(first.Asks[0].Point, second.Asks[0].Point) {
		t.Errorf("%+v became %+v", first.Request, second.Request)
	}

	p.got, p.answer = nil, refuse(4)
	if answers, err = p.centre.Send(t.Context(), message); err != nil || len(p.got) != 2 || !strings.HasPrefix(answers[0].Refused, "4 ") {
		t.Errorf("refused for its time again: %+v after %d messages: %v", answers, len(p.got), err)
	}
}

func TestOnlyTheKeyCentresOwnAnswerCounts(t *testing.T) {
	for name, spoil := range map[string]func(p *place){
		"signed by another":      func(p *place) { p.key = newKey(t) },
		"in another's name":      func(p *place) { p.km = identity(t, "KM2", p.key) },
		"for another serial":     func(p *place) { p.answer = func(_ kmmsg.Ask, a *kmmsg.Answer) { a.Serial = []byte{9} } },
		"the signing key again":  func(p *place) { p.answer = func(asked kmmsg.Ask, a *kmmsg.Answer) { a.Point = asked.Point } },
		"no envelope":            func(p *place) { p.answer = func(_ kmmsg.Ask, a *kmmsg.Answer) { a.Sealed = []byte{0x30, 0} } },
		"a retirement":           func(p *place) { p.answer = func(_ kmmsg.Ask, a *kmmsg.Answer) { a.Kind = kmmsg.Revoke } },
		"no answer at all":       func(p *place) { p.centre.Ask = func(context.Context, []byte) ([]byte, error) { return nil, nil } },
		"an answer to something": func(p *place) { p.centre.Ask = func(_ context.Context, m []byte) ([]byte, error) { return m, nil } },
	} {
		p := newPlace(t)
		spoil(p)
		if answers, err := p.apply(newKey(t)); err == nil {
			t.Errorf("%s: %+v", name, answers)
		}
	}
	broken := errors.New("line is down")
	p := newPlace(t)
	p.centre.Ask = func(context.Context, []byte) ([]byte, error) { return nil, broken }
	if _, err := p.apply(newKey(t)); !errors.Is(err, broken) {
		t.Errorf("the carrier failed: %v", err)
	}
}

func TestARetirementNamesTheKeysAndIsAcknowledged(t *testing.T) {
	p := newPlace(t)
	serials := [][]byte{{0x41, 1}, {0x41, 2}}
	message, err := p.centre.Retire(8, serials, start)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := p.centre.Send(t.Context(), message)
	if err != nil || len(answers) != 2 {
		t.Fatalf("%+v %v", answers, err)
	}
	r, err := kmmsg.ParseRequest(p.got[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range r.Asks {
		if a.Kind != kmmsg.Revoke || !bytes.Equal(a.Serial, serials[i]) || answers[i].Refused != "" || !slices.Equal(answers[i].Serial, serials[i]) {
			t.Errorf("%+v answered %+v", a, answers[i])
		}
	}
}
