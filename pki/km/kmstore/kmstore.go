// Package kmstore keeps the key centre's stores in a database. (密钥库)
//
// Standby pairs have a table of their own, so that taking the oldest is a read
// and a delete at its lower end however many pairs are in use. One row counts
// all three stores; every change begins by updating it, which puts changes by
// several processes in order.
package kmstore

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
)

//go:embed schema/*.sql
var schema embed.FS

// Store is the key centre's store on SQLite or PostgreSQL.
type Store struct{ DB *sqldb.DB }

var _ km.Store = (*Store)(nil)

// Open prepares a database and returns the store.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := audit.Migrate(ctx, db); err != nil {
		return nil, err
	}
	return &Store{DB: db}, db.Migrate(ctx, "km", files)
}

const taskQuery = `SELECT digest, outcome, response, at FROM task WHERE ca = $1 AND no = $2`

// Task returns the message on record under a task number.
func (s *Store) Task(ctx context.Context, ca string, no []byte) (km.Task, bool, error) {
	t := km.Task{CA: ca, No: no}
	found, err := scanTask(s.DB.QueryRow(ctx, taskQuery, ca, no).Scan, &t)
	return t, found, err
}

func scanTask(scan func(...any) error, t *km.Task) (bool, error) {
	var at int64
	err := scan(&t.Digest, &t.Outcome, &t.Response, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	t.At = time.UnixMilli(at).UTC()
	return err == nil, err
}

// count changes the numbers of pairs. It comes first in every change: its row
// is the lock under which the change sees and leaves the stores consistent.
func count(tx *sqldb.Tx, standby, inUse, history int) error {
	_, err := tx.Exec(`UPDATE vault SET standby = standby + $1, in_use = in_use + $2, history = history + $3 WHERE one = 1`, standby, inUse, history)
	return err
}

// Begin puts a message on record with its effect.
func (s *Store) Begin(ctx context.Context, t km.Task, serials [][]byte, fresh []hsm.Pair, decide func(map[string]km.Record) km.Effect) (km.Task, map[string]km.Record, error) {
	var kept km.Task
	var held map[string]km.Record
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := count(tx, 0, 0, 0); err != nil {
			return err
		}
		kept = km.Task{CA: t.CA, No: t.No}
		found, err := scanTask(func(dest ...any) error { return tx.Scan(taskQuery, []any{t.CA, t.No}, dest...) }, &kept)
		if err != nil {
			return err
		}
		if held, err = records(tx, t.CA, serials); err != nil || found {
			return err
		}
		kept = t
		return effect(tx, &kept, held, fresh, decide(held))
	})
	return kept, held, err
}

