package plant_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/plant"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// zone is a healthy zone: two keys, a database with a trail.
func zone(t *testing.T) (s plant.SelfTest, keys string) {
	t.Helper()
	keys = filepath.Join(t.TempDir(), "keys")
	dev, err := soft.Open(keys, []byte("pass"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Generate("signer"); err != nil {
		t.Fatal(err)
	}
	if err := dev.NewMaster("master"); err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "z.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := audit.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return plant.SelfTest{Zone: "试验区", Device: dev, Signers: []string{"signer"}, Masters: []string{"master"}, DB: db, Logs: []string{audit.Log}, Now: func() time.Time { return noon }}, keys
}

func exec(t *testing.T, db *sqldb.DB, q string) {
	t.Helper()
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(q)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func trail(t *testing.T, db *sqldb.DB) string {
	t.Helper()
	var results string
	if err := db.QueryRow(context.Background(), `SELECT COALESCE(GROUP_CONCAT(result, ' '), '') FROM (SELECT result FROM audit_entry WHERE item = 'system.selftest' ORDER BY idx)`).Scan(&results); err != nil {
		t.Fatal(err)
	}
	return results
}

func TestTheAlgorithmsComputeTheExamplesOfTheStandards(t *testing.T) {
	if err := plant.Algorithms(); err != nil {
		t.Error(err)
	}
}

func TestAHealthyZonePassesAndSaysSoInItsTrail(t *testing.T) {
	s, _ := zone(t)
	for range 2 {
		if err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := trail(t, s.DB); got != "done done" {
		t.Errorf("trail %q", got)
	}
}

// Each fault keeps the zone from serving, is named in Chinese, and is on record
// unless the record itself is what is broken.
func TestAZoneWithAFaultDoesNotServe(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, s *plant.SelfTest, keys string)
		says  string
		trail string
	}{
		{"a key is gone", func(t *testing.T, s *plant.SelfTest, _ string) { s.Signers = append(s.Signers, "other") }, "密钥：other", "done selftest.failed"},
		{"a key is damaged", func(t *testing.T, s *plant.SelfTest, keys string) {
			if err := os.WriteFile(filepath.Join(keys, "master.key"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			dev, err := soft.Open(keys, []byte("pass"))
			if err != nil {
				t.Fatal(err)
			}
			s.Device = dev
		}, "密钥：master", "done selftest.failed"},
		{"the passphrase is another", func(t *testing.T, s *plant.SelfTest, keys string) {
			dev, err := soft.Open(keys, []byte("other"))
			if err != nil {
				t.Fatal(err)
			}
			s.Device = dev
		}, "密钥：signer", "done selftest.failed"},
		{"the clock went back", func(t *testing.T, s *plant.SelfTest, _ string) {
			s.Now = func() time.Time { return noon.Add(-3 * time.Minute) }
		}, "时钟：", "done selftest.failed"},
		{"an entry of the trail was deleted", func(t *testing.T, s *plant.SelfTest, _ string) {
			exec(t, s.DB, `DELETE FROM ledger_leaf WHERE idx = 0`)
		}, "账本头：", "done"},
		{"an entry of the trail was changed", func(t *testing.T, s *plant.SelfTest, _ string) {
			exec(t, s.DB, `UPDATE ledger_leaf SET leaf = x'3000' WHERE idx = 0`)
		}, "账本头：", "done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, keys := zone(t)
			if err := s.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, &s, keys)
			err := s.Run(t.Context())
			if !errors.Is(err, plant.ErrSelfTest) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if got := trail(t, s.DB); got != c.trail {
				t.Errorf("trail %q, want %q", got, c.trail)
			}
		})
	}
}

// A clock that is a little behind, as clocks are after they were set, is no
// fault; and a start refused for its clock does not make the next one pass.
func TestTheClockMayBeALittleBehind(t *testing.T) {
	s, _ := zone(t)
	at := noon
	s.Now = func() time.Time { return at }
	for _, c := range []struct {
		back time.Duration
		ok   bool
	}{{0, true}, {time.Minute, true}, {time.Hour, false}, {time.Hour, false}, {time.Minute, true}} {
		at = noon.Add(-c.back)
		if err := s.Run(t.Context()); (err == nil) != c.ok {
			t.Errorf("%v behind: %v", c.back, err)
		}
	}
}
