package rastore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Outlived returns cases whose certificates ended before a time and that still
// hold a number.
func (s *Store) Outlived(ctx context.Context, profiles []string, before time.Time, after string, limit int) ([]ra.Record, error) {
	if len(profiles) == 0 {
		return nil, nil
	}
	args := []any{before.UnixMilli(), after, limit}
	var in []string
	for _, p := range profiles {
		args = append(args, p)
		in = append(in, fmt.Sprintf("$%d", len(args)))
	}
	return s.list(ctx, `SELECT `+columns+` FROM cases WHERE identity IS NOT NULL AND not_after > 0 AND not_after < $1 AND id > $2 AND profile IN (`+strings.Join(in, ", ")+`) ORDER BY id LIMIT $3`, args...)
}

// ForgetIdentity takes numbers away for good.
func (s *Store) ForgetIdentity(ctx context.Context, proposal string, ids []string, at time.Time, line audit.Entry) (n int, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n = 0
		for _, id := range ids {
			gone, err := tx.Exec(`UPDATE cases SET identity = NULL, blind = NULL WHERE id = $1 AND identity IS NOT NULL`, id)
			if err != nil {
				return err
			}
			if gone == 0 {
				continue
			}
			if _, err := tx.Exec(`INSERT INTO forgotten (case_id, proposal, at) VALUES ($1, $2, $3)`, id, proposal, at.UnixMilli()); err != nil {
				return err
			}
			n++
		}
		if n == 0 {
			return nil
		}
		done := line // this may run again
		done.Detail = fmt.Sprintf("销毁身份证件号码 %d 件", n)
		return audit.Append(tx, done)
	})
	return n, err
}

// Forgotten returns ids forgotten under a proposal.
func (s *Store) Forgotten(ctx context.Context, proposal, after string, limit int) (ids []string, err error) {
	rows, err := s.DB.Query(ctx, `SELECT case_id FROM forgotten WHERE proposal = $1 AND case_id > $2 ORDER BY case_id LIMIT $3`, proposal, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// WasForgotten reports when and why a number was forgotten.
func (s *Store) WasForgotten(ctx context.Context, id string) (at time.Time, proposal string, ok bool, err error) {
	var when int64
	err = s.DB.QueryRow(ctx, `SELECT at, proposal FROM forgotten WHERE case_id = $1`, id).Scan(&when, &proposal)
	if errors.Is(err, sql.ErrNoRows) {
		return at, "", false, nil
	}
	return time.UnixMilli(when).UTC(), proposal, err == nil, err
}

// DropEvidence takes files away for good.
func (s *Store) DropEvidence(ctx context.Context, digests [][]byte, line audit.Entry) (n int, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n = 0
		for _, d := range digests {
			gone, err := tx.Exec(`DELETE FROM evidence WHERE sm3 = $1`, d)
			if err != nil {
				return err
			}
			n += int(gone)
		}
		if n == 0 {
			return nil
		}
		return audit.Append(tx, line)
	})
	return n, err
}
