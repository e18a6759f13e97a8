package km_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/kmmsg"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmtest"
)

// failing is a store that fails once, at call number at, before or after the
// call took effect.
type failing struct {
	km.Store
	at, calls int
	after     bool
}

var errCrash = errors.New("crash")

func (f *failing) call(do func() error) error {
	f.calls++
	if f.calls == f.at && !f.after {
		return errCrash
	}
	err := do()
	if f.calls == f.at {
		return errCrash
	}
	return err
}

func (f *failing) Task(ctx context.Context, ca string, no []byte) (t km.Task, ok bool, err error) {
	err = f.call(func() (err error) { t, ok, err = f.Store.Task(ctx, ca, no); return err })
	return t, ok, err
}

func (f *failing) Begin(ctx context.Context, t km.Task, serials [][]byte, fresh []hsm.Pair, decide func(map[string]km.Record) km.Effect) (k km.Task, held map[string]km.Record, err error) {
	err = f.call(func() (err error) { k, held, err = f.Store.Begin(ctx, t, serials, fresh, decide); return err })
	return k, held, err
}

func (f *failing) Finish(ctx context.Context, t km.Task, line audit.Entry) (r []byte, err error) {
	err = f.call(func() (err error) { r, err = f.Store.Finish(ctx, t, line); return err })
	return r, err
}

func (f *failing) Note(ctx context.Context, line audit.Entry) error {
	return f.call(func() error { return f.Store.Note(ctx, line) })
}

// Wherever the store fails, asking again finishes the work, no pair goes to
// two certificates, and what was answered once is answered the same.
func TestAfterACrashAskingAgainFinishes(t *testing.T) {
	for at := 1; at <= 5; at++ {
		for _, after := range []bool{false, true} {
			for _, pool := range []int{0, 8} {
				t.Run(fmt.Sprintf("call %d, after %v, pool %d", at, after, pool), func(t *testing.T) {
					f := &failing{Store: new(kmtest.Memory)}
					p := newPlace(t, f)
					p.High = pool
					p.ask(t, newOwner(t).apply(1))
					p.fill(t)
					f.at, f.calls, f.after = at, 0, after
					crash(t, p, f)
				})
			}
		}
	}
}

func crash(t *testing.T, p *place, f *failing) {
	requests := [][]byte{
		p.request(t, newOwner(t).apply(2), newOwner(t).apply(1), revoke(1), newOwner(t).apply(3)),
		p.request(t, newOwner(t).apply(4)),
	}
	points := map[string]string{}
	for n, request := range requests {
		var response []byte
		for range 3 {
			var err error
			if response, err = p.Answer(t.Context(), request); err == nil {
				break
			} else if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
		}
		results, err := kmmsg.Check(request, response, p.km.cert)
		if err != nil {
			t.Fatal(err)
		}
		if want := [][]int{{0, 7, 0, 0}, {0}}[n]; !slices.Equal(numbers(results), want) {
			t.Errorf("errNo %v, want %v", numbers(results), want)
		}
		for _, r := range results {
			if r.Point == nil {
				continue
			}
			if other, ok := points[string(r.Point)]; ok {
				t.Errorf("%x and %x share a pair", r.UserCertNo, other)
			}
			points[string(r.Point)] = string(r.UserCertNo)
		}
		f.at = 0
		if again, err := p.Answer(t.Context(), request); err != nil || !bytes.Equal(again, response) {
			t.Errorf("asked once more: %v", err)
		}
	}
	standby := max(0, p.High-3)
	p.counts(t, standby, 3, 1)
}

func TestManyCallersWithTheSameBytesGetOneAnswer(t *testing.T) {
	p := newPlace(t, sqlite(t))
	request := p.request(t, newOwner(t).apply(1), newOwner(t).apply(2))
	var mu sync.Mutex
	answers := map[string]bool{}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			r, err := p.Answer(t.Context(), request)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[string(r)] = true
		})
	}
	wg.Wait()
	if len(answers) != 1 {
		t.Errorf("%d different answers", len(answers))
	}
	p.counts(t, 0, 2, 0)
}
