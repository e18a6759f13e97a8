package sqldb_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hufu-pki/hufu/base/sqldb"
)

// A snapshot taken while others write is one committed state: each act put in
// two rows, so there is an even number of them, and SQLite finds it sound.
func TestASnapshotIsOneStateWhileOthersWrite(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "a?b#c.db")
	db, err := sqldb.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), "note", schema); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i += 2 {
			select {
			case <-stop:
				return
			default:
			}
			if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				return tx.InsertMany(`INSERT INTO note (id, body)`, [][]any{{i, make([]byte, 3000)}, {i + 1, make([]byte, 3000)}})
			}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	last := -1
	for _, name := range []string{"1.db", "2.db", "3.db"} {
		to := filepath.Join(dir, name)
		if err := sqldb.Snapshot(t.Context(), source, to); err != nil {
			t.Fatal(err)
		}
		if err := sqldb.Sound(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		copied, err := sqldb.Open(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		n := count(t, copied)
		if v, err := copied.Versions(t.Context()); err != nil || v["note"] != 1 {
			t.Errorf("versions %v %v", v, err)
		}
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
		if n%2 != 0 || n < last {
			t.Errorf("%d rows after %d", n, last)
		}
		last = n
	}
	close(stop)
	wg.Wait()
	if err := sqldb.Snapshot(t.Context(), source, filepath.Join(dir, "1.db")); err == nil {
		t.Error("a file was written over")
	}
	if err := sqldb.Snapshot(t.Context(), filepath.Join(dir, "none.db"), filepath.Join(dir, "4.db")); err == nil {
		t.Error("a database that is not there was copied")
	}
}

func TestADamagedDatabaseIsNotSound(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x.db")
	db, err := sqldb.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "note", schema); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO note (id, body) VALUES (1, $1)`, make([]byte, 9000))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "y.db")
	if err := errors.Join(sqldb.Snapshot(t.Context(), name, copied), db.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < 8192; i++ {
		data[i] = 0xFF
	}
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if sqldb.Sound(t.Context(), copied) == nil {
		t.Error("damage was not found")
	}
}
