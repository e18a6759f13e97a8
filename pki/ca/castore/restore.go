package castore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Count tells how many certificates are on record and the highest number a
// revocation list has had.
func (s *Store) Count(ctx context.Context) (certificates, list int64, err error) {
	err = s.DB.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM certificate), (SELECT COALESCE(MAX(crl_number), 0) FROM crl)`).Scan(&certificates, &list)
	return certificates, list, err
}

// Restored prepares a database that was restored from before floor was reached:
// no list gets a number up to floor again (numbers do not run backwards, RFC
// 5280 §5.2.3), drafts that may have been signed since are dropped, and every
// list is due. A floor is never lowered.
func (s *Store) Restored(ctx context.Context, floor int64, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`INSERT INTO crl_floor (one, number) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET number = $2 WHERE crl_floor.number < $3`, floor, floor, floor); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM crl WHERE der IS NULL AND number NOT IN (SELECT number FROM crl_sealed) AND scope <> 'arl'`); err != nil { // that one is the root's
			return err
		}
		var keys int
		if err := tx.Scan(`SELECT COUNT(*) FROM ca_key`, nil, &keys); err != nil {
			return err
		}
		shards, err := shardsOf(tx)
		if err != nil {
			return err
		}
		lists := ca.Everywhere(keys, shards)
		rows, err := tx.Query(wards)
		if err != nil {
			return err
		}
		taken, err := wardsOf(rows)
		if err != nil {
			return err
		}
		for _, w := range taken {
			if w.Label != "" {
				lists = append(lists, ca.Behind(w.Generation()*ca.Stride)...)
			}
		}
		for _, shard := range lists {
			if _, err := tx.Exec(`INSERT INTO dirty (shard, since) VALUES ($1, $2) ON CONFLICT (shard) DO NOTHING`, shard, line.End.UnixMilli()); err != nil {
				return err
			}
		}
		return audit.Append(tx, line)
	})
}

// shardsOf is how many shards the settings on record have.
func shardsOf(tx *sqldb.Tx) (int, error) {
	var body []byte
	err := tx.Scan(`SELECT body FROM rule_version WHERE kind = $1 ORDER BY version DESC LIMIT 1`, []any{ca.SettingsRule}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return ca.Shards, nil
	}
	var s ca.Settings
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s.Shards, err
}

// Missing is one published entry that the database has lost, with what lay
// beside it.
type Missing struct {
	Index int64
	Leaf  []byte
	Entry record.Entry
	Body  []byte // DER certificate or list; nil for other kinds
}

// Origin is the request a certificate came from, as far as anybody still knows.
type Origin struct {
	ID      string
	Content []byte
}

