package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// refused checks the reason, the field, and that a person learns clause and fix.
func refused(t *testing.T, err error, want *refusal.Reason, field string) {
	t.Helper()
	f := refusal.Of(err)
	if f == nil || !errors.Is(err, want) {
		t.Errorf("got %v, want %s", err, want.Code)
		return
	}
	if r := f.Report(); r.Field != field || r.Clause == "" || r.Fix == "" || r.Text == "" {
		t.Errorf("field %q, want %q: %+v", r.Field, field, r)
	}
}

// untouched checks that nothing was signed, recorded, published or asked for.
func (p *place) untouched(t *testing.T) {
	t.Helper()
	if n, l, a, k := len(p.key.messages), len(p.memory.Leaves()), len(p.memory.Lines()), p.keys.calls; n+l+a+k > 0 {
		t.Errorf("%d signatures, %d leaves, %d audit lines, %d calls to the key centre", n, l, a, k)
	}
	if n := len(p.memory.Intents()); n > 0 {
		t.Errorf("%d intents", n)
	}
}

// liar claims somebody else's public key.
type liar struct {
	crypto.Signer
	public crypto.PublicKey
}

func (l liar) Public() crypto.PublicKey { return l.public }

// p256 is a request whose key is on another curve, under the right algorithm.
func p256(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(dn.Name{C: "CN", CN: "x"}.Bytes())
		b.AddBytes(spki)
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(*cryptobyte.Builder) {})
	})
	return cert.Assemble(b.BytesOrPanic(), make([]byte, 70))
}

var noName = []byte{0x30, 0}

// What an application says wrongly, although two people signed it.
func TestTheCoreReadsTheApplicationWithItsOwnEyes(t *testing.T) {
	other := newKey(t)
	lie, err := csr.New(noName, liar{newKey(t), &other.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(p *place, a *enroll.Application)
		want   *refusal.Reason
		field  string
	}{
		{"no such profile", func(_ *place, a *enroll.Application) { a.Profile = "none" }, ca.NoProfile, "profile"},
		{"a profile of the system's own", func(_ *place, a *enroll.Application) { a.Profile = "staff" }, ca.NoProfile, "profile"},
		{"another version of the profile", func(_ *place, a *enroll.Application) { a.Version = 2 }, ca.NoProfile, "profile"},
		{"no name", func(_ *place, a *enroll.Application) { a.Subject.CN = "" }, ca.BadContent, "subject.CN"},
		{"another country", func(_ *place, a *enroll.Application) { a.Subject.C = "US" }, ca.BadContent, "subject.C"},
		{"a control character", func(_ *place, a *enroll.Application) { a.Subject.O = "某\u202e局" }, ca.BadContent, "subject.O"},
		{"another name than the request's", func(_ *place, a *enroll.Application) { a.Subject.CN = "李四" }, ca.BadContent, "csr"},
		{"an alternative name the profile forbids", func(_ *place, a *enroll.Application) { a.SAN = []cert.AltName{{Kind: "dns", Value: "a.cn"}} }, ca.BadContent, "san[0]"},
		{"no days", func(_ *place, a *enroll.Application) { a.Days = 0 }, ca.BadContent, "days"},
		{"longer than the profile", func(_ *place, a *enroll.Application) { a.Days = 1827 }, ca.BadContent, "validity_days"},
		{"longer than the CA's own certificate", func(_ *place, a *enroll.Application) { a.Days = 1826 }, ca.TooLong, "validity_days"},
		{"no request", func(_ *place, a *enroll.Application) { a.CSR = nil }, ca.BadRequest, "csr"},
		{"a key on another curve", func(_ *place, a *enroll.Application) { a.CSR = p256(t) }, ca.BadRequest, "csr"},
		{"a request signed by another key", func(_ *place, a *enroll.Application) { a.CSR = lie }, ca.BadRequest, "csr"},
		{"a request with a flipped bit", func(_ *place, a *enroll.Application) { a.CSR[len(a.CSR)-3] ^= 1 }, ca.BadRequest, "csr"},
		{"an endless number", func(_ *place, a *enroll.Application) { a.ID = strings.Repeat("A", 65) }, ca.BadContent, "id"},
		{"no number", func(_ *place, a *enroll.Application) { a.ID = "" }, ca.BadContent, "id"},
		{"identity not checked", func(_ *place, a *enroll.Application) { a.Check.Method = "none" }, ca.NoIdentity, "check"},
		{"nobody checked the identity", func(_ *place, a *enroll.Application) { a.Check.By = "" }, ca.NoIdentity, "check"},
		{"a notice not given", func(_ *place, a *enroll.Application) { a.Notices = a.Notices[:3] }, ca.NoIdentity, "check"},
		{"no agreement", func(_ *place, a *enroll.Application) { a.Accord = "" }, ca.NoIdentity, "check"},
		{"no practice statement", func(_ *place, a *enroll.Application) { a.CPS = "" }, ca.NoIdentity, "check"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			a := application(t, "A1", newKey(t))
			c.change(p, &a)
			p.refuses(t, p.request(t, a, "clerk", "reviewer"), c.want, c.field)
			p.untouched(t)
		})
	}
}

