package ra_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/sheet"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

var no = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.validity", Text: "有效期超过 CA 证书的有效期"}

// fulfil runs the worker's step once.
func (p *place) fulfil(want int) {
	p.t.Helper()
	if n, err := p.Fulfil(p.t.Context()); err != nil || n != want {
		p.t.Errorf("%d cases moved, want %d: %v", n, want, err)
	}
}

func TestACAOutOfReachIsAskedAgain(t *testing.T) {
	p := newPlace(t)
	rec := p.approved("张三")
	p.ca.down.Store(true)
	p.same(t, func() {
		if _, err := p.Fulfil(t.Context()); !errors.Is(err, ratest.ErrCrash) {
			t.Error(err)
		}
	})
	p.ca.down.Store(false)
	p.ca.mute[rec.ID] = true // it answers, but not for this one
	p.same(t, func() { p.fulfil(0) })
	p.ca.mute[rec.ID] = false
	p.fulfil(1)
	if got := p.stands(rec.ID, ra.Issued); string(got.Reply.Sign) != string(p.ca.issued[rec.ID].Sign) || got.SignSerial == "" || got.EncSerial == "" {
		t.Errorf("%+v", got)
	}
	p.fulfil(0)
}

// short is a CA that loses an answer.
type short struct{ ra.CA }

func (s short) Issue(ctx context.Context, requests []enroll.Request) ([]ra.Answer, error) {
	answers, err := s.CA.Issue(ctx, requests)
	return answers[1:], err
}

func TestAnswersThatDoNotAddUpMoveNothing(t *testing.T) {
	p := newPlace(t)
	p.approved("张三")
	p.approved("李四")
	p.CA = short{p.ca}
	p.same(t, func() {
		if _, err := p.Fulfil(t.Context()); err == nil {
			t.Error("one answer was taken for two requests")
		}
	})
	p.CA = p.ca
	p.fulfil(2)
}

// What the CA refuses goes back to its clerk with the reason, and its neighbours
// go on; corrected, it is issued and the trouble is gone.
func TestWhatTheCARefusesGoesBackToItsClerk(t *testing.T) {
	p := newPlace(t)
	bad, good := p.approved("张三"), p.approved("李四")
	p.ca.deny[bad.ID] = no.At("validity_days", "GM/T 0034 §5.3.4").ToFix("请缩短有效期")
	p.fulfil(2)
	p.stands(good.ID, ra.Issued)
	back := p.stands(bad.ID, ra.Drafted)
	if r := back.Trouble; r == nil || r.Code != "ca.validity" || r.Field != "validity_days" || r.Clause == "" || r.Fix != "请缩短有效期" || r.Text != no.Text {
		t.Errorf("%+v", r)
	}
	if e := back.Events[2]; e.Did != ra.Refuse || e.Note != no.Text {
		t.Errorf("%+v", e)
	}
	if l := p.memory.Lines(); !slices.ContainsFunc(l, func(e audit.Entry) bool { return e.Item == "ra.refuse" && e.Object == bad.ID && e.Detail == no.Text }) {
		t.Error("the refusal is not in the trail")
	}
	if holder, _ := p.memory.KeyHolder(t.Context(), back.KeyHash); holder != "" {
		t.Error("its key is still held")
	}
	f := brought(t, "张三")
	f.ID, f.Days = bad.ID, 30
	if _, err := p.Draft(t.Context(), f, p.Who["clerk"], ""); err != nil {
		t.Fatal(err)
	}
	delete(p.ca.deny, bad.ID)
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{bad.ID}})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{bad.ID}})
	p.fulfil(1)
	if got := p.stands(bad.ID, ra.Issued); got.Trouble != nil {
		t.Errorf("%+v", got.Trouble)
	}
	last := p.ca.asked[len(p.ca.asked)-1] // the signatures over the corrected content, not the first ones
	for _, e := range last.Evidence {
		if !e.Covers("ra.issue", bad.ID, last.Content) {
			t.Error("old evidence was sent")
		}
	}
}

func (p *place) revocation(rec ra.Record) ra.Record {
	p.t.Helper()
	r := p.must("clerk", ra.Order{Act: "ra.revoke", Serial: rec.SignSerial, Reason: "superseded"})
	return p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{r.ID}})
}

