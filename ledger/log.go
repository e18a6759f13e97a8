package ledger

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/record"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrate prepares a database to hold logs.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "ledger", files)
}

// Append adds leaves to a log within a transaction and returns the index of
// the first. The facts they record belong in the same transaction.
func Append(tx *sqldb.Tx, log string, leaves ...[]byte) (first int64, err error) {
	if _, err := tx.Exec(`INSERT INTO ledger_head (log, size, frontier) VALUES ($1, 0, $2) ON CONFLICT (log) DO NOTHING`, log, []byte{}); err != nil {
		return 0, fmt.Errorf("ledger head: %w", err)
	}
	// The update takes the row's lock where several writers share a database.
	if _, err := tx.Exec(`UPDATE ledger_head SET size = size WHERE log = $1`, log); err != nil {
		return 0, fmt.Errorf("ledger head: %w", err)
	}
	var hashes []byte
	if err := tx.Scan(`SELECT size, frontier FROM ledger_head WHERE log = $1`, []any{log}, &first, &hashes); err != nil {
		return 0, fmt.Errorf("ledger head: %w", err)
	}
	f, err := FrontierOf(first, hashes)
	if err != nil {
		return 0, err
	}
	leafHashes, rows := make([][]byte, len(leaves)), make([][]any, len(leaves))
	for i, l := range leaves {
		if len(l) > record.SizeMax {
			return 0, fmt.Errorf("ledger: entry of %d bytes", len(l))
		}
		leafHashes[i], rows[i] = LeafHash(l), []any{log, first + int64(i), l}
	}
	if f, err = f.Append(leafHashes...); err != nil {
		return 0, err
	}
	if err := tx.InsertMany(`INSERT INTO ledger_leaf (log, idx, leaf)`, rows); err != nil {
		return 0, err
	}
	_, err = tx.Exec(`UPDATE ledger_head SET size = $1, frontier = $2 WHERE log = $3`, f.Size(), f.Hashes(), log)
	return first, err
}

// Head is a log's frontier as last committed.
func Head(ctx context.Context, db *sqldb.DB, log string) (Frontier, error) {
	rows, err := db.Query(ctx, `SELECT size, frontier FROM ledger_head WHERE log = $1`, log)
	if err != nil {
		return Frontier{}, err
	}
	defer rows.Close()
	if !rows.Next() {
		return Frontier{}, rows.Err()
	}
	var size int64
	var hashes []byte
	if err := rows.Scan(&size, &hashes); err != nil {
		return Frontier{}, err
	}
	return FrontierOf(size, hashes)
}

// Leaves reads leaves [from, to) of a log.
func Leaves(ctx context.Context, db *sqldb.DB, log string, from, to int64) ([][]byte, error) {
	rows, err := db.Query(ctx, `SELECT leaf FROM ledger_leaf WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx`, log, from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var leaves [][]byte
	for rows.Next() {
		var l []byte
		if err := rows.Scan(&l); err != nil {
			return nil, err
		}
		leaves = append(leaves, l)
	}
	return leaves, rows.Err()
}
