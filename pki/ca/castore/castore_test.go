package castore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

func open(t *testing.T, source string) *castore.Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := castore.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sqlite(t *testing.T) *castore.Store { return open(t, filepath.Join(t.TempDir(), "ca.db")) }

func TestMemory(t *testing.T) {
	catest.Store(t, func(*testing.T) ca.Store { return new(catest.Memory) })
	catest.Count(t, func(*testing.T) catest.Counted { return new(catest.Memory) })
	catest.Wards(t, func(*testing.T) catest.Guarding { return new(catest.Memory) })
}

func TestSQLite(t *testing.T) {
	catest.Store(t, func(t *testing.T) ca.Store { return sqlite(t) })
	catest.Count(t, func(t *testing.T) catest.Counted { return sqlite(t) })
	catest.Wards(t, func(t *testing.T) catest.Guarding { return sqlite(t) })
	t.Run("figures", func(t *testing.T) { figures(t, sqlite(t)) })
}

// Pairs are counted once, by the body that took them, as they stand.
func figures(t *testing.T, s *castore.Store) {
	a, b := catest.Issue(t, s, 3), catest.Issue(t, s, 4)
	err := s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err1 := tx.Exec(`UPDATE job SET body = $1 WHERE id = $2`, "hz", b.ID)
		_, err2 := tx.Exec(`UPDATE certificate SET revoked = $1 WHERE job = $2`, true, b.ID)
		return errors.Join(err1, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	day := (a.From.Unix() + 28800) / 86400
	list, err := s.Figures(t.Context(), time.Unix(0, 0), a.To.Add(-time.Second))
	want := []enroll.Figure{{Day: day, Issued: 1, Valid: 1}, {Body: "hz", Day: day, Issued: 1, Revoked: 1}}
	for i := range list {
		want[i].Profile = list[i].Profile
	}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v %v, want %+v", list, err, want)
	}
	if list, err = s.Figures(t.Context(), a.From.Add(time.Second), a.To); err != nil || len(list) != 0 {
		t.Errorf("issued before: %+v %v", list, err)
	}
	if list, err = s.Figures(t.Context(), a.From, a.To.Add(time.Second)); err != nil || len(list) != 2 || list[0].Expired != 1 || list[1].Revoked != 1 {
		t.Errorf("expired: %+v %v", list, err)
	}
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
	fresh := func(t *testing.T) catest.Counted {
		n++
		name := fmt.Sprintf("castore_%d_%d", os.Getpid(), n)
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
	for name, test := range map[string]func(*testing.T, *castore.Store){"figures": figures, "lists above the floor": aboveFloor, "taken in again": takenAgain} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t).(*castore.Store)) })
	}
	catest.Store(t, func(t *testing.T) ca.Store { return fresh(t) })
	catest.Count(t, fresh)
	catest.Wards(t, func(t *testing.T) catest.Guarding { return fresh(t).(*castore.Store) })
}

// The body of every certificate and signed list lies beside its leaf, and every
// change has its line in the trail.
func TestBodiesLieBesideTheirLeaves(t *testing.T) {
	s := sqlite(t)
	ctx := t.Context()
	j := catest.Issue(t, s, 3)
	if err := catest.Revoke(t, s, j, "R1", 4); err != nil {
		t.Fatal(err)
	}
	l, err := s.IntendList(ctx, ca.List{Scope: "full"}, -1, func(int64, []byte) []byte { return []byte("tbs") })
	if err != nil {
		t.Fatal(err)
	}
	l.Signature = []byte("signed")
	if err := s.RecordList(ctx, l, ca.Publication{Leaf: []byte("l")}, catest.Line("ca.crl")); err != nil {
		t.Fatal(err)
	}
	list := string(cert.Assemble([]byte("tbs"), l.Signature))
	for _, c := range []struct {
		from, to int64
		want     string
	}{
		{0, 100, "[\x03\x01 \x03\x02 " + list + "]"}, {0, 1, "[\x03\x01]"}, {1, 2, "[\x03\x02]"}, {2, 5, "[]"}, {5, 6, "[" + list + "]"},
	} { // leaf 2 is the escrow, 3 and 4 the changes of status
		if bodies, err := s.Bodies(ctx, c.from, c.to); err != nil || fmt.Sprintf("%s", bodies) != c.want {
			t.Errorf("beside leaves %d to %d: %q, %v", c.from, c.to, bodies, err)
		}
	}
	var lines string
	if err := s.DB.QueryRow(ctx, `SELECT group_concat(item, ' ') FROM (SELECT item FROM audit_entry ORDER BY idx)`).Scan(&lines); err != nil || lines != "ca.issue ca.revoke ca.crl" {
		t.Errorf("trail %q: %v", lines, err)
	}
}
