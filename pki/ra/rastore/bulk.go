package rastore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

// KeepBulk stores a trial with its line.
func (s *Store) KeepBulk(ctx context.Context, b ra.Bulk, line audit.Entry) error {
	rows := b.Rows
	b.Rows = nil
	head, err := json.Marshal(b)
	if err != nil {
		return err
	}
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`INSERT INTO bulk (id, who, at, head, body, taker) VALUES ($1, $2, $3, $4, $5, $6)`, b.ID, string(b.By), b.At.UnixMilli(), head, body, b.Body); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Bulk returns one with its rows.
func (s *Store) Bulk(ctx context.Context, id string) (b ra.Bulk, err error) {
	var head, body []byte
	err = s.DB.QueryRow(ctx, `SELECT head, body FROM bulk WHERE id = $1`, id).Scan(&head, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return b, ra.NoCase.At("bulk", ra.NoCase.Clause).Because("%.40q", id)
	}
	if err != nil {
		return b, err
	}
	return b, errors.Join(json.Unmarshal(head, &b), json.Unmarshal(body, &b.Rows))
}

// Bulks lists them without rows, newest first.
func (s *Store) Bulks(ctx context.Context, bodies []string, after string, limit int) ([]ra.Bulk, error) {
	cond, args := "", []any{limit}
	if after != "" {
		last, err := s.Bulk(ctx, after)
		if err != nil {
			return nil, err
		}
		at := last.At.UnixMilli()
		cond, args = ` AND (at < $2 OR at = $3 AND id < $4)`, append(args, at, at, after)
	}
	more, args := within("taker", bodies, args)
	rows, err := s.DB.Query(ctx, `SELECT head FROM bulk WHERE 1 = 1`+cond+more+` ORDER BY at DESC, id DESC LIMIT $1`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ra.Bulk
	for rows.Next() {
		var head []byte
		var b ra.Bulk
		if err := rows.Scan(&head); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(head, &b); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, rows.Err()
}

// Hold holds the approved cases of a batch back, or lets them go on.
func (s *Store) Hold(ctx context.Context, by access.Command, batch string, hold bool, line audit.Entry) error {
	if !by.Authentic() {
		return access.BadSignature.At("signature", access.BadSignature.Clause)
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := access.Spend(tx, by, s.Now()); err != nil {
			return err
		}
		q, args := `DELETE FROM held WHERE batch = $1`, []any{batch}
		if hold {
			q, args = `INSERT INTO held (batch, who, at) VALUES ($1, $2, $3) ON CONFLICT (batch) DO NOTHING`, append(args, string(by.Who().ID), s.Now().UnixMilli())
		}
		n, err := tx.Exec(q, args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return casework.Stale.At("bulk", casework.Stale.Clause).Because("%s", batch)
		}
		return audit.Append(tx, line)
	})
}

// Held reports whether a batch is held back.
func (s *Store) Held(ctx context.Context, batch string) (bool, error) {
	var n int
	err := s.DB.QueryRow(ctx, `SELECT COUNT(*) FROM held WHERE batch = $1`, batch).Scan(&n)
	return n > 0, err
}

// Ask puts on record which cases the CA is about to be asked about.
func (s *Store) Ask(ctx context.Context, ids []string) (may []string, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		may = nil
		for _, id := range ids {
			n, err := tx.Exec(`INSERT INTO asked (case_id) SELECT id FROM cases WHERE id = $1 AND state = $2 AND batch NOT IN (SELECT batch FROM held) ON CONFLICT (case_id) DO NOTHING`, id, string(ra.Approved))
			if err != nil {
				return err
			}
			if n == 0 { // held, or asked before
				var was int
				if err := tx.Scan(`SELECT COUNT(*) FROM asked WHERE case_id = $1`, []any{id}, &was); err != nil {
					return err
				}
				n = int64(was)
			}
			if n > 0 {
				may = append(may, id)
			}
		}
		return nil
	})
	return may, err
}

// Unasked lists the approved cases of a batch the CA has not been asked about.
func (s *Store) Unasked(ctx context.Context, batch string) ([]string, error) {
	rows, err := s.DB.Query(ctx, `SELECT id FROM cases WHERE batch = $1 AND state = $2 AND id NOT IN (SELECT case_id FROM asked) ORDER BY id`, batch, string(ra.Approved))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// leave forgets that the CA was asked about a case that moves on, and refuses
// to cancel one it was asked about.
func leave(tx *sqldb.Tx, v ra.Save) error {
	if v.Move.Event.From != ra.Approved {
		return nil
	}
	n, err := tx.Exec(`DELETE FROM asked WHERE case_id = $1`, v.Record.ID)
	if err == nil && n > 0 && v.Move.Event.Did == ra.Cancel {
		return casework.Stale.At("id", casework.Stale.Clause).Because("%s 已送交 CA", v.Record.ID)
	}
	return err
}
