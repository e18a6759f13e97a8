package castore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

const keyCompromise = 1 // RFC 5280 §5.3.1

// profileOf reads the profile's name off an application on record.
func profileOf(content []byte) string {
	var a struct {
		Profile string `json:"profile"`
	}
	_ = json.Unmarshal(content, &a) // it was decoded strictly before it came here
	return a.Profile
}

// Certificate finds one by serial.
func (s *Store) Certificate(ctx context.Context, serial []byte) (ca.Issued, error) {
	var c ca.Issued
	var at, invalid int64
	err := s.DB.QueryRow(ctx, `SELECT serial, pair, job, profile, use, shard, der, revoked, reason, revoked_at, invalid_at FROM certificate WHERE serial = $1`, bytes.TrimLeft(serial, "\x00")).
		Scan(&c.Serial, &c.Pair, &c.Request, &c.Profile, &c.Use, &c.Shard, &c.DER, &c.Revoked, &c.Reason, &at, &invalid)
	if errors.Is(err, sql.ErrNoRows) {
		return c, ca.NoCert.At("serial", ca.NoCert.Clause)
	}
	if at != 0 {
		c.RevokedAt = time.Unix(at, 0).UTC()
	}
	if invalid != 0 {
		c.Invalid = time.Unix(invalid, 0).UTC()
	}
	return c, err
}

// Revoke changes the status of certificates, once.
func (s *Store) Revoke(ctx context.Context, request string, changes []ca.Issued, entries []ca.Publication, lines []audit.Entry, ask *ca.Ask, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, c := range changes {
			invalid := int64(0)
			if !c.Invalid.IsZero() {
				invalid = c.Invalid.Unix()
			}
			n, err := tx.Exec(`UPDATE certificate SET revoked = $1, reason = $2, revoked_at = $3, invalid_at = $4 WHERE serial = $5 AND revoked = $6`,
				true, c.Reason, c.RevokedAt.Unix(), invalid, c.Serial, false)
			if err != nil {
				return err
			}
			if n != 1 {
				return ca.Revoked.At("serial", ca.Revoked.Clause)
			}
			entry := crl.Entry{Serial: c.Serial, At: c.RevokedAt, Reason: c.Reason, Invalid: c.Invalid}.Bytes()
			if _, err := tx.Exec(`INSERT INTO revoked (serial, shard, request, revoked_at, entry) VALUES ($1, $2, $3, $4, $5)`, c.Serial, c.Shard, request, c.RevokedAt.Unix(), entry); err != nil {
				return err
			}
			for _, shard := range []int{c.Shard, -1} {
				if _, err := tx.Exec(`INSERT INTO dirty (shard, since) VALUES ($1, $2) ON CONFLICT (shard) DO NOTHING`, shard, at.UnixMilli()); err != nil {
					return err
				}
			}
			if c.Reason == keyCompromise {
				continue // a key that was given away is never certified again
			}
			if _, err := tx.Exec(`DELETE FROM live_key WHERE job = $1`, c.Request); err != nil {
				return err
			}
		}
		if ask != nil {
			if _, err := tx.Exec(`INSERT INTO ask (task, message, retire, done) VALUES ($1, $2, $3, $4)`, ask.Task, ask.Message, true, false); err != nil {
				return err
			}
		}
		_, err := s.trail(tx, entries, lines)
		return err
	})
}

// Revocation returns what a request revoked.
func (s *Store) Revocation(ctx context.Context, request string) (done enroll.Revoked, ok bool, err error) {
	rows, err := s.DB.Query(ctx, `SELECT serial, revoked_at FROM revoked WHERE request = $1 ORDER BY serial`, request)
	if err != nil {
		return done, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var serial []byte
		var at int64
		if err := rows.Scan(&serial, &at); err != nil {
			return done, false, err
		}
		done.Serials, done.At = append(done.Serials, cert.SerialHex(serial)), time.Unix(at, 0).UTC()
	}
	return done, len(done.Serials) > 0, rows.Err()
}

// Unsent returns unanswered messages that retire keys.
func (s *Store) Unsent(ctx context.Context, limit int) ([]ca.Ask, error) {
	rows, err := s.DB.Query(ctx, `SELECT task, message FROM ask WHERE done = $1 AND retire = $2 LIMIT $3`, false, true, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ca.Ask
	for rows.Next() {
		var a ca.Ask
		if err := rows.Scan(&a.Task, &a.Message); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// Answered marks a message as answered.
func (s *Store) Answered(ctx context.Context, task int64) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE ask SET done = $1 WHERE task = $2`, true, task)
		return err
	})
}

// Lists returns the newest list of every scope.
func (s *Store) Lists(ctx context.Context) (map[string]ca.List, error) {
	rows, err := s.DB.Query(ctx, `SELECT scope, number, this_update, next_update, tbs, der FROM crl WHERE number IN (SELECT MAX(number) FROM crl GROUP BY scope)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lists := map[string]ca.List{}
	for rows.Next() {
		var l ca.List
		var from, to int64
		if err := rows.Scan(&l.Scope, &l.Number, &from, &to, &l.TBS, &l.DER); err != nil {
			return nil, err
		}
		l.ThisUpdate, l.NextUpdate = time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()
		lists[l.Scope] = l
	}
	return lists, rows.Err()
}

// IntendList puts a draft on record under the next number of the CA. The
// entries are read and the shard's mark cleared in the same transaction: what
// is revoked later marks it again.
func (s *Store) IntendList(ctx context.Context, l ca.List, shard int, draft func(number int64, entries []byte) []byte) (ca.List, error) {
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tx.Scan(`SELECT MAX(number) + 1 FROM (SELECT 0 AS number UNION ALL SELECT number FROM crl UNION ALL SELECT number FROM crl_floor) AS used`, nil, &l.Number); err != nil {
			return err
		}
		entries, err := entriesOf(tx, shard)
		if err != nil {
			return err
		}
		l.TBS = draft(l.Number, entries)
		if _, err := tx.Exec(`DELETE FROM dirty WHERE shard = $1`, shard); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO crl (number, scope, this_update, next_update, tbs) VALUES ($1, $2, $3, $4, $5)`, l.Number, l.Scope, l.ThisUpdate.Unix(), l.NextUpdate.Unix(), l.TBS)
		return err
	})
	return l, err
}

func entriesOf(tx *sqldb.Tx, shard int) ([]byte, error) {
	q, args := `SELECT entry FROM revoked WHERE shard = $1 ORDER BY serial`, []any{shard}
	if shard < 0 {
		q, args = `SELECT entry FROM revoked ORDER BY serial`, nil
	}
	rows, err := tx.Query(q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []byte
	for rows.Next() {
		var e []byte
		if err := rows.Scan(&e); err != nil {
			return nil, err
		}
		all = append(all, e...)
	}
	return all, rows.Err()
}

// RecordList stores a signed list.
func (s *Store) RecordList(ctx context.Context, l ca.List, entry ca.Publication, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		leaf, err := s.trail(tx, []ca.Publication{entry}, []audit.Entry{line})
		if err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE crl SET der = $1, leaf = $2 WHERE number = $3`, l.DER, leaf, l.Number)
		return err
	})
}

// Dirty reports the shards whose status changed after their newest list; -1 is
// the full list.
func (s *Store) Dirty(ctx context.Context) ([]int, error) {
	rows, err := s.DB.Query(ctx, `SELECT shard FROM dirty ORDER BY shard`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var shards []int
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		shards = append(shards, n)
	}
	return shards, rows.Err()
}
