package sqldb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/hufu-pki/hufu/base/sqldb"
)

var schema = fstest.MapFS{"001_note.sql": {Data: []byte(`CREATE TABLE note (id BIGINT PRIMARY KEY, body BYTEA NOT NULL);`)}}

func open(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "a?b#c.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context(), "note", schema); err != nil {
		t.Fatal(err)
	}
	return db
}

func count(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM note`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// One act that fails takes nothing of its neighbours with it.
func TestAFailureCostsOnlyItself(t *testing.T) {
	db := open(t)
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				if _, err := tx.Exec(`INSERT INTO note (id, body) VALUES ($1, $2)`, i, []byte{1}); err != nil {
					return err
				}
				if i%10 == 0 {
					return boom
				}
				return nil
			})
			if errors.Is(err, boom) != (i%10 == 0) {
				t.Errorf("act %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := count(t, db); n != 180 {
		t.Errorf("%d rows, want 180", n)
	}
}

func TestInsertManyTakesAnyNumber(t *testing.T) {
	db := open(t)
	var rows [][]any
	for i := range 777 {
		rows = append(rows, []any{i, []byte{byte(i)}})
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		return tx.InsertMany(`INSERT INTO note (id, body)`, rows)
	}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 777 {
		t.Errorf("%d rows", n)
	}
}

func TestAChangedMigrationIsRefused(t *testing.T) {
	db := open(t)
	changed := fstest.MapFS{"001_note.sql": {Data: []byte(`CREATE TABLE other (id BIGINT)`)}}
	if err := db.Migrate(t.Context(), "note", changed); err == nil {
		t.Error("a changed migration was accepted")
	}
	if err := db.Migrate(t.Context(), "note", schema); err != nil {
		t.Errorf("the same migration again: %v", err)
	}
}

func TestWriteAfterCloseIsAnError(t *testing.T) {
	db, err := sqldb.Open(context.Background(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(*sqldb.Tx) error { return nil }); !errors.Is(err, sqldb.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Closed, the file alone is the database: whoever copies it has everything.
func TestAClosedDatabaseIsOneFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.db")
	db, err := sqldb.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`CREATE TABLE t (n BIGINT NOT NULL)`); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO t (n) VALUES (7)`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "b.db")
	if err := os.WriteFile(alone, data, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := sqldb.Open(t.Context(), alone)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	rows, err := other.Query(t.Context(), `SELECT n FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var n int
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if n != 7 || rows.Err() != nil {
		t.Errorf("the copy has %d, %v", n, rows.Err())
	}
}
