package castore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Rules are the versions of profiles and settings, oldest first.
func (s *Store) Rules(ctx context.Context) (list []ca.Rule, err error) {
	rows, err := s.DB.Query(ctx, `SELECT kind, version, body, proposal, at FROM rule_version ORDER BY at, kind, version`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r ca.Rule
		var at int64
		if err := rows.Scan(&r.Kind, &r.Version, &r.Body, &r.Order, &at); err != nil {
			return nil, err
		}
		r.At = time.UnixMilli(at).UTC()
		list = append(list, r)
	}
	return list, rows.Err()
}

// AddRule puts one on record, once for an order.
func (s *Store) AddRule(ctx context.Context, r ca.Rule, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var order string
		err := tx.Scan(`SELECT proposal FROM rule_version WHERE proposal = $1 OR kind = $2 AND version = $3`, []any{r.Order, r.Kind, r.Version}, &order)
		switch {
		case err == nil && order == r.Order:
			return nil
		case err == nil:
			return ca.RuleStale.At("version", ca.RuleStale.Clause).Because("%s 已有第 %d 版", r.Kind, r.Version)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if _, err := tx.Exec(`INSERT INTO rule_version (kind, version, body, proposal, at) VALUES ($1, $2, $3, $4, $5)`, r.Kind, r.Version, r.Body, r.Order, r.At.UnixMilli()); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}
