package ledger

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
)

// Sealer signs checkpoints of a log and pushes it to its targets. Anything it
// has not yet done it does after a restart: targets say how far they are.
type Sealer struct {
	DB      *sqldb.DB
	Log     string
	Origin  string
	Key     crypto.Signer
	Targets []Target
	Now     func() time.Time
	// Bodies returns the bodies that lie beside leaves [from, to).
	Bodies func(ctx context.Context, from, to int64) ([][]byte, error)

	mu     sync.Mutex // one seal at a time: who exports does not wait for the next
	wake   chan struct{}
	sealed int64
	note   []byte
	behind atomic.Pointer[time.Time] // when sealing began that has not succeeded since
}

// pushMax bounds the leaves sent in one batch.
const pushMax = 1024

// retry is how long a target that failed is left alone.
const retry = time.Second

// Start prepares the sealer; Run does its work.
func (s *Sealer) Start() *Sealer {
	s.wake = make(chan struct{}, 1)
	s.sealed = -1
	return s
}

// Wake tells the sealer that the log has grown. It never blocks.
func (s *Sealer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run seals and pushes until ctx ends.
func (s *Sealer) Run(ctx context.Context) {
	s.Wake()
	for {
		wait := time.Minute
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(wait):
		}
		for ctx.Err() == nil {
			err := s.Seal(ctx)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				slog.Error("账本未能封存，稍后重试", "log", s.Log, "err", err)
				select {
				case <-ctx.Done():
				case <-time.After(retry):
				}
			}
		}
	}
}

// Behind is how long ago the sealing began that has not succeeded since, or is
// stuck; zero while there is nothing to do.
func (s *Sealer) Behind() time.Duration {
	if since := s.behind.Load(); since != nil {
		return s.Now().Sub(*since)
	}
	return 0
}

// Seal brings every target up to the log as committed now.
func (s *Sealer) Seal(ctx context.Context) error {
	began := s.Now()
	s.behind.CompareAndSwap(nil, &began)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.seal(ctx)
	if err == nil {
		s.behind.Store(nil)
	}
	return err
}

func (s *Sealer) seal(ctx context.Context) error {
	head, err := Head(ctx, s.DB, s.Log)
	if err != nil {
		return fmt.Errorf("reading head: %w", err)
	}
	if head.Size() != s.sealed {
		cp := Checkpoint{s.Origin, head.Size(), head.Root(), s.Now().UTC()}
		if s.note, err = cp.Sign(s.Key); err != nil {
			return err
		}
		s.sealed = head.Size()
	}
	for _, t := range s.Targets {
		if err := s.push(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// Note is the last checkpoint signed.
func (s *Sealer) Note() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

func (s *Sealer) push(ctx context.Context, t Target) error {
	at, err := t.Size(ctx)
	if err != nil {
		return fmt.Errorf("asking target: %w", err)
	}
	if at > s.sealed {
		return fmt.Errorf("%w: the target has %d entries, the log %d", ErrFork, at, s.sealed)
	}
	for at < s.sealed {
		to := min(at+pushMax, s.sealed)
		b := Batch{First: at}
		if b.Leaves, err = Leaves(ctx, s.DB, s.Log, at, to); err != nil {
			return fmt.Errorf("reading leaves: %w", err)
		}
		if s.Bodies != nil {
			if b.Bodies, err = s.Bodies(ctx, at, to); err != nil {
				return fmt.Errorf("reading bodies: %w", err)
			}
		}
		if err := t.Put(ctx, b); err != nil {
			return fmt.Errorf("pushing: %w", err)
		}
		at = to
	}
	return t.Seal(ctx, s.note)
}
