package ledger_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// What is not entries counts too: a hash tile with a tail, a tile or the
// checkpoint gone.
func TestTilesThatAreTooLongOrGoneAreNamed(t *testing.T) {
	const n = 700
	dir, key, _ := sealed(t, n)
	second := ledger.TilePath(0, 1, 256)
	for _, c := range []struct {
		name  string
		path  string
		do    func(file string, good []byte) error
		first int64
	}{
		{"a tail", second, func(f string, good []byte) error { return os.WriteFile(f, append(good, good[:32]...), 0o644) }, 512},
		{"a byte too many", ledger.TilePath(0, 2, n-512), func(f string, good []byte) error { return os.WriteFile(f, append(good, 0), 0o644) }, n},
		{"cut", second, func(f string, good []byte) error { return os.WriteFile(f, good[:31], 0o644) }, 256},
		{"gone", second, func(f string, _ []byte) error { return os.Remove(f) }, 256},
		{"a parent gone", ledger.TilePath(1, 0, 2), func(f string, _ []byte) error { return os.Remove(f) }, 0},
		{"no checkpoint", ledger.CheckpointPath, func(f string, _ []byte) error { return os.Remove(f) }, -1},
		{"half a checkpoint", ledger.CheckpointPath, func(f string, good []byte) error { return os.WriteFile(f, good[:len(good)/2], 0o644) }, -1},
	} {
		file := filepath.Join(dir, filepath.FromSlash(c.path))
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(file, append([]byte{}, good...)); err != nil {
			t.Fatal(err)
		}
		if b := broken(t, dir, key); b == nil || b.Entry != c.first {
			t.Errorf("%s: %v, want entry %d", c.name, b, c.first)
		}
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b := broken(t, dir, key); b != nil {
		t.Fatal("what was put back is broken:", b)
	}
}

// A list that the log publishes must be there and be the one; only who asks for
// entries alone is content without.
func TestABodyThatIsGoneOrAnotherIsNamed(t *testing.T) {
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := ledger.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	list := []byte("a revocation list")
	sum := sm3.Sum(list)
	leaves := [][]byte{
		record.Entry{Kind: "test", At: time.Unix(1, 0), Body: []byte("before")}.Bytes(),
		record.Entry{Kind: record.KindCRL, At: time.Unix(2, 0), Body: record.CRL{Issuer: sum[:], Scope: "full", Number: 1, ThisUpdate: time.Unix(1, 0), NextUpdate: time.Unix(9, 0), Digest: sum[:]}.Bytes()}.Bytes(),
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := ledger.Append(tx, "x", leaves...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	signer, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir, key := filepath.Join(t.TempDir(), "out"), &signer.PublicKey
	s := (&ledger.Sealer{DB: db, Log: "x", Origin: "test", Key: signer, Targets: []ledger.Target{&ledger.Folder{Dir: dir, Key: key, Origin: "test"}}, Now: time.Now}).Start()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b := broken(t, dir, key); b == nil || b.Entry != 1 {
		t.Fatalf("without its body: %v, want entry 1", b)
	}
	r, err := ledger.VerifyEntries(t.Context(), ledger.Dir(dir), key)
	if err != nil || r.Missing != 1 || r.Entries != 2 {
		t.Fatalf("entries alone: %v, %d missing of %d", err, r.Missing, r.Entries)
	}
	file := filepath.Join(dir, filepath.FromSlash(ledger.BodyPath(sum[:])))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int64{"another list": 1, string(list): -2} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		b := broken(t, dir, key)
		if want == -2 && b != nil || want >= 0 && (b == nil || b.Entry != want) {
			t.Errorf("%q as body: %v", text, b)
		}
	}
	if err := os.WriteFile(file, []byte("another list"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyEntries(t.Context(), ledger.Dir(dir), key); err == nil {
		t.Error("a wrong body passes because bodies are not asked for")
	}
}
