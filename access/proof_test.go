package access_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
)

func items(n int) (list []access.Item) {
	for i := range n {
		list = append(list, access.Item{Kind: "ra.issue", ID: fmt.Sprint(i), Seq: i, Digest: alg.Digest([]byte{byte(i)})})
	}
	return list
}

func TestEveryItemIsProvenAtItsPlaceOnly(t *testing.T) {
	for n := 1; n <= 20; n++ {
		list := items(n)
		root := access.Root(list)
		for i := range list {
			p := access.ProofOf(list, i)
			for j, other := range list {
				if p.Covers(root, other) != (i == j) {
					t.Fatalf("%d items: the proof of %d and item %d", n, i, j)
				}
			}
			for step := range p.Path {
				bad := p
				bad.Path = append([][]byte{}, p.Path...)
				bad.Path[step] = append(bytes.Clone(p.Path[step][:31]), p.Path[step][31]^1)
				if bad.Covers(root, list[i]) {
					t.Fatalf("%d items: step %d of the proof of %d does not matter", n, step, i)
				}
			}
			moved := p
			if moved.Count++; moved.Covers(access.Root(items(n+1)), list[i]) {
				t.Fatalf("%d items: the proof of %d holds for %d", n, i, n+1)
			}
		}
	}
}

// Proofs come from outside: one of 2⁶³−1 items kept the checker busy for ever.
func TestAProofOfAbsurdlyManyItemsIsNone(t *testing.T) {
	for _, count := range []int{-1, 0, 1<<30 + 1, 1 << 62, 1<<63 - 1} {
		p := access.Proof{Index: 0, Count: count, Path: make([][]byte, 32)}
		if p.Covers(access.Root(items(1)), items(1)[0]) {
			t.Errorf("%d items", count)
		}
	}
}

func FuzzProof(f *testing.F) {
	list := items(5)
	root := access.Root(list)
	p := access.ProofOf(list, 3)
	f.Add(3, 5, bytes.Join(p.Path, nil))
	f.Add(0, 1<<62+1, make([]byte, 32))
	f.Fuzz(func(t *testing.T, index, count int, path []byte) {
		q := access.Proof{Index: index, Count: count}
		for ; len(path) >= 32; path = path[32:] {
			q.Path = append(q.Path, path[:32])
		}
		if q.Covers(root, list[3]) && (index != 3 || !bytes.Equal(bytes.Join(q.Path, nil), bytes.Join(p.Path, nil))) {
			t.Errorf("another proof of item 3: %+v", q)
		}
	})
}

// The proofs made together are those made one by one.
func TestProofsTogether(t *testing.T) {
	if len(access.Proofs(nil)) != 0 {
		t.Error("proofs of nothing")
	}
	for n := 1; n <= 33; n++ {
		items := make([]access.Item, n)
		for i := range items {
			items[i] = access.Item{Kind: "test", ID: fmt.Sprint(i), Seq: i, Digest: []byte{byte(i)}}
		}
		all := access.Proofs(items)
		for i := range items {
			if want := access.ProofOf(items, i); !reflect.DeepEqual(all[i], want) {
				t.Fatalf("%d of %d: %+v, want %+v", i, n, all[i], want)
			}
		}
	}
}
