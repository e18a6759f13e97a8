package rastore_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/rastore"
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// desk is a store with two people who can really sign.
type desk struct {
	*rastore.Store
	t     *testing.T
	desk  access.Desk
	who   map[string]access.Person
	keys  map[string]*sm2.PrivateKey
	trail *audit.Trail
}

func engines(t *testing.T, test func(d *desk)) {
	t.Run("sqlite", func(t *testing.T) { test(open(t, filepath.Join(t.TempDir(), "ra.db"))) })
	t.Run("postgres", func(t *testing.T) { test(open(t, postgres(t))) })
}

func postgres(t *testing.T) string {
	t.Helper()
	server := os.Getenv("HUFU_TEST_POSTGRES")
	if server == "" {
		t.Skip("HUFU_TEST_POSTGRES names no server")
	}
	admin, err := sqldb.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	schema := fmt.Sprintf("rastore_%d", time.Now().UnixNano())
	err = admin.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec("CREATE SCHEMA " + schema)
		return err
	})
	if err = errors.Join(err, admin.Close()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func open(t *testing.T, source string) *desk {
	t.Helper()
	db, err := sqldb.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := rastore.Open(t.Context(), db, clock)
	if err != nil {
		t.Fatal(err)
	}
	people := &access.People{DB: db}
	d := &desk{Store: s, t: t, desk: access.Desk{Site: "test", People: people, Now: clock}, who: map[string]access.Person{}, keys: map[string]*sm2.PrivateKey{}}
	d.trail = &audit.Trail{DB: db, Auditor: access.RAAuditor, Now: clock}
	for name, role := range map[string]access.Role{"clerk": access.RAClerk, "reviewer": access.RAReviewer} {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		subject := dn.Name{C: "CN", CN: name}.Bytes()
		der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, name[0]}, Issuer: subject, Subject: subject, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
			Point: alg.Point(&key.PublicKey), Extensions: []cert.Extension{cert.SKI(alg.Point(&key.PublicKey))}}.TBS(), key)
		if err != nil {
			t.Fatal(err)
		}
		p, err := access.PersonOf(access.PersonID(name), name, der, role)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := people.Add(tx, p, "test", now); return err }); err != nil {
			t.Fatal(err)
		}
		d.who[name], d.keys[name] = p, key
	}
	return d
}

// command signs an act over a case as it stands.
func (d *desk) command(name, act string, rec ra.Record) (access.Command, access.Item) {
	d.t.Helper()
	item := access.Item{Kind: rec.Kind, ID: rec.ID, Seq: len(rec.Events), Digest: alg.Digest(rec.Content)}
	st := d.desk.Draft(d.who[name], act, act, rec.ID, "", []access.Item{item})
	signed, err := st.Sign(d.keys[name], d.who[name].Cert)
	if err != nil {
		d.t.Fatal(err)
	}
	cmd, err := d.desk.Verify(d.t.Context(), access.Claim{Cert: signed.Cert, At: st.At, Nonce: st.Nonce, Signature: signed.Signature}, act, act, rec.ID, "", []access.Item{item})
	if err != nil {
		d.t.Fatal(err)
	}
	return cmd, item
}

func draft(n int) ra.Record {
	return ra.Record{
		Case:    casework.Case{ID: fmt.Sprintf("A20261124-%04d", n), Kind: ra.IssueKind.Name, State: ra.Drafted},
		Content: fmt.Append(nil, `{"n":`, n, `}`), Title: fmt.Sprintf("样例%d", n), Profile: "person-dual", KeyHash: alg.Digest([]byte{byte(n), byte(n >> 8)}),
		CreatedBy: "clerk", CreatedAt: now.Add(time.Duration(n/3) * time.Second), UpdatedAt: now,
	}
}

// submit makes the clerk's move on a draft.
func (d *desk) submit(rec ra.Record) (access.Command, ra.Save) {
	d.t.Helper()
	cmd, item := d.command("clerk", "ra.submit", rec)
	move, err := ra.IssueKind.Next(rec.Case, cmd, ra.Submit, item, access.Proof{Count: 1}, now)
	if err != nil {
		d.t.Fatal(err)
	}
	rec.Case = move.Case
	return cmd, ra.Save{Record: rec, Move: move, Claim: true}
}

func (d *desk) lines() int {
	d.t.Helper()
	list, err := d.trail.List(d.t.Context(), audit.Query{})
	if err != nil {
		d.t.Fatal(err)
	}
	return len(list)
}

func line(item string) []audit.Entry {
	return []audit.Entry{{Start: now, End: now, Who: "clerk", Item: item, Result: audit.Done}}
}

