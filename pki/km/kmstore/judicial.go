package kmstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/km"
)

var _ km.JudicialStore = (*Store)(nil)

// KeepShare keeps a custodian's share for a proposal.
func (s *Store) KeepShare(tx *sqldb.Tx, proposal, custodian string, sealed []byte) error {
	_, err := tx.Exec(`INSERT INTO release_share (proposal, custodian, sealed) VALUES ($1, $2, $3)`, proposal, custodian, sealed)
	return err
}

// Shares returns the shares given for a proposal.
func (s *Store) Shares(ctx context.Context, proposal string) ([][]byte, error) {
	rows, err := s.DB.Query(ctx, `SELECT sealed FROM release_share WHERE proposal = $1 ORDER BY custodian`, proposal)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list [][]byte
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, rows.Err()
}

// DropShares writes that a proposal was carried out. The shares themselves go
// once the result is on record: see Sweep.
func (s *Store) DropShares(ctx context.Context, proposal string, line audit.Entry) error {
	return s.Note(ctx, line)
}

// SweepShares forgets the shares of proposals that have ended.
func (s *Store) SweepShares(ctx context.Context) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`DELETE FROM release_share WHERE proposal IN (SELECT id FROM proposal WHERE state IN ('done', 'failed', 'rejected', 'withdrawn'))`)
		return err
	})
}

// Custody returns how the release of keys is shared out; ok is false before
// that was done.
func (s *Store) Custody(ctx context.Context) (c km.Custody, ok bool, err error) {
	var body []byte
	err = s.DB.QueryRow(ctx, `SELECT body FROM custody WHERE id = 1`).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	return c, true, json.Unmarshal(body, &c)
}

// SetCustody puts it on record, once.
func (s *Store) SetCustody(ctx context.Context, c km.Custody, line audit.Entry) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`INSERT INTO custody (id, body) VALUES (1, $1)`, body); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}
