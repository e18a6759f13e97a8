package kmstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/pki/km/kmtest"
)

func open(t *testing.T, source string) *kmstore.Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := kmstore.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sqlite(t *testing.T) *kmstore.Store { return open(t, filepath.Join(t.TempDir(), "km.db")) }

func TestMemory(t *testing.T) {
	kmtest.Store(t, func(*testing.T) km.Store { return new(kmtest.Memory) })
	kmtest.Keep(t, func(*testing.T) kmtest.Kept { return new(kmtest.Memory) })
}

func TestSQLite(t *testing.T) {
	kmtest.Store(t, func(t *testing.T) km.Store { return sqlite(t) })
	kmtest.Keep(t, func(t *testing.T) kmtest.Kept { return sqlite(t) })
	kmtest.StaffList(t, sqlite(t))
}

// HUFU_TEST_POSTGRES is the URL of a server where this test may make schemas.
func TestPostgreSQL(t *testing.T) {
	server := os.Getenv("HUFU_TEST_POSTGRES")
	if server == "" {
		t.Skip("HUFU_TEST_POSTGRES is not set")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	n := 0
	fresh := func(t *testing.T) *kmstore.Store {
		n++
		name := fmt.Sprintf("kmstore_%d_%d", os.Getpid(), n)
		if _, err := admin.Exec("CREATE SCHEMA " + name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := admin.ExecContext(context.Background(), "DROP SCHEMA "+name+" CASCADE"); err != nil {
				t.Error(err)
			}
		})
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("search_path", name)
		u.RawQuery = q.Encode()
		return open(t, u.String())
	}
	kmtest.Store(t, func(t *testing.T) km.Store { return fresh(t) })
	kmtest.Keep(t, func(t *testing.T) kmtest.Kept { return fresh(t) })
	kmtest.StaffList(t, fresh(t))
}

// Neither the effect without its audit lines nor the lines without the effect.
func TestEveryChangeLeavesItsLineInTheTrail(t *testing.T) {
	s := sqlite(t)
	at := time.Unix(1, 0)
	line := func(item string) audit.Entry {
		return audit.Entry{Start: at, End: at, Who: "system:km", Item: item, Result: audit.Done}
	}
	task := km.Task{CA: "ca", No: []byte{1}, Digest: []byte{1}, At: at}
	decide := func(map[string]km.Record) km.Effect {
		return km.Effect{
			Outcome: []byte{0}, Lines: []audit.Entry{line("km.apply")},
			Take: []km.Record{{State: km.InUse, CA: "ca", Serial: []byte{1}, From: at, To: at, SealedTo: []byte{1}, Task: []byte{1}, TakenAt: at}},
		}
	}
	if _, _, err := s.Begin(t.Context(), task, nil, nil, decide); err == nil {
		t.Fatal("an empty pool gave a pair")
	}
	pairs := []hsm.Pair{{Point: []byte{4}, Private: hsm.Wrapped{Version: 1, Master: "m", Blob: []byte{1}}}}
	if err := s.Deposit(t.Context(), pairs, line("km.generate")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Begin(t.Context(), task, nil, nil, decide); err != nil {
		t.Fatal(err)
	}
	task.Response = []byte{1}
	if _, err := s.Finish(t.Context(), task, line("km.answer")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expire(t.Context(), at.Add(time.Hour), 10, line("km.expire")); err != nil {
		t.Fatal(err)
	}
	if err := s.Note(t.Context(), line("km.message")); err != nil {
		t.Fatal(err)
	}
	rows, err := s.DB.Query(t.Context(), `SELECT item FROM audit_entry ORDER BY idx`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var item string
		if err := rows.Scan(&item); err != nil {
			t.Fatal(err)
		}
		got = append(got, item)
	}
	if fmt.Sprint(got) != "[km.generate km.apply km.answer km.expire km.message]" {
		t.Errorf("trail %v", got)
	}
}
