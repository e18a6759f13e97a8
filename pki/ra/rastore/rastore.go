// Package rastore keeps the registration desk's cases in a database. (案件库)
package rastore

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

//go:embed schema/*.sql
var schema embed.FS

// Store is the desk's store on SQLite or PostgreSQL.
type Store struct {
	DB  *sqldb.DB
	Now func() time.Time
}

var _ ra.Store = (*Store)(nil)

// Open prepares a database and returns the store.
func Open(ctx context.Context, db *sqldb.DB, now func() time.Time) (*Store, error) {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(audit.Migrate(ctx, db), access.Migrate(ctx, db)); err != nil {
		return nil, err
	}
	s := &Store{DB: db, Now: now}
	if err := db.Migrate(ctx, "ra", files); err != nil {
		return nil, err
	}
	return s, s.fill(ctx)
}

const columns = `id, kind, state, seq, content, title, profile, key_sm3, identity, blind, batch, sheet_row, created_by, created_at, updated_at, sign_sn, enc_sn, reply, trouble, follows, keeps_key, body`

func row(r ra.Record) ([]any, error) {
	var sealed, reply, trouble []byte
	var err error
	if r.Identity.Number.Blob != nil {
		if sealed, err = json.Marshal(r.Identity); err != nil {
			return nil, err
		}
	}
	if r.Reply.Sign != nil {
		if reply, err = json.Marshal(r.Reply); err != nil {
			return nil, err
		}
	}
	if r.Trouble != nil {
		if trouble, err = json.Marshal(r.Trouble); err != nil {
			return nil, err
		}
	}
	return []any{r.ID, r.Kind, string(r.State), len(r.Events), r.Content, r.Title, r.Profile, r.KeyHash, sealed, r.Identity.Blind, r.Batch, r.Row,
		string(r.CreatedBy), r.CreatedAt.UnixMilli(), r.UpdatedAt.UnixMilli(), r.SignSerial, r.EncSerial, reply, trouble, r.Follows, r.KeepsKey, r.Body}, nil
}

func scan(rows interface{ Scan(...any) error }) (ra.Record, int, error) {
	var r ra.Record
	var state, by string
	var seq int
	var created, updated int64
	var sealed, blind, reply, trouble []byte
	err := rows.Scan(&r.ID, &r.Kind, &state, &seq, &r.Content, &r.Title, &r.Profile, &r.KeyHash, &sealed, &blind, &r.Batch, &r.Row, &by, &created, &updated,
		&r.SignSerial, &r.EncSerial, &reply, &trouble, &r.Follows, &r.KeepsKey, &r.Body)
	if err != nil {
		return r, 0, err
	}
	r.State, r.CreatedBy = casework.State(state), access.PersonID(by)
	r.CreatedAt, r.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	for _, part := range []struct {
		data []byte
		to   any
	}{{sealed, &r.Identity}, {reply, &r.Reply}, {trouble, &r.Trouble}} {
		if part.data != nil {
			err = errors.Join(err, json.Unmarshal(part.data, part.to))
		}
	}
	r.Identity.Blind = blind
	return r, seq, err
}

// Case returns one case whole.
func (s *Store) Case(ctx context.Context, id string) (ra.Record, error) {
	if strings.ContainsRune(id, 0) { // PostgreSQL would call it a failure
		return ra.Record{}, ra.NoCase.At("id", ra.NoCase.Clause)
	}
	r, _, err := scan(s.DB.QueryRow(ctx, `SELECT `+columns+` FROM cases WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return r, ra.NoCase.At("id", ra.NoCase.Clause).Because("%.40q", id)
	}
	if err != nil {
		return r, err
	}
	r.Events, err = s.events(ctx, id)
	return r, err
}

func (s *Store) events(ctx context.Context, id string) ([]casework.Event, error) {
	rows, err := s.DB.Query(ctx, `SELECT body FROM event WHERE case_id = $1 ORDER BY seq`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []casework.Event
	for rows.Next() {
		var body []byte
		var e casework.Event
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

// Draft stores new or corrected drafts, and the sheet they came in.
func (s *Store) Draft(ctx context.Context, list []ra.Record, batch *ra.Batch, lines []audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var fresh [][]any
		for _, r := range list {
			values, err := row(r)
			if err != nil {
				return err
			}
			known, err := s.correct(tx, r, values)
			if err != nil {
				return err
			}
			if !known {
				fresh = append(fresh, values)
			}
		}
		if err := tx.InsertMany(`INSERT INTO cases (`+columns+`)`, fresh); err != nil {
			return err
		}
		if batch != nil {
			body, err := json.Marshal(batch.Rows)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO batch (id, digest, name, who, at, body, taker) VALUES ($1, $2, $3, $4, $5, $6, $7)`, batch.ID, batch.Digest, batch.Name, string(batch.By), batch.At.UnixMilli(), body, batch.Body); err != nil {
				return err
			}
		}
		return audit.Append(tx, lines...)
	})
}

