package ratest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

// KeepBulk stores a trial with its line.
func (m *Memory) KeepBulk(_ context.Context, b ra.Bulk, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.bulks, func(have ra.Bulk) bool { return have.ID == b.ID }) {
		return errors.New("kept before")
	}
	m.bulks, m.lines = append(m.bulks, b), append(m.lines, line)
	return nil
}

// Bulk returns one with its rows.
func (m *Memory) Bulk(_ context.Context, id string) (ra.Bulk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.bulks, func(b ra.Bulk) bool { return b.ID == id })
	if i < 0 {
		return ra.Bulk{}, ra.NoCase.At("bulk", ra.NoCase.Clause).Because("%.40q", id)
	}
	return m.bulks[i], nil
}

// Bulks lists them without rows, newest first.
func (m *Memory) Bulks(_ context.Context, within []string, after string, limit int) (list []ra.Bulk, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(m.bulks), func(b ra.Bulk) bool { return !inside(within, b.Body) })
	slices.SortFunc(all, func(a, b ra.Bulk) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	if after != "" {
		i := slices.IndexFunc(all, func(b ra.Bulk) bool { return b.ID == after })
		if i < 0 {
			return nil, ra.NoCase.At("bulk", ra.NoCase.Clause)
		}
		all = all[i+1:]
	}
	for _, b := range all[:min(limit, len(all))] {
		b.Rows = nil
		list = append(list, b)
	}
	return list, nil
}

// Hold holds the approved cases of a batch back, or lets them go on.
func (m *Memory) Hold(_ context.Context, by access.Command, batch string, hold bool, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	nonce := by.Signed().Nonce
	switch {
	case !by.Authentic():
		return access.BadSignature.At("signature", access.BadSignature.Clause)
	case m.spent[nonce]:
		return access.Replayed.At("nonce", access.Replayed.Clause)
	case m.held[batch] == hold:
		return casework.Stale.At("bulk", casework.Stale.Clause).Because("%s", batch)
	}
	m.held, m.spent = clone(m.held), clone(m.spent)
	m.held[batch], m.spent[nonce] = hold, true
	m.lines = append(m.lines, line)
	return nil
}

// Held reports whether a batch is held back.
func (m *Memory) Held(_ context.Context, batch string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[batch], nil
}

// Ask puts on record which cases the CA is about to be asked about.
func (m *Memory) Ask(_ context.Context, ids []string) (may []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = clone(m.asked)
	for _, id := range ids {
		if r := m.cases[id]; m.asked[id] || r.State == ra.Approved && !m.held[r.Batch] {
			m.asked[id] = true
			may = append(may, id)
		}
	}
	return may, nil
}

