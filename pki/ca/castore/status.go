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

const keyCompromise, caCompromise = 1, 2 // RFC 5280 §5.3.1

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
	var at, invalid, due int64
	err := s.DB.QueryRow(ctx, `SELECT serial, pair, job, profile, use, shard, der, revoked, reason, revoked_at, invalid_at, due FROM certificate WHERE serial = $1`, bytes.TrimLeft(serial, "\x00")).
		Scan(&c.Serial, &c.Pair, &c.Request, &c.Profile, &c.Use, &c.Shard, &c.DER, &c.Revoked, &c.Reason, &at, &invalid, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return c, ca.NoCert.At("serial", ca.NoCert.Clause)
	}
	if at != 0 {
		c.RevokedAt = time.Unix(at, 0).UTC()
	}
	if due != 0 {
		c.Due = time.Unix(due, 0).UTC()
	}
	if invalid != 0 {
		c.Invalid = time.Unix(invalid, 0).UTC()
	}
	if read, bad := cert.Parse(c.DER); bad == nil {
		c.NotBefore, c.NotAfter = read.NotBefore, read.NotAfter
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
	was, err := tx.Exec(`DELETE FROM revoked WHERE serial = $1`, c.Serial)
	if err != nil {
		return err
	}
	if c.Revoked {
		entry := crl.Entry{Serial: c.Serial, At: c.RevokedAt, Reason: c.Reason, Invalid: c.Invalid}.Bytes()
		if _, err := tx.Exec(`INSERT INTO revoked (serial, shard, request, revoked_at, entry, not_after) VALUES ($1, $2, $3, $4, $5, $6)`, c.Serial, c.Shard, request, c.RevokedAt.Unix(), entry, unix(c.NotAfter)); err != nil {
			return err
		}
	}
	var seq int64
	if err := tx.Scan(`SELECT COALESCE(MAX(seq), 0) + 1 FROM status_change`, nil, &seq); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO status_change (request, serial, at, changed_at, revoked, reason, seq, was) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, request, c.Serial, c.RevokedAt.Unix(), at.UnixMilli(), c.Revoked, c.Reason, seq, was > 0); err != nil {
		return err
	}
	for _, shard := range ca.Behind(c.Shard) {
		if _, err := tx.Exec(`INSERT INTO dirty (shard, since) VALUES ($1, $2) ON CONFLICT (shard) DO NOTHING`, shard, at.UnixMilli()); err != nil {
			return err
		}
	}
	if !c.Revoked || c.Reason == hold || c.Reason == keyCompromise || c.Reason == caCompromise {
		return nil // on hold it is still theirs; a key that was given away is never certified again
	}
	_, err = tx.Exec(`DELETE FROM live_key WHERE job = $1`, c.Request)
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
