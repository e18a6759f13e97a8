package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Tx is the transaction a Write runs in. Its methods must not be used after
// the function given to Write returns.
type Tx struct {
	db  *DB
	ctx context.Context
}

// Held is why acts may not be written to this database now.
func (t *Tx) Held() error {
	if f := t.db.hold.Load(); f != nil && *f != nil {
		return (*f)()
	}
	return nil
}

// Exec runs a statement and returns how many rows it changed.
func (t *Tx) Exec(q string, args ...any) (int64, error) {
	s, err := t.db.prepared.stmt(t.ctx, t.db.dialect(q))
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Query reads rows as the transaction sees them. Close them before the next call.
func (t *Tx) Query(q string, args ...any) (*sql.Rows, error) {
	s, err := t.db.prepared.stmt(t.ctx, t.db.dialect(q))
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.ctx, args...)
}

// Scan reads one row into dest; sql.ErrNoRows when there is none.
func (t *Tx) Scan(q string, args []any, dest ...any) error {
	s, err := t.db.prepared.stmt(t.ctx, t.db.dialect(q))
	if err != nil {
		return err
	}
	return s.QueryRowContext(t.ctx, args...).Scan(dest...)
}

// paramsMax is below the bound of both engines on values in one statement.
const paramsMax = 16000

// InsertMany adds rows to table, many in one statement. head is the statement
// up to VALUES: "INSERT INTO leaf (log, idx, data)"; each row has as many
// values as head has columns.
func (t *Tx) InsertMany(head string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	cols := len(rows[0])
	for _, size := range []int{256, 64, 16, 4, 1} { // few sizes, so few prepared statements
		for size*cols <= paramsMax && len(rows) >= size {
			if _, err := t.Exec(values(head, size, cols, t.db.Postgres), flatten(rows[:size], cols)...); err != nil {
				return fmt.Errorf("%s: %w", head, err)
			}
			rows = rows[size:]
		}
	}
	return nil
}

func flatten(rows [][]any, cols int) []any {
	args := make([]any, 0, len(rows)*cols)
	for _, r := range rows {
		args = append(args, r...)
	}
	return args
}

// values writes the statement. SQLite looks numbered parameters up one by one,
// which grows with the square of their number; in order they need no numbers.
func values(head string, rows, cols int, numbered bool) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(" VALUES ")
	n := 0
	for r := range rows {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for c := range cols {
			if c > 0 {
				b.WriteByte(',')
			}
			n++
			if !numbered {
				b.WriteByte('?')
				continue
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// prepared keeps the writer's one connection and its statements.
type prepared struct {
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func (p *prepared) conn(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	if p.c != nil {
		return p.c, nil
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	p.c, p.stmts = c, map[string]*sql.Stmt{}
	return c, nil
}

func (p *prepared) stmt(ctx context.Context, q string) (*sql.Stmt, error) {
	if s := p.stmts[q]; s != nil {
		return s, nil
	}
	s, err := p.c.PrepareContext(ctx, q)
	if err != nil {
		return nil, err
	}
	p.stmts[q] = s
	return s, nil
}

// end gives the connection back.
func (p *prepared) end() (err error) {
	for _, s := range p.stmts {
		err = errors.Join(err, s.Close())
	}
	if p.c != nil {
		err = errors.Join(err, p.c.Close())
	}
	p.c, p.stmts = nil, nil
	return err
}

// drop forgets a connection that may be broken; the next group opens another.
func (p *prepared) drop() {
	if p.c != nil {
		_ = p.c.Raw(func(any) error { return driver.ErrBadConn })
		_ = p.c.Close()
	}
	p.c, p.stmts = nil, nil
}
