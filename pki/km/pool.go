package km

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/hsm"
)

// Status is what consoles show.
type Status struct {
	Standby, InUse, History int
	Low, High               int
	Device                  string
}

// Status counts the pairs in each store.
func (v *Vault) Status(ctx context.Context) (Status, error) {
	n, err := v.Store.Count(ctx)
	if err != nil {
		return Status{}, err
	}
	low, high, err := v.marks(ctx)
	return Status{n[Standby], n[InUse], n[History], low, high, v.Device.Name()}, err
}

// marks are the watermarks in force.
func (v *Vault) marks(ctx context.Context) (low, high int, err error) {
	if v.Marks != nil {
		low, high, ok, err := v.Marks(ctx)
		if err != nil || ok {
			return low, high, err
		}
	}
	return v.Low, v.High, nil
}

// Fill makes pairs until the standby store holds as many as High says
// (GM/T 0034 §6.2.3). While one batch is stored the next is made.
func (v *Vault) Fill(ctx context.Context) error {
	v.filling.Lock()
	defer v.filling.Unlock()
	n, err := v.Store.Count(ctx)
	if err != nil {
		return fmt.Errorf("counting the pool: %w", err)
	}
	_, high, err := v.marks(ctx)
	if err != nil {
		return fmt.Errorf("reading the watermarks: %w", err)
	}
	stored := make(chan error, 1)
	stored <- nil
	for need := high - n[Standby]; need > 0 && ctx.Err() == nil; need -= fillBatch {
		pairs, err := v.generate(ctx, min(need, fillBatch))
		if before := <-stored; err != nil || before != nil {
			return firstOf(before, err)
		}
		go func() { stored <- v.deposit(ctx, pairs) }()
	}
	return firstOf(<-stored, ctx.Err())
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (v *Vault) deposit(ctx context.Context, pairs []hsm.Pair) error {
	if err := v.Store.Deposit(ctx, pairs, v.own("km.generate", strconv.Itoa(len(pairs)))); err != nil {
		return fmt.Errorf("storing key pairs: %w", err)
	}
	return nil
}

// own is an audit entry about what the centre does by itself.
func (v *Vault) own(item, detail string) audit.Entry {
	now := v.Now()
	return audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: item, Result: audit.Done, Detail: detail}
}

// Run keeps the pool above its low watermark and the in-use store free of
// pairs whose time is over, until ctx ends. A failure is logged and tried
// again: answering CAs goes on meanwhile.
func (v *Vault) Run(ctx context.Context) error {
	if err := v.ready(); err != nil {
		return err
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var swept time.Time
	for ctx.Err() == nil {
		if err := v.refill(ctx); err != nil && ctx.Err() == nil {
			slog.Error("refilling the standby store failed", "err", err)
		}
		if now := v.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			if err := v.Sweep(ctx); err != nil && ctx.Err() == nil {
				slog.Error("sweeping the in-use store failed", "err", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-v.wake:
		case <-look.C:
		}
	}
	return ctx.Err()
}

func (v *Vault) refill(ctx context.Context) error {
	n, err := v.Store.Count(ctx)
	if err != nil {
		return err
	}
	if low, _, err := v.marks(ctx); err != nil || n[Standby] >= low {
		return err
	}
	return v.Fill(ctx)
}

// nudge wakes Run after pairs were given away.
func (v *Vault) nudge() {
	select {
	case v.wake <- struct{}{}:
	default: // awake already
	}
}

// Sweep moves pairs whose certificates have ended to the history and forgets
// answers that nobody will ask for again (GM/T 0034 §6.2.4).
func (v *Vault) Sweep(ctx context.Context) error {
	for n := sweepBatch; n == sweepBatch; {
		var err error
		if n, err = v.Store.Expire(ctx, v.Now(), sweepBatch, v.own("km.expire", "")); err != nil {
			return fmt.Errorf("moving ended pairs to the history: %w", err)
		}
	}
	for n := sweepBatch; n == sweepBatch; {
		var err error
		if n, err = v.Store.Forget(ctx, v.Now().Add(-answerKept), sweepBatch); err != nil {
			return fmt.Errorf("forgetting old answers: %w", err)
		}
	}
	return nil
}
