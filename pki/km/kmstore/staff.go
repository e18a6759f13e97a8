package kmstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/km"
)

var _ km.StaffStore = (*Store)(nil)

// StaffCert returns what is on record of a request.
func (s *Store) StaffCert(ctx context.Context, request string) (tbs, der []byte, err error) {
	err = s.DB.QueryRow(ctx, `SELECT tbs, der FROM staff_cert WHERE request = $1`, request).Scan(&tbs, &der)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return tbs, der, err
}

// IntendStaff puts a draft on record; the same draft again changes nothing.
func (s *Store) IntendStaff(ctx context.Context, request string, serial, tbs []byte, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`INSERT INTO staff_cert (request, serial, tbs, at) VALUES ($1, $2, $3, $4) ON CONFLICT (request) DO NOTHING`, request, serial, tbs, at.UnixMilli())
		if err != nil || n == 1 {
			return err
		}
		var have []byte
		if err := tx.Scan(`SELECT tbs FROM staff_cert WHERE request = $1`, []any{request}, &have); err != nil {
			return err
		}
		if !bytes.Equal(have, tbs) {
			return errors.New("another draft is on record for this request")
		}
		return nil
	})
}

// RecordStaff stores what was signed with its audit line.
func (s *Store) RecordStaff(ctx context.Context, request string, der []byte, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE staff_cert SET der = $1 WHERE request = $2 AND der IS NULL`, der, request)
		if err != nil {
			return err
		}
		if n != 1 {
			return errors.New("no such intent, or already signed")
		}
		return audit.Append(tx, line)
	})
}
