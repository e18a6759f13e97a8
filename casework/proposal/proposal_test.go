package proposal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// world is a desk with two matters: one two people decide, one a single person
// does. What is carried out is a line in a book.
type world struct {
	*proposal.Desk
	staff *accesstest.Staff
	trail *audit.Trail
	now   time.Time
	book  []string
	fail  map[string]error // by content, what Do says instead
	after map[string]error // by content, what Do says although it has done it
}

const admin, super, other = access.CAAdmin, access.CASuper, access.CAAuditor

var tooMany = &refusal.Reason{Kind: refusal.Conflict, Code: "test.full", Text: "名额已满", Clause: "第九条", Fix: "请改日"}

func open(t testing.TB, db *sqldb.DB) *world {
	t.Helper()
	if err := proposal.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	w := &world{now: start, fail: map[string]error{}, after: map[string]error{}}
	clock := func() time.Time { return w.now }
	w.staff, w.trail = accesstest.Open(db, clock), &audit.Trail{DB: db, Auditor: other, Now: clock}
	read := func(_ context.Context, content []byte) (proposal.Shown, error) {
		var s string
		if err := json.Unmarshal(content, &s); err != nil || s == "" {
			return proposal.Shown{}, proposal.BadContent.At("content", proposal.BadContent.Clause)
		}
		if slices.Contains(w.book, s) {
			return proposal.Shown{Lines: []proposal.Line{{Name: "内容", Value: s}}}, tooMany.At("content", "第九条")
		}
		return proposal.Shown{Content: []byte(`"` + s + `"`), Title: s}, nil
	}
	do := func(_ context.Context, r proposal.Record) ([]byte, error) {
		s := strings.Trim(string(r.Content), `"`)
		if err := w.fail[s]; err != nil {
			return nil, err
		}
		if !slices.Contains(w.book, s) {
			w.book = append(w.book, s)
		}
		return []byte("写了 " + s), w.after[s]
	}
	w.Desk = (&proposal.Desk{
		DB: db, Now: clock, People: access.Desk{Site: "样例", People: w.staff, Now: clock},
		Matters: []proposal.Matter{{Name: "two", Title: "两人之事", Clause: "第一条", Propose: admin, Confirm: super, Read: read, Do: do},
			{Name: "one", Title: "一人之事", Clause: "第二条", Propose: admin, Read: read, Do: do},
			{Name: "peers", Title: "同级之事", Clause: "第三条", Propose: admin, Confirm: admin, Read: read, Do: do}},
	}).Start()
	for id, roles := range map[access.PersonID][]access.Role{"admin": {admin}, "admin2": {admin}, "super": {super}, "other": {other}, "both": {admin, super}} {
		w.staff.Hire(t, id, roles...)
	}
	return w
}

// plan, sign and do in one go.
func (w *world) act(t testing.TB, who access.PersonID, o proposal.Order) (proposal.Record, error) {
	t.Helper()
	p, err := w.Plan(t.Context(), o, w.staff.Who(t, who))
	if err != nil {
		return proposal.Record{}, err
	}
	return w.Do(t.Context(), p, w.staff.Claim(t, who, w.Statement(p, w.staff.Who(t, who))), "192.0.2.1")
}

func propose(matter, content string) proposal.Order {
	return proposal.Order{Act: proposal.Propose, Matter: matter, Content: json.RawMessage(`"` + content + `"`)}
}

func (w *world) must(t testing.TB, who access.PersonID, o proposal.Order) proposal.Record {
	t.Helper()
	r, err := w.act(t, who, o)
	if err != nil {
		t.Fatalf("%s %s: %v", who, o.Act, err)
	}
	return r
}

func (w *world) state(t testing.TB, id string) casework.State {
	t.Helper()
	r, err := w.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r.State
}

func (w *world) lines(t testing.TB, q audit.Query) (list []string) {
	t.Helper()
	all, err := w.trail.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range slices.Backward(all) {
		list = append(list, l.Entry.Who+" "+l.Entry.Item+" "+l.Entry.Result)
	}
	return list
}

func each(t *testing.T, f func(t *testing.T, w *world)) {
	accesstest.Each(t, os.Getenv("HUFU_TEST_POSTGRES"), func(t *testing.T, db func(testing.TB) *sqldb.DB) { f(t, open(t, db(t))) })
}

