package castore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
)

var _ ca.WardStore = (*Store)(nil)

const wards = `SELECT number, proposal, manifest, label, der, done FROM ward ORDER BY number`

// Wards are the CAs taken over, oldest first.
func (s *Store) Wards(ctx context.Context) (list []ca.Ward, err error) {
	rows, err := s.DB.Query(ctx, wards)
	if err != nil {
		return nil, err
	}
	return wardsOf(rows)
}

func wardsOf(rows *sql.Rows) (list []ca.Ward, err error) {
	defer rows.Close()
	for rows.Next() {
		var w ca.Ward
		if err := rows.Scan(&w.Number, &w.Order, &w.Manifest, &w.Label, &w.DER, &w.Done); err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, rows.Err()
}

// KeepPiece keeps a part of a package, once.
func (s *Store) KeepPiece(ctx context.Context, manifest string, no int, body []byte, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`INSERT INTO handover_piece (manifest, no, body, kept_at) VALUES ($1, $2, $3, $4) ON CONFLICT (manifest, no) DO NOTHING`, manifest, no, body, line.End.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Pieces tells which parts of a package are at hand.
func (s *Store) Pieces(ctx context.Context, manifest string) (list []int, err error) {
	rows, err := s.DB.Query(ctx, `SELECT no FROM handover_piece WHERE manifest = $1 ORDER BY no`, manifest)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// Piece returns a part; nil if it is not at hand.
func (s *Store) Piece(ctx context.Context, manifest string, no int) (body []byte, err error) {
	err = s.DB.QueryRow(ctx, `SELECT body FROM handover_piece WHERE manifest = $1 AND no = $2`, manifest, no).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return body, err
}

// Adopt puts a ward on record with what the ledger says of it.
func (s *Store) Adopt(ctx context.Context, w ca.Ward, authorities []ca.Publication, floor int64, last *ca.List, entry ca.Publication, line audit.Entry) (ca.Ward, error) {
	have := w
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		have = w
		rows, err := tx.Query(wards)
		if err != nil {
			return err
		}
		all, err := wardsOf(rows)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.Order == w.Order {
				have = o
				return nil
			}
		}
		if w.Number != len(all) {
			return fmt.Errorf("ward %d comes after %d others", w.Number, len(all))
		}
		if _, err := tx.Exec(`INSERT INTO ward (number, proposal, manifest, label, der, done, begun_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`, w.Number, w.Order, w.Manifest, w.Label, w.DER, false, line.End.UnixMilli()); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO crl_floor (one, number) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET number = $2 WHERE crl_floor.number < $3`, floor, floor, floor); err != nil {
			return err
		}
		if err := authoritiesOf(tx, authorities); err != nil {
			return err
		}
		if last != nil {
			if err := lastList(tx, *last, entry); err != nil {
				return err
			}
		}
		return audit.Append(tx, line)
	})
	return have, err
}

// authoritiesOf has the ledger name CA certificates, each once.
func authoritiesOf(tx *sqldb.Tx, list []ca.Publication) error {
	for _, p := range list {
		var n int
		if err := tx.Scan(`SELECT COUNT(*) FROM authority WHERE der = $1`, []any{p.Body}, &n); err != nil || n > 0 {
			return err
		}
		at, err := ledger.Append(tx, Log, p.Leaf)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO authority (leaf, der) VALUES ($1, $2)`, at, p.Body); err != nil {
			return err
		}
	}
	return nil
}

