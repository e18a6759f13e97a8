package castore

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ca"
)

const successions = `SELECT generation, proposal, label, der FROM ca_key ORDER BY generation`

// Successions are the changes of the CA's key, oldest first.
func (s *Store) Successions(ctx context.Context) (list []ca.Succession, err error) {
	rows, err := s.DB.Query(ctx, successions)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n ca.Succession
		if err := rows.Scan(&n.Generation, &n.Order, &n.Label, &n.DER); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// Begin puts a succession on record, once for an order.
func (s *Store) Begin(ctx context.Context, order, label string, line audit.Entry) (n ca.Succession, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		rows, err := tx.Query(successions)
		if err != nil {
			return err
		}
		defer rows.Close()
		n = ca.Succession{Generation: 1, Order: order, Label: label}
		open := ""
		for rows.Next() {
			var have ca.Succession
			if err := rows.Scan(&have.Generation, &have.Order, &have.Label, &have.DER); err != nil {
				return err
			}
			if have.Order == order {
				n = have
				return nil
			}
			if n.Generation = have.Generation + 1; have.DER == nil {
				open = have.Order
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if open != "" {
			return ca.RolloverOpen.At("order", ca.RolloverOpen.Clause).Because("变更 %s", open)
		}
		if _, err := tx.Exec(`INSERT INTO ca_key (generation, proposal, label, begun_at) VALUES ($1, $2, $3, $4)`, n.Generation, order, label, line.End.UnixMilli()); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
	return n, err
}

// Succeed makes the key of an order the one that signs, once.
func (s *Store) Succeed(ctx context.Context, order string, der []byte, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE ca_key SET der = $1, active_at = $2 WHERE proposal = $3 AND der IS NULL`, der, line.End.UnixMilli(), order)
		if err != nil || n == 0 {
			return err
		}
		return audit.Append(tx, line)
	})
}

// LastEnd is when the last certificate of a key expires.
func (s *Store) LastEnd(ctx context.Context, generation int) (time.Time, error) {
	from, to := ca.Span(ca.FullOf(generation))
	var end int64
	err := s.DB.QueryRow(ctx, `SELECT COALESCE(MAX(not_after), 0) FROM certificate WHERE shard >= $1 AND shard < $2`, from, to).Scan(&end)
	if err != nil || end == 0 {
		return time.Time{}, err
	}
	return time.Unix(end, 0).UTC(), nil
}

// Forgo takes an order that does not sign yet off the record.
func (s *Store) Forgo(ctx context.Context, order string, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`DELETE FROM ca_key WHERE proposal = $1 AND der IS NULL`, order)
		if err != nil || n == 0 {
			return err
		}
		return audit.Append(tx, line)
	})
}