func TestTheTablesAreInOrder(t *testing.T) {
	for _, m := range open(t, accesstest.Database(t)).Matters {
		if err := m.Kind().Check(); err != nil {
			t.Error(err)
		}
	}
}

// Of all states, acts and people, these are let through and no others.
func TestWhoMayDoWhatAndWhen(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		made := map[casework.State]func(n string) string{
			proposal.Proposed:  func(n string) string { return w.must(t, "admin", propose("two", n)).ID },
			proposal.Withdrawn: func(n string) string { return w.ended(t, n, "admin", proposal.Withdraw) },
			proposal.Rejected:  func(n string) string { return w.ended(t, n, "super", proposal.Reject) },
			proposal.Confirmed: func(n string) string { return w.ended(t, n, "super", proposal.Confirm) },
			proposal.Done: func(n string) string {
				id := w.ended(t, n, "super", proposal.Confirm)
				if err := w.Carry(t.Context()); err != nil {
					t.Fatal(err)
				}
				return id
			},
		}
		lawful := map[string]casework.State{
			"proposed confirm super": proposal.Confirmed, "proposed confirm both": proposal.Confirmed, "proposed reject super": proposal.Rejected,
			"proposed reject both": proposal.Rejected, "proposed withdraw admin": proposal.Withdrawn,
		}
		n := 0
		for state, make := range made {
			for _, act := range []casework.Action{proposal.Confirm, proposal.Reject, proposal.Withdraw, proposal.Carry, proposal.Fail, "burn", ""} {
				for _, who := range []access.PersonID{"admin", "admin2", "super", "other", "both"} {
					n++
					id, key := make(fmt.Sprint("c", n)), fmt.Sprintf("%s %s %s", state, act, who)
					r, err := w.Get(t.Context(), id)
					if err != nil || r.State != state {
						t.Fatalf("%s: %v %v", key, r.State, err)
					}
					want, ok := lawful[key]
					if may := slices.Contains(w.May(r, w.staff.Who(t, who)), act); may != ok {
						t.Errorf("%s: the button is shown: %v", key, may)
					}
					_, err = w.act(t, who, proposal.Order{Act: act, ID: id})
					if !ok {
						want = state
					}
					if got := w.state(t, id); got != want || (err == nil) != ok || err != nil && refusal.Of(err) == nil {
						t.Errorf("%s: %s, %v", key, got, err)
					}
				}
			}
		}
		for who, want := range map[access.PersonID]*refusal.Reason{"admin": nil, "both": nil, "super": casework.NotYours, "other": casework.NotYours} {
			for _, m := range []string{"two", "one"} {
				n++
				if _, err := w.act(t, who, propose(m, fmt.Sprint("c", n))); want == nil && err != nil || want != nil && !errors.Is(err, want) {
					t.Errorf("%s proposes %s: %v", who, m, err)
				}
			}
		}
	})
}

func (w *world) ended(t testing.TB, n string, who access.PersonID, act casework.Action) string {
	t.Helper()
	id := w.must(t, "admin", propose("two", n)).ID
	w.must(t, who, proposal.Order{Act: act, ID: id})
	return id
}

// Nobody agrees to what they themselves proposed, whatever roles they hold.
func TestNobodyAgreesWithThemselves(t *testing.T) {
	w := open(t, accesstest.Database(t))
	id := w.must(t, "both", propose("two", "a")).ID
	peer := w.must(t, "admin", propose("peers", "b")).ID
	for _, act := range []casework.Action{proposal.Confirm, proposal.Reject} {
		if _, err := w.act(t, "both", proposal.Order{Act: act, ID: id}); !errors.Is(err, casework.SamePerson) {
			t.Error(err)
		}
		if _, err := w.act(t, "admin", proposal.Order{Act: act, ID: peer}); !errors.Is(err, casework.SamePerson) {
			t.Error(err)
		}
	}
	if _, err := w.act(t, "admin2", proposal.Order{Act: proposal.Withdraw, ID: peer}); !errors.Is(err, proposal.NotYours) {
		t.Errorf("another withdraws it: %v", err)
	}
	w.must(t, "admin2", proposal.Order{Act: proposal.Confirm, ID: peer})
}

