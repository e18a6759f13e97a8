package ra

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/wire/enroll"
)

// FigureStore counts what was issued.
type FigureStore interface {
	// Figures count what was issued since a time, as it stands at another, in order
	// of day, profile and body: one for each pair or single certificate.
	Figures(ctx context.Context, since, now time.Time) ([]enroll.Figure, error)
}

// FigureRow is what the desk counts under a profile for a body on a day, and what
// the CA counts.
type FigureRow struct {
	enroll.Figure
	Date  string        `json:"date"`
	CA    enroll.Figure `json:"ca"`
	Agree bool          `json:"agree"`
}

// Tally is a look at both sides. (业务量对账)
type Tally struct {
	At    time.Time     `json:"at"`
	Since time.Time     `json:"since"`
	Rows  []FigureRow   `json:"rows"`
	Total enroll.Figure `json:"total"` // as the desk counts
	// Alarm names differences that two looks in a row found: what is only on its way
	// from one side to the other has arrived by the second.
	Alarm []string `json:"alarm"`
}

// Reconciler holds the desk's figures against the CA's.
type Reconciler struct {
	Store FigureStore
	CA    func(ctx context.Context, since time.Time) ([]enroll.Figure, time.Time, error)

	mu    sync.Mutex
	was   map[string]bool // differences of the look before
	alarm []string
}

// Bounds of reconciling: how often, how many days back each time, and how often
// over all days.
const (
	TallyEvery = 10 * time.Second
	tallyDays  = 31
	tallyAll   = 360 // looks between two over all days
)

// Look counts on both sides now.
func (r *Reconciler) Look(ctx context.Context, since time.Time) (Tally, error) {
	theirs, at, err := r.CA(ctx, since)
	if err != nil {
		return Tally{}, fmt.Errorf("asking the CA what it issued: %w", err)
	}
	ours, err := r.Store.Figures(ctx, since, at)
	if err != nil {
		return Tally{}, err
	}
	t := Tally{At: at, Since: since, Rows: []FigureRow{}, Alarm: []string{}}
	type key struct {
		profile, body string
		day           int64
	}
	of := func(f enroll.Figure) key { return key{f.Profile, f.Body, f.Day} }
	rest := map[key]enroll.Figure{}
	for _, f := range theirs {
		rest[of(f)] = f
	}
	add := func(f, ca enroll.Figure) {
		t.Rows = append(t.Rows, FigureRow{f, f.Date(), ca, f == ca && f.Issued-f.Expired-f.Revoked == f.Valid})
		s := &t.Total
		s.Issued, s.Expired, s.Revoked, s.Valid = s.Issued+f.Issued, s.Expired+f.Expired, s.Revoked+f.Revoked, s.Valid+f.Valid
	}
	for _, f := range ours {
		ca := rest[of(f)]
		delete(rest, of(f))
		add(f, ca)
	}
	for k, f := range rest { // the desk knows nothing of these
		add(enroll.Figure{Profile: k.profile, Body: k.body, Day: k.day}, f)
	}
	slices.SortStableFunc(t.Rows, func(a, b FigureRow) int { return int(a.Day - b.Day) })
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Alarm = append(t.Alarm, r.alarm...)
	return t, nil
}

// Check looks and raises an alarm over what the look before found as well.
func (r *Reconciler) Check(ctx context.Context, since time.Time) (Tally, error) {
	t, err := r.Look(ctx, since)
	if err != nil {
		return t, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, alarm := map[string]bool{}, []string{}
	for _, row := range t.Rows {
		if row.Agree {
			continue
		}
		text := fmt.Sprintf("%s %s %s：注册系统 签发 %d、过期 %d、撤销 %d、有效 %d；CA 签发 %d、过期 %d、撤销 %d、有效 %d", row.Date, row.Profile, row.Body,
			row.Issued, row.Expired, row.Revoked, row.Valid, row.CA.Issued, row.CA.Expired, row.CA.Revoked, row.CA.Valid)
		if now[text] = true; r.was[text] {
			alarm = append(alarm, text)
		}
	}
	if len(alarm) > 0 && !slices.Equal(alarm, r.alarm) {
		slog.Error("the registration system's figures and the CA's differ", "differences", alarm)
	}
	r.was, r.alarm, t.Alarm = now, alarm, alarm
	return t, nil
}

// Differences is how many there are that raised an alarm.
func (r *Reconciler) Differences() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.alarm)
}

// Run checks until ctx ends: the last days each time, all of them now and then.
func (r *Reconciler) Run(ctx context.Context, now func() time.Time) {
	for n := 0; ctx.Err() == nil; n++ {
		since := now().AddDate(0, 0, -tallyDays)
		if n%tallyAll < 2 { // twice in a row, or nothing would raise an alarm
			since = time.Unix(0, 0)
		}
		if _, err := r.Check(ctx, since); err != nil && ctx.Err() == nil {
			slog.Warn("业务量稍后再与 CA 核对", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(TallyEvery):
		}
	}
}
