package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"modernc.org/sqlite"
)

// Snapshot copies a SQLite database, as one committed state of it, to a file
// that must not exist. It is a reader like any other: in WAL mode writers go on
// meanwhile. Pages keep their places, so two snapshots differ only where the
// database does; VACUUM INTO would shift them all.
func Snapshot(ctx context.Context, source, to string) error {
	if _, err := os.Stat(to); err == nil {
		return fmt.Errorf("snapshot: %s exists", to)
	}
	db, err := sql.Open("sqlite", "file:"+escape(source)+"?mode=rw&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", source, err)
	}
	defer conn.Close()
	err = conn.Raw(func(c any) error {
		b, err := c.(interface {
			NewBackup(string) (*sqlite.Backup, error)
		}).NewBackup("file:" + escape(to))
		if err != nil {
			return err
		}
		// All pages in one step: a read transaction, hence one state.
		more, err := b.Step(-1)
		if err == nil && more {
			err = errors.New("unfinished")
		}
		return errors.Join(err, b.Finish())
	})
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", source, err)
	}
	return nil
}

// Sound has SQLite check a database file that nobody uses: every page, every
// index against its table.
func Sound(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", "file:"+escape(file)+"?mode=rw")
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `PRAGMA integrity_check(10)`)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer rows.Close()
	var bad []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		if s != "ok" {
			bad = append(bad, s)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s: %s", file, strings.Join(bad, "; "))
	}
	return rows.Err()
}

// Versions tells the newest migration of every room in a database.
func (d *DB) Versions(ctx context.Context) (map[string]int, error) {
	rows, err := d.Query(ctx, `SELECT room, MAX(version) FROM migration GROUP BY room`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	v := map[string]int{}
	for rows.Next() {
		var room string
		var n int
		if err := rows.Scan(&room, &n); err != nil {
			return nil, err
		}
		v[room] = n
	}
	return v, rows.Err()
}