// Unasked lists the approved cases of a batch the CA has not been asked about.
func (m *Memory) Unasked(_ context.Context, batch string) (ids []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.cases)) {
		if r := m.cases[id]; r.Batch == batch && r.State == ra.Approved && !m.asked[id] {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// goes reports whether the worker may take a case on.
func (m *Memory) goes(r ra.Record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.held[r.Batch] || m.asked[r.ID]
}

// KeepBulk may fail.
func (f *Failing) KeepBulk(ctx context.Context, b ra.Bulk, line audit.Entry) error {
	return f.call(func() error { return f.Store.KeepBulk(ctx, b, line) })
}

// Bulk may fail.
func (f *Failing) Bulk(ctx context.Context, id string) (ra.Bulk, error) {
	return one(f, func() (ra.Bulk, error) { return f.Store.Bulk(ctx, id) })
}

// Hold may fail.
func (f *Failing) Hold(ctx context.Context, by access.Command, batch string, hold bool, line audit.Entry) error {
	return f.call(func() error { return f.Store.Hold(ctx, by, batch, hold, line) })
}

// Ask may fail.
func (f *Failing) Ask(ctx context.Context, ids []string) ([]string, error) {
	return one(f, func() ([]string, error) { return f.Store.Ask(ctx, ids) })
}

// bulks: trials are kept with their rows and listed without, newest first.
func bulks(d *Desk) {
	t, ctx := d.t, d.t.Context()
	for _, id := range []string{"M1", "M2", "M3"} {
		b := ra.Bulk{ID: id, Act: "ra.freeze", By: "clerk", At: Now, Found: 2, Rows: []ra.BulkRow{{Case: "A1", Serial: "01", ID: "R1"}, {Case: "A2", Serial: "02"}}}
		if err := d.KeepBulk(ctx, b, Line("ra.bulk.try")[0]); err != nil {
			t.Fatal(err)
		}
	}
	b, err := d.Bulk(ctx, "M2")
	if err != nil || b.Act != "ra.freeze" || b.Found != 2 || len(b.Rows) != 2 || b.Rows[0] != (ra.BulkRow{Case: "A1", Serial: "01", ID: "R1"}) || !b.At.Equal(Now) {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := d.Bulk(ctx, "none"); !errors.Is(err, ra.NoCase) {
		t.Error(err)
	}
	list, err := d.Bulks(ctx, nil, "", 2)
	if err != nil || len(list) != 2 || list[0].ID != "M3" || list[0].Rows != nil {
		t.Errorf("%+v %v", list, err)
	}
	if list, err = d.Bulks(ctx, nil, "M2", 2); err != nil || len(list) != 1 || list[0].ID != "M1" {
		t.Errorf("%+v %v", list, err)
	}
}

// held: a batch that is held back is passed over, but for what the CA was
// asked about; that alone cannot be cancelled.
func held(d *Desk) {
	t, ctx := d.t, d.t.Context()
	var ids []string
	for n := 1; n <= 3; n++ {
		r := Sample(n)
		r.Batch, r.Kind = "M1", ra.FreezeKind.Name
		cmd, v := d.Move("clerk", ra.Freeze, r)
		if err := d.Save(ctx, cmd, []ra.Save{v}, Line("ra.freeze")); err != nil {
			t.Fatal(err)
		}
		d.save("reviewer", ra.Approve, r.ID)
		ids = append(ids, r.ID)
	}
	hold := func(on bool) error {
		cmd, _ := d.command("reviewer", "ra.pause", Sample(1))
		return d.Hold(ctx, cmd, "M1", on, Line("ra.pause")[0])
	}
	if may, err := d.Ask(ctx, ids[:1]); err != nil || !slices.Equal(may, ids[:1]) {
		t.Error(may, err)
	}
	if err := hold(true); err != nil {
		t.Fatal(err)
	}
	if err := hold(true); !errors.Is(err, casework.Stale) {
		t.Errorf("held twice: %v", err)
	}
	if on, err := d.Held(ctx, "M1"); err != nil || !on {
		t.Error(on, err)
	}
	if may, err := d.Ask(ctx, append(ids, "none")); err != nil || !slices.Equal(may, ids[:1]) {
		t.Errorf("while it is held: %v %v", may, err)
	}
	list, err := d.Waiting(ctx, ra.FreezeKind.Name, ra.Approved, "", 10)
	if err != nil || len(list) != 1 || list[0].ID != ids[0] {
		t.Errorf("%d waiting: %v", len(list), err)
	}
	if rest, err := d.Unasked(ctx, "M1"); err != nil || !slices.Equal(rest, ids[1:]) {
		t.Error(rest, err)
	}
	cmd, asked := d.Move("reviewer", ra.Cancel, d.get(ids[0]))
	if err := d.Save(ctx, cmd, []ra.Save{asked}, nil); !errors.Is(err, casework.Stale) {
		t.Errorf("cancelling what the CA was asked: %v", err)
	}
	if got := d.save("reviewer", ra.Cancel, ids[1]); got.State != ra.Rejected {
		t.Error(got.State)
	}
	if err := hold(false); err != nil {
		t.Fatal(err)
	}
	if list, err := d.Waiting(ctx, ra.FreezeKind.Name, ra.Approved, "", 10); err != nil || len(list) != 2 {
		t.Errorf("%d waiting: %v", len(list), err)
	}
	if may, err := d.Ask(ctx, ids); err != nil || !slices.Equal(may, []string{ids[0], ids[2]}) {
		t.Errorf("let go on: %v %v", may, err)
	}
}
