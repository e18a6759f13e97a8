package access

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrate prepares a database to hold a register of people.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "access", files)
}

// People is the register in a database. Reads are cached: a register is small
// and every act looks somebody up.
type People struct {
	DB *sqldb.DB

	mu    sync.Mutex
	known map[string]Person
}

// Add registers a person, or a person's next certificate, within a transaction;
// an earlier certificate ends. added is false when the certificate was known.
// Forget is to be called once the transaction is durable.
func (r *People) Add(tx *sqldb.Tx, p Person, by PersonID, at time.Time) (added bool, err error) {
	n, err := tx.Exec(`INSERT INTO person (id, cert_sm3, name, roles, cert, disabled, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (cert_sm3) DO NOTHING`,
		string(p.ID), alg.Digest(p.Cert), p.Name, words(p.Roles), p.Cert, false, string(by), at.UnixMilli())
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.Exec(`UPDATE person SET ended = $1 WHERE id = $2 AND ended = 0 AND cert_sm3 <> $3`, at.UnixMilli(), string(p.ID), alg.Digest(p.Cert))
	return true, err
}

func words(roles []Role) string {
	list := make([]string, len(roles))
	for i, role := range roles {
		list[i] = string(role)
	}
	return strings.Join(list, " ")
}

// Freeze takes a person's rights away for a time, or gives them back.
func (r *People) Freeze(tx *sqldb.Tx, id PersonID, frozen bool) (changed bool, err error) {
	n, err := tx.Exec(`UPDATE person SET disabled = $1 WHERE id = $2 AND ended = 0 AND disabled <> $3`, frozen, string(id), frozen)
	return n > 0, err
}

// End takes a person off the register for good. What they signed before stands.
func (r *People) End(tx *sqldb.Tx, id PersonID, at time.Time) (changed bool, err error) {
	n, err := tx.Exec(`UPDATE person SET ended = $1 WHERE id = $2 AND ended = 0`, at.UnixMilli(), string(id))
	return n > 0, err
}

// Current returns the person's present certificate; NoSuchPerson if there is none.
func (r *People) Current(ctx context.Context, id PersonID) (Person, error) {
	p, err := scan(r.DB.QueryRow(ctx, `SELECT id, name, roles, cert, disabled, ended FROM person WHERE id = $1 AND ended = 0`, string(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, NoSuchPerson.At("id", NoSuchPerson.Clause).Because("%.40q", string(id))
	}
	return p, err
}

// PersonByCert finds a person by the SM3 of their certificate.
func (r *People) PersonByCert(ctx context.Context, digest []byte) (Person, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.known[string(digest)]; ok {
		return p, nil
	}
	p, err := scan(r.DB.QueryRow(ctx, `SELECT id, name, roles, cert, disabled, ended FROM person WHERE cert_sm3 = $1`, digest))
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, NoSuchPerson.At("certificate", NoSuchPerson.Clause)
	}
	if err != nil {
		return Person{}, err
	}
	if r.known == nil {
		r.known = map[string]Person{}
	}
	r.known[string(digest)] = p
	return p, nil
}

// Forget drops the cache after the register changed.
func (r *People) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
}

// All lists the register in order of ids.
func (r *People) All(ctx context.Context) ([]Person, error) {
	rows, err := r.DB.Query(ctx, `SELECT id, name, roles, cert, disabled, ended FROM person ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Person
	for rows.Next() {
		p, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (Person, error) {
	var id, name, roles string
	var der []byte
	var disabled bool
	var ended int64
	if err := row.Scan(&id, &name, &roles, &der, &disabled, &ended); err != nil {
		return Person{}, err
	}
	var list []Role
	for _, role := range strings.Fields(roles) {
		list = append(list, Role(role))
	}
	p, err := PersonOf(PersonID(id), name, der, list...)
	if p.Disabled = disabled; ended != 0 {
		p.Ended = time.UnixMilli(ended).UTC()
	}
	return p, err
}

// Spend uses up a command's nonce within the transaction of its effect, so
// that a statement works once. A process has none.
func Spend(tx *sqldb.Tx, c Command, now time.Time) error {
	if c.signed.Nonce == "" {
		return nil
	}
	n, err := tx.Exec(`INSERT INTO used_nonce (nonce, at) VALUES ($1, $2) ON CONFLICT (nonce) DO NOTHING`, c.signed.Nonce, now.UnixMilli())
	if err != nil {
		return err
	}
	if n == 0 {
		return Replayed.At("nonce", Replayed.Clause)
	}
	_, err = tx.Exec(`DELETE FROM used_nonce WHERE at < $1`, now.Add(-4*Window).UnixMilli())
	return err
}
