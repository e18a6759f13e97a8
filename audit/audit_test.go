package audit_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// room is a database with a trail and something to have an effect on.
type room struct {
	*audit.Trail
	t *testing.T
}

func newRoom(t *testing.T) *room {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := errors.Join(audit.Migrate(t.Context(), db), access.Migrate(t.Context(), db)); err != nil {
		t.Fatal(err)
	}
	r := &room{&audit.Trail{DB: db, Auditor: access.RAAuditor, Now: func() time.Time { return start }}, t}
	r.exec(`CREATE TABLE effect (n BIGINT)`)
	return r
}

func (r *room) exec(q string) {
	r.t.Helper()
	if err := r.DB.Write(r.t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(q); return err }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) count(q string) (n int) {
	r.t.Helper()
	if err := r.DB.QueryRow(r.t.Context(), q).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// stands checks how many effects and lines there are.
func (r *room) stands(effects, lines int) {
	r.t.Helper()
	if e, l := r.count(`SELECT COUNT(*) FROM effect`), r.count(`SELECT COUNT(*) FROM audit_entry`); e != effects || l != lines {
		r.t.Errorf("%d effects and %d lines, want %d and %d", e, l, effects, lines)
	}
}

// act has an effect and writes its line, then fails with then.
func (r *room) act(e audit.Entry, then error) error {
	return r.DB.Write(r.t.Context(), func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`INSERT INTO effect (n) VALUES (1)`); err != nil {
			return err
		}
		return errors.Join(audit.Append(tx, e), then)
	})
}

func entry(n int) audit.Entry {
	at := start.Add(time.Duration(n) * time.Minute)
	return audit.Entry{
		Start: at, End: at.Add(time.Second), Who: []string{"clerk", "reviewer"}[n%2], Role: "ra.clerk", Item: []string{"ra.draft", "ra.submit", "ra.approve"}[n%3],
		Object: fmt.Sprint("A", n), Serial: fmt.Sprintf("41%02X", n), Result: []string{audit.Done, "case.stale"}[n/4%2], Source: "10.0.0.1", Detail: "䶮㐂𠮷", Proof: []byte{byte(n)},
	}
}

// An act and its line are had together or not at all.
func TestALineIsWrittenWithItsEffect(t *testing.T) {
	r := newRoom(t)
	if err := r.act(entry(0), nil); err != nil {
		t.Fatal(err)
	}
	r.stands(1, 1)
	failed := errors.New("the act failed")
	if err := r.act(entry(1), failed); !errors.Is(err, failed) {
		t.Error(err)
	}
	r.stands(1, 1)
	if err := r.act(entry(2), nil); err != nil {
		t.Fatal(err)
	}
	lines, err := r.List(t.Context(), audit.Query{})
	if err != nil || len(lines) != 2 || lines[0].Index != 1 || lines[0].Entry.Object != "A2" { // no gap where the failed act was
		t.Errorf("%+v %v", lines, err)
	}
}

// An act whose line cannot be written does not happen.
func TestAnActWithoutItsLineFails(t *testing.T) {
	for name, spoil := range map[string]func(r *room, e *audit.Entry){
		"the index is gone": func(r *room, _ *audit.Entry) {
			r.exec(`DROP TABLE audit_entry`)
			r.exec(`CREATE TABLE audit_entry (x BIGINT)`)
		},
		"the ledger is gone":  func(r *room, _ *audit.Entry) { r.exec(`DROP TABLE ledger_leaf`) },
		"the line is too big": func(_ *room, e *audit.Entry) { e.Proof = make([]byte, record.SizeMax) },
	} {
		r := newRoom(t)
		e := entry(0)
		spoil(r, &e)
		if err := r.act(e, nil); err == nil {
			t.Errorf("%s: the act was done", name)
		}
		if err := r.Refuse(t.Context(), e); err == nil {
			t.Errorf("%s: the refusal was written", name)
		}
		r.stands(0, 0)
	}
}

func TestNothingToWriteIsNoError(t *testing.T) {
	r := newRoom(t)
	if err := r.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return audit.Append(tx) }); err != nil {
		t.Error(err)
	}
	r.stands(0, 0)
}

