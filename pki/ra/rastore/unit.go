package rastore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

// enter writes what the register of units says after a move, and moves the
// reminder of a letter to the change it came with last.
func enter(tx *sqldb.Tx, v ra.Save) error {
	u := v.Unit
	if u == nil {
		return nil
	}
	c, err := ra.UnitChangeOf(v.Record.Content)
	if err != nil {
		return err
	}
	sealed, err := json.Marshal(u.Sealed)
	if err != nil {
		return err
	}
	plain := *u
	plain.Sealed = ra.Sealed{}
	body, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	args := []any{u.Name, u.Suspended, u.Letter.From, u.Letter.To, u.Case, u.At.UnixMilli(), body, sealed, u.Code, u.Body}
	var n int64
	if c.Was == "" {
		n, err = tx.Exec(`INSERT INTO unit (name, suspended, letter_from, letter_to, case_id, at, body, sealed, code, taker) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (code) DO NOTHING`, args...)
	} else {
		n, err = tx.Exec(`UPDATE unit SET name = $1, suspended = $2, letter_from = $3, letter_to = $4, case_id = $5, at = $6, body = $7, sealed = $8 WHERE code = $9 AND taker = $10 AND case_id = $11`, append(args, c.Was)...)
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return casework.Stale.At("id", casework.Stale.Clause).Because("单位 %s 的登记已有变化", u.Code)
	}
	if _, err := tx.Exec(`UPDATE cases SET not_after = -1 WHERE kind = $1 AND blind = $2`, ra.UnitKind.Name, v.Record.Identity.Blind); err != nil || u.Suspended {
		return err
	}
	_, err = tx.Exec(`UPDATE cases SET not_after = $1 WHERE id = $2`, u.Letter.End().UnixMilli(), u.Origin)
	return err
}

func scanUnit(row interface{ Scan(...any) error }) (ra.Unit, error) {
	var u ra.Unit
	var body, sealed []byte
	if err := row.Scan(&body, &sealed); err != nil {
		return u, err
	}
	return u, errors.Join(json.Unmarshal(body, &u), json.Unmarshal(sealed, &u.Sealed))
}

// Unit returns one by its code.
func (s *Store) Unit(ctx context.Context, code string) (ra.Unit, error) {
	none := ra.NoUnit.At("code", ra.NoUnit.Clause).Because("%.40q", code)
	if strings.ContainsRune(code, 0) { // PostgreSQL would call it a failure
		return ra.Unit{}, none
	}
	u, err := scanUnit(s.DB.QueryRow(ctx, `SELECT body, sealed FROM unit WHERE code = $1`, code))
	if errors.Is(err, sql.ErrNoRows) {
		return u, none
	}
	return u, err
}

// Units lists them in order of codes.
func (s *Store) Units(ctx context.Context, q ra.UnitQuery) ([]ra.Unit, error) {
	text, args := `SELECT body, sealed FROM unit WHERE code > $1`, []any{q.After}
	mark := func(v any) string { args = append(args, v); return fmt.Sprintf("$%d", len(args)) }
	switch q.Status {
	case "suspended":
		text += ` AND suspended = ` + mark(true)
	case "expired":
		text += ` AND suspended = ` + mark(false) + ` AND (letter_from > ` + mark(q.Today) + ` OR letter_to < ` + mark(q.Today) + `)`
	case "good":
		text += ` AND suspended = ` + mark(false) + ` AND letter_from <= ` + mark(q.Today) + ` AND letter_to >= ` + mark(q.Today)
	}
	more, args := within("taker", q.Within, args)
	text += more
	if t := strings.TrimSpace(q.Text); t != "" {
		like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(t) + "%"
		text += ` AND (LOWER(name) LIKE LOWER(` + mark(like) + `) ESCAPE '\' OR code = ` + mark(strings.ToUpper(t)) + `)`
	}
	if q.Limit <= 0 || q.Limit > ra.PageMax {
		q.Limit = ra.PageMax
	}
	rows, err := s.DB.Query(ctx, text+` ORDER BY code LIMIT `+mark(q.Limit), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ra.Unit
	for rows.Next() {
		u, err := scanUnit(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, rows.Err()
}
