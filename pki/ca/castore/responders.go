package castore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Responders are the certificates for signing OCSP, newest first.
func (s *Store) Responders(ctx context.Context) (list []ca.Issued, err error) {
	rows, err := s.DB.Query(ctx, `SELECT serial, der, revoked FROM certificate WHERE profile = $1 ORDER BY leaf DESC`, ca.ResponderProfile)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		c := ca.Issued{Profile: ca.ResponderProfile}
		if err := rows.Scan(&c.Serial, &c.DER, &c.Revoked); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// Duties are the decisions that wait for a key, oldest first.
func (s *Store) Duties(ctx context.Context) (list []enroll.Duty, err error) {
	rows, err := s.DB.Query(ctx, `SELECT id, of_root FROM responder_duty WHERE point IS NULL ORDER BY asked_at, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d enroll.Duty
		if err := rows.Scan(&d.ID, &d.Root); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// Resolve puts a decision on record, once.
func (s *Store) Resolve(ctx context.Context, d enroll.Duty, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`INSERT INTO responder_duty (id, of_root, asked_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`, d.ID, d.Root, line.End.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Fulfil gives a decision its key.
func (s *Store) Fulfil(ctx context.Context, duty string, root bool, point []byte, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var have []byte
		err := tx.Scan(`SELECT point FROM responder_duty WHERE id = $1 AND of_root = $2`, []any{duty, root}, &have)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ca.NoResponder.At("duty", ca.NoResponder.Clause)
		case err != nil || bytes.Equal(have, point):
			return err
		case have != nil:
			return ca.NoResponder.At("csr", ca.NoResponder.Clause).Because("变更 %s 已有另一把密钥", duty)
		}
		if _, err := tx.Exec(`UPDATE responder_duty SET point = $1, done_at = $2 WHERE id = $3`, point, line.End.UnixMilli(), duty); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}
