package audit

import (
	"archive/zip"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// ActArchive is the act of closing a period.
const ActArchive = "audit.archive"

// Archive is a period that an auditor closed: the trail up to its end as a file
// that anybody verifies with the checkpoint key alone. (日志归档)
type Archive struct {
	N     int64     `json:"n"`
	First int64     `json:"first"` // entries of the period
	Last  int64     `json:"last"`
	SM3   []byte    `json:"sm3"` // of the file
	Size  int64     `json:"size"`
	Who   string    `json:"who"`
	At    time.Time `json:"at"`
}

// File is the archive's name.
func (a Archive) File() string { return fmt.Sprintf("audit-%04d-%d-%d.zip", a.N, a.First, a.Last) }

// Archives are the periods closed so far, oldest first.
func (t *Trail) Archives(ctx context.Context) (list []Archive, err error) {
	rows, err := t.DB.Query(ctx, `SELECT n, first, last, sm3, size, who, at FROM audit_archive ORDER BY n`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a Archive
		var at int64
		if err := rows.Scan(&a.N, &a.First, &a.Last, &a.SM3, &a.Size, &a.Who, &at); err != nil {
			return nil, err
		}
		a.At = time.UnixMilli(at).UTC()
		list = append(list, a)
	}
	return list, rows.Err()
}

// ArchivePlan prepares the closing of a period: what was marked since the period
// before, and all of it.
func (t *Trail) ArchivePlan(ctx context.Context, who access.Person) (MarkPlan, error) {
	if !who.Holds(t.Auditor) {
		return MarkPlan{}, access.WrongRole.At("role", access.WrongRole.Clause).Because("日志归档须由%s办理", t.Auditor.Title())
	}
	marks, err := t.marked(ctx)
	if err != nil {
		return MarkPlan{}, err
	}
	done, err := t.Archives(ctx)
	if err != nil {
		return MarkPlan{}, err
	}
	p := MarkPlan{Title: "日志归档", Last: -1}
	for _, m := range marks {
		p.Last = max(p.Last, m.Last)
	}
	for _, a := range done {
		p.First = max(p.First, a.Last+1)
	}
	if p.Last < p.First {
		return MarkPlan{}, NotMarked.At("last", NotMarked.Clause)
	}
	leaves, err := ledger.Leaves(ctx, t.DB, Log, p.Last, p.Last+1)
	if err != nil {
		return MarkPlan{}, err
	}
	p.Object = fmt.Sprintf("第 %d 期，审计记录 %d 至 %d", len(done)+1, p.First, p.Last)
	p.Items = []access.Item{{Kind: "archive", ID: fmt.Sprintf("%d-%d", p.First, p.Last), Seq: len(done), Digest: alg.Digest(leaves...)}}
	return p, nil
}

// Close keeps the trail as a file in dir and records the period, with the
// auditor's statement, as a further entry. The file is durable first: a file
// that nobody recorded is written again.
func (t *Trail) Close(ctx context.Context, dir string, p MarkPlan, by access.Command, file []byte) (Archive, error) {
	now := t.Now()
	a := Archive{N: int64(p.Items[0].Seq) + 1, First: p.First, Last: p.Last, SM3: alg.Digest(file), Size: int64(len(file)), Who: string(by.Who().ID), At: now.UTC().Truncate(time.Millisecond)}
	if err := keep(dir, a.File(), file); err != nil {
		return a, fmt.Errorf("keeping the archive: %w", err)
	}
	return a, t.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := access.Spend(tx, by, now); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO audit_archive (n, first, last, sm3, size, who, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`, a.N, a.First, a.Last, a.SM3, a.Size, a.Who, now.UnixMilli()); err != nil {
			return err
		}
		return Append(tx, Entry{
			Start: now, End: now, Who: a.Who, Role: string(t.Auditor), Item: ActArchive, Object: fmt.Sprintf("%s SM3 %x", a.File(), a.SM3), Result: Done,
			Detail: string(by.Signed().Text), Proof: by.Signed().Signature,
		})
	})
}

func keep(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, name), data, 0o600)
}

// archiveMax bounds an archive read into memory.
const archiveMax = 1 << 30

// Read returns an archive's file, checked against what is on record.
func (t *Trail) Read(ctx context.Context, dir string, n int64) (a Archive, data []byte, err error) {
	a, err = t.archive(ctx, n)
	if err != nil {
		return a, nil, err
	}
	name := filepath.Join(dir, a.File())
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (info.Size() != a.Size || a.Size > archiveMax) {
		return a, nil, Altered.At("n", Altered.Clause).Because("%s", a.File())
	}
	if err != nil {
		return a, nil, err
	}
	if data, err = os.ReadFile(name); err != nil {
		return a, nil, err
	}
	if !bytes.Equal(alg.Digest(data), a.SM3) {
		return a, nil, Altered.At("n", Altered.Clause).Because("%s", a.File())
	}
	return a, data, nil
}

func (t *Trail) archive(ctx context.Context, n int64) (a Archive, err error) {
	var at int64
	err = t.DB.QueryRow(ctx, `SELECT n, first, last, sm3, size, who, at FROM audit_archive WHERE n = $1`, n).Scan(&a.N, &a.First, &a.Last, &a.SM3, &a.Size, &a.Who, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return a, NoArchive.At("n", NoArchive.Clause).Because("%d", n)
	}
	a.At = time.UnixMilli(at).UTC()
	return a, err
}

// Archived finds entries of a closed period in its file, not in the database,
// newest first.
func (t *Trail) Archived(ctx context.Context, dir string, n int64, q Query) ([]Line, error) {
	a, data, err := t.Read(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if q.Limit <= 0 || q.Limit > PageMax {
		q.Limit = PageMax
	}
	src := ledger.Archive(z)
	note, err := src.Get(ctx, "checkpoint")
	if err != nil {
		return nil, err
	}
	cp, err := ledger.PeekCheckpoint(note) // the file as a whole is the one on record
	if err != nil {
		return nil, err
	}
	var lines []Line
	var bad error
	err = ledger.Scan(ctx, src, a.First, cp.Size, func(index int64, leaf []byte) {
		if index > a.Last {
			return
		}
		r, err := record.Parse(leaf)
		if err != nil || r.Kind != KindAct {
			bad = errors.Join(bad, err)
			return
		}
		e, err := ParseEntry(r.Body)
		if bad = errors.Join(bad, err); err == nil && q.takes(index, e) {
			if lines = append(lines, Line{index, e, true}); len(lines) > q.Limit {
				lines = lines[1:]
			}
		}
	})
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines, errors.Join(err, bad)
}

// takes reports whether a query matches an entry, as the database would.
func (q Query) takes(index int64, e Entry) bool {
	for _, f := range []struct{ want, have string }{{q.Who, e.Who}, {q.Item, e.Item}, {q.Object, e.Object}, {strings.ToUpper(q.Serial), e.Serial}, {q.Result, e.Result}} {
		if f.want != "" && f.want != f.have {
			return false
		}
	}
	return (q.From.IsZero() || !e.End.Before(q.From)) && (q.To.IsZero() || e.End.Before(q.To)) && (q.Before <= 0 || index < q.Before)
}

// TrailFigure is how often something happened.
type TrailFigure struct {
	Key     string `json:"key"`
	Done    int64  `json:"done"`
	Refused int64  `json:"refused"`
}

// TrailFigures count the entries of a time by item and by person. (审计统计)
type TrailFigures struct {
	Items    []TrailFigure `json:"items"`
	People   []TrailFigure `json:"people"`
	Total    int64         `json:"total"`
	Unmarked int64         `json:"unmarked"`
}

// figuresMax bounds the rows of each count: items are few, machines and strangers
// may be many.
const figuresMax = 500

// Count counts entries written from one time to another; zero times are open.
func (t *Trail) Count(ctx context.Context, from, to time.Time) (f TrailFigures, err error) {
	first, last := int64(0), int64(1)<<62
	if !from.IsZero() {
		first = from.UnixMilli()
	}
	if !to.IsZero() {
		last = to.UnixMilli()
	}
	for _, c := range []struct {
		column string
		list   *[]TrailFigure
	}{{"item", &f.Items}, {"who", &f.People}} {
		if *c.list, err = t.figures(ctx, c.column, first, last); err != nil {
			return f, err
		}
	}
	if err := t.DB.QueryRow(ctx, `SELECT COUNT(*) FROM audit_entry WHERE at >= $1 AND at < $2`, first, last).Scan(&f.Total); err != nil {
		return f, err
	}
	err = t.DB.QueryRow(ctx, `SELECT COUNT(*) FROM audit_entry WHERE at >= $1 AND at < $2 AND idx > (SELECT COALESCE(MAX(last), -1) FROM audit_mark)`, first, last).Scan(&f.Unmarked)
	return f, err
}

func (t *Trail) figures(ctx context.Context, column string, first, last int64) ([]TrailFigure, error) {
	list := []TrailFigure{}
	rows, err := t.DB.Query(ctx, `SELECT `+column+`, SUM(CASE WHEN result = 'done' THEN 1 ELSE 0 END), SUM(CASE WHEN result = 'done' THEN 0 ELSE 1 END)
		FROM audit_entry WHERE at >= $1 AND at < $2 GROUP BY `+column+` ORDER BY COUNT(*) DESC, `+column+` LIMIT $3`, first, last, figuresMax)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var g TrailFigure
		if err := rows.Scan(&g.Key, &g.Done, &g.Refused); err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, rows.Err()
}