func TestARevocationTheCARefusesIsClosedWithTheReason(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	r := p.revocation(rec)
	p.ca.deny[r.ID] = no.At("serial", "")
	p.fulfil(1)
	if got := p.stands(r.ID, ra.Rejected); got.Trouble == nil || got.Trouble.Code != "ca.validity" {
		t.Errorf("%+v", got.Trouble)
	}
	p.stands(rec.ID, ra.Issued)
}

// While one case about a certificate's status is under way another is refused;
// once it is withdrawn the way is free.
func TestOneCaseAtATimeIsAboutACertificatesStatus(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	first := p.must("clerk", ra.Order{Act: "ra.freeze", Serial: rec.SignSerial, Note: "去向不明"})
	for _, act := range []string{"ra.revoke", "ra.freeze"} {
		if _, err := p.Plan(t.Context(), ra.Order{Act: act, Serial: rec.EncSerial, Reason: "superseded"}, p.Who["clerk2"]); !errors.Is(err, ra.Pending) {
			t.Errorf("%s beside another: %v", act, err)
		}
	}
	p.must("clerk", ra.Order{Act: "ra.withdraw", IDs: []string{first.ID}})
	second := p.revocation(rec)
	p.fulfil(1)
	p.stands(second.ID, ra.Done)
	p.stands(rec.ID, ra.Revoked)
}

// A frozen certificate comes back for whoever had it frozen, to where it was,
// and may end instead.
func TestAFrozenCertificateComesBackOrEnds(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	move := func(act, asker string) ra.Record {
		r := p.must("clerk", ra.Order{Act: act, Serial: rec.EncSerial, Asker: asker, Reason: map[string]string{"ra.revoke": "superseded"}[act]})
		p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{r.ID}})
		p.fulfil(1)
		return p.stands(r.ID, ra.Done)
	}
	if _, err := p.Plan(t.Context(), ra.Order{Act: "ra.unfreeze", Serial: rec.SignSerial}, p.Who["clerk"]); !errors.Is(err, ra.NotLive) {
		t.Errorf("released what is not frozen: %v", err)
	}
	move("ra.freeze", "court")
	p.stands(rec.ID, ra.IssuedHeld)
	if _, err := p.Plan(t.Context(), ra.Order{Act: "ra.unfreeze", Serial: rec.SignSerial}, p.Who["clerk"]); !errors.Is(err, ra.NotAsker) {
		t.Errorf("released for somebody else: %v", err)
	}
	move("ra.unfreeze", "court")
	p.stands(rec.ID, ra.Issued)
	p.must("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}})
	move("ra.freeze", "")
	p.stands(rec.ID, ra.DeliveredHeld)
	move("ra.revoke", "")
	p.stands(rec.ID, ra.Revoked)
	if holder, err := p.memory.KeyHolder(t.Context(), rec.KeyHash); err != nil || holder != "" {
		t.Errorf("its key is held by %q: %v", holder, err)
	}
}

// Each ground of the law brings its reason and is kept in what is signed.
func TestAGroundBringsItsReason(t *testing.T) {
	p := newPlace(t)
	for _, g := range ra.Grounds {
		rec := p.issued("张" + g.Code)
		plan, err := p.Plan(t.Context(), ra.Order{Act: "ra.revoke", Serial: rec.SignSerial, Ground: g.Code}, p.Who["clerk"])
		if err != nil || plan.Order.Reason != g.Reason || !strings.Contains(plan.Object, rec.SignSerial) || !strings.Contains(plan.Object, g.Reason) {
			t.Errorf("%s: %+v %v", g.Code, plan.Object, err)
		}
	}
}

// unissuing is a CA that cannot issue.
type unissuing struct{ ra.CA }

func (unissuing) Issue(context.Context, []enroll.Request) ([]ra.Answer, error) {
	return nil, ratest.ErrCrash
}

// Whatever holds up issuing, revocations go on: they cannot wait.
func TestRevocationsDoNotWaitForIssuing(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	p.approved("李四")
	r := p.revocation(rec)
	p.CA = unissuing{p.ca}
	if n, err := p.Fulfil(t.Context()); n != 1 || !errors.Is(err, ratest.ErrCrash) {
		t.Errorf("%d cases moved: %v", n, err)
	}
	p.stands(r.ID, ra.Done)
}

