package ca_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// other is an institution that hands its business over: four certificates in two
// parts, the first and second a pair, the third revoked, list number 41.
type other struct {
	key    *sm2.PrivateKey
	cert   *cert.Certificate
	pieces [][]byte // the manifest first
}

func (o *other) manifest() string { return handover.Digest(o.pieces[0]) }

func foreign(t *testing.T, change func(*handover.Manifest, [][]byte)) *other {
	t.Helper()
	o := &other{key: newKey(t)}
	name := dn.Name{C: "CN", O: "旧机构", CN: "旧机构 CA"}.Bytes()
	seal := func(serial byte, subject string, point []byte, ext ...cert.Extension) []byte {
		der, err := cert.Seal(cert.Draft{Serial: []byte{0x10, serial}, Issuer: name, Subject: dn.Name{C: "CN", O: "旧机构", CN: subject}.Bytes(), Point: point, NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(2, 0, 0), Extensions: ext}.TBS(), o.key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	o.cert = parse(t, seal(0, "旧机构 CA", alg.Point(&o.key.PublicKey), cert.SKI(alg.Point(&o.key.PublicKey)), cert.KeyUsage(cert.UsageCA), cert.CA(-1)))
	user := func(n byte, holder, use, pair string) handover.Certificate {
		return handover.Certificate{DER: seal(n, holder, alg.Point(&newKey(t).PublicKey)), Use: use, Pair: pair}
	}
	list, err := crl.Seal(crl.Draft{Issuer: name, Point: o.cert.Point, ThisUpdate: start.AddDate(0, 0, -1), NextUpdate: start.AddDate(0, 0, 6), Number: 41, Entries: crl.Entry{Serial: []byte{0x10, 3}, At: start.AddDate(0, -1, 0), Reason: 1}.Bytes()}.TBS(), o.key)
	if err != nil {
		t.Fatal(err)
	}
	o.pieces = [][]byte{nil, list}
	for _, part := range [][]handover.Certificate{{user(1, "甲", "sign", "1002"), user(2, "甲", "enc", "1001")}, {user(3, "乙", "sign", ""), user(4, "丙", "sign", "")}} {
		body, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		o.pieces = append(o.pieces, body)
	}
	m := handover.Manifest{Version: 1, CA: o.cert.Raw, ListNumber: 41, Certificates: 4, Revoked: 1}
	if change != nil {
		change(&m, o.pieces)
	}
	for i, p := range o.pieces[1:] {
		piece := handover.Piece{Kind: handover.List, SM3: handover.Digest(p)}
		if i > 0 {
			piece.Kind, piece.Count = handover.Certificates, 2
		}
		m.Pieces = append(m.Pieces, piece)
	}
	if o.pieces[0], err = m.Bytes(); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *other) upload(t *testing.T, by *ca.Takeover) {
	t.Helper()
	for n, p := range o.pieces {
		if err := by.Upload(t.Context(), o.manifest(), n, p, catest.Line("piece")); err != nil {
			t.Fatal(err)
		}
	}
}

// stumbling is a store that stops at one of the writes of a takeover, before or
// after it is done.
type stumbling struct {
	*catest.Memory
	at    int
	after bool
}

func (s *stumbling) step(do func() error) error {
	s.at--
	if s.at == 0 && !s.after {
		return catest.ErrCrash
	}
	err := do()
	if s.at == 0 && err == nil {
		err = catest.ErrCrash
	}
	return err
}

func (s *stumbling) Adopt(ctx context.Context, w ca.Ward, a []ca.Publication, floor int64, last *ca.List, e ca.Publication, line audit.Entry) (out ca.Ward, err error) {
	err = s.step(func() error { out, err = s.Memory.Adopt(ctx, w, a, floor, last, e, line); return err })
	return out, err
}

func (s *stumbling) Take(ctx context.Context, order string, no int, list []ca.Taken, line audit.Entry) error {
	return s.step(func() error { return s.Memory.Take(ctx, order, no, list, line) })
}

func (s *stumbling) Finish(ctx context.Context, order string, line audit.Entry) error {
	return s.step(func() error { return s.Memory.Finish(ctx, order, line) })
}

// Wherever the store fails, carrying the order out again finishes it, and nothing
// is on record or in the ledger twice.
func TestATakeoverAfterACrash(t *testing.T) {
	for at := 1; at <= 4; at++ {
		for _, after := range []bool{false, true} {
			p, _, v := aged(t)
			o := foreign(t, nil)
			v.keys[ca.WardLabel(o.cert.Point)] = o.key
			s := &stumbling{Memory: p.memory, at: at, after: after}
			by := &ca.Takeover{Issuer: p.Issuer, Store: s, Device: v}
			o.upload(t, by)
			if err := by.Do(t.Context(), "P1", o.manifest(), true); !errors.Is(err, catest.ErrCrash) {
				t.Fatalf("%d %v: %v", at, after, err)
			}
			for range 2 {
				if err := by.Do(t.Context(), "P1", o.manifest(), true); err != nil {
					t.Fatalf("%d %v: %v", at, after, err)
				}
			}
			if n := len(p.memory.Leaves()); n != 6 { // the CA, four certificates, one status
				t.Errorf("%d %v: %d entries in the ledger", at, after, n)
			}
			if len(p.Wards()) != 1 {
				t.Errorf("%d %v: %d wards", at, after, len(p.Wards()))
			}
		}
	}
}

// The old key signs lists, with numbers above the old ones, and its responder's
// certificate; certificates are signed by the CA's own key as before.
func TestATakenOverKeySignsListsAndNothingElse(t *testing.T) {
	p, _, v := aged(t)
	o := foreign(t, nil)
	v.keys[ca.WardLabel(o.cert.Point)] = o.key
	by := &ca.Takeover{Issuer: p.Issuer, Store: p.memory, Device: v}
	o.upload(t, by)
	if plan, err := by.Plan(t.Context(), o.manifest()); err != nil || plan.Certificates != 4 || plan.Revoked != 1 || !plan.Key {
		t.Fatalf("%+v %v", plan, err)
	}
	if err := by.Do(t.Context(), "P1", o.manifest(), true); err != nil {
		t.Fatal(err)
	}
	publisher := &ca.Publisher{Issuer: p.Issuer}
	if err := publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := fullOf(t, p, "k512-full", o.cert)
	if full.Number.Int64() < 42 || len(full.Entries) != 1 || full.Entries[0].Reason != 1 || !full.Entries[0].At.Equal(start.AddDate(0, -1, 0)) {
		t.Errorf("%v %+v", full.Number, full.Entries)
	}
	if c := p.issue(t, "A1"); parse(t, c.Sign).SignedBy(p.Cert) != nil {
		t.Error("another key signed a certificate")
	}
	if err := p.EndInternal(t.Context(), "R1", []byte{0x10, 1}, 4); err != nil {
		t.Fatal(err)
	}
	p.now = p.now.Add(time.Minute)
	if err := publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if full := fullOf(t, p, "k512-full", o.cert); len(full.Entries) != 3 {
		t.Errorf("%+v", full.Entries)
	}
	key := newKey(t)
	request, err := csr.New(dn.Name{C: "CN", CN: "状态查询服务器"}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.memory.Resolve(t.Context(), enroll.Duty{ID: "D1"}, catest.Line("duty")); err != nil {
		t.Fatal(err)
	}
	der, err := (&ca.Responders{Issuer: p.Issuer, Store: p.memory}).Certify(t.Context(), enroll.Responder{Duty: "D1", Issuer: cert.KeyID(o.cert.Point), CSR: request})
	if err != nil || parse(t, der).SignedBy(o.cert) != nil {
		t.Errorf("responder: %v", err)
	}
}

func fullOf(t *testing.T, p *place, scope string, by *cert.Certificate) *crl.List {
	t.Helper()
	all := p.memory.History()
	slices.Reverse(all)
	for _, l := range all {
		if l.Scope == scope {
			read, err := crl.Parse(l.DER())
			if err != nil || alg.Verify(by.PublicKey(), read.RawTBS, read.Signature) != nil {
				t.Fatalf("%s: %v", scope, err)
			}
			return read
		}
	}
	t.Fatalf("no list %s", scope)
	return nil
}

// Without its key there is the last list, and no status changes any more.
func TestATakenOverCAWithoutItsKey(t *testing.T) {
	p, _, v := aged(t)
	o := foreign(t, nil)
	by := &ca.Takeover{Issuer: p.Issuer, Store: p.memory, Device: v}
	o.upload(t, by)
	if err := by.Do(t.Context(), "P0", o.manifest(), true); !errors.Is(err, ca.BadHandover) {
		t.Errorf("with a key that is not there: %v", err)
	}
	if err := by.Do(t.Context(), "P1", o.manifest(), false); err != nil {
		t.Fatal(err)
	}
	if err := (&ca.Publisher{Issuer: p.Issuer}).Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, l := range p.memory.History() {
		if l.Scope == "k512-full" {
			lists++
		}
	}
	if lists != 1 {
		t.Errorf("%d lists", lists)
	}
	if err := p.EndInternal(t.Context(), "R1", []byte{0x10, 1}, 4); !errors.Is(err, ca.NoWardKey) {
		t.Errorf("revoked: %v", err)
	}
}

// What is handed over is believed as far as its signatures prove it.
func TestWhatIsHandedOverIsChecked(t *testing.T) {
	p, _, v := aged(t)
	by := &ca.Takeover{Issuer: p.Issuer, Store: p.memory, Device: v}
	o := foreign(t, nil)
	try := func(manifest string, no int, body []byte) error {
		return by.Upload(t.Context(), manifest, no, body, catest.Line("piece"))
	}
	stranger := foreign(t, nil)
	for name, err := range map[string]error{
		"another manifest":    try(stranger.manifest(), 0, o.pieces[0]),
		"a part before":       try(o.manifest(), 1, o.pieces[1]),
		"no manifest":         try(handover.Digest([]byte("{}")), 0, []byte("{}")),
		"the CA's own":        uploadFirst(by, foreign(t, func(m *handover.Manifest, _ [][]byte) { m.CA = p.Cert.Raw })),
		"a number at the end": uploadFirst(by, foreign(t, func(m *handover.Manifest, _ [][]byte) { m.ListNumber = 1 << 62 })),
	} {
		if !errors.Is(err, ca.BadHandover) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := try(o.manifest(), 0, o.pieces[0]); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"another part": try(o.manifest(), 2, o.pieces[3]), "a part too many": try(o.manifest(), 4, nil)} {
		if !errors.Is(err, ca.BadHandover) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := by.Plan(t.Context(), o.manifest()); !errors.Is(err, ca.BadHandover) {
		t.Errorf("half of a package: %v", err)
	}
	mixed := foreign(t, func(_ *handover.Manifest, pieces [][]byte) { pieces[3] = stranger.pieces[3] })
	if err := try(mixed.manifest(), 0, mixed.pieces[0]); err != nil {
		t.Fatal(err)
	}
	if err := try(mixed.manifest(), 3, mixed.pieces[3]); !errors.Is(err, ca.BadHandover) {
		t.Errorf("certificates of another CA: %v", err)
	}
	swapped := foreign(t, func(_ *handover.Manifest, pieces [][]byte) { pieces[1] = stranger.pieces[1] })
	swapped.upload(t, by)
	if _, err := by.Plan(t.Context(), swapped.manifest()); !errors.Is(err, ca.BadHandover) {
		t.Errorf("a list of another CA: %v", err)
	}
}

func uploadFirst(by *ca.Takeover, o *other) error {
	return by.Upload(context.Background(), o.manifest(), 0, o.pieces[0], catest.Line("piece"))
}
