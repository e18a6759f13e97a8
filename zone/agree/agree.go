// Package agree checks from outside that everything the institution publishes
// says the same. (一致性核对)
//
// The ledger is the truth. For every certificate issued, every change of status
// and every list signed since it last looked, and for some older certificates
// at random, it asks each channel as a stranger would, compares, and measures
// how many seconds after the ledger the channel showed it. What goes on
// disagreeing is an alarm (GM/T 0034 §5.3.5: 数据一致性检验).
package agree

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// Directory is one LDAP server to ask.
type Directory struct {
	Name, Title, URL string
	StartTLS         bool
	TLS              *tls.Config // nil trusts what the system trusts
}

// Job asks. Set the fields, then call Start, and Run or Once.
type Job struct {
	Ledger      ledger.Follower           // from its beginning
	OCSP        string                    // URL
	List        func(scope string) string // a list's URL
	Directories []Directory
	View        View          // may be nil
	File        string        // where it keeps how far it has checked; empty keeps nothing
	Samples     int           // older certificates a minute
	Pace        time.Duration // between questions to one channel; 20 ms when 0
	Bound       time.Duration // how long a channel may take; 5 s when 0
	HTTP        *http.Client
	Now         func() time.Time
	Channels    []Channel // further ones

	book    *book
	watches []*watch

	mu       sync.Mutex
	read     int64 // entries of the ledger
	from     int64 // the first to be checked
	kept     int64
	measures []float64
	trouble  error
	since    time.Time
}

// Bounds of the job.
const (
	pace    = 20 * time.Millisecond // fifty questions a second are felt by nobody
	bound   = 5 * time.Second
	look    = 100 * time.Millisecond // how often the ledger is looked at
	rounds  = time.Minute            // how often samples are drawn
	keepFor = 10 * time.Second
	recent  = 24 * time.Hour // what is checked when nothing is known of before
)

func (j *Job) bound() time.Duration {
	if j.Bound > 0 {
		return j.Bound
	}
	return bound
}

// Start prepares the channels.
func (j *Job) Start() error {
	j.book = newBook()
	shelf := &shelf{where: j.List, bodies: j.Ledger.Source, http: j.HTTP, now: j.Now, of: map[string]*slot{}}
	channels := []Channel{bodies{j.Ledger.Source}}
	if j.OCSP != "" {
		channels = append(channels, status{j.OCSP, false, j.HTTP, j.Now}, status{j.OCSP, true, j.HTTP, j.Now})
	}
	if j.List != nil {
		channels = append(channels, lists{"crl-full", "全量 CRL", full, shelf}, lists{"crl-shard", "分片 CRL", sharded, shelf},
			lists{"crl-delta", "增量 CRL", j.book.changes, shelf}, lists{"crl-other", "ARL", others, shelf})
	}
	for _, d := range j.Directories {
		channels = append(channels, &folder{Directory: d, now: j.Now})
	}
	if j.View != nil {
		channels = append(channels, database{j.View})
	}
	p := j.Pace
	if p <= 0 {
		p = pace
	}
	for _, c := range append(channels, j.Channels...) {
		j.watches = append(j.watches, &watch{channel: c, book: j.book, now: j.Now, bound: j.bound(), pace: p, wake: make(chan struct{}, 1), tasks: map[key]*task{}})
	}
	var err error
	j.from, err = j.load()
	return err
}

// Run checks until ctx ends.
func (j *Job) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, w := range j.watches {
		wg.Go(func() { w.run(ctx) })
	}
	tick, sample, keep := time.NewTicker(look), time.NewTicker(rounds), time.NewTicker(keepFor)
	defer tick.Stop()
	defer sample.Stop()
	defer keep.Stop()
	for {
		j.follow(ctx)
		select {
		case <-ctx.Done():
			j.keep()
			return
		case <-tick.C:
		case <-sample.C:
			j.draw(j.Samples)
		case <-keep.C:
			j.keep()
		}
	}
}