func TestWhatIsNoOrder(t *testing.T) {
	w := open(t, accesstest.Database(t))
	id := w.must(t, "admin", propose("two", "a")).ID
	for name, c := range map[string]struct {
		o    proposal.Order
		want *refusal.Reason
	}{
		"no such matter":            {propose("three", "a"), proposal.NoMatter},
		"no such proposal":          {proposal.Order{Act: proposal.Confirm, ID: "P0"}, proposal.NoProposal},
		"content that says nothing": {propose("two", ""), proposal.BadContent},
		"content too long":          {propose("two", strings.Repeat("字", 1<<20)), proposal.BadContent},
		"an opinion too long":       {proposal.Order{Act: proposal.Withdraw, ID: id, Note: strings.Repeat("字", 501)}, proposal.BadContent},
		"an id of another kind":     {proposal.Order{Act: proposal.Propose, Matter: "two", Content: []byte(`"b"`), ID: "A1"}, proposal.BadContent},
		"an id too long":            {proposal.Order{Act: proposal.Propose, Matter: "two", Content: []byte(`"b"`), ID: "P" + strings.Repeat("1", 32)}, proposal.BadContent},
		"an id that is taken":       {proposal.Order{Act: proposal.Propose, Matter: "two", Content: []byte(`"b"`), ID: id}, casework.Stale},
	} {
		if _, err := w.act(t, "admin", c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := w.Get(t.Context(), id); err != nil || string(r.Content) != `"a"` || len(r.Events) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// What was in order when it was proposed may not be any more: whoever agrees is
// told, and nothing is agreed.
func TestAgreementLooksAgain(t *testing.T) {
	w := open(t, accesstest.Database(t))
	id := w.must(t, "admin", propose("two", "a")).ID
	w.book = append(w.book, "a")
	if _, err := w.act(t, "super", proposal.Order{Act: proposal.Confirm, ID: id}); !errors.Is(err, tooMany) || w.state(t, id) != proposal.Proposed {
		t.Error(err)
	}
	w.must(t, "super", proposal.Order{Act: proposal.Reject, ID: id, Note: "已有"})
}

// Two people may have the same page open: the later one is told.
func TestTheSecondToDecideIsTold(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := w.must(t, "admin", propose("two", "a")).ID
		yes, err1 := w.Plan(t.Context(), proposal.Order{Act: proposal.Confirm, ID: id}, w.staff.Who(t, "super"))
		no, err2 := w.Plan(t.Context(), proposal.Order{Act: proposal.Reject, ID: id}, w.staff.Who(t, "both"))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		claim := w.staff.Claim(t, "both", w.Statement(no, w.staff.Who(t, "both")))
		if _, err := w.Do(t.Context(), no, claim, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Do(t.Context(), yes, w.staff.Claim(t, "super", w.Statement(yes, w.staff.Who(t, "super"))), ""); !errors.Is(err, casework.Stale) || w.state(t, id) != proposal.Rejected {
			t.Error(err)
		}
		if _, err := w.Do(t.Context(), no, claim, ""); refusal.Of(err) == nil {
			t.Errorf("a statement works twice: %v", err)
		}
	})
}

// A statement seen on its way opens no second proposal, and fits no other
// content, act, opinion or person.
func TestAStatementIsForOneStep(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		who := w.staff.Who(t, "admin")
		p, err := w.Plan(t.Context(), propose("two", "a"), who)
		if err != nil {
			t.Fatal(err)
		}
		claim := w.staff.Claim(t, "admin", w.Statement(p, who))
		for name, o := range map[string]proposal.Order{
			"another content": {Act: proposal.Propose, Matter: "two", Content: []byte(`"b"`), ID: p.Order.ID},
			"another matter":  {Act: proposal.Propose, Matter: "one", Content: []byte(`"a"`), ID: p.Order.ID},
			"another opinion": {Act: proposal.Propose, Matter: "two", Content: []byte(`"a"`), ID: p.Order.ID, Note: "好"},
			"another id":      {Act: proposal.Propose, Matter: "two", Content: []byte(`"a"`), ID: "P1"},
		} {
			q, err := w.Plan(t.Context(), o, who)
			if err != nil {
				t.Fatal(name, err)
			}
			if _, err := w.Do(t.Context(), q, claim, ""); !errors.Is(err, access.BadSignature) {
				t.Errorf("%s: %v", name, err)
			}
		}
		theirs := claim
		theirs.Cert = w.staff.Cert("admin2")
		if _, err := w.Do(t.Context(), p, theirs, ""); !errors.Is(err, access.BadSignature) {
			t.Errorf("another's name: %v", err)
		}
		if _, err := w.Do(t.Context(), p, claim, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Do(t.Context(), p, claim, ""); !errors.Is(err, access.Replayed) {
			t.Errorf("the same again: %v", err)
		}
		w.now = w.now.Add(time.Hour)
		q, err := w.Plan(t.Context(), propose("two", "c"), who)
		if err != nil {
			t.Fatal(err)
		}
		st := w.Statement(q, who)
		w.now = w.now.Add(access.Window + time.Second)
		if _, err := w.Do(t.Context(), q, w.staff.Claim(t, "admin", st), ""); !errors.Is(err, access.Stale) {
			t.Errorf("an old statement: %v", err)
		}
	})
}

// Each step is on record with its statement, signature and certificate, and
// one line of the trail.
func TestEveryStepIsOnRecord(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := w.ended(t, "a", "super", proposal.Confirm)
		if err := w.Carry(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := w.Get(t.Context(), id)
		if err != nil || r.State != proposal.Done || string(r.Result) != "写了 a" || r.CreatedBy != "admin" || len(r.Events) != 3 {
			t.Fatalf("%+v %v", r, err)
		}
		for i, e := range r.Events[:2] {
			cmd, err := w.People.Recheck(t.Context(), e.Signed)
			if err != nil || cmd.Who().ID != e.Who || e.Item.Seq != i || !e.Proof.Covers(e.Signed.Digest, e.Item) {
				t.Errorf("event %d: %v %+v", i, err, e.Item)
			}
		}
		want := []string{"admin two/propose done", "super two/confirm done", "system:proposal two/carry done"}
		if got := w.lines(t, audit.Query{Object: id}); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		if r := w.must(t, "admin", propose("one", "b")); r.State != proposal.Confirmed {
			t.Errorf("one signature is not enough: %s", r.State)
		}
	})
}