// effect carries out what was decided and brings held up to date.
func effect(tx *sqldb.Tx, t *km.Task, held map[string]km.Record, fresh []hsm.Pair, e km.Effect) error {
	t.Outcome = e.Outcome
	if err := take(tx, e.Take, fresh); err != nil {
		return err
	}
	for _, r := range e.Take {
		held[string(r.Serial)] = r
	}
	for _, r := range e.Reseal {
		if _, err := tx.Exec(`UPDATE held SET sealed_to = $1 WHERE ca = $2 AND serial = $3`, r.SealedTo, r.CA, r.Serial); err != nil {
			return err
		}
		old := held[string(r.Serial)]
		old.SealedTo = r.SealedTo
		held[string(r.Serial)] = old
	}
	for _, serial := range e.Retire {
		n, err := tx.Exec(`UPDATE held SET state = $1, retired_at = $2 WHERE ca = $3 AND serial = $4 AND state = $5`,
			int(km.History), t.At.UnixMilli(), t.CA, serial, int(km.InUse))
		if err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("retiring: %d pairs in use", n))
		}
		old := held[string(serial)]
		old.State, old.RetiredAt = km.History, t.At
		held[string(serial)] = old
	}
	if err := count(tx, 0, len(e.Take)-len(e.Retire), len(e.Retire)); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO task (ca, no, digest, outcome, at) VALUES ($1, $2, $3, $4, $5)`, t.CA, t.No, t.Digest, t.Outcome, t.At.UnixMilli()); err != nil {
		return err
	}
	return audit.Append(tx, e.Lines...)
}

// take gives each record a pair and stores it.
func take(tx *sqldb.Tx, list []km.Record, fresh []hsm.Pair) error {
	if len(list) == 0 {
		return nil
	}
	var err error
	if fresh == nil {
		err = fromStandby(tx, list)
	} else if len(fresh) < len(list) {
		err = km.ErrShort
	} else {
		var first int64
		first, err = reserve(tx, len(list))
		for i := range list {
			list[i].ID, list[i].Pair = first+int64(i), fresh[i]
		}
	}
	if err != nil {
		return err
	}
	if err := inService(tx, fresh); err != nil {
		return err
	}
	rows := make([][]any, len(list))
	for i, r := range list {
		w := r.Pair.Private
		rows[i] = []any{
			r.CA, r.Serial, r.ID, int(r.State), r.Pair.Point, w.Version, w.Master, w.Blob, r.From.UnixMilli(), r.To.UnixMilli(),
			[]byte(r.UserName), []byte(r.Region), r.SealedTo, r.Task, r.TakenAt.UnixMilli(), int64(0),
		}
	}
	return tx.InsertMany(`INSERT INTO held (`+columns+`)`, rows)
}

// fromStandby takes the oldest pairs out of the standby store.
func fromStandby(tx *sqldb.Tx, list []km.Record) error {
	rows, err := tx.Query(`SELECT pair, point, version, master, blob FROM standby ORDER BY pair LIMIT $1`, len(list))
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		p := &list[n].Pair
		if err := rows.Scan(&list[n].ID, &p.Point, &p.Private.Version, &p.Private.Master, &p.Private.Blob); err != nil {
			return err
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if n < len(list) {
		return km.ErrShort
	}
	gone, err := tx.Exec(`DELETE FROM standby WHERE pair <= $1`, list[n-1].ID)
	if err != nil || gone != int64(n) {
		return errors.Join(err, fmt.Errorf("took %d standby pairs, %d are gone", n, gone))
	}
	return count(tx, -n, 0, 0)
}

// reserve numbers n new pairs.
func reserve(tx *sqldb.Tx, n int) (first int64, err error) {
	if _, err := tx.Exec(`UPDATE vault SET next = next + $1 WHERE one = 1`, n); err != nil {
		return 0, err
	}
	err = tx.Scan(`SELECT next FROM vault WHERE one = 1`, nil, &first)
	return first - int64(n), err
}

const columns = `ca, serial, pair, state, point, version, master, blob, not_before, not_after, user_name, region, sealed_to, task, taken_at, retired_at`

// sizes are the few lengths an IN list has, so that few statements are prepared.
var sizes = []int{1, 8, 64, 256}

// records reads the records under serials.
func records(tx *sqldb.Tx, ca string, serials [][]byte) (map[string]km.Record, error) {
	held := make(map[string]km.Record, len(serials))
	for len(serials) > 0 {
		size := sizes[len(sizes)-1]
		for _, n := range sizes {
			if n >= len(serials) {
				size = n
				break
			}
		}
		n := min(size, len(serials))
		marks, args := make([]string, size), make([]any, size+1)
		args[0] = ca
		for i := range size {
			marks[i], args[i+1] = "$"+strconv.Itoa(i+2), serials[min(i, n-1)]
		}
		rows, err := tx.Query(`SELECT `+columns+` FROM held WHERE ca = $1 AND serial IN (`+strings.Join(marks, ",")+`)`, args...)
		if err != nil {
			return nil, err
		}
		if err := collect(rows, held); err != nil {
			return nil, err
		}
		serials = serials[n:]
	}
	return held, nil
}

func collect(rows *sql.Rows, held map[string]km.Record) error {
	defer rows.Close()
	for rows.Next() {
		r, err := scan(rows.Scan)
		if err != nil {
			return err
		}
		held[string(r.Serial)] = r
	}
	return rows.Err()
}

func scan(scan func(...any) error) (r km.Record, err error) {
	var from, to, taken, retired int64
	var name, region []byte
	w := &r.Pair.Private
	err = scan(&r.CA, &r.Serial, &r.ID, &r.State, &r.Pair.Point, &w.Version, &w.Master, &w.Blob, &from, &to,
		&name, &region, &r.SealedTo, &r.Task, &taken, &retired)
	r.UserName, r.Region = string(name), string(region)
	r.From, r.To, r.TakenAt = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC(), time.UnixMilli(taken).UTC()
	if retired != 0 {
		r.RetiredAt = time.UnixMilli(retired).UTC()
	}
	return r, err
}

// Finish keeps the response to an open message.
func (s *Store) Finish(ctx context.Context, t km.Task, line audit.Entry) ([]byte, error) {
	var kept []byte
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(`UPDATE task SET response = $1 WHERE ca = $2 AND no = $3 AND response IS NULL`, t.Response, t.CA, t.No)
		if err != nil {
			return err
		}
		if n == 1 {
			kept = t.Response
			return audit.Append(tx, line)
		}
		return tx.Scan(`SELECT response FROM task WHERE ca = $1 AND no = $2`, []any{t.CA, t.No}, &kept)
	})
	return bytes.Clone(kept), err
}

// Deposit adds pairs to the standby store.
func (s *Store) Deposit(ctx context.Context, pairs []hsm.Pair, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := count(tx, len(pairs), 0, 0); err != nil {
			return err
		}
		if err := inService(tx, pairs); err != nil {
			return err
		}
		first, err := reserve(tx, len(pairs))
		if err != nil {
			return err
		}
		rows := make([][]any, len(pairs))
		for i, p := range pairs {
			rows[i] = []any{first + int64(i), p.Point, p.Private.Version, p.Private.Master, p.Private.Blob}
		}
		if err := tx.InsertMany(`INSERT INTO standby (pair, point, version, master, blob)`, rows); err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Expire moves pairs whose certificates have ended to the history.
func (s *Store) Expire(ctx context.Context, at time.Time, limit int, line audit.Entry) (int, error) {
	var n int64
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if err := count(tx, 0, 0, 0); err != nil {
			return err
		}
		n, err = tx.Exec(`UPDATE held SET state = 3, retired_at = $1 WHERE pair IN (SELECT pair FROM held WHERE state = 2 AND not_after < $2 ORDER BY not_after LIMIT $3)`,
			at.UnixMilli(), at.UnixMilli(), limit)
		if err != nil || n == 0 {
			return err
		}
		if err := count(tx, 0, -int(n), int(n)); err != nil {
			return err
		}
		moved := line // this may run again
		moved.Detail = strconv.FormatInt(n, 10)
		return audit.Append(tx, moved)
	})
	return int(n), err
}

// Forget drops old responses.
func (s *Store) Forget(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int64
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		rows, err := tx.Query(`SELECT ca, no FROM task WHERE response IS NOT NULL AND at < $1 ORDER BY at LIMIT $2`, before.UnixMilli(), limit)
		if err != nil {
			return err
		}
		keys, err := keysOf(rows)
		if err != nil {
			return err
		}
		n = int64(len(keys))
		for _, k := range keys {
			if _, err := tx.Exec(`UPDATE task SET response = NULL WHERE ca = $1 AND no = $2`, k.ca, k.no); err != nil {
				return err
			}
		}
		return nil
	})
	return int(n), err
}

type key struct {
	ca string
	no []byte
}

func keysOf(rows *sql.Rows) (keys []key, err error) {
	defer rows.Close()
	for rows.Next() {
		var k key
		if err := rows.Scan(&k.ca, &k.no); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// Record returns the pair of a certificate.
func (s *Store) Record(ctx context.Context, ca string, serial []byte) (km.Record, bool, error) {
	r, err := scan(s.DB.QueryRow(ctx, `SELECT `+columns+` FROM held WHERE ca = $1 AND serial = $2`, ca, serial).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return km.Record{}, false, nil
	}
	return r, err == nil, err
}

// Count reports how many pairs lie in each store.
func (s *Store) Count(ctx context.Context) (map[km.State]int, error) {
	var standby, inUse, history int
	err := s.DB.QueryRow(ctx, `SELECT standby, in_use, history FROM vault WHERE one = 1`).Scan(&standby, &inUse, &history)
	return map[km.State]int{km.Standby: standby, km.InUse: inUse, km.History: history}, err
}

// Note writes one audit line.
func (s *Store) Note(ctx context.Context, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}
