package ca

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
)

// List is one revocation list on record.
type List struct {
	Scope      string // "full", "delta" or "shard-3"
	Number     int64
	Base       int64 // number of the full list a delta goes on from
	Since      int64 // of a delta list: the change its base goes up to
	Upto       int64 // the last change of status it shows; -1 if that is not known
	ThisUpdate time.Time
	NextUpdate time.Time
	Size       int // octets of TBS
	Signed     bool
	TBS        []byte
	Signature  []byte // of a signed list; Lists leaves it and a signed list's TBS out
}

// Wanted is a list to be put on record. Draft gets it with its number; a Base
// below 0 is that number too.
type Wanted struct {
	List
	Shard int
	Draft func(l List, entries []byte) []byte
}

// DER is the whole list.
func (l List) DER() []byte { return cert.Assemble(l.TBS, l.Signature) }

// Lists that are no shard's, by the number that stands for them.
const (
	Full        = -1
	Delta       = -2
	Authorities = -3 // of the root: CA certificates and the root's own responder
)

// Publisher signs revocation lists when something changed, and on schedule,
// and tells the key centre which keys to retire.
type Publisher struct {
	Issuer *Issuer
	Root   *Issuer // signs the ARL; nil when the root's key is elsewhere

	wake    chan struct{}
	signing sync.Mutex        // lists are signed by one at a time
	ends    map[int]time.Time // of the last certificate of keys that were replaced
}

// settle is how long changes are gathered before lists are signed: short
// against the second within which a revocation must show everywhere.
const settle = 100 * time.Millisecond

// sweep is how often the schedule is looked at.
const sweep = time.Minute

// Start prepares the publisher; Run does its work.
func (p *Publisher) Start() *Publisher {
	p.wake = make(chan struct{}, 1)
	return p
}

// Wake tells the publisher that a status changed. It never blocks.
func (p *Publisher) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) {
	p.Wake()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
		case <-time.After(sweep):
		}
		if err := p.Publish(ctx); err != nil && ctx.Err() == nil {
			slog.Error("publishing revocation lists", "err", err)
			time.AfterFunc(time.Second, p.Wake)
		}
		if err := p.retire(ctx); err != nil && ctx.Err() == nil {
			slog.Error("retiring keys", "err", err)
		}
	}
}

// Publish finishes lists that were only intended and signs those that are due.
func (p *Publisher) Publish(ctx context.Context) error {
	_, err := p.publish(ctx, time.Time{})
	return err
}

// PublishAll signs every list that is older than a time, due or not, and
// returns the number of the newest of each scope. Asked again with the same
// time it signs none twice. (按需签发)
func (p *Publisher) PublishAll(ctx context.Context, asked time.Time) (map[string]int64, error) {
	return p.publish(ctx, asked.UTC().Truncate(time.Second))
}

func (p *Publisher) publish(ctx context.Context, asked time.Time) (map[string]int64, error) {
	p.signing.Lock()
	defer p.signing.Unlock()
	is := p.Issuer
	have, err := is.Store.Lists(ctx)
	if err != nil {
		return nil, err
	}
	keys := is.signers()
	for scope, l := range have {
		n, _ := ReadScope(scope)
		if i := slices.IndexFunc(keys, func(k *Issuer) bool { return k.generation == n }); !l.Signed && scope != arl && i >= 0 { // that one is the root's to sign
			if have[scope], err = keys[i].signList(ctx, l); err != nil {
				return nil, err
			}
		}
	}
	dirty, err := is.Store.Dirty(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if over, err := p.over(ctx, key); err != nil {
			return nil, err
		} else if over {
			continue
		}
		if err := key.due(ctx, have, dirty, asked); err != nil {
			return nil, err
		}
	}
	numbers := map[string]int64{}
	if l, ok := have[arl]; p.Root != nil && (!ok || !l.Signed || slices.Contains(dirty, Authorities) || is.Now().Sub(l.ThisUpdate) >= arlFresh) {
		if _, err := p.Root.SignARL(ctx); err != nil {
			return nil, fmt.Errorf("list %s: %w", arl, err)
		}
		if ok && !l.Signed { // that one was only finished
			p.Wake()
		}
	}
	if is.Wake != nil {
		is.Wake()
	}
	for scope, l := range have {
		numbers[scope] = l.Number
	}
	return numbers, nil
}

// over reports whether a key that was replaced has no certificate left that is
// not expired: its lists are not needed any more.
func (p *Publisher) over(ctx context.Context, key *Issuer) (bool, error) {
	now := p.Issuer.Now()
	if key == p.Issuer.Current() || now.Before(p.ends[key.generation]) {
		return false, nil
	}
	end, err := p.Issuer.Store.LastEnd(ctx, key.generation)
	if err != nil {
		return false, err
	}
	if p.ends == nil {
		p.ends = map[int]time.Time{}
	}
	p.ends[key.generation] = end
	return !now.Before(end), nil
}

