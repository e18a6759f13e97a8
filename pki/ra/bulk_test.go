package ra_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

var everyone = ra.BulkQuery{Profile: "person-dual"}

// tried makes n certificates and tries to freeze them.
func (p *place) tried(n int) (ra.Bulk, []ra.Record) {
	p.t.Helper()
	var list []ra.Record
	for i := range n {
		list = append(list, p.issued(fmt.Sprint("样例", i)))
	}
	b, err := p.TryBulk(p.t.Context(), ra.Bulk{Act: "ra.freeze", Query: everyone, Asker: "institution"}, p.Who["clerk"], "")
	if err != nil || b.Targets != n {
		p.t.Fatalf("%+v %v", b, err)
	}
	return b, list
}

// Wherever store or CA fails, asking again finishes a bulk: every certificate
// is changed, each case was proposed, confirmed and carried out once.
func TestABulkAfterCrash(t *testing.T) {
	everywhere(t, func(p *place) {
		store := p.Store
		at := p.ca.at
		p.Store, p.ca.at = p.memory, 0
		b, certs := p.tried(3)
		p.Store, p.ca.at, p.ca.calls = store, at, 0
		again(p.t, func() error {
			if n, err := p.memory.BatchCounts(p.t.Context(), b.ID); err != nil || len(n) > 0 {
				return err
			}
			_, err := p.act("clerk", ra.Order{Act: "ra.freeze", Bulk: b.ID})
			return err
		})
		again(p.t, func() error {
			if n, err := p.memory.BatchCounts(p.t.Context(), b.ID); err != nil || n[ra.Submitted] == 0 {
				return err
			}
			_, err := p.act("reviewer", ra.Order{Act: "ra.approve", Bulk: b.ID, Count: 3})
			return err
		})
		again(p.t, func() error { _, err := p.Fulfil(p.t.Context()); return err })
		again(p.t, func() error { _, err := p.Fulfil(p.t.Context()); return err })
		for i, row := range b.Rows {
			if got := dids(p.stands(row.ID, ra.Done)); got != "freeze clerk, approve reviewer, carry system:ra" {
				p.t.Errorf("row %d: %s", i, got)
			}
			p.stands(certs[i].ID, ra.IssuedHeld)
		}
		if n := len(p.ca.revoked); n != 3 {
			p.t.Errorf("%d changes at the CA", n)
		}
	})
}

