// Package castore keeps the CA's records in a database. (证书库)
package castore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
)

//go:embed schema/*.sql
var schema embed.FS

// Log is the public ledger's name within the database.
const Log = "public"

// Store is the CA's store on SQLite or PostgreSQL.
type Store struct {
	DB  *sqldb.DB
	Now func() time.Time
	// NoTrail leaves out ledger and audit. Only the benchmark that measures their
	// cost sets it, in its own process and database.
	NoTrail bool

	kept kept
}

var _ ca.Store = (*Store)(nil)

// Open prepares a database and returns the store.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(audit.Migrate(ctx, db), access.Migrate(ctx, db)); err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "ca", files); err != nil {
		return nil, err
	}
	s := &Store{DB: db}
	return s, errors.Join(s.dates(ctx), s.escrowed(ctx))
}

const jobColumns = `id, state, content, key_sm3, sign_sn, enc_sn, not_before, not_after, task, follows, keeps_key, body, escrow, sign_tbs, enc_tbs, sealed`

// Jobs returns the requests that are on record.
func (s *Store) Jobs(ctx context.Context, ids []string) (map[string]ca.Job, error) {
	jobs := map[string]ca.Job{}
	if len(ids) == 0 {
		return jobs, nil
	}
	marks, args := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		marks[i], args[i] = fmt.Sprintf("$%d", i+1), id
	}
	rows, err := s.DB.Query(ctx, `SELECT `+jobColumns+` FROM job WHERE id IN (`+strings.Join(marks, ",")+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var j ca.Job
		var from, to int64
		if err := rows.Scan(&j.ID, &j.State, &j.Content, &j.KeyHash, &j.Serials.Sign, &j.Serials.Enc, &from, &to, &j.Task, &j.Follows, &j.KeepsKey, &j.Body, &j.Escrow, &j.TBS.Sign, &j.TBS.Enc, &j.Sealed); err != nil {
			return nil, err
		}
		j.From, j.To, j.Digest = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC(), alg.Digest(j.Content)
		j.Shards[0] = ca.ShardOf(j.Serials.Sign)
		if j.Serials.Enc != nil {
			j.Shards[1] = ca.ShardOf(j.Serials.Enc)
		}
		jobs[j.ID] = j
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for id, j := range jobs {
		if j.State != ca.Recorded {
			continue
		}
		if j.DER, err = s.signed(ctx, id); err != nil {
			return nil, err
		}
		jobs[id] = j
	}
	return jobs, nil
}

func (s *Store) signed(ctx context.Context, id string) (p ca.Pair, err error) {
	rows, err := s.DB.Query(ctx, `SELECT use, der FROM certificate WHERE job = $1`, id)
	if err != nil {
		return p, err
	}
	defer rows.Close()
	for rows.Next() {
		var use string
		var der []byte
		if err := rows.Scan(&use, &der); err != nil {
			return p, err
		}
		if use == "enc" {
			p.Enc = der
		} else {
			p.Sign = der
		}
	}
	return p, rows.Err()
}

// Open puts new requests on record.
func (s *Store) Open(ctx context.Context, jobs []ca.Job, ask *ca.Ask, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := ours(tx, jobs); err != nil {
			return err
		}
		if err := claim(tx, jobs); err != nil {
			return err
		}
		rows := make([][]any, len(jobs))
		for i, j := range jobs {
			var intended any
			if j.State == ca.Intended {
				intended = at.UnixMilli()
			}
			rows[i] = []any{j.ID, int(j.State), j.Content, j.KeyHash, j.Serials.Sign, j.Serials.Enc, j.From.UnixMilli(), j.To.UnixMilli(), j.Task, j.Follows, j.KeepsKey, j.Body, nilIfEmpty(j.Escrow), j.TBS.Sign, nilIfEmpty(j.TBS.Enc), nil, at.UnixMilli(), intended}
		}
		if ask != nil {
			if _, err := tx.Exec(`INSERT INTO ask (task, message, retire, done) VALUES ($1, $2, $3, $4)`, ask.Task, ask.Message, false, false); err != nil {
				return err
			}
		}
		return tx.InsertMany(`INSERT INTO job (`+jobColumns+`, opened_at, intended_at)`, rows)
	})
}

