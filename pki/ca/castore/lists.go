package castore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Lists returns the newest list of every scope.
func (s *Store) Lists(ctx context.Context) (map[string]ca.List, error) {
	rows, err := s.DB.Query(ctx, `SELECT c.scope, c.number, c.crl_number, c.base, c.upto, c.this_update, c.next_update, c.size, c.der IS NOT NULL OR s.number IS NOT NULL
		FROM crl c LEFT JOIN crl_sealed s ON s.number = c.number WHERE c.number IN (SELECT MAX(number) FROM crl GROUP BY scope)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lists, row := map[string]ca.List{}, map[string]int64{}
	for rows.Next() {
		var l ca.List
		var id, from, to int64
		if err := rows.Scan(&l.Scope, &id, &l.Number, &l.Base, &l.Upto, &from, &to, &l.Size, &l.Signed); err != nil {
			return nil, err
		}
		l.ThisUpdate, l.NextUpdate = time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()
		lists[l.Scope], row[l.Scope] = l, id
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for scope, l := range lists {
		if l.Signed {
			continue
		}
		if l.TBS, err = s.draft(ctx, row[scope]); err != nil {
			return nil, err
		}
		lists[scope] = l
	}
	return lists, nil
}

// IntendList puts one draft on record under the next number of the CA.
func (s *Store) IntendList(ctx context.Context, l ca.List, shard int, draft func(number int64, entries []byte) []byte) (ca.List, error) {
	lists, err := s.IntendLists(ctx, []ca.Wanted{{List: l, Shard: shard, Draft: func(l ca.List, entries []byte) []byte { return draft(l.Number, entries) }}})
	if err != nil {
		return l, err
	}
	return lists[0], nil
}

// IntendLists puts drafts on record under the next number of the CA, which they
// share. The entries are read and the marks cleared in the same transaction:
// what is revoked later marks them again.
func (s *Store) IntendLists(ctx context.Context, wanted []ca.Wanted) ([]ca.List, error) {
	lists := make([]ca.List, len(wanted))
	var keep func()
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var number, row, upto int64
		if err := tx.Scan(`SELECT MAX(number) + 1 FROM (SELECT 0 AS number UNION ALL SELECT crl_number FROM crl UNION ALL SELECT number FROM crl_floor) AS used`, nil, &number); err != nil {
			return err
		}
		if err := tx.Scan(`SELECT COALESCE(MAX(number), 0) FROM crl`, nil, &row); err != nil {
			return err
		}
		if err := tx.Scan(`SELECT COALESCE(MAX(seq), 0) FROM status_change`, nil, &upto); err != nil {
			return err
		}
		for i, w := range wanted {
			row++
			l := w.List
			l.Number, l.Upto = number, upto
			if l.Base < 0 {
				l.Base = number
			}
			parts, err := s.partsOf(tx, l, w.Shard)
			if err != nil {
				return err
			}
			l.TBS = w.Draft(l, joined(parts))
			l.Size = len(l.TBS)
			if _, err := tx.Exec(`DELETE FROM dirty WHERE shard = $1`, w.Shard); err != nil {
				return err
			}
			if err := put(tx, row, l, parts); err != nil {
				return err
			}
			if id := row; ca.Kind(w.Shard) == ca.Full {
				keep = func() { s.kept.set(id, parts) }
			}
			lists[i] = l
		}
		return nil
	})
	if err == nil && keep != nil {
		keep()
	}
	return lists, err
}

// put writes a draft: a long one as what is not entries, and the blocks that
// hold them, of which those of the list before lie there already.
func put(tx *sqldb.Tx, row int64, l ca.List, parts []block) error {
	split, rest := 0, l.TBS
	if len(l.TBS) >= blockSize {
		if head, entries, tail, err := crl.Split(l.TBS); err == nil && len(entries) == lengthOf(parts) {
			split, rest = len(head), slices.Concat(head, tail)
		}
	}
	if _, err := tx.Exec(`INSERT INTO crl (number, crl_number, scope, base, upto, this_update, next_update, tbs, split, size) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, row, l.Number, l.Scope, l.Base, l.Upto, l.ThisUpdate.Unix(), l.NextUpdate.Unix(), rest, split, l.Size); err != nil || split == 0 {
		return err
	}
	var next int64
	if err := tx.Scan(`SELECT COALESCE(MAX(block), 0) + 1 FROM crl_block`, nil, &next); err != nil {
		return err
	}
	rows := make([][]any, len(parts))
	for i := range parts {
		if p := &parts[i]; p.id == 0 {
			p.id = next
			next++
			if _, err := tx.Exec(`INSERT INTO crl_block (block, entries) VALUES ($1, $2)`, p.id, p.entries); err != nil {
				return err
			}
		}
		rows[i] = []any{row, i, parts[i].id}
	}
	return tx.InsertMany(`INSERT INTO crl_part (number, position, block)`, rows)
}

// Bounds of how lists are kept, and why.
const (
	// blockSize is the size of the pieces a long list is kept in: small against
	// the list, so that a change rewrites little, and large against a row.
	blockSize = 1 << 20
	// anewAbove is the number of changes above which reading every entry again is
	// cheaper than sorting out those of the list before.
	anewAbove = 100_000
)

