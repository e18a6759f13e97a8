package agree

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/cert"
)

// Bounds of watching a channel.
const (
	tasksMax    = 100_000                // subjects waiting to be asked about; a day's work of a large CA in an hour
	soonAgain   = 200 * time.Millisecond // while a channel may still catch up
	lateAgain   = 30 * time.Second       // once the alarm is raised
	promptly    = 200 * time.Millisecond // an answer to a question asked later than this measures us, not the channel
	measuresMax = 2048                   // seconds to visibility kept
	alarmsMax   = 1000                   // disagreements listed for one channel
)

// task is a subject to ask a channel about.
type task struct {
	key     key
	at      time.Time // of the ledger entry; zero for a sample
	entry   int64     // its index; -1 for a sample
	live    bool      // we saw it come: how long it takes can be measured
	seen    time.Time // when
	due     time.Time // next
	alarmed bool
	ripens  time.Time // when the channel must show it, if that is later; what was asked before is asked again then
	found   Disagreement
}

// watch asks one channel, gently, and remembers what it said.
type watch struct {
	channel Channel
	book    *book
	now     func() time.Time
	bound   time.Duration
	pace    time.Duration // between questions
	wake    chan struct{}
	seen    func(seconds float64) // of each measurement

	mu       sync.Mutex
	tasks    map[key]*task
	urgent   []*task // changes of status and lists: the first to matter
	fresh    []*task
	again    []*task   // disagreed, or were not answered
	later    []*task   // agreed, and are to be asked about when they come due
	ripe     time.Time // when the first of them does, or before
	turn     bool      // whose turn it is, again's or fresh's
	checked  int64
	skipped  int64
	measures []float64
	next     int // where the next measure goes once there are measuresMax
	down     time.Time
	downErr  error
	downSaid bool
}

// add has a subject asked about; a later change takes an earlier one's place.
func (w *watch) add(k key, at time.Time, entry int64, live, urgent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tasks[k]; t != nil {
		if entry >= 0 {
			*t = task{key: k, at: at, entry: entry, live: live, seen: w.now()}
			w.ripe = time.Time{} // it may lie among those to be asked about later
			w.rouse()
		}
		return
	}
	if len(w.tasks) >= tasksMax {
		w.skipped++
		return
	}
	t := &task{key: k, at: at, entry: entry, live: live, seen: w.now()}
	w.tasks[k] = t
	if urgent {
		w.urgent = append(w.urgent, t)
	} else {
		w.fresh = append(w.fresh, t)
	}
	w.rouse()
}

// rouse ends the pause of a watch that has nothing to ask.
func (w *watch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run asks until ctx ends.
func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		t, wait := w.take()
		if t != nil {
			w.ask(ctx, t)
			wait = w.pace
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		case <-w.woken(t == nil):
		}
	}
}

func (w *watch) woken(ok bool) <-chan struct{} {
	if ok {
		return w.wake
	}
	return nil
}

// take chooses whom to ask about next: what is urgent, then turn about what
// disagreed before, when it is due, and what has waited longest. While the
// channel gives no answers one question a second is enough.
func (w *watch) take() (*task, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	up := w.down.IsZero()
	if t := pop(&w.urgent, up); t != nil {
		return t, 0
	}
	w.ripen()
	w.turn = !w.turn
	if t := pop(&w.fresh, up && w.turn); t != nil {
		return t, 0
	}
	now := w.now()
	wait := time.Second
	for i, t := range w.again {
		if d := t.due.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		w.again = slices.Delete(w.again, i, i+1)
		return t, 0
	}
	if t := pop(&w.fresh, up); t != nil {
		return t, 0
	}
	return nil, wait
}

