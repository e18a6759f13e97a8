package ca_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// vault holds keys by label; it fails once where it is told to.
type vault struct {
	t    *testing.T
	keys map[string]crypto.Signer
	fail bool
	made int
}

func (v *vault) Signer(label string) (crypto.Signer, error) {
	if key := v.keys[label]; key != nil {
		return key, nil
	}
	return nil, fs.ErrNotExist
}

func (v *vault) Generate(label string) (crypto.Signer, error) {
	if v.keys[label] != nil {
		return nil, errors.New("label in use")
	}
	v.made++
	v.keys[label] = newKey(v.t)
	if v.fail {
		v.fail = false
		return nil, catest.ErrCrash
	}
	return v.keys[label], nil
}

// aged is a CA under a root, ready to change its key.
func aged(t *testing.T) (*place, *ca.Rollover, *vault) {
	t.Helper()
	p, root, key := rooted(t)
	der, err := cert.Seal(cert.Draft{
		Serial: []byte{0x41, 1, 2, 3, 4, 5, 6, 8}, Issuer: root.Cert.Subject, Subject: p.Cert.Subject, Point: p.Cert.Point, NotBefore: p.Cert.NotBefore, NotAfter: p.Cert.NotAfter,
		Extensions: []cert.Extension{cert.AKI(root.Cert.Point), cert.SKI(p.Cert.Point), cert.KeyUsage(cert.UsageCA), cert.CA(0)},
	}.TBS(), key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	p.Cert, p.Line = parse(t, der), new(ca.Line)
	v := &vault{t: t, keys: map[string]crypto.Signer{}}
	return p, &ca.Rollover{Issuer: p.Issuer, Root: root, Store: p.memory, Device: v}, v
}

func parse(t *testing.T, der []byte) *cert.Certificate {
	t.Helper()
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The root certifies the new key, each key certifies the other, and from then
// on the new key signs: with its own lists, its own issuer's address.
func TestANewKeySignsAfterARollover(t *testing.T) {
	p, r, _ := aged(t)
	before := p.issue(t, "A1")
	made, err := r.Do(t.Context(), "P1")
	if err != nil {
		t.Fatal(err)
	}
	first, next, newOld, oldNew := p.Cert, parse(t, made.New), parse(t, made.NewWithOld), parse(t, made.OldWithNew)
	if next.SignedBy(r.Root.Cert) != nil || newOld.SignedBy(first) != nil || oldNew.SignedBy(next) != nil {
		t.Error("a certificate is not signed by whom it should be")
	}
	if !bytes.Equal(next.Point, newOld.Point) || !bytes.Equal(oldNew.Point, first.Point) || bytes.Equal(next.Point, first.Point) {
		t.Error("a certificate is for another key")
	}
	for _, c := range []*cert.Certificate{next, newOld, oldNew} {
		if !bytes.Equal(c.Subject, first.Subject) {
			t.Error("the CA has another name")
		}
	}
	if oldNew.NotBefore.Unix() != first.NotBefore.Unix() || oldNew.NotAfter.After(first.NotAfter) || newOld.NotAfter.After(first.NotAfter) {
		t.Error("a cross certificate outlives the old key (RFC 4210 §4.4)")
	}
	after := p.issue(t, "A2")
	if parse(t, before.Sign).SignedBy(first) != nil || parse(t, after.Sign).SignedBy(next) != nil || parse(t, after.Enc).SignedBy(next) != nil {
		t.Error("the wrong key signed")
	}
	urls := parse(t, after.Sign).URLs()
	if len(urls["crl"]) != 1 || !strings.HasPrefix(urls["crl"][0], "http://ca.test/crl/k1-shard-") || !slices.Contains(urls["issuer"], "http://ca.test/aia/"+ca.IssuerFile(next.Point)) {
		t.Errorf("%v", urls)
	}
	named := map[string]bool{}
	for _, leaf := range p.memory.Leaves() {
		e, err := record.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		switch e.Kind {
		case record.KindAuthority:
			named[string(e.Body)] = true
		case record.KindCertificate:
			if c, err := record.ParseCertificate(e.Body); err != nil || bytes.Equal(c.Digest, alg.Digest(after.Sign)) && !bytes.Equal(c.Issuer, alg.Digest(made.New)) {
				t.Error("the ledger names another issuer")
			}
		}
	}
	if !named[string(made.New)] || !named[string(made.NewWithOld)] || !named[string(made.OldWithNew)] {
		t.Error("the ledger does not name the certificates")
	}
	if again, err := r.Do(t.Context(), "P1"); err != nil || !bytes.Equal(again.OldWithNew, made.OldWithNew) || len(p.Generations()) != 2 {
		t.Errorf("done again: %v", err)
	}
}

// Each key signs lists of what it certified, and goes on until the last of that
// has expired.
func TestEachKeyHasItsOwnLists(t *testing.T) {
	p, r, _ := aged(t)
	old := p.issue(t, "A1")
	made, err := r.Do(t.Context(), "P1")
	if err != nil {
		t.Fatal(err)
	}
	fresh := p.issue(t, "A2")
	for i, reply := range []enroll.Reply{old, fresh} {
		sn, _ := reply.Serials()
		id := fmt.Sprint("R", i)
		content := enroll.Revocation{ID: id, Serial: sn, Reason: "superseded"}.Bytes()
		if _, err := p.Revoke(t.Context(), enroll.Request{ID: id, Content: content, Evidence: []enroll.Evidence{
			p.sign(t, "clerk", "ra.revoke", ca.RevokeKind, id, 0, content), p.sign(t, "reviewer", "ra.approve", ca.RevokeKind, id, 1, content),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
	numbers, err := pub.PublishAll(t.Context(), p.now)
	if err != nil || len(numbers) != 2*(ca.Shards+2) {
		t.Fatalf("%d lists: %v", len(numbers), err)
	}
	seen := map[int64]string{}
	for _, l := range p.memory.History() {
		read, err := crl.Parse(l.DER())
		if err != nil {
			t.Fatal(err)
		}
		n, rest := ca.ReadScope(l.Scope)
		key := []*cert.Certificate{p.Cert, parse(t, made.New)}[n]
		if alg.Verify(key.PublicKey(), read.RawTBS, read.Signature) != nil {
			t.Errorf("%s is signed by another key", l.Scope)
		}
		if rest == "full" {
			want := serials([]enroll.Reply{old, fresh}[n])
			var got []string
			for _, e := range read.Entries {
				got = append(got, cert.SerialHex(e.Serial))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s lists %v, want %v", l.Scope, got, want)
			}
		}
		if other := seen[l.Number]; other != "" && !strings.HasSuffix(other, "full") {
			t.Errorf("%s and %s have one number", other, l.Scope)
		}
		seen[l.Number] = l.Scope
	}
	p.now = p.Cert.NotAfter.Add(time.Hour) // the cross certificate was its last
	before := len(p.memory.History())
	if _, err := pub.PublishAll(t.Context(), p.now); err != nil {
		t.Fatal(err)
	}
	for _, l := range p.memory.History()[before:] {
		if n, _ := ca.ReadScope(l.Scope); n != 1 {
			t.Errorf("%s is signed though nothing of it is left", l.Scope)
		}
	}
	if len(p.memory.History()) != before+ca.Shards+2 {
		t.Errorf("%d lists of the new key", len(p.memory.History())-before)
	}
}

// Wherever it stops, doing it again makes one key, one certificate each, and
// one switch.
func TestARolloverGoesOnAfterACrash(t *testing.T) {
	for at, more := 0, true; more; at++ {
		for _, after := range []bool{false, true} {
			p, r, v := aged(t)
			f := &catest.Failing{Store: p.memory, At: at, After: after}
			if at == 0 {
				v.fail, f.At = true, 1000
			}
			r.Store, p.Store, r.Root.Store = f, f, f
			_, err := r.Do(t.Context(), "P1")
			if more = f.Failed() || at == 0; !more {
				break
			}
			if !errors.Is(err, catest.ErrCrash) {
				t.Fatalf("call %d: %v", at, err)
			}
			// Another process begins with what is on record.
			p.Line = new(ca.Line)
			all, err := p.memory.Successions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				if s.DER != nil {
					p.Succeed(p.Heir(v.keys[s.Label], parse(t, s.DER)))
				}
			}
			made, err := r.Do(t.Context(), "P1")
			if err != nil {
				t.Fatalf("call %d after=%v: %v", at, after, err)
			}
			authorities := 0
			for _, leaf := range p.memory.Leaves() {
				if e, err := record.Parse(leaf); err == nil && e.Kind == record.KindAuthority {
					authorities++
				}
			}
			if v.made != 1 || authorities != 3 || len(p.Generations()) != 2 {
				t.Errorf("call %d after=%v: %d keys, %d certificates", at, after, v.made, authorities)
			}
			reply := p.issue(t, "A2")
			if parse(t, reply.Sign).SignedBy(parse(t, made.New)) != nil {
				t.Error("the new key does not sign")
			}
		}
	}
}

// What the old key had drafted it finishes; what was only asked for the new key
// signs.
func TestWhatWasDraftedIsFinishedByItsKey(t *testing.T) {
	for at := 1; at < 20; at++ {
		p, r, _ := aged(t)
		f := &catest.Failing{Store: p.memory, At: at}
		p.Store = f
		request := p.fresh(t, "A1")
		_, err := p.Issue(t.Context(), []enroll.Request{request})
		if !f.Failed() {
			return
		}
		if !errors.Is(err, catest.ErrCrash) {
			continue
		}
		p.Store = p.memory
		made, err := r.Do(t.Context(), "P1")
		if err != nil {
			t.Fatal(err)
		}
		drafted := p.memory.Intents()
		results, err := p.Issue(t.Context(), []enroll.Request{request})
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		c := parse(t, results[0].Reply.Sign)
		by := parse(t, made.New)
		if slices.ContainsFunc(drafted, func(tbs []byte) bool { return bytes.Equal(tbs, c.RawTBS) }) {
			by = p.Cert
		}
		if c.SignedBy(by) != nil {
			t.Errorf("call %d: the wrong key signed", at)
		}
	}
}

func TestWhatARolloverRefuses(t *testing.T) {
	p, r, _ := aged(t)
	root := r.Root
	r.Root = nil
	if _, err := r.Do(t.Context(), "P1"); !errors.Is(err, ca.NoRollover) {
		t.Errorf("without the root's key: %v", err)
	}
	r.Root = root
	if _, err := p.memory.Begin(t.Context(), "P0", "x", catest.Line("begin")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do(t.Context(), "P1"); !errors.Is(err, ca.RolloverOpen) {
		t.Errorf("while another is open: %v", err)
	}
	p.now = p.Cert.NotAfter
	if _, err := r.Do(t.Context(), "P0"); !errors.Is(err, ca.NoRollover) {
		t.Errorf("after the end of the old key: %v", err)
	}
}
