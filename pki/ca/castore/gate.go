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

var _ ca.Gates = (*Store)(nil)

const gateColumns = `policy, qualification, valid_from, valid_to, cps, suspended, note`

func scanGate(row interface{ Scan(...any) error }) (g ca.Gate, err error) {
	var from, to int64
	err = row.Scan(&g.Policy, &g.Qualification, &from, &to, &g.CPS, &g.Suspended, &g.Note)
	g.From, g.To = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC()
	return g, err
}

// Gate returns the gate of a policy.
func (s *Store) Gate(ctx context.Context, policy string) (ca.Gate, bool, error) {
	g, err := scanGate(s.DB.QueryRow(ctx, `SELECT `+gateColumns+` FROM gate WHERE policy = $1`, policy))
	if errors.Is(err, sql.ErrNoRows) {
		return g, false, nil
	}
	return g, err == nil, err
}

// AllGates lists the gates by policy.
func (s *Store) AllGates(ctx context.Context) ([]ca.Gate, error) {
	rows, err := s.DB.Query(ctx, `SELECT `+gateColumns+` FROM gate ORDER BY policy`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ca.Gate
	for rows.Next() {
		g, err := scanGate(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, rows.Err()
}

// SetGate puts a gate on record with its audit line.
func (s *Store) SetGate(ctx context.Context, g ca.Gate, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO gate (`+gateColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (policy) DO UPDATE SET qualification = excluded.qualification, valid_from = excluded.valid_from, valid_to = excluded.valid_to, cps = excluded.cps, suspended = excluded.suspended, note = excluded.note`,
			g.Policy, g.Qualification, g.From.UnixMilli(), g.To.UnixMilli(), g.CPS, g.Suspended, g.Note)
		if err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}
