package kmstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/km"
)

var _ km.StaffListStore = (*Store)(nil)

// hold is the one reason that can be taken back.
const hold = 6

// SetStaffStatus keeps a status once for a request.
func (s *Store) SetStaffStatus(ctx context.Context, request string, st km.StaffStatus, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`INSERT INTO staff_turn (request, at) VALUES ($1, $2) ON CONFLICT (request) DO NOTHING`, request, st.At.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM staff_status WHERE serial = $1 AND reason = $2`, st.Serial, hold); err != nil {
			return err
		}
		if st.Reason != km.StaffGood {
			if _, err := tx.Exec(`INSERT INTO staff_status (serial, reason, at) VALUES ($1, $2, $3) ON CONFLICT (serial) DO NOTHING`, st.Serial, st.Reason, st.At.UnixMilli()); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`UPDATE staff_list SET due = 1`); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// StaffList returns the newest list on record.
func (s *Store) StaffList(ctx context.Context) (l km.StaffList, ok bool, err error) {
	var next, due int64
	err = s.DB.QueryRow(ctx, `SELECT number, tbs, der, next, due FROM staff_list WHERE one = 1`).Scan(&l.Number, &l.TBS, &l.DER, &next, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return l, false, nil
	}
	l.Next, l.Due = time.UnixMilli(next).UTC(), due != 0
	return l, err == nil, err
}

// IntendStaffList puts a draft on record; while one is not signed nothing
// changes.
func (s *Store) IntendStaffList(ctx context.Context, least int64, next time.Time, draft func(number int64, all []km.StaffStatus) []byte) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var last, unsigned int64
		if err := tx.Scan(`SELECT COALESCE(MAX(number), 0), COALESCE(SUM(CASE WHEN der IS NULL THEN 1 ELSE 0 END), 0) FROM staff_list`, nil, &last, &unsigned); err != nil || unsigned > 0 {
			return err
		}
		all, err := statuses(tx)
		if err != nil {
			return err
		}
		number := max(last+1, least)
		_, err = tx.Exec(`INSERT INTO staff_list (one, number, tbs, der, next, due) VALUES (1, $1, $2, NULL, $3, 0)
			ON CONFLICT (one) DO UPDATE SET number = excluded.number, tbs = excluded.tbs, der = NULL, next = excluded.next, due = 0`, number, draft(number, all), next.UnixMilli())
		return err
	})
}

func statuses(tx *sqldb.Tx) (all []km.StaffStatus, err error) {
	rows, err := tx.Query(`SELECT serial, reason, at FROM staff_status ORDER BY at, serial`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var st km.StaffStatus
		var at int64
		if err := rows.Scan(&st.Serial, &st.Reason, &at); err != nil {
			return nil, err
		}
		st.At = time.UnixMilli(at).UTC()
		all = append(all, st)
	}
	return all, rows.Err()
}

// RecordStaffList stores the signed list.
func (s *Store) RecordStaffList(ctx context.Context, number int64, der []byte, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE staff_list SET der = $1 WHERE number = $2 AND der IS NULL`, der, number)
		if err != nil || n == 0 {
			return err // signed before
		}
		if _, err := tx.Exec(`INSERT INTO staff_list_signed (one, der) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET der = excluded.der`, der); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// SignedStaffList is the newest list that was signed.
func (s *Store) SignedStaffList(ctx context.Context) (der []byte, err error) {
	err = s.DB.QueryRow(ctx, `SELECT der FROM staff_list_signed WHERE one = 1`).Scan(&der)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return der, err
}