// refuses checks that a request is refused.
func (p *place) refuses(t *testing.T, r enroll.Request, want *refusal.Reason, field string) {
	t.Helper()
	results, err := p.Issue(t.Context(), []enroll.Request{r})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, results[0].Err, want, field)
	if results[0].Reply.Sign != nil {
		t.Error("a certificate came with the refusal")
	}
}

// Who signed, what they signed and when is checked again in the core.
func TestTheCoreChecksThePeopleAgain(t *testing.T) {
	resign := func(clerk, reviewer string) func(*testing.T, *place, *enroll.Request) {
		return func(t *testing.T, p *place, r *enroll.Request) {
			r.Evidence = []enroll.Evidence{
				p.sign(t, clerk, "ra.submit", ca.IssueKind, r.ID, 0, r.Content), p.sign(t, reviewer, "ra.approve", ca.IssueKind, r.ID, 1, r.Content),
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, p *place, r *enroll.Request)
		want   *refusal.Reason
		field  string
	}{
		{"somebody not on the register", resign("clerk", "stranger"), access.NoSuchPerson, "certificate"},
		{"somebody whose certificate has expired", resign("clerk", "former"), access.Expired, "certificate"},
		{"somebody who was disabled", resign("clerk", "disabled"), access.Disabled, "certificate"},
		{"one person for both steps", resign("both", "both"), ca.NoEvidence, "evidence"},
		{"a clerk who is none", resign("producer", "reviewer"), ca.NoEvidence, "evidence"},
		{"a reviewer who is none", resign("clerk", "producer"), ca.NoEvidence, "evidence"},
		{"steps by the wrong people", resign("reviewer", "clerk"), ca.NoEvidence, "evidence"},
		{"no approval", func(_ *testing.T, _ *place, r *enroll.Request) { r.Evidence = r.Evidence[:1] }, ca.NoEvidence, "evidence"},
		{"no submission", func(_ *testing.T, _ *place, r *enroll.Request) { r.Evidence = r.Evidence[1:] }, ca.NoEvidence, "evidence"},
		{"two submissions", func(_ *testing.T, _ *place, r *enroll.Request) { r.Evidence[1] = r.Evidence[0] }, ca.NoEvidence, "evidence"},
		{"content changed after signing", func(t *testing.T, _ *place, r *enroll.Request) {
			r.Content = bytes.Replace(r.Content, []byte(`"validity_days":365`), []byte(`"validity_days":366`), 1)
			r.Content = bytes.Replace(r.Content, []byte(`"days":365`), []byte(`"days":366`), 1)
		}, ca.NoEvidence, "evidence"},
		{"the same content spelt otherwise", func(_ *testing.T, _ *place, r *enroll.Request) { r.Content = append(r.Content, ' ') }, ca.BadContent, "content"},
		{"an unknown field", func(_ *testing.T, _ *place, r *enroll.Request) {
			r.Content = append([]byte(`{"more":1,`), r.Content[1:]...)
		}, ca.BadContent, "content"},
		{"a signature with a flipped bit", func(_ *testing.T, _ *place, r *enroll.Request) { r.Evidence[0].Signed.Signature[20] ^= 1 }, access.BadSignature, "signature"},
		{"a statement with another note", func(_ *testing.T, _ *place, r *enroll.Request) { r.Evidence[1].Signed.Note = "同意" }, access.BadSignature, "text"},
		{"a statement in another's name", func(_ *testing.T, _ *place, r *enroll.Request) { r.Evidence[1].Signed.Person = "both" }, access.BadSignature, "text"},
		{"signatures for another case", func(t *testing.T, p *place, r *enroll.Request) { r.Evidence = p.fresh(t, "A2").Evidence }, ca.NoEvidence, "evidence"},
		{"a step of another kind of case", func(t *testing.T, p *place, r *enroll.Request) {
			r.Evidence[1] = p.sign(t, "reviewer", "ra.approve", ca.RevokeKind, r.ID, 1, r.Content)
		}, ca.NoEvidence, "evidence"},
		{"another number than the content's", func(_ *testing.T, _ *place, r *enroll.Request) { r.ID = "A2" }, ca.BadContent, "id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			r := p.fresh(t, "A1")
			c.change(t, p, &r)
			p.refuses(t, r, c.want, c.field)
			p.untouched(t)
		})
	}
}

