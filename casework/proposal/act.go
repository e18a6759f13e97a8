package proposal

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
)

// Bounds, and why.
const (
	contentMax = 1 << 20 // a profile set with room to spare
	noteMax    = 500     // characters of a reason
	pageMax    = 200
	shareMax   = 4 << 10
	batch      = 50 // carried out in one look
)

// Order is what a person asks for: a new proposal, or a step on one.
type Order struct {
	Act     casework.Action `json:"act"`
	Matter  string          `json:"matter,omitempty"`  // to propose
	Content json.RawMessage `json:"content,omitempty"` // to propose
	ID      string          `json:"id,omitempty"`      // of a proposal; given by Plan to a new one
	Note    string          `json:"note,omitempty"`
	Share   []byte          `json:"share,omitempty"` // with a release
}

// Plan is an order made definite: what will be signed.
type Plan struct {
	Order  Order
	Act    string
	Title  string
	Object string
	Shown  Shown
	Items  []access.Item
	matter Matter
	rec    Record
}

// Plan decides whether the person could carry an order out now, and what they
// would sign. Nothing changes.
func (d *Desk) Plan(ctx context.Context, o Order, who access.Person) (Plan, error) {
	if utf8.RuneCountInString(o.Note) > noteMax || len(o.Content) > contentMax {
		return Plan{}, BadContent.At("content", BadContent.Clause).Because("内容或意见过长")
	}
	p := Plan{Order: o}
	var err error
	if o.Act == Propose {
		err = d.begin(ctx, &p, who)
	} else {
		err = d.resume(ctx, &p, who)
	}
	if err != nil {
		return Plan{}, err
	}
	if len(o.Share) > shareMax || (len(o.Share) > 0) != (o.Act == Release && p.matter.Accept != nil) {
		return Plan{}, BadContent.At("share", BadContent.Clause).Because("以份额放行的事项在放行时附本人的份额，其他步骤和事项不附")
	}
	if _, err := p.matter.Kind().Next(p.rec.Case, access.Preview(who), o.Act, access.Item{}, access.Proof{}, d.Now()); err != nil {
		return Plan{}, err
	}
	if o.Act == Confirm { // what was in order when proposed may not be any more
		if p.Shown, err = p.matter.Read(ctx, p.rec.Content); err != nil {
			return Plan{}, err
		}
	}
	p.Items = []access.Item{{Kind: p.rec.Kind, ID: p.rec.ID, Seq: len(p.rec.Events), Digest: alg.Digest(p.rec.Content)}}
	if len(o.Share) > 0 { // what is signed names the share
		p.Items = append(p.Items, access.Item{Kind: "share", ID: p.rec.ID, Seq: len(p.rec.Events), Digest: alg.Digest(o.Share)})
	}
	p.Act, p.Title = p.matter.Name+"/"+string(o.Act), p.matter.Title+"："+acts[o.Act]
	p.Object = fmt.Sprintf("%s（%s）", p.rec.ID, p.rec.Title)
	return p, nil
}

func (d *Desk) begin(ctx context.Context, p *Plan, who access.Person) (err error) {
	if p.matter, err = d.Matter(p.Order.Matter); err != nil {
		return err
	}
	if !who.Holds(p.matter.Propose) { // before the content is looked at
		return casework.NotYours.At("role", casework.NotYours.Clause).Because("“%s”须由%s提议", p.matter.Title, p.matter.Propose.Title())
	}
	if p.Shown, err = p.matter.Read(ctx, p.Order.Content); err != nil {
		return err
	}
	now := d.Now().UTC()
	if p.Order.ID == "" {
		b := make([]byte, 5)
		_, _ = rand.Read(b) // crypto/rand never fails
		p.Order.ID = "P" + now.Format("20060102") + "-" + base32.HexEncoding.EncodeToString(b)
	}
	if len(p.Order.ID) > 32 || !strings.HasPrefix(p.Order.ID, "P") {
		return BadContent.At("id", BadContent.Clause)
	}
	p.rec = Record{
		Case:    casework.Case{ID: p.Order.ID, Kind: p.matter.Name, State: Begun},
		Content: p.Shown.Content, Title: p.Shown.Title, CreatedBy: who.ID, CreatedAt: now, UpdatedAt: now,
	}
	return nil
}

func (d *Desk) resume(ctx context.Context, p *Plan, who access.Person) (err error) {
	if p.rec, err = d.Get(ctx, p.Order.ID); err != nil {
		return err
	}
	if p.matter, err = d.Matter(p.rec.Kind); err != nil {
		return err
	}
	if p.Order.Act == Withdraw && p.rec.CreatedBy != who.ID {
		return NotYours.At("id", NotYours.Clause).Because("由 %s 提议", p.rec.CreatedBy)
	}
	if p.Order.Act == Release && signed(p.rec, who) {
		return casework.SamePerson.At("person", casework.SamePerson.Clause).Because("%s 已在本变更中签名", who.ID)
	}
	return nil
}