// The step and its line are one: where the trail cannot be written nothing happens.
func TestNoStepWithoutItsLine(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := w.must(t, "admin", propose("two", "a")).ID
		exec := func(q string) {
			if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(q); return err }); err != nil {
				t.Fatal(err)
			}
		}
		exec(`ALTER TABLE audit_entry RENAME TO audit_gone`)
		if _, err := w.act(t, "super", proposal.Order{Act: proposal.Confirm, ID: id}); err == nil || refusal.Of(err) != nil {
			t.Error(err)
		}
		err := w.Turned(t.Context(), w.staff.Who(t, "other"), propose("two", "a"), "", casework.NotYours.Because("不可"))
		if err == nil || refusal.Of(err) != nil {
			t.Errorf("a refusal that cannot be written down is shown as one: %v", err)
		}
		exec(`ALTER TABLE audit_gone RENAME TO audit_entry`)
		if r, err := w.Get(t.Context(), id); err != nil || r.State != proposal.Proposed || len(r.Events) != 1 {
			t.Errorf("%+v %v", r, err)
		}
		w.must(t, "super", proposal.Order{Act: proposal.Confirm, ID: id})
	})
}

// Refusals of authority are written down with who, what and from where; others
// change nothing and are not.
func TestRefusalsOfAuthorityAreOnTheTrail(t *testing.T) {
	w := open(t, accesstest.Database(t))
	who, o := w.staff.Who(t, "other"), propose("two", "a")
	for _, c := range []struct {
		err  error
		want int
	}{{casework.NotYours.Because("不可"), 1}, {tooMany.Because("满"), 1}, {errors.New("disk"), 1}, {access.BadSignature.Because("假"), 2}} {
		if err := w.Turned(t.Context(), who, o, "192.0.2.7", c.err); !errors.Is(err, c.err) {
			t.Error(err)
		}
		list, err := w.trail.List(t.Context(), audit.Query{Who: "other"})
		if err != nil || len(list) != c.want || list[0].Entry.Source != "192.0.2.7" || list[0].Entry.Item != "two/propose" {
			t.Errorf("%v: %+v %v", c.err, list, err)
		}
	}
}

