package catest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ca"
)

// wards is what Memory keeps of CAs taken over.
type wards struct {
	of     []ca.Ward
	pieces map[string]map[int][]byte
	taken  map[string]map[int]bool
	floor  int64
}

var _ ca.WardStore = (*Memory)(nil)

// Wards are the CAs taken over, oldest first.
func (m *Memory) Wards(context.Context) ([]ca.Ward, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.wards.of), nil
}

// KeepPiece keeps a part of a package, once.
func (m *Memory) KeepPiece(_ context.Context, manifest string, no int, body []byte, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wards.pieces == nil {
		m.wards.pieces = map[string]map[int][]byte{}
	}
	if m.wards.pieces[manifest] == nil {
		m.wards.pieces[manifest] = map[int][]byte{}
	}
	if _, ok := m.wards.pieces[manifest][no]; !ok {
		m.wards.pieces[manifest][no], m.lines = bytes.Clone(body), append(m.lines, line)
	}
	return nil
}

// Pieces tells which parts of a package are at hand.
func (m *Memory) Pieces(_ context.Context, manifest string) (list []int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.wards.pieces[manifest] {
		list = append(list, n)
	}
	slices.Sort(list)
	return list, nil
}

// Piece returns a part; nil if it is not at hand.
func (m *Memory) Piece(_ context.Context, manifest string, no int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wards.pieces[manifest][no], nil
}

// Adopt puts a ward on record.
func (m *Memory) Adopt(_ context.Context, w ca.Ward, authorities []ca.Publication, floor int64, last *ca.List, entry ca.Publication, line audit.Entry) (ca.Ward, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.wards.of {
		if o.Order == w.Order {
			return o, nil
		}
	}
	if w.Number != len(m.wards.of) {
		return w, errors.New("a ward out of order")
	}
	m.wards.of, m.lines, m.wards.floor = append(m.wards.of, w), append(m.lines, line), max(m.wards.floor, floor)
	for _, a := range authorities {
		m.leaves = append(m.leaves, a.Leaf)
	}
	if last != nil {
		m.lists, m.leaves = append(m.lists, *last), append(m.leaves, entry.Leaf)
	}
	return w, nil
}

// Take puts the certificates of a part on record, once.
func (m *Memory) Take(_ context.Context, order string, no int, list []ca.Taken, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wards.taken[order][no] {
		return nil
	}
	for _, t := range list {
		_, used := m.issued[plain(t.Serial)]
		if _, pair := m.issued[plain(t.Pair)]; used || pair && t.Use == "sign" {
			return ca.TakenSerial.At("serial", ca.TakenSerial.Clause)
		}
		c, err := cert.Parse(t.DER)
		if err != nil {
			return err
		}
		if j, ok := m.jobs[m.keys[string(alg.Digest(c.Point))]]; ok && t.Use == "sign" {
			return ca.KeyInUse.At("certificate", ca.KeyInUse.Clause).Because("%s", j.ID)
		}
	}
	if m.issued == nil {
		m.issued = map[string]ca.Issued{}
	}
	m.escrowed = clone(m.escrowed)
	for _, t := range list {
		if c, err := cert.Parse(t.DER); err == nil && t.Use == "enc" {
			m.escrowed[string(alg.Digest(c.Point))] = true
		}
		m.issued[plain(t.Serial)], m.leaves = t.Issued, append(m.leaves, t.Entry.Leaf)
		if t.Status == nil {
			continue
		}
		m.leaves = append(m.leaves, t.Status.Leaf)
		m.revoked, m.dirty = clone(m.revoked), clone(m.dirty)
		m.change("takeover-"+t.Request, t.Issued, line.End)
	}
	if m.wards.taken == nil {
		m.wards.taken = map[string]map[int]bool{}
	}
	if m.wards.taken[order] == nil {
		m.wards.taken[order] = map[int]bool{}
	}
	m.wards.taken[order][no], m.lines = true, append(m.lines, line)
	return nil
}

// Finish closes a ward's package and drops its parts.
func (m *Memory) Finish(_ context.Context, order string, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.wards.of {
		if w := &m.wards.of[i]; w.Order == order && !w.Done {
			w.Done, m.lines = true, append(m.lines, line)
			for n := range m.wards.pieces[w.Manifest] {
				if n > 0 {
					delete(m.wards.pieces[w.Manifest], n)
				}
			}
		}
	}
	return nil
}

// Known tells which serials are on record.
func (m *Memory) Known(_ context.Context, serials [][]byte) (list [][]byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, sn := range serials {
		_, issued := m.issued[plain(sn)]
		for _, j := range m.jobs {
			issued = issued || bytes.Equal(j.Serials.Sign, sn) || j.Serials.Enc != nil && bytes.Equal(j.Serials.Enc, sn)
		}
		if issued {
			list = append(list, sn)
		}
	}
	return list, nil
}

// Guarding is a store that keeps wards as well.
type Guarding interface {
	ca.Store
	ca.WardStore
}

