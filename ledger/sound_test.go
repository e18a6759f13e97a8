package ledger_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/ledger"
)

// logged is a log of n entries in a database of its own.
func logged(t *testing.T, n int) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := ledger.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	var leaves [][]byte
	for i := range n {
		leaves = append(leaves, fmt.Append(nil, "leaf ", i))
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := ledger.Append(tx, "x", leaves...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestAHeadIsThatOfItsNewestEntries(t *testing.T) {
	for _, n := range []int{0, 1, 255, 4096, 5000} {
		db := logged(t, n)
		if err := ledger.Sound(t.Context(), db, "x"); err != nil {
			t.Errorf("%d entries: %v", n, err)
		}
		size := int64(n / 2)
		then, now, err := ledger.Recount(t.Context(), db, "x", size)
		if err != nil || then.Size() != size || now.Size() != int64(n) {
			t.Errorf("%d entries: %d and %d, %v", n, then.Size(), now.Size(), err)
		}
		short := logged(t, int(size))
		if head, err := ledger.Head(t.Context(), short, "x"); err != nil || !bytes.Equal(head.Root(), then.Root()) {
			t.Errorf("the root at %d is another: %v", size, err)
		}
	}
}

// A frontier is a value: what is appended to a copy does not show in it, or a
// reader that turned a fork away would no longer know where it stands.
func TestAFrontierStaysAsItWas(t *testing.T) {
	var at ledger.Frontier
	for n := range 300 {
		root := at.Root()
		if _, err := at.Append([]byte("another leaf hash of 32 bytes..."), []byte("another leaf hash of 32 bytes...")); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(at.Root(), root) {
			t.Fatalf("the root of %d leaves has changed", n)
		}
		var err error
		if at, err = at.Append(ledger.LeafHash([]byte{byte(n)})); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever deletes, changes or adds an entry behind the head's back is found at
// the next start; what lies further back is found by the recount.
func TestAnEntryChangedBehindTheHeadIsFound(t *testing.T) {
	for _, c := range []struct {
		name, sql  string
		atStart    bool
		atRecounts bool
	}{
		{"the last is deleted", `DELETE FROM ledger_leaf WHERE idx = 4999`, true, true},
		{"one is added", `INSERT INTO ledger_leaf (log, idx, leaf) VALUES ('x', 5000, x'00')`, true, false},
		{"one near the end is changed", `UPDATE ledger_leaf SET leaf = x'00' WHERE idx = 4500`, true, true},
		{"one near the end is missing", `DELETE FROM ledger_leaf WHERE idx = 4500`, true, true},
		{"one long ago is changed", `UPDATE ledger_leaf SET leaf = x'00' WHERE idx = 7`, false, true},
		{"the head is set back", `UPDATE ledger_head SET size = 4999`, true, true},
	} {
		db := logged(t, 5000)
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(c.sql)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := ledger.Sound(t.Context(), db, "x"); (err != nil) != c.atStart {
			t.Errorf("%s: at start %v", c.name, err)
		}
		if _, _, err := ledger.Recount(t.Context(), db, "x", 0); (err != nil) != c.atRecounts {
			t.Errorf("%s: recounted %v", c.name, err)
		}
	}
}