// One signature of each of two people covers all; every case can show it.
func TestABulkIsProposedAndConfirmedWhole(t *testing.T) {
	p := newPlace(t)
	b, certs := p.tried(5)
	single := p.must("clerk", ra.Order{Act: "ra.freeze", Serial: certs[4].SignSerial})
	p.same(t, func() {
		_, err := p.act("clerk", ra.Order{Act: "ra.freeze", Bulk: b.ID})
		refused(t, err, ra.Outdated, "bulk")
	})
	b, err := p.TryBulk(t.Context(), ra.Bulk{Act: "ra.freeze", Query: everyone}, p.Who["clerk"], "")
	if err != nil || b.Found != 5 || b.Targets != 4 || b.Refused != 1 || b.Forecast.Certificates != 8 || b.Forecast.Entries != 8 || b.Forecast.PerSecond != 0 {
		t.Fatalf("%+v %v", b, err)
	}
	p.same(t, func() {
		for _, c := range []struct {
			who   string
			o     ra.Order
			want  error
			field string
		}{
			{"clerk2", ra.Order{Act: "ra.freeze", Bulk: b.ID}, ra.NotYours, "bulk"},
			{"reviewer", ra.Order{Act: "ra.freeze", Bulk: b.ID}, casework.NotYours, "role"},
			{"clerk", ra.Order{Act: "ra.revoke", Bulk: b.ID}, ra.NoAct, "act"},
			{"clerk", ra.Order{Act: "ra.produce", Bulk: b.ID}, ra.NoAct, "act"},
			{"clerk", ra.Order{Act: "ra.freeze", Bulk: "M0"}, ra.NoCase, "bulk"},
			{"reviewer", ra.Order{Act: "ra.approve", Bulk: b.ID}, ra.NothingLeft, "bulk"},
			{"reviewer", ra.Order{Act: "ra.cancel", Bulk: b.ID}, ra.NotHeld, "bulk"},
			{"reviewer", ra.Order{Act: "ra.cancel", IDs: []string{single.ID}}, ra.NoAct, "act"},
			{"auditor", ra.Order{Act: "ra.pause", Bulk: b.ID}, casework.NotYours, "role"},
			{"clerk", ra.Order{Act: "ra.resume", Bulk: b.ID}, casework.NoSuchStep, "bulk"},
			{"clerk", ra.Order{Act: "ra.pause", Bulk: "B0"}, ra.NoCase, "batch"},
		} {
			_, err := p.act(c.who, c.o)
			refusedAs(t, err, c.want, c.field)
		}
	})
	p.must("clerk", ra.Order{Act: "ra.freeze", Bulk: b.ID})
	p.same(t, func() {
		for _, count := range []int{0, 3, 5} {
			_, err := p.act("reviewer", ra.Order{Act: "ra.approve", Bulk: b.ID, Count: count})
			refused(t, err, ra.BadCount, "count")
		}
		_, err := p.act("both", ra.Order{Act: "ra.approve", IDs: []string{b.Rows[slices.IndexFunc(b.Rows, func(r ra.BulkRow) bool { return r.ID != "" })].ID}})
		refusedAs(t, err, ra.InBulk, "id")
		_, err = p.act("clerk", ra.Order{Act: "ra.approve", Bulk: b.ID, Count: 4})
		refused(t, err, casework.SamePerson, "person")
	})
	p.must("reviewer", ra.Order{Act: "ra.approve", Bulk: b.ID, Count: 4})
	if n, err := p.Fulfil(t.Context()); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	rows, err := p.Results(t.Context(), b.ID)
	if err != nil || len(rows) != 5 {
		t.Fatal(rows, err)
	}
	for _, r := range rows {
		if (r.State == ra.Done) != (r.Refusal == nil) {
			t.Errorf("%+v", r)
		}
	}
	for _, r := range p.ca.asked[len(p.ca.asked)-4:] {
		for _, e := range r.Evidence {
			if !e.Covers(e.Item.Kind, r.ID, r.Content) {
				t.Errorf("%s: the statement of %s does not cover it", r.ID, e.Signed.Act)
			}
		}
	}
}