// ripen has what has come due asked about, as if the ledger had said so just
// then, and what the ledger has spoken of again since. The caller holds the lock.
func (w *watch) ripen() {
	now := w.now()
	if w.ripe.After(now) {
		return
	}
	w.ripe = now.Add(time.Hour) // at the latest
	w.later = slices.DeleteFunc(w.later, func(t *task) bool {
		if t.due.After(now) {
			w.ripe = earlier(w.ripe, t.due)
			return false
		}
		if !t.due.IsZero() {
			t.at, t.seen, t.live, t.found = t.due, t.due, true, Disagreement{}
		}
		w.urgent = append(w.urgent, t)
		return true
	})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// pop takes the first of a queue, if it may.
func pop(queue *[]*task, may bool) *task {
	if !may || len(*queue) == 0 {
		return nil
	}
	t := (*queue)[0]
	*queue = (*queue)[1:]
	return t
}

func (w *watch) ask(ctx context.Context, t *task) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	a, err := w.channel.Ask(ctx, w.book.subject(t.key))
	s := w.book.subject(t.key) // it may have changed while we asked
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil || ctx.Err() == context.DeadlineExceeded {
			w.fails(t, err, now)
		}
		w.again = append(w.again, t)
		return
	}
	w.answers(now)
	if r, ok := w.channel.(ripener); ok && t.entry >= 0 {
		t.ripens = r.Ripens(s)
	}
	want, says := differs(s, a, w.channel.Expect(s))
	if want == "" {
		w.agrees(t, a, now)
		return
	}
	if t.found.Since.IsZero() {
		t.found.Since = now
	}
	t.found = Disagreement{Channel: w.channel.Name(), Subject: s.Name(), Scope: s.Scope, Want: want, Says: says, Since: t.found.Since, Entry: t.entry}
	if s.Scope == "" {
		t.found.Serial = cert.SerialHex(s.Serial)
	}
	t.due = now.Add(soonAgain)
	if since := later(t.found.Since, t.at); !t.alarmed && now.Sub(since) >= w.bound {
		t.alarmed = true
		slog.Error("what is published disagrees", "channel", w.channel.Name(), "subject", s.Name(), "ledger", want, "channel says", says, "since", t.found.Since)
	}
	if t.alarmed {
		t.due = now.Add(lateAgain)
	}
	w.again = append(w.again, t)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// agrees settles a task. The caller holds the lock.
func (w *watch) agrees(t *task, a Answer, now time.Time) {
	if t.ripens.After(now) {
		t.due, t.alarmed = t.ripens, false
		w.later, w.ripe = append(w.later, t), earlier(w.ripe, t.due)
		w.checked++
		return
	}
	delete(w.tasks, t.key)
	if t.alarmed {
		slog.Info("what is published agrees again", "channel", w.channel.Name(), "subject", t.found.Subject)
	}
	if a.Silent {
		return
	}
	w.checked++
	// That it showed the change when we came to ask says little if we came late;
	// that it did so after having not says all.
	if !t.live || t.found.Since.IsZero() && now.Sub(t.seen) > promptly {
		return
	}
	s := max(now.Sub(t.at).Seconds(), 0)
	if w.seen != nil {
		w.seen(s)
	}
	if len(w.measures) < measuresMax {
		w.measures = append(w.measures, s)
		return
	}
	w.measures[w.next] = s
	w.next = (w.next + 1) % measuresMax
}

// fails notes that the channel gives no answer. The caller holds the lock.
func (w *watch) fails(t *task, err error, now time.Time) {
	t.due = now.Add(time.Second)
	if w.down.IsZero() {
		w.down = now
	}
	w.downErr = err
	if now.Sub(w.down) >= w.bound && !w.downSaid {
		w.downSaid = true
		slog.Error("a channel gives no answer", "channel", w.channel.Name(), "since", w.down, "err", err)
	}
}

func (w *watch) answers(now time.Time) {
	if w.downSaid {
		slog.Info("a channel answers again", "channel", w.channel.Name(), "after", now.Sub(w.down))
	}
	w.down, w.downErr, w.downSaid = time.Time{}, nil, false
}

// idle reports whether there is nothing left to learn at once.
func (w *watch) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.downSaid {
		return true
	}
	return len(w.fresh)+len(w.urgent) == 0 && len(w.again) == w.alarms() && len(w.tasks) == len(w.again)+len(w.later)
}

// alarms counts. The caller holds the lock.
func (w *watch) alarms() (n int) {
	for _, t := range w.again {
		if t.alarmed {
			n++
		}
	}
	return n
}

// oldest is the index of the first ledger entry not settled, or what is given.
func (w *watch) oldest(end int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		if t.entry >= 0 {
			end = min(end, t.entry)
		}
	}
	return end
}
