package ra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Worker carries out what was approved.
type Worker struct {
	Registrar *Registrar

	wake chan struct{}
}

// idle is how often the worker looks although nobody woke it.
const idle = 2 * time.Second

// Start prepares the worker; Run does its work.
func (w *Worker) Start() *Worker {
	w.wake = make(chan struct{}, 1)
	return w
}

// Wake tells the worker that something was approved. It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run fulfils until ctx ends. A CA that cannot be reached is asked again: the
// same request ID gets the same answer.
func (w *Worker) Run(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := w.Registrar.Fulfil(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("fulfilling approved cases", "err", err)
		}
		if n > 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-time.After(idle):
		}
	}
}

// Fulfil takes approved cases to the CA and returns how many it moved.
// Revocations go first and wait for nothing.
func (r *Registrar) Fulfil(ctx context.Context) (int, error) {
	n, revoking := r.carry(ctx)
	errs := []error{revoking}
	for _, kind := range IssuingKinds {
		m, err := r.issue(ctx, kind)
		n, errs = n+m, append(errs, err)
	}
	return n, errors.Join(errs...)
}

// waiting goes round the approved cases of a kind, so that some that fail for
// ever hold up nobody. Only the worker calls it.
func (r *Registrar) waiting(ctx context.Context, kind string) ([]Record, error) {
	list, err := r.Store.Waiting(ctx, kind, Approved, r.round[kind], enroll.BatchMax)
	if err == nil && len(list) > 0 {
		if r.round == nil {
			r.round = map[string]string{}
		}
		r.round[kind] = list[len(list)-1].ID
	}
	return list, err
}

var machine = access.AsMachine("ra")

func (r *Registrar) issue(ctx context.Context, kind string) (int, error) {
	list, err := r.online(ctx, kind)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if list, err = r.asking(ctx, list); err != nil || len(list) == 0 {
		return 0, err
	}
	requests := make([]enroll.Request, len(list))
	for i, rec := range list {
		requests[i] = requestOf(rec)
	}
	answers, err := r.CA.Issue(ctx, requests)
	if err != nil {
		return 0, fmt.Errorf("asking the CA to issue: %w", err)
	}
	if len(answers) != len(list) {
		return 0, fmt.Errorf("the CA answered %d of %d requests", len(answers), len(list))
	}
	var saves []Save
	var lines []audit.Entry
	moved := 0
	for i, a := range answers {
		done, err := r.answered(ctx, list[i], a, &saves, &lines)
		if err != nil {
			return 0, err
		}
		if done {
			moved++
		}
	}
	return moved, r.Store.Save(ctx, machine, saves, lines)
}

// answered makes of the CA's answer what is to be saved; done is false for a
// failure on the other side, which is asked about again later.
func (r *Registrar) answered(ctx context.Context, rec Record, a Answer, saves *[]Save, lines *[]audit.Entry) (done bool, err error) {
	do, note := Issue, ""
	switch {
	case a.Refusal != nil:
		report := a.Refusal.Report()
		rec.Trouble, do, note = &report, Refuse, report.Text
	case a.Reply.Sign == nil:
		return false, nil
	default:
		rec.Reply, rec.Trouble = a.Reply, nil
		rec.SignSerial, rec.EncSerial = a.Reply.Serials()
		if _, err := r.Package(rec, nil); err != nil {
			rec.Trouble = undeliverable(err)
		}
	}
	if err := r.byMachine(rec, do, note, saves, lines); err != nil {
		return false, err
	}
	if do == Issue && rec.Follows != "" {
		err = r.replaced(ctx, rec, saves, lines)
	}
	return true, err
}

// pagesMax is how many pages of cases that are carried in files the worker passes
// over in one look for one that is not.
const pagesMax = 100

// online are approved cases that go over the link.
func (r *Registrar) online(ctx context.Context, kind string) ([]Record, error) {
	t, err := r.tree(ctx)
	if err != nil {
		return nil, err
	}
	for range pagesMax {
		list, err := r.waiting(ctx, kind)
		if err != nil || len(list) == 0 || t == nil {
			return list, err
		}
		n := len(list)
		list = slices.DeleteFunc(list, func(rec Record) bool { return t.Offline(rec.Profile) })
		if len(list) > 0 || n < enroll.BatchMax { // fewer than a page: that was all
			return list, nil
		}
	}
	return nil, nil
}

// replaced closes the case of the certificate that a new one follows: the CA
// has ended it already.
func (r *Registrar) replaced(ctx context.Context, rec Record, saves *[]Save, lines *[]audit.Entry) error {
	old, err := r.Store.Case(ctx, rec.Follows)
	if err != nil {
		return err
	}
	if !can(old, Replace) {
		return nil // a lost carrier's certificate was revoked before
	}
	return r.byMachine(old, Replace, "由案件 "+rec.ID+" 替代", saves, lines)
}

