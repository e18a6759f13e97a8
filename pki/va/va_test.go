package va_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/asn1"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// clock is moved by hand.
type clock struct {
	sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.Lock()
	defer c.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.Lock()
	defer c.Unlock()
	c.at = c.at.Add(d)
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 24, 8, 0, 0, 5e8, time.UTC)} }

func question(w *vatest.World, hash asn1.ObjectIdentifier, null bool, nonce []byte, certs ...*cert.Certificate) []byte {
	var ids []ocsp.CertID
	for _, c := range certs {
		ids = append(ids, ocsp.Ask(hash, null, w.CA, c.Serial.Bytes()))
	}
	return ocsp.NewRequest(nonce, ids...)
}

// ask asks, and checks what every answer must be.
func ask(t *testing.T, w *vatest.World, r *va.Responder, der []byte) (*ocsp.Response, va.Answer) {
	t.Helper()
	a := r.Respond(t.Context(), der)
	if a.Code != ocsp.Successful {
		t.Fatalf("%v: %v", a.Code, a.Err)
	}
	got, err := ocsp.Parse(a.DER)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Verify(w.CA, w.Now()); err != nil {
		t.Fatal(err)
	}
	req, err := ocsp.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range req.IDs {
		if !bytes.Equal(got.Singles[i].ID, id.Raw) {
			t.Errorf("answered about %x, asked about %x", got.Singles[i].ID, id.Raw)
		}
	}
	if !bytes.Equal(got.Nonce, req.Nonce) || !bytes.Equal(got.Responder, w.Cert.Subject) {
		t.Errorf("nonce %x, responder %x", got.Nonce, got.Responder)
	}
	return got, a
}

func state(t *testing.T, w *vatest.World, r *va.Responder, c *cert.Certificate) (ocsp.State, int) {
	t.Helper()
	got, _ := ask(t, w, r, question(w, alg.SM3, false, nil, c))
	return got.Singles[0].State, got.Singles[0].Reason
}

func apply(t *testing.T, w *vatest.World, r *va.Responder) {
	t.Helper()
	if err := r.Apply(w.Take()); err != nil {
		t.Fatal(err)
	}
}

func TestEveryHashAndFormIsAnsweredAsAsked(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := w.Responder()
	c := w.Issue("a", true)
	apply(t, w, r)
	for _, hash := range ocsp.Hashes {
		for _, null := range []bool{true, false} {
			got, a := ask(t, w, r, question(w, hash, null, nil, c))
			if got.Singles[0].State != ocsp.Good || a.Live || len(a.ETag) == 0 {
				t.Errorf("%v: %+v, live %v", hash, got.Singles[0], a.Live)
			}
			if _, again := ask(t, w, r, question(w, hash, null, nil, c)); !bytes.Equal(again.DER, a.DER) {
				t.Errorf("%v: signed twice", hash)
			}
		}
	}
	nonce := []byte("0123456789abcdef")
	if _, a := ask(t, w, r, question(w, alg.SHA256, true, nonce, c)); !a.Live {
		t.Error("an answer with a nonce may be given to others")
	}
	if got, a := ask(t, w, r, question(w, alg.SHA1, true, nil, c, w.CA, c)); !a.Live || len(got.Singles) != 3 || got.Singles[1].State != ocsp.Unknown {
		t.Errorf("three questions: %+v", got.Singles)
	}
}

func TestAStatusChangeShowsInTheNextAnswer(t *testing.T) {
	k := newClock()
	w := vatest.New(t, k.Now)
	r := w.Responder()
	c, other := w.Issue("a", true), w.Issue("b", true)
	apply(t, w, r)
	for _, step := range []struct {
		do     func()
		want   ocsp.State
		reason int
	}{
		{func() {}, ocsp.Good, 0},
		{func() { w.Revoke(c, 6) }, ocsp.Revoked, 6},
		{func() { w.Release(c) }, ocsp.Good, 0},
		{func() { w.Revoke(c, 1) }, ocsp.Revoked, 1},
	} {
		step.do()
		k.add(time.Second)
		apply(t, w, r)
		if s, reason := state(t, w, r, c); s != step.want || reason != step.reason {
			t.Fatalf("%v %d, want %v %d", s, reason, step.want, step.reason)
		}
		if s, _ := state(t, w, r, other); s != ocsp.Good {
			t.Fatalf("the other certificate: %v", s)
		}
	}
	got, _ := ask(t, w, r, question(w, alg.SM3, false, nil, c))
	if at := got.Singles[0].RevokedAt; at.Sub(k.Now()).Abs() > 2*time.Second {
		t.Errorf("revoked at %v", at)
	}
}

