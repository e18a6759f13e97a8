package ratest

import (
	"context"
	"errors"
	"sync"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

// ErrCrash is what a failing store says.
var ErrCrash = errors.New("crash")

// Failing is a store that fails once, at call number At, before the call or
// after it took effect.
type Failing struct {
	ra.Store
	At    int
	After bool

	mu    sync.Mutex
	calls int
}

var _ ra.Store = (*Failing)(nil)

// Failed reports whether the call that fails has come.
func (f *Failing) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls >= f.At
}

func (f *Failing) call(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.calls == f.At && !f.After {
		return ErrCrash
	}
	err := do()
	if f.calls == f.At {
		return ErrCrash
	}
	return err
}

func one[T any](f *Failing, do func() (T, error)) (v T, err error) {
	err = f.call(func() (err error) { v, err = do(); return err })
	return v, err
}

// Case may fail.
func (f *Failing) Case(ctx context.Context, id string) (ra.Record, error) {
	return one(f, func() (ra.Record, error) { return f.Store.Case(ctx, id) })
}

// Draft may fail.
func (f *Failing) Draft(ctx context.Context, list []ra.Record, batch *ra.Batch, lines []audit.Entry) error {
	return f.call(func() error { return f.Store.Draft(ctx, list, batch, lines) })
}

// Save may fail.
func (f *Failing) Save(ctx context.Context, by access.Command, saves []ra.Save, lines []audit.Entry) error {
	return f.call(func() error { return f.Store.Save(ctx, by, saves, lines) })
}

// Waiting may fail.
func (f *Failing) Waiting(ctx context.Context, kind string, s casework.State, after string, limit int) ([]ra.Record, error) {
	return one(f, func() ([]ra.Record, error) { return f.Store.Waiting(ctx, kind, s, after, limit) })
}

// Escrowed may fail.
func (f *Failing) Escrowed(ctx context.Context, keyHash []byte) (bool, error) {
	return one(f, func() (bool, error) { return f.Store.Escrowed(ctx, keyHash) })
}

// KeyHolder may fail.
func (f *Failing) KeyHolder(ctx context.Context, keyHash []byte) (string, error) {
	return one(f, func() (string, error) { return f.Store.KeyHolder(ctx, keyHash) })
}

// BySerial may fail.
func (f *Failing) BySerial(ctx context.Context, serial string) (ra.Record, error) {
	return one(f, func() (ra.Record, error) { return f.Store.BySerial(ctx, serial) })
}

// BatchByDigest may fail.
func (f *Failing) BatchByDigest(ctx context.Context, digest []byte) (b ra.Batch, ok bool, err error) {
	err = f.call(func() (err error) { b, ok, err = f.Store.BatchByDigest(ctx, digest); return err })
	return b, ok, err
}

// Batch may fail.
func (f *Failing) Batch(ctx context.Context, id string) (ra.Batch, error) {
	return one(f, func() (ra.Batch, error) { return f.Store.Batch(ctx, id) })
}

// Refuse may fail.
func (f *Failing) Refuse(ctx context.Context, line audit.Entry) error {
	return f.call(func() error { return f.Store.Refuse(ctx, line) })
}