// A certificate that has expired since does not undo what was signed before.
func TestAPersonMayExpireBetweenSigningAndIssuing(t *testing.T) {
	p := newPlace(t)
	r := p.fresh(t, "A1")
	p.now = start.AddDate(1, 0, 1)
	if results, err := p.Issue(t.Context(), []enroll.Request{r}); err != nil || results[0].Err != nil {
		t.Error(err, results)
	}
}

func TestAKeyOrANumberIsUsedOnce(t *testing.T) {
	p := newPlace(t)
	key := newKey(t)
	first := p.request(t, application(t, "A1", key), "clerk", "reviewer")
	if results, err := p.Issue(t.Context(), []enroll.Request{first}); err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	before := len(p.key.messages)
	p.refuses(t, p.request(t, application(t, "A2", key), "clerk", "reviewer"), ca.KeyInUse, "csr")
	// What the key centre holds signs for nobody, in a pair or alone.
	for _, a := range []enroll.Application{application(t, "A4", p.keys.private[0]), device(t, "A5", p.keys.private[0])} {
		p.refuses(t, p.request(t, a, "clerk", "reviewer"), ca.KeyEscrowed, "csr")
	}
	p.refuses(t, p.fresh(t, "A1"), ca.Changed, "id") // the number, with another content
	results, err := p.Issue(t.Context(), []enroll.Request{first, p.fresh(t, "A3"), p.fresh(t, "A3")})
	if err != nil || results[0].Err != nil || results[1].Err != nil {
		t.Fatalf("%v %+v", err, results)
	}
	refused(t, results[2].Err, ca.BadContent, "id")
	if n := len(p.key.messages) - before; n != 2 {
		t.Errorf("%d signatures for one pair", n)
	}
	p.key.check(t)
}

func TestABatchHasABound(t *testing.T) {
	p := newPlace(t)
	_, err := p.Issue(t.Context(), make([]enroll.Request, enroll.BatchMax+1))
	if !errors.Is(err, ca.TooMany) {
		t.Error(err)
	}
	if results, err := p.Issue(t.Context(), nil); err != nil || len(results) != 0 {
		t.Errorf("an empty batch: %v %v", results, err)
	}
	p.untouched(t)
}

// One statement may cover many cases; each proves its own place in it.
func TestOneSignatureCoversABatch(t *testing.T) {
	p := newPlace(t)
	var requests []enroll.Request
	items := map[string][]access.Item{}
	for n := range 20 {
		a := device(t, fmt.Sprint("A", n), newKey(t))
		requests = append(requests, enroll.Request{ID: a.ID, Content: a.Bytes()})
		for seq, act := range []string{"ra.submit", "ra.approve"} {
			items[act] = append(items[act], access.Item{Kind: ca.IssueKind, ID: a.ID, Seq: seq, Digest: alg.Digest(a.Bytes())})
		}
	}
	for act, who := range map[string]string{"ra.submit": "clerk", "ra.approve": "reviewer"} {
		signed, err := p.Desk.Draft(p.who[who], act, act, "20 件", "", items[act]).Sign(p.staff.keys[who], p.who[who].Cert)
		if err != nil {
			t.Fatal(err)
		}
		for i := range requests {
			requests[i].Evidence = append(requests[i].Evidence, enroll.Evidence{Signed: signed, Item: items[act][i], Proof: access.ProofOf(items[act], i)})
		}
	}
	requests[7].Evidence[0].Proof = requests[8].Evidence[0].Proof
	requests[9].Evidence[1].Proof.Count = 21
	results, err := p.Issue(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if slices.Contains([]int{7, 9}, i) {
			refused(t, r.Err, ca.NoEvidence, "evidence")
		} else if r.Err != nil {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
	p.key.check(t)
}

// A hostile registration system may write any number into a proof; the core
// must answer it at once.
func TestAHostileProofIsRefusedAtOnce(t *testing.T) {
	for _, count := range []int{0, -1, 2, 1<<62 + 1, 1<<63 - 1} {
		p := newPlace(t)
		r := p.fresh(t, "A1")
		for i := range r.Evidence {
			r.Evidence[i].Proof = access.Proof{Count: count, Path: [][]byte{make([]byte, 32)}}
			r.Evidence[i].Signed.Count = count
		}
		done := make(chan error, 1)
		go func() {
			results, err := p.Issue(t.Context(), []enroll.Request{r})
			done <- errors.Join(err, results[0].Err)
		}()
		select {
		case err := <-done:
			refused(t, err, ca.NoEvidence, "evidence")
		case <-time.After(10 * time.Second):
			t.Fatalf("a count of %d is never answered", count)
		}
	}
}