// due signs the lists of one key that are due.
func (is *Issuer) due(ctx context.Context, have map[string]List, dirty []int, asked time.Time) error {
	sign := func(shard int, l List) error {
		l, err := is.list(ctx, shard, l)
		have[l.Scope] = l
		return err
	}
	for n := range is.shards() {
		n += is.generation * Stride
		if l, ok := have[ScopeOf(n)]; !ok || slices.Contains(dirty, n) || is.stale(l, asked) {
			if err := sign(n, List{}); err != nil {
				return err
			}
		}
	}
	all, changes := FullOf(is.generation), DeltaOf(is.generation)
	full := have[ScopeOf(all)]
	first := full.Number == 0
	switch delta, ok := have[ScopeOf(changes)]; {
	case first || full.Upto < 0 || is.stale(full, asked) || slices.Contains(dirty, all) && (full.Size < fullPatient || is.Now().Sub(full.ThisUpdate) >= fullFresh):
		pair, err := is.both(ctx, full)
		for _, l := range pair {
			have[l.Scope] = l
		}
		if err != nil {
			return err
		}
	case !ok || delta.Number < full.Number || slices.Contains(dirty, changes) || delta.ThisUpdate.Before(asked):
		if err := sign(changes, List{Base: full.Number, Since: full.Upto}); err != nil {
			return err
		}
	}
	return nil
}

// stale reports whether a list is older than its schedule allows, or than a
// time it was asked for at.
func (is *Issuer) stale(l List, asked time.Time) bool {
	return l.ThisUpdate.Before(asked) || is.Now().Sub(l.ThisUpdate) >= time.Duration(is.settings().CRLHours)*time.Hour
}

// list drafts, records and signs one list.
func (is *Issuer) list(ctx context.Context, shard int, l List) (List, error) {
	signed, err := is.together(ctx, is.wanted(shard, l))
	if err != nil {
		return l, err
	}
	return signed[0], nil
}

// both signs a full list and the delta list that leads to it from the full list
// before: one number, one time and the same information (RFC 5280 §5.2.3). A
// reader that looks at changes alone misses none. The first full list follows
// none, and its delta says nothing.
func (is *Issuer) both(ctx context.Context, before List) ([]List, error) {
	l := List{Base: before.Number, Since: before.Upto}
	if before.Number == 0 || before.Upto < 0 {
		l = List{Base: -1, Since: math.MaxInt64}
	}
	return is.together(ctx, is.wanted(FullOf(is.generation), List{}), is.wanted(DeltaOf(is.generation), l))
}

// wanted drafts a list of this moment.
func (is *Issuer) wanted(shard int, l List) Wanted {
	now := is.Now().UTC().Truncate(time.Second)
	l.Scope, l.ThisUpdate, l.NextUpdate = ScopeOf(shard), now, now.AddDate(0, 0, is.settings().CRLDays)
	return Wanted{List: l, Shard: shard, Draft: func(l List, entries []byte) []byte {
		d := crl.Draft{
			Issuer: is.Cert.Subject, Point: is.Cert.Point, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Base: l.Base, Number: l.Number, Entries: entries,
		}
		switch Kind(shard) {
		case Full:
			d.Freshest = is.Public + "/crl/" + ScopeOf(DeltaOf(is.generation)) + ".crl"
		case Delta:
		default:
			d.Shard = is.place(shard).CRL
		}
		return d.TBS()
	}}
}

// together puts lists on record under one number and signs them.
func (is *Issuer) together(ctx context.Context, wanted ...Wanted) ([]List, error) {
	lists, err := is.Store.IntendLists(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("list %s: recording intent: %w", wanted[0].Scope, err)
	}
	for i, l := range lists {
		if lists[i], err = is.signList(ctx, l); err != nil {
			return nil, fmt.Errorf("list %s: %w", l.Scope, err)
		}
	}
	return lists, nil
}

func (is *Issuer) signList(ctx context.Context, l List) (List, error) {
	var err error
	if l.Signature, err = alg.Sign(is.Key, l.TBS); err != nil {
		return l, err
	}
	l.Signed = true
	head, tail := cert.Ends(len(l.TBS), l.Signature)
	body := record.CRL{
		Issuer: alg.Digest(is.Cert.Raw), Scope: l.Scope, Number: l.Number,
		ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Digest: alg.Digest(head, l.TBS, tail),
	}.Bytes()
	now := is.Now()
	entry := Publication{Leaf: record.Entry{Kind: record.KindCRL, At: now, Body: body}.Bytes()}
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.crl", Object: fmt.Sprintf("%s #%d", l.Scope, l.Number), Result: audit.Done}
	return l, is.Store.RecordList(ctx, l, entry, line)
}

// retire sends the messages that retire keys until each is answered.
func (p *Publisher) retire(ctx context.Context) error {
	asks, err := p.Issuer.Store.Unsent(ctx, 100)
	if err != nil {
		return err
	}
	for _, a := range asks {
		if _, err := p.Issuer.Keys.Send(ctx, a.Message); err != nil {
			return err
		}
		if err := p.Issuer.Store.Answered(ctx, a.Task); err != nil {
			return err
		}
	}
	return nil
}
