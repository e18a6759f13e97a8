package ratest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Read counts a reading of personal data and writes its line.
func (m *Memory) Read(_ context.Context, r ra.Reading, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads, m.lines = append(m.reads, r), append(m.lines, line)
	return nil
}

// Readings sums them by person and way.
func (m *Memory) Readings(_ context.Context, from, to time.Time) (list []ra.ReadCount, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	day := func(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }
	for _, r := range m.reads {
		if day(r.At) < day(from) || day(r.At) > day(to) {
			continue
		}
		i := slices.IndexFunc(list, func(c ra.ReadCount) bool { return c.Who == r.Who && c.Way == r.Way })
		if i < 0 {
			i, list = len(list), append(list, ra.ReadCount{Who: r.Who, Way: r.Way})
		}
		c := &list[i]
		c.Times, c.Cases, c.Last = c.Times+1, c.Cases+r.Count, r.At
	}
	slices.SortFunc(list, func(a, b ra.ReadCount) int { return cmp.Or(cmp.Compare(a.Who, b.Who), cmp.Compare(a.Way, b.Way)) })
	return list, nil
}

// Read may fail.
func (f *Failing) Read(ctx context.Context, r ra.Reading, line audit.Entry) error {
	return f.call(func() error { return f.Store.Read(ctx, r, line) })
}

// read: readings are counted by person, way and day, each with its line.
func read(d *Desk) {
	t, ctx := d.t, d.t.Context()
	for _, r := range []ra.Reading{
		{Who: "a", Way: ra.ByShow, Count: 1, At: Now.AddDate(0, 0, -1)},
		{Who: "a", Way: ra.ByShow, Count: 1, At: Now},
		{Who: "a", Way: ra.ByExport, Count: 50, At: Now},
		{Who: "b", Way: ra.ByShow, Count: 1, At: Now.Add(time.Second)},
		{Who: "a", Way: ra.ByShow, Count: 1, At: Now.Add(time.Minute)},
	} {
		if err := d.Read(ctx, r, Line(ra.ReadAct)[0]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.Readings(ctx, Now, Now)
	want := []ra.ReadCount{{Who: "a", Way: ra.ByExport, Times: 1, Cases: 50, Last: Now}, {Who: "a", Way: ra.ByShow, Times: 2, Cases: 2, Last: Now.Add(time.Minute)}, {Who: "b", Way: ra.ByShow, Times: 1, Cases: 1, Last: Now.Add(time.Second)}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := d.Readings(ctx, Now.AddDate(0, 0, -1), Now); err != nil || len(got) != 3 || got[1].Times != 3 {
		t.Errorf("%+v %v", got, err)
	}
}
