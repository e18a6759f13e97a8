package km_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/kmmsg"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/pki/km/kmtest"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// peer is a CA or the key centre as the other side sees it.
type peer struct {
	key  crypto.Signer
	cert *cert.Certificate
}

func newPeer(t testing.TB, name string, serial int64, key crypto.Signer) peer {
	t.Helper()
	if key == nil {
		var err error
		if key, err = sm2.GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := &smx509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(5, 0, 0),
	}
	der, err := smx509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return peer{key, c}
}

// place is a key centre with one registered CA and a clock.
type place struct {
	*km.Vault
	memory *kmtest.Memory // nil on SQLite
	km, ca peer
	now    time.Time
	task   int64
}

func newPlace(t testing.TB, store km.Store) *place {
	t.Helper()
	d, err := soft.Open(t.TempDir(), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.Generate("identity")
	if err := errors.Join(err, d.NewMaster("master")); err != nil {
		t.Fatal(err)
	}
	p := &place{km: newPeer(t, "密钥管理中心", 1, key), ca: newPeer(t, "测试 CA 服务器", 2, nil), now: start}
	if store == nil {
		p.memory = new(kmtest.Memory)
		store = p.memory
	}
	p.Vault = &km.Vault{
		Store: store, Device: d, Master: "master", Identity: "identity", Cert: p.km.cert.Raw, CAs: [][]byte{p.ca.cert.Raw},
		Now: func() time.Time { return p.now }, Low: 4, High: 8,
	}
	return p
}

func sqlite(t testing.TB) km.Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "km.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := kmstore.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// owner is a subscriber with a signing key.
type owner struct{ key *sm2.PrivateKey }

func newOwner(t testing.TB) owner {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return owner{k}
}

func (o owner) point() []byte { return alg.Point(&o.key.PublicKey) }

func (o owner) apply(serial ...byte) kmmsg.Ask {
	return kmmsg.Ask{Kind: kmmsg.Apply, Serial: serial, Point: o.point(), From: start, To: start.AddDate(1, 0, 0), UserName: "张三"}
}

func (o owner) restore(serial ...byte) kmmsg.Ask {
	return kmmsg.Ask{Kind: kmmsg.Restore, Serial: serial, Point: o.point()}
}

func revoke(serial ...byte) kmmsg.Ask { return kmmsg.Ask{Kind: kmmsg.Revoke, Serial: serial} }

func (p *place) request(t testing.TB, asks ...kmmsg.Ask) []byte {
	t.Helper()
	p.task++
	der, err := kmmsg.Build(p.ca.cert, p.ca.key, kmmsg.Task(p.task), asks, p.now)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (p *place) send(t testing.TB, request []byte) []kmmsg.Result {
	t.Helper()
	response, err := p.Answer(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	results, err := kmmsg.Check(request, response, p.km.cert)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func (p *place) ask(t testing.TB, asks ...kmmsg.Ask) []kmmsg.Result {
	t.Helper()
	return p.send(t, p.request(t, asks...))
}

func numbers(results []kmmsg.Result) (n []int) {
	for _, r := range results {
		n = append(n, r.ErrNo)
	}
	return n
}

func (p *place) counts(t testing.TB, standby, inUse, history int) {
	t.Helper()
	got, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Standby != standby || got.InUse != inUse || got.History != history {
		t.Errorf("备用 %d 在用 %d 历史 %d, want %d %d %d", got.Standby, got.InUse, got.History, standby, inUse, history)
	}
}

func (p *place) fill(t testing.TB) {
	t.Helper()
	if err := p.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The path of the key end to end: the CA re-encodes what it cannot read, and
// gmsm opens it with the owner's signing key.
func TestTheOwnerAloneOpensTheKey(t *testing.T) {
	p := newPlace(t, nil)
	p.fill(t)
	o := newOwner(t)
	r := p.ask(t, o.apply(1))[0]
	e, err := sealedkey.FromEnveloped(r.SessionKey, r.Content, r.Point)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := sm2.ParseEnvelopedPrivateKey(o.key, e.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(alg.Point(&pair.PublicKey), r.Point) {
		t.Error("another pair")
	}
	if _, err := e.Open(newOwner(t).key); err == nil {
		t.Error("a stranger opens it")
	}
	p.counts(t, 7, 1, 0)
}

func TestTheEnvelopeIsSignedByTheCentreOverThePlainKey(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	request := p.request(t, o.apply(0x7f, 1))
	der, err := p.Answer(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := kmmsg.ParseResponse(der)
	if err != nil {
		t.Fatal(err)
	}
	e, err := cms.Parse(resp.Answers[0].Sealed)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := e.Open(o.key, p.km.cert.PublicKey())
	if err != nil || len(plain) != 64 {
		t.Fatalf("%d bytes, %v", len(plain), err)
	}
	if !bytes.Equal(e.Recipient.Serial, []byte{0x7f, 1}) || !bytes.Equal(e.Signer.Serial, p.km.cert.Serial.Bytes()) || !bytes.Equal(e.Cert, p.km.cert.Raw) {
		t.Errorf("%+v", e)
	}
}

// Recovery: the old pair, sealed to a new signing key (GM/T 0034 §12.4).
func TestRecoveryGivesTheSamePairToTheNewSigningKey(t *testing.T) {
	p := newPlace(t, nil)
	first, second := newOwner(t), newOwner(t)
	was := p.ask(t, first.apply(1))[0]
	now := p.ask(t, second.restore(1))[0]
	if !bytes.Equal(was.Point, now.Point) {
		t.Error("another pair came back")
	}
	e, err := sealedkey.FromEnveloped(now.SessionKey, now.Content, now.Point)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(second.key); err != nil {
		t.Error(err)
	}
	if _, err := e.Open(first.key); err == nil {
		t.Error("the old signing key opens it too")
	}
	r, _, err := p.Store.Record(t.Context(), km.Authority(p.ca.cert), []byte{1})
	if err != nil || !bytes.Equal(r.SealedTo, second.point()) {
		t.Errorf("%v: the record does not say whom it was sealed to", err)
	}
}

func TestOneMessageMixesGrantsAndRefusals(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	p.ask(t, o.apply(1), o.apply(2), o.apply(3))
	p.ask(t, revoke(3))
	ended, backward, weak := o.apply(20), o.apply(21), o.apply(22)
	ended.From, ended.To = start.AddDate(-2, 0, 0), start.AddDate(-1, 0, 0)
	backward.To = backward.From
	weak.Algorithms = kmmsg.Algorithms{Key: alg.SM2, Bits: 512, Asym: alg.SM2Encrypt, Sym: alg.SM4, Digest: alg.SM3}
	cbc := o.restore(1)
	cbc.Algorithms = kmmsg.Algorithms{Asym: alg.SM2Encrypt, Sym: alg.SM4CBC, Digest: alg.SM3}
	for _, c := range []struct {
		why  string
		asks []kmmsg.Ask
		want []int
	}{
		{"a serial that has a pair", []kmmsg.Ask{o.apply(1), o.apply(10)}, []int{7, 0}},
		{"a serial that had a pair", []kmmsg.Ask{o.apply(3)}, []int{7}},
		{"a serial twice in one message", []kmmsg.Ask{o.apply(11), o.apply(11)}, []int{0, 7}},
		{"no such pair", []kmmsg.Ask{o.restore(99), revoke(99), revoke(2)}, []int{8, 8, 0}},
		{"a pair in the history is not restored", []kmmsg.Ask{o.restore(3)}, []int{9}},
		{"revoking again is no error", []kmmsg.Ask{revoke(3)}, []int{0}},
		{"revoked a moment ago", []kmmsg.Ask{o.apply(12), revoke(12), o.restore(12)}, []int{0, 0, 9}},
		{"validity", []kmmsg.Ask{ended, backward, o.apply(13)}, []int{13, 13, 0}},
		{"algorithms", []kmmsg.Ask{weak, cbc}, []int{6, 6}},
	} {
		results := p.ask(t, c.asks...)
		if got := numbers(results); !slices.Equal(got, c.want) {
			t.Errorf("%s: errNo %v, want %v", c.why, got, c.want)
		}
		for _, r := range results {
			if r.ErrNo != 0 && r.Desc != km.Numbered(r.ErrNo).Text {
				t.Errorf("%s: errDesc %q", c.why, r.Desc)
			}
		}
	}
}

func TestAnotherCAHasItsOwnSerials(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	mine := p.ask(t, o.apply(1))[0]
	other := newPeer(t, "另一家 CA", 9, nil)
	two := newPlace(t, p.memory)
	two.Device, two.Cert, two.km, two.CAs, two.ca = p.Device, p.Cert, p.km, [][]byte{p.ca.cert.Raw, other.cert.Raw}, other
	if got := numbers(two.ask(t, o.restore(1), revoke(1))); !slices.Equal(got, []int{8, 8}) {
		t.Errorf("errNo %v for another CA's pair", got)
	}
	if theirs := two.ask(t, o.apply(1))[0]; theirs.ErrNo != 0 || bytes.Equal(theirs.Point, mine.Point) {
		t.Errorf("%+v", theirs)
	}
}

func TestARenewedCAKeepsItsPairs(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	p.ask(t, o.apply(1))
	renewed := newPeer(t, "测试 CA 服务器", 3, nil)
	two := newPlace(t, p.memory)
	two.Device, two.Cert, two.km, two.CAs, two.ca, two.task = p.Device, p.Cert, p.km, [][]byte{p.ca.cert.Raw, renewed.cert.Raw}, renewed, 50
	if got := numbers(two.ask(t, o.restore(1))); !slices.Equal(got, []int{0}) {
		t.Errorf("errNo %v", got)
	}
}

func TestTheSameBytesGetTheSameAnswerAtAnyTime(t *testing.T) {
	p := newPlace(t, nil)
	request := p.request(t, newOwner(t).apply(1))
	first, err := p.Answer(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	p.now = p.now.Add(24 * time.Hour)
	again, err := p.Answer(t.Context(), request)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("%v: another answer", err)
	}
	p.counts(t, 0, 1, 0)
}

func TestAForgottenAnswerIsSealedAnewFromTheSamePair(t *testing.T) {
	p := newPlace(t, nil)
	request := p.request(t, newOwner(t).apply(1), revoke(99))
	first := p.send(t, request)
	p.now = p.now.AddDate(0, 2, 0)
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := p.send(t, request)
	if !bytes.Equal(first[0].Point, again[0].Point) || bytes.Equal(first[0].SessionKey, again[0].SessionKey) || again[1].ErrNo != 8 {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
}

func TestATaskNumberServesOneMessageOnly(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	request := p.request(t, o.apply(1))
	p.send(t, request)
	p.task--
	other := p.request(t, o.apply(2), o.apply(3))
	if got := numbers(p.send(t, other)); !slices.Equal(got, []int{5, 5}) {
		t.Errorf("errNo %v", got)
	}
	p.counts(t, 0, 1, 0)
	if p.send(t, request)[0].ErrNo != 0 {
		t.Error("the first message lost its answer")
	}
}

func TestAMessageOutOfTimeMayBeSignedAgainUnderItsNumber(t *testing.T) {
	for _, late := range []time.Duration{5*time.Minute + time.Second, -5*time.Minute - time.Second} {
		p := newPlace(t, nil)
		request := p.request(t, newOwner(t).apply(1))
		p.now = p.now.Add(late)
		if got := numbers(p.send(t, request)); !slices.Equal(got, []int{4}) {
			t.Errorf("%v late: errNo %v", late, got)
		}
		p.counts(t, 0, 0, 0)
		renewed, err := kmmsg.Renew(request, p.ca.key, p.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := numbers(p.send(t, renewed)); !slices.Equal(got, []int{0}) {
			t.Errorf("%v late, renewed: errNo %v", late, got)
		}
	}
}

func TestStrangersAreTurnedAwayAndOnTheTrail(t *testing.T) {
	p := newPlace(t, nil)
	good := p.request(t, newOwner(t).apply(1))
	forged := bytes.Clone(good)
	forged[len(forged)-3] ^= 1
	stranger := newPlace(t, nil)
	for name, c := range map[string]struct {
		bytes []byte
		want  *refusal.Reason
		who   string
	}{
		"noise":            {[]byte("GET / HTTP/1.1"), km.Malformed, "unknown"},
		"a bad signature":  {forged, km.BadSignature, "unknown"},
		"a stranger":       {stranger.request(t, newOwner(t).apply(1)), km.UnknownCA, "unknown"},
		"trailing rubbish": {append(bytes.Clone(good), 0), km.Malformed, "unknown"},
	} {
		before := len(p.memory.Lines())
		answer, err := p.Answer(t.Context(), c.bytes)
		if !errors.Is(err, c.want) || answer != nil {
			t.Errorf("%s: %v", name, err)
		}
		lines := p.memory.Lines()[before:]
		if len(lines) != 1 || lines[0].Result != c.want.Code || lines[0].Who != c.who {
			t.Errorf("%s: trail %+v", name, lines)
		}
	}
	p.counts(t, 0, 0, 0)
}

func TestACAWhoseCertificateEndedIsTurnedAway(t *testing.T) {
	p := newPlace(t, nil)
	p.now = start.AddDate(6, 0, 0)
	if _, err := p.Answer(t.Context(), p.request(t, revoke(1))); !errors.Is(err, km.UnknownCA) {
		t.Errorf("got %v", err)
	}
}

func TestEveryRequestHasItsLine(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	request := p.request(t, o.apply(0xab, 1), revoke(9))
	p.send(t, request)
	p.send(t, request)
	var got []string
	for _, l := range p.memory.Lines() {
		if !strings.Contains(l.Who, "测试 CA 服务器") || l.Start.IsZero() || l.End.Before(l.Start) {
			t.Errorf("%+v", l)
		}
		got = append(got, l.Item+" "+l.Serial+" "+l.Result)
	}
	want := []string{"km.apply AB01 done", "km.revoke 09 km.no_key", "km.answer  done", "km.resend  done"}
	if !slices.Equal(got, want) {
		t.Errorf("trail %q", got)
	}
}

func TestAnEmptyPoolIsNoReasonToRefuse(t *testing.T) {
	p := newPlace(t, sqlite(t))
	p.fill(t)
	var asks []kmmsg.Ask
	for i := range 12 {
		asks = append(asks, newOwner(t).apply(byte(i+1)))
	}
	points := map[string]bool{}
	for _, r := range p.ask(t, asks...) {
		points[string(r.Point)] = r.ErrNo == 0
	}
	if len(points) != 12 {
		t.Errorf("%d pairs", len(points))
	}
	p.counts(t, 8, 12, 0)
}

func TestRunRefillsAfterAnAllocation(t *testing.T) {
	p := newPlace(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	full := func() bool {
		s, err := p.Status(t.Context())
		return err == nil && s.Standby == p.High
	}
	until(t, full)
	var asks []kmmsg.Ask
	for i := range 6 {
		asks = append(asks, newOwner(t).apply(byte(i+1)))
	}
	p.ask(t, asks...)
	until(t, full)
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited too long")
}

func TestEndedPairsGoToTheHistory(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	p.ask(t, o.apply(1))
	p.now = start.AddDate(1, 0, 1)
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.counts(t, 0, 0, 1)
	if got := numbers(p.ask(t, o.restore(1), revoke(1))); !slices.Equal(got, []int{9, 0}) {
		t.Errorf("errNo %v", got)
	}
}

// The database alone opens nothing (GM/T 0034 §6.2: all key data encrypted).
func TestTheStoreHoldsNoKeyInTheClear(t *testing.T) {
	p := newPlace(t, nil)
	o := newOwner(t)
	r := p.ask(t, o.apply(1))[0]
	e, err := sealedkey.FromEnveloped(r.SessionKey, r.Content, r.Point)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := e.Open(o.key)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := p.Store.Record(t.Context(), km.Authority(p.ca.cert), []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if secret := pair.D.FillBytes(make([]byte, 32)); strings.Contains(fmt.Sprintf("%x", kept), hex.EncodeToString(secret)) || bytes.Contains(kept.Pair.Private.Blob, secret) {
		t.Error("the private key lies in the record")
	}
	if kept.UserName != "张三" || !kept.To.Equal(start.AddDate(1, 0, 0)) || !bytes.Equal(kept.SealedTo, o.point()) {
		t.Errorf("%+v", kept)
	}
}

func TestErrNoAreStable(t *testing.T) {
	for n, r := range map[int]*refusal.Reason{1: km.Malformed, 4: km.OutOfTime, 7: km.Duplicate, 13: km.Policy} {
		if km.Number(r) != n || km.Numbered(n) != r {
			t.Errorf("errNo %d", n)
		}
	}
	if km.Numbered(0) != nil || km.Numbered(14) != nil {
		t.Error("a number too many")
	}
}
