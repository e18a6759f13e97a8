// Package ratest holds what every store of the registration desk must do. (注册管理测试)
package ratest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Now is the time of the suite; a store that tells time is given it.
var Now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// Store is the suite every store must pass.
func Store(t *testing.T, open func(*testing.T) ra.Store) {
	for name, test := range map[string]func(*Desk){
		"a case comes back as it was drafted":                  drafted,
		"a move is kept with its command":                      kept,
		"a refused move changes nothing":                       refused,
		"a draft is corrected by its clerk, while it is one":   corrected,
		"a key is claimed and released":                        claimed,
		"a revocation is opened by its first move":             opened,
		"of many who act at once one succeeds":                 atOnce,
		"what the CA said is kept":                             answered,
		"waiting cases come oldest first, and no more":         waiting,
		"pages have no gaps and no repeats":                    pages,
		"every field of a query narrows it":                    queries,
		"a sheet is found by its digest":                       sheets,
		"sheets are listed newest first":                       listed,
		"a file is kept once":                                  filed,
		"trials of changes to many are kept":                   bulks,
		"a batch is held back and let go on":                   held,
		"readings of personal data are counted":                read,
		"identity is forgotten once, and only what is due":     outlived,
		"a reminder is recorded once":                          reminded,
		"the register of units follows its approved changes":   units,
		"what was issued is counted by day, profile and body":  figures,
		"what a body took is found for it and for nobody else": within,
		"a refusal of authority may be written at any time":    turned,
	} {
		t.Run(name, func(t *testing.T) { test(NewDesk(t, open(t))) })
	}
}

// Desk is a store and two people who can really sign.
type Desk struct {
	ra.Store
	Staff
	t    *testing.T
	desk access.Desk
}

// NewDesk hires a clerk and a reviewer for a store.
func NewDesk(t *testing.T, s ra.Store) *Desk {
	d := &Desk{Store: s, Staff: Hire(t, Now, map[string][]access.Role{"clerk": {access.RAClerk}, "reviewer": {access.RAReviewer}}), t: t}
	d.desk = access.Desk{Site: "test", People: d.Staff, Now: func() time.Time { return Now }}
	return d
}

// command signs an act over a case as it stands.
func (d *Desk) command(who, act string, rec ra.Record) (access.Command, access.Item) {
	d.t.Helper()
	item := access.Item{Kind: rec.Kind, ID: rec.ID, Seq: len(rec.Events), Digest: alg.Digest(rec.Content)}
	st := d.desk.Draft(d.Who[who], act, act, rec.ID, "", []access.Item{item})
	cmd, err := d.desk.Verify(d.t.Context(), d.Claim(d.t, who, st), act, act, rec.ID, "", []access.Item{item})
	if err != nil {
		d.t.Fatal(err)
	}
	return cmd, item
}

// Sample is draft n, made up: a store does not look into it.
func Sample(n int) ra.Record {
	return ra.Record{
		Case:    casework.Case{ID: fmt.Sprintf("A20261124-%04d", n), Kind: ra.IssueKind.Name, State: ra.Drafted},
		Content: fmt.Append(nil, `{"n":`, n, `}`), Title: fmt.Sprintf("样例%d", n), Profile: "person-dual", KeyHash: alg.Digest([]byte{byte(n), byte(n >> 8)}),
		Identity:  ra.Sealed{Number: hsm.Wrapped{Version: 1, Master: "m", Blob: []byte{1}}, Salt: []byte{2}, Blind: alg.Digest([]byte{byte(n % 2)})},
		CreatedBy: "clerk", CreatedAt: Now.Add(time.Duration(n/3) * time.Second), UpdatedAt: Now,
	}
}

// Line is an audit line.
func Line(item string) []audit.Entry {
	return []audit.Entry{{Start: Now, End: Now, Who: "clerk", Item: item, Result: audit.Done}}
}

func (d *Desk) draft(list ...ra.Record) {
	d.t.Helper()
	if err := d.Draft(d.t.Context(), list, nil, Line("ra.draft")); err != nil {
		d.t.Fatal(err)
	}
}

