package km

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/hsm"
)

// KeepStore walks the archive for those who look after it. Each call happens
// wholly or not at all.
type KeepStore interface {
	// After returns up to limit records, in use or history, in order of their
	// pairs, after a pair's number.
	After(ctx context.Context, pair int64, limit int) ([]Record, error)
	// Newest is the highest number of a pair in use or history.
	Newest(ctx context.Context) (int64, error)
	// Rewrapped replaces private keys as they are kept, each only while it is
	// still as it was, with an audit line.
	Rewrapped(ctx context.Context, list []Rewrap, line audit.Entry) error
	// Standbys returns up to limit pairs of the standby store not under a master.
	Standbys(ctx context.Context, master string, limit int) ([]Record, error)
	// Tally keeps the result of a drill with its audit line.
	Tally(ctx context.Context, t Tally, line audit.Entry) error
	// Tallies returns the newest drills.
	Tallies(ctx context.Context, limit int) ([]Tally, error)
	// Marks returns the watermarks on record; ok is false before any were set.
	Marks(ctx context.Context) (low, high int, ok bool, err error)
	SetMarks(ctx context.Context, low, high int, line audit.Entry) error
	// Master is the label of the master key in force; empty before any was set.
	Master(ctx context.Context) (string, error)
	SetMaster(ctx context.Context, label string, line audit.Entry) error
}

// Rewrap is a private key before and after.
type Rewrap struct {
	Pair    int64
	Standby bool
	From    []byte // the blob it replaces
	To      hsm.Wrapped
}

// Tally is what a drill found, signed by the centre. (可恢复性演练)
type Tally struct {
	At        time.Time `json:"at"`
	Checked   int       `json:"checked"`
	First     int64     `json:"first"`  // pair it began after
	Failed    []string  `json:"failed"` // serials of encryption certificates
	Digest    []byte    `json:"digest"` // SM3 over the points that were proven
	Signature []byte    `json:"signature"`
}

func (t Tally) text() []byte {
	return fmt.Appendf(nil, "虎符可恢复性演练\n时间 %s\n核对 %d\n起自 %d\n失败 %v\n摘要 %x\n", t.At.UTC().Format(time.RFC3339), t.Checked, t.First, t.Failed, t.Digest)
}

// Keeper looks after the archive: it proves that keys can be recovered and
// moves them under a new master key.
type Keeper struct {
	Vault *Vault
	Store KeepStore
}

// drillEvery is how often a sample is proven: an archive of a million keys is
// gone through in about three years at drillSize.
const (
	drillEvery = time.Hour
	drillSize  = 40
	walkBatch  = 200
)

// Run drills until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for {
		if t, err := k.Drill(ctx, drillSize); err != nil && ctx.Err() == nil {
			slog.Error("recoverability drill", "err", err)
		} else if len(t.Failed) > 0 {
			slog.Error("keys that cannot be recovered", "serials", t.Failed)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(drillEvery):
		}
	}
}

// Drill opens a sample of escrowed keys inside the device, from a random place
// on, and proves that each private key is that of its certificate.
func (k *Keeper) Drill(ctx context.Context, size int) (Tally, error) {
	newest, err := k.Store.Newest(ctx)
	if err != nil {
		return Tally{}, err
	}
	t := Tally{At: k.Vault.Now().UTC().Truncate(time.Second), Failed: []string{}}
	if newest > 0 {
		t.First = rand.Int64N(newest)
	}
	list, err := k.Store.After(ctx, t.First, size)
	if err == nil && len(list) < size && t.First > 0 {
		var more []Record
		more, err = k.Store.After(ctx, 0, size-len(list))
		list = append(list, more...)
	}
	if err != nil {
		return t, err
	}
	var proven [][]byte
	for _, r := range list {
		t.Checked++
		if err := k.Vault.Device.Prove(r.Pair); err != nil {
			t.Failed = append(t.Failed, hex.EncodeToString(r.Serial))
			continue
		}
		proven = append(proven, r.Pair.Point)
	}
	t.Digest = alg.Digest(proven...)
	key, err := k.Vault.Device.Signer(k.Vault.Identity)
	if err != nil {
		return t, err
	}
	if t.Signature, err = alg.Sign(key, t.text()); err != nil {
		return t, err
	}
	line := k.Vault.own("km.drill", fmt.Sprintf("%d 对，失败 %d", t.Checked, len(t.Failed)))
	if len(t.Failed) > 0 {
		line.Result = Unrecoverable.Code
	}
	return t, k.Store.Tally(ctx, t, line)
}

// Rewrap moves the whole archive under another master key while answering goes
// on, and returns how many keys it moved. Interrupted, it goes on where it was.
func (k *Keeper) Rewrap(ctx context.Context, master string) (int, error) {
	moved, after := 0, int64(0)
	for ctx.Err() == nil {
		list, err := k.Store.After(ctx, after, walkBatch)
		if err != nil || len(list) == 0 {
			if err != nil {
				return moved, err
			}
			break
		}
		after = list[len(list)-1].ID
		n, err := k.rewrap(ctx, master, list, false)
		if moved += n; err != nil {
			return moved, err
		}
	}
	for ctx.Err() == nil {
		list, err := k.Store.Standbys(ctx, master, walkBatch)
		if err != nil || len(list) == 0 {
			return moved, err
		}
		n, err := k.rewrap(ctx, master, list, true)
		if moved += n; err != nil {
			return moved, err
		}
	}
	return moved, ctx.Err()
}

func (k *Keeper) rewrap(ctx context.Context, master string, list []Record, standby bool) (int, error) {
	var changes []Rewrap
	for _, r := range list {
		if r.Pair.Private.Master == master {
			continue
		}
		w, err := k.Vault.Device.Rewrap(r.Pair, master)
		if err != nil {
			return 0, fmt.Errorf("pair %d: %w", r.ID, err)
		}
		changes = append(changes, Rewrap{r.ID, standby, r.Pair.Private.Blob, w})
	}
	if len(changes) == 0 {
		return 0, nil
	}
	return len(changes), k.Store.Rewrapped(ctx, changes, k.Vault.own("km.rewrap", fmt.Sprintf("%d 对，主密钥 %s", len(changes), master)))
}

// Make makes pairs on an operator's order, beyond the watermark.
func (v *Vault) Make(ctx context.Context, n int) error {
	if err := v.ready(); err != nil {
		return err
	}
	for n > 0 {
		pairs, err := v.generate(ctx, min(n, fillBatch))
		if err != nil {
			return err
		}
		if err := v.deposit(ctx, pairs); err != nil {
			return err
		}
		n -= len(pairs)
	}
	return nil
}
