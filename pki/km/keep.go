package km

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
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
	// still as it was and wherever its pair lies by now, and returns how many it
	// replaced. line gets the number as its detail; none, no line.
	Rewrapped(ctx context.Context, list []Rewrap, line audit.Entry) (int, error)
	// Standbys returns up to limit pairs of the standby store not under a master,
	// in order, after a pair's number.
	Standbys(ctx context.Context, master string, pair int64, limit int) ([]Record, error)
	// Tally keeps the result of a drill with its audit line.
	Tally(ctx context.Context, t Tally, line audit.Entry) error
	// Tallies returns the newest drills.
	Tallies(ctx context.Context, limit int) ([]Tally, error)
	// Marks returns the watermarks on record; ok is false before any were set.
	Marks(ctx context.Context) (low, high int, ok bool, err error)
	SetMarks(ctx context.Context, low, high int, line audit.Entry) error
	// Master is the label of the master key in force; empty before any was set.
	Master(ctx context.Context) (string, error)
	// SetMaster puts another in force; ErrRetiredMaster if it was retired.
	SetMaster(ctx context.Context, label string, line audit.Entry) error
	// RetireOthers takes every master key but one out of service, first (the one
	// before any was set) among them, unless private keys rest on others: then it
	// changes nothing and returns how many. From then on Store refuses new pairs
	// under those it retired with ErrRetiredMaster.
	RetireOthers(ctx context.Context, master, first string, at time.Time, line audit.Entry) (rest int, err error)
}

// ErrRetiredMaster is returned for new pairs under a master key out of service.
var ErrRetiredMaster = errors.New("km: the master key is out of service")

// Rewrap is a private key before and after.
type Rewrap struct {
	Pair int64
	From []byte // the blob it replaces
	To   hsm.Wrapped
}

// Tally is what a drill found, signed by the centre. (可恢复性演练)
type Tally struct {
	At        time.Time `json:"at"`
	Checked   int       `json:"checked"`
	First     int64     `json:"first"`           // pair it began after
	Failed    []string  `json:"failed"`          // serials of encryption certificates
	Pairs     []int64   `json:"pairs,omitempty"` // those that failed: each drill looks at them again
	Digest    []byte    `json:"digest"`          // SM3 over the points that were proven
	Signature []byte    `json:"signature"`
}

func (t Tally) text() []byte {
	return fmt.Appendf(nil, "虎符可恢复性演练\n时间 %s\n核对 %d\n起自 %d\n失败 %v\n摘要 %x\n", t.At.UTC().Format(time.RFC3339), t.Checked, t.First, t.Failed, t.Digest)
}

// Verify checks that a tally is what the centre with this certificate signed.
func (t Tally) Verify(centre *cert.Certificate) error {
	return alg.Verify(centre.PublicKey(), t.text(), t.Signature)
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
// on, and proves that each private key is that of its certificate. What failed
// before is proven again, so that an alarm lasts until it is mended.
func (k *Keeper) Drill(ctx context.Context, size int) (Tally, error) {
	t := Tally{At: k.Vault.Now().UTC().Truncate(time.Second), Failed: []string{}}
	list, err := k.sample(ctx, &t, size)
	if err != nil {
		return t, err
	}
	var proven [][]byte
	for _, r := range list {
		t.Checked++
		if err := k.Vault.Device.Prove(r.Pair); err != nil {
			t.Failed, t.Pairs = append(t.Failed, hex.EncodeToString(r.Serial)), append(t.Pairs, r.ID)
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

// sample is what a drill proves: up to size records from a random place on,
// round the end of the archive, none twice, and those that failed last time.
func (k *Keeper) sample(ctx context.Context, t *Tally, size int) ([]Record, error) {
	newest, err := k.Store.Newest(ctx)
	if err != nil {
		return nil, err
	}
	if newest > 0 {
		t.First = rand.Int64N(newest)
	}
	list, err := k.Store.After(ctx, t.First, size)
	if err != nil {
		return nil, err
	}
	if len(list) < size && t.First > 0 {
		more, err := k.Store.After(ctx, 0, size-len(list))
		if err != nil {
			return nil, err
		}
		past := slices.IndexFunc(more, func(r Record) bool { return r.ID > t.First })
		if past < 0 {
			past = len(more)
		}
		list = append(list, more[:past]...)
	}
	last, err := k.Store.Tallies(ctx, 1)
	if err != nil || len(last) == 0 {
		return list, err
	}
	for _, pair := range last[0].Pairs {
		again, err := k.Store.After(ctx, pair-1, 1)
		if err != nil {
			return nil, err
		}
		if len(again) == 1 && again[0].ID == pair && !slices.ContainsFunc(list, func(r Record) bool { return r.ID == pair }) {
			list = append(list, again[0])
		}
	}
	return list, nil
}

// Rewrap moves the whole archive under the master key in force while answering
// goes on, takes the others out of service, and returns how many keys it moved.
// Interrupted, it goes on where it was. Pairs that were given away or stored
// behind its back are met on the next round. A key that does not open stays
// where it is and keeps its master key in service (Unrecoverable).
func (k *Keeper) Rewrap(ctx context.Context, master string) (moved int, err error) {
	for {
		w := &walk{k: k, master: master}
		err := w.round(ctx)
		if moved += w.moved; err != nil {
			return moved, err
		}
		rest, err := k.Store.RetireOthers(ctx, master, k.Vault.Master, k.Vault.Now(), k.Vault.own("km.master.retire", "仅 "+master+" 继续使用"))
		if err != nil || rest == 0 {
			return moved, err
		}
		if rest <= len(w.damaged) {
			return moved, Unrecoverable.At("master", Unrecoverable.Clause).Because("%d 对不能解开，其余 %d 对已移至新主密钥；原主密钥继续保留：%v", rest, moved, w.damaged[:min(rest, 5)])
		}
	}
}

// walk is one round over the archive: what is held, then what stands by.
type walk struct {
	k       *Keeper
	master  string
	moved   int
	damaged []int64 // pairs that do not open
}

func (w *walk) round(ctx context.Context) error {
	store := w.k.Store
	for _, next := range []func(after int64) ([]Record, error){
		func(after int64) ([]Record, error) { return store.After(ctx, after, walkBatch) },
		func(after int64) ([]Record, error) { return store.Standbys(ctx, w.master, after, walkBatch) },
	} {
		for after := int64(0); ; {
			in, err := store.Master(ctx)
			if err != nil {
				return err
			}
			if in != w.master {
				return Superseded.At("master", Superseded.Clause).Because("%s", in)
			}
			list, err := next(after)
			if err != nil || len(list) == 0 {
				if err != nil {
					return err
				}
				break
			}
			after = list[len(list)-1].ID
			if err := w.rewrap(ctx, list); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (w *walk) rewrap(ctx context.Context, list []Record) error {
	var changes []Rewrap
	for _, r := range list {
		if r.Pair.Private.Master == w.master {
			continue
		}
		to, err := w.k.Vault.Device.Rewrap(r.Pair, w.master)
		if err != nil {
			w.damaged = append(w.damaged, r.ID)
			continue
		}
		changes = append(changes, Rewrap{r.ID, r.Pair.Private.Blob, to})
	}
	if len(changes) == 0 {
		return ctx.Err()
	}
	n, err := w.k.Store.Rewrapped(ctx, changes, w.k.Vault.own("km.rewrap", ""))
	w.moved += n
	return err
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
		if err := v.deposit(ctx, pairs); errors.Is(err, ErrRetiredMaster) {
			continue // retired while they were made: make others
		} else if err != nil {
			return err
		}
		n -= len(pairs)
	}
	return nil
}