// Move makes a person's move on a case, to be saved.
func (d *Desk) Move(who string, do casework.Action, rec ra.Record) (access.Command, ra.Save) {
	d.t.Helper()
	cmd, item := d.command(who, "ra."+string(do), rec)
	move, err := ra.Kinds[rec.Kind].Next(rec.Case, cmd, do, item, access.Proof{Count: 1}, Now)
	if err != nil {
		d.t.Fatal(err)
	}
	rec.Case, rec.UpdatedAt = move.Case, Now
	return cmd, ra.Save{Record: rec, Move: move, Claim: do == ra.Submit && ra.Issues(rec.Kind), Release: do == ra.Return}
}

// save moves a case as it stands and returns it as stored.
func (d *Desk) save(who string, do casework.Action, id string) ra.Record {
	d.t.Helper()
	cmd, v := d.Move(who, do, d.get(id))
	if err := d.Save(d.t.Context(), cmd, []ra.Save{v}, Line("ra."+string(do))); err != nil {
		d.t.Fatal(err)
	}
	return d.get(id)
}

func (d *Desk) get(id string) ra.Record {
	d.t.Helper()
	r, err := d.Case(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *Desk) holder(n int, want string) {
	d.t.Helper()
	if id, err := d.KeyHolder(d.t.Context(), Sample(n).KeyHash); err != nil || id != want {
		d.t.Errorf("key %d is held by %q, want %q: %v", n, id, want, err)
	}
}

func drafted(d *Desk) {
	want := Sample(1)
	want.Title, want.Batch, want.Row = "䶮㐂𠮷", "B1", 7
	d.draft(want)
	got := d.get(want.ID)
	if got.Title != want.Title || got.Profile != want.Profile || got.Batch != "B1" || got.Row != 7 || got.CreatedBy != "clerk" || got.State != ra.Drafted || got.Kind != want.Kind ||
		!bytes.Equal(got.Content, want.Content) || !bytes.Equal(got.KeyHash, want.KeyHash) || !got.CreatedAt.Equal(want.CreatedAt) || len(got.Events) != 0 || got.Trouble != nil {
		d.t.Errorf("%+v", got)
	}
	if i := got.Identity; !bytes.Equal(i.Blind, want.Identity.Blind) || !bytes.Equal(i.Salt, []byte{2}) || !bytes.Equal(i.Number.Blob, []byte{1}) || i.Number.Master != "m" {
		d.t.Errorf("%+v", i)
	}
	if _, err := d.Case(d.t.Context(), "none"); !errors.Is(err, ra.NoCase) {
		d.t.Error(err)
	}
	d.holder(1, "")
}

func kept(d *Desk) {
	d.draft(Sample(1), Sample(2))
	d.save("clerk", ra.Submit, Sample(1).ID)
	got := d.save("reviewer", ra.Approve, Sample(1).ID)
	if got.State != ra.Approved || len(got.Events) != 2 || got.Events[0].Did != ra.Submit || got.Events[1].Who != "reviewer" || got.Events[1].From != ra.Submitted || !got.Events[1].At.Equal(Now) {
		d.t.Fatalf("%+v", got)
	}
	for _, e := range got.Events {
		if _, err := d.desk.Recheck(d.t.Context(), e.Signed); err != nil {
			d.t.Errorf("the kept command does not verify: %v", err)
		}
		if !bytes.Equal(e.Item.Digest, alg.Digest(got.Content)) || e.Proof.Count != 1 || !e.Proof.Covers(e.Signed.Digest, e.Item) {
			d.t.Errorf("the kept command does not cover the case: %+v", e)
		}
	}
	if other := d.get(Sample(2).ID); other.State != ra.Drafted {
		d.t.Error("another case moved too")
	}
	c, err := d.Counts(d.t.Context(), nil)
	if err != nil || c[ra.IssueKind.Name][ra.Drafted] != 1 || c[ra.IssueKind.Name][ra.Approved] != 1 {
		d.t.Error(c, err)
	}
}

// What is refused leaves nothing of itself.
func refused(d *Desk) {
	t, ctx := d.t, d.t.Context()
	second := Sample(2)
	second.KeyHash = Sample(1).KeyHash
	d.draft(Sample(1), second, Sample(3))
	cmd, v := d.Move("clerk", ra.Submit, Sample(1))
	if err := d.Save(ctx, cmd, []ra.Save{v}, nil); err != nil {
		t.Fatal(err)
	}
	_, good := d.Move("clerk", ra.Submit, Sample(3))
	if err := d.Save(ctx, cmd, []ra.Save{good}, Line("again")); !errors.Is(err, access.Replayed) {
		t.Errorf("a statement used twice: %v", err)
	}
	cmd, _ = d.Move("clerk", ra.Submit, Sample(1))
	if err := d.Save(ctx, cmd, []ra.Save{good, v}, Line("stale")); !errors.Is(err, casework.Stale) {
		t.Errorf("a stale move: %v", err)
	}
	if err := d.Save(ctx, cmd, []ra.Save{good, good}, Line("twice")); !errors.Is(err, casework.Stale) {
		t.Errorf("the same move twice: %v", err)
	}
	cmd, bad := d.Move("clerk", ra.Submit, second)
	if err := d.Save(ctx, cmd, []ra.Save{good, bad}, Line("key")); !errors.Is(err, ra.KeyInUse) {
		t.Errorf("a live key: %v", err)
	}
	cmd, none := d.Move("clerk", ra.Submit, Sample(4))
	if err := d.Save(ctx, cmd, []ra.Save{good, none}, Line("none")); !errors.Is(err, casework.Stale) {
		t.Errorf("a case that is none: %v", err)
	}
	if err := d.Save(ctx, access.Preview(d.Who["clerk"]), []ra.Save{good}, Line("unsigned")); !errors.Is(err, access.BadSignature) {
		t.Errorf("an unsigned command: %v", err)
	}
	if got := d.get(Sample(3).ID); got.State != ra.Drafted || len(got.Events) != 0 {
		t.Errorf("half of a refused act was kept: %v", got.State)
	}
	d.holder(1, Sample(1).ID)
	d.holder(3, "")
	if err := d.Save(ctx, cmd, []ra.Save{good}, nil); err != nil {
		t.Errorf("a refused act used up its statement: %v", err)
	}
}

func corrected(d *Desk) {
	d.draft(Sample(1), Sample(2))
	better := Sample(1)
	cmd, stale := d.Move("clerk", ra.Submit, Sample(1))
	better.Content, better.Title, better.KeyHash, better.Identity.Blind = []byte(`{"better":1}`), "李四", Sample(9).KeyHash, []byte("blind")
	d.draft(better)
	got := d.get(better.ID)
	if string(got.Content) != `{"better":1}` || got.Title != "李四" || !bytes.Equal(got.KeyHash, better.KeyHash) || string(got.Identity.Blind) != "blind" {
		d.t.Errorf("%+v", got)
	}
	if err := d.Save(d.t.Context(), cmd, []ra.Save{stale}, nil); !errors.Is(err, casework.Stale) {
		d.t.Errorf("what was signed is not what is on record: %v", err)
	}
	other := Sample(2)
	other.CreatedBy, other.Title = "clerk2", "王五"
	if err := d.Draft(d.t.Context(), []ra.Record{better, other}, nil, nil); !errors.Is(err, ra.NotYours) {
		d.t.Errorf("another's draft: %v", err)
	}
	d.save("clerk", ra.Submit, better.ID)
	if err := d.Draft(d.t.Context(), []ra.Record{better}, nil, nil); !errors.Is(err, ra.NotYours) {
		d.t.Errorf("no draft any more: %v", err)
	}
	d.save("reviewer", ra.Return, better.ID)
	d.draft(better)
	if got := d.get(better.ID); got.State != ra.Drafted || len(got.Events) != 2 || d.get(other.ID).Title != Sample(2).Title {
		d.t.Errorf("%+v", got)
	}
}

func claimed(d *Desk) {
	d.draft(Sample(1))
	d.holder(1, "")
	for range 2 {
		d.save("clerk", ra.Submit, Sample(1).ID)
		d.holder(1, Sample(1).ID)
		d.save("reviewer", ra.Return, Sample(1).ID)
		d.holder(1, "")
	}
}

// Revocation is a revocation about to be opened.
func revocation(id string) ra.Record {
	r := Sample(1)
	r.Case = casework.Case{ID: id, Kind: ra.RevokeKind.Name, State: ra.Drafted}
	r.KeyHash, r.Identity, r.SignSerial = nil, ra.Sealed{}, "41AA"
	return r
}

func opened(d *Desk) {
	cmd, v := d.Move("clerk", ra.Revoke, revocation("R1"))
	if err := d.Save(d.t.Context(), cmd, []ra.Save{v}, nil); err != nil {
		d.t.Fatal(err)
	}
	if got := d.get("R1"); got.State != ra.Submitted || len(got.Events) != 1 || got.SignSerial != "41AA" || got.KeyHash != nil {
		d.t.Errorf("%+v", got)
	}
	cmd, v = d.Move("clerk", ra.Revoke, revocation("R1"))
	if err := d.Save(d.t.Context(), cmd, []ra.Save{v}, nil); !errors.Is(err, casework.Stale) {
		d.t.Errorf("opened twice: %v", err)
	}
	if got := d.save("reviewer", ra.Approve, "R1"); got.State != ra.Approved {
		d.t.Errorf("%+v", got)
	}
}

func atOnce(d *Desk) {
	const many = 6
	d.draft(Sample(1))
	rec := d.save("clerk", ra.Submit, Sample(1).ID)
	errs := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		cmd, v := d.Move("reviewer", []casework.Action{ra.Approve, ra.Return}[i%2], rec)
		wg.Go(func() { errs[i] = d.Save(context.Background(), cmd, []ra.Save{v}, nil) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, casework.Stale) {
			d.t.Error(err)
		}
	}
	if got := d.get(Sample(1).ID); won != 1 || len(got.Events) != 2 || got.State != got.Events[1].To {
		d.t.Errorf("%d succeeded: %+v", won, got)
	}
}

func answered(d *Desk) {
	t, ctx := d.t, d.t.Context()
	d.draft(Sample(1))
	d.save("clerk", ra.Submit, Sample(1).ID)
	r := d.save("reviewer", ra.Approve, Sample(1).ID)
	machine := access.AsMachine("ra")
	move, err := ra.IssueKind.Next(r.Case, machine, ra.Issue, access.Item{}, access.Proof{}, Now)
	if err != nil {
		t.Fatal(err)
	}
	r.Case, r.Reply = move.Case, enroll.Reply{Sign: []byte("s"), Enc: []byte("e"), Sealed: []byte("k")}
	r.SignSerial, r.EncSerial, r.Trouble = "41AA", "42BB", &refusal.Report{Code: "x", Field: "f", Clause: "c", Fix: "修", Text: "字"}
	if err := d.Save(ctx, machine, []ra.Save{{Record: r, Move: move}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{"41AA", "42BB"} {
		got, err := d.BySerial(ctx, serial)
		if err != nil || got.ID != r.ID || string(got.Reply.Sealed) != "k" || string(got.Reply.Enc) != "e" || got.Trouble == nil || *got.Trouble != *r.Trouble || len(got.Events) != 3 {
			t.Errorf("%s: %+v %v", serial, got, err)
		}
	}
	if _, err := d.BySerial(ctx, "43CC"); !errors.Is(err, ra.NotLive) {
		t.Error(err)
	}
	if err := d.Save(ctx, machine, nil, nil); err != nil {
		t.Errorf("nothing to save: %v", err)
	}
}

func waiting(d *Desk) {
	for n := 5; n > 0; n-- {
		d.draft(Sample(n))
		if n != 3 {
			d.save("clerk", ra.Submit, Sample(n).ID)
		}
	}
	list, err := d.Waiting(d.t.Context(), ra.IssueKind.Name, ra.Submitted, "", 3)
	if err != nil || len(list) != 3 || list[0].ID != Sample(1).ID || list[1].ID != Sample(2).ID || list[2].ID != Sample(4).ID || len(list[0].Events) != 1 || list[0].Content == nil {
		d.t.Errorf("%+v %v", list, err)
	}
	if list, err := d.Waiting(d.t.Context(), ra.IssueKind.Name, ra.Submitted, Sample(4).ID, 3); err != nil || len(list) != 3 || list[0].ID != Sample(5).ID || list[1].ID != Sample(1).ID {
		d.t.Errorf("after the fourth it comes round: %+v %v", list, err)
	}
	if list, err := d.Waiting(d.t.Context(), ra.RevokeKind.Name, ra.Submitted, "", 3); err != nil || len(list) != 0 {
		d.t.Errorf("another kind: %v %v", list, err)
	}
}

func pages(d *Desk) {
	var all []ra.Record
	for n := range 25 {
		all = append(all, Sample(n+1))
	}
	d.draft(all...)
	var seen []string
	for after := ""; ; {
		page, err := d.Find(d.t.Context(), ra.Query{After: after, Limit: 7})
		if err != nil {
			d.t.Fatal(err)
		}
		for _, r := range page {
			seen = append(seen, r.ID)
			after = r.ID
		}
		if len(page) < 7 {
			break
		}
	}
	var want []string
	for n := 25; n > 0; n-- {
		want = append(want, Sample(n).ID)
	}
	if !slices.Equal(seen, want) {
		d.t.Errorf("newest first, each once: %v", seen)
	}
	if _, err := d.Find(d.t.Context(), ra.Query{After: "none"}); !errors.Is(err, ra.NoCase) {
		d.t.Errorf("a page after nothing: %v", err)
	}
}

func queries(d *Desk) {
	list := []ra.Record{Sample(1), Sample(2), Sample(3), Sample(4)}
	list[0].Title, list[1].Title, list[2].Title, list[3].CreatedBy = "Zhang 100%_䶮", "㐂𠮷", `a\b`, "clerk2"
	list[3].Profile = "organisation-dual"
	list[3].Batch, list[2].SignSerial, list[2].EncSerial = "B1", "41AB", "42CD"
	d.draft(list...)
	d.save("clerk", ra.Submit, list[1].ID)
	for _, c := range []struct {
		name string
		q    ra.Query
		want string
	}{
		{"nothing asked", ra.Query{}, "4321"}, {"limit", ra.Query{Limit: 2}, "43"}, {"kind", ra.Query{Kind: ra.RevokeKind.Name}, ""},
		{"state", ra.Query{State: ra.Submitted}, "2"}, {"clerk", ra.Query{By: "clerk2"}, "4"}, {"clerk and state", ra.Query{By: "clerk2", State: ra.Submitted}, ""},
		{"identity", ra.Query{Blind: alg.Digest([]byte{1})}, "31"}, {"unknown identity", ra.Query{Blind: []byte("?")}, ""},
		{"part of a name", ra.Query{Text: "𠮷"}, "2"}, {"part of a name, blanks around", ra.Query{Text: " 䶮 "}, "1"}, {"letters of either case", ra.Query{Text: "zHANG"}, "1"},
		{"a percent sign is no wildcard", ra.Query{Text: "%"}, "1"}, {"nor is an underscore", ra.Query{Text: "_"}, "1"}, {"nor a backslash an escape", ra.Query{Text: `\`}, "3"},
		{"part of a number, letters of either case", ra.Query{Text: "a20261124-0002"}, "2"}, {"serial", ra.Query{Text: "41ab"}, "3"}, {"the pair's serial", ra.Query{Text: "42CD"}, "3"},
		{"part of a serial", ra.Query{Text: "42C"}, ""}, {"batch", ra.Query{Text: "B1"}, "4"}, {"batch alone", ra.Query{Batch: "B1"}, "4"}, {"profile", ra.Query{Profile: "organisation-dual"}, "4"},
		{"any of several states", ra.Query{States: []casework.State{ra.Submitted, ra.Approved}}, "2"}, {"one state before several", ra.Query{State: ra.Drafted, States: []casework.State{ra.Submitted}}, "431"},
		{"from a time on", ra.Query{From: Now.Add(time.Second)}, "43"}, {"before a time", ra.Query{To: Now.Add(time.Second)}, "21"}, {"a quote", ra.Query{Text: `' OR 1=1 --`}, ""},
	} {
		found, err := d.Find(d.t.Context(), c.q)
		got := ""
		for _, r := range found {
			got += r.ID[len(r.ID)-1:]
		}
		if err != nil || got != c.want {
			d.t.Errorf("%s: found %q, want %q: %v", c.name, got, c.want, err)
		}
	}
}

func sheets(d *Desk) {
	t, ctx := d.t, d.t.Context()
	want := ra.Batch{ID: "B1", Name: "名单.csv", Digest: []byte("digest"), By: "clerk", At: Now, Rows: []ra.Row{{Line: 2, ID: Sample(1).ID}, {Line: 3, Refusal: &refusal.Report{Code: "x"}}}}
	if _, ok, err := d.BatchByDigest(ctx, want.Digest); ok || err != nil {
		t.Error(ok, err)
	}
	if err := d.Draft(ctx, []ra.Record{Sample(1)}, &want, nil); err != nil {
		t.Fatal(err)
	}
	got, ok, err := d.BatchByDigest(ctx, want.Digest)
	if err != nil || !ok || got.ID != "B1" || got.Name != want.Name || got.By != "clerk" || !got.At.Equal(Now) || len(got.Rows) != 2 || got.Rows[0].ID != Sample(1).ID || got.Rows[1].Refusal.Code != "x" {
		t.Error(got, ok, err)
	}
	if got, err := d.Batch(ctx, "B1"); err != nil || !bytes.Equal(got.Digest, want.Digest) {
		t.Error(got, err)
	}
	if _, err := d.Batch(ctx, "none"); !errors.Is(err, ra.NoCase) {
		t.Error(err)
	}
	twin := want
	twin.ID = "B2"
	if err := d.Draft(ctx, []ra.Record{Sample(2)}, &twin, nil); err == nil {
		t.Error("the same sheet was taken in twice")
	}
	if _, err := d.Case(ctx, Sample(2).ID); !errors.Is(err, ra.NoCase) {
		t.Errorf("its rows were kept: %v", err)
	}
}

func listed(d *Desk) {
	t, ctx := d.t, d.t.Context()
	for n := range 5 {
		r := Sample(n + 1)
		r.Batch = fmt.Sprint("B", n)
		b := ra.Batch{ID: r.Batch, Name: "x", Digest: []byte{byte(n)}, By: "clerk", At: Now.Add(time.Duration(n/2) * time.Second), Rows: []ra.Row{{Line: 2, ID: r.ID}}}
		if err := d.Draft(ctx, []ra.Record{r}, &b, nil); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for after := ""; ; {
		page, err := d.Batches(ctx, nil, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page {
			seen, after = append(seen, b.ID), b.ID
			if len(b.Rows) > 0 {
				t.Error("with its rows")
			}
		}
		if len(page) < 2 {
			break
		}
	}
	if fmt.Sprint(seen) != "[B4 B3 B2 B1 B0]" {
		t.Error(seen)
	}
	if _, err := d.Batches(ctx, nil, "none", 2); !errors.Is(err, ra.NoCase) {
		t.Error(err)
	}
	d.save("clerk", ra.Submit, Sample(2).ID)
	if c, err := d.BatchCounts(ctx, "B1"); err != nil || len(c) != 1 || c[ra.Submitted] != 1 {
		t.Error(c, err)
	}
}

func filed(d *Desk) {
	t, ctx := d.t, d.t.Context()
	want := ra.Evidence{Digest: []byte("sm3"), Name: "䶮.pdf", Size: 7, By: "clerk", At: Now, Sealed: hsm.Wrapped{Version: 1, Master: "m", Blob: []byte{1}}}
	again := want
	again.Name = "other.pdf"
	for _, e := range []ra.Evidence{want, again} {
		if err := d.KeepEvidence(ctx, e, Line("ra.evidence")[0]); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.Evidence(ctx, want.Digest); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := d.Evidence(ctx, []byte("none")); !errors.Is(err, ra.NoEvidence) {
		t.Error(err)
	}
}

// turned: whatever a person has written, that they were turned away is kept.
func turned(d *Desk) {
	for _, object := range []string{"A1", "A\x00", "A\xff", strings.Repeat("A", 1<<20)} {
		line := Line("ra.approve")[0]
		line.Object = object
		if err := d.Refuse(d.t.Context(), line); err != nil {
			d.t.Errorf("%.20q: %v", object, err)
		}
	}
}
