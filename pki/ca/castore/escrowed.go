package castore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ca"
)

// ours refuses signing keys that were ever given out as encryption keys: the key
// centre holds them, so a signature with them binds nobody.
func ours(tx *sqldb.Tx, jobs []ca.Job) error {
	n, err := known(tx, "escrowed_key", jobs)
	if err == nil && n > 0 {
		err = ca.KeyEscrowed.At("csr", ca.KeyEscrowed.Clause)
	}
	return err
}

// known counts how many of the requests' keys stand in a table.
func known(tx *sqldb.Tx, table string, jobs []ca.Job) (n int, err error) {
	if len(jobs) == 0 {
		return 0, nil
	}
	marks, args := make([]string, len(jobs)), make([]any, len(jobs))
	for i, j := range jobs {
		marks[i], args[i] = fmt.Sprintf("$%d", i+1), j.KeyHash
	}
	err = tx.Scan(`SELECT COUNT(*) FROM `+table+` WHERE key_sm3 IN (`+strings.Join(marks, ",")+`)`, args, &n)
	return n, err
}

const escrowedStep = 500

// escrowed notes the encryption keys of certificates from before they were
// noted, once.
func (s *Store) escrowed(ctx context.Context) error {
	var noted, held int
	if err := s.DB.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM escrowed_key), (SELECT COUNT(*) FROM certificate WHERE use = 'enc')`).Scan(&noted, &held); err != nil || noted >= held {
		return err
	}
	for after := int64(-1); ; {
		n := 0
		err := s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			n, after, err = noteEscrowed(tx, after)
			return err
		})
		if err != nil || n < escrowedStep {
			return err
		}
	}
}

// noteEscrowed takes the next certificates after a leaf.
func noteEscrowed(tx *sqldb.Tx, after int64) (n int, last int64, err error) {
	rows, err := tx.Query(`SELECT leaf, der FROM certificate WHERE use = 'enc' AND leaf > $1 ORDER BY leaf LIMIT $2`, after, escrowedStep)
	if err != nil {
		return 0, after, err
	}
	var keys [][]byte
	for rows.Next() {
		var der []byte
		if err := rows.Scan(&after, &der); err != nil {
			return 0, after, errors.Join(err, rows.Close())
		}
		c, err := cert.Parse(der)
		if err != nil {
			return 0, after, errors.Join(fmt.Errorf("encryption certificate at %d: %w", after, err), rows.Close())
		}
		keys = append(keys, alg.Digest(c.Point))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, after, err
	}
	for _, k := range keys {
		if err := noteKey(tx, k); err != nil {
			return 0, after, err
		}
	}
	return len(keys), after, nil
}

func noteKey(tx *sqldb.Tx, keySM3 []byte) error {
	_, err := tx.Exec(`INSERT INTO escrowed_key (key_sm3) VALUES ($1) ON CONFLICT (key_sm3) DO NOTHING`, keySM3)
	return err
}