// A crash before or after the change, or before it is on record that it was
// made, leaves it to be made once.
func TestWhatWasAgreedIsCarriedOutOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		crash := errors.New("crash")
		id := w.ended(t, "a", "super", proposal.Confirm)
		for _, before := range []map[string]error{w.fail, w.after} {
			before["a"] = crash
			if err := w.Carry(t.Context()); err != nil || w.state(t, id) != proposal.Confirmed {
				t.Fatal(err)
			}
			delete(before, "a")
		}
		if err := w.Carry(t.Context()); err != nil || w.state(t, id) != proposal.Done {
			t.Fatal(err)
		}
		w.fail["a"] = errors.New("asked a third time")
		if err := w.Carry(t.Context()); err != nil || len(w.book) != 1 || w.state(t, id) != proposal.Done {
			t.Errorf("%v %v", w.book, err)
		}
		if got := w.lines(t, audit.Query{Item: "two/carry"}); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// A refusal ends a proposal with the reason for people to read.
func TestARefusalEndsIt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fail["a"] = tooMany.At("content", "第九条").Because("已有 %d", 3)
		id := w.ended(t, "a", "super", proposal.Confirm)
		if err := w.Carry(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := w.Get(t.Context(), id)
		if err != nil || r.State != proposal.Failed || r.Trouble == nil || r.Trouble.Code != "test.full" || r.Trouble.Text != "名额已满：已有 3" || r.Trouble.Fix == "" {
			t.Errorf("%+v %v", r.Trouble, err)
		}
		delete(w.fail, "a")
		if err := w.Carry(t.Context()); err != nil || len(w.book) != 0 {
			t.Errorf("what was refused is tried again: %v %v", w.book, err)
		}
	})
}

// However many fail again and again, whoever comes after them is served.
func TestFailuresHoldUpNobody(t *testing.T) {
	w := open(t, accesstest.Database(t))
	for i := range 60 {
		name := fmt.Sprint("bad", i)
		w.fail[name] = errors.New("no answer")
		o := propose("one", name)
		o.ID = fmt.Sprintf("P1-%02d", i)
		w.must(t, "admin", o)
	}
	o := propose("one", "good")
	o.ID = "P2"
	w.must(t, "admin", o)
	for range 2 {
		if err := w.Carry(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(w.book, "good") {
		t.Errorf("%v", w.book)
	}
	clear(w.fail)
	for range 3 {
		if err := w.Carry(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.book) != 61 {
		t.Errorf("%d of 61 are carried out in the end", len(w.book))
	}
}

// The worker is woken by an agreement and does not wait for its next look.
func TestTheWorkerIsWoken(t *testing.T) {
	w := open(t, accesstest.Database(t))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	w.must(t, "admin", propose("one", "a"))
	began := time.Now()
	for list, err := w.Find(t.Context(), proposal.Query{State: proposal.Done}); len(list) == 0; list, err = w.Find(t.Context(), proposal.Query{State: proposal.Done}) {
		if err != nil || time.Since(began) > 10*time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	<-ended
}

func TestListsComeInPages(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 7 {
			w.now = start.Add(time.Duration(i/2) * time.Minute) // two at one moment
			w.must(t, "admin", propose([]string{"two", "peers"}[i%2], fmt.Sprint("c", i)))
		}
		var got []string
		q := proposal.Query{Limit: 3}
		for range 4 {
			list, err := w.Find(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				got = append(got, r.ID)
				q.After = r.ID
			}
		}
		if slices.Sort(got); len(slices.Compact(got)) != 7 {
			t.Errorf("%v", got)
		}
		for want, q := range map[int]proposal.Query{4: {Matter: "two"}, 7: {State: proposal.Proposed}, 0: {State: proposal.Done}} {
			if list, err := w.Find(t.Context(), q); err != nil || len(list) != want {
				t.Errorf("%+v: %d, %v", q, len(list), err)
			}
		}
		if _, err := w.Find(t.Context(), proposal.Query{After: "P0"}); !errors.Is(err, proposal.NoProposal) {
			t.Error(err)
		}
		if n := len(w.Offers(w.staff.Who(t, "super"))); n != 0 {
			t.Errorf("%d matters are offered to somebody who may propose none", n)
		}
		if n := len(w.Offers(w.staff.Who(t, "admin"))); n != 3 {
			t.Errorf("%d matters are offered", n)
		}
	})
}