// A line comes back as written; its columns are only an index to the leaf.
func TestALineComesBackAsWritten(t *testing.T) {
	r := newRoom(t)
	want := entry(3)
	if err := r.Refuse(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	r.exec(`UPDATE audit_entry SET result = 'forged', at = 0`)
	lines, err := r.List(t.Context(), audit.Query{Who: want.Who})
	if err != nil || len(lines) != 1 || fmt.Sprintf("%+v", lines[0].Entry) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v %v", lines, err)
	}
	r.exec(`DELETE FROM ledger_leaf`)
	if _, err := r.List(t.Context(), audit.Query{}); err == nil {
		t.Error("a missing leaf was passed over")
	}
}

func TestALeafIsReadWholeOrNotAtAll(t *testing.T) {
	r := newRoom(t)
	if err := r.Refuse(t.Context(), entry(3)); err != nil {
		t.Fatal(err)
	}
	leaves, err := ledger.Leaves(t.Context(), r.DB, audit.Log, 0, 1)
	if err != nil || len(leaves) != 1 {
		t.Fatal(err)
	}
	e, err := record.Parse(leaves[0])
	if err != nil || e.Kind != audit.KindAct {
		t.Fatal(e, err)
	}
	for i := range e.Body {
		if _, err := audit.ParseEntry(e.Body[:i]); err == nil {
			t.Errorf("%d of %d bytes were read", i, len(e.Body))
		}
	}
	if _, err := audit.ParseEntry(append(bytes.Clone(e.Body), 0)); err == nil {
		t.Error("trailing bytes were passed over")
	}
}

// A long detail is cut, never inside a character.
func TestALongDetailIsCut(t *testing.T) {
	r := newRoom(t)
	for _, detail := range []string{
		strings.Repeat("a", 2000), strings.Repeat("a", 2001), strings.Repeat("长", 700), strings.Repeat("𠮷", 501), "a" + strings.Repeat("𠮷", 501),
	} {
		e := entry(0)
		e.Detail = detail
		if err := r.Refuse(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		lines, err := r.List(t.Context(), audit.Query{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		got := lines[0].Entry.Detail
		if cut, ok := strings.CutSuffix(got, "…"); ok != (len(detail) > 2000) || !strings.HasPrefix(detail, cut) || len(cut) < 1990 || utf8.ValidString(detail) && !utf8.ValidString(got) {
			t.Errorf("%d bytes became %d, %.20q to %.20q", len(detail), len(got), got, got[len(got)-10:])
		}
	}
}

// Whatever somebody has written, being turned away is written down.
func TestALineIsWrittenWhateverItSays(t *testing.T) {
	r := newRoom(t)
	for _, c := range []struct{ written, kept string }{
		{"A\x00B", "A\uFFFDB"}, {"A\xff", "A\uFFFD"}, {strings.Repeat("\x80", 5000), "\uFFFD"}, {strings.Repeat("长", 10<<20/3), strings.Repeat("长", 666) + "…"},
	} {
		e := audit.Entry{Start: start, End: start, Who: c.written, Role: c.written, Item: c.written, Object: c.written, Serial: c.written, Result: c.written, Source: c.written, Detail: c.written}
		if err := r.Refuse(t.Context(), e); err != nil {
			t.Errorf("%.20q: %v", c.written, err)
			continue
		}
		lines, err := r.List(t.Context(), audit.Query{Who: c.kept, Object: c.kept, Limit: 1})
		if err != nil || len(lines) != 1 {
			t.Fatalf("%.20q is not found: %v", c.kept, err)
		}
		got := lines[0].Entry
		for _, v := range []string{got.Who, got.Role, got.Item, got.Object, got.Serial, got.Result, got.Source, got.Detail} {
			if v != c.kept {
				t.Errorf("%.20q was kept as %.20q", c.written, v)
			}
		}
	}
}

func TestEveryFieldOfAQueryNarrowsIt(t *testing.T) {
	r := newRoom(t)
	for n := range 12 {
		if err := r.Refuse(t.Context(), entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		q    audit.Query
		want string
	}{
		{"nothing asked, newest first", audit.Query{}, "[11 10 9 8 7 6 5 4 3 2 1 0]"},
		{"who", audit.Query{Who: "reviewer"}, "[11 9 7 5 3 1]"},
		{"item", audit.Query{Item: "ra.submit"}, "[10 7 4 1]"},
		{"object", audit.Query{Object: "A7"}, "[7]"},
		{"part of an object", audit.Query{Object: "A"}, "[]"},
		{"serial, in letters of either case", audit.Query{Serial: "410b"}, "[11]"},
		{"result", audit.Query{Result: "case.stale"}, "[7 6 5 4]"},
		{"from a time on", audit.Query{From: entry(9).End}, "[11 10 9]"},
		{"before a time", audit.Query{To: entry(2).End}, "[1 0]"},
		{"between", audit.Query{From: entry(2).End, To: entry(4).End}, "[3 2]"},
		{"two fields", audit.Query{Who: "clerk", Item: "ra.approve"}, "[8 2]"},
		{"before an entry", audit.Query{Before: 2}, "[1 0]"},
		{"before an entry, narrowed", audit.Query{Before: 7, Who: "clerk", Limit: 2}, "[6 4]"},
		{"a limit", audit.Query{Limit: 3}, "[11 10 9]"},
		{"a quote", audit.Query{Who: "' OR '1'='1"}, "[]"},
		{"nobody", audit.Query{Who: "nobody"}, "[]"},
	} {
		lines, err := r.List(t.Context(), c.q)
		got := []int64{}
		for _, l := range lines {
			got = append(got, l.Index)
		}
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s: %v", c.name, got, c.want, err)
		}
	}
}

func TestPagesHaveABoundNoGapsAndNoRepeats(t *testing.T) {
	r := newRoom(t)
	const n = audit.PageMax + 20
	list := make([]audit.Entry, n)
	for i := range list {
		list[i] = entry(i)
	}
	if err := r.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return audit.Append(tx, list...) }); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, -1, 1 << 40} {
		if lines, err := r.List(t.Context(), audit.Query{Limit: limit}); err != nil || len(lines) != audit.PageMax {
			t.Errorf("limit %d: %d lines, %v", limit, len(lines), err)
		}
	}
	next := int64(n - 1)
	for before := int64(0); next >= 0; before = next + 1 {
		lines, err := r.List(t.Context(), audit.Query{Before: before, Limit: 100})
		if err != nil || len(lines) == 0 {
			t.Fatal(before, err)
		}
		for _, l := range lines {
			if l.Index != next || l.Entry.Object != fmt.Sprint("A", next) {
				t.Fatalf("entry %d, want %d", l.Index, next)
			}
			next--
		}
	}
}

