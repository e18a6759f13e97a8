package ca_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// revocation is a request two people signed.
func (p *place) revocation(t testing.TB, r enroll.Revocation, clerk, reviewer string) enroll.Request {
	t.Helper()
	content := r.Bytes()
	return enroll.Request{ID: r.ID, Content: content, Evidence: []enroll.Evidence{
		p.sign(t, clerk, "ra.revoke", ca.RevokeKind, r.ID, 0, content), p.sign(t, reviewer, "ra.approve", ca.RevokeKind, r.ID, 1, content),
	}}
}

// serials of both certificates of a reply, sorted.
func serials(r enroll.Reply) []string {
	sign, enc := r.Serials()
	return slices.Sorted(slices.Values([]string{sign, enc}))
}

func TestBothCertificatesOfAPairAreRevoked(t *testing.T) {
	for _, which := range []int{0, 1} {
		p := newPlace(t)
		reply := p.issue(t, "A1")
		sign, enc := reply.Serials()
		p.now = p.now.Add(time.Hour)
		r := p.revocation(t, enroll.Revocation{ID: "R1", Serial: []string{sign, enc}[which], Reason: "keyCompromise", Invalid: start.Unix()}, "clerk", "reviewer")
		done, err := p.Revoke(t.Context(), r)
		if err != nil || !slices.Equal(slices.Sorted(slices.Values(done.Serials)), serials(reply)) || !done.At.Equal(p.now) {
			t.Fatal(done, err)
		}
		for _, der := range [][]byte{reply.Sign, reply.Enc} {
			c, err := p.memory.Certificate(t.Context(), p.certificate(t, der).Serial.Bytes())
			if err != nil || !c.Revoked || c.Reason != 1 || !c.RevokedAt.Equal(p.now) || !c.Invalid.Equal(start) {
				t.Errorf("%+v %v", c, err)
			}
		}
		if asks, err := p.memory.Unsent(t.Context(), 10); err != nil || len(asks) != 1 || len(p.memory.Leaves()) != 5 {
			t.Errorf("%d messages to the key centre, %d leaves, %v", len(asks), len(p.memory.Leaves()), err)
		}
	}
}

func TestARevocationIsRefusedAndNothingChanges(t *testing.T) {
	p := newPlace(t)
	serial, _ := p.issue(t, "A1").Serials()
	gone, _ := p.issue(t, "A2").Serials()
	if _, err := p.Revoke(t.Context(), p.revocation(t, enroll.Revocation{ID: "R0", Serial: gone, Reason: "superseded"}, "clerk", "reviewer")); err != nil {
		t.Fatal(err)
	}
	good := enroll.Revocation{ID: "R1", Serial: serial, Reason: "superseded"}
	with := func(change func(*enroll.Revocation)) func() enroll.Request {
		return func() enroll.Request {
			r := good
			change(&r)
			return p.revocation(t, r, "clerk", "reviewer")
		}
	}
	by := func(clerk, reviewer string) func() enroll.Request {
		return func() enroll.Request { return p.revocation(t, good, clerk, reviewer) }
	}
	before := []int{len(p.key.messages), len(p.memory.Leaves()), len(p.memory.Lines()), p.keys.calls}
	for _, c := range []struct {
		name    string
		request func() enroll.Request
		want    *refusal.Reason
		field   string
	}{
		{"an unknown reason", with(func(r *enroll.Revocation) { r.Reason = "bored" }), ca.BadReason, "reason"},
		{"no reason", with(func(r *enroll.Revocation) { r.Reason = "" }), ca.BadReason, "reason"},
		{"a hold, which this CA does not do", with(func(r *enroll.Revocation) { r.Reason = "certificateHold" }), ca.BadReason, "reason"},
		{"no such certificate", with(func(r *enroll.Revocation) { r.Serial = "40FF" }), ca.NoCert, "serial"},
		{"no serial", with(func(r *enroll.Revocation) { r.Serial = "" }), ca.NoCert, "serial"},
		{"a serial that is none", with(func(r *enroll.Revocation) { r.Serial = "xyz" }), ca.NoCert, "serial"},
		{"a certificate revoked before", with(func(r *enroll.Revocation) { r.Serial = gone }), ca.Revoked, "serial"},
		{"a number done before, for another certificate", with(func(r *enroll.Revocation) { r.ID = "R0" }), ca.Changed, "id"},
		{"one person for both steps", by("both", "both"), ca.NoEvidence, "evidence"},
		{"asked by somebody who is no clerk", by("producer", "reviewer"), ca.NoEvidence, "evidence"},
		{"approved by somebody who is no reviewer", by("clerk", "producer"), ca.NoEvidence, "evidence"},
		{"approved by a stranger", by("clerk", "stranger"), access.NoSuchPerson, "certificate"},
		{"approved with an expired certificate", by("clerk", "former"), access.Expired, "certificate"},
		{"approved by nobody", func() enroll.Request { r := by("clerk", "reviewer")(); r.Evidence = r.Evidence[:1]; return r }, ca.NoEvidence, "evidence"},
		{"content changed after signing", func() enroll.Request {
			r := by("clerk", "reviewer")()
			r.Content = bytes.Replace(r.Content, []byte("superseded"), []byte("keyCompromise"), 1)
			return r
		}, ca.NoEvidence, "evidence"},
		{"another number than the content's", func() enroll.Request { r := by("clerk", "reviewer")(); r.ID = "R9"; return r }, ca.BadContent, "content"},
	} {
		t.Run(c.name, func(t *testing.T) {
			done, err := p.Revoke(t.Context(), c.request())
			refused(t, err, c.want, c.field)
			if len(done.Serials) > 0 {
				t.Errorf("an answer came with the refusal: %v", done)
			}
			if after := []int{len(p.key.messages), len(p.memory.Leaves()), len(p.memory.Lines()), p.keys.calls}; !slices.Equal(after, before) {
				t.Errorf("signatures, leaves, lines, messages: %v, before %v", after, before)
			}
		})
	}
	if _, err := p.Revoke(t.Context(), by("clerk", "reviewer")()); err != nil {
		t.Errorf("the request in order: %v", err)
	}
}

