package audit_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/ledger"
)

// auditor is a trail with somebody who looks through it.
type auditor struct {
	*audit.Trail
	*accesstest.Staff
	t    *testing.T
	dir  string
	file func() []byte
}

func openAuditor(t *testing.T, db *sqldb.DB) auditor {
	t.Helper()
	now := func() time.Time { return start }
	a := auditor{&audit.Trail{DB: db, Auditor: access.RAAuditor, Admin: access.RAAuditAdmin, Now: now}, accesstest.Open(db, now), t, t.TempDir(), nil}
	a.Hire(t, "ra-auditor", access.RAAuditor)
	a.Hire(t, "ra-clerk", access.RAClerk)
	key, ledgerDir := accesstest.Key(t), t.TempDir()
	s := (&ledger.Sealer{DB: db, Log: audit.Log, Origin: "test", Key: key, Targets: []ledger.Target{&ledger.Folder{Dir: ledgerDir, Key: &key.PublicKey, Origin: "test"}}, Now: now}).Start()
	a.file = func() []byte {
		if err := s.Seal(context.Background()); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		if err := errors.Join(z.AddFS(os.DirFS(ledgerDir)), z.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	return a
}

func (a auditor) write(e ...audit.Entry) {
	a.t.Helper()
	if err := a.Trail.DB.Write(a.t.Context(), func(tx *sqldb.Tx) error { return audit.Append(tx, e...) }); err != nil {
		a.t.Fatal(err)
	}
}

func (a auditor) signed(p audit.MarkPlan, act string) access.Command {
	a.t.Helper()
	desk := access.Desk{Site: "注册系统", People: a.Staff, Now: func() time.Time { return start }}
	st := desk.Draft(a.Who(a.t, "ra-auditor"), act, p.Title, p.Object, "", p.Items)
	cmd, err := desk.Verify(a.t.Context(), a.Claim(a.t, "ra-auditor", st), act, p.Title, p.Object, "", p.Items)
	if err != nil {
		a.t.Fatal(err)
	}
	return cmd
}

func (a auditor) mark() {
	a.t.Helper()
	p, err := a.Plan(a.t.Context(), a.Who(a.t, "ra-auditor"), 0)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.Trail.Mark(a.t.Context(), p, a.signed(p, audit.ActMark)); err != nil {
		a.t.Fatal(err)
	}
}

func (a auditor) close() audit.Archive {
	a.t.Helper()
	p, err := a.ArchivePlan(a.t.Context(), a.Who(a.t, "ra-auditor"))
	if err != nil {
		a.t.Fatal(err)
	}
	arc, err := a.Trail.Close(a.t.Context(), a.dir, p, a.signed(p, audit.ActArchive), a.file())
	if err != nil {
		a.t.Fatal(err)
	}
	return arc
}

// A period holds what was marked since the one before, all of it and once; its
// file answers without the database, and a file that was altered does not.
func TestPeriods(t *testing.T) {
	accesstest.Each(t, os.Getenv("HUFU_TEST_POSTGRES"), func(t *testing.T, db func(testing.TB) *sqldb.DB) {
		a := openAuditor(t, db(t))
		a.write(entry(1), entry(2), entry(3))
		who := a.Who(t, "ra-auditor")
		if _, err := a.ArchivePlan(t.Context(), who); !errors.Is(err, audit.NotMarked) {
			t.Errorf("what nobody looked through is closed: %v", err)
		}
		a.mark()
		if _, err := a.ArchivePlan(t.Context(), a.Who(t, "ra-clerk")); !errors.Is(err, access.WrongRole) {
			t.Errorf("a clerk closes: %v", err)
		}
		first := a.close()
		if _, err := a.ArchivePlan(t.Context(), who); !errors.Is(err, audit.NotMarked) {
			t.Errorf("closed twice: %v", err)
		}
		a.write(entry(4))
		a.mark()
		second := a.close()
		if first.First != 0 || second.First != first.Last+1 || second.N != 2 {
			t.Errorf("%+v %+v", first, second)
		}
		list, err := a.Archives(t.Context())
		if err != nil || len(list) != 2 || !bytes.Equal(list[0].SM3, first.SM3) || !list[1].At.Equal(second.At) {
			t.Errorf("%+v %v", list, err)
		}
		lines, err := a.Archived(t.Context(), a.dir, 1, audit.Query{})
		if err != nil || len(lines) != int(first.Last-first.First+1) || lines[0].Index != first.Last {
			t.Errorf("%d lines %v", len(lines), err)
		}
		got, err := a.Archived(t.Context(), a.dir, 1, audit.Query{Item: entry(2).Item, Object: entry(2).Object, Limit: 1})
		if err != nil || len(got) != 1 || got[0].Entry.Object != entry(2).Object {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := a.Archived(t.Context(), a.dir, 3, audit.Query{}); !errors.Is(err, audit.NoArchive) {
			t.Error(err)
		}
		f, err := a.Count(t.Context(), time.Time{}, time.Time{})
		if err != nil || f.Total < 4 || f.Unmarked != 2 || len(f.Items) == 0 || len(f.People) == 0 { // the mark and the period after it
			t.Errorf("%+v %v", f, err)
		}
		_, data, err := a.Read(t.Context(), a.dir, 2)
		if err != nil || !bytes.Equal(alg.Digest(data), second.SM3) {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(filepath.Join(a.dir, second.File()), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Read(t.Context(), a.dir, 2); !errors.Is(err, audit.Altered) {
			t.Errorf("an altered file: %v", err)
		}
		if err := os.Remove(filepath.Join(a.dir, first.File())); err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Read(t.Context(), a.dir, 1); !errors.Is(err, audit.Altered) {
			t.Errorf("a file that is gone: %v", err)
		}
	})
}