// auditor is somebody who can sign a mark.
func (r *room) auditor(roles ...access.Role) (access.Person, func(p audit.MarkPlan) access.Command) {
	r.t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	point, subject := alg.Point(&key.PublicKey), dn.Name{C: "CN", CN: "审计员"}.Bytes()
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 1}, Issuer: subject, Subject: subject, NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(1, 0, 0),
		Point: point, Extensions: []cert.Extension{cert.SKI(point)}}.TBS(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	who, err := access.PersonOf("auditor", "审计员", der, roles...)
	if err != nil {
		r.t.Fatal(err)
	}
	people := &access.People{DB: r.DB}
	if err := r.DB.Write(r.t.Context(), func(tx *sqldb.Tx) error { _, err := people.Add(tx, who, "admin", start); return err }); err != nil {
		r.t.Fatal(err)
	}
	desk := access.Desk{Site: "test", People: people, Now: r.Now}
	return who, func(p audit.MarkPlan) access.Command {
		r.t.Helper()
		st := desk.Draft(who, audit.ActMark, p.Title, p.Object, "", p.Items)
		signed, err := st.Sign(key, der)
		if err != nil {
			r.t.Fatal(err)
		}
		cmd, err := desk.Verify(r.t.Context(), access.Claim{Cert: der, At: st.At, Nonce: st.Nonce, Signature: signed.Signature}, audit.ActMark, p.Title, p.Object, "", p.Items)
		if err != nil {
			r.t.Fatal(err)
		}
		return cmd
	}
}

