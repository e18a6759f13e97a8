package ledger_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
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

// sealed is a log of n entries laid out in a folder.
func sealed(t *testing.T, n int) (dir string, key *ecdsa.PublicKey, leaves [][]byte) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := ledger.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		leaves = append(leaves, record.Entry{Kind: "test", At: time.Unix(int64(i), 0), Body: []byte(fmt.Sprint("entry ", i))}.Bytes())
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
	dir = filepath.Join(t.TempDir(), "out")
	folder := &ledger.Folder{Dir: dir, Key: &signer.PublicKey, Origin: "test"}
	s := (&ledger.Sealer{DB: db, Log: "x", Origin: "test", Key: signer, Targets: []ledger.Target{folder}, Now: time.Now}).Start()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir, &signer.PublicKey, leaves
}

// naive is RFC 6962's tree hash, written straight from the text.
func naive(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		sum := sm3.Sum(nil)
		return sum[:]
	case 1:
		sum := sm3.Sum(append([]byte{0}, leaves[0]...))
		return sum[:]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	sum := sm3.Sum(append(append([]byte{1}, naive(leaves[:k])...), naive(leaves[k:])...))
	return sum[:]
}

func TestALogVerifiesAndItsRootIsRFC6962s(t *testing.T) {
	for _, n := range []int{1, 2, 3, 255, 256, 257, 700} {
		dir, key, leaves := sealed(t, n)
		r, err := ledger.Verify(t.Context(), ledger.Dir(dir), key)
		if err != nil {
			t.Errorf("%d entries: %v", n, err)
			continue
		}
		if string(r.Checkpoint.Root) != string(naive(leaves)) || r.Entries != int64(n) {
			t.Errorf("%d entries: another root, or %d entries", n, r.Entries)
		}
	}
}

func broken(t *testing.T, dir string, key *ecdsa.PublicKey) *ledger.Broken {
	t.Helper()
	_, err := ledger.Verify(t.Context(), ledger.Dir(dir), key)
	if err == nil {
		return nil
	}
	b, ok := errors.AsType[*ledger.Broken](err)
	if !ok {
		t.Fatalf("not a finding: %v", err)
	}
	return b
}

// Whatever byte is flipped, verification fails; in an entry it names that entry.
func TestAnyFlippedByteIsFound(t *testing.T) {
	const n = 9
	dir, key, leaves := sealed(t, n)
	for _, name := range []string{ledger.EntriesPath(0, n), ledger.TilePath(0, 0, n), ledger.CheckpointPath} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			bad := append([]byte{}, good...)
			bad[i] ^= 1
			if err := os.WriteFile(file, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			b := broken(t, dir, key)
			if b == nil {
				t.Fatalf("byte %d of %s flipped, and nobody noticed", i, name)
			}
			if name == ledger.EntriesPath(0, n) {
				if want := at(leaves, i); b.Entry != want {
					t.Errorf("byte %d of the entries: named %d, want %d", i, b.Entry, want)
				}
			}
		}
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// at is the entry a byte of the bundle belongs to.
func at(leaves [][]byte, i int) int64 {
	for n, l := range leaves {
		if i < 2+len(l) {
			return int64(n)
		}
		i -= 2 + len(l)
	}
	return -1
}

func bundle(leaves ...[]byte) (b []byte) {
	for _, l := range leaves {
		b = append(append(b, byte(len(l)>>8), byte(len(l))), l...)
	}
	return b
}

func TestDroppedReorderedAndInsertedEntriesAreNamed(t *testing.T) {
	dir, key, l := sealed(t, 5)
	file := filepath.Join(dir, filepath.FromSlash(ledger.EntriesPath(0, 5)))
	for _, c := range []struct {
		name  string
		data  []byte
		first int64
	}{
		{"dropped", bundle(l[0], l[1], l[3], l[4]), 2},
		{"reordered", bundle(l[0], l[2], l[1], l[3], l[4]), 1},
		{"inserted", bundle(l[0], l[1], l[2], l[0], l[3], l[4]), 3},
		{"appended", bundle(l[0], l[1], l[2], l[3], l[4], l[0]), 5},
		{"cut", bundle(l[0], l[1], l[2], l[3]), 4},
	} {
		if err := os.WriteFile(file, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		if b := broken(t, dir, key); b == nil || b.Entry != c.first {
			t.Errorf("%s: %v, want entry %d", c.name, b, c.first)
		}
	}
}

// Another key's checkpoint, and a log that shrank, are refused.
func TestAFollowerRefusesForks(t *testing.T) {
	dir, key, _ := sealed(t, 300)
	f := &ledger.Follower{Source: ledger.Dir(dir), Key: key, Origin: "test"}
	run, err := f.Next(t.Context())
	if err != nil || len(run.Leaves) != 300 {
		t.Fatal(len(run.Leaves), err)
	}
	f.At = run.Frontier
	other, otherKey, _ := sealed(t, 10)
	f.Source, f.Key = ledger.Dir(other), otherKey
	if _, err := f.Next(t.Context()); !errors.Is(err, ledger.ErrFork) {
		t.Errorf("a shrunk log: %v", err)
	}
	f.Key = key
	if _, err := f.Next(t.Context()); !errors.Is(err, ledger.ErrCheckpoint) {
		t.Errorf("another key: %v", err)
	}
}

// Appending leaves the frontier it began from as it was, so that two readers
// may go on from one and a reader may try again.
func TestAppendingDoesNotChangeWhereItBegan(t *testing.T) {
	var begin ledger.Frontier
	for n := range 40 {
		root := begin.Root()
		for m := range 6 {
			if _, err := begin.Append(ledger.LeafHash([]byte{byte(m)}), ledger.LeafHash([]byte("x"))); err != nil {
				t.Fatal(err)
			}
		}
		if string(begin.Root()) != string(root) {
			t.Fatalf("a frontier of %d entries has another root than before", n)
		}
		next, err := begin.Append(ledger.LeafHash([]byte{byte(n)}))
		if err != nil {
			t.Fatal(err)
		}
		begin = next
	}
}

// A folder opened anew goes on where it was, and repetition is harmless.
func TestAFolderGoesOnAfterARestart(t *testing.T) {
	dir, key, leaves := sealed(t, 700)
	again := &ledger.Folder{Dir: dir, Key: key, Origin: "test"}
	if n, err := again.Size(t.Context()); err != nil || n != 700 {
		t.Fatal(n, err)
	}
	if err := again.Put(t.Context(), ledger.Batch{First: 650, Leaves: leaves[650:]}); err != nil {
		t.Errorf("putting again: %v", err)
	}
	if err := again.Put(t.Context(), ledger.Batch{First: 701, Leaves: leaves[:1]}); !errors.Is(err, ledger.ErrGap) {
		t.Errorf("a gap: %v", err)
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	note, err := ledger.Checkpoint{Origin: "o", Size: 1, Root: make([]byte, 32), At: time.Unix(1, 0)}.Sign(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(note)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ledger.OpenCheckpoint(data, &key.PublicKey, "")
	})
}

func FuzzEntry(f *testing.F) {
	f.Add(record.Entry{Kind: record.KindStatus, At: time.Unix(1, 0), Body: record.Status{Serial: []byte{1}, At: time.Unix(1, 0)}.Bytes()}.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := record.Parse(data)
		if err != nil {
			return
		}
		_, _ = record.ParseCertificate(e.Body)
		_, _ = record.ParseStatus(e.Body)
		_, _ = record.ParseCRL(e.Body)
	})
}