// Statement is what the person is asked to sign.
func (d *Desk) Statement(p Plan, who access.Person) access.Statement {
	return d.People.Draft(who, p.Act, p.Title, p.Object, p.Order.Note, p.Items)
}

// Do verifies the signature over the plan and records the step.
func (d *Desk) Do(ctx context.Context, p Plan, claim access.Claim, source string) (Record, error) {
	by, err := d.People.Verify(ctx, claim, p.Act, p.Title, p.Object, p.Order.Note, p.Items)
	if err != nil {
		return Record{}, err
	}
	move, err := p.matter.Kind().Next(p.rec.Case, by, p.Order.Act, p.Items[0], access.ProofOf(p.Items, 0), d.Now().UTC())
	if err != nil {
		return Record{}, err
	}
	p.rec.Case, p.rec.UpdatedAt = move.Case, move.Event.At
	line := d.line(by.Who(), p.Act, p.rec, source)
	line.Detail, line.Proof = p.Order.Note, alg.Digest(by.Signed().Text, by.Signed().Signature)
	keep := func(*sqldb.Tx) error { return nil }
	if p.Order.Act == Release && p.matter.Accept != nil {
		keep = func(tx *sqldb.Tx) error { return p.matter.Accept(tx, p.rec, by.Who(), p.Order.Share) }
	}
	if err := d.save(ctx, by, p.rec, move, line, keep); err != nil {
		return Record{}, err
	}
	if p.rec.State == Confirmed {
		select {
		case d.wake <- struct{}{}:
		default: // it looks anyway
		}
	}
	return p.rec, nil
}

func (d *Desk) line(who access.Person, item string, r Record, source string) audit.Entry {
	now := d.Now()
	e := audit.Entry{Start: now, End: now, Who: string(who.ID), Item: item, Object: r.ID, Result: audit.Done, Source: source, Serial: who.Serial}
	if len(who.Roles) > 0 {
		e.Role = string(who.Roles[0])
	}
	return e
}

// Turned writes a refusal of authority to the trail.
func (d *Desk) Turned(ctx context.Context, who access.Person, o Order, source string, err error) error {
	f := refusal.Of(err)
	if f == nil || f.Reason.Kind != refusal.Forbidden {
		return err
	}
	item := o.Matter
	if item == "" {
		item = "proposal"
	}
	line := d.line(who, item+"/"+string(o.Act), Record{Case: casework.Case{ID: o.ID}}, source)
	line.Result, line.Detail = f.Reason.Code, f.Detail
	if e := d.DB.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) }); e != nil {
		return fmt.Errorf("writing the refusal to the audit trail: %w", e)
	}
	return err
}

var machine = access.AsMachine("proposal")

// idle is how often the worker looks although nobody woke it: what failed for
// want of another system is tried again.
const idle = 2 * time.Second

// Run carries out what was agreed until ctx ends.
func (d *Desk) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.Carry(ctx); err != nil && ctx.Err() == nil {
			slog.Error("carrying out proposals", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-time.After(idle):
		}
	}
}

// Carry carries out what was agreed. One that fails is left for the next time
// and does not hold up the others, however many fail; one that is refused ends,
// with the reason. Only the worker calls it.
func (d *Desk) Carry(ctx context.Context) error {
	list, err := d.waiting(ctx, d.round)
	if err == nil && len(list) == 0 && d.round != "" {
		list, err = d.waiting(ctx, "")
	}
	if d.round = ""; err != nil {
		return err
	}
	if len(list) == batch {
		d.round = list[batch-1].ID
	}
	for _, r := range list {
		if err := d.carry(ctx, r); err != nil {
			slog.Error("carrying out a proposal", "id", r.ID, "err", err)
		}
	}
	return nil
}

func (d *Desk) carry(ctx context.Context, r Record) error {
	m, err := d.Matter(r.Kind)
	if err != nil {
		return err
	}
	do := Carry
	result, err := m.Do(ctx, r)
	if no := refusal.Of(err); no != nil {
		report := no.Report()
		r.Trouble, do = &report, Fail
	} else if err != nil {
		return err
	}
	r.Result = result
	move, err := m.Kind().Next(r.Case, machine, do, access.Item{}, access.Proof{}, d.Now().UTC())
	if err != nil {
		return err
	}
	r.Case, r.UpdatedAt = move.Case, move.Event.At
	return d.save(ctx, machine, r, move, d.line(machine.Who(), m.Name+"/"+string(do), r, ""), func(*sqldb.Tx) error { return nil })
}
