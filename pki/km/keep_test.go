package km_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmtest"
)

// kept is a place whose archive is looked after. meanwhile, if set, is done
// once, just before the store is asked what rests on other master keys.
type kept struct {
	*place
	*km.Keeper
	store *breaking
}

func newKept(t *testing.T, n int) *kept {
	t.Helper()
	b := &breaking{Memory: new(kmtest.Memory)}
	p := newPlace(t, b.Memory)
	p.Low, p.High, p.Wrapping, p.Marks = 1, 5, b.Master, b.Memory.Marks
	for serial := range n {
		p.ask(t, newOwner(t).apply(byte(serial+1)))
	}
	p.fill(t)
	return &kept{p, &km.Keeper{Vault: p.Vault, Store: b}, b}
}

// breaking fails once, at call number at, before or after it took effect.
type breaking struct {
	*kmtest.Memory
	at, calls int
	after     bool
	meanwhile func()
}

func (b *breaking) call(do func() error) error {
	b.calls++
	if b.calls == b.at && !b.after {
		return errCrash
	}
	err := do()
	if b.calls == b.at {
		return errCrash
	}
	return err
}

func (b *breaking) After(ctx context.Context, pair int64, limit int) (list []km.Record, err error) {
	err = b.call(func() (err error) { list, err = b.Memory.After(ctx, pair, limit); return err })
	return list, err
}

func (b *breaking) Newest(ctx context.Context) (n int64, err error) {
	err = b.call(func() (err error) { n, err = b.Memory.Newest(ctx); return err })
	return n, err
}

func (b *breaking) Standbys(ctx context.Context, master string, pair int64, limit int) (list []km.Record, err error) {
	err = b.call(func() (err error) { list, err = b.Memory.Standbys(ctx, master, pair, limit); return err })
	return list, err
}

func (b *breaking) Rewrapped(ctx context.Context, list []km.Rewrap, line audit.Entry) (n int, err error) {
	err = b.call(func() (err error) { n, err = b.Memory.Rewrapped(ctx, list, line); return err })
	return n, err
}

func (b *breaking) Tally(ctx context.Context, t km.Tally, line audit.Entry) error {
	return b.call(func() error { return b.Memory.Tally(ctx, t, line) })
}

func (b *breaking) RetireOthers(ctx context.Context, master, first string, at time.Time, line audit.Entry) (rest int, err error) {
	if do := b.meanwhile; do != nil {
		b.meanwhile = nil
		do()
	}
	err = b.call(func() (err error) { rest, err = b.Memory.RetireOthers(ctx, master, first, at, line); return err })
	return rest, err
}