// marked lists the entries an auditor has seen, and checks that none changed.
func (r *room) marked(before [][]byte) (list []int64) {
	r.t.Helper()
	lines, err := r.List(r.t.Context(), audit.Query{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, l := range slices.Backward(lines) {
		if l.Marked {
			list = append(list, l.Index)
		}
	}
	after, err := ledger.Leaves(r.t.Context(), r.DB, audit.Log, 0, int64(len(before)))
	if err != nil || !slices.EqualFunc(before, after, bytes.Equal) {
		r.t.Errorf("a mark changed what it is about: %v", err)
	}
	return list
}

// A mark is a further entry, signed over the very entries it is about.
func TestAnAuditorMarksWhatTheyHaveSeen(t *testing.T) {
	r := newRoom(t)
	who, sign := r.auditor(access.RAAuditor)
	if _, err := r.Plan(t.Context(), who, 0); !errors.Is(err, audit.NothingNew) {
		t.Errorf("an empty trail: %v", err)
	}
	for n := range 5 {
		if err := r.act(entry(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	leaves, err := ledger.Leaves(t.Context(), r.DB, audit.Log, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.Plan(t.Context(), who, 2)
	if err != nil || plan.First != 0 || plan.Last != 2 || plan.Object != "审计记录 0 至 2" || !bytes.Equal(plan.Items[0].Digest, alg.Digest(leaves[:3]...)) {
		t.Fatalf("%+v %v", plan, err)
	}
	cmd := sign(plan)
	if err := r.Mark(t.Context(), plan, cmd); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.marked(leaves)); got != "[0 1 2]" {
		t.Error(got)
	}
	lines, err := r.List(t.Context(), audit.Query{Item: audit.ActMark})
	if err != nil || len(lines) != 1 || lines[0].Index != 5 || lines[0].Entry.Who != "auditor" || !bytes.Equal(lines[0].Entry.Proof, cmd.Signed().Signature) || !strings.Contains(lines[0].Entry.Detail, "审计记录 0 至 2") {
		t.Errorf("%+v %v", lines, err)
	}
	if err := r.Mark(t.Context(), plan, cmd); !errors.Is(err, access.Replayed) {
		t.Errorf("the same statement again: %v", err)
	}
	r.stands(5, 6)
	if _, err := r.Plan(t.Context(), who, 2); !errors.Is(err, audit.NothingNew) {
		t.Errorf("marked already: %v", err)
	}
	for _, beyond := range []int64{6, 99, -1} {
		if _, err := r.Plan(t.Context(), who, beyond); !errors.Is(err, audit.NoSuchEntry) {
			t.Errorf("up to %d: %v", beyond, err)
		}
	}
	rest, err := r.Plan(t.Context(), who, 5)
	if err != nil || rest.First != 3 || rest.Last != 5 { // the first mark is an entry like any other
		t.Fatalf("%+v %v", rest, err)
	}
	if err := r.Mark(t.Context(), rest, sign(rest)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.marked(leaves)); got != "[0 1 2 3 4 5]" {
		t.Error(got)
	}
}

func TestOnlyTheAuditorMarks(t *testing.T) {
	r := newRoom(t)
	who, _ := r.auditor(access.RAAdmin, access.CAAuditor)
	if err := r.act(entry(0), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Plan(t.Context(), who, 0); !errors.Is(err, access.WrongRole) {
		t.Error(err)
	}
	r.stands(1, 1)
}

// A mark whose line cannot be written marks nothing, and its statement is good
// for another try.
func TestAMarkWithoutItsLineFails(t *testing.T) {
	r := newRoom(t)
	who, sign := r.auditor(access.RAAuditor)
	if err := r.act(entry(0), nil); err != nil {
		t.Fatal(err)
	}
	plan, err := r.Plan(t.Context(), who, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := sign(plan)
	r.exec(`ALTER TABLE audit_mark RENAME TO away`)
	if err := r.Mark(t.Context(), plan, cmd); err == nil {
		t.Error("marked nowhere")
	}
	r.exec(`ALTER TABLE away RENAME TO audit_mark`)
	r.stands(1, 1)
	if err := r.Mark(t.Context(), plan, cmd); err != nil {
		t.Errorf("the same statement, once it can be written: %v", err)
	}
}
