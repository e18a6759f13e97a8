package castore

import (
	"bytes"
	"context"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Release has certificates that are not due come into the directory.
func (s *Store) Release(ctx context.Context, serials [][]byte, entries []ca.Publication, line audit.Entry, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, serial := range serials {
			n, err := tx.Exec(`UPDATE certificate SET due = $1 WHERE serial = $2 AND due > $3`, at.Unix(), bytes.TrimLeft(serial, "\x00"), at.Unix())
			if err != nil {
				return err
			}
			if n != 1 {
				return ca.NotWaiting.At("serial", ca.NotWaiting.Clause)
			}
		}
		_, err := s.trail(tx, entries, []audit.Entry{line})
		return err
	})
}

// takeRelease takes a published release into a restored database.
func takeRelease(tx *sqldb.Tx, m Missing) error {
	r, err := record.ParseRelease(m.Entry.Body)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE certificate SET due = $1 WHERE serial = $2`, r.At.Unix(), bytes.TrimLeft(r.Serial, "\x00"))
	return err
}
