package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/ledger"
)

// Every entry is tied to the root by what its tiles alone give, and nothing
// else is: neither another entry, nor another place, nor another size.
func TestEveryEntryIsProvenFromTilesAlone(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 8, 255, 256, 257, 511, 700} {
		dir, _, leaves := sealed(t, n)
		root, size := naive(leaves), int64(n)
		for i := int64(0); i < size; i += max(1, size/37) {
			path, err := ledger.Prove(t.Context(), ledger.Dir(dir), size, i)
			if err != nil {
				t.Fatalf("%d of %d: %v", i, n, err)
			}
			if !ledger.Included(leaves[i], i, size, path, root) {
				t.Errorf("%d of %d: not included", i, n)
			}
			got, err := ledger.Entry(t.Context(), ledger.Dir(dir), size, i)
			if err != nil || !bytes.Equal(got, leaves[i]) {
				t.Errorf("%d of %d: another entry: %v", i, n, err)
			}
			for name, ok := range map[string]bool{
				"another entry":  ledger.Included(append(bytes.Clone(leaves[i]), 0), i, size, path, root),
				"another place":  size > 1 && ledger.Included(leaves[i], (i+1)%size, size, path, root),
				"a longer path":  ledger.Included(leaves[i], i, size, append(path, root), root),
				"another root":   ledger.Included(leaves[i], i, size, path, naive(leaves[:n-1])),
				"beyond the end": ledger.Included(leaves[i], size, size, path, root),
				"before it":      ledger.Included(leaves[i], -1, size, path, root),
			} {
				if ok {
					t.Errorf("%d of %d: %s passes", i, n, name)
				}
			}
		}
		for _, i := range []int64{-1, size} {
			if _, err := ledger.Prove(t.Context(), ledger.Dir(dir), size, i); err == nil {
				t.Errorf("%d of %d is proven", i, n)
			}
			if _, err := ledger.Entry(t.Context(), ledger.Dir(dir), size, i); err == nil {
				t.Errorf("%d of %d is read", i, n)
			}
		}
	}
}

// A log that has grown still proves its entries to an older checkpoint, from
// the full tiles that replaced the partial ones.
func TestAnOlderCheckpointIsProvenFromFullTiles(t *testing.T) {
	dir, _, leaves := sealed(t, 600)
	path, err := ledger.Prove(t.Context(), ledger.Dir(dir), 512, 270)
	if err != nil || !ledger.Included(leaves[270], 270, 512, path, naive(leaves[:512])) {
		t.Error(err)
	}
	if _, err := ledger.Entry(t.Context(), ledger.Dir(dir), 300, 270); err != nil { // the head of a full bundle
		t.Error(err)
	}
}

func TestAMissingOrShortTileProvesNothing(t *testing.T) {
	dir, _, _ := sealed(t, 300)
	name := filepath.Join(dir, ledger.TilePath(0, 0, ledger.Width))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data[:64], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Prove(t.Context(), ledger.Dir(dir), 300, 10); err == nil {
		t.Error("a short tile proves")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Prove(t.Context(), ledger.Dir(dir), 300, 10); err == nil {
		t.Error("a missing tile proves")
	}
}

// Looking from a time on misses nothing written since.
func TestALookFromATimeOnMissesNothing(t *testing.T) {
	dir, _, leaves := sealed(t, 700)
	for _, at := range []int64{0, 1, 255, 256, 257, 600, 699, 800} {
		from, err := ledger.Since(t.Context(), ledger.Dir(dir), 700, time.Unix(at, 0))
		if err != nil || from > at {
			t.Fatalf("from %d for %d: %v", from, at, err)
		}
		next := from
		err = ledger.Scan(t.Context(), ledger.Dir(dir), from, 700, func(i int64, leaf []byte) {
			if i != next || !bytes.Equal(leaf, leaves[i]) {
				t.Fatalf("entry %d comes where %d should", i, next)
			}
			next++
		})
		if err != nil || next != 700 {
			t.Errorf("from %d: ended at %d: %v", from, next, err)
		}
	}
}
