package rastore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Find lists cases, newest first.
func (s *Store) Find(ctx context.Context, q ra.Query) ([]ra.Record, error) {
	var where []string
	var args []any
	add := func(cond string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			cond = strings.Replace(cond, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, cond)
	}
	if q.State != "" {
		add("state = ?", string(q.State))
	}
	if q.State == "" && len(q.States) > 0 {
		marks, values := make([]string, len(q.States)), make([]any, len(q.States))
		for i, s := range q.States {
			marks[i], values[i] = "?", string(s)
		}
		add("state IN ("+strings.Join(marks, ", ")+")", values...)
	}
	if q.Within != nil {
		cond, values := in("body", q.Within)
		add(cond, values...)
	}
	if q.Profile != "" {
		add("profile = ?", q.Profile)
	}
	if q.Follows != "" {
		add("follows = ?", q.Follows)
	}
	if q.Batch != "" {
		add("batch = ?", q.Batch)
	}
	if !q.From.IsZero() {
		add("created_at >= ?", q.From.UnixMilli())
	}
	if !q.To.IsZero() {
		add("created_at < ?", q.To.UnixMilli())
	}
	if q.Kind != "" {
		add("kind = ?", q.Kind)
	}
	if q.By != "" {
		add("created_by = ?", string(q.By))
	}
	if q.Blind != nil {
		add("blind = ?", q.Blind)
	} else if t := strings.TrimSpace(q.Text); t != "" {
		// SQLite's LIKE takes letters of either case, PostgreSQL's does not.
		like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(t) + "%"
		add(`(LOWER(title) LIKE LOWER(?) ESCAPE '\' OR LOWER(id) LIKE LOWER(?) ESCAPE '\' OR sign_sn = ? OR enc_sn = ? OR batch = ?)`, like, like, strings.ToUpper(t), strings.ToUpper(t), t)
	}
	if q.After != "" {
		var at int64
		if err := s.DB.QueryRow(ctx, `SELECT created_at FROM cases WHERE id = $1`, q.After).Scan(&at); err != nil {
			return nil, ra.NoCase.At("after", ra.NoCase.Clause)
		}
		add("(created_at < ? OR created_at = ? AND id < ?)", at, at, q.After)
	}
	text := `SELECT ` + columns + ` FROM cases`
	if len(where) > 0 {
		text += ` WHERE ` + strings.Join(where, " AND ")
	}
	limit := q.Limit
	if limit <= 0 || limit > ra.PageMax {
		limit = ra.PageMax
	}
	args = append(args, limit)
	return s.list(ctx, text+fmt.Sprintf(` ORDER BY created_at DESC, id DESC LIMIT $%d`, len(args)), args...)
}

// in is the condition that a column is one of several, with a mark for each.
func in(column string, list []string) (string, []any) {
	marks, values := make([]string, len(list)), make([]any, len(list))
	for i, v := range list {
		marks[i], values[i] = "?", v
	}
	return column + " IN (" + strings.Join(marks, ", ") + ")", values
}

// within is the same, to be added after as many arguments as there are.
func within(column string, list []string, args []any) (string, []any) {
	if list == nil {
		return "", args
	}
	marks := make([]string, len(list))
	for i, v := range list {
		args = append(args, v)
		marks[i] = fmt.Sprintf("$%d", len(args))
	}
	return " AND " + column + " IN (" + strings.Join(marks, ", ") + ")", args
}

// Counts counts cases by kind and state.
func (s *Store) Counts(ctx context.Context, bodies []string) (map[string]map[casework.State]int, error) {
	cond, args := within("body", bodies, nil)
	rows, err := s.DB.Query(ctx, `SELECT kind, state, COUNT(*) FROM cases WHERE 1 = 1`+cond+` GROUP BY kind, state`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]map[casework.State]int{}
	for rows.Next() {
		var kind, state string
		var n int
		if err := rows.Scan(&kind, &state, &n); err != nil {
			return nil, err
		}
		if counts[kind] == nil {
			counts[kind] = map[casework.State]int{}
		}
		counts[kind][casework.State(state)] = n
	}
	return counts, rows.Err()
}

// KeyHolder returns the live case of a key, or "".
func (s *Store) KeyHolder(ctx context.Context, keyHash []byte) (id string, err error) {
	err = s.DB.QueryRow(ctx, `SELECT case_id FROM live_key WHERE key_sm3 = $1`, keyHash).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, err
}