// Reimport takes published entries into a database restored from before them,
// in one transaction: the ledger goes on where the world last saw it.
//
// What the ledger says is taken: certificates, changes of status, lists. What it
// does not say stays lost: the application behind a certificate, who approved
// it. from names the request of a certificate when somebody knows it; a request
// on record is closed with what was published, so the key signs nothing twice.
// retire writes the message that retires keys whose certificates were revoked.
func (s *Store) Reimport(ctx context.Context, list []Missing, from func(*cert.Certificate) Origin, retire func(serials [][]byte) (*ca.Ask, error), line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		leaves := make([][]byte, len(list))
		for i, m := range list {
			leaves[i] = m.Leaf
		}
		first, err := ledger.Append(tx, Log, leaves...)
		if err != nil {
			return err
		}
		if len(list) > 0 && first != list[0].Index {
			return fmt.Errorf("entries from %d do not follow the %d on record", list[0].Index, first)
		}
		for _, m := range list {
			if err := take(tx, m, from); err != nil {
				return fmt.Errorf("entry %d: %w", m.Index, err)
			}
		}
		if err := tell(tx, list, retire); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// tell has the key centre told again which keys were retired.
func tell(tx *sqldb.Tx, list []Missing, retire func([][]byte) (*ca.Ask, error)) error {
	var keys [][]byte
	for _, m := range list {
		if m.Entry.Kind != record.KindStatus {
			continue
		}
		r, err := record.ParseStatus(m.Entry.Body)
		if err != nil {
			return err
		}
		var use string
		if err := tx.Scan(`SELECT use FROM certificate WHERE serial = $1`, []any{bytes.TrimLeft(r.Serial, "\x00")}, &use); err != nil {
			return err
		}
		if r.Revoked && r.Reason != hold && use == "enc" {
			keys = append(keys, r.Serial)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	ask, err := retire(keys)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO ask (task, message, retire, done) VALUES ($1, $2, $3, $4)`, ask.Task, ask.Message, true, false)
	return err
}

func take(tx *sqldb.Tx, m Missing, from func(*cert.Certificate) Origin) error {
	switch m.Entry.Kind {
	case record.KindAuthority:
		_, err := tx.Exec(`INSERT INTO authority (leaf, der) VALUES ($1, $2)`, m.Index, m.Entry.Body)
		return err
	case record.KindCertificate:
		return takeCertificate(tx, m, from)
	case record.KindStatus:
		return takeStatus(tx, m)
	case record.KindCRL:
		return takeList(tx, m)
	case record.KindRelease:
		return takeRelease(tx, m)
	}
	return nil // a digest: there is nothing more to know
}

func takeCertificate(tx *sqldb.Tx, m Missing, from func(*cert.Certificate) Origin) error {
	r, err := record.ParseCertificate(m.Entry.Body)
	if err != nil {
		return err
	}
	c, err := cert.Parse(m.Body)
	if err != nil {
		return err
	}
	job, err := jobOf(tx, r, c, m.Entry.At, from)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO certificate (leaf, serial, pair, job, profile, use, shard, der, revoked, reason, revoked_at, invalid_at, not_before, not_after, due) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, $10, $11, $12)`,
		m.Index, r.Serial, nilIfEmpty(r.Pair), job, r.Profile, r.Use, r.Shard, m.Body, false, r.NotBefore.Unix(), r.NotAfter.Unix(), unix(r.Due))
	if err != nil || r.Use != "enc" {
		return err
	}
	return noteKey(tx, alg.Digest(c.Point))
}

// jobOf finds the request a certificate belongs to and closes it, or puts one
// on record, so that its serials and its key stay used.
func jobOf(tx *sqldb.Tx, r record.Certificate, c *cert.Certificate, at time.Time, from func(*cert.Certificate) Origin) (string, error) {
	var id string
	column, tbs := "sign_sn", "sign_tbs"
	if r.Use == "enc" {
		column, tbs = "enc_sn", "enc_tbs"
	}
	err := tx.Scan(`SELECT id FROM job WHERE `+column+` = $1`, []any{r.Serial}, &id)
	if err == nil {
		_, err = tx.Exec(`UPDATE job SET state = $1, recorded_at = $2, `+tbs+` = $3 WHERE id = $4`, int(ca.Recorded), at.UnixMilli(), c.RawTBS, id)
		return id, err
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	if r.Use == "enc" {
		return "", fmt.Errorf("no signing certificate before %s", cert.SerialHex(r.Serial))
	}
	o := from(c)
	if o.ID == "" {
		o.ID = "restored-" + cert.SerialHex(r.Serial)
	}
	if o.Content == nil {
		if o.Content, err = json.Marshal(map[string]string{"id": o.ID, "profile": r.Profile}); err != nil {
			return "", err
		}
	}
	key := alg.Digest(c.Point)
	_, err = tx.Exec(`INSERT INTO job (id, state, content, key_sm3, sign_sn, enc_sn, not_before, not_after, task, sign_tbs, opened_at, intended_at, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12)`,
		o.ID, int(ca.Recorded), o.Content, key, r.Serial, nilIfEmpty(r.Pair), r.NotBefore.UnixMilli(), r.NotAfter.UnixMilli(), c.RawTBS, at.UnixMilli(), at.UnixMilli(), at.UnixMilli())
	if err != nil {
		return "", err
	}
	// A key may be claimed by a request of the backup that was since abandoned:
	// the certificate that exists has it.
	_, err = tx.Exec(`INSERT INTO live_key (key_sm3, job) VALUES ($1, $2) ON CONFLICT (key_sm3) DO UPDATE SET job = $3`, key, o.ID, o.ID)
	return o.ID, err
}

// takeStatus changes the status as the CA did, so the next lists have it.
func takeStatus(tx *sqldb.Tx, m Missing) error {
	r, err := record.ParseStatus(m.Entry.Body)
	if err != nil {
		return err
	}
	c := ca.Issued{Serial: bytes.TrimLeft(r.Serial, "\x00"), Revoked: r.Revoked, Reason: r.Reason, RevokedAt: r.At, Invalid: r.Invalid}
	if err := tx.Scan(`SELECT shard, job, der FROM certificate WHERE serial = $1`, []any{c.Serial}, &c.Shard, &c.Request, &c.DER); err != nil {
		return fmt.Errorf("certificate %s: %w", cert.SerialHex(r.Serial), err)
	}
	k, err := cert.Parse(c.DER)
	if err != nil {
		return err
	}
	c.NotAfter = k.NotAfter
	return change(tx, fmt.Sprintf("restored-%d", m.Index), c, m.Entry.At)
}

// takeList keeps a published list. A number that was only intended when the
// backup was made is the published one's.
func takeList(tx *sqldb.Tx, m Missing) error {
	r, err := record.ParseCRL(m.Entry.Body)
	if err != nil {
		return err
	}
	l, err := crl.Parse(m.Body)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM crl WHERE crl_number = $1 AND scope = $2 AND der IS NULL AND number NOT IN (SELECT number FROM crl_sealed)`, r.Number, r.Scope); err != nil {
		return err
	}
	base := int64(0)
	if l.Base != nil {
		base = l.Base.Int64()
	}
	var row int64
	if err := tx.Scan(`SELECT COALESCE(MAX(number), 0) + 1 FROM crl`, nil, &row); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO crl (number, crl_number, scope, base, this_update, next_update, tbs, der, leaf) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		row, r.Number, r.Scope, base, r.ThisUpdate.Unix(), r.NextUpdate.Unix(), l.RawTBS, m.Body, m.Index)
	return err
}
