package castore_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/ca/catest"
)

var when = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func serialOf(n int) []byte { return binary.BigEndian.AppendUint64([]byte{0x50}, uint64(n)) }

// revokeMany puts revocations on record in bulk.
func revokeMany(t *testing.T, s *castore.Store, from, n int) {
	t.Helper()
	err := s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		revoked, changes := make([][]any, n), make([][]any, n)
		for i := range n {
			serial := serialOf(from + i)
			entry := crl.Entry{Serial: serial, At: when, Reason: 4}.Bytes()
			revoked[i] = []any{serial, ca.ShardOf(serial), "R", when.Unix(), entry, int64(0)}
			changes[i] = []any{fmt.Sprint("R", from+i), serial, when.Unix(), when.UnixMilli(), true, 4, from + i, false}
		}
		if err := tx.InsertMany(`INSERT INTO revoked (serial, shard, request, revoked_at, entry, not_after)`, revoked); err != nil {
			return err
		}
		return tx.InsertMany(`INSERT INTO status_change (request, serial, at, changed_at, revoked, reason, seq, was)`, changes)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// full drafts, signs and publishes a full list and reads it back from beside its leaf.
func full(t *testing.T, s *castore.Store) map[string]bool {
	t.Helper()
	ctx := t.Context()
	l, err := s.IntendList(ctx, ca.List{Scope: "full", ThisUpdate: when, NextUpdate: when}, ca.Full, func(n int64, e []byte) []byte {
		return crl.Draft{Issuer: []byte{0x30, 0}, Point: make([]byte, 65), ThisUpdate: when, NextUpdate: when, Number: n, Entries: e}.TBS()
	})
	if err != nil {
		t.Fatal(err)
	}
	have, err := s.Lists(ctx)
	if err != nil || string(have["full"].TBS) != string(l.TBS) || have["full"].Size != len(l.TBS) {
		t.Fatalf("the draft on record is another: %v", err)
	}
	l.Signature = []byte("signature")
	if err := s.RecordList(ctx, l, ca.Publication{Leaf: fmt.Append(nil, l.Number)}, catest.Line("ca.crl")); err != nil {
		t.Fatal(err)
	}
	bodies, err := s.Bodies(ctx, 0, 1000)
	if err != nil || string(bodies[len(bodies)-1]) != string(l.DER()) {
		t.Fatalf("beside the leaf lies another list: %v", err)
	}
	read, err := crl.Parse(bodies[len(bodies)-1])
	if err != nil {
		t.Fatal(err)
	}
	serials := map[string]bool{}
	for _, e := range read.Entries {
		serials[cert.SerialHex(e.Serial)] = true
	}
	if len(serials) != len(read.Entries) {
		t.Errorf("%d entries for %d certificates", len(read.Entries), len(serials))
	}
	return serials
}

// A long list shares the blocks that did not change with the one before, and
// is the same whether its blocks are in memory or read again.
func TestALongListSharesItsBlocks(t *testing.T) {
	s := sqlite(t)
	const many = 60_000
	revokeMany(t, s, 1, many)
	if n := len(full(t, s)); n != many {
		t.Fatalf("%d entries", n)
	}
	count := func() (n int) {
		if err := s.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM crl_block`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	if before < 2 {
		t.Fatalf("%d blocks", before)
	}
	revokeMany(t, s, many+1, 10)
	if n := len(full(t, s)); n != many+10 || count() != before+1 {
		t.Errorf("%d entries, %d blocks after %d", n, count(), before)
	}
	again, err := castore.Open(t.Context(), s.DB) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	err = s.DB.Write(t.Context(), func(tx *sqldb.Tx) error { // one in the first block is released
		if _, err := tx.Exec(`DELETE FROM revoked WHERE serial = $1`, serialOf(5)); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO status_change (request, serial, at, changed_at, revoked, reason, seq, was) VALUES ('U', $1, 0, 0, $2, 0, $3, $4)`, serialOf(5), false, many+11, true)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list := full(t, again)
	if len(list) != many+9 || list[cert.SerialHex(serialOf(5))] || !list[cert.SerialHex(serialOf(6))] || count() != before+2 {
		t.Errorf("%d entries, %d blocks after %d", len(list), count(), before)
	}
	if n := len(full(t, s)); n != many+9 || count() != before+2 { // whose memory is of an older list
		t.Errorf("nothing changed: %d entries, %d blocks", n, count())
	}
}