// What is held back waits; what the CA was asked about goes on to its end; the
// rest can be cancelled.
func TestABulkIsHeldBackAndTheRestCancelled(t *testing.T) {
	p := newPlace(t)
	b, certs := p.tried(3)
	p.must("clerk", ra.Order{Act: "ra.freeze", Bulk: b.ID})
	p.must("reviewer", ra.Order{Act: "ra.approve", Bulk: b.ID, Count: 3})
	if _, err := p.memory.Ask(t.Context(), []string{b.Rows[0].ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.act("reviewer", ra.Order{Act: "ra.pause", Bulk: b.ID}); err != nil {
		t.Fatal(err)
	}
	plan, err := p.Plan(t.Context(), ra.Order{Act: "ra.cancel", Bulk: b.ID}, p.Who["reviewer"])
	if err != nil || len(plan.Items) != 2 {
		t.Fatalf("%d to cancel: %v", len(plan.Items), err)
	}
	if n, err := p.Fulfil(t.Context()); err != nil || n != 1 {
		t.Errorf("%d went on: %v", n, err)
	}
	p.stands(b.Rows[0].ID, ra.Done)
	p.must("reviewer", ra.Order{Act: "ra.cancel", Bulk: b.ID})
	held := 0
	for _, c := range certs {
		if rec, err := p.memory.Case(t.Context(), c.ID); err == nil && rec.State == ra.IssuedHeld {
			held++
		}
	}
	if n, err := p.Fulfil(t.Context()); err != nil || n != 0 || held != 1 {
		t.Errorf("%d went on after that, %d are frozen: %v", n, held, err)
	}
}

func TestAQueryNarrowsByWhatTheCertificateSays(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	try := func(q ra.BulkQuery) int {
		b, err := p.TryBulk(t.Context(), ra.Bulk{Act: "ra.freeze", Query: q}, p.Who["clerk"], "")
		if err != nil && !isReason(err, ra.NotLive) {
			t.Errorf("%+v: %v", q, err)
		}
		return b.Found
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		q    ra.BulkQuery
		want int
	}{
		{ra.BulkQuery{Algorithm: "SM2"}, 1}, {everyone, 1}, {ra.BulkQuery{Profile: "device-dual"}, 0}, {ra.BulkQuery{Unit: "没有"}, 0}, {ra.BulkQuery{Policy: "2.999.1"}, 0},
		{ra.BulkQuery{From: p.now.AddDate(-1, 0, 0)}, 1}, {ra.BulkQuery{From: p.now.AddDate(-1, 0, 1)}, 0}, {ra.BulkQuery{To: p.now.AddDate(-1, 0, 0)}, 0}, {ra.BulkQuery{To: p.now}, 1},
		{ra.BulkQuery{Expires: p.now.AddDate(1, 0, 0)}, 0}, {ra.BulkQuery{Expires: p.now.AddDate(1, 0, 0).Add(day)}, 1}, {ra.BulkQuery{Batch: "B0"}, 0},
	} {
		if got := try(c.q); got != c.want {
			t.Errorf("%s finds %d", c.q, got)
		}
	}
	p.now = p.now.AddDate(2, 0, 0)
	if got := try(everyone); got != 0 {
		t.Errorf("%s has ended by itself and is found", rec.ID)
	}
}

func TestABulkIsRefused(t *testing.T) {
	p := newPlace(t)
	p.issued("张三")
	p.same(t, func() {
		for _, c := range []struct {
			who   string
			b     ra.Bulk
			want  error
			field string
		}{
			{"clerk", ra.Bulk{Act: "ra.approve", Query: everyone}, ra.NoAct, "act"},
			{"reviewer", ra.Bulk{Act: "ra.freeze", Query: everyone}, casework.NotYours, "role"},
			{"clerk", ra.Bulk{Act: "ra.freeze"}, ra.BadQuery, "query"},
			{"clerk", ra.Bulk{Act: "ra.freeze", Query: ra.BulkQuery{Algorithm: "RSA"}}, ra.BadQuery, "query.algorithm"},
			{"clerk", ra.Bulk{Act: "ra.freeze", Query: ra.BulkQuery{Unit: string(slices.Repeat([]rune{'长'}, 200))}}, ra.BadQuery, "query.unit"},
			{"clerk", ra.Bulk{Act: "ra.revoke", Query: everyone, Reason: "superseded"}, ra.BadReason, "ground"},
			{"clerk", ra.Bulk{Act: "ra.freeze", Query: everyone, Asker: "nobody"}, ra.BadAsker, "asker"},
			{"clerk", ra.Bulk{Act: "ra.unfreeze", Query: ra.BulkQuery{Unit: "没有"}}, ra.NotLive, "query"},
		} {
			_, err := p.TryBulk(t.Context(), c.b, p.Who[c.who], "")
			refusedAs(t, err, c.want, c.field)
		}
	})
}

// The pace is measured over work, not over waiting for it.
func TestTheForecastMeasuresWork(t *testing.T) {
	p := newPlace(t)
	_, certs := p.tried(13)
	for _, c := range certs[:12] {
		p.must("clerk", ra.Order{Act: "ra.freeze", Serial: c.SignSerial})
	}
	list, err := p.memory.Find(t.Context(), ra.Query{Kind: ra.FreezeKind.Name})
	if err != nil {
		t.Fatal(err)
	}
	for i, rec := range list {
		p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{rec.ID}})
		step := 100 * time.Millisecond
		if i == 5 {
			step = time.Hour
		}
		p.now = p.now.Add(step)
		if _, err := p.Fulfil(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b, err := p.TryBulk(t.Context(), ra.Bulk{Act: "ra.freeze", Query: everyone}, p.Who["clerk"], "")
	if f := b.Forecast; err != nil || f.Samples != 10 || f.PerSecond < 9.9 || f.PerSecond > 10.1 || f.Seconds < 0.09 || f.Seconds > 0.11 {
		t.Errorf("%+v %v", f, err)
	}
}

func isReason(err error, want *refusal.Reason) bool { return errors.Is(err, want) }

func refusedAs(t *testing.T, err, want error, field string) {
	t.Helper()
	r, ok := want.(*refusal.Reason)
	if !ok {
		t.Fatalf("%v is no reason", want)
	}
	refused(t, err, r, field)
}