// correct replaces a draft of the same person; known is false for a new id.
func (s *Store) correct(tx *sqldb.Tx, r ra.Record, v []any) (known bool, err error) {
	var state, by string
	err = tx.Scan(`SELECT state, created_by FROM cases WHERE id = $1`, []any{r.ID}, &state, &by)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if state != string(ra.Drafted) || by != string(r.CreatedBy) {
		return false, ra.NotYours.At("id", ra.NotYours.Clause)
	}
	_, err = tx.Exec(`UPDATE cases SET content = $1, title = $2, profile = $3, key_sm3 = $4, identity = $5, blind = $6, updated_at = $7, follows = $8, keeps_key = $9, kind = $10, body = $11 WHERE id = $12`,
		v[4], v[5], v[6], v[7], v[8], v[9], v[14], v[19], v[20], v[1], v[21], r.ID)
	return true, err
}

// Save stores moves, wholly or not at all.
func (s *Store) Save(ctx context.Context, by access.Command, saves []ra.Save, lines []audit.Entry) error {
	if !by.Authentic() {
		return access.BadSignature.At("signature", access.BadSignature.Clause)
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := access.Spend(tx, by, s.Now()); err != nil {
			return err
		}
		for _, v := range saves {
			if err := s.save(tx, v); err != nil {
				return err
			}
		}
		return audit.Append(tx, lines...)
	})
}

func (s *Store) save(tx *sqldb.Tx, v ra.Save) error {
	r := v.Record
	values, err := row(r)
	if err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE cases SET state = $1, seq = $2, updated_at = $3, sign_sn = $4, enc_sn = $5, reply = $6, trouble = $7 WHERE id = $8 AND seq = $9 AND content = $10`,
		string(r.State), len(r.Events), r.UpdatedAt.UnixMilli(), r.SignSerial, r.EncSerial, values[17], values[18], r.ID, v.Move.Seq, r.Content)
	if err != nil {
		return err
	}
	if n == 0 {
		if v.Move.Seq > 0 || !ra.AboutStatus(r.Kind) {
			return casework.Stale.At("id", casework.Stale.Clause).Because("%s", r.ID)
		}
		if n, err = tx.Exec(`INSERT INTO cases (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT (id) DO NOTHING`, values...); err != nil {
			return err
		}
		if n == 0 {
			return casework.Stale.At("id", casework.Stale.Clause).Because("%s", r.ID)
		}
	}
	if v.Move.Event.Did == ra.Issue {
		if err := endsOf(r.Reply).note(tx, r.ID); err != nil {
			return err
		}
	}
	if err := errors.Join(s.keys(tx, v), leave(tx, v), enter(tx, v)); err != nil {
		return err
	}
	body, err := json.Marshal(v.Move.Event)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO event (case_id, seq, at, body) VALUES ($1, $2, $3, $4)`, r.ID, v.Move.Seq, v.Move.Event.At.UnixMilli(), body)
	return err
}

func (s *Store) keys(tx *sqldb.Tx, v ra.Save) error {
	r := v.Record
	switch {
	case v.Release && r.KeepsKey && (r.State == ra.Drafted || r.State == ra.Rejected || r.State == ra.Discarded):
		_, err := tx.Exec(`UPDATE live_key SET case_id = $1 WHERE case_id = $2`, r.Follows, r.ID)
		return err
	case v.Release:
		_, err := tx.Exec(`DELETE FROM live_key WHERE case_id = $1`, r.ID)
		return err
	case !v.Claim:
		return nil
	}
	n, err := tx.Exec(`INSERT INTO live_key (key_sm3, case_id) VALUES ($1, $2) ON CONFLICT (key_sm3) DO NOTHING`, r.KeyHash, r.ID)
	if err == nil && n == 0 && r.KeepsKey {
		n, err = tx.Exec(`UPDATE live_key SET case_id = $1 WHERE key_sm3 = $2 AND case_id = $3`, r.ID, r.KeyHash, r.Follows)
	}
	if err != nil || n == 1 {
		return err
	}
	return ra.KeyInUse.At("csr", ra.KeyInUse.Clause).Because("案件 %s", r.ID)
}

// Refuse writes a refusal of authority in a transaction of its own.
func (s *Store) Refuse(ctx context.Context, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}

// goes leaves out the cases of batches that are held back, but for those the CA
// has been asked about.
const goes = ` AND (batch NOT IN (SELECT batch FROM held) OR id IN (SELECT case_id FROM asked))`

// Waiting returns cases in a state, whole, those after an id first.
func (s *Store) Waiting(ctx context.Context, kind string, state casework.State, after string, limit int) ([]ra.Record, error) {
	list, err := s.list(ctx, `SELECT `+columns+` FROM cases WHERE kind = $1 AND state = $2 AND id > $3`+goes+` ORDER BY id LIMIT $4`, kind, string(state), after, limit)
	if err == nil && after != "" && len(list) < limit {
		var rest []ra.Record
		rest, err = s.list(ctx, `SELECT `+columns+` FROM cases WHERE kind = $1 AND state = $2 AND id <= $3`+goes+` ORDER BY id LIMIT $4`, kind, string(state), after, limit-len(list))
		list = append(list, rest...)
	}
	for i := range list {
		if err == nil {
			list[i].Events, err = s.events(ctx, list[i].ID)
		}
	}
	return list, err
}

func (s *Store) list(ctx context.Context, q string, args ...any) ([]ra.Record, error) {
	rows, err := s.DB.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ra.Record
	for rows.Next() {
		r, _, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