func TestSerialsOfAnyLengthAreKept(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := w.Responder()
	var all []*cert.Certificate
	for _, serial := range [][]byte{{1}, {0x80}, {1, 0}, bytes.Repeat([]byte{7}, 16), bytes.Repeat([]byte{7}, 17), bytes.Repeat([]byte{7}, 18),
		append([]byte{0x7F}, make([]byte, 19)...)} {
		c, _ := w.CertifyAs(serial, "x")
		w.Record(c, true)
		all = append(all, c)
	}
	apply(t, w, r)
	for i := range all {
		w.Revoke(all[i], 4)
		apply(t, w, r)
		for j, c := range all {
			if s, _ := state(t, w, r, c); (s == ocsp.Revoked) != (j <= i) {
				t.Errorf("%d revoked, serial %x is %v", i+1, c.Serial.Bytes(), s)
			}
		}
	}
}

func TestWhatCannotBeAnsweredSaysWhy(t *testing.T) {
	w, stranger := vatest.New(t, newClock().Now), vatest.New(t, newClock().Now)
	r := w.Responder()
	c := w.Issue("a", true)
	if a := r.Respond(t.Context(), question(w, alg.SM3, false, nil, c)); a.Code != ocsp.Unauthorized {
		t.Errorf("before any CA is known: %v", a.Code)
	}
	known := &va.Responder{Signer: w.Key, Cert: w.Cert.Raw, Now: w.Now, Issuers: [][]byte{w.CA.Raw}}
	if err := known.Start(); err != nil {
		t.Fatal(err)
	}
	if a := known.Respond(t.Context(), question(w, alg.SM3, false, nil, c)); a.Code != ocsp.TryLater {
		t.Errorf("before the ledger is read: %v", a.Code)
	}
	apply(t, w, r)
	ours, theirs := ocsp.Ask(alg.SM3, true, w.CA, c.Serial.Bytes()), ocsp.Ask(alg.SM3, true, stranger.CA, c.Serial.Bytes())
	odd := ours
	odd.Raw = bytes.Replace(ours.Raw, []byte{0x83, 0x11}, []byte{0x83, 0x12}, 1) // another hash's OID
	for _, tt := range []struct {
		name string
		der  []byte
		code ocsp.Code
	}{
		{"not DER", []byte("hello"), ocsp.MalformedRequest},
		{"nothing", nil, ocsp.MalformedRequest},
		{"another CA's certificate", ocsp.NewRequest(nil, theirs), ocsp.Unauthorized},
		{"a hash we do not know", ocsp.NewRequest(nil, odd), ocsp.Unauthorized},
		{"one of ours among others", ocsp.NewRequest(nil, theirs, ours), ocsp.Successful},
	} {
		a := r.Respond(t.Context(), tt.der)
		if a.Code != tt.code || (a.Err == nil) != (a.Code == ocsp.Successful) || a.Code != ocsp.Successful && !bytes.Equal(a.DER, ocsp.Failure(tt.code)) {
			t.Errorf("%s: %v %v", tt.name, a.Code, a.Err)
		}
	}
	r.SignedOnly = true
	if a := r.Respond(t.Context(), ocsp.NewRequest(nil, ours)); a.Code != ocsp.SigRequired {
		t.Errorf("unsigned where only signed ones are answered: %v", a.Code)
	}
}

