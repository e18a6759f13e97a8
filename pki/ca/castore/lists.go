package castore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Lists returns the newest list of every scope.
func (s *Store) Lists(ctx context.Context) (map[string]ca.List, error) {
	rows, err := s.DB.Query(ctx, `SELECT c.scope, c.number, c.base, c.upto, c.this_update, c.next_update, LENGTH(c.tbs), c.der IS NOT NULL OR s.number IS NOT NULL
		FROM crl c LEFT JOIN crl_sealed s ON s.number = c.number WHERE c.number IN (SELECT MAX(number) FROM crl GROUP BY scope)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lists := map[string]ca.List{}
	for rows.Next() {
		var l ca.List
		var from, to int64
		if err := rows.Scan(&l.Scope, &l.Number, &l.Base, &l.Upto, &from, &to, &l.Size, &l.Signed); err != nil {
			return nil, err
		}
		l.ThisUpdate, l.NextUpdate = time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()
		lists[l.Scope] = l
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for scope, l := range lists {
		if l.Signed {
			continue
		}
		if err := s.DB.QueryRow(ctx, `SELECT tbs FROM crl WHERE number = $1`, l.Number).Scan(&l.TBS); err != nil {
			return nil, err
		}
		lists[scope] = l
	}
	return lists, nil
}

// IntendList puts a draft on record under the next number of the CA. The
// entries are read and the shard's mark cleared in the same transaction: what
// is revoked later marks it again.
func (s *Store) IntendList(ctx context.Context, l ca.List, shard int, draft func(number int64, entries []byte) []byte) (ca.List, error) {
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tx.Scan(`SELECT MAX(number) + 1 FROM (SELECT 0 AS number UNION ALL SELECT number FROM crl UNION ALL SELECT number FROM crl_floor) AS used`, nil, &l.Number); err != nil {
			return err
		}
		if err := tx.Scan(`SELECT COALESCE(MAX(seq), 0) FROM status_change`, nil, &l.Upto); err != nil {
			return err
		}
		entries, err := entriesOf(tx, l, shard)
		if err != nil {
			return err
		}
		l.TBS = draft(l.Number, entries)
		l.Size = len(l.TBS)
		if _, err := tx.Exec(`DELETE FROM dirty WHERE shard = $1`, shard); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO crl (number, scope, base, upto, this_update, next_update, tbs) VALUES ($1, $2, $3, $4, $5, $6, $7)`, l.Number, l.Scope, l.Base, l.Upto, l.ThisUpdate.Unix(), l.NextUpdate.Unix(), l.TBS)
		return err
	})
	return l, err
}

// anewAbove is the number of changes above which reading every entry again is
// cheaper than sorting out those of the list before.
const anewAbove = 100_000

// entriesOf joins the entries of a list. Certificates that had expired when the
// list before was signed are left out: each was on one list after its end.
func entriesOf(tx *sqldb.Tx, l ca.List, shard int) ([]byte, error) {
	if shard == ca.Delta {
		return changesSince(tx, l.Since)
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
		if entries, err := goOn(tx, l.Scope, shard, last, upto, before); !errors.Is(err, crl.ErrSyntax) {
			return entries, err
		}
	}
	if shard == ca.Full {
		return join(tx, `SELECT entry FROM revoked WHERE not_after = 0 OR not_after >= $1 ORDER BY serial`, before)
	}
	return join(tx, `SELECT entry FROM revoked WHERE shard = $1 AND (not_after = 0 OR not_after >= $2) ORDER BY serial`, shard, before)
}

// goOn makes the entries of a list from those of the one before: without what
// changed or ended since, and with what is revoked now of what changed. A list
// of a million costs a walk over its bytes.
func goOn(tx *sqldb.Tx, scope string, shard int, last, upto, before int64) ([]byte, error) {
	var ended int64 // what had ended here was left out of the list before already
	if err := tx.Scan(`SELECT COALESCE(MAX(this_update), 0) FROM crl WHERE scope = $1 AND number < $2`, []any{scope, last}, &ended); err != nil {
		return nil, err
	}
	gone := map[string]struct{}{}
	for _, q := range []struct {
		text string
		args []any
	}{
		{`SELECT serial FROM status_change WHERE seq > $1`, []any{upto}},
		{`SELECT serial FROM revoked WHERE not_after > 0 AND not_after >= $1 AND not_after < $2`, []any{ended, before}},
	} {
		if err := serials(tx, gone, q.text, q.args...); err != nil {
			return nil, err
		}
	}
	rows, err := tx.Query(`SELECT tbs FROM crl WHERE number = $1`, last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var kept []byte
	for rows.Next() {
		var tbs sql.RawBytes
		if err := rows.Scan(&tbs); err != nil {
			return nil, err
		}
		if kept, err = crl.Without(tbs, gone); err != nil {
			return nil, err
		}
		kept = append([]byte(nil), kept...) // the row's memory ends with it
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	const changed = `SELECT entry FROM revoked WHERE (not_after = 0 OR not_after >= $1) AND serial IN (SELECT serial FROM status_change WHERE seq > $2)`
	var fresh []byte
	if shard == ca.Full {
		fresh, err = join(tx, changed+` ORDER BY serial`, before, upto)
	} else {
		fresh, err = join(tx, changed+` AND shard = $3 ORDER BY serial`, before, upto, shard)
	}
	return append(kept, fresh...), err
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
func changesSince(tx *sqldb.Tx, since int64) ([]byte, error) {
	all, err := join(tx, `SELECT entry FROM revoked WHERE serial IN (SELECT serial FROM status_change WHERE seq > $1) ORDER BY serial`, since)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT s.serial, MAX(s.at) FROM status_change s WHERE s.seq > $1 AND NOT EXISTS (SELECT 1 FROM revoked r WHERE r.serial = s.serial) GROUP BY s.serial ORDER BY s.serial`, since)
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
		_, err = tx.Exec(`INSERT INTO crl_sealed (number, leaf, signature) VALUES ($1, $2, $3)`, l.Number, leaf, l.Signature)
		return err
	})
}
