package ca_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// first is somebody's first pair and the key they signed for it with.
func (p *place) first(t *testing.T) (*sm2.PrivateKey, enroll.Application, enroll.Reply) {
	t.Helper()
	key := newKey(t)
	app := application(t, "A1", key)
	results := p.persist(t, []enroll.Request{p.request(t, app, "clerk", "reviewer")})
	if results[0].Err != nil {
		t.Fatal(results[0].Err)
	}
	return key, app, results[0].Reply
}

// later is an application for a certificate that follows another, signed by
// everybody it needs.
func (p *place) later(t *testing.T, purpose string, old enroll.Reply, subject dn.Name, key *sm2.PrivateKey) enroll.Request {
	t.Helper()
	a := application(t, "A2", key)
	request, err := csr.New(subject.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := old.Serials()
	a.Subject, a.CSR, a.For, a.Replaces = subject, request, purpose, serial
	if purpose != enroll.Recover {
		return p.request(t, a, "clerk", "reviewer")
	}
	content := a.Bytes()
	return enroll.Request{ID: a.ID, Content: content, Evidence: []enroll.Evidence{
		p.sign(t, "clerk", "ra.submit", ca.RecoverKind, a.ID, 0, content), p.sign(t, "reviewer", "ra.approve", ca.RecoverKind, a.ID, 1, content),
		p.sign(t, "admin", "ra.authorise", ca.RecoverKind, a.ID, 2, content),
	}}
}

func (p *place) revokedFor(t *testing.T, der []byte) int {
	t.Helper()
	c, err := p.memory.Certificate(t.Context(), p.certificate(t, der).Serial.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Revoked {
		return -1
	}
	return c.Reason
}

// Whatever fails on the way, a certificate that follows another is issued once
// and what it replaces ends with it; a recovery keeps the encryption certificate.
func TestACertificateThatFollowsEndsTheOneBefore(t *testing.T) {
	for purpose, fresh := range map[string]bool{enroll.Renew: true, enroll.Extend: false, enroll.Amend: true, enroll.Reissue: true, enroll.Recover: true} {
		t.Run(purpose, func(t *testing.T) {
			everywhere(t, func(t *testing.T, p *place) {
				key, app, old := p.first(t)
				subject := app.Subject
				if purpose == enroll.Amend {
					subject.OU = []string{"新部门"}
				}
				if fresh {
					key = newKey(t)
				}
				r := p.later(t, purpose, old, subject, key)
				results := p.persist(t, []enroll.Request{r})
				if results[0].Err != nil {
					t.Fatal(results[0].Err)
				}
				got := results[0].Reply
				sign := p.certificate(t, got.Sign)
				if bytes.Equal(got.Sign, old.Sign) || !bytes.Equal(sign.Point, alg.Point(&key.PublicKey)) || !bytes.Equal(sign.Subject, subject.Bytes()) {
					t.Error("not a certificate for the key and subject asked for")
				}
				const superseded = 4
				enc, wantEnc := p.revokedFor(t, old.Enc), superseded
				if purpose == enroll.Recover {
					wantEnc = -1
				}
				if (purpose == enroll.Recover) != bytes.Equal(got.Enc, old.Enc) || enc != wantEnc || p.revokedFor(t, old.Sign) != superseded || p.revokedFor(t, got.Sign) != -1 {
					t.Errorf("old signing %d, old encryption %d", p.revokedFor(t, old.Sign), enc)
				}
				if purpose == enroll.Recover {
					other, err := p.memory.Certificate(t.Context(), p.certificate(t, old.Enc).Serial.Bytes())
					if err != nil || cert.SerialHex(other.Pair) != sign.SerialHex() || len(got.Sealed) == 0 {
						t.Errorf("the encryption certificate's other half is %x: %v", other.Pair, err)
					}
				}
				lines, leaves := len(p.memory.Lines()), len(p.memory.Leaves())
				again := p.persist(t, []enroll.Request{r})
				if !bytes.Equal(again[0].Reply.Sign, got.Sign) || !bytes.Equal(again[0].Reply.Enc, got.Enc) || !bytes.Equal(again[0].Reply.Sealed, got.Sealed) ||
					len(p.memory.Lines()) != lines || len(p.memory.Leaves()) != leaves {
					t.Error("asked once more it is done again")
				}
				p.key.check(t)
			})
		})
	}
}

func TestWhatDoesNotFollowIsRefused(t *testing.T) {
	p := newPlace(t)
	key, app, old := p.first(t)
	other := app.Subject
	other.CN = "李四"
	fewer := p.later(t, enroll.Recover, old, app.Subject, newKey(t))
	fewer.Evidence = fewer.Evidence[:2]
	for name, c := range map[string]struct {
		r    enroll.Request
		want *refusal.Reason
	}{
		"renewed with the same key":         {p.later(t, enroll.Renew, old, app.Subject, key), ca.NotFollowed},
		"extended with another key":         {p.later(t, enroll.Extend, old, app.Subject, newKey(t)), ca.NotFollowed},
		"renewed for somebody else":         {p.later(t, enroll.Renew, old, other, newKey(t)), ca.NotFollowed},
		"an unknown purpose":                {p.later(t, "steal", old, app.Subject, newKey(t)), ca.BadContent},
		"no purpose":                        {p.later(t, "", old, app.Subject, newKey(t)), ca.BadContent},
		"recovered on two people's word":    {fewer, ca.NoEvidence},
		"after an encryption certificate":   {p.later(t, enroll.Renew, enroll.Reply{Sign: old.Enc}, app.Subject, newKey(t)), ca.NotFollowed},
		"after a certificate that is not":   {p.later(t, enroll.Renew, enroll.Reply{Sign: p.Cert.Raw}, app.Subject, newKey(t)), ca.NoCert},
		"recovered by an ordinary approval": {p.request(t, func() enroll.Application { a := app; a.ID, a.For = "A2", enroll.Recover; return a }(), "clerk", "reviewer"), ca.NoEvidence},
	} {
		results, err := p.Issue(t.Context(), []enroll.Request{c.r})
		if err != nil || !errors.Is(results[0].Err, c.want) {
			t.Errorf("%s: %v %v", name, err, results)
		}
	}
	if p.revokedFor(t, old.Sign) != -1 {
		t.Error("the old certificate ended all the same")
	}
	held := enroll.Revocation{ID: "F1", Do: enroll.Freeze, Serial: p.certificate(t, old.Sign).SerialHex(), Reason: "certificateHold"}.Bytes()
	if _, err := p.Revoke(t.Context(), enroll.Request{ID: "F1", Content: held, Evidence: []enroll.Evidence{
		p.sign(t, "clerk", "ra.freeze", ca.FreezeKind, "F1", 0, held), p.sign(t, "reviewer", "ra.approve", ca.FreezeKind, "F1", 1, held),
	}}); err != nil {
		t.Fatal(err)
	}
	frozen, err := p.Issue(t.Context(), []enroll.Request{p.later(t, enroll.Renew, old, app.Subject, newKey(t))})
	if err != nil || !errors.Is(frozen[0].Err, ca.Held) {
		t.Errorf("renewed while frozen: %v %v", err, frozen)
	}
	if _, err := p.Revoke(t.Context(), p.revocation(t, enroll.Revocation{ID: "R1", Serial: p.certificate(t, old.Sign).SerialHex(), Reason: "keyCompromise"}, "clerk", "reviewer")); err != nil {
		t.Fatal(err)
	}
	results, err := p.Issue(t.Context(), []enroll.Request{p.later(t, enroll.Renew, old, app.Subject, newKey(t))})
	if err != nil || !errors.Is(results[0].Err, ca.Revoked) {
		t.Errorf("renewed after revocation: %v %v", err, results)
	}
	results, err = p.Issue(t.Context(), []enroll.Request{p.later(t, enroll.Reissue, old, app.Subject, newKey(t))})
	if err != nil || results[0].Err != nil {
		t.Errorf("a new carrier after the loss was reported: %v %v", err, results)
	}
}

// A frozen pair says so everywhere and keeps its keys until it ends.
func TestAPairIsFrozenAndReleased(t *testing.T) {
	p := newPlace(t)
	reply := p.issue(t, "A1")
	serial, _ := reply.Serials()
	move := func(id, do, act, kind string) error {
		content := enroll.Revocation{ID: id, Do: do, Serial: serial, Reason: "certificateHold"}.Bytes()
		_, err := p.Revoke(t.Context(), enroll.Request{ID: id, Content: content, Evidence: []enroll.Evidence{
			p.sign(t, "clerk", act, kind, id, 0, content), p.sign(t, "reviewer", "ra.approve", kind, id, 1, content),
		}})
		return err
	}
	if err := move("U0", enroll.Unfreeze, "ra.unfreeze", ca.UnfreezeKind); !errors.Is(err, ca.NotHeld) {
		t.Errorf("released what is not held: %v", err)
	}
	if err := move("F0", enroll.Freeze, "ra.revoke", ca.RevokeKind); !errors.Is(err, ca.NoEvidence) {
		t.Errorf("frozen with signatures for something else: %v", err)
	}
	for range 2 {
		if err := move("F1", enroll.Freeze, "ra.freeze", ca.FreezeKind); err != nil || p.revokedFor(t, reply.Sign) != 6 || p.revokedFor(t, reply.Enc) != 6 {
			t.Fatalf("frozen: %v", err)
		}
	}
	if err := move("F2", enroll.Freeze, "ra.freeze", ca.FreezeKind); !errors.Is(err, ca.Held) {
		t.Errorf("frozen twice: %v", err)
	}
	if err := move("U1", enroll.Unfreeze, "ra.unfreeze", ca.UnfreezeKind); err != nil || p.revokedFor(t, reply.Sign) != -1 || p.revokedFor(t, reply.Enc) != -1 {
		t.Fatalf("released: %v", err)
	}
	if asks, err := p.memory.Unsent(t.Context(), 10); err != nil || len(asks) != 0 {
		t.Errorf("the key centre was told to retire keys: %v %v", asks, err)
	}
	if leaves := p.memory.Leaves(); len(leaves) != 3+2+2 {
		t.Errorf("%d entries in the ledger", len(leaves))
	}
}

// Nothing is issued under a policy without a qualification in force, a
// published practice statement, or while it is suspended; revocation goes on.
func TestAShutGateStopsIssuingAndNothingElse(t *testing.T) {
	p := newPlace(t)
	reply := p.issue(t, "A1")
	policy := p.Profiles["person-dual"].Policy
	open, _, _ := p.gates.Gate(t.Context(), policy)
	for name, c := range map[string]struct {
		shut func(g *ca.Gate)
		want *refusal.Reason
	}{
		"no gate":                    {func(g *ca.Gate) { *g = ca.Gate{} }, ca.NoGate},
		"no qualification":           {func(g *ca.Gate) { g.Qualification = "" }, ca.NoGate},
		"no practice statement":      {func(g *ca.Gate) { g.CPS = "" }, ca.NoGate},
		"a qualification that ended": {func(g *ca.Gate) { g.To = start.AddDate(0, 0, -1) }, ca.NoGate},
		"a qualification to come":    {func(g *ca.Gate) { g.From = start.AddDate(0, 0, 1) }, ca.NoGate},
		"a suspension":               {func(g *ca.Gate) { g.Suspended, g.Note = true, "责令整改" }, ca.Suspended},
	} {
		g := open
		c.shut(&g)
		p.gates[policy] = g
		results, err := p.Issue(t.Context(), []enroll.Request{p.fresh(t, "A2")})
		if err != nil || !errors.Is(results[0].Err, c.want) {
			t.Errorf("%s: %v %v", name, err, results[0].Err)
		}
	}
	if results, err := p.Issue(t.Context(), []enroll.Request{p.request(t, device(t, "A3", newKey(t)), "clerk", "reviewer")}); err != nil || results[0].Err != nil {
		t.Errorf("another policy: %v %v", err, results)
	}
	serial, _ := reply.Serials()
	if _, err := p.Revoke(t.Context(), p.revocation(t, enroll.Revocation{ID: "R1", Serial: serial, Reason: "superseded"}, "clerk", "reviewer")); err != nil {
		t.Errorf("revocation while suspended: %v", err)
	}
}

// The institution's own certificates are held and let go as everybody's are,
// once for a request, and what ended stays so.
func TestAnInternalCertificateIsHeldAndLetGo(t *testing.T) {
	p := newPlace(t)
	der, err := p.IssueInternal(t.Context(), "staff-1", "staff", dn.Name{C: "CN", O: "测试机构", CN: "操作员"}, alg.Point(&newKey(t).PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	serial := p.certificate(t, der).Serial.Bytes()
	for _, step := range []struct {
		request string
		on      bool
		want    int
	}{{"F1", true, 6}, {"F1", true, 6}, {"F2", true, 6}, {"U1", false, -1}, {"F1", true, -1}, {"U2", false, -1}} {
		if err := p.HoldInternal(t.Context(), step.request, serial, step.on); err != nil {
			t.Fatal(step, err)
		}
		if got := p.revokedFor(t, der); got != step.want {
			t.Errorf("after %v: %d, want %d", step, got, step.want)
		}
	}
	if err := p.EndInternal(t.Context(), "R1", serial, 9); err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		if err := p.HoldInternal(t.Context(), fmt.Sprint("X", on), serial, on); err != nil || p.revokedFor(t, der) != 9 {
			t.Errorf("held %v after its end: %v, %d", on, err, p.revokedFor(t, der))
		}
	}
}

// What a later certificate ends has the lists signed at once, as a revocation
// people ask for.
func TestWhatIsReplacedHasTheListsSigned(t *testing.T) {
	p := newPlace(t)
	_, app, old := p.first(t)
	changed := 0
	p.Changed = func() { changed++ }
	if results := p.persist(t, []enroll.Request{p.later(t, enroll.Renew, old, app.Subject, newKey(t))}); results[0].Err != nil || changed != 1 {
		t.Errorf("told %d times: %v", changed, results[0].Err)
	}
}
