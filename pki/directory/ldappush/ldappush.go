// Package ldappush keeps an external LDAP server in step with the directory.
// (目录发布)
//
// It reads the ledger behind the directory and writes, entry by entry, what
// the directory has now: an entry changed a hundred times while the server was
// away is written once, and writing it again changes nothing. Users ask that
// server or its replicas (GM/T 0034 §5.3.5: users reach slaves only). What
// others alter or delete there is found by Check and restored from the ledger.
package ldappush

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
)

// Publisher writes to one server. Set the fields, then call Start and Run.
type Publisher struct {
	Model  *directory.Directory // somebody else has it follow the same ledger
	Ledger ledger.Follower      // where the entries come from; At is set by Start
	Server Server
	File   string        // where the position is kept
	Every  time.Duration // between checks of the whole tree; an hour when 0
	Now    func() time.Time
	Stats  Stats

	wake  chan struct{}
	mu    sync.Mutex      // held while the server is written to
	known bool            // the server has been told everything up to Ledger.At
	waits map[string]bool // but these: serials of certificates that were not due
	conn  *session
}

// Stats are figures for an operator.
type Stats struct {
	Written  atomic.Int64 // entries added or changed
	Repaired atomic.Int64 // entries that somebody else had altered, deleted or added
	Refused  atomic.Int64 // entries the server does not take
	Failures atomic.Int64 // times the server was away or in trouble
	Found    atomic.Int64 // disagreements the last check found
	Size     atomic.Int64 // entries of the ledger the server has
	behind   atomic.Int64 // since when there is something to write, Unix nanoseconds; 0 is not
}

// Bounds of publishing.
const (
	chunk     = 4096             // entries of the ledger between two positions
	hands     = 8                // questions at once: enough to hide the wire, few enough for any server
	waitFirst = time.Second      // after a failure, doubling
	waitMax   = 30 * time.Second // a server that comes back is served soon
	checkEach = time.Hour
	firstLook = time.Minute // after a start: the server may have been put back from a backup
)

// Start takes up the position.
func (p *Publisher) Start() error {
	p.wake = make(chan struct{}, 1)
	var err error
	p.Ledger.At, p.waits, p.known, err = p.load()
	p.Stats.Size.Store(p.Ledger.At.Size())
	return err
}

// Wake makes Run look at once. It never blocks.
func (p *Publisher) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Lag is how long the server has been behind the ledger.
func (p *Publisher) Lag() time.Duration {
	if since := p.Stats.behind.Load(); since != 0 {
		return p.Now().Sub(time.Unix(0, since))
	}
	return 0
}

// Queue is how many entries of the ledger the server has not been told of.
func (p *Publisher) Queue() int64 { return max(p.Model.At().Size()-p.Stats.Size.Load(), 0) }

// Run publishes until ctx ends. A server that is away is asked again, less and
// less often; nothing is lost meanwhile, for the queue is the ledger itself.
func (p *Publisher) Run(ctx context.Context) {
	var checks sync.WaitGroup
	checks.Go(func() { p.checkNowAndThen(ctx) })
	defer checks.Wait()
	defer p.hangUp()
	said, wait := "", waitFirst
	for ctx.Err() == nil {
		err := p.Publish(ctx)
		if err == nil {
			if said != "" {
				slog.Info("directory server is well again", "url", p.Server.URL)
			}
			said, wait = "", waitFirst
			select {
			case <-ctx.Done():
			case <-p.wake:
			case <-time.After(time.Minute):
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		p.Stats.Failures.Add(1)
		if err.Error() != said {
			slog.Error("directory server is not told; entries wait", "url", p.Server.URL, "queue", p.Queue(), "err", err)
		}
		said = err.Error()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, waitMax)
	}
}

// checkNowAndThen compares the whole tree on schedule.
func (p *Publisher) checkNowAndThen(ctx context.Context) {
	every := p.Every
	if every <= 0 {
		every = checkEach
	}
	for wait := min(every, firstLook); ; wait = every {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if _, err := p.Check(ctx, true); err != nil && ctx.Err() == nil {
			slog.Error("directory server is not checked", "url", p.Server.URL, "err", err)
		}
	}
}

// Publish brings the server up to the directory, once.
func (p *Publisher) Publish(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publish(ctx)
}

// publish is Publish; the caller holds the lock.
func (p *Publisher) publish(ctx context.Context) error {
	goal := p.Model.At()
	ripe := p.ripe()
	if p.known && goal.Size() == p.Ledger.At.Size() && len(ripe) == 0 {
		p.Stats.behind.Store(0)
		return nil
	}
	p.Stats.behind.CompareAndSwap(0, p.Now().UnixNano())
	if p.conn == nil {
		conn, err := p.Server.open(ctx, p.Model)
		if err != nil {
			return err
		}
		p.conn = conn
	}
	err := p.upTo(ctx, goal)
	if err == nil && len(ripe) > 0 {
		err = p.show(ctx, ripe)
	}
	if err != nil {
		p.conn.close() // whatever is wrong, the next try begins afresh
		p.conn = nil
		return err
	}
	p.Stats.behind.Store(0)
	return nil
}

// ripe are the serials of certificates that have come due since the server was
// told of them.
func (p *Publisher) ripe() (serials []string) {
	for s := range p.waits {
		if _, waits := p.Model.Waits(s); !waits {
			serials = append(serials, s)
		}
	}
	return serials
}

// show brings certificates that have come due. A crash before the position is
// kept brings them again.
func (p *Publisher) show(ctx context.Context, serials []string) error {
	var ids []uint32
	for _, s := range serials {
		ids = append(ids, p.Model.Shown(s)...)
	}
	slices.Sort(ids)
	if err := p.bringAll(ctx, slices.Compact(ids)); err != nil {
		return err
	}
	for _, s := range serials {
		delete(p.waits, s)
	}
	return p.done(p.Ledger.At)
}

func (p *Publisher) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.close()
		p.conn = nil
	}
}

