package access

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
)

// Digest stands for a register, or a part of one: equal digests, equal people,
// certificates and rights. Order does not matter.
func Digest(people []Person) []byte {
	type row struct {
		ID, Name string
		Roles    []Role
		Cert     []byte
		Frozen   bool
		Ended    int64
	}
	rows := make([]row, len(people))
	for i, p := range people {
		rows[i] = row{string(p.ID), p.Name, p.Roles, alg.Digest(p.Cert), p.Disabled, millis(p.Ended)}
	}
	slices.SortFunc(rows, func(a, b row) int { return bytes.Compare(a.Cert, b.Cert) })
	data, err := json.Marshal(rows)
	if err != nil {
		panic("access: plain data: " + err.Error())
	}
	return alg.Digest(data)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Turn is one difference between two registers. (登记变动)
type Turn struct {
	Verb   string // "add", "freeze", "unfreeze", "end", "restore", "correct"
	Person Person
}

// Mirror makes the register say what another one says, within a transaction,
// and returns what it changed. Forget is to be called once that is durable.
func (r *People) Mirror(tx *sqldb.Tx, want []Person, by PersonID, at time.Time) ([]Turn, error) {
	have, err := r.within(tx)
	if err != nil {
		return nil, err
	}
	var turns []Turn
	for _, p := range want {
		was, known := have[string(alg.Digest(p.Cert))]
		delete(have, string(alg.Digest(p.Cert)))
		for _, verb := range differences(was, p, known) {
			turns = append(turns, Turn{verb, p})
		}
	}
	for _, p := range have { // the other register has never heard of them
		if p.Ended.IsZero() {
			p.Ended = at
			turns = append(turns, Turn{"end", p})
		}
	}
	slices.SortStableFunc(turns, func(a, b Turn) int { return cmp.Compare(a.Person.ID, b.Person.ID) })
	for _, t := range turns {
		p := t.Person
		_, err := tx.Exec(`INSERT INTO person (id, cert_sm3, name, roles, cert, disabled, created_by, created_at, ended) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (cert_sm3) DO UPDATE SET id = excluded.id, name = excluded.name, roles = excluded.roles, disabled = excluded.disabled, ended = excluded.ended`,
			string(p.ID), alg.Digest(p.Cert), p.Name, words(p.Roles), p.Cert, p.Disabled, string(by), at.UnixMilli(), millis(p.Ended))
		if err != nil {
			return nil, err
		}
	}
	return turns, nil
}

// differences are the verbs that lead from one entry of a register to another.
func differences(was, p Person, known bool) (verbs []string) {
	if !known {
		return []string{"add"}
	}
	if was.ID != p.ID || was.Name != p.Name || !slices.Equal(was.Roles, p.Roles) {
		verbs = append(verbs, "correct")
	}
	switch {
	case was.Disabled && !p.Disabled:
		verbs = append(verbs, "unfreeze")
	case !was.Disabled && p.Disabled:
		verbs = append(verbs, "freeze")
	}
	switch {
	case millis(was.Ended) == millis(p.Ended):
	case p.Ended.IsZero():
		verbs = append(verbs, "restore")
	default:
		verbs = append(verbs, "end")
	}
	return verbs
}

// within is the register as a transaction sees it, by digest of certificate.
func (r *People) within(tx *sqldb.Tx) (map[string]Person, error) {
	rows, err := tx.Query(`SELECT id, name, roles, cert, disabled, ended FROM person`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]Person{}
	for rows.Next() {
		p, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all[string(alg.Digest(p.Cert))] = p
	}
	return all, rows.Err()
}

// Used reports whether an id names somebody, or ever did: it is never given to
// another person, or old records would speak of the new one.
func (r *People) Used(ctx context.Context, id PersonID) (bool, error) {
	var n int
	err := r.DB.QueryRow(ctx, `SELECT COUNT(*) FROM person WHERE id = $1`, string(id)).Scan(&n)
	return n > 0, err
}

// Settle notes within the transaction of a change that a request was carried
// out, with what came of it and why. first is false when it was before.
func (r *People) Settle(tx *sqldb.Tx, request string, digest, result, evidence []byte, at time.Time) (first bool, err error) {
	n, err := tx.Exec(`INSERT INTO person_change (request, digest, result, evidence, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (request) DO NOTHING`,
		request, digest, result, evidence, at.UnixMilli())
	return n == 1, err
}

// Settled returns what came of a request, if it was carried out.
func (r *People) Settled(ctx context.Context, request string) (digest, result []byte, ok bool, err error) {
	err = r.DB.QueryRow(ctx, `SELECT digest, result FROM person_change WHERE request = $1`, request).Scan(&digest, &result)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, false, nil
	}
	return digest, result, err == nil, err
}
