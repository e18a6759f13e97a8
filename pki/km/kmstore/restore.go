package kmstore

import (
	"context"
	"fmt"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
)

// Restored empties the standby store of a database restored from a backup: a
// pair that lies there may have been given to somebody since, and nobody else
// may ever get it. The pool is filled anew.
func (s *Store) Restored(ctx context.Context, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`DELETE FROM standby`)
		if err != nil {
			return err
		}
		if err := count(tx, -int(n), 0, 0); err != nil {
			return err
		}
		line.Detail = fmt.Sprintf("作废备用密钥 %d 对。%s", n, line.Detail)
		return audit.Append(tx, line)
	})
}

// Holds reports whether the pair of an encryption certificate is kept, in use
// or in the history.
func (s *Store) Holds(ctx context.Context, serial []byte) (bool, error) {
	var n int
	err := s.DB.QueryRow(ctx, `SELECT COUNT(*) FROM held WHERE serial = $1`, serial).Scan(&n)
	return n > 0, err
}