// damage changes the private key of a pair as it is kept.
func (k *kept) damage(t *testing.T, serial byte, change func(w *hsm.Wrapped)) (restore func()) {
	t.Helper()
	r, ok, err := k.store.Record(t.Context(), km.Authority(k.ca.cert), []byte{serial})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	swap := func(from, to hsm.Wrapped) {
		if n, err := k.store.Memory.Rewrapped(t.Context(), []km.Rewrap{{Pair: r.ID, From: from.Blob, To: to}}, audit.Entry{}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	good, bad := r.Pair.Private, r.Pair.Private
	bad.Blob = bytes.Clone(bad.Blob)
	change(&bad)
	swap(good, bad)
	return func() { swap(bad, good) }
}

func (k *kept) drill(t *testing.T, size int) km.Tally {
	t.Helper()
	k.now = k.now.Add(time.Minute)
	tally, err := k.Drill(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

func TestADrillProvesEachKeyOfTheArchiveOnce(t *testing.T) {
	k := newKept(t, 5)
	for range 20 { // wherever it begins
		if tally := k.drill(t, 40); tally.Checked != 5 || len(tally.Failed) != 0 {
			t.Fatalf("%+v", tally)
		}
	}
	if tally := k.drill(t, 3); tally.Checked != 3 {
		t.Errorf("%+v", tally)
	}
	if tally, err := newKept(t, 0).Drill(t.Context(), 40); err != nil || tally.Checked != 0 {
		t.Errorf("an empty archive: %+v, %v", tally, err)
	}
}

func TestADrillFindsWhatCannotBeRecovered(t *testing.T) {
	k := newKept(t, 3)
	other, err := k.Device.NewPair("master")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(w *hsm.Wrapped){
		"a damaged key":            func(w *hsm.Wrapped) { w.Blob[len(w.Blob)-1] ^= 1 },
		"the key of another point": func(w *hsm.Wrapped) { w.Blob = other.Private.Blob },
		"a master key that is not": func(w *hsm.Wrapped) { w.Master = "gone"; w.Blob[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			restore := k.damage(t, 2, change)
			if tally := k.drill(t, 40); !slices.Equal(tally.Failed, []string{"02"}) || tally.Checked != 3 {
				t.Errorf("%+v", tally)
			}
			lines := k.store.Lines()
			if last := lines[len(lines)-1]; last.Item != "km.drill" || last.Result != km.Unrecoverable.Code {
				t.Errorf("trail ends with %+v", last)
			}
			for range 10 { // a sample that misses it does not end the alarm
				if tally := k.drill(t, 1); !slices.Contains(tally.Failed, "02") {
					t.Fatalf("forgotten: %+v", tally)
				}
			}
			restore()
			if tally := k.drill(t, 1); len(tally.Failed) != 0 {
				t.Errorf("mended: %+v", tally)
			}
		})
	}
}

func TestATallyIsWhatTheCentreSigned(t *testing.T) {
	k := newKept(t, 2)
	tally := k.drill(t, 9)
	if err := tally.Verify(k.km.cert); err != nil {
		t.Error(err)
	}
	if tally.Verify(k.ca.cert) == nil {
		t.Error("verified by another's certificate")
	}
	for name, forge := range map[string]func(*km.Tally){
		"at": func(t *km.Tally) { t.At = t.At.Add(time.Second) }, "checked": func(t *km.Tally) { t.Checked++ }, "first": func(t *km.Tally) { t.First++ },
		"failed": func(t *km.Tally) { t.Failed = []string{"02"} }, "digest": func(t *km.Tally) { t.Digest = []byte{1} },
	} {
		forged := tally
		if forge(&forged); forged.Verify(k.km.cert) == nil {
			t.Errorf("%s can be changed", name)
		}
	}
}

func (k *kept) change(t *testing.T, label string) {
	t.Helper()
	if err := errors.Join(k.Device.NewMaster(label), k.store.SetMaster(t.Context(), label, audit.Entry{Item: "km.master"})); err != nil {
		t.Fatal(err)
	}
}

// all proves every private key of both stores and returns those not under a master.
func (k *kept) others(t *testing.T, master string) (n int) {
	t.Helper()
	held, err1 := k.store.Memory.After(t.Context(), 0, 1000)
	standby, err2 := k.store.Memory.Standbys(t.Context(), "", 0, 1000)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, r := range append(held, standby...) {
		if err := k.Device.Prove(r.Pair); err != nil {
			t.Errorf("pair %d: %v", r.ID, err)
		}
		if r.Pair.Private.Master != master {
			n++
		}
	}
	return n
}

func TestTheArchiveMovesAndTheOldMasterKeyIsRetired(t *testing.T) {
	k := newKept(t, 4)
	k.change(t, "next")
	n, err := k.Rewrap(t.Context(), "next")
	if err != nil || n != 9 || k.others(t, "next") != 0 {
		t.Errorf("moved %d, %v", n, err)
	}
	if n, err := k.Rewrap(t.Context(), "next"); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	k.change(t, "third")
	if _, err := k.Rewrap(t.Context(), "next"); !errors.Is(err, km.Superseded) {
		t.Errorf("back to the one before: %v", err)
	}
	if n, err := k.Rewrap(t.Context(), "third"); n != 9 || err != nil {
		t.Errorf("the third: %d, %v", n, err)
	}
}

// What happens behind its back is met on the next round: pairs given away
// before they were moved, pairs stored by a fill that began before the change.
func TestKeysAllocatedMeanwhileMoveToo(t *testing.T) {
	k := newKept(t, 2)
	k.change(t, "next")
	k.store.meanwhile = func() {
		late, err := k.Device.NewPair("master")
		if err != nil {
			t.Fatal(err)
		}
		if err := k.store.Deposit(t.Context(), []hsm.Pair{late}, audit.Entry{}); err != nil {
			t.Fatal(err)
		}
		for serial := byte(50); serial < 56; serial++ { // the whole pool, the late one last
			if got := numbers(k.ask(t, newOwner(t).apply(serial))); got[0] != 0 {
				t.Fatal(got)
			}
		}
	}
	if n, err := k.Rewrap(t.Context(), "next"); err != nil || n != 8 || k.others(t, "next") != 0 {
		t.Errorf("moved %d, %v", n, err)
	}
	k.counts(t, 0, 8, 0)
	k.ask(t, newOwner(t).apply(99)) // an empty pool makes them under the new one
	if k.others(t, "next") != 0 {
		t.Error("made under the old one")
	}
}

func TestAnInterruptedMoveGoesOn(t *testing.T) {
	for at := 1; at <= 7; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, after %v", at, after), func(t *testing.T) {
				k := newKept(t, 3)
				k.change(t, "next")
				k.store.at, k.store.calls, k.store.after = at, 0, after
				_, err := k.Rewrap(t.Context(), "next")
				if !errors.Is(err, errCrash) && k.store.calls >= at {
					t.Fatal(err)
				}
				k.others(t, "next") // whatever they are under, they open
				if got := numbers(k.ask(t, newOwner(t).apply(60))); got[0] != 0 {
					t.Errorf("answering stopped: %v", got)
				}
				k.store.at = 0
				if _, err := k.Rewrap(t.Context(), "next"); err != nil || k.others(t, "next") != 0 {
					t.Errorf("going on: %v", err)
				}
				old, err := k.Device.NewPair("master")
				if err != nil {
					t.Fatal(err)
				}
				if err := k.store.Deposit(t.Context(), []hsm.Pair{old}, audit.Entry{}); !errors.Is(err, km.ErrRetiredMaster) {
					t.Errorf("the old master key is in service: %v", err)
				}
			})
		}
	}
}

