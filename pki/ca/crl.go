package ca

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
)

// List is one revocation list on record. DER is nil while it is only intended.
type List struct {
	Scope      string // "full" or "shard-3"
	Number     int64
	ThisUpdate time.Time
	NextUpdate time.Time
	TBS        []byte
	DER        []byte
}

// scopeOf names the list of a shard; the full list has number -1.
func scopeOf(shard int) string {
	if shard < 0 {
		return "full"
	}
	return "shard-" + strconv.Itoa(shard)
}

// Publisher signs revocation lists when something changed, and on schedule,
// and tells the key centre which keys to retire.
type Publisher struct {
	Issuer *Issuer

	wake chan struct{}
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
	is := p.Issuer
	have, err := is.Store.Lists(ctx)
	if err != nil {
		return err
	}
	for scope, l := range have {
		if l.DER == nil && scope != arl { // that one is the root's to sign
			if have[scope], err = is.signList(ctx, l); err != nil {
				return err
			}
		}
	}
	dirty, err := is.Store.Dirty(ctx)
	if err != nil {
		return err
	}
	for n := -1; n < Shards; n++ {
		scope := scopeOf(n)
		l, ok := have[scope]
		if ok && !slices.Contains(dirty, n) && is.Now().Sub(l.ThisUpdate) < crlFresh {
			continue
		}
		if err := is.list(ctx, scope, n); err != nil {
			return fmt.Errorf("list %s: %w", scope, err)
		}
	}
	if is.Wake != nil {
		is.Wake()
	}
	return nil
}

func (is *Issuer) list(ctx context.Context, scope string, shard int) error {
	now := is.Now().UTC().Truncate(time.Second)
	l := List{Scope: scope, ThisUpdate: now, NextUpdate: now.Add(crlLife)}
	d := crl.Draft{Issuer: is.Cert.Subject, Point: is.Cert.Point, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate}
	if shard >= 0 {
		d.Shard = is.place(shard).CRL
	}
	l, err := is.Store.IntendList(ctx, l, shard, func(number int64, entries []byte) []byte {
		d.Number, d.Entries = number, entries
		return d.TBS()
	})
	if err != nil {
		return fmt.Errorf("recording intent: %w", err)
	}
	_, err = is.signList(ctx, l)
	return err
}

func (is *Issuer) signList(ctx context.Context, l List) (List, error) {
	der, err := crl.Seal(l.TBS, is.Key)
	if err != nil {
		return l, err
	}
	l.DER = der
	body := record.CRL{
		Issuer: alg.Digest(is.Cert.Raw), Scope: l.Scope, Number: l.Number,
		ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Digest: alg.Digest(der),
	}.Bytes()
	now := is.Now()
	entry := Publication{record.Entry{Kind: record.KindCRL, At: now, Body: body}.Bytes(), der}
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