// Wards tries what a store promises about CAs taken over.
func Wards(t *testing.T, fresh func(t *testing.T) Guarding) {
	for name, test := range map[string]func(*testing.T, Guarding){
		"parts are kept once and dropped at the end":                    parts,
		"numbers of lists go on above those of the ward":                aboveWard,
		"certificates are taken once, and nobody's serial or key twice": takenOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func parts(t *testing.T, s Guarding) {
	ctx := t.Context()
	for _, body := range []string{"one", "two"} {
		if err := s.KeepPiece(ctx, "m", 1, []byte(body), Line("piece")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.KeepPiece(ctx, "m", 0, []byte("manifest"), Line("piece")); err != nil {
		t.Fatal(err)
	}
	if have, err := s.Pieces(ctx, "m"); err != nil || !slices.Equal(have, []int{0, 1}) {
		t.Errorf("%v %v", have, err)
	}
	if body, err := s.Piece(ctx, "m", 1); err != nil || string(body) != "one" {
		t.Errorf("%s %v", body, err)
	}
	if body, err := s.Piece(ctx, "m", 2); err != nil || body != nil {
		t.Errorf("%s %v", body, err)
	}
	w := ca.Ward{Order: "P1", Manifest: "m", DER: []byte("ca")}
	for range 2 {
		if got, err := s.Adopt(ctx, w, []ca.Publication{{Leaf: []byte("a"), Body: []byte("ca")}}, 41, nil, ca.Publication{}, Line("begin")); err != nil || got.Order != "P1" || got.Done {
			t.Fatalf("%+v %v", got, err)
		}
	}
	for range 2 {
		if err := s.Finish(ctx, "P1", Line("done")); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := s.Pieces(ctx, "m"); err != nil || !slices.Equal(have, []int{0}) {
		t.Errorf("%v %v", have, err)
	}
	if all, err := s.Wards(ctx); err != nil || len(all) != 1 || !all[0].Done {
		t.Errorf("%+v %v", all, err)
	}
}

func aboveWard(t *testing.T, s Guarding) {
	ctx := t.Context()
	if _, err := s.Adopt(ctx, ca.Ward{Order: "P1", Manifest: "m", DER: []byte("ca")}, nil, 41, nil, ca.Publication{}, Line("begin")); err != nil {
		t.Fatal(err)
	}
	l, err := s.IntendList(ctx, ca.List{Scope: "full"}, ca.Full, func(int64, []byte) []byte { return []byte("draft") })
	if err != nil || l.Number != 42 {
		t.Errorf("number %d %v", l.Number, err)
	}
}

func takenOnce(t *testing.T, s Guarding) {
	ctx := t.Context()
	own := Issue(t, s, 3)
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one := takenOf(t, key, []byte{0x10, 0x01})
	one.Revoked, one.Reason, one.RevokedAt = true, 1, at
	one.Status = &ca.Publication{Leaf: []byte("status")}
	for range 2 {
		if err := s.Take(ctx, "P1", 1, []ca.Taken{one}, Line("piece")); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := s.Certificate(ctx, one.Serial); err != nil || !c.Revoked || c.Reason != 1 || c.Profile != ca.WardProfile || c.Shard != one.Shard {
		t.Errorf("%+v %v", c, err)
	}
	if dirty, err := s.Dirty(ctx); err != nil || !slices.Contains(dirty, ca.FullOf(ca.WardFirst)) {
		t.Errorf("%v %v", dirty, err)
	}
	if err := s.Take(ctx, "P1", 2, []ca.Taken{takenOf(t, key, own.Serials.Sign)}, Line("piece")); !errors.Is(err, ca.TakenSerial) {
		t.Errorf("a serial of ours: %v", err)
	}
	paired := takenOf(t, key, []byte{0x10, 0x02})
	paired.Pair = own.Serials.Sign
	if err := s.Take(ctx, "P1", 2, []ca.Taken{paired}, Line("piece")); !errors.Is(err, ca.TakenSerial) {
		t.Errorf("a serial of ours as the other half: %v", err)
	}
	if known, err := s.Known(ctx, [][]byte{one.Serial, own.Serials.Sign, {9, 9}}); err != nil || len(known) != 2 {
		t.Errorf("%x %v", known, err)
	}
}

func takenOf(t *testing.T, key *sm2.PrivateKey, serial []byte) ca.Taken {
	t.Helper()
	der, err := cert.Seal(cert.Draft{Serial: serial, Issuer: []byte{0x30, 0}, Subject: []byte{0x30, 0}, NotBefore: at, NotAfter: at.AddDate(1, 0, 0), Point: alg.Point(&key.PublicKey)}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	const wardShard = ca.WardFirst * 4096
	return ca.Taken{
		Issued: ca.Issued{Serial: serial, Request: "taken-" + cert.SerialHex(serial), Profile: ca.WardProfile, Use: "sign", Shard: wardShard, DER: der, NotBefore: at, NotAfter: at.AddDate(1, 0, 0)},
		Entry:  ca.Publication{Leaf: append([]byte("taken"), serial...)},
	}
}