// claim makes the keys of requests live. Mostly they are new, and noted at once;
// otherwise each by itself finds out which is not.
func claim(tx *sqldb.Tx, jobs []ca.Job) error {
	have, err := known(tx, "live_key", jobs)
	if err != nil {
		return err
	}
	rows, twice := make([][]any, len(jobs)), map[string]bool{}
	for i, j := range jobs {
		rows[i], twice[string(j.KeyHash)] = []any{j.KeyHash, j.ID}, true
	}
	if have == 0 && len(twice) == len(jobs) {
		return tx.InsertMany(`INSERT INTO live_key (key_sm3, job)`, rows)
	}
	for _, j := range jobs {
		n, err := tx.Exec(`INSERT INTO live_key (key_sm3, job) VALUES ($1, $2) ON CONFLICT (key_sm3) DO NOTHING`, j.KeyHash, j.ID)
		if err != nil {
			return err
		}
		if n == 0 && j.KeepsKey {
			if n, err = tx.Exec(`UPDATE live_key SET job = $1 WHERE key_sm3 = $2 AND job = $3`, j.ID, j.KeyHash, j.Follows); err != nil {
				return err
			}
		}
		if n == 0 {
			return taken(tx, j)
		}
	}
	return nil
}

// taken says why a key cannot be claimed. When it is the request's own, two
// callers asked at once: no refusal, for asking again finds the work done.
func taken(tx *sqldb.Tx, j ca.Job) error {
	var job string
	if err := tx.Scan(`SELECT job FROM live_key WHERE key_sm3 = $1`, []any{j.KeyHash}, &job); err != nil {
		return err
	}
	if job == j.ID {
		return fmt.Errorf("request %s is on record already", j.ID)
	}
	return ca.KeyInUse.At("csr", ca.KeyInUse.Clause)
}

// nilIfEmpty keeps an absent value NULL, which a unique index passes over.
func nilIfEmpty(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// Ask returns the message of a task.
func (s *Store) Ask(ctx context.Context, task int64) (ca.Ask, error) {
	a := ca.Ask{Task: task}
	return a, s.DB.QueryRow(ctx, `SELECT message FROM ask WHERE task = $1`, task).Scan(&a.Message)
}

// Abandon closes opened requests. Their rows stay, under another name, so that
// no serial is reserved twice.
func (s *Store) Abandon(ctx context.Context, jobs []ca.Job, lines []audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, j := range jobs {
			n, err := tx.Exec(`UPDATE job SET id = $1 WHERE id = $2 AND state = $3 AND task = $4`, fmt.Sprintf("%s~%d", j.ID, j.Task), j.ID, int(ca.Opened), j.Task)
			if err != nil {
				return err
			}
			if n != 1 {
				return fmt.Errorf("request %s is not open", j.ID)
			}
			if err := free(tx, j); err != nil {
				return err
			}
		}
		return audit.Append(tx, lines...)
	})
}

// free gives an abandoned request's key back: to the certificate it was to go
// on from, or to nobody.
func free(tx *sqldb.Tx, j ca.Job) (err error) {
	if j.KeepsKey {
		_, err = tx.Exec(`UPDATE live_key SET job = $1 WHERE job = $2`, j.Follows, j.ID)
	} else {
		_, err = tx.Exec(`DELETE FROM live_key WHERE job = $1`, j.ID)
	}
	return err
}

// Intend puts the drafts of opened requests on record.
func (s *Store) Intend(ctx context.Context, jobs []ca.Job, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var keys [][]any
		for _, j := range jobs {
			n, err := tx.Exec(`UPDATE job SET state = $1, sign_tbs = $2, enc_tbs = $3, sealed = $4, intended_at = $5 WHERE id = $6 AND state = $7`,
				int(ca.Intended), j.TBS.Sign, nilIfEmpty(j.TBS.Enc), nilIfEmpty(j.Sealed), at.UnixMilli(), j.ID, int(ca.Opened))
			if err != nil {
				return err
			}
			if n != 1 {
				return fmt.Errorf("request %s already has an intent", j.ID)
			}
			if j.EncKeyHash != nil {
				keys = append(keys, []any{j.EncKeyHash})
			}
		}
		if err := tx.InsertMany(`INSERT INTO escrowed_key (key_sm3)`, keys); err != nil {
			return fmt.Errorf("key centre gave a key that was given before: %w", err)
		}
		return nil
	})
}