func TestADamagedKeyKeepsTheOldMasterKeyInService(t *testing.T) {
	k := newKept(t, 3)
	restore := k.damage(t, 2, func(w *hsm.Wrapped) { w.Blob[len(w.Blob)-1] ^= 1 })
	k.change(t, "next")
	n, err := k.Rewrap(t.Context(), "next")
	if !errors.Is(err, km.Unrecoverable) || n != 7 {
		t.Fatalf("moved %d, %v", n, err)
	}
	restore()
	if n, err := k.Rewrap(t.Context(), "next"); n != 1 || err != nil || k.others(t, "next") != 0 {
		t.Errorf("mended: %d, %v", n, err)
	}
}

func TestADrillInterruptedIsDoneAgain(t *testing.T) {
	for at := 1; at <= 3; at++ {
		for _, after := range []bool{false, true} {
			k := newKept(t, 3)
			k.store.at, k.store.calls, k.store.after = at, 0, after
			if _, err := k.Drill(t.Context(), 3); err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			k.store.at = 0
			if tally := k.drill(t, 9); tally.Checked != 3 || tally.Verify(k.km.cert) != nil {
				t.Errorf("%+v", tally)
			}
		}
	}
}

func TestThePoolFollowsTheWatermarksOnRecord(t *testing.T) {
	k := newKept(t, 0)
	k.counts(t, 5, 0, 0)
	if err := k.store.SetMarks(t.Context(), 2, 12, audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	k.fill(t)
	k.counts(t, 12, 0, 0)
	if err := k.Make(t.Context(), 700); err != nil { // more than one batch
		t.Fatal(err)
	}
	k.counts(t, 712, 0, 0)
	k.fill(t)
	k.counts(t, 712, 0, 0)
	s, err := k.Status(t.Context())
	if err != nil || s.Low != 2 || s.High != 12 {
		t.Errorf("%+v, %v", s, err)
	}
}
