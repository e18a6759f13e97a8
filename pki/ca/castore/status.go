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
	if read, bad := cert.Parse(c.DER); bad == nil {
		c.NotAfter = read.NotAfter
	}
	return c, err
}

// Revoke changes the status of certificates.
func (s *Store) Revoke(ctx context.Context, request string, changes []ca.Issued, entries []ca.Publication, lines []audit.Entry, ask *ca.Ask, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, c := range changes {
			if err := change(tx, request, c, at); err != nil {
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

const hold = 6 // RFC 5280 §5.3.1

// change moves one certificate: to hold, out of it, or to its end.
func change(tx *sqldb.Tx, request string, c ca.Issued, at time.Time) error {
	if err := lawful(tx, c); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE certificate SET revoked = $1, reason = $2, revoked_at = $3, invalid_at = $4 WHERE serial = $5`, c.Revoked, c.Reason, c.RevokedAt.Unix(), unix(c.Invalid), c.Serial); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM revoked WHERE serial = $1`, c.Serial); err != nil {
		return err
	}
	if c.Revoked {
		entry := crl.Entry{Serial: c.Serial, At: c.RevokedAt, Reason: c.Reason, Invalid: c.Invalid}.Bytes()
		if _, err := tx.Exec(`INSERT INTO revoked (serial, shard, request, revoked_at, entry, not_after) VALUES ($1, $2, $3, $4, $5, $6)`, c.Serial, c.Shard, request, c.RevokedAt.Unix(), entry, unix(c.NotAfter)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`INSERT INTO status_change (request, serial, at, changed_at, revoked, reason) VALUES ($1, $2, $3, $4, $5, $6)`, request, c.Serial, c.RevokedAt.Unix(), at.UnixMilli(), c.Revoked, c.Reason); err != nil {
		return err
	}
	for _, shard := range []int{c.Shard, ca.Full, ca.Delta} {
		if _, err := tx.Exec(`INSERT INTO dirty (shard, since) VALUES ($1, $2) ON CONFLICT (shard) DO NOTHING`, shard, at.UnixMilli()); err != nil {
			return err
		}
	}
	if !c.Revoked || c.Reason == hold || c.Reason == keyCompromise {
		return nil // on hold it is still theirs; a key that was given away is never certified again
	}
	_, err := tx.Exec(`DELETE FROM live_key WHERE job = $1`, c.Request)
	return err
}

// unix is a time in seconds, 0 for none.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// lawful holds a change against the status on record, in the same transaction.
func lawful(tx *sqldb.Tx, c ca.Issued) error {
	var revoked bool
	var reason int
	if err := tx.Scan(`SELECT revoked, reason FROM certificate WHERE serial = $1`, []any{c.Serial}, &revoked, &reason); err != nil {
		return err
	}
	held := revoked && reason == hold
	switch {
	case revoked && !held:
		return ca.Revoked.At("serial", ca.Revoked.Clause)
	case held && c.Revoked && c.Reason == hold:
		return ca.Held.At("serial", ca.Held.Clause)
	case !held && !c.Revoked:
		return ca.NotHeld.At("serial", ca.NotHeld.Clause)
	}
	return nil
}

// Revocation returns what a request changed.
func (s *Store) Revocation(ctx context.Context, request string) (done enroll.Revoked, ok bool, err error) {
	rows, err := s.DB.Query(ctx, `SELECT serial, at FROM status_change WHERE request = $1 ORDER BY serial`, request)
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
	rows, err := s.DB.Query(ctx, `SELECT scope, number, base, this_update, next_update, tbs, der FROM crl WHERE number IN (SELECT MAX(number) FROM crl GROUP BY scope)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lists := map[string]ca.List{}
	for rows.Next() {
		var l ca.List
		var from, to int64
		if err := rows.Scan(&l.Scope, &l.Number, &l.Base, &from, &to, &l.TBS, &l.DER); err != nil {
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
		entries, err := entriesOf(tx, l, shard)
		if err != nil {
			return err
		}
		l.TBS = draft(l.Number, entries)
		if _, err := tx.Exec(`DELETE FROM dirty WHERE shard = $1`, shard); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO crl (number, scope, base, this_update, next_update, tbs) VALUES ($1, $2, $3, $4, $5, $6)`, l.Number, l.Scope, l.Base, l.ThisUpdate.Unix(), l.NextUpdate.Unix(), l.TBS)
		return err
	})
	return l, err
}

// entriesOf joins the entries of a list. Certificates that had expired when the
// list before was signed are left out: each was on one list after its end.
func entriesOf(tx *sqldb.Tx, l ca.List, shard int) ([]byte, error) {
	if shard == ca.Delta {
		return changesSince(tx, l.Since)
	}
	var before int64
	if err := tx.Scan(`SELECT COALESCE(MAX(this_update), 0) FROM crl WHERE scope = $1`, []any{l.Scope}, &before); err != nil {
		return nil, err
	}
	if shard == ca.Full {
		return join(tx, `SELECT entry FROM revoked WHERE not_after = 0 OR not_after >= $1 ORDER BY serial`, before)
	}
	return join(tx, `SELECT entry FROM revoked WHERE shard = $1 AND (not_after = 0 OR not_after >= $2) ORDER BY serial`, shard, before)
}

// changesSince are the entries of a delta list: what is revoked or held since,
// and a removal for what is released.
func changesSince(tx *sqldb.Tx, since time.Time) ([]byte, error) {
	all, err := join(tx, `SELECT entry FROM revoked WHERE serial IN (SELECT serial FROM status_change WHERE changed_at >= $1) ORDER BY serial`, since.UnixMilli())
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(`SELECT s.serial, MAX(s.at) FROM status_change s WHERE s.changed_at >= $1 AND NOT EXISTS (SELECT 1 FROM revoked r WHERE r.serial = s.serial) GROUP BY s.serial ORDER BY s.serial`, since.UnixMilli())
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
