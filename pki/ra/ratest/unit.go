package ratest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Unit returns one by its code.
func (m *Memory) Unit(_ context.Context, code string) (ra.Unit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.units[code]
	if !ok {
		return u, ra.NoUnit.At("code", ra.NoUnit.Clause).Because("%.40q", code)
	}
	return u, nil
}

// Units lists them in order of codes.
func (m *Memory) Units(_ context.Context, q ra.UnitQuery) (list []ra.Unit, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.Limit <= 0 || q.Limit > ra.PageMax {
		q.Limit = ra.PageMax
	}
	for _, u := range m.units {
		status, t := "good", strings.ToLower(strings.TrimSpace(q.Text))
		switch {
		case u.Suspended:
			status = "suspended"
		case q.Today < u.Letter.From || q.Today > u.Letter.To:
			status = "expired"
		}
		if inside(q.Within, u.Body) && u.Code > q.After && (q.Status == "" || q.Status == status) && (t == "" || strings.Contains(strings.ToLower(u.Name), t) || strings.EqualFold(u.Code, t)) {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(a, b ra.Unit) int { return cmp.Compare(a.Code, b.Code) })
	return list[:min(len(list), q.Limit)], nil
}

// enter writes what a register says after a move.
func enter(units map[string]ra.Unit, v ra.Save) error {
	if v.Unit == nil {
		return nil
	}
	c, err := ra.UnitChangeOf(v.Record.Content)
	if err != nil {
		return err
	}
	if units[v.Unit.Code].Case != c.Was {
		return casework.Stale.At("id", casework.Stale.Clause)
	}
	units[v.Unit.Code] = *v.Unit
	return nil
}

// letterEnds reports whether a case is the one a unit's present letter came with.
func (m *Memory) letterEnds(r ra.Record) (ra.Letter, bool) {
	for _, u := range m.units {
		if u.Origin == r.ID && !u.Suspended {
			return u.Letter, true
		}
	}
	return ra.Letter{}, false
}

// enter drafts and decides a change to a unit, as the desk would.
func (d *Desk) enter(c ra.UnitChange, change func(*ra.Unit)) error {
	d.t.Helper()
	rec := ra.Record{Case: casework.Case{ID: c.ID, Kind: ra.UnitKind.Name, State: ra.Drafted}, Content: c.Bytes(), Title: c.Name,
		Identity: ra.Sealed{Number: hsm.Wrapped{Blob: []byte("sealed " + c.ID)}, Blind: []byte(c.Code)}, CreatedBy: "clerk", CreatedAt: Now, UpdatedAt: Now}
	d.draft(rec)
	d.save("clerk", ra.Submit, rec.ID)
	u := ra.Unit{Code: c.Code, Name: c.Name, Letter: c.Letter, Case: c.ID, Origin: c.ID, Sealed: rec.Identity, At: Now}
	change(&u)
	by, s := d.Move("reviewer", ra.Approve, d.get(rec.ID))
	s.Unit = &u
	return d.Save(d.t.Context(), by, []ra.Save{s}, nil)
}

// The register says what the last approved change made of it; a change to a unit
// that has changed since is refused, and its letter is what people are reminded of.
func units(d *Desk) {
	ctx := d.t.Context()
	if _, err := d.Unit(ctx, "A"); !errors.Is(err, ra.NoUnit) {
		d.t.Error(err)
	}
	letter := ra.Letter{Evidence: "x", From: "2026-01-01", To: "2026-12-01"}
	none := func(*ra.Unit) {}
	for _, c := range []ra.UnitChange{
		{ID: "U1", Do: ra.UnitAdd, Code: "A", Name: "甲局 100%", Letter: letter}, {ID: "U2", Do: ra.UnitAdd, Code: "B", Name: "乙局", Letter: ra.Letter{From: "2026-01-01", To: "2026-11-01"}},
		{ID: "U3", Do: ra.UnitAdd, Code: "C", Name: "丙 Ltd", Letter: letter},
	} {
		if err := d.enter(c, none); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := d.enter(ra.UnitChange{ID: "U4", Do: ra.UnitAdd, Code: "A", Name: "又一个"}, none); !errors.Is(err, casework.Stale) {
		d.t.Errorf("registered twice: %v", err)
	}
	suspended := func(u *ra.Unit) { u.Suspended, u.Why, u.Letter, u.Origin = true, "停", letter, "U3" }
	if err := d.enter(ra.UnitChange{ID: "U5", Do: ra.UnitSuspend, Code: "C", Name: "丙 Ltd", Was: "U2"}, suspended); !errors.Is(err, casework.Stale) {
		d.t.Errorf("of another time: %v", err)
	}
	if err := d.enter(ra.UnitChange{ID: "U6", Do: ra.UnitSuspend, Code: "C", Name: "丙 Ltd", Was: "U3"}, suspended); err != nil {
		d.t.Fatal(err)
	}
	u, err := d.Unit(ctx, "C")
	if err != nil || !u.Suspended || u.Case != "U6" || u.Origin != "U3" || !u.At.Equal(Now) || !bytes.Equal(u.Sealed.Number.Blob, []byte("sealed U6")) {
		d.t.Errorf("%+v %v", u, err)
	}
	for want, q := range map[string]ra.UnitQuery{
		"A B C": {}, "A": {Status: "good"}, "B": {Status: "expired"}, "C": {Text: "ltd"}, "C ": {Status: "suspended"}, "A ": {Text: "0%"}, "B ": {Text: "b"}, "B C": {After: "A"}, "A B": {Limit: 2}, "": {Text: "没有"},
	} {
		q.Today = "2026-11-24"
		list, err := d.Units(ctx, q)
		var got []string
		for _, u := range list {
			got = append(got, u.Code)
		}
		if strings.Join(got, " ") != strings.TrimSpace(want) || err != nil {
			d.t.Errorf("%+v: %v %v", q, got, err)
		}
	}
	list, err := d.Expiring(ctx, Now, Now.AddDate(0, 0, 30), 30, 10)
	if err != nil || len(list) != 1 || list[0].ID != "U1" {
		d.t.Errorf("letters that run out: %+v %v", list, err)
	}
	if err := d.enter(ra.UnitChange{ID: "U7", Do: ra.UnitAmend, Code: "A", Name: "甲局", Was: "U1", Letter: letter}, func(u *ra.Unit) { u.Letter.To = "2027-12-01" }); err != nil {
		d.t.Fatal(err)
	}
	if list, err = d.Expiring(ctx, Now, Now.AddDate(0, 0, 30), 30, 10); err != nil || len(list) != 0 {
		d.t.Errorf("a letter that was renewed: %+v %v", list, err)
	}
}