// Once checks what is recent and some samples of the rest, and says how it came
// out. It waits for whatever disagrees as long as a channel may take.
func (j *Job) Once(ctx context.Context, samples int) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j.follow(ctx)
	if j.trouble != nil {
		return Report{}, fmt.Errorf("reading the ledger: %w", j.trouble)
	}
	j.draw(samples)
	var wg sync.WaitGroup
	for _, w := range j.watches {
		wg.Go(func() { w.run(ctx) })
	}
	for busy := true; busy && ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
		j.follow(ctx)
		busy = false
		for _, w := range j.watches {
			busy = busy || !w.idle()
		}
	}
	r := j.Report()
	err := ctx.Err()
	cancel()
	wg.Wait()
	return r, err
}

// follow takes what the ledger has new.
func (j *Job) follow(ctx context.Context) {
	run, err := j.Ledger.Next(ctx)
	if err == nil {
		for i, leaf := range run.Leaves {
			j.entry(run.First+int64(i), leaf, run.First == 0)
		}
		j.Ledger.At = run.Frontier
	}
	if ctx.Err() != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.read = j.Ledger.At.Size()
	if err != nil && j.trouble == nil {
		j.since = j.Now()
	}
	if err != nil && (j.trouble == nil || j.trouble.Error() != err.Error()) {
		slog.Error("agreement cannot read the ledger", "err", err)
	}
	j.trouble = err
}

// entry notes one entry and has every channel asked about whom it speaks of.
func (j *Job) entry(index int64, leaf []byte, first bool) {
	e, err := record.Parse(leaf)
	if err != nil {
		slog.Error("agreement passes over an entry", "entry", index, "err", err)
		return
	}
	k, ok, err := j.book.take(e)
	if err != nil {
		slog.Error("agreement passes over an entry", "entry", index, "err", err)
	}
	now := j.Now()
	if !first { // the first run is history
		j.mu.Lock()
		j.measures = append(j.measures, max(now.Sub(e.At).Seconds(), 0))
		j.measures = j.measures[max(len(j.measures)-measuresMax, 0):]
		j.mu.Unlock()
	}
	if !ok || index < j.from || j.from < 0 && now.Sub(e.At) > recent {
		return
	}
	for _, w := range j.watches {
		w.add(k, e.At, index, !first, e.Kind != record.KindCertificate)
	}
}

// draw has channels asked about some certificates at random, and about every
// list that is current.
func (j *Job) draw(n int) {
	for range n {
		if k, ok := j.book.random(rand.IntN); ok {
			for _, w := range j.watches {
				w.add(k, time.Time{}, -1, false, false)
			}
		}
	}
	j.book.RLock()
	scopes := make([]string, 0, len(j.book.lists))
	for scope := range j.book.lists {
		scopes = append(scopes, scope)
	}
	j.book.RUnlock()
	for _, scope := range scopes {
		for _, w := range j.watches {
			w.add(key{scope: scope}, time.Time{}, -1, false, false)
		}
	}
}

// load reads how far was checked before; -1 when that is not known.
func (j *Job) load() (int64, error) {
	if j.File == "" {
		return -1, nil
	}
	data, err := os.ReadFile(j.File)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return -1, nil // torn: as if it were not there
	}
	return n, nil
}

// keep writes how far everything is settled; losing it only asks again.
func (j *Job) keep() {
	if j.File == "" {
		return
	}
	end := j.Ledger.At.Size()
	for _, w := range j.watches {
		end = w.oldest(end)
	}
	if end == j.kept {
		return
	}
	err := os.WriteFile(j.File+".new", []byte(strconv.FormatInt(end, 10)+"\n"), 0o640)
	if err == nil {
		err = os.Rename(j.File+".new", j.File)
	}
	if err != nil {
		slog.Error("agreement cannot keep its position", "err", err)
		return
	}
	j.kept = end
}