// Wherever the store or the key centre fails, asking again finishes the
// revocation, once.
func TestRevokeAfterCrash(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		reply := p.persist(t, []enroll.Request{p.fresh(t, "A1")})[0].Reply
		serial, _ := reply.Serials()
		r := p.revocation(t, enroll.Revocation{ID: "R1", Serial: serial, Reason: "superseded"}, "clerk", "reviewer")
		var done enroll.Revoked
		for range 4 {
			var err error
			if done, err = p.Revoke(t.Context(), r); err == nil {
				break
			} else if !errors.Is(err, catest.ErrCrash) {
				t.Fatal(err)
			}
		}
		if !slices.Equal(slices.Sorted(slices.Values(done.Serials)), serials(reply)) {
			t.Errorf("revoked %v of %v", done.Serials, serials(reply))
		}
		p.Store, p.keys.at = p.memory, 0
		if again, err := p.Revoke(t.Context(), r); err != nil || !again.At.Equal(done.At) || len(again.Serials) != 2 {
			t.Errorf("asked once more: %v %v", again, err)
		}
		if asks, err := p.memory.Unsent(t.Context(), 10); err != nil || len(asks) != 1 {
			t.Errorf("%d messages to the key centre: %v", len(asks), err)
		}
		if lines, leaves := len(p.memory.Lines()), len(p.memory.Leaves()); lines != 3 || leaves != 5 {
			t.Errorf("%d audit lines and %d leaves, want 3 and 5", lines, leaves)
		}
	})
}

// published checks every list ever drafted: signed as intended, numbered
// upwards, never older than the one before.
func (p *place) published(t *testing.T, revoked []string) {
	t.Helper()
	history := p.memory.History()
	shards := map[string][]string{}
	for i, l := range history {
		got, err := crl.Parse(l.DER())
		if err != nil {
			t.Fatalf("list %d of %s: %v", l.Number, l.Scope, err)
		}
		if !bytes.Equal(got.RawTBS, l.TBS) || alg.Verify(p.Cert.PublicKey(), got.RawTBS, got.Signature) != nil {
			t.Errorf("list %d is not what was intended, signed", l.Number)
		}
		want, full := int64(1), fulls(history[:i])
		if i > 0 {
			want = history[i-1].Number + 1
		}
		if i > 0 && l.Scope == "delta" && history[i-1].Scope == "full" { // signed together (RFC 5280 §5.2.3)
			want = history[i-1].Number
			if full = fulls(history[:i-1]); full == 0 {
				full = want
			}
		}
		if l.Number != want || got.Number.Int64() != l.Number || i > 0 && l.ThisUpdate.Before(history[i-1].ThisUpdate) {
			t.Errorf("list %d of %s went backwards", l.Number, l.Scope)
		}
		if (got.Base != nil) != (l.Scope == "delta") || got.Base != nil && got.Base.Int64() != full {
			t.Errorf("list %d of %s goes on from %v, the full list before it is %d", l.Number, l.Scope, got.Base, full)
		}
		shards[l.Scope] = nil
		for _, e := range got.Entries {
			shards[l.Scope] = append(shards[l.Scope], cert.SerialHex(e.Serial))
		}
	}
	var spread []string
	for scope, list := range shards {
		if scope != "full" && scope != "delta" {
			spread = append(spread, list...)
		}
	}
	if len(shards) != ca.Shards+2 || !slices.Equal(slices.Sorted(slices.Values(spread)), revoked) || !slices.Equal(slices.Sorted(slices.Values(shards["full"])), revoked) {
		t.Errorf("%d scopes; shards list %v, the full list %v, want %v", len(shards), spread, shards["full"], revoked)
	}
}

