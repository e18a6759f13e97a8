package catest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// ErrCrash is what a failing store says.
var ErrCrash = errors.New("crash")

// Failing is a store that fails once, at call number At, before the call or
// after it took effect.
type Failing struct {
	ca.Store
	At    int
	After bool

	mu    sync.Mutex
	calls int
}

var _ ca.Store = (*Failing)(nil)

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

// Jobs may fail.
func (f *Failing) Jobs(ctx context.Context, ids []string) (map[string]ca.Job, error) {
	return one(f, func() (map[string]ca.Job, error) { return f.Store.Jobs(ctx, ids) })
}

// Open may fail.
func (f *Failing) Open(ctx context.Context, jobs []ca.Job, a *ca.Ask, at time.Time) error {
	return f.call(func() error { return f.Store.Open(ctx, jobs, a, at) })
}

// Ask may fail.
func (f *Failing) Ask(ctx context.Context, task int64) (ca.Ask, error) {
	return one(f, func() (ca.Ask, error) { return f.Store.Ask(ctx, task) })
}

// Abandon may fail.
func (f *Failing) Abandon(ctx context.Context, jobs []ca.Job, lines []audit.Entry) error {
	return f.call(func() error { return f.Store.Abandon(ctx, jobs, lines) })
}

// Intend may fail.
func (f *Failing) Intend(ctx context.Context, jobs []ca.Job, at time.Time) error {
	return f.call(func() error { return f.Store.Intend(ctx, jobs, at) })
}

// Record may fail.
func (f *Failing) Record(ctx context.Context, jobs []ca.Job, entries []ca.Publication, lines []audit.Entry, at time.Time) error {
	return f.call(func() error { return f.Store.Record(ctx, jobs, entries, lines, at) })
}

// Certificate may fail.
func (f *Failing) Certificate(ctx context.Context, serial []byte) (ca.Issued, error) {
	return one(f, func() (ca.Issued, error) { return f.Store.Certificate(ctx, serial) })
}

// Release may fail.
func (f *Failing) Release(ctx context.Context, serials [][]byte, entries []ca.Publication, line audit.Entry, at time.Time) error {
	return f.call(func() error { return f.Store.Release(ctx, serials, entries, line, at) })
}

// Revoke may fail.
func (f *Failing) Revoke(ctx context.Context, request string, changes []ca.Issued, entries []ca.Publication, lines []audit.Entry, a *ca.Ask, at time.Time) error {
	return f.call(func() error { return f.Store.Revoke(ctx, request, changes, entries, lines, a, at) })
}

// Revocation may fail.
func (f *Failing) Revocation(ctx context.Context, request string) (done enroll.Revoked, ok bool, err error) {
	err = f.call(func() (err error) { done, ok, err = f.Store.Revocation(ctx, request); return err })
	return done, ok, err
}

// Unsent may fail.
func (f *Failing) Unsent(ctx context.Context, limit int) ([]ca.Ask, error) {
	return one(f, func() ([]ca.Ask, error) { return f.Store.Unsent(ctx, limit) })
}

// Answered may fail.
func (f *Failing) Answered(ctx context.Context, task int64) error {
	return f.call(func() error { return f.Store.Answered(ctx, task) })
}

// Lists may fail.
func (f *Failing) Lists(ctx context.Context) (map[string]ca.List, error) {
	return one(f, func() (map[string]ca.List, error) { return f.Store.Lists(ctx) })
}

// IntendList may fail.
func (f *Failing) IntendList(ctx context.Context, l ca.List, shard int, draft func(number int64, entries []byte) []byte) (ca.List, error) {
	return one(f, func() (ca.List, error) { return f.Store.IntendList(ctx, l, shard, draft) })
}

// IntendLists may fail.
func (f *Failing) IntendLists(ctx context.Context, wanted []ca.Wanted) ([]ca.List, error) {
	return one(f, func() ([]ca.List, error) { return f.Store.IntendLists(ctx, wanted) })
}

// RecordList may fail.
func (f *Failing) RecordList(ctx context.Context, l ca.List, entry ca.Publication, line audit.Entry) error {
	return f.call(func() error { return f.Store.RecordList(ctx, l, entry, line) })
}

// Dirty may fail.
func (f *Failing) Dirty(ctx context.Context) ([]int, error) {
	return one(f, func() ([]int, error) { return f.Store.Dirty(ctx) })
}

// Begin may fail.
func (f *Failing) Begin(ctx context.Context, order, label string, line audit.Entry) (ca.Succession, error) {
	return one(f, func() (ca.Succession, error) { return f.Store.Begin(ctx, order, label, line) })
}

// Succeed may fail.
func (f *Failing) Succeed(ctx context.Context, order string, der []byte, line audit.Entry) error {
	return f.call(func() error { return f.Store.Succeed(ctx, order, der, line) })
}

// Fulfil may fail.
func (f *Failing) Fulfil(ctx context.Context, duty string, root bool, point []byte, line audit.Entry) error {
	return f.call(func() error { return f.Store.Fulfil(ctx, duty, root, point, line) })
}