func TestAMoveIsKeptWithItsCommandAndItsAuditLine(t *testing.T) {
	engines(t, func(d *desk) {
		t, ctx := d.t, d.t.Context()
		if err := d.Draft(ctx, []ra.Record{draft(1)}, nil, line("ra.draft")); err != nil {
			t.Fatal(err)
		}
		cmd, v := d.submit(draft(1))
		if err := d.Save(ctx, cmd, []ra.Save{v}, line("ra.submit")); err != nil {
			t.Fatal(err)
		}
		got, err := d.Case(ctx, draft(1).ID)
		if err != nil || got.State != ra.Submitted || len(got.Events) != 1 || string(got.Events[0].Signed.Signature) != string(cmd.Signed().Signature) {
			t.Fatalf("%+v %v", got, err)
		}
		if _, err := d.desk.Recheck(ctx, got.Events[0].Signed); err != nil {
			t.Errorf("the kept command does not verify: %v", err)
		}
		if holder, err := d.KeyHolder(ctx, draft(1).KeyHash); err != nil || holder != got.ID {
			t.Errorf("key held by %q: %v", holder, err)
		}
		if n := d.lines(); n != 2 {
			t.Errorf("%d audit lines", n)
		}
	})
}

// What is refused leaves nothing, not even an audit line.
func TestARefusedMoveChangesNothing(t *testing.T) {
	engines(t, func(d *desk) {
		t, ctx := d.t, d.t.Context()
		second := draft(2)
		second.KeyHash = draft(1).KeyHash
		if err := d.Draft(ctx, []ra.Record{draft(1), second, draft(3)}, nil, nil); err != nil {
			t.Fatal(err)
		}
		cmd, v := d.submit(draft(1))
		if err := d.Save(ctx, cmd, []ra.Save{v}, nil); err != nil {
			t.Fatal(err)
		}
		before := d.lines()
		if err := d.Save(ctx, cmd, []ra.Save{v}, line("again")); !errors.Is(err, access.Replayed) {
			t.Errorf("a statement used twice: %v", err)
		}
		if cmd, _ := d.submit(draft(1)); !errors.Is(d.Save(ctx, cmd, []ra.Save{v}, line("stale")), casework.Stale) {
			t.Error("a stale move was kept")
		}
		cmd, bad := d.submit(second)
		_, good := d.submit(draft(3))
		if err := d.Save(ctx, cmd, []ra.Save{good, bad}, line("key")); !errors.Is(err, ra.KeyInUse) {
			t.Errorf("a live key: %v", err)
		}
		if got, err := d.Case(ctx, draft(3).ID); err != nil || got.State != ra.Drafted {
			t.Errorf("half of a refused act was kept: %v %v", got.State, err)
		}
		if err := d.Save(ctx, access.Preview(d.who["clerk"]), []ra.Save{good}, line("unsigned")); !errors.Is(err, access.BadSignature) {
			t.Errorf("an unsigned command: %v", err)
		}
		other := draft(3)
		other.CreatedBy = "clerk2"
		if err := d.Draft(ctx, []ra.Record{other}, nil, line("draft")); !errors.Is(err, ra.NotYours) {
			t.Errorf("another's draft: %v", err)
		}
		if n := d.lines(); n != before {
			t.Errorf("%d audit lines were written for refusals", n-before)
		}
	})
}

func TestPagesHaveNoGapsAndNoRepeats(t *testing.T) {
	engines(t, func(d *desk) {
		t, ctx := d.t, d.t.Context()
		var all []ra.Record
		for n := range 25 {
			all = append(all, draft(n+1))
		}
		if err := d.Draft(ctx, all, nil, nil); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for after := ""; ; {
			page, err := d.Find(ctx, ra.Query{After: after, Limit: 7})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				if seen[r.ID] {
					t.Errorf("%s twice", r.ID)
				}
				seen[r.ID] = true
				after = r.ID
			}
			if len(page) < 7 {
				break
			}
		}
		if len(seen) != 25 {
			t.Errorf("%d of 25", len(seen))
		}
		if list, err := d.Find(ctx, ra.Query{Text: "样例25"}); err != nil || len(list) != 1 {
			t.Errorf("by name: %d %v", len(list), err)
		}
		if list, err := d.Find(ctx, ra.Query{Text: "%"}); err != nil || len(list) != 0 {
			t.Errorf("a percent sign is no wildcard: %d %v", len(list), err)
		}
		if c, err := d.Counts(ctx); err != nil || c[ra.IssueKind.Name][ra.Drafted] != 25 {
			t.Error(c, err)
		}
		b := ra.Batch{ID: "B1", Name: "x.csv", Digest: []byte("digest"), By: "clerk", At: now, Rows: []ra.Row{{Line: 2, ID: "A"}}}
		if err := d.Draft(ctx, nil, &b, nil); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := d.BatchByDigest(ctx, []byte("digest")); err != nil || !ok || got.ID != "B1" || got.Rows[0].Line != 2 {
			t.Error(got, ok, err)
		}
		if _, err := d.Batch(ctx, "none"); !errors.Is(err, ra.NoCase) {
			t.Error(err)
		}
	})
}
