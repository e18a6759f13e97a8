package proposal

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrate prepares a database to hold proposals.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "proposal", files)
}

const columns = `id, matter, state, content, title, created_by, created_at, updated_at, result, trouble`

func scan(row interface{ Scan(...any) error }) (Record, error) {
	var r Record
	var state, by string
	var created, updated int64
	var trouble []byte
	err := row.Scan(&r.ID, &r.Kind, &state, &r.Content, &r.Title, &by, &created, &updated, &r.Result, &trouble)
	if err != nil {
		return r, err
	}
	r.State, r.CreatedBy = casework.State(state), access.PersonID(by)
	r.CreatedAt, r.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	if trouble != nil {
		err = json.Unmarshal(trouble, &r.Trouble)
	}
	return r, err
}

// Get returns one with its history.
func (d *Desk) Get(ctx context.Context, id string) (Record, error) {
	r, err := scan(d.DB.QueryRow(ctx, `SELECT `+columns+` FROM proposal WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return r, NoProposal.At("id", NoProposal.Clause).Because("%.40q", id)
	}
	if err != nil {
		return r, err
	}
	return r, d.history(ctx, &r)
}

func (d *Desk) history(ctx context.Context, r *Record) error {
	rows, err := d.DB.Query(ctx, `SELECT body FROM proposal_event WHERE id = $1 ORDER BY seq`, r.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var e casework.Event
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return err
		}
		r.Events = append(r.Events, e)
	}
	return rows.Err()
}

// Query finds proposals, newest first. Empty fields match all.
type Query struct {
	State  casework.State
	Matter string
	After  string // id of the last of the page before
	Limit  int
}

// Find lists proposals without their history.
func (d *Desk) Find(ctx context.Context, q Query) ([]Record, error) {
	if q.Limit <= 0 || q.Limit > pageMax {
		q.Limit = pageMax
	}
	text, args := `SELECT `+columns+` FROM proposal WHERE 1 = 1`, []any{}
	add := func(cond string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			cond = fmt.Sprintf(cond, len(args))
		}
		text += " AND " + cond
	}
	if q.State != "" {
		add("state = $%d", string(q.State))
	}
	if q.Matter != "" {
		add("matter = $%d", q.Matter)
	}
	if q.After != "" {
		last, err := d.Get(ctx, q.After)
		if err != nil {
			return nil, err
		}
		at := last.CreatedAt.UnixMilli()
		args = append(args, at, at, q.After)
		text += fmt.Sprintf(" AND (created_at < $%d OR created_at = $%d AND id < $%d)", len(args)-2, len(args)-1, len(args))
	}
	args = append(args, q.Limit)
	return d.list(ctx, text+fmt.Sprintf(` ORDER BY created_at DESC, id DESC LIMIT $%d`, len(args)), args...)
}

func (d *Desk) list(ctx context.Context, q string, args ...any) ([]Record, error) {
	rows, err := d.DB.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// waiting are those to be carried out, in order of ids, after one.
func (d *Desk) waiting(ctx context.Context, after string) ([]Record, error) {
	list, err := d.list(ctx, `SELECT `+columns+` FROM proposal WHERE state = $1 AND id > $2 ORDER BY id LIMIT $3`, string(Confirmed), after, batch)
	for i := range list {
		if err == nil {
			err = d.history(ctx, &list[i])
		}
	}
	return list, err
}

// save stores a step with its command, its audit line and what keep keeps,
// wholly or not at all.
func (d *Desk) save(ctx context.Context, by access.Command, r Record, m casework.Move, line audit.Entry, keep func(tx *sqldb.Tx) error) error {
	if !by.Authentic() {
		return access.BadSignature.At("signature", access.BadSignature.Clause)
	}
	event, err := json.Marshal(m.Event)
	if err != nil {
		return err
	}
	var trouble []byte
	if r.Trouble != nil {
		if trouble, err = json.Marshal(r.Trouble); err != nil {
			return err
		}
	}
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := access.Spend(tx, by, d.Now()); err != nil {
			return err
		}
		stale := casework.Stale.At("id", casework.Stale.Clause).Because("%s", r.ID)
		var n int64
		if m.Seq == 0 {
			n, err = tx.Exec(`INSERT INTO proposal (id, matter, state, seq, content, title, created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`,
				r.ID, r.Kind, string(r.State), len(r.Events), r.Content, r.Title, string(r.CreatedBy), r.CreatedAt.UnixMilli(), r.UpdatedAt.UnixMilli())
		} else {
			n, err = tx.Exec(`UPDATE proposal SET state = $1, seq = $2, updated_at = $3, result = $4, trouble = $5 WHERE id = $6 AND seq = $7`,
				string(r.State), len(r.Events), r.UpdatedAt.UnixMilli(), r.Result, trouble, r.ID, m.Seq)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return stale
		}
		if _, err := tx.Exec(`INSERT INTO proposal_event (id, seq, body) VALUES ($1, $2, $3)`, r.ID, m.Seq, event); err != nil {
			return err
		}
		if err := keep(tx); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}
