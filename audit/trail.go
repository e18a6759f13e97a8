package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// Trail is the audit ledger of one database, as its auditor reads it.
type Trail struct {
	DB      *sqldb.DB
	Auditor access.Role // marks what has been looked through
	Admin   access.Role // reads too, and makes auditors; may be none
	Now     func() time.Time
}

// Readable reports whether somebody may read the trail and take it away.
func (t *Trail) Readable(who access.Person) bool {
	return who.Holds(t.Auditor) || t.Admin != "" && who.Holds(t.Admin)
}

// Line is an entry as listed. Marked tells whether an auditor has seen it.
type Line struct {
	Index  int64 `json:"index"`
	Entry  Entry `json:"entry"`
	Marked bool  `json:"marked"`
}

// Query finds entries. Empty fields match all.
type Query struct {
	Who, Item, Object, Serial, Result string
	From, To                          time.Time
	Before                            int64 // index; 0 is from the newest
	Limit                             int
}

// PageMax bounds one page of entries.
const PageMax = 500

// List returns entries, newest first.
func (t *Trail) List(ctx context.Context, q Query) ([]Line, error) {
	var where []string
	var args []any
	add := func(cond string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf(cond, len(args)))
	}
	for _, f := range []struct{ column, value string }{{"who", q.Who}, {"item", q.Item}, {"object", q.Object}, {"serial", strings.ToUpper(q.Serial)}, {"result", q.Result}} {
		if f.value != "" {
			add(f.column+" = $%d", f.value)
		}
	}
	if !q.From.IsZero() {
		add("at >= $%d", q.From.UnixMilli())
	}
	if !q.To.IsZero() {
		add("at < $%d", q.To.UnixMilli())
	}
	if q.Before > 0 {
		add("idx < $%d", q.Before)
	}
	text := `SELECT idx FROM audit_entry`
	if len(where) > 0 {
		text += ` WHERE ` + strings.Join(where, " AND ")
	}
	if q.Limit <= 0 || q.Limit > PageMax {
		q.Limit = PageMax
	}
	args = append(args, q.Limit)
	rows, err := t.DB.Query(ctx, text+fmt.Sprintf(` ORDER BY idx DESC LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var lines []Line
	for rows.Next() {
		var l Line
		if err := rows.Scan(&l.Index); err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return lines, t.fill(ctx, lines)
}

// fill reads the leaves themselves: the columns are only an index to them.
func (t *Trail) fill(ctx context.Context, lines []Line) error {
	seen, err := t.marked(ctx)
	if err != nil {
		return err
	}
	for i := range lines {
		leaves, err := ledger.Leaves(ctx, t.DB, Log, lines[i].Index, lines[i].Index+1)
		if err != nil {
			return err
		}
		if len(leaves) != 1 {
			return fmt.Errorf("audit: entry %d is missing", lines[i].Index)
		}
		e, err := record.Parse(leaves[0])
		if err != nil {
			return err
		}
		if lines[i].Entry, err = ParseEntry(e.Body); err != nil {
			return err
		}
		for _, m := range seen {
			lines[i].Marked = lines[i].Marked || lines[i].Index >= m.First && lines[i].Index <= m.Last
		}
	}
	return nil
}

// Mark says that an auditor has looked through entries First to Last. (已审计)
type Mark struct {
	Index int64  `json:"index"`
	First int64  `json:"first"`
	Last  int64  `json:"last"`
	Who   string `json:"who"`
	At    int64  `json:"at"` // Unix milliseconds
}

func (t *Trail) marked(ctx context.Context) ([]Mark, error) {
	rows, err := t.DB.Query(ctx, `SELECT idx, first, last, who, at FROM audit_mark ORDER BY idx`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var marks []Mark
	for rows.Next() {
		var m Mark
		if err := rows.Scan(&m.Index, &m.First, &m.Last, &m.Who, &m.At); err != nil {
			return nil, err
		}
		marks = append(marks, m)
	}
	return marks, rows.Err()
}

// MarkPlan is what an auditor signs to mark everything up to an entry: the
// entries are named by the root of the trail so far.
type MarkPlan struct {
	First, Last int64
	Title       string
	Object      string
	Items       []access.Item
}

// ActMark is the act of marking.
const ActMark = "audit.mark"

// Plan prepares the mark over the entries not yet marked, up to last; 0 is all
// there are. What is not there yet cannot have been looked through.
func (t *Trail) Plan(ctx context.Context, who access.Person, last int64) (MarkPlan, error) {
	if !who.Holds(t.Auditor) {
		return MarkPlan{}, access.WrongRole.At("role", access.WrongRole.Clause).Because("审计标记须由%s办理", t.Auditor.Title())
	}
	marks, err := t.marked(ctx)
	if err != nil {
		return MarkPlan{}, err
	}
	p := MarkPlan{Title: "标记已审计"}
	for _, m := range marks {
		p.First = max(p.First, m.Last+1)
	}
	var newest int64
	if err := t.DB.QueryRow(ctx, `SELECT COALESCE(MAX(idx), -1) FROM audit_entry`).Scan(&newest); err != nil {
		return MarkPlan{}, err
	}
	if last < 0 || last > max(newest, 0) {
		return MarkPlan{}, NoSuchEntry.At("last", NoSuchEntry.Clause).Because("写了 %d，最后一条是 %d", last, newest)
	}
	if p.Last = newest; last > 0 {
		p.Last = last
	}
	if p.Last < p.First {
		return MarkPlan{}, NothingNew.At("last", NothingNew.Clause)
	}
	leaves, err := ledger.Leaves(ctx, t.DB, Log, p.First, p.Last+1)
	if err != nil {
		return MarkPlan{}, err
	}
	p.Object = fmt.Sprintf("审计记录 %d 至 %d", p.First, p.Last)
	p.Items = []access.Item{{Kind: "audit", ID: fmt.Sprintf("%d-%d", p.First, p.Last), Seq: int(p.First), Digest: alg.Digest(leaves...)}}
	return p, nil
}

// Mark records the auditor's signed mark as a further entry of the trail. The
// entries it is about never change.
func (t *Trail) Mark(ctx context.Context, p MarkPlan, by access.Command) error {
	who, now := by.Who(), t.Now()
	return t.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := access.Spend(tx, by, now); err != nil {
			return err
		}
		e := Entry{
			Start: now, End: now, Who: string(who.ID), Role: string(t.Auditor), Item: ActMark, Object: p.Object, Result: Done,
			Detail: string(by.Signed().Text), Proof: by.Signed().Signature,
		}
		if err := Append(tx, e); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO audit_mark (idx, first, last, who, at) VALUES ((SELECT MAX(idx) FROM audit_entry), $1, $2, $3, $4)`, p.First, p.Last, string(who.ID), now.UnixMilli())
		return err
	})
}

// Refuse writes a refusal in a transaction of its own.
func (t *Trail) Refuse(ctx context.Context, e Entry) error {
	return t.DB.Write(ctx, func(tx *sqldb.Tx) error { return Append(tx, e) })
}