// Record stores what was signed, with its ledger entries and audit lines.
func (s *Store) Record(ctx context.Context, jobs []ca.Job, entries []ca.Publication, lines []audit.Entry, at time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		first, err := s.trail(tx, entries, lines)
		if err != nil {
			return err
		}
		if err := recorded(tx, jobs, at); err != nil {
			return err
		}
		var rows [][]any
		for _, j := range jobs {
			app := profileOf(j.Content)
			if j.Escrow != nil { // the encryption certificate that stays has another other half
				if _, err := tx.Exec(`UPDATE certificate SET pair = $1 WHERE serial = $2`, j.Serials.Sign, j.Escrow); err != nil {
					return err
				}
				rows = append(rows, []any{first, j.Serials.Sign, j.Escrow, j.ID, app, "sign", j.Shards[0], j.DER.Sign, false, 0, 0, 0, j.From.Unix(), j.To.Unix(), unix(j.Due)})
				first += 2 // the digest of what was recovered follows
				continue
			}
			rows = append(rows, []any{first, j.Serials.Sign, nilIfEmpty(j.Serials.Enc), j.ID, app, "sign", j.Shards[0], j.DER.Sign, false, 0, 0, 0, j.From.Unix(), j.To.Unix(), unix(j.Due)})
			first++
			if j.DER.Enc != nil {
				rows = append(rows, []any{first, j.Serials.Enc, j.Serials.Sign, j.ID, app, "enc", j.Shards[1], j.DER.Enc, false, 0, 0, 0, j.From.Unix(), j.To.Unix(), unix(j.Due)})
				first += 2 // the escrow digest follows
			}
		}
		return tx.InsertMany(`INSERT INTO certificate (leaf, serial, pair, job, profile, use, shard, der, revoked, reason, revoked_at, invalid_at, not_before, not_after, due)`, rows)
	})
}

// recorded moves intended jobs on, all of them or none.
func recorded(tx *sqldb.Tx, jobs []ca.Job, at time.Time) error {
	marks, args := make([]string, len(jobs)), []any{int(ca.Recorded), at.UnixMilli(), int(ca.Intended)}
	for i, j := range jobs {
		args = append(args, j.ID)
		marks[i] = fmt.Sprintf("$%d", len(args))
	}
	n, err := tx.Exec(`UPDATE job SET state = $1, recorded_at = $2 WHERE state = $3 AND id IN (`+strings.Join(marks, ",")+`)`, args...)
	if err == nil && n != int64(len(jobs)) {
		err = fmt.Errorf("%d of %d requests are not intended, or already recorded", int64(len(jobs))-n, len(jobs))
	}
	return err
}

// trail writes ledger entries and audit lines and returns the first entry's index.
func (s *Store) trail(tx *sqldb.Tx, entries []ca.Publication, lines []audit.Entry) (int64, error) {
	if s.NoTrail {
		var n int64
		err := tx.Scan(`SELECT COALESCE(MAX(leaf) + 2, 0) FROM certificate`, nil, &n)
		return n, err
	}
	leaves := make([][]byte, len(entries))
	for i, e := range entries {
		leaves[i] = e.Leaf
	}
	first, err := ledger.Append(tx, Log, leaves...)
	if err != nil {
		return 0, err
	}
	return first, audit.Append(tx, lines...)
}

// Refuse writes a refusal of authority in a transaction of its own.
func (s *Store) Refuse(ctx context.Context, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}

// Authority records a CA certificate of this institution in the ledger.
func (s *Store) Authority(ctx context.Context, leaf, der []byte, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		at, err := ledger.Append(tx, Log, leaf)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO authority (leaf, der) VALUES ($1, $2)`, at, der); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Authorities are the CA certificates recorded with Authority, oldest first.
func (s *Store) Authorities(ctx context.Context) ([][]byte, error) {
	return s.collect(ctx, nil, `SELECT der FROM authority ORDER BY leaf`)
}

// Bodies returns the DER that lies beside leaves [from, to).
func (s *Store) Bodies(ctx context.Context, from, to int64) (bodies [][]byte, err error) {
	for _, q := range []string{
		`SELECT der FROM certificate WHERE leaf >= $1 AND leaf < $2`, `SELECT der FROM crl WHERE leaf >= $1 AND leaf < $2`,
	} {
		if bodies, err = s.collect(ctx, bodies, q, from, to); err != nil {
			return nil, err
		}
	}
	return s.listBodies(ctx, bodies, from, to)
}

func (s *Store) collect(ctx context.Context, all [][]byte, q string, args ...any) ([][]byte, error) {
	rows, err := s.DB.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, rows.Err()
}
