package castore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
)

// engines runs a test on SQLite and, where there is one, on PostgreSQL.
func engines(t *testing.T, test func(t *testing.T, s *castore.Store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, filepath.Join(t.TempDir(), "ca.db"))) })
	t.Run("postgres", func(t *testing.T) { test(t, open(t, postgres(t))) })
}

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

// postgres gives the test a schema of its own.
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
	schema := fmt.Sprintf("castore_%d", time.Now().UnixNano())
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

var at = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func job(n byte) ca.Job {
	serial := func(b byte) []byte { return append([]byte{0x40, b}, bytes.Repeat([]byte{n}, 14)...) }
	return ca.Job{
		ID: fmt.Sprint("A", n), State: ca.Opened, Content: []byte(`{"profile":"person-dual"}`), KeyHash: bytes.Repeat([]byte{n}, 32),
		Serials: ca.Pair{Sign: serial(1), Enc: serial(2)}, From: at, To: at.AddDate(1, 0, 0), Task: int64(n), Shards: [2]int{int(n) % 16, int(n) % 16},
	}
}

func line(item string) audit.Entry {
	return audit.Entry{Start: at, End: at, Who: "system:ca", Item: item, Result: audit.Done}
}

// issue takes a job through to Recorded.
func issue(t *testing.T, s *castore.Store, n byte) ca.Job {
	t.Helper()
	ctx := t.Context()
	j := job(n)
	if err := s.Open(ctx, []ca.Job{j}, &ca.Ask{Task: j.Task, Message: []byte("ask")}, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.TBS, j.Sealed = ca.Intended, ca.Pair{Sign: []byte("tbs1"), Enc: []byte("tbs2")}, []byte("sealed")
	if err := s.Intend(ctx, []ca.Job{j}, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.DER = ca.Recorded, ca.Pair{Sign: []byte{n, 1}, Enc: []byte{n, 2}}
	entries := []ca.Publication{{Leaf: []byte{n, 'a'}}, {Leaf: []byte{n, 'b'}}, {Leaf: []byte{n, 'c'}}}
	if err := s.Record(ctx, []ca.Job{j}, entries, []audit.Entry{line("ca.issue")}, at); err != nil {
		t.Fatal(err)
	}
	return j
}

func TestARequestGoesFromOpenedToRecordedOnce(t *testing.T) {
	engines(t, func(t *testing.T, s *castore.Store) {
		ctx := t.Context()
		j := issue(t, s, 3)
		known, err := s.Jobs(ctx, []string{j.ID, "other"})
		if err != nil || len(known) != 1 {
			t.Fatal(len(known), err)
		}
		k := known[j.ID]
		if k.State != ca.Recorded || !bytes.Equal(k.DER.Enc, j.DER.Enc) || !bytes.Equal(k.TBS.Sign, j.TBS.Sign) || !bytes.Equal(k.Sealed, j.Sealed) || !k.From.Equal(j.From) {
			t.Errorf("read back %+v", k)
		}
		if err := s.Intend(ctx, []ca.Job{j}, at); err == nil {
			t.Error("a second intent was taken")
		}
		if err := s.Record(ctx, []ca.Job{j}, nil, nil, at); err == nil {
			t.Error("a second record was taken")
		}
		if ask, err := s.Ask(ctx, j.Task); err != nil || string(ask.Message) != "ask" {
			t.Error(ask, err)
		}
	})
}

// A serial or a key used before is refused, and nothing of that batch is kept.
func TestSerialsAndKeysAreUsedOnce(t *testing.T) {
	engines(t, func(t *testing.T, s *castore.Store) {
		ctx := t.Context()
		j := issue(t, s, 3)
		sameKey := job(4)
		sameKey.KeyHash = j.KeyHash
		if err := s.Open(ctx, []ca.Job{job(5), sameKey}, nil, at); !errors.Is(err, ca.KeyInUse) {
			t.Errorf("a key in use: %v", err)
		}
		sameSerial := job(6)
		sameSerial.Serials.Sign = j.Serials.Sign
		if err := s.Open(ctx, []ca.Job{job(5), sameSerial}, nil, at); err == nil {
			t.Error("a serial was reserved twice")
		}
		if known, err := s.Jobs(ctx, []string{"A4", "A5", "A6"}); err != nil || len(known) != 0 {
			t.Errorf("%d jobs of refused batches remain: %v", len(known), err)
		}
	})
}

func revoke(t *testing.T, s *castore.Store, j ca.Job, request string, reason int) error {
	t.Helper()
	var changes []ca.Issued
	for _, serial := range [][]byte{j.Serials.Sign, j.Serials.Enc} {
		c, err := s.Certificate(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		c.Revoked, c.Reason, c.RevokedAt = true, reason, at
		changes = append(changes, c)
	}
	return s.Revoke(t.Context(), request, changes, []ca.Publication{{Leaf: []byte("s1")}, {Leaf: []byte("s2")}}, []audit.Entry{line("ca.revoke")}, &ca.Ask{Task: 99, Message: []byte("retire")}, at)
}

func TestARevocationIsDoneOnceAndTellsTheKeyCentre(t *testing.T) {
	engines(t, func(t *testing.T, s *castore.Store) {
		ctx := t.Context()
		j := issue(t, s, 3)
		if err := revoke(t, s, j, "R1", 4); err != nil {
			t.Fatal(err)
		}
		if err := revoke(t, s, j, "R2", 4); !errors.Is(err, ca.Revoked) {
			t.Errorf("again: %v", err)
		}
		if done, ok, err := s.Revocation(ctx, "R1"); err != nil || !ok || len(done.Serials) != 2 {
			t.Error(done, ok, err)
		}
		if asks, err := s.Unsent(ctx, 10); err != nil || len(asks) != 1 || asks[0].Task != 99 {
			t.Fatal(asks, err)
		}
		if err := s.Answered(ctx, 99); err != nil {
			t.Fatal(err)
		}
		if asks, err := s.Unsent(ctx, 10); err != nil || len(asks) != 0 {
			t.Error(asks, err)
		}
		if _, err := s.Certificate(ctx, []byte{1, 2, 3}); !errors.Is(err, ca.NoCert) {
			t.Errorf("an unknown serial: %v", err)
		}
		again := job(7)
		again.KeyHash = j.KeyHash
		if err := s.Open(ctx, []ca.Job{again}, nil, at); err != nil {
			t.Errorf("a superseded key may be certified again: %v", err)
		}
	})
}

func TestACompromisedKeyIsNeverCertifiedAgain(t *testing.T) {
	engines(t, func(t *testing.T, s *castore.Store) {
		j := issue(t, s, 3)
		if err := revoke(t, s, j, "R1", 1); err != nil {
			t.Fatal(err)
		}
		again := job(7)
		again.KeyHash = j.KeyHash
		if err := s.Open(t.Context(), []ca.Job{again}, nil, at); !errors.Is(err, ca.KeyInUse) {
			t.Errorf("a compromised key: %v", err)
		}
	})
}

// Numbers rise over all scopes; a list clears its own mark and no other.
func TestListsAreNumberedAndDirtyOnce(t *testing.T) {
	engines(t, func(t *testing.T, s *castore.Store) {
		ctx := t.Context()
		j := issue(t, s, 3)
		if err := revoke(t, s, j, "R1", 4); err != nil {
			t.Fatal(err)
		}
		dirty(t, ctx, s, -1, 3)
		var sizes []int
		for _, shard := range []int{3, 4, -1} {
			l, err := s.IntendList(ctx, ca.List{Scope: fmt.Sprint("shard", shard), ThisUpdate: at, NextUpdate: at.Add(time.Hour)}, shard, func(n int64, entries []byte) []byte {
				sizes = append(sizes, len(entries))
				return fmt.Append(nil, "draft ", n)
			})
			if err != nil || string(l.TBS) != fmt.Sprint("draft ", len(sizes)) || l.Number != int64(len(sizes)) {
				t.Fatalf("%+v %v", l, err)
			}
			if shard == 3 {
				dirty(t, ctx, s, -1)
				l.DER = []byte("signed")
				if err := s.RecordList(ctx, l, ca.Publication{Leaf: []byte("l")}, line("ca.crl")); err != nil {
					t.Fatal(err)
				}
			}
		}
		dirty(t, ctx, s)
		if sizes[0] == 0 || sizes[1] != 0 || sizes[2] != sizes[0] {
			t.Errorf("entries of shard 3, 4 and all: %v", sizes)
		}
		lists, err := s.Lists(ctx)
		if err != nil || len(lists) != 3 || lists["shard3"].DER == nil || lists["shard4"].DER != nil {
			t.Errorf("%+v %v", lists, err)
		}
		bodies, err := s.Bodies(ctx, 0, 100)
		if err != nil || len(bodies) != 3 { // two certificates and a list
			t.Errorf("%d bodies: %v", len(bodies), err)
		}
	})
}

func dirty(t *testing.T, ctx context.Context, s *castore.Store, want ...int) {
	t.Helper()
	have, err := s.Dirty(ctx)
	if err != nil || fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("dirty %v, want %v: %v", have, want, err)
	}
}