// fulls is the number of the newest full list.
func fulls(history []ca.List) (number int64) {
	for _, l := range history {
		if l.Scope == "full" {
			number = l.Number
		}
	}
	return number
}

// Wherever the store fails, publishing again finishes the lists that were
// intended, with the same bytes, and no number is used twice.
func TestPublishAfterCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at, more := 1, true; more; at++ {
			t.Run(fmt.Sprintf("call %d, after %v", at, after), func(t *testing.T) {
				p := newPlace(t)
				reply := p.issue(t, "A1")
				pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
				if err := pub.Publish(t.Context()); err != nil {
					t.Fatal(err)
				}
				serial, _ := reply.Serials()
				if _, err := p.Revoke(t.Context(), p.revocation(t, enroll.Revocation{ID: "R1", Serial: serial, Reason: "superseded"}, "clerk", "reviewer")); err != nil {
					t.Fatal(err)
				}
				f := &catest.Failing{Store: p.memory, At: at, After: after}
				p.Store = f
				err := pub.Publish(t.Context())
				for range 2 {
					if err != nil {
						p.now = p.now.Add(time.Minute)
						err = pub.Publish(t.Context())
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				more = f.Failed()
				p.published(t, serials(reply))
				p.key.check(t)
				signed := len(p.key.messages)
				p.Store = p.memory
				if err := pub.Publish(t.Context()); err != nil || len(p.key.messages) != signed {
					t.Errorf("nothing changed, and %d lists were signed: %v", len(p.key.messages)-signed, err)
				}
			})
		}
	}
}

// A list grown old is signed anew although nothing changed.
func TestListsAreRenewedEveryDay(t *testing.T) {
	p := newPlace(t)
	pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
	for day := range 3 {
		p.now = start.AddDate(0, 0, day)
		if err := pub.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(p.memory.History()); n != (day+1)*(ca.Shards+2) {
			t.Errorf("day %d: %d lists", day, n)
		}
	}
	p.published(t, nil)
}

// The root alone signs the list of revoked CA certificates: interrupted, it is
// finished by the root, and the operating key leaves it alone.
func TestAnInterruptedARLWaitsForTheRoot(t *testing.T) {
	p := newPlace(t)
	key := newKey(t)
	p.Root = selfSigned(t, "根 CA", key, start, start.AddDate(9, 0, 0))
	p.Store = &catest.Failing{Store: p.memory, At: 3} // Lists, IntendList, then RecordList
	root := p.AsRoot(&signer{Signer: key, store: p.memory})
	if _, err := root.SignARL(t.Context()); !errors.Is(err, catest.ErrCrash) {
		t.Fatal(err)
	}
	intended := p.memory.History()
	if err := (&ca.Publisher{Issuer: p.Issuer}).Start().Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if contains(p.key.messages, intended[0].TBS) {
		t.Error("the operating key signed the root's list")
	}
	p.now = p.now.Add(time.Hour)
	if _, err := root.SignARL(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := p.memory.History()[0]
	got, err := crl.Parse(l.DER())
	if err != nil || len(intended) != 1 || !bytes.Equal(got.RawTBS, intended[0].TBS) || alg.Verify(root.Cert.PublicKey(), got.RawTBS, got.Signature) != nil {
		t.Errorf("%+v %v", l, err)
	}
}

// The clock of this test is its own: an hour passes at once.
func TestThePublisherTriesUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		reply := p.issue(t, "A1")
		serial, enc := reply.Serials()
		if _, err := p.Revoke(t.Context(), p.revocation(t, enroll.Revocation{ID: "R1", Serial: serial, Reason: "superseded"}, "clerk", "reviewer")); err != nil {
			t.Fatal(err)
		}
		p.keys.at = p.keys.calls + 1                      // the centre is away at first
		p.Store = &catest.Failing{Store: p.memory, At: 5} // and so is the store
		pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
		ctx, cancel := context.WithCancel(t.Context())
		go pub.Run(ctx)
		time.Sleep(500 * time.Millisecond)
		if asks, err := p.memory.Unsent(ctx, 10); err != nil || len(asks) != 1 {
			t.Errorf("before the centre answers: %d messages, %v", len(asks), err)
		}
		time.Sleep(2 * time.Minute)
		cancel()
		synctest.Wait()
		p.published(t, serials(reply))
		if asks, err := p.memory.Unsent(t.Context(), 10); err != nil || len(asks) != 0 {
			t.Errorf("after it answered: %d messages, %v", len(asks), err)
		}
		if len(p.keys.retired) != 1 || cert.SerialHex(p.keys.retired[0]) != enc {
			t.Errorf("retired %x", p.keys.retired)
		}
	})
}