// lastList keeps a list that another signed, whole.
func lastList(tx *sqldb.Tx, l ca.List, entry ca.Publication) error {
	leaf, err := ledger.Append(tx, Log, entry.Leaf)
	if err != nil {
		return err
	}
	var row int64
	if err := tx.Scan(`SELECT COALESCE(MAX(number), 0) + 1 FROM crl`, nil, &row); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO crl (number, crl_number, scope, base, this_update, next_update, tbs, der, leaf) VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8)`,
		row, l.Number, l.Scope, l.ThisUpdate.Unix(), l.NextUpdate.Unix(), l.TBS, entry.Body, leaf)
	return err
}

// Take puts the certificates of a part on record, once.
func (s *Store) Take(ctx context.Context, order string, no int, list []ca.Taken, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`INSERT INTO ward_piece (proposal, no, taken_at) VALUES ($1, $2, $3) ON CONFLICT (proposal, no) DO NOTHING`, order, no, line.End.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		for _, t := range list {
			if err := takeOne(tx, t, line); err != nil {
				return err
			}
		}
		return audit.Append(tx, line)
	})
}

func takeOne(tx *sqldb.Tx, t ca.Taken, line audit.Entry) error {
	if t.Use != "enc" || len(t.Pair) == 0 { // else the other half has both serials
		if err := unused(tx, t.Serial, t.Pair); err != nil {
			return err
		}
	}
	leaf, err := ledger.Append(tx, Log, t.Entry.Leaf)
	if err != nil {
		return err
	}
	request := t.Request
	if t.Use == "enc" && len(t.Pair) > 0 {
		request = "taken-" + cert.SerialHex(t.Pair)
	} else if err := takeJob(tx, t, line); err != nil {
		return err
	}
	if t.Use == "enc" { // what was escrowed signs for nobody
		c, err := cert.Parse(t.DER)
		if err == nil {
			err = noteKey(tx, alg.Digest(c.Point))
		}
		if err != nil {
			return err
		}
	}
	_, err = tx.Exec(`INSERT INTO certificate (leaf, serial, pair, job, profile, use, shard, der, revoked, reason, revoked_at, invalid_at, not_before, not_after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, $10, $11)`,
		leaf, t.Serial, nilIfEmpty(t.Pair), request, t.Profile, t.Use, t.Shard, t.DER, false, t.NotBefore.Unix(), t.NotAfter.Unix())
	if err != nil || t.Status == nil {
		return err
	}
	if _, err := ledger.Append(tx, Log, t.Status.Leaf); err != nil {
		return err
	}
	c := t.Issued
	c.Request = request
	return change(tx, "takeover-"+cert.SerialHex(t.Serial), c, line.End)
}

// unused refuses serials that are on record.
func unused(tx *sqldb.Tx, serials ...[]byte) error {
	for _, sn := range serials {
		if len(sn) == 0 {
			continue
		}
		var n int
		if err := tx.Scan(`SELECT COUNT(*) FROM job WHERE sign_sn = $1 OR enc_sn = $2`, []any{sn, sn}, &n); err != nil {
			return err
		}
		if n > 0 {
			return ca.TakenSerial.At("serial", ca.TakenSerial.Clause).Because("%s", cert.SerialHex(sn))
		}
	}
	return nil
}

// takeJob keeps the request a certificate stands for, so that its serials and
// its key stay used.
func takeJob(tx *sqldb.Tx, t ca.Taken, line audit.Entry) error {
	c, err := cert.Parse(t.DER)
	if err != nil {
		return err
	}
	content, err := json.Marshal(map[string]string{"id": t.Request, "profile": t.Profile})
	if err != nil {
		return err
	}
	var pair []byte
	if t.Use == "sign" {
		pair = t.Pair
	}
	key, at := alg.Digest(c.Point), line.End.UnixMilli()
	if _, err := tx.Exec(`INSERT INTO job (id, state, content, key_sm3, sign_sn, enc_sn, not_before, not_after, task, sign_tbs, opened_at, intended_at, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12)`,
		t.Request, int(ca.Recorded), content, key, t.Serial, nilIfEmpty(pair), t.NotBefore.UnixMilli(), t.NotAfter.UnixMilli(), c.RawTBS, at, at, at); err != nil {
		return err
	}
	if t.Use != "sign" || t.NotAfter.Before(line.End) {
		return nil // an encryption key signs no request, and one that ended is free
	}
	if _, err := tx.Exec(`INSERT INTO live_key (key_sm3, job) VALUES ($1, $2) ON CONFLICT (key_sm3) DO NOTHING`, key, t.Request); err != nil {
		return err
	}
	var holder string
	if err := tx.Scan(`SELECT job FROM live_key WHERE key_sm3 = $1`, []any{key}, &holder); err != nil {
		return err
	}
	if !strings.HasPrefix(holder, "taken-") {
		return ca.KeyInUse.At("certificate", ca.KeyInUse.Clause).Because("%s", cert.SerialHex(t.Serial))
	}
	return nil
}

// Finish closes a ward's package and drops its parts.
func (s *Store) Finish(ctx context.Context, order string, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE ward SET done = $1 WHERE proposal = $2 AND done = $3`, true, order, false)
		if err != nil || n == 0 {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM handover_piece WHERE no > 0 AND manifest IN (SELECT manifest FROM ward WHERE proposal = $1)`, order); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Known tells which serials are on record.
func (s *Store) Known(ctx context.Context, serials [][]byte) (list [][]byte, err error) {
	for _, sn := range serials {
		var n int
		if err := s.DB.QueryRow(ctx, `SELECT COUNT(*) FROM job WHERE sign_sn = $1 OR enc_sn = $2`, sn, sn).Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			list = append(list, sn)
		}
	}
	return list, nil
}