// The clock of this test is its own: a minute passes at once.
func TestTheWorkerTriesUntilTheCAAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		w := (&ra.Worker{Registrar: p.Registrar}).Start()
		p.Wake = w.Wake
		ctx, cancel := context.WithCancel(t.Context())
		p.ca.down.Store(true)
		first := p.approved("张三")
		go w.Run(ctx)
		synctest.Wait()
		p.stands(first.ID, ra.Approved)
		p.ca.down.Store(false)
		time.Sleep(time.Minute)
		p.stands(first.ID, ra.Issued)
		second := p.approved("李四")
		synctest.Wait() // woken, it does not wait for the clock
		p.stands(second.ID, ra.Issued)
		cancel()
		synctest.Wait()
	})
}

// rows is a sheet of applications.
func rows(t *testing.T, forms ...ra.Form) []byte {
	var b strings.Builder
	b.WriteString(strings.Join(sheet.Columns, ",") + "\n")
	for _, f := range forms {
		fmt.Fprintf(&b, "%s,%s,,,%s,,%s,%s,%s,\"%s\"\n", f.Profile, f.Subject.C, f.Subject.O, f.Subject.CN, f.Identity.Kind, f.Identity.Number, f.CSR)
	}
	return []byte(b.String())
}

// mixed is a sheet of seven rows, three of them in order.
func mixed(t *testing.T, p *place) []byte {
	var forms []ra.Form
	for _, name := range []string{"䶮㐂𠮷", "王五", "赵六", "钱七", "孙八", "", "周十"} {
		forms = append(forms, brought(t, name))
	}
	forms[1].CSR = forms[0].CSR // the first row's key
	taken := brought(t, "在办")
	rec, err := p.Draft(t.Context(), taken, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	forms[2].CSR = taken.CSR
	forms[3].Identity.Number = "110105194912310021"
	return rows(t, forms...)
}

func TestASheetIsDraftedRowByRow(t *testing.T) {
	p := newPlace(t)
	data := mixed(t, p)
	p.same(t, func() {
		_, err := p.DraftSheet(t.Context(), "名单.csv", data, p.Who["reviewer"], "")
		refused(t, err, casework.NotYours, "role")
		_, err = p.DraftSheet(t.Context(), "名单.csv", []byte("a,b\n"), p.Who["clerk"], "")
		refused(t, err, sheet.BadHeader, "a")
	})
	b, err := p.DraftSheet(t.Context(), "名单.csv", data, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", "csr", "csr", "identity.number", "", "subject.CN", ""}
	if len(b.Rows) != len(want) {
		t.Fatalf("%+v", b.Rows)
	}
	for i, row := range b.Rows {
		field := ""
		if row.Refusal != nil {
			field = row.Refusal.Field
		}
		if first := 2; row.Line < first || field != want[i] || (row.ID == "") != (field != "") {
			t.Errorf("row %d: %+v %+v", i, row, row.Refusal)
		}
		if row.ID != "" {
			if rec := p.stands(row.ID, ra.Drafted); rec.Batch != b.ID || rec.Row != row.Line || rec.CreatedBy != "clerk" {
				t.Errorf("%+v", rec)
			}
		}
	}
	if !strings.Contains(b.Rows[1].Refusal.Text, "与第 2 行相同") {
		t.Error(b.Rows[1].Refusal.Text)
	}
	p.same(t, func() {
		again, err := p.DraftSheet(t.Context(), "again.csv", data, p.Who["clerk"], "")
		if err != nil || again.ID != b.ID || len(again.Rows) != len(b.Rows) {
			t.Errorf("the same sheet: %+v %v", again, err)
		}
	})
	ids, err := p.Waiting(t.Context(), b.ID)
	if err != nil || len(ids) != 3 {
		t.Fatal(ids, err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: ids[:1]})
	if left, err := p.Waiting(t.Context(), b.ID); err != nil || !slices.Equal(left, ids[1:]) {
		t.Errorf("%v of %v: %v", left, ids, err)
	}
	if _, err := p.Waiting(t.Context(), "none"); !errors.Is(err, ra.NoCase) {
		t.Error(err)
	}
	if other, err := p.DraftSheet(t.Context(), "名单.csv", data, p.Who["clerk2"], ""); err != nil || other.ID == b.ID {
		t.Errorf("another clerk's sheet is another batch: %v", err)
	}
}

// everywhere runs a test with the store failing before and after each call it
// makes, then with the CA failing likewise, until no call fails.
func everywhere(t *testing.T, test func(p *place)) {
	for _, what := range []string{"store", "CA"} {
		for _, after := range []bool{false, true} {
			for at, more := 1, true; more && at < 200; at++ {
				t.Run(fmt.Sprintf("%s, call %d, after %v", what, at, after), func(t *testing.T) {
					p := newPlace(t)
					f := &ratest.Failing{Store: p.memory, At: at, After: after}
					if what == "store" {
						p.Store = f
					} else {
						p.ca.at, p.ca.after = at, after
					}
					test(p)
					more = f.Failed() && what == "store" || p.ca.calls >= at && what != "store"
				})
			}
		}
	}
}

// again does something until it no longer crashes.
func again(t *testing.T, do func() error) {
	t.Helper()
	for range 3 {
		err := do()
		if err == nil {
			return
		} else if !errors.Is(err, ratest.ErrCrash) {
			t.Fatal(err)
		}
	}
	t.Fatal("asking again does not finish the work")
}

// order does an act as a person would who saw an error: look where the case
// stands, and order it again unless it is done.
func (p *place) order(who string, o ra.Order, want casework.State) {
	p.t.Helper()
	again(p.t, func() error {
		if rec, err := p.memory.Case(p.t.Context(), o.IDs[0]); err == nil && rec.State == want {
			return nil
		}
		_, err := p.act(who, o)
		return err
	})
	p.stands(o.IDs[0], want)
}

// Wherever the store or the CA fails, the case stays whole and asking again
// finishes the work: each step once, each with its line, and one certificate.
func TestACaseAfterCrash(t *testing.T) {
	everywhere(t, func(p *place) {
		t, ctx := p.t, p.t.Context()
		var rec, rev ra.Record
		again(t, func() (err error) { rec, err = p.Draft(ctx, brought(t, "张三"), p.Who["clerk"], ""); return err })
		p.order("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}}, ra.Submitted)
		p.order("reviewer", ra.Order{Act: "ra.approve", IDs: []string{rec.ID}}, ra.Approved)
		again(t, func() error { _, err := p.Fulfil(ctx); return err })
		rec = p.stands(rec.ID, ra.Issued)
		p.order("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}}, ra.Delivered)
		again(t, func() error {
			plan, err := p.Plan(ctx, ra.Order{Act: "ra.revoke", ID: "R1", Serial: rec.SignSerial, Reason: "superseded"}, p.Who["clerk"])
			if err != nil {
				return err
			}
			_, err = p.Do(ctx, plan, p.Claim(t, "clerk", p.Statement(plan, p.Who["clerk"])), "")
			if errors.Is(err, casework.Stale) {
				return nil // it is open already
			}
			return err
		})
		p.order("reviewer", ra.Order{Act: "ra.approve", IDs: []string{"R1"}}, ra.Approved)
		again(t, func() error { _, err := p.Fulfil(ctx); return err })
		rec, rev = p.stands(rec.ID, ra.Revoked), p.stands("R1", ra.Done)
		if got := dids(rec); got != "submit clerk, approve reviewer, issue system:ra, produce producer, end system:ra" {
			t.Error(got)
		}
		if got := dids(rev); got != "revoke clerk, approve reviewer, carry system:ra" {
			t.Error(got)
		}
		p.whole(rec, rev)
	})
}

// whole checks that trail, keys and certificates agree with the cases.
func (p *place) whole(rec, rev ra.Record) {
	t := p.t
	lines := map[string]int{}
	for _, l := range p.memory.Lines() {
		if l.Item != "ra.draft" { // a clerk who saw an error may have drafted twice
			lines[l.Object+" "+l.Item]++
		}
	}
	want := 0
	for _, c := range []ra.Record{rec, rev} {
		for _, e := range c.Events {
			want++
			if lines[c.ID+" ra."+string(e.Did)] != 1 {
				t.Errorf("%d audit lines for %s of %s", lines[c.ID+" ra."+string(e.Did)], e.Did, c.ID)
			}
		}
	}
	if len(lines) != want || len(p.ca.issued) != 1 || len(p.ca.revoked) != 1 || string(rec.Reply.Sign) != string(p.ca.issued[rec.ID].Sign) {
		t.Errorf("%d lines, %d issued, %d revoked", len(lines), len(p.ca.issued), len(p.ca.revoked))
	}
	if holder, err := p.memory.KeyHolder(t.Context(), rec.KeyHash); err != nil || holder != "" {
		t.Errorf("the key is held by %q", holder)
	}
}

// A sheet cut off anywhere is taken in by sending it again, once.
func TestASheetAfterCrash(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		store := p.Store
		p.Store = p.memory
		data := mixed(t, p)
		p.Store = store
		drafts := len(p.memory.All())
		var b ra.Batch
		again(t, func() (err error) {
			b, err = p.DraftSheet(t.Context(), "名单.csv", data, p.Who["clerk"], "")
			return err
		})
		if n := len(p.memory.All()) - drafts; n != 3 || len(b.Rows) != 7 {
			t.Errorf("%d drafts of %d rows", n, len(b.Rows))
		}
		if n := len(slices.DeleteFunc(p.memory.Lines(), func(l audit.Entry) bool { return l.Item != "ra.sheet" })); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}

// If the line cannot be written the refusal is a failure.
func TestARefusalThatCannotBeWrittenDownIsAFailure(t *testing.T) {
	p := newPlace(t)
	p.Store = &ratest.Failing{Store: p.memory, At: 1}
	err := p.Turned(t.Context(), p.Who["clerk"], "ra.approve", "A1", "", access.WrongRole.At("role", ""))
	if !errors.Is(err, ratest.ErrCrash) || refusal.Of(err) != nil {
		t.Error(err)
	}
}

// A certificate that follows another takes over what is on record, replaces it,
// and is asked for once at a time.
func TestACertificateFollowsAnother(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	p.must("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}})
	draft := func(f ra.Form) (ra.Record, error) { return p.Draft(t.Context(), f, p.Who["clerk"], "") }
	renewal := ra.Form{For: enroll.Renew, Replaces: strings.ToLower(rec.EncSerial), CSR: brought(t, "张三").CSR}
	for name, c := range map[string]struct {
		change func(*ra.Form)
		want   *refusal.Reason
		field  string
	}{
		"an unknown purpose": {func(f *ra.Form) { f.For = "steal" }, ra.BadField, "for"},
		"no purpose":         {func(f *ra.Form) { f.For = "" }, ra.BadField, "for"},
		"an unknown serial":  {func(f *ra.Form) { f.Replaces = "40FF" }, ra.NotLive, "serial"},
		"another subject":    {func(f *ra.Form) { f.Subject = brought(t, "李四").Subject }, ra.BadField, "subject"},
		"another profile":    {func(f *ra.Form) { f.Profile = "device-dual" }, ra.BadField, "profile"},
		"the key it had":     {func(f *ra.Form) { f.CSR = csrOf(t, rec) }, ra.KeyInUse, "csr"},
		"no request":         {func(f *ra.Form) { f.CSR = "" }, ra.BadCSR, "csr"},
	} {
		f := renewal
		c.change(&f)
		_, err := draft(f)
		if no := refusal.Of(err); no == nil || no.Reason != c.want || no.Field != c.field && c.field != "serial" {
			t.Errorf("%s: %v", name, err)
		}
	}
	next, err := draft(renewal)
	if err != nil {
		t.Fatal(err)
	}
	if next.Title != rec.Title || next.Follows != rec.ID || !bytes.Equal(next.Identity.Blind, rec.Identity.Blind) {
		t.Errorf("taken over: %+v", next)
	}
	if _, err := draft(ra.Form{For: enroll.Extend, Replaces: rec.SignSerial}); !errors.Is(err, ra.Pending) {
		t.Errorf("a second one beside it: %v", err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{next.ID}})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{next.ID}})
	p.fulfil(1)
	p.stands(next.ID, ra.Issued)
	p.stands(rec.ID, ra.Superseded)
}

// An extension goes on with the key, and gives it back when it comes to nothing.
func TestAnExtensionGoesOnWithTheKey(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	next, err := p.Draft(t.Context(), ra.Form{For: enroll.Extend, Replaces: rec.SignSerial}, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	holds := func(want string) {
		t.Helper()
		if holder, err := p.memory.KeyHolder(t.Context(), rec.KeyHash); err != nil || holder != want {
			t.Errorf("held by %q, want %q: %v", holder, want, err)
		}
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{next.ID}})
	holds(next.ID)
	p.must("reviewer", ra.Order{Act: "ra.reject", IDs: []string{next.ID}})
	holds(rec.ID)
	p.stands(rec.ID, ra.Issued)
}

// csrOf is the request a case was opened with.
func csrOf(t *testing.T, rec ra.Record) string {
	t.Helper()
	var a enroll.Application
	if err := enroll.Decode(rec.Content, &a); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: a.CSR}))
}