// BySerial returns the case a certificate was issued in.
func (s *Store) BySerial(ctx context.Context, serial string) (ra.Record, error) {
	var id string
	err := s.DB.QueryRow(ctx, `SELECT id FROM cases WHERE kind IN ($1, $2, $3, $4) AND (sign_sn = $5 OR enc_sn = $6) ORDER BY created_at DESC, id DESC LIMIT 1`, ra.IssueKind.Name, ra.Issue2Kind.Name, ra.Issue3Kind.Name, ra.RecoverKind.Name, serial, serial).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return ra.Record{}, ra.NotLive.At("serial", ra.NotLive.Clause)
	}
	if err != nil {
		return ra.Record{}, err
	}
	return s.Case(ctx, id)
}

// BatchByDigest finds a sheet taken in before.
func (s *Store) BatchByDigest(ctx context.Context, digest []byte) (ra.Batch, bool, error) {
	b, err := s.batch(ctx, `digest = $1`, digest)
	if errors.Is(err, sql.ErrNoRows) {
		return b, false, nil
	}
	return b, err == nil, err
}

// Batch returns one sheet's rows.
func (s *Store) Batch(ctx context.Context, id string) (ra.Batch, error) {
	b, err := s.batch(ctx, `id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return b, ra.NoCase.At("batch", ra.NoCase.Clause)
	}
	return b, err
}

func (s *Store) batch(ctx context.Context, cond string, arg any) (ra.Batch, error) {
	var b ra.Batch
	var by string
	var at int64
	var body []byte
	err := s.DB.QueryRow(ctx, `SELECT id, digest, name, who, at, body, taker FROM batch WHERE `+cond, arg).Scan(&b.ID, &b.Digest, &b.Name, &by, &at, &body, &b.Body)
	if err != nil {
		return b, err
	}
	b.By, b.At = access.PersonID(by), time.UnixMilli(at).UTC()
	return b, json.Unmarshal(body, &b.Rows)
}

// Batches lists sheets without their rows, newest first.
func (s *Store) Batches(ctx context.Context, bodies []string, after string, limit int) ([]ra.Batch, error) {
	cond, args := "", []any{limit}
	if after != "" {
		last, err := s.Batch(ctx, after)
		if err != nil {
			return nil, err
		}
		at := last.At.UnixMilli()
		cond, args = ` AND (at < $2 OR at = $3 AND id < $4)`, append(args, at, at, after)
	}
	more, args := within("taker", bodies, args)
	rows, err := s.DB.Query(ctx, `SELECT id, digest, name, who, at, taker FROM batch WHERE 1 = 1`+cond+more+` ORDER BY at DESC, id DESC LIMIT $1`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ra.Batch
	for rows.Next() {
		var b ra.Batch
		var by string
		var at int64
		if err := rows.Scan(&b.ID, &b.Digest, &b.Name, &by, &at, &b.Body); err != nil {
			return nil, err
		}
		b.By, b.At = access.PersonID(by), time.UnixMilli(at).UTC()
		list = append(list, b)
	}
	return list, rows.Err()
}

// BatchCounts counts the cases of a sheet by state.
func (s *Store) BatchCounts(ctx context.Context, id string) (map[casework.State]int, error) {
	rows, err := s.DB.Query(ctx, `SELECT state, COUNT(*) FROM cases WHERE batch = $1 GROUP BY state`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[casework.State]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, err
		}
		counts[casework.State(state)] = n
	}
	return counts, rows.Err()
}

// KeepEvidence stores a sealed file with its audit line.
func (s *Store) KeepEvidence(ctx context.Context, e ra.Evidence, line audit.Entry) error {
	sealed, err := json.Marshal(e.Sealed)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO evidence (sm3, name, size, who, at, sealed) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sm3) DO NOTHING`,
			e.Digest, e.Name, e.Size, string(e.By), e.At.UnixMilli(), sealed)
		if err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Evidence returns one file by its digest.
func (s *Store) Evidence(ctx context.Context, digest []byte) (ra.Evidence, error) {
	e := ra.Evidence{Digest: digest}
	var by string
	var at int64
	var sealed []byte
	err := s.DB.QueryRow(ctx, `SELECT name, size, who, at, sealed FROM evidence WHERE sm3 = $1`, digest).Scan(&e.Name, &e.Size, &by, &at, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return e, ra.NoEvidence.At("digest", ra.NoEvidence.Clause)
	}
	if err != nil {
		return e, err
	}
	e.By, e.At = access.PersonID(by), time.UnixMilli(at).UTC()
	return e, json.Unmarshal(sealed, &e.Sealed)
}
