package kmstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
)

var _ km.KeepStore = (*Store)(nil)

// After returns records in order of their pairs.
func (s *Store) After(ctx context.Context, pair int64, limit int) ([]km.Record, error) {
	rows, err := s.DB.Query(ctx, `SELECT `+columns+` FROM held WHERE pair > $1 ORDER BY pair LIMIT $2`, pair, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []km.Record
	for rows.Next() {
		r, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// Newest is the highest number of a pair in use or history.
func (s *Store) Newest(ctx context.Context) (n int64, err error) {
	return n, s.DB.QueryRow(ctx, `SELECT COALESCE(MAX(pair), 0) FROM held`).Scan(&n)
}

// Standbys returns pairs of the standby store not under a master.
func (s *Store) Standbys(ctx context.Context, master string, pair int64, limit int) ([]km.Record, error) {
	rows, err := s.DB.Query(ctx, `SELECT pair, point, version, master, blob FROM standby WHERE master <> $1 AND pair > $2 ORDER BY pair LIMIT $3`, master, pair, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []km.Record
	for rows.Next() {
		r := km.Record{State: km.Standby}
		w := &r.Pair.Private
		if err := rows.Scan(&r.ID, &r.Pair.Point, &w.Version, &w.Master, &w.Blob); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// Rewrapped replaces private keys as they are kept. A pair that was given away
// meanwhile is found where it lies now.
func (s *Store) Rewrapped(ctx context.Context, list []km.Rewrap, line audit.Entry) (int, error) {
	var moved int64
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		moved = 0
		for _, r := range list {
			for _, table := range []string{"held", "standby"} {
				n, err := tx.Exec(`UPDATE `+table+` SET version = $1, master = $2, blob = $3 WHERE pair = $4 AND blob = $5`, r.To.Version, r.To.Master, r.To.Blob, r.Pair, r.From)
				if err != nil {
					return err
				}
				moved += n
			}
		}
		if moved > int64(len(list)) {
			return fmt.Errorf("%d keys replaced where %d were meant", moved, len(list))
		}
		if moved == 0 {
			return nil
		}
		done := line // this may run again
		done.Detail = fmt.Sprintf("%d 对，主密钥 %s", moved, list[0].To.Master)
		return audit.Append(tx, done)
	})
	return int(moved), err
}

// RetireOthers takes every other master key out of service once no private key
// rests on one, and returns how many still do. Changes to the stores wait
// meanwhile: the row of counts is their lock.
func (s *Store) RetireOthers(ctx context.Context, master, first string, at time.Time, line audit.Entry) (rest int, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := count(tx, 0, 0, 0); err != nil {
			return err
		}
		if err := tx.Scan(`SELECT (SELECT COUNT(*) FROM held WHERE master <> $1) + (SELECT COUNT(*) FROM standby WHERE master <> $1)`, []any{master}, &rest); err != nil || rest > 0 {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO master_key (label, retired_at) VALUES ($1, 0) ON CONFLICT (label) DO NOTHING`, first); err != nil {
			return err
		}
		n, err := tx.Exec(`UPDATE master_key SET retired_at = $1 WHERE label <> $2 AND retired_at = 0`, at.UnixMilli(), master)
		if err != nil || n == 0 {
			return err
		}
		return audit.Append(tx, line)
	})
	return rest, err
}

// inService refuses pairs whose master key was retired while they were made.
func inService(tx *sqldb.Tx, pairs []hsm.Pair) error {
	last := ""
	for _, p := range pairs {
		if p.Private.Master == last {
			continue
		}
		last = p.Private.Master
		var n int
		if err := tx.Scan(`SELECT COUNT(*) FROM master_key WHERE label = $1 AND retired_at > 0`, []any{last}, &n); err != nil {
			return err
		}
		if n > 0 {
			return km.ErrRetiredMaster
		}
	}
	return nil
}

// Tally keeps the result of a drill.
func (s *Store) Tally(ctx context.Context, t km.Tally, line audit.Entry) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var last int64 // two within a second keep their order
		if err := tx.Scan(`SELECT COALESCE(MAX(at), 0) FROM drill`, nil, &last); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO drill (at, failed, body) VALUES ($1, $2, $3)`, max(t.At.UnixMilli(), last+1), len(t.Failed), body); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Tallies returns the newest drills.
func (s *Store) Tallies(ctx context.Context, limit int) ([]km.Tally, error) {
	rows, err := s.DB.Query(ctx, `SELECT body FROM drill ORDER BY at DESC LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []km.Tally
	for rows.Next() {
		var body []byte
		var t km.Tally
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &t); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// Marks returns the watermarks on record.
func (s *Store) Marks(ctx context.Context) (low, high int, ok bool, err error) {
	err = s.DB.QueryRow(ctx, `SELECT low, high FROM marks WHERE one = 1`).Scan(&low, &high)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, false, nil
	}
	return low, high, err == nil, err
}

// SetMarks puts watermarks on record.
func (s *Store) SetMarks(ctx context.Context, low, high int, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`INSERT INTO marks (one, low, high) VALUES (1, $1, $2) ON CONFLICT (one) DO UPDATE SET low = excluded.low, high = excluded.high`, low, high); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Master is the label of the master key in force.
func (s *Store) Master(ctx context.Context) (label string, err error) {
	err = s.DB.QueryRow(ctx, `SELECT label FROM master WHERE one = 1`).Scan(&label)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return label, err
}

// SetMaster puts another master key in force.
func (s *Store) SetMaster(ctx context.Context, label string, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := inService(tx, []hsm.Pair{{Private: hsm.Wrapped{Master: label}}}); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO master_key (label, retired_at) VALUES ($1, 0) ON CONFLICT (label) DO NOTHING`, label); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO master (one, label) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET label = excluded.label`, label); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}
