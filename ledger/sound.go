package ledger

import (
	"bytes"
	"context"
	"fmt"

	"github.com/hufu-pki/hufu/base/sqldb"
)

// tail bounds the leaves a look at the head hashes again: milliseconds.
const tail = 4096

// Sound looks whether a log's head is that of its newest leaves: as many as it
// says, none missing at the end, and the hashes over the unfinished part of the
// tree are theirs. It is cheap enough for every start; Recount reads it all.
func Sound(ctx context.Context, db *sqldb.DB, log string) error {
	head, err := Head(ctx, db, log)
	if err != nil {
		return err
	}
	var next int64
	if err := db.QueryRow(ctx, `SELECT COALESCE(MAX(idx) + 1, 0) FROM ledger_leaf WHERE log = $1`, log).Scan(&next); err != nil {
		return err
	}
	if next != head.Size() {
		return fmt.Errorf("ledger %s: its head says %d entries, there are %d", log, head.Size(), next)
	}
	first := head.Size() / tail * tail
	leaves, err := Leaves(ctx, db, log, first, head.Size())
	if err != nil {
		return err
	}
	if int64(len(leaves)) != head.Size()-first {
		return fmt.Errorf("ledger %s: entries after %d are missing", log, first)
	}
	hashes := make([][]byte, len(leaves))
	for i, l := range leaves {
		hashes[i] = LeafHash(l)
	}
	part, err := Frontier{}.Append(hashes...)
	if err != nil {
		return err
	}
	// first is a multiple of tail, so the hashes of what follows it are the last
	// ones of the whole.
	if !bytes.HasSuffix(head.Hashes(), part.Hashes()) {
		return fmt.Errorf("ledger %s: its head is not that of its newest entries", log)
	}
	return nil
}

// Recount hashes a whole log again and returns its frontier, which must be the
// head's, and the one it had at a size.
func Recount(ctx context.Context, db *sqldb.DB, log string, size int64) (then Frontier, now Frontier, err error) {
	head, err := Head(ctx, db, log)
	if err != nil {
		return then, now, err
	}
	if size > head.Size() {
		return then, now, fmt.Errorf("ledger %s: %d entries, want %d or more", log, head.Size(), size)
	}
	for now.Size() < head.Size() {
		to := min(now.Size()+pushMax, head.Size())
		if now.Size() < size {
			to = min(to, size)
		}
		leaves, err := Leaves(ctx, db, log, now.Size(), to)
		if err != nil {
			return then, now, err
		}
		if int64(len(leaves)) != to-now.Size() {
			return then, now, fmt.Errorf("ledger %s: an entry after %d is missing", log, now.Size())
		}
		hashes := make([][]byte, len(leaves))
		for i, l := range leaves {
			hashes[i] = LeafHash(l)
		}
		if now, err = now.Append(hashes...); err != nil {
			return then, now, err
		}
		if now.Size() == size {
			then = now
		}
	}
	if !bytes.Equal(now.Root(), head.Root()) {
		return then, now, fmt.Errorf("ledger %s: its head is not that of its %d entries", log, head.Size())
	}
	return then, now, nil
}

// Rebuild lays a log out in an empty folder again, as far as a checkpoint over
// it says. The folder accepts the checkpoint only over the very entries, so
// rebuilding proves that the database is the one it was signed for.
func Rebuild(ctx context.Context, db *sqldb.DB, log string, to *Folder, note []byte, bodies func(ctx context.Context, from, to int64) ([][]byte, error)) error {
	cp, err := OpenCheckpoint(note, to.Key, to.Origin)
	if err != nil {
		return err
	}
	for at := int64(0); at < cp.Size; {
		end := min(at+pushMax, cp.Size)
		b := Batch{First: at}
		if b.Leaves, err = Leaves(ctx, db, log, at, end); err != nil {
			return err
		}
		if bodies != nil {
			if b.Bodies, err = bodies(ctx, at, end); err != nil {
				return err
			}
		}
		if err := to.Put(ctx, b); err != nil {
			return err
		}
		at = end
	}
	return to.Seal(ctx, note)
}
