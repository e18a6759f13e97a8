// Package ledger keeps an append-only log that strangers can check. (公开账本)
//
// Leaves are hashed with SM3 into the tree of RFC 6962. The log is appended in
// the database transaction of the fact it records; tiles (C2SP tlog-tiles, 256
// wide) and signed checkpoints are derived from it, pushed outward, and can be
// rebuilt at any time. A reader that holds (size, root) accepts a longer log
// only when it begins with the one it holds.
package ledger

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/emmansun/gmsm/sm3"
	"github.com/transparency-dev/merkle/compact"
)

// HashSize is the length of an SM3 digest.
const HashSize = sm3.Size

// LeafHash is SM3(0x00 ‖ leaf).
func LeafHash(leaf []byte) []byte {
	h := sm3.New()
	h.Write([]byte{0})
	h.Write(leaf)
	return h.Sum(nil)
}

func nodeHash(left, right []byte) []byte {
	var buf [1 + 2*HashSize]byte
	buf[0] = 1
	copy(buf[1:], left)
	copy(buf[1+HashSize:], right)
	sum := sm3.Sum(buf[:])
	return sum[:]
}

var ranges = compact.RangeFactory{Hash: nodeHash}

// Frontier is a log's size and the hashes that its root and every longer log
// are computed from. The zero value is the empty log.
type Frontier struct{ r *compact.Range }

// FrontierOf rebuilds a frontier from what Hashes gave.
func FrontierOf(size int64, hashes []byte) (Frontier, error) {
	if size < 0 || len(hashes)%HashSize != 0 {
		return Frontier{}, fmt.Errorf("ledger: frontier of %d bytes for %d leaves", len(hashes), size)
	}
	var list [][]byte
	for h := range chunks(hashes) {
		list = append(list, bytes.Clone(h))
	}
	r, err := ranges.NewRange(0, uint64(size), list)
	if err != nil {
		return Frontier{}, fmt.Errorf("ledger: %w", err)
	}
	return Frontier{r}, nil
}

func chunks(hashes []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(hashes) >= HashSize && yield(hashes[:HashSize]) {
			hashes = hashes[HashSize:]
		}
	}
}

// Append returns the frontier with more leaves, given as leaf hashes. f itself
// stays as it was.
func (f Frontier) Append(leafHashes ...[]byte) (Frontier, error) {
	next := ranges.NewEmptyRange(0)
	if f.r != nil {
		var err error
		if next, err = ranges.NewRange(0, f.r.End(), slices.Clone(f.r.Hashes())); err != nil {
			return f, fmt.Errorf("ledger: %w", err)
		}
	}
	for _, h := range leafHashes {
		if err := next.Append(h, nil); err != nil {
			return f, fmt.Errorf("ledger: %w", err)
		}
	}
	return Frontier{next}, nil
}

// Size is the number of leaves.
func (f Frontier) Size() int64 {
	if f.r == nil {
		return 0
	}
	return int64(f.r.End())
}

// Root is the tree's root; SM3 of nothing for the empty log.
func (f Frontier) Root() []byte {
	if f.Size() == 0 {
		sum := sm3.Sum(nil)
		return sum[:]
	}
	root, err := f.r.GetRootHash(nil)
	if err != nil {
		panic("ledger: a range from zero has a root: " + err.Error())
	}
	return root
}

// Hashes is the frontier as bytes, to be kept beside Size.
func (f Frontier) Hashes() []byte {
	if f.r == nil {
		return []byte{}
	}
	return bytes.Join(f.r.Hashes(), nil)
}
