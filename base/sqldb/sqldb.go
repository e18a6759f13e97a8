// Package sqldb opens a database and writes to it in groups. (数据库)
//
// One writer goroutine takes whatever work has queued up, runs it in one
// transaction and commits once: under load many acts share one disk flush
// (group commit), alone an act pays for its own. Statements are plain SQL with
// $1 placeholders in the common subset of SQLite and PostgreSQL; times are
// Unix milliseconds in BIGINT, bytes are BYTEA.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // PostgreSQL driver
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// ErrClosed is returned by Write after Close.
var ErrClosed = errors.New("sqldb: closed")

// Damaged reports whether err says that a file is no database, or no longer one.
func Damaged(err error) bool {
	at, ok := errors.AsType[*sqlite.Error](err)
	return ok && (at.Code()&0xFF == lib.SQLITE_CORRUPT || at.Code()&0xFF == lib.SQLITE_NOTADB)
}

// groupMax bounds the acts that share one commit: enough to hide a flush,
// few enough that none waits long for its neighbours.
const groupMax = 256

// DB is one database of one zone.
type DB struct {
	Postgres bool
	read     *sql.DB
	write    *sql.DB
	queue    chan *job
	quit     chan struct{}
	done     chan struct{}
	prepared prepared
	hold     atomic.Pointer[func() error]
}

// Hold sets who is asked, within a transaction, whether acts may be written:
// somebody who watches over what they leave behind. nil lets them pass.
func (d *DB) Hold(held func() error) { d.hold.Store(&held) }

type job struct {
	ctx  context.Context
	fn   func(*Tx) error
	err  error
	done chan struct{}
}

// Open opens source: a file name, or a postgres:// URL.
func Open(ctx context.Context, source string) (*DB, error) {
	d := &DB{queue: make(chan *job, groupMax), quit: make(chan struct{}), done: make(chan struct{})}
	d.Postgres = strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://")
	driver, w, r := "pgx", source, source
	if !d.Postgres {
		driver = "sqlite"
		base := "file:" + escape(source) + "?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)"
		w, r = base+"&_txlock=immediate", base+"&_pragma=query_only(1)"
	}
	var err error
	if d.write, err = sql.Open(driver, w); err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	if d.read, err = sql.Open(driver, r); err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	d.read.SetMaxOpenConns(8)
	d.read.SetMaxIdleConns(8)
	if !d.Postgres {
		d.write.SetMaxOpenConns(1)
	}
	if err := d.write.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening database: %w", err), d.write.Close(), d.read.Close())
	}
	go d.run()
	return d, nil
}

// escape keeps a path whole inside a file: URI.
func escape(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

// foldWithin bounds the folding at the end; what is left is folded at the next
// opening.
const foldWithin = 10 * time.Second

// Close waits for the work in hand and closes the database. What SQLite keeps
// beside the file is folded into it: the file alone is then the database.
func (d *DB) Close() error {
	close(d.quit)
	<-d.done
	err := errors.Join(d.prepared.end(), d.read.Close())
	if !d.Postgres {
		ctx, cancel := context.WithTimeout(context.Background(), foldWithin)
		defer cancel()
		_, fold := d.write.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
		err = errors.Join(err, fold)
	}
	return errors.Join(err, d.write.Close())
}

// Write runs fn in a transaction and returns once it is durable. fn may run
// more than once (when a neighbour in the same group fails), so it changes
// nothing outside the transaction that a second run would not set again.
// When fn returns an error nothing of it remains.
func (d *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case <-d.quit:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case d.queue <- j:
	}
	select {
	case <-j.done:
		return j.err
	case <-d.done: // closed with the job still queued
		select {
		case <-j.done:
			return j.err
		default:
			return ErrClosed
		}
	}
}

func (d *DB) run() {
	defer close(d.done)
	for {
		select {
		case <-d.quit:
			return
		case first := <-d.queue:
			d.commit(d.gather(first))
		}
	}
}

func (d *DB) gather(first *job) []*job {
	group := []*job{first}
	for len(group) < groupMax {
		select {
		case j := <-d.queue:
			group = append(group, j)
		default:
			return group
		}
	}
	return group
}

// commit runs a group in one transaction. If any of it fails the whole is
// rolled back and each is run alone, so one bad act costs its neighbours only
// time.
func (d *DB) commit(group []*job) {
	if len(group) > 1 && d.together(group) == nil {
		for _, j := range group {
			close(j.done)
		}
		return
	}
	for _, j := range group {
		j.err = d.together([]*job{j})
		close(j.done)
	}
}

func (d *DB) together(group []*job) error {
	ctx := context.Background()
	conn, err := d.prepared.conn(ctx, d.write)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	begin := "BEGIN IMMEDIATE"
	if d.Postgres {
		begin = "BEGIN"
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		d.prepared.drop()
		return fmt.Errorf("database: %w", err)
	}
	tx := &Tx{db: d, ctx: ctx}
	for _, j := range group {
		if err := j.ctx.Err(); err != nil {
			return d.back(conn, err)
		}
		if err := j.fn(tx); err != nil {
			return d.back(conn, err)
		}
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return d.back(conn, fmt.Errorf("committing: %w", err))
	}
	return nil
}

func (d *DB) back(conn *sql.Conn, err error) error {
	if _, e := conn.ExecContext(context.Background(), "ROLLBACK"); e != nil {
		d.prepared.drop()
	}
	return err
}

// Query reads committed rows outside any transaction.
func (d *DB) Query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return d.read.QueryContext(ctx, d.dialect(q), args...)
}

// QueryRow reads one committed row.
func (d *DB) QueryRow(ctx context.Context, q string, args ...any) *sql.Row {
	return d.read.QueryRowContext(ctx, d.dialect(q), args...)
}

// dialect turns $1 into SQLite's ?1, which it numbers as PostgreSQL does.
func (d *DB) dialect(q string) string {
	if d.Postgres {
		return q
	}
	return strings.ReplaceAll(q, "$", "?")
}
