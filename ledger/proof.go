package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"sort"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/hufu-pki/hufu/format/record"
)

// Prove computes from tiles the path that ties entry index to the root of the
// first size entries (RFC 6962 §2.1.1, with SM3).
func Prove(ctx context.Context, src Source, size, index int64) ([][]byte, error) {
	if index < 0 || index >= size {
		return nil, fmt.Errorf("ledger: no entry %d among %d", index, size)
	}
	nodes, err := proof.Inclusion(uint64(index), uint64(size))
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		if hashes[i], err = node(ctx, src, size, id); err != nil {
			return nil, err
		}
	}
	path, err := nodes.Rehash(hashes, nodeHash)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return path, nil
}

// node computes one inner hash from the tile that has its children.
func node(ctx context.Context, src Source, size int64, id compact.NodeID) ([]byte, error) {
	const height = 8 // of a tile
	level, low := int(id.Level/height), id.Level%height
	first := int64(id.Index) << low
	n, at, count := first/Width, first%Width, int64(1)<<low
	width := int(min(Width, size>>(height*level)-n*Width))
	tile, err := src.Get(ctx, TilePath(level, n, width))
	if errors.Is(err, fs.ErrNotExist) && width < Width { // the full one may have replaced it
		tile, err = src.Get(ctx, TilePath(level, n, Width))
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: tile %d of level %d: %w", n, level, err)
	}
	if int64(len(tile)) < (at+count)*HashSize {
		return nil, fmt.Errorf("ledger: tile %d of level %d is cut short", n, level)
	}
	r := ranges.NewEmptyRange(0)
	for h := range chunks(tile[at*HashSize : (at+count)*HashSize]) {
		if err := r.Append(bytes.Clone(h), nil); err != nil {
			return nil, err
		}
	}
	return r.GetRootHash(nil)
}

// Included reports whether path ties a leaf to the root of a log (RFC 9162
// §2.1.3.2).
func Included(leaf []byte, index, size int64, path [][]byte, root []byte) bool {
	if index < 0 || index >= size || len(path) > 64 {
		return false
	}
	fn, sn, h := uint64(index), uint64(size-1), LeafHash(leaf)
	for _, p := range path {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			h = nodeHash(p, h)
			if fn&1 == 0 {
				shift := bits.TrailingZeros64(fn)
				fn, sn = fn>>shift, sn>>shift
			}
		} else {
			h = nodeHash(h, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	return sn == 0 && bytes.Equal(h, root)
}

// Entry reads one entry of a log of the given size.
func Entry(ctx context.Context, src Source, size, index int64) ([]byte, error) {
	if index < 0 || index >= size {
		return nil, fmt.Errorf("ledger: no entry %d among %d", index, size)
	}
	leaves, err := bundleAt(ctx, src, index/Width, size)
	if err != nil {
		return nil, err
	}
	return leaves[index%Width], nil
}

// Since finds the first entry written at or after a time, give or take those
// that writers appended out of order: begin looking a little earlier.
func Since(ctx context.Context, src Source, size int64, at time.Time) (int64, error) {
	var failed error
	bundles := int((size + Width - 1) / Width)
	n := sort.Search(bundles, func(i int) bool {
		if failed != nil {
			return true
		}
		leaf, err := Entry(ctx, src, size, int64(i)*Width)
		if err != nil {
			failed = err
			return true
		}
		e, err := record.Parse(leaf)
		failed = err
		return err != nil || !e.At.Before(at)
	})
	return int64(max(n-1, 0)) * Width, failed
}

// Scan hands entries [from, size) to see, in order, a bundle at a time.
func Scan(ctx context.Context, src Source, from, size int64, see func(index int64, leaf []byte)) error {
	for n := from / Width; n*Width < size; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		leaves, err := bundleAt(ctx, src, n, size)
		if err != nil {
			return fmt.Errorf("entries %d: %w", n*Width, err)
		}
		for i, leaf := range leaves {
			if at := n*Width + int64(i); at >= from {
				see(at, leaf)
			}
		}
	}
	return nil
}
