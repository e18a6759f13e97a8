package rastore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// fillStep is how many cases of earlier versions get their end in one
// transaction.
const fillStep = 500

// fill notes what is read of certificates issued before the columns were there.
func (s *Store) fill(ctx context.Context) error {
	for {
		ends, err := s.unfilled(ctx)
		if err != nil || len(ends) == 0 {
			return err
		}
		err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for id, e := range ends {
				if err := e.note(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func (s *Store) unfilled(ctx context.Context) (map[string]extract, error) {
	rows, err := s.DB.Query(ctx, `SELECT id, reply FROM cases WHERE (not_after = 0 OR began = 0 OR enc_sm3 IS NULL) AND reply IS NOT NULL LIMIT $1`, fillStep)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ends := map[string]extract{}
	for rows.Next() {
		var id string
		var body []byte
		if err := rows.Scan(&id, &body); err != nil {
			return nil, err
		}
		var reply enroll.Reply
		if err := json.Unmarshal(body, &reply); err != nil {
			return nil, err
		}
		ends[id] = endsOf(reply)
	}
	return ends, rows.Err()
}

// extract is what is looked for in the certificates of a reply: when they begin,
// in seconds, and run out, in milliseconds, -1 where they cannot be read, so
// that nobody looks again; and the SM3 of the encryption key, empty for none.
type extract struct {
	began, ends int64
	encKey      []byte
}

func endsOf(r enroll.Reply) extract {
	e := extract{-1, -1, []byte{}}
	if c, err := cert.Parse(r.Sign); err == nil {
		e.began, e.ends = c.NotBefore.Unix(), c.NotAfter.UnixMilli()
	}
	if c, err := cert.Parse(r.Enc); err == nil {
		e.encKey = alg.Digest(c.Point)
	}
	return e
}

func (e extract) note(tx *sqldb.Tx, id string) error {
	_, err := tx.Exec(`UPDATE cases SET not_after = $1, began = $2, enc_sm3 = $3 WHERE id = $4`, e.ends, e.began, e.encKey, id)
	return err
}

// Escrowed reports whether a key was ever given out as an encryption key.
func (s *Store) Escrowed(ctx context.Context, keySM3 []byte) (is bool, err error) {
	err = s.DB.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM cases WHERE enc_sm3 = $1)`, keySM3).Scan(&is)
	return is, err
}

// Expiring lists cases whose certificates, or letters, end within a time.
func (s *Store) Expiring(ctx context.Context, from, to time.Time, days, limit int) ([]ra.Record, error) {
	return s.list(ctx, `SELECT `+columns+` FROM cases WHERE not_after > $1 AND not_after <= $2 AND (state IN ($3, $4) OR kind = $5 AND state = $6)
		AND NOT EXISTS (SELECT 1 FROM reminder WHERE reminder.case_id = cases.id AND reminder.days = $7) ORDER BY id LIMIT $8`,
		from.UnixMilli(), to.UnixMilli(), string(ra.Issued), string(ra.Delivered), ra.UnitKind.Name, string(ra.Done), days, limit)
}

// Remind records reminders that are new, each with its line.
func (s *Store) Remind(ctx context.Context, list []ra.Reminder, lines []audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for i, r := range list {
			n, err := tx.Exec(`INSERT INTO reminder (case_id, days, serial, title, profile, not_after, at, dropped) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (case_id, days) DO NOTHING`,
				r.Case, r.Days, r.Serial, r.Title, r.Profile, r.NotAfter.UnixMilli(), r.At.UnixMilli(), false)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			if err := audit.Append(tx, lines[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reminders lists them, newest first.
func (s *Store) Reminders(ctx context.Context, q ra.ReminderQuery) ([]ra.Reminder, error) {
	text, args := `SELECT case_id, days, serial, title, profile, not_after, at, dropped FROM reminder WHERE 1 = 1`, []any{}
	mark := func(v any) string { args = append(args, v); return fmt.Sprintf("$%d", len(args)) }
	if q.Case != "" {
		text += ` AND case_id = ` + mark(q.Case)
	}
	if q.Within != nil {
		marks := make([]string, len(q.Within))
		for i, b := range q.Within {
			marks[i] = mark(b)
		}
		text += ` AND case_id IN (SELECT id FROM cases WHERE body IN (` + strings.Join(marks, ", ") + `))`
	}
	if q.Pending {
		text += ` AND dropped = ` + mark(false)
	}
	if a := q.After; a != nil {
		at := a.At.UnixMilli()
		text += ` AND (at < ` + mark(at) + ` OR at = ` + mark(at) + ` AND (case_id < ` + mark(a.Case) + ` OR case_id = ` + mark(a.Case) + ` AND days < ` + mark(a.Days) + `))`
	}
	if q.Limit <= 0 || q.Limit > ra.PageMax {
		q.Limit = ra.PageMax
	}
	rows, err := s.DB.Query(ctx, text+` ORDER BY at DESC, case_id DESC, days DESC LIMIT `+mark(q.Limit), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ra.Reminder
	for rows.Next() {
		var r ra.Reminder
		var end, at int64
		if err := rows.Scan(&r.Case, &r.Days, &r.Serial, &r.Title, &r.Profile, &end, &at, &r.Dropped); err != nil {
			return nil, err
		}
		r.NotAfter, r.At = time.UnixMilli(end).UTC(), time.UnixMilli(at).UTC()
		list = append(list, r)
	}
	return list, rows.Err()
}

// Drop marks that a reminder's file has been written.
func (s *Store) Drop(ctx context.Context, r ra.Reminder) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE reminder SET dropped = $1 WHERE case_id = $2 AND days = $3`, true, r.Case, r.Days)
		return err
	})
}
