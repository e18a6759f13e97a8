package castore

import (
	"context"
	"database/sql"
	"sync"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
)

// block is a run of encoded entries. Lists of one scope share those that did
// not change; id is 0 for one that is not on record yet.
type block struct {
	id      int64
	entries []byte
}

// kept are the blocks of the newest full list: one copy of it in memory spares
// reading it at every change.
type kept struct {
	mu     sync.Mutex
	number int64
	parts  []block
}

func (k *kept) set(number int64, parts []block) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.number, k.parts = number, parts
}

func (k *kept) get(number int64) ([]block, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.parts, k.number == number
}

func lengthOf(parts []block) (n int) {
	for _, p := range parts {
		n += len(p.entries)
	}
	return n
}

func joined(parts []block) []byte {
	if len(parts) == 1 {
		return parts[0].entries
	}
	all := make([]byte, 0, lengthOf(parts))
	for _, p := range parts {
		all = append(all, p.entries...)
	}
	return all
}

// cut makes blocks of joined entries.
func cut(entries []byte, err error) ([]block, error) {
	if err != nil {
		return nil, err
	}
	pieces, err := crl.Cut(entries, blockSize)
	parts := make([]block, len(pieces))
	for i, p := range pieces {
		parts[i].entries = p
	}
	return parts, err
}

// blocks are the entries of a list on record.
func (s *Store) blocks(tx *sqldb.Tx, number int64) ([]block, error) {
	if parts, ok := s.kept.get(number); ok {
		return parts, nil
	}
	var tbs []byte
	var split int
	if err := tx.Scan(`SELECT tbs, split FROM crl WHERE number = $1`, []any{number}, &tbs, &split); err != nil {
		return nil, err
	}
	if split == 0 {
		_, entries, _, err := crl.Split(tbs)
		return cut(entries, err)
	}
	rows, err := tx.Query(blocksQuery, number)
	if err != nil {
		return nil, err
	}
	return readBlocks(rows)
}

const blocksQuery = `SELECT p.block, b.entries FROM crl_part p JOIN crl_block b ON b.block = p.block WHERE p.number = $1 ORDER BY p.position`

func readBlocks(rows *sql.Rows) (parts []block, err error) {
	defer rows.Close()
	for rows.Next() {
		var b block
		if err := rows.Scan(&b.id, &b.entries); err != nil {
			return nil, err
		}
		parts = append(parts, b)
	}
	return parts, rows.Err()
}

// draft is the draft on record under a number, whole: what the key signed.
func (s *Store) draft(ctx context.Context, number int64) ([]byte, error) {
	var rest []byte
	var split int
	if err := s.DB.QueryRow(ctx, `SELECT tbs, split FROM crl WHERE number = $1`, number).Scan(&rest, &split); err != nil || split == 0 {
		return rest, err
	}
	rows, err := s.DB.Query(ctx, blocksQuery, number)
	if err != nil {
		return nil, err
	}
	parts, err := readBlocks(rows)
	if err != nil {
		return nil, err
	}
	tbs := make([]byte, 0, len(rest)+lengthOf(parts))
	tbs = append(tbs, rest[:split]...)
	for _, p := range parts {
		tbs = append(tbs, p.entries...)
	}
	return append(tbs, rest[split:]...), nil
}

// listBodies adds the lists that lie beside leaves [from, to).
func (s *Store) listBodies(ctx context.Context, bodies [][]byte, from, to int64) ([][]byte, error) {
	rows, err := s.DB.Query(ctx, `SELECT number, signature FROM crl_sealed WHERE leaf >= $1 AND leaf < $2 ORDER BY leaf`, from, to)
	if err != nil {
		return nil, err
	}
	type sealed struct {
		number    int64
		signature []byte
	}
	var list []sealed
	defer rows.Close()
	for rows.Next() {
		var l sealed
		if err := rows.Scan(&l.number, &l.signature); err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, l := range list {
		tbs, err := s.draft(ctx, l.number)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, cert.Assemble(tbs, l.signature))
	}
	return bodies, nil
}
