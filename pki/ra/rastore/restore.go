package rastore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Pending finds the application of a key that a desk restored from a backup
// still has: its certificate may have been issued since.
func (s *Store) Pending(ctx context.Context, keyHash []byte) (id string, content []byte, err error) {
	err = s.DB.QueryRow(ctx, `SELECT c.id, c.content FROM live_key k JOIN cases c ON c.id = k.case_id WHERE k.key_sm3 = $1 AND c.kind IN ($2, $3, $4, $5)`, keyHash, ra.IssueKind.Name, ra.Issue2Kind.Name, ra.Issue3Kind.Name, ra.RecoverKind.Name).Scan(&id, &content)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, content, err
}

// Reimport puts cases on record for certificates that were published but whose
// applications are lost, so that they can be found and revoked. They have no
// events: nobody's signature is invented. Those on record stay as they are.
func (s *Store) Reimport(ctx context.Context, list []ra.Record, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, r := range list {
			values, err := row(r)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO cases (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT (id) DO NOTHING`, values...); err != nil {
				return fmt.Errorf("%s: %w", r.ID, err)
			}
			if r.State == ra.Revoked {
				continue
			}
			if _, err := tx.Exec(`INSERT INTO live_key (key_sm3, case_id) VALUES ($1, $2) ON CONFLICT (key_sm3) DO NOTHING`, r.KeyHash, r.ID); err != nil {
				return err
			}
		}
		return audit.Append(tx, line)
	})
}
