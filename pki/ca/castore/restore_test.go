package castore_test

import (
	"context"
	"testing"

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
func TestListsAreNumberedAboveTheFloor(t *testing.T) {
	s := sqlite(t)
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

func lines(ctx context.Context, s *castore.Store, item string) (n int, err error) {
	err = s.DB.QueryRow(ctx, `SELECT COUNT(*) FROM audit_entry WHERE item = $1`, item).Scan(&n)
	return n, err
}
