package va

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// errVanished is returned when a ledger that was there is not: an empty folder
// must not pass for "nothing new".
var errVanished = errors.New("the ledger's checkpoint has disappeared")

// Run follows the ledger until ctx ends. Whatever goes wrong, answers go on
// from the last good state and say of which time it is.
func (r *Responder) Run(ctx context.Context, f *ledger.Follower, every time.Duration) {
	if every <= 0 {
		every = pollEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_ = r.Follow(ctx, f) // Trouble tells
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
	}
}

// Wake makes Run look at the ledger at once. It never blocks.
func (r *Responder) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Follow takes what the ledger has new, once.
func (r *Responder) Follow(ctx context.Context, f *ledger.Follower) error {
	err := r.follow(ctx, f)
	if ctx.Err() == nil {
		r.reading.set(err, r.Now())
	}
	return err
}

func (r *Responder) follow(ctx context.Context, f *ledger.Follower) error {
	r.mu.Lock()
	if f.At.Size() != r.next { // after Load, or a run applied before
		f.At = r.front
	}
	r.mu.Unlock()
	started := r.Now()
	run, err := f.Next(ctx)
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	if run.Sealed.At.IsZero() {
		if run.First > 0 {
			return errVanished
		}
		return nil
	}
	if err := r.apply(run, started); err != nil {
		return err
	}
	f.At = run.Frontier
	return nil
}

// Apply takes a verified run of entries. What has been applied before is
// passed over; a gap is refused. An entry that cannot be read is logged and
// passed over, for stopping there would hide every revocation after it.
func (r *Responder) Apply(run ledger.Run) error { return r.apply(run, r.Now()) }

func (r *Responder) apply(run ledger.Run, asOf time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := run.First + int64(len(run.Leaves))
	if run.First > r.next {
		return fmt.Errorf("%w: have %d, got %d", ledger.ErrGap, r.next, run.First)
	}
	if run.Frontier.Size() != end {
		return fmt.Errorf("%w: a run to %d with the frontier of %d", ledger.ErrFork, end, run.Frontier.Size())
	}
	if end > r.next {
		for i, leaf := range run.Leaves[r.next-run.First:] {
			if err := r.entry(leaf); err != nil {
				slog.Error("status service passes over an entry", "index", r.next+int64(i), "err", err)
			}
		}
		r.next, r.front = end, run.Frontier
	}
	r.asOf.Store(max(r.asOf.Load(), asOf.UnixNano()))
	return nil
}

func (r *Responder) entry(leaf []byte) error {
	e, err := record.Parse(leaf)
	if err != nil {
		return err
	}
	switch e.Kind {
	case record.KindAuthority:
		return r.authority(e.Body)
	case record.KindCertificate:
		return r.issued(e.Body)
	case record.KindStatus:
		return r.changed(e.Body)
	case record.KindCRL:
		return r.listed(e.Body)
	}
	return nil // escrow, and kinds to come: nothing we answer from
}

func (r *Responder) authority(der []byte) error {
	c, err := cert.Parse(bytes.Clone(der)) // or it would keep a whole bundle of entries
	if err != nil {
		return err
	}
	_, err = r.number(alg.Digest(der), c)
	return err
}

// number finds an issuer's number, giving it one when it is new.
func (r *Responder) number(digest []byte, c *cert.Certificate) (uint8, error) {
	before := r.book.Load()
	after, n, err := before.with(digest, c)
	if err == nil && after != before {
		r.book.Store(after.serve(*r.delegates.Load()))
	}
	return n, err
}

func (r *Responder) issued(body []byte) error {
	c, err := record.ParseCertificate(body)
	if err != nil {
		return err
	}
	n, err := r.number(c.Issuer, nil)
	if err != nil {
		return err
	}
	r.mark(nameOf(n, c.Serial), func(old status) status {
		// Entries after a snapshot may come twice; a status already known is newer.
		s := old&^public | good(n)
		if c.Public {
			s |= public
		}
		return s
	})
	return nil
}

func (r *Responder) changed(body []byte) error {
	c, err := record.ParseStatus(body)
	if err != nil {
		return err
	}
	n, err := r.number(c.Issuer, nil)
	if err != nil {
		return err
	}
	reason := c.Reason
	if reason < 0 || reason > 10 || reason == 7 {
		slog.Error("status service: a reason RFC 5280 does not have", "reason", reason)
		reason = 0
	}
	r.mark(nameOf(n, c.Serial), func(old status) status {
		if !c.Revoked {
			return (old | good(n)).release()
		}
		return (old | good(n)).revoke(reason, c.At)
	})
	return nil
}

// mark changes a status, and then has every answer given before compared again.
func (r *Responder) mark(n name, change func(old status) status) {
	r.index.Load().put(n, change)
	r.changes.Add(1)
}

// listed keeps the newest list of each scope: by number within one CA, by time
// when another CA, or its next certificate, takes a scope over.
func (r *Responder) listed(body []byte) error {
	c, err := record.ParseCRL(body)
	if err != nil {
		return err
	}
	r.lists.Lock()
	defer r.lists.Unlock()
	old, known := r.lists.of[c.Scope]
	same := bytes.Equal(old.Issuer, c.Issuer)
	switch {
	case !known && len(r.lists.of) == scopesMax:
		return fmt.Errorf("more than %d scopes of revocation lists", scopesMax)
	case known && same && c.Number <= old.Number, known && !same && c.ThisUpdate.Before(old.ThisUpdate):
		return nil
	}
	c.Issuer, c.Digest = bytes.Clone(c.Issuer), bytes.Clone(c.Digest)
	r.lists.of[c.Scope] = c
	return nil
}

// CRL is the newest revocation list of a scope: "full", "arl", "shard-3".
func (r *Responder) CRL(scope string) (record.CRL, bool) {
	r.lists.RLock()
	defer r.lists.RUnlock()
	c, ok := r.lists.of[scope]
	return c, ok
}

// Lists are the names of the lists known, and the CA certificates under which
// they were signed, as far as the ledger names those.
func (r *Responder) Lists() map[string]*cert.Certificate {
	r.lists.RLock()
	defer r.lists.RUnlock()
	all, b := map[string]*cert.Certificate{}, r.book.Load()
	for scope, l := range r.lists.of {
		all[scope] = nil
		for _, a := range b.list {
			if bytes.Equal(a.digest[:], l.Issuer) {
				all[scope] = a.cert
			}
		}
	}
	return all
}

// Lag is how long ago the state was last known to be the ledger's; ok is false
// before the first time.
func (r *Responder) Lag() (lag time.Duration, ok bool) {
	at := r.asOf.Load()
	if at == 0 {
		return 0, false
	}
	return r.Now().Sub(time.Unix(0, at)), true
}

// Trouble is what keeps the responder from reading or signing now; nil when
// all is well.
func (r *Responder) Trouble() error { return errors.Join(r.reading.get(), r.signing.get()) }

// Size tells how much the responder holds.
type Size struct {
	Entries      int64 // of the ledger, applied
	Certificates int64
	Octets       int64 // memory of the index
	Presigned    int   // answers kept
}

// Size counts.
func (r *Responder) Size() Size {
	n, octets := r.index.Load().size()
	r.mu.Lock()
	defer r.mu.Unlock()
	return Size{r.next, n, octets, r.cache.len()}
}
