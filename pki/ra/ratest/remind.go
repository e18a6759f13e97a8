package ratest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
)

func (m *Memory) reminded(id string, days int) int {
	return slices.IndexFunc(m.reminders, func(r ra.Reminder) bool { return r.Case == id && r.Days == days })
}

// Expiring lists cases whose certificates end within a time.
func (m *Memory) Expiring(_ context.Context, from, to time.Time, days, limit int) (list []ra.Record, err error) {
	for _, rec := range m.All() {
		var end time.Time
		if l, ok := m.letterEnds(rec); ok {
			end = l.End()
		} else if c, err := cert.Parse(rec.Reply.Sign); err == nil && (rec.State == ra.Issued || rec.State == ra.Delivered) {
			end = c.NotAfter
		}
		if !end.After(from) || end.After(to) || m.reminded(rec.ID, days) >= 0 || len(list) == limit {
			continue
		}
		rec.Events = nil
		list = append(list, rec)
	}
	return list, nil
}

// Remind records reminders that are new, each with its line.
func (m *Memory) Remind(_ context.Context, list []ra.Reminder, lines []audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range list {
		if m.reminded(r.Case, r.Days) < 0 {
			m.reminders, m.lines = append(m.reminders, r), append(m.lines, lines[i])
		}
	}
	return nil
}

// Reminders lists them, newest first.
func (m *Memory) Reminders(_ context.Context, q ra.ReminderQuery) (list []ra.Reminder, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.reminders)
	newest := func(a, b ra.Reminder) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(b.Case, a.Case), b.Days-a.Days)
	}
	slices.SortFunc(all, newest)
	for _, r := range all {
		if (q.Case == "" || r.Case == q.Case) && inside(q.Within, m.cases[r.Case].Body) && !(q.Pending && r.Dropped) && (q.After == nil || newest(*q.After, r) < 0) && (q.Limit <= 0 || len(list) < q.Limit) {
			list = append(list, r)
		}
	}
	return list, nil
}

// Drop marks that a reminder's file has been written.
func (m *Memory) Drop(_ context.Context, r ra.Reminder) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.reminded(r.Case, r.Days); i >= 0 {
		m.reminders[i].Dropped = true
	}
	return nil
}

// reminded: what is about to end is found, recorded once with its line, listed
// and marked.
func reminded(d *Desk) {
	t := d.t
	end := Now.AddDate(1, 0, 0).Truncate(time.Second) // as Certificate makes them
	for n, state := range []casework.State{ra.Issued, ra.Delivered, ra.Revoked} {
		d.issued(n, state)
	}
	find := func(from, to time.Time, days, limit int) (ids string) {
		list, err := d.Expiring(d.t.Context(), from, to, days, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			ids += r.ID + " "
		}
		return ids
	}
	a, b := Sample(0).ID, Sample(1).ID
	for _, c := range []struct {
		name     string
		from, to time.Time
		limit    int
		want     string
	}{
		{"ends in time", end.Add(-time.Hour), end, 9, a + " " + b + " "},
		{"one at a time", end.Add(-time.Hour), end, 1, a + " "},
		{"ends a moment later", end.Add(-time.Hour), end.Add(-time.Millisecond), 9, ""},
		{"ended before", end, end.Add(time.Hour), 9, ""},
	} {
		if got := find(c.from, c.to, 30, c.limit); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	first := ra.Reminder{Case: a, Days: 30, Serial: "41", Title: "张三", Profile: "person-dual", NotAfter: end, At: Now}
	second := first
	second.Case, second.At = b, Now.Add(time.Second)
	for range 2 {
		if err := d.Remind(d.t.Context(), []ra.Reminder{first, second}, append(Line("ra.remind"), Line("ra.remind")...)); err != nil {
			t.Fatal(err)
		}
	}
	if got := find(end.Add(-time.Hour), end, 30, 9); got != "" {
		t.Errorf("reminded of already: %q", got)
	}
	if got := find(end.Add(-time.Hour), end, 7, 9); got != a+" "+b+" " {
		t.Errorf("not of another number of days: %q", got)
	}
	if err := d.Drop(d.t.Context(), second); err != nil {
		t.Fatal(err)
	}
	second.Dropped = true
	for _, c := range []struct {
		name string
		q    ra.ReminderQuery
		want []ra.Reminder
	}{
		{"all", ra.ReminderQuery{}, []ra.Reminder{second, first}},
		{"pending", ra.ReminderQuery{Pending: true}, []ra.Reminder{first}},
		{"of a case", ra.ReminderQuery{Case: b}, []ra.Reminder{second}},
		{"the first", ra.ReminderQuery{Limit: 1}, []ra.Reminder{second}},
		{"the next", ra.ReminderQuery{After: &second}, []ra.Reminder{first}},
		{"nothing more", ra.ReminderQuery{After: &first}, nil},
	} {
		if got, err := d.Reminders(d.t.Context(), c.q); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
}

// issued brings sample n to a state after issuance.
func (d *Desk) issued(n int, state casework.State) {
	t := d.t
	t.Helper()
	if _, err := d.Case(t.Context(), Sample(n).ID); err != nil {
		d.draft(Sample(n))
	}
	d.save("clerk", ra.Submit, Sample(n).ID)
	r := d.save("reviewer", ra.Approve, Sample(n).ID)
	r.Reply = Reply(t, r.Title, Now)
	r.SignSerial, r.EncSerial = r.Reply.Serials()
	machine := access.AsMachine("ra")
	for _, do := range map[casework.State][]casework.Action{ra.Issued: {ra.Issue}, ra.Delivered: {ra.Issue, ra.Hold, ra.Release}, ra.Revoked: {ra.Issue, ra.End}, ra.IssuedHeld: {ra.Issue, ra.Hold}, ra.Superseded: {ra.Issue, ra.Replace}}[state] {
		move, err := ra.IssueKind.Next(r.Case, machine, do, access.Item{}, access.Proof{}, Now)
		if err != nil {
			t.Fatal(err)
		}
		r.Case = move.Case
		if err := d.Save(t.Context(), machine, []ra.Save{{Record: r, Move: move}}, nil); err != nil {
			t.Fatal(err)
		}
	}
}