func TestAPresignedAnswerIsRenewedAtHalfItsTime(t *testing.T) {
	k := newClock()
	w := vatest.New(t, k.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	apply(t, w, r)
	q := question(w, alg.SM3, false, nil, c)
	_, first := ask(t, w, r, q)
	if first.NextUpdate.Sub(first.ThisUpdate) != time.Hour || first.ThisUpdate.Nanosecond() != 0 {
		t.Errorf("from %v to %v", first.ThisUpdate, first.NextUpdate)
	}
	k.add(29 * time.Minute)
	if _, a := ask(t, w, r, q); !bytes.Equal(a.DER, first.DER) {
		t.Error("signed again before half its time")
	}
	k.add(2 * time.Minute)
	_, second := ask(t, w, r, q)
	if bytes.Equal(second.DER, first.DER) {
		t.Error("not signed again after half its time")
	}
	if !second.ThisUpdate.Equal(first.ThisUpdate) || !second.NextUpdate.After(first.NextUpdate) {
		t.Error("it claims to know the status as of a time when the ledger was not read")
	}
}

// Whatever the institution ever issued is answered for; a serial it never
// issued is unknown, or revoked where that is configured and the ledger was
// read just now (RFC 6960 §2.2, §4.4.4, §4.4.8).
func TestWhatWasNeverIssuedIsRevokedWhereConfigured(t *testing.T) {
	k := newClock()
	w := vatest.New(t, k.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	stranger, _ := w.Certify("never issued")
	apply(t, w, r)
	q := question(w, alg.SM3, false, []byte{4, 2, 1, 1}, c, stranger)
	got, _ := ask(t, w, r, q)
	if got.Singles[1].State != ocsp.Unknown || got.Extended || !got.Singles[1].Cutoff.IsZero() {
		t.Errorf("by default %+v", got.Singles[1])
	}
	if !got.Singles[0].Cutoff.Equal(w.CA.NotBefore) {
		t.Errorf("the archive goes back to %v", got.Singles[0].Cutoff)
	}
	r.Extended = true
	got, _ = ask(t, w, r, q)
	if s := got.Singles[1]; s.State != ocsp.Revoked || s.Reason != 6 || !s.RevokedAt.Equal(time.Unix(0, 0)) || !got.Extended || got.Singles[0].State != ocsp.Good {
		t.Errorf("configured so %+v, extended %v", s, got.Extended)
	}
	if _, a := ask(t, w, r, question(w, alg.SM3, false, nil, stranger)); !a.Live {
		t.Error("kept, although it may be issued the next moment")
	}
	if got, _ = ask(t, w, r, question(w, alg.SM3, false, nil, c)); got.Extended {
		t.Error("extended, and nothing never issued in it")
	}
	k.add(time.Minute) // the ledger was not read since
	if got, _ = ask(t, w, r, q); got.Singles[1].State != ocsp.Unknown || got.Extended {
		t.Errorf("without the ledger %+v", got.Singles[1])
	}
}

// A new key signs from the next question on; what the old one signed verifies
// until it ends, for its certificate is in it.
func TestAnswersOfTheOldKeyHoldUntilTheyEnd(t *testing.T) {
	k := newClock()
	w := vatest.New(t, k.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	apply(t, w, r)
	q := question(w, alg.SM3, false, nil, c)
	_, old := ask(t, w, r, q)
	next, key := w.Certify("ocsp", cert.ExtKeyUsage(false, cert.UsageOCSPSigning), cert.NoCheck(), cert.AKI(w.CA.Point))
	if err := r.Renew(key, next.Raw); err != nil {
		t.Fatal(err)
	}
	k.add(time.Minute)
	a := r.Respond(t.Context(), q)
	got, err := ocsp.Parse(a.DER)
	if err != nil || !bytes.Equal(got.Certs[0], next.Raw) || got.Verify(w.CA, k.Now()) != nil {
		t.Errorf("not signed by the new key: %v", err)
	}
	before, err := ocsp.Parse(old.DER)
	if err != nil || before.Verify(w.CA, old.NextUpdate) != nil || !k.Now().Before(old.NextUpdate) {
		t.Errorf("the old answer: %v", err)
	}
}

// away is a device that has gone.
type away struct{ crypto.Signer }

func (away) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("device removed")
}

func TestWithoutTheDeviceOldAnswersServeUntilTheyEnd(t *testing.T) {
	k := newClock()
	w := vatest.New(t, k.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	apply(t, w, r)
	q := question(w, alg.SM3, false, nil, c)
	_, first := ask(t, w, r, q)
	if err := r.Renew(away{w.Key}, w.Cert.Raw); err != nil {
		t.Fatal(err)
	}
	k.add(45 * time.Minute)
	if _, a := ask(t, w, r, q); !bytes.Equal(a.DER, first.DER) {
		t.Error("another answer without a device")
	}
	if r.Trouble() == nil {
		t.Error("no trouble is told")
	}
	k.add(time.Hour)
	if a := r.Respond(t.Context(), q); a.Code != ocsp.InternalError {
		t.Errorf("after its end: %v", a.Code)
	}
	if err := r.Renew(w.Key, w.Cert.Raw); err != nil {
		t.Fatal(err)
	}
	ask(t, w, r, q)
	if err := r.Trouble(); err != nil {
		t.Error(err)
	}
}

func TestOnlyACertificateForTheKeyAndThePurposeStarts(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	user, userKey := w.Certify("user")
	for _, r := range []*va.Responder{
		{Signer: userKey, Cert: user.Raw, Now: w.Now}, {Signer: userKey, Cert: w.Cert.Raw, Now: w.Now}, {Signer: w.Key, Cert: []byte{0x30, 0}, Now: w.Now},
	} {
		if err := r.Start(); err == nil {
			t.Error("started")
		}
	}
}

func TestApplyingAgainChangesNothingAndAGapIsRefused(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := w.Responder()
	c := w.Issue("a", true)
	first := w.Take()
	w.Revoke(c, 1)
	second := w.Take()
	if err := r.Apply(second); !errors.Is(err, ledger.ErrGap) {
		t.Errorf("a gap: %v", err)
	}
	for _, run := range []ledger.Run{first, second, first} {
		if err := r.Apply(run); err != nil {
			t.Fatal(err)
		}
	}
	if s, _ := state(t, w, r, c); s != ocsp.Revoked {
		t.Errorf("applied again: %v", s)
	}
	w.Say(record.KindStatus, []byte("not a status"))
	w.Say("kind-to-come", []byte{1})
	d := w.Issue("b", true)
	apply(t, w, r)
	if s, _ := state(t, w, r, d); s != ocsp.Good || r.Size().Entries != 6 {
		t.Errorf("after entries it cannot read: %v, %+v", s, r.Size())
	}
}

func TestTheNewestListOfEachScopeIsKept(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := w.Responder()
	w.CRL("full", 1)
	second := w.CRL("full", 2)
	shard := w.CRL("shard-3", 1)
	apply(t, w, r)
	for scope, want := range map[string][]byte{"full": second, "shard-3": shard} {
		if got, ok := r.CRL(scope); !ok || !bytes.Equal(got.Digest, alg.Digest(want)) {
			t.Errorf("%s: %+v", scope, got)
		}
	}
	if _, ok := r.CRL("arl"); ok {
		t.Error("a list nobody signed")
	}
}

func TestOnlyWhatIsPublishedIsPublic(t *testing.T) {
	w, stranger := vatest.New(t, newClock().Now), vatest.New(t, newClock().Now)
	r := w.Responder()
	open, closed := w.Issue("a", true), w.Issue("b", false)
	list := w.CRL("full", 1)
	unrecorded, _ := w.Certify("c")
	stranger.CA.Subject = w.Cert.Subject // a CA of another name
	w.Revoke(open, 1)
	apply(t, w, r)
	for _, tt := range []struct {
		name string
		body []byte
		want bool
	}{
		{"a published certificate", open.Raw, true}, {"one of digest only", closed.Raw, false}, {"one not on record", unrecorded.Raw, false},
		{"a list", list, true}, {"the head of a list", list[:200], true}, {"another CA's list", stranger.CRL("full", 1), false},
		{"anything else", []byte("secret"), false}, {"nothing", nil, false}, {"a short SEQUENCE", []byte{0x30, 0x84, 0}, false},
	} {
		if got := r.Public(tt.body); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestFollowingSeesARevocationWithinASecond(t *testing.T) {
	w := vatest.New(t, time.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	w.Seal()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx, w.Follower(), 0); close(done) }()
	defer func() { stop(); <-done }()
	wait := func(want ocsp.State) {
		t.Helper()
		for end := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
			a := r.Respond(ctx, question(w, alg.SM3, false, nil, c))
			if got, err := ocsp.Parse(a.DER); err == nil && a.Code == ocsp.Successful && got.Singles[0].State == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not %v after a second", want)
			}
		}
	}
	wait(ocsp.Good)
	w.Revoke(c, 1)
	w.Seal()
	wait(ocsp.Revoked)
	if lag, ok := r.Lag(); !ok || lag > time.Second || r.Trouble() != nil {
		t.Errorf("lag %v %v, trouble %v", lag, ok, r.Trouble())
	}
}

func TestAForkIsToldAndTheLastGoodStateServes(t *testing.T) {
	k := newClock()
	w := vatest.New(t, k.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	w.Seal()
	f := w.Follower()
	if err := r.Follow(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	k.add(time.Minute)
	fork, err := ledger.Checkpoint{Origin: vatest.Origin, Size: 2, Root: make([]byte, 32), At: k.Now()}.Sign(w.LogKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.Dir, ledger.CheckpointPath)
	if err := os.WriteFile(file, fork, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Follow(t.Context(), f); !errors.Is(err, ledger.ErrFork) || !errors.Is(r.Trouble(), ledger.ErrFork) {
		t.Errorf("a fork: %v, trouble %v", err, r.Trouble())
	}
	got, _ := ask(t, w, r, question(w, alg.SM3, false, []byte{1, 2}, c))
	if s := got.Singles[0]; s.State != ocsp.Good || !s.ThisUpdate.Equal(k.Now().Add(-time.Minute).Truncate(time.Second)) {
		t.Errorf("%v as of %v", s.State, s.ThisUpdate)
	}
	if lag, _ := r.Lag(); lag != time.Minute {
		t.Errorf("lag %v", lag)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := r.Follow(t.Context(), f); err == nil {
		t.Error("a checkpoint that disappeared passes for nothing new")
	}
}

func TestASnapshotRestoresEverythingAndADamagedOneNothing(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := w.Responder()
	c, held := w.Issue("a", true), w.Issue("b", false)
	long, _ := w.CertifyAs(bytes.Repeat([]byte{9}, 20), "long")
	w.Record(long, true)
	w.Revoke(held, 6)
	w.Revoke(long, 1)
	list := w.CRL("full", 7)
	w.Seal()
	if err := r.Follow(t.Context(), w.Follower()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Save(&b); err != nil {
		t.Fatal(err)
	}
	again := w.Responder()
	if err := again.Load(bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		c    *cert.Certificate
		want ocsp.State
	}{{c, ocsp.Good}, {held, ocsp.Revoked}, {long, ocsp.Revoked}} {
		if s, _ := state(t, w, again, x.c); s != x.want {
			t.Errorf("%s: %v", x.c.SerialHex(), s)
		}
	}
	if got, ok := again.CRL("full"); !ok || !bytes.Equal(got.Digest, alg.Digest(list)) || !again.Public(c.Raw) || again.Public(held.Raw) {
		t.Error("lists or publicity are lost")
	}
	w.Release(held)
	w.Seal()
	if err := again.Follow(t.Context(), w.Follower()); err != nil {
		t.Fatal(err)
	}
	if s, _ := state(t, w, again, held); s != ocsp.Good {
		t.Errorf("released after the snapshot: %v", s)
	}
	for at := 0; at < b.Len(); at += 1 + b.Len()/400 {
		bad := bytes.Clone(b.Bytes())
		bad[at] ^= 0x40
		fresh := w.Responder()
		if err := fresh.Load(bytes.NewReader(bad)); !errors.Is(err, va.ErrSnapshot) {
			t.Errorf("octet %d changed: %v", at, err)
		}
		if err := fresh.Load(bytes.NewReader(b.Bytes()[:at])); !errors.Is(err, va.ErrSnapshot) || fresh.Size().Entries != 0 {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
}

func TestReadersAndTheWriterMeetSafely(t *testing.T) {
	w := vatest.New(t, time.Now)
	r := w.Responder()
	c := w.Issue("a", true)
	apply(t, w, r)
	q := question(w, alg.SM3, false, nil, c)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if a := r.Respond(t.Context(), q); a.Code != ocsp.Successful {
						t.Error(a.Err)
						return
					}
					r.CRL("full")
					r.Size()
				}
			}
		})
	}
	for i := range 40 {
		if w.Revoke(c, 6); i%2 == 1 {
			w.Release(c)
		}
		for range 50 {
			w.Say(record.KindCertificate, record.Certificate{Issuer: alg.Digest(w.CA.Raw), Serial: vatest.Serial(), Digest: make([]byte, 32)}.Bytes())
		}
		apply(t, w, r)
		want := ocsp.Revoked
		if i%2 == 1 {
			want = ocsp.Good
		}
		if s, _ := state(t, w, r, c); s != want {
			t.Fatalf("round %d: %v", i, s)
		}
		if err := r.Save(io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
}
