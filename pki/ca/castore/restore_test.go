package castore_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/ca/catest"
)

func intend(t *testing.T, s *castore.Store, shard int) (l ca.List) {
	t.Helper()
	l, err := s.IntendList(t.Context(), ca.List{Scope: "full"}, shard, func(int64, []byte) []byte { return []byte("tbs") })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// After a restore the numbers of lists go on above everything that may have
// been published since the backup; a later, lower floor changes nothing.
func TestListsAreNumberedAboveTheFloor(t *testing.T) { aboveFloor(t, sqlite(t)) }

func aboveFloor(t *testing.T, s *castore.Store) {
	ctx := t.Context()
	l := intend(t, s, -1)
	l.Signature = []byte("signed")
	if err := s.RecordList(ctx, l, ca.Publication{Leaf: []byte("l")}, catest.Line("ca.crl")); err != nil {
		t.Fatal(err)
	}
	draft := intend(t, s, -1)
	if err := s.Restored(ctx, 5000, catest.Line("system.restore")); err != nil {
		t.Fatal(err)
	}
	if have, err := s.Lists(ctx); err != nil || have["full"].Number != 1 {
		t.Errorf("the draft %d is finished although it may have been signed since: %+v %v", draft.Number, have, err)
	}
	if due, err := s.Dirty(ctx); err != nil || len(due) != ca.Shards+3 {
		t.Errorf("%d lists are due: %v", len(due), err)
	}
	if l := intend(t, s, -1); l.Number != 5001 {
		t.Errorf("the next number is %d", l.Number)
	}
	if err := s.Restored(ctx, 100, catest.Line("system.restore")); err != nil {
		t.Fatal(err)
	}
	if l := intend(t, s, 3); l.Number != 5001 { // 5001 was a draft, dropped again
		t.Errorf("after a lower floor the next is %d", l.Number)
	}
	if n, err := lines(ctx, s, "system.restore"); err != nil || n != 2 {
		t.Errorf("%d lines in the trail: %v", n, err)
	}
}

// What the ledger published since the backup is taken in again: certificates with
// their requests, changes of status, lists. Entries that do not follow are refused.
func TestWhatWasPublishedIsTakenInAgain(t *testing.T) { takenAgain(t, sqlite(t)) }

func takenAgain(t *testing.T, s *castore.Store) {
	ctx := t.Context()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	der, err := cert.Seal(cert.Draft{Serial: []byte{7}, Issuer: []byte{0x30, 0}, Subject: []byte{0x30, 0}, NotBefore: from, NotAfter: from.AddDate(1, 0, 0), Point: alg.Point(&key.PublicKey)}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := crl.Seal(crl.Draft{Issuer: []byte{0x30, 0}, Point: alg.Point(&key.PublicKey), ThisUpdate: from, NextUpdate: from.AddDate(0, 0, 7), Number: 9}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	issuer := alg.Digest([]byte("ca"))
	entry := func(kind string, body []byte) record.Entry { return record.Entry{Kind: kind, At: from, Body: body} }
	list := []castore.Missing{
		{Entry: entry(record.KindCertificate, record.Certificate{Issuer: issuer, Serial: []byte{7}, Use: "sign", Profile: "device-sign", NotBefore: from, NotAfter: from.AddDate(1, 0, 0), Shard: 7, Digest: alg.Digest(der)}.Bytes()), Body: der},
		{Entry: entry(record.KindStatus, record.Status{Issuer: issuer, Serial: []byte{7}, Revoked: true, Reason: 4, At: from}.Bytes())},
		{Entry: entry(record.KindCRL, record.CRL{Issuer: issuer, Scope: "full", Number: 9, ThisUpdate: from, NextUpdate: from.AddDate(0, 0, 7), Digest: alg.Digest(l)}.Bytes()), Body: l},
	}
	for i := range list {
		list[i].Index, list[i].Leaf = int64(i), list[i].Entry.Bytes()
	}
	none := func(*cert.Certificate) castore.Origin { return castore.Origin{} }
	if err := s.Reimport(ctx, list[1:], none, nil, catest.Line("system.reimport")); err == nil {
		t.Error("entries that do not follow were taken")
	}
	if err := s.Reimport(ctx, list, none, nil, catest.Line("system.reimport")); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Certificate(ctx, []byte{7}); err != nil || !c.Revoked || c.Reason != 4 || c.Request != "restored-07" {
		t.Errorf("%+v %v", c, err)
	}
	if have, err := s.Lists(ctx); err != nil || have["full"].Number != 9 || !have["full"].Signed {
		t.Errorf("%+v %v", have, err)
	}
	if l := intend(t, s, ca.Full); l.Number != 10 {
		t.Errorf("the next number is %d", l.Number)
	}
	if n, err := lines(ctx, s, "system.reimport"); err != nil || n != 1 {
		t.Errorf("%d lines in the trail: %v", n, err)
	}
}

func lines(ctx context.Context, s *castore.Store, item string) (n int, err error) {
	err = s.DB.QueryRow(ctx, `SELECT COUNT(*) FROM audit_entry WHERE item = $1`, item).Scan(&n)
	return n, err
}