func (p *Publisher) upTo(ctx context.Context, goal ledger.Frontier) error {
	if !p.known { // a server new to us, or we to it: every entry is looked at
		p.waits = map[string]bool{}
		for _, s := range p.Model.Waiting() { // before that: what comes due meanwhile is brought twice
			p.waits[s] = true
		}
		if err := p.everything(ctx); err != nil {
			return err
		}
		return p.done(goal)
	}
	run, err := p.Ledger.Next(ctx)
	if err != nil {
		return err
	}
	// The directory may not have come as far as the ledger: it writes first.
	for at := p.Ledger.At; at.Size() < goal.Size(); at = p.Ledger.At {
		from := at.Size() - run.First
		leaves := run.Leaves[from:min(from+chunk, goal.Size()-run.First)]
		hashes := make([][]byte, len(leaves))
		for i, l := range leaves {
			hashes[i] = ledger.LeafHash(l)
		}
		next, err := at.Append(hashes...)
		if err != nil {
			return err
		}
		if next.Size() == goal.Size() && !bytes.Equal(next.Root(), goal.Root()) {
			return fmt.Errorf("%w: the directory has read another", ledger.ErrFork)
		}
		waits, ids := p.touched(leaves)
		if err := p.bringAll(ctx, ids); err != nil {
			return err
		}
		for _, s := range waits {
			p.waits[s] = true
		}
		if err := p.done(next); err != nil {
			return err
		}
	}
	return nil
}

// done keeps the position: the server has acknowledged everything before it.
func (p *Publisher) done(at ledger.Frontier) error {
	if err := p.keep(at); err != nil {
		return fmt.Errorf("keeping position: %w", err)
	}
	p.Ledger.At, p.known = at, true
	p.Stats.Size.Store(at.Size())
	return nil
}

// touched are the directory's entries that leaves had a part in, parents first,
// and the serials of certificates that are in none because they are not due.
func (p *Publisher) touched(leaves [][]byte) (waits []string, ids []uint32) {
	for _, l := range leaves {
		e, err := record.Parse(l)
		var some []uint32
		if err == nil {
			if serial := p.notDue(e); serial != "" { // first: it may come due as we look
				waits = append(waits, serial)
			}
			some, err = p.Model.Touched(e)
		}
		if err != nil {
			slog.Error("publishing passes over an entry", "err", err) // as the directory has
		}
		ids = append(ids, some...)
	}
	slices.Sort(ids)
	return waits, slices.Compact(ids)
}

// notDue is the serial of a certificate that is to come into the directory later.
func (p *Publisher) notDue(e record.Entry) string {
	if e.Kind != record.KindCertificate {
		return ""
	}
	c, err := record.ParseCertificate(e.Body)
	if err != nil {
		return ""
	}
	serial := cert.SerialHex(c.Serial)
	if _, waits := p.Model.Waits(serial); !waits {
		return ""
	}
	return serial
}

// everything brings every entry.
func (p *Publisher) everything(ctx context.Context) error {
	for from, n := uint32(0), p.Model.Len(); from < n; from += chunk {
		ids := make([]uint32, 0, chunk)
		for id := from; id < min(from+chunk, n); id++ {
			ids = append(ids, id)
		}
		if err := p.bringAll(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) bringAll(ctx context.Context, ids []uint32) error {
	return p.conn.bringAll(ctx, ids, func(id uint32, written bool, err error) {
		if written {
			p.Stats.Written.Add(1)
		}
		if err != nil {
			p.Stats.Refused.Add(1)
		}
	})
}

// bringAll brings entries, several at once. One that the server will not take
// holds up nobody: it is logged, and the next check names it. did is called for
// each, one at a time.
func (x *session) bringAll(ctx context.Context, ids []uint32, did func(id uint32, written bool, refused error)) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var trouble error
	next := make(chan uint32)
	for range hands {
		wg.Go(func() {
			for id := range next {
				written, err := x.bring(id)
				mu.Lock()
				switch {
				case err == nil || refuses(err):
					did(id, written, err)
				case trouble == nil:
					trouble = err
				}
				mu.Unlock()
				if refuses(err) {
					name, _, _ := x.model.Entry(id) // for the log
					slog.Error("directory server does not take an entry", "dn", name, "err", err)
				}
			}
		})
	}
	stopped := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return trouble != nil
	}
	for _, id := range ids {
		if ctx.Err() != nil || stopped() {
			break
		}
		next <- id
	}
	close(next)
	wg.Wait()
	return errors.Join(trouble, ctx.Err())
}

// refuses reports whether an error is the entry's own fault and not the
// server's: another entry may fare better.
func refuses(err error) bool {
	code := codeOf(err)
	return code != 0 && slices.Contains([]uint16{
		ldap.LDAPResultInvalidAttributeSyntax, ldap.LDAPResultConstraintViolation, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultNamingViolation,
		ldap.LDAPResultObjectClassViolation, ldap.LDAPResultAttributeOrValueExists, ldap.LDAPResultNotAllowedOnNonLeaf,
	}, code)
}