// partsOf are the entries of a list. Certificates that had expired when the
// list before was signed are left out: each was on one list after its end.
func (s *Store) partsOf(tx *sqldb.Tx, l ca.List, shard int) ([]block, error) {
	from, to := ca.Span(shard)
	if ca.Kind(shard) == ca.Delta {
		all, err := changesSince(tx, l.Since, from, to)
		return cut(all, err)
	}
	var last, upto, before int64
	if err := tx.Scan(`SELECT COALESCE(MAX(number), 0) FROM crl WHERE scope = $1`, []any{l.Scope}, &last); err != nil {
		return nil, err
	}
	if last > 0 {
		if err := tx.Scan(`SELECT upto, this_update FROM crl WHERE number = $1`, []any{last}, &upto, &before); err != nil {
			return nil, err
		}
	}
	if last > 0 && upto >= 0 && l.Upto-upto <= anewAbove {
		// A draft that does not read is no reason to stop: every entry is in its row.
		if parts, err := s.goOn(tx, l.Scope, from, to, last, upto, before); !errors.Is(err, crl.ErrSyntax) {
			return parts, err
		}
	}
	return cut(join(tx, `SELECT entry FROM revoked WHERE shard >= $1 AND shard < $2 AND (not_after = 0 OR not_after >= $3) ORDER BY serial`, from, to, before))
}

// goOn makes the entries of a list from those of the one before: without what
// changed again or ended since, and with what is revoked now of what changed. A
// list of a million goes on without looking at its entries when nothing leaves.
func (s *Store) goOn(tx *sqldb.Tx, scope string, from, to int, last, upto, before int64) ([]block, error) {
	var ended int64 // what had ended here was left out of the list before already
	if err := tx.Scan(`SELECT COALESCE(MAX(this_update), 0) FROM crl WHERE scope = $1 AND number < $2`, []any{scope, last}, &ended); err != nil {
		return nil, err
	}
	gone := map[string]struct{}{}
	if err := serials(tx, gone, `SELECT serial FROM status_change WHERE seq > $1 AND was = $2`, upto, true); err != nil {
		return nil, err
	}
	if err := serials(tx, gone, `SELECT serial FROM revoked WHERE not_after > 0 AND not_after >= $1 AND not_after < $2`, ended, before); err != nil {
		return nil, err
	}
	old, err := s.blocks(tx, last)
	if err != nil {
		return nil, err
	}
	var parts []block
	for _, b := range old {
		left, err := crl.Without(b.entries, gone)
		if err != nil {
			return nil, err
		}
		if len(left) != len(b.entries) {
			b = block{entries: left}
		}
		if len(left) > 0 {
			parts = append(parts, b)
		}
	}
	const changed = `SELECT entry FROM revoked WHERE (not_after = 0 OR not_after >= $1) AND serial IN (SELECT serial FROM status_change WHERE seq > $2)`
	fresh, err := join(tx, changed+` AND shard >= $3 AND shard < $4 ORDER BY serial`, before, upto, from, to)
	if err != nil || len(fresh) == 0 {
		return parts, err
	}
	if n := len(parts) - 1; n >= 0 && len(parts[n].entries) < blockSize {
		fresh = slices.Concat(parts[n].entries, fresh)
		parts = parts[:n]
	}
	more, err := cut(fresh, nil)
	return append(parts, more...), err
}

// serials adds the serials a query finds.
func serials(tx *sqldb.Tx, to map[string]struct{}, q string, args ...any) error {
	rows, err := tx.Query(q, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var serial sql.RawBytes
		if err := rows.Scan(&serial); err != nil {
			return err
		}
		to[string(serial)] = struct{}{}
	}
	return rows.Err()
}

// changesSince are the entries of a delta list: what is revoked or held after a
// change, and a removal for what is released.
func changesSince(tx *sqldb.Tx, since int64, from, to int) ([]byte, error) {
	all, err := join(tx, `SELECT entry FROM revoked WHERE shard >= $1 AND shard < $2 AND serial IN (SELECT serial FROM status_change WHERE seq > $3) ORDER BY serial`, from, to, since)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT s.serial, MAX(s.at) FROM status_change s JOIN certificate c ON c.serial = s.serial
		WHERE s.seq > $1 AND c.shard >= $2 AND c.shard < $3 AND NOT EXISTS (SELECT 1 FROM revoked r WHERE r.serial = s.serial) GROUP BY s.serial ORDER BY s.serial`, since, from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var serial []byte
		var at int64
		if err := rows.Scan(&serial, &at); err != nil {
			return nil, err
		}
		all = append(all, crl.Entry{Serial: serial, At: time.Unix(at, 0), Reason: crl.RemoveFromCRL}.Bytes()...)
	}
	return all, rows.Err()
}

func join(tx *sqldb.Tx, q string, args ...any) ([]byte, error) {
	rows, err := tx.Query(q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []byte
	for rows.Next() {
		var e sql.RawBytes
		if err := rows.Scan(&e); err != nil {
			return nil, err
		}
		all = append(all, e...)
	}
	return all, rows.Err()
}

// RecordList stores a list's signature: the bytes it was made over are on
// record and are not written again.
func (s *Store) RecordList(ctx context.Context, l ca.List, entry ca.Publication, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		leaf, err := s.trail(tx, []ca.Publication{entry}, []audit.Entry{line})
		if err != nil {
			return err
		}
		var row int64
		if err := tx.Scan(`SELECT number FROM crl WHERE crl_number = $1 AND scope = $2`, []any{l.Number, l.Scope}, &row); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO crl_sealed (number, leaf, signature) VALUES ($1, $2, $3)`, row, leaf, l.Signature)
		return err
	})
}
