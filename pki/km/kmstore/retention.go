package kmstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/km"
)

var _ km.RetentionStore = (*Store)(nil)

// Due returns records of the history retired before a time.
func (s *Store) Due(ctx context.Context, before time.Time, pair int64, limit int) ([]km.Record, error) {
	rows, err := s.DB.Query(ctx, `SELECT `+columns+` FROM held WHERE state = 3 AND retired_at < $1 AND pair > $2 ORDER BY pair LIMIT $3`, before.UnixMilli(), pair, limit)
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

// Destroy overwrites the private keys and takes the records away; who and what
// they were stays, without the key.
func (s *Store) Destroy(ctx context.Context, proposal string, before, at time.Time, limit int, line audit.Entry) (n int, err error) {
	const which = `(SELECT pair FROM held WHERE state = 3 AND retired_at < $1 ORDER BY pair LIMIT $2)`
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n = 0
		moved, err := tx.Exec(`INSERT INTO destroyed (pair, ca, serial, point, retired_at, proposal, at)
			SELECT pair, ca, serial, point, retired_at, $3, CAST($4 AS BIGINT) FROM held WHERE pair IN `+which, before.UnixMilli(), limit, proposal, at.UnixMilli())
		if err != nil || moved == 0 {
			return err
		}
		var blob []byte
		if err := tx.Scan(`SELECT blob FROM held WHERE pair IN `+which+` ORDER BY pair LIMIT 1`, []any{before.UnixMilli(), limit}, &blob); err != nil {
			return err
		}
		// the bytes are overwritten where they lie before the row goes
		if _, err := tx.Exec(`UPDATE held SET blob = $3 WHERE pair IN `+which, before.UnixMilli(), limit, make([]byte, len(blob))); err != nil {
			return err
		}
		gone, err := tx.Exec(`DELETE FROM held WHERE pair IN `+which, before.UnixMilli(), limit)
		if err != nil {
			return err
		}
		if gone != moved {
			return fmt.Errorf("%d keys taken away where %d were meant", gone, moved)
		}
		if err := count(tx, 0, 0, -int(gone)); err != nil {
			return err
		}
		n = int(gone)
		done := line // this may run again
		done.Detail = fmt.Sprintf("销毁归档密钥 %d 个", n)
		return audit.Append(tx, done)
	})
	return n, err
}

// Destroyed returns what was destroyed under a proposal.
func (s *Store) Destroyed(ctx context.Context, proposal string, pair int64, limit int) (list []km.Record, err error) {
	rows, err := s.DB.Query(ctx, `SELECT pair, ca, serial, point, retired_at FROM destroyed WHERE proposal = $1 AND pair > $2 ORDER BY pair LIMIT $3`, proposal, pair, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r := km.Record{State: km.History}
		var retired int64
		if err := rows.Scan(&r.ID, &r.CA, &r.Serial, &r.Pair.Point, &retired); err != nil {
			return nil, err
		}
		r.RetiredAt = time.UnixMilli(retired).UTC()
		list = append(list, r)
	}
	return list, rows.Err()
}

// WasDestroyed reports when and why a certificate's key was destroyed.
func (s *Store) WasDestroyed(ctx context.Context, ca string, serial []byte) (at time.Time, proposal string, ok bool, err error) {
	var when int64
	err = s.DB.QueryRow(ctx, `SELECT at, proposal FROM destroyed WHERE ca = $1 AND serial = $2`, ca, serial).Scan(&when, &proposal)
	if errors.Is(err, sql.ErrNoRows) {
		return at, "", false, nil
	}
	return time.UnixMilli(when).UTC(), proposal, err == nil, err
}
