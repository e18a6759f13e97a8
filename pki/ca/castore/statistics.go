package castore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
)

var _ ca.StatisticStore = (*Store)(nil)

// Statistics counts certificates by profile and month: days in the database,
// months here.
func (s *Store) Statistics(ctx context.Context, from, to, now time.Time) ([]ca.Statistic, error) {
	rows, err := s.DB.Query(ctx, `SELECT profile, (not_before + 28800) / 86400, COUNT(*),
		SUM(CASE WHEN revoked = $1 AND not_after < $2 THEN 1 ELSE 0 END), SUM(CASE WHEN revoked <> $1 THEN 1 ELSE 0 END),
		SUM(CASE WHEN revoked <> $1 AND reason = $3 THEN 1 ELSE 0 END), SUM(CASE WHEN revoked = $1 AND not_after >= $2 THEN 1 ELSE 0 END)
		FROM certificate WHERE not_before >= $4 AND not_before < $5 GROUP BY profile, (not_before + 28800) / 86400`, false, now.Unix(), hold, max(0, from.Unix()), to.Unix())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	months := map[[2]string]ca.Statistic{}
	for rows.Next() {
		var d ca.Statistic
		var day int64
		if err := rows.Scan(&d.Profile, &day, &d.Issued, &d.Expired, &d.Revoked, &d.Held, &d.Valid); err != nil {
			return nil, err
		}
		key := [2]string{d.Profile, time.Unix(day*86400, 0).UTC().Format("2006-01")}
		m := months[key]
		months[key] = ca.Statistic{
			Profile: key[0], Month: key[1], Issued: m.Issued + d.Issued, Expired: m.Expired + d.Expired,
			Revoked: m.Revoked + d.Revoked, Held: m.Held + d.Held, Valid: m.Valid + d.Valid,
		}
	}
	list := make([]ca.Statistic, 0, len(months))
	for _, m := range months {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b ca.Statistic) int {
		return cmp.Or(cmp.Compare(a.Month, b.Month), cmp.Compare(a.Profile, b.Profile))
	})
	return list, rows.Err()
}

// Totals are read in one query, so at one moment.
func (s *Store) Totals(ctx context.Context) (t ca.Totals, err error) {
	err = s.DB.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM certificate), (SELECT COUNT(*) FROM certificate WHERE revoked = $1), (SELECT COUNT(*) FROM revoked),
		(SELECT COUNT(*) FROM status_change), (SELECT COALESCE(MAX(size), 0) FROM ledger_head WHERE log = $2)`, true, Log).
		Scan(&t.Certificates, &t.Revoked, &t.Entries, &t.Changes, &t.Leaves)
	return t, err
}

// Entries reads entries of the public ledger.
func (s *Store) Entries(ctx context.Context, from, to int64) ([][]byte, error) {
	return ledger.Leaves(ctx, s.DB, Log, from, to)
}

// dateBatch is how many certificates get their dates in one transaction.
const dateBatch = 1000

// dates reads the validity off certificates that were stored before it had
// columns of its own.
func (s *Store) dates(ctx context.Context) error {
	for after := int64(-1); ; {
		rows, err := s.DB.Query(ctx, `SELECT leaf, der FROM certificate WHERE not_after = 0 AND leaf > $1 ORDER BY leaf LIMIT $2`, after, dateBatch)
		if err != nil {
			return err
		}
		found := map[int64]*cert.Certificate{}
		n := 0
		for ; rows.Next(); n++ {
			var der []byte
			if err := rows.Scan(&after, &der); err != nil {
				_ = rows.Close() // the scan's error counts
				return err
			}
			if c, err := cert.Parse(der); err == nil {
				found[after] = c
			}
		}
		if err := cmp.Or(rows.Err(), rows.Close()); err != nil || n == 0 {
			return err
		}
		err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for leaf, c := range found {
				if _, err := tx.Exec(`UPDATE certificate SET not_before = $1, not_after = $2 WHERE leaf = $3`, c.NotBefore.Unix(), c.NotAfter.Unix(), leaf); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}
