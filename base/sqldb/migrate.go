package sqldb

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/emmansun/gmsm/sm3"
)

// Migrate brings the schema of one room up to date from numbered files
// ("001_certificates.sql"). Each runs once, in a transaction; its SM3 is kept
// and a file that changed afterwards is refused. Several rooms may share a
// database: each has its own name.
func (d *DB) Migrate(ctx context.Context, room string, files fs.FS) error {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	return d.Write(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(`CREATE TABLE IF NOT EXISTS migration (room TEXT NOT NULL, version BIGINT NOT NULL, sm3 TEXT NOT NULL, PRIMARY KEY (room, version))`); err != nil {
			return fmt.Errorf("migration table: %w", err)
		}
		done, err := applied(tx, room)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := d.apply(tx, room, files, name, done); err != nil {
				return fmt.Errorf("%s/%s: %w", room, name, err)
			}
		}
		return nil
	})
}

func applied(tx *Tx, room string) (map[int]string, error) {
	rows, err := tx.Query(`SELECT version, sm3 FROM migration WHERE room = $1`, room)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	done := map[int]string{}
	for rows.Next() {
		var v int
		var sum string
		if err := rows.Scan(&v, &sum); err != nil {
			return nil, err
		}
		done[v] = sum
	}
	return done, rows.Err()
}

func (d *DB) apply(tx *Tx, room string, files fs.FS, name string, done map[int]string) error {
	number, _, _ := strings.Cut(name, "_")
	version, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("file name must begin with a number: %w", err)
	}
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	sum := sm3.Sum(text)
	have := hex.EncodeToString(sum[:])
	if was, ok := done[version]; ok {
		if was != have {
			return fmt.Errorf("changed after it was applied (have SM3 %s, applied %s)", have, was)
		}
		return nil
	}
	for stmt := range strings.SplitSeq(d.types(string(text)), ";") {
		if strings.TrimSpace(stmt) == "" {
			continue
		}
		if _, err := d.prepared.c.ExecContext(tx.ctx, stmt); err != nil {
			return err
		}
	}
	_, err = tx.Exec(`INSERT INTO migration (room, version, sm3) VALUES ($1, $2, $3)`, room, version, have)
	return err
}

// types lets SQLite keep BYTEA as it is (its affinity is BLOB-like NUMERIC
// otherwise) and gives both engines the same words.
func (d *DB) types(text string) string {
	if d.Postgres {
		return text
	}
	return strings.ReplaceAll(text, "BYTEA", "BLOB")
}
