package rastore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/rastore"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
)

func open(t *testing.T, source string) *rastore.Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := rastore.Open(t.Context(), db, func() time.Time { return ratest.Now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sqlite(t *testing.T) *rastore.Store { return open(t, filepath.Join(t.TempDir(), "ra.db")) }

func TestMemory(t *testing.T) {
	ratest.Store(t, func(*testing.T) ra.Store { return new(ratest.Memory) })
}

func TestSQLite(t *testing.T) {
	ratest.Store(t, func(t *testing.T) ra.Store { return sqlite(t) })
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
	ratest.Store(t, func(t *testing.T) ra.Store {
		n++
		name := fmt.Sprintf("rastore_%d_%d", os.Getpid(), n)
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
	})
}

// Neither the effect without its audit lines nor the lines without the effect.
func TestEveryChangeLeavesItsLineInTheTrail(t *testing.T) {
	s := sqlite(t)
	ctx := t.Context()
	d := ratest.NewDesk(t, s)
	trail := func(want string) {
		t.Helper()
		lines, err := (&audit.Trail{DB: s.DB, Auditor: access.RAAuditor, Now: s.Now}).List(ctx, audit.Query{})
		if err != nil {
			t.Fatal(err)
		}
		var items []string
		for _, l := range lines {
			items = append(items, l.Entry.Item)
		}
		if fmt.Sprint(items) != want {
			t.Errorf("trail %v, want %s", items, want)
		}
	}
	if err := s.Draft(ctx, []ra.Record{ratest.Sample(1)}, nil, ratest.Line("ra.draft")); err != nil {
		t.Fatal(err)
	}
	cmd, v := d.Move("clerk", ra.Submit, ratest.Sample(1))
	if err := s.Save(ctx, cmd, []ra.Save{v}, ratest.Line("ra.submit")); err != nil {
		t.Fatal(err)
	}
	trail("[ra.submit ra.draft]")
	if err := s.Save(ctx, cmd, []ra.Save{v}, ratest.Line("again")); err == nil {
		t.Fatal("a statement was used twice")
	}
	other := ratest.Sample(1)
	other.CreatedBy = "clerk2"
	if err := s.Draft(ctx, []ra.Record{other}, nil, ratest.Line("draft")); err == nil {
		t.Fatal("another's draft was corrected")
	}
	trail("[ra.submit ra.draft]")
	if err := s.Refuse(ctx, ratest.Line("refused")[0]); err != nil {
		t.Fatal(err)
	}
	trail("[refused ra.submit ra.draft]")
}
