package km

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/kmmsg"
	"github.com/hufu-pki/hufu/hsm"
)

// begin puts the message on record with its effect. A pool that runs dry is no
// reason to refuse: pairs are then made on the spot.
func (v *Vault) begin(ctx context.Context, c *call) (Task, map[string]Record, error) {
	task := Task{CA: c.ca.id, No: c.Task, Digest: c.digest, At: c.start}
	serials := make([][]byte, len(c.Asks))
	applies := 0
	for i, a := range c.Asks {
		serials[i] = a.Serial
		if a.Kind == kmmsg.Apply {
			applies++
		}
	}
	decide := func(held map[string]Record) Effect { return v.decide(c, held) }
	var fresh []hsm.Pair
	for range beginTries {
		t, held, err := v.Store.Begin(ctx, task, serials, fresh, decide)
		if !errors.Is(err, ErrShort) && !errors.Is(err, ErrRetiredMaster) {
			return t, held, err
		}
		if fresh, err = v.generate(ctx, applies); err != nil {
			return Task{}, nil, err
		}
	}
	return Task{}, nil, ErrShort
}

// decide judges the requests of a message one after another, each in sight of
// those before it.
func (v *Vault) decide(c *call, held map[string]Record) Effect {
	state := make(map[string]State, len(c.Asks))
	for serial, r := range held {
		state[serial] = r.State
	}
	e := Effect{Outcome: make([]byte, len(c.Asks))}
	for i, a := range c.Asks {
		key, result := string(a.Serial), audit.Done
		if no := judge(a, state[key], c.start); no != nil {
			e.Outcome[i], result = byte(Number(no)), no.Code
		} else {
			e.grant(c, a, state[key])
			state[key] = InUse
			if a.Kind == kmmsg.Revoke {
				state[key] = History
			}
		}
		line := v.line(c, "km."+a.Kind.String(), result)
		line.Serial = cert.SerialHex(a.Serial)
		e.Lines = append(e.Lines, line)
	}
	return e
}

func (e *Effect) grant(c *call, a kmmsg.Ask, was State) {
	switch {
	case a.Kind == kmmsg.Apply:
		e.Take = append(e.Take, Record{
			State: InUse, CA: c.ca.id, Serial: a.Serial, From: a.From, To: a.To, UserName: a.UserName, Region: a.Region,
			SealedTo: a.Point, Task: c.Task, TakenAt: c.start,
		})
	case a.Kind == kmmsg.Restore:
		e.Reseal = append(e.Reseal, Record{CA: c.ca.id, Serial: a.Serial, SealedTo: a.Point})
	case was == InUse: // what is history already stays as it is
		e.Retire = append(e.Retire, a.Serial)
	}
}

// judge says why a request is not granted; was is the store its pair lies in,
// 0 when there is none.
func judge(a kmmsg.Ask, was State, now time.Time) *refusal.Reason {
	switch {
	case a.Kind != kmmsg.Revoke && (a.Point == nil || !a.Algorithms.Supported(a.Kind)):
		return Unsupported
	case a.Kind == kmmsg.Apply && was != 0:
		return Duplicate
	case a.Kind == kmmsg.Apply && (!a.To.After(a.From) || !a.To.After(now)):
		return Policy // it would be history before it is used
	case a.Kind != kmmsg.Apply && was == 0:
		return NoKey
	case a.Kind == kmmsg.Restore && was != InUse:
		return Retired
	}
	return nil
}

// finish seals what was granted, signs the answer and keeps it.
func (v *Vault) finish(ctx context.Context, c *call, task Task, held map[string]Record) ([]byte, error) {
	if len(task.Outcome) != len(c.Asks) {
		return nil, fmt.Errorf("task %x has %d outcomes for %d requests", task.No, len(task.Outcome), len(c.Asks))
	}
	answers := make([]kmmsg.Answer, len(c.Asks))
	err := parallel(len(answers), func(i int) (err error) {
		answers[i], err = v.answer(c.Asks[i], int(task.Outcome[i]), held)
		return err
	})
	if err != nil {
		return nil, err
	}
	if task.Response, err = v.sign(c, answers); err != nil {
		return nil, err
	}
	line := v.line(c, "km.answer", audit.Done)
	line.Proof = alg.Digest(task.Response)
	kept, err := v.Store.Finish(ctx, task, line)
	if err != nil {
		return nil, fmt.Errorf("keeping the answer: %w", err)
	}
	v.nudge()
	return kept, nil
}

func (v *Vault) answer(a kmmsg.Ask, outcome int, held map[string]Record) (kmmsg.Answer, error) {
	if outcome != 0 {
		if Numbered(outcome) == nil {
			return kmmsg.Answer{}, fmt.Errorf("outcome %d on record", outcome)
		}
		return failed(outcome), nil
	}
	answer := kmmsg.Answer{Kind: a.Kind, Serial: a.Serial}
	if a.Kind == kmmsg.Revoke {
		return answer, nil
	}
	r, ok := held[string(a.Serial)]
	if !ok {
		return answer, fmt.Errorf("no pair on record for %s, which was granted one", cert.SerialHex(a.Serial))
	}
	sealed, err := v.Device.Envelope(r.Pair.Private.Master, r.Pair, a.Point, v.Identity)
	if err != nil {
		return answer, fmt.Errorf("sealing the key of %s: %w", cert.SerialHex(a.Serial), err)
	}
	answer.Point = r.Pair.Point
	answer.Sealed = cms.Envelope{
		Recipient: cms.Ref{Serial: a.Serial}, SessionKey: sealed.SessionKey, Cipher: a.Algorithms.Sym, Content: sealed.Content,
		Signer: cms.RefOf(v.self), Cert: v.self.Raw, Signature: sealed.Signature,
	}.Bytes()
	return answer, nil
}

// generate makes pairs on all cores.
func (v *Vault) generate(ctx context.Context, n int) ([]hsm.Pair, error) {
	master := v.Master
	if v.Wrapping != nil {
		label, err := v.Wrapping(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the master key in force: %w", err)
		}
		master = cmp.Or(label, master)
	}
	pairs := make([]hsm.Pair, n)
	err := parallel(n, func(i int) (err error) {
		pairs[i], err = v.Device.NewPair(master)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("generating key pairs: %w", err)
	}
	return pairs, nil
}

// parallel does 0 to n-1 on all cores and returns the first error met.
func parallel(n int, do func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					once.Do(func() { first = err })
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}