// On demand every list is signed, once however often the order is carried out.
func TestEveryListIsSignedOnDemandOnce(t *testing.T) {
	p := newPlace(t)
	pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
	if err := pub.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.now = p.now.Add(time.Minute)
	asked := p.now
	for range 2 {
		numbers, err := pub.PublishAll(t.Context(), asked)
		if err != nil || len(numbers) != ca.Shards+2 || numbers["delta"] != 2*(ca.Shards+1) || numbers["full"] != numbers["delta"] {
			t.Errorf("%v %v", numbers, err)
		}
		if n := len(p.memory.History()); n != 2*(ca.Shards+2) {
			t.Errorf("%d lists", n)
		}
		p.now = p.now.Add(time.Minute)
	}
	p.published(t, nil)
}

// Wherever the store fails, asking again finishes a freezing and a release,
// each once, and what was ordered on demand is signed.
func TestFreezeReleaseAndPublishAfterCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at, more := 1, true; more && at < 200; at++ {
			t.Run(fmt.Sprintf("call %d, after %v", at, after), func(t *testing.T) {
				p := newPlace(t)
				reply := p.issue(t, "A1")
				serial, _ := reply.Serials()
				pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
				if err := pub.Publish(t.Context()); err != nil {
					t.Fatal(err)
				}
				f := &catest.Failing{Store: p.memory, At: at, After: after}
				p.Store = f
				until := func(do func() error) {
					t.Helper()
					err := do()
					for range 3 {
						if err != nil && !errors.Is(err, catest.ErrCrash) {
							t.Fatal(err)
						}
						if err != nil {
							err = do()
						}
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				move := func(id, do, act, kind string) {
					t.Helper()
					content := enroll.Revocation{ID: id, Do: do, Serial: serial, Reason: "certificateHold"}.Bytes()
					r := enroll.Request{ID: id, Content: content, Evidence: []enroll.Evidence{
						p.sign(t, "clerk", act, kind, id, 0, content), p.sign(t, "reviewer", "ra.approve", kind, id, 1, content),
					}}
					until(func() error { _, err := p.Revoke(t.Context(), r); return err })
				}
				publish := func(want []string) {
					t.Helper()
					p.now = p.now.Add(time.Minute)
					asked := p.now
					until(func() error { _, err := pub.PublishAll(t.Context(), asked); return err })
					p.published(t, want)
				}
				move("F1", enroll.Freeze, "ra.freeze", ca.FreezeKind)
				if p.revokedFor(t, reply.Sign) != 6 || p.revokedFor(t, reply.Enc) != 6 {
					t.Error("not frozen")
				}
				publish(serials(reply))
				move("U1", enroll.Unfreeze, "ra.unfreeze", ca.UnfreezeKind)
				if p.revokedFor(t, reply.Sign) != -1 || p.revokedFor(t, reply.Enc) != -1 {
					t.Error("not released")
				}
				publish(nil)
				more = f.Failed()
				p.key.check(t)
				if n := len(p.memory.Leaves()) - len(p.memory.History()); n != 3+2+2 {
					t.Errorf("%d entries about the pair", n)
				}
			})
		}
	}
}