// asking puts on record that the CA is asked about cases of batches, which may
// be held back and cancelled, and leaves out those that are by now.
func (r *Registrar) asking(ctx context.Context, list []Record) ([]Record, error) {
	var ids []string
	for _, rec := range list {
		if rec.Batch != "" {
			ids = append(ids, rec.ID)
		}
	}
	if len(ids) == 0 {
		return list, nil
	}
	may, err := r.Store.Ask(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("recording what the CA is asked: %w", err)
	}
	return slices.DeleteFunc(list, func(rec Record) bool { return rec.Batch != "" && !slices.Contains(may, rec.ID) }), nil
}

// can reports whether a case's table has an act from where it stands.
func can(rec Record, do casework.Action) bool {
	return slices.ContainsFunc(Kinds[rec.Kind].Steps, func(s casework.Step) bool { return s.From == rec.State && s.Do == do })
}

// undeliverable is why the certificates, which stand, cannot be handed out; the
// case says so before anybody tries.
func undeliverable(err error) *refusal.Report {
	f := refusal.Of(err)
	if f == nil {
		f = BadEnvelope.Because("%v", err)
	}
	report := f.Report()
	return &report
}

// requestOf is what the CA is asked: the content, and the signed steps.
func requestOf(rec Record) enroll.Request {
	q := enroll.Request{ID: rec.ID, Content: rec.Content}
	add := func(e casework.Event) {
		if len(e.Signed.Signature) > 0 {
			q.Evidence = append(q.Evidence, enroll.Evidence{Signed: e.Signed, Item: e.Item, Proof: e.Proof})
		}
	}
	for _, do := range []casework.Action{Submit, Revoke, Freeze, Unfreeze, Approve, Authorise} {
		if e, ok := rec.Last(do); ok {
			add(e)
		}
	}
	for i := len(rec.Events) - 1; i > 0; i-- { // the levels of review below the last
		if e := rec.Events[i]; e.Did == Approve && (e.To == Seconded || e.To == Thirded) {
			add(e)
		} else if e.Did == Submit {
			break
		}
	}
	return q
}

func (r *Registrar) byMachine(rec Record, do casework.Action, note string, saves *[]Save, lines *[]audit.Entry) error {
	move, err := Kinds[rec.Kind].Next(rec.Case, machine, do, itemOf(rec), access.Proof{Count: 1}, r.Now().UTC())
	if err != nil {
		return err
	}
	move.Event.Note = note
	move.Case.Events[len(move.Case.Events)-1].Note = note
	*saves = append(*saves, save(rec, move))
	line := r.line(machine.Who(), "ra."+string(do), rec.ID, "")
	line.Serial, line.Detail = rec.SignSerial, note
	*lines = append(*lines, line)
	return nil
}

// carry takes approved changes of status to the CA, one by one: they are few.
func (r *Registrar) carry(ctx context.Context) (int, error) {
	done := 0
	for _, kind := range []string{RevokeKind.Name, FreezeKind.Name, UnfreezeKind.Name} {
		list, err := r.waiting(ctx, kind)
		if err == nil {
			list, err = r.asking(ctx, list)
		}
		if err != nil {
			return done, err
		}
		for _, rec := range list {
			_, err := r.CA.Revoke(ctx, requestOf(rec))
			no := refusal.Of(err)
			if err != nil && no == nil {
				return done, fmt.Errorf("asking the CA to change a status: %w", err)
			}
			if err := r.carried(ctx, rec, no); err != nil {
				return done, err
			}
			done++
		}
	}
	return done, nil
}

// follows is what a change of status does to the certificate's own case.
var follows = map[string]casework.Action{RevokeKind.Name: End, FreezeKind.Name: Hold, UnfreezeKind.Name: Release}

func (r *Registrar) carried(ctx context.Context, rec Record, no *refusal.Refusal) error {
	var saves []Save
	var lines []audit.Entry
	if no != nil {
		report := no.Report()
		rec.Trouble = &report
		if err := r.byMachine(rec, Refuse, report.Text, &saves, &lines); err != nil {
			return err
		}
		return r.Store.Save(ctx, machine, saves, lines)
	}
	if err := r.byMachine(rec, Carry, "", &saves, &lines); err != nil {
		return err
	}
	app, err := r.Store.BySerial(ctx, rec.SignSerial)
	if err != nil {
		return err
	}
	do := follows[rec.Kind]
	if can(app, do) {
		if err := r.byMachine(app, do, "案件 "+rec.ID, &saves, &lines); err != nil {
			return err
		}
	}
	if last := &saves[len(saves)-1]; last.Record.State == Revoked && lost(rec) {
		last.Release = false // a key that was given away is never certified again
	}
	return r.Store.Save(ctx, machine, saves, lines)
}

// lost reports whether a revocation is for a key that others may have.
func lost(rec Record) bool {
	var c enroll.Revocation
	return enroll.Decode(rec.Content, &c) == nil && c.Reason == "keyCompromise"
}
