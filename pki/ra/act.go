package ra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
)

// Order is what a person asks the desk to do.
type Order struct {
	Act     string   `json:"act"`               // "ra.submit", "ra.approve", …
	IDs     []string `json:"ids,omitempty"`     // of cases
	Note    string   `json:"note,omitempty"`    // reason or opinion
	ID      string   `json:"id,omitempty"`      // of the case an order about status opens; given by Plan
	Serial  string   `json:"serial,omitempty"`  // of a certificate whose status is to change
	Reason  string   `json:"reason,omitempty"`  // of the revocation
	Invalid int64    `json:"invalid,omitempty"` // invalidity date, Unix seconds

	Ground   string   `json:"ground,omitempty"`   // of a revocation, in law: a code of Grounds
	Asker    string   `json:"asker,omitempty"`    // who asked, a key of Askers; the holder when absent
	Evidence []string `json:"evidence,omitempty"` // SM3 of files, hex

	Bulk  string `json:"bulk,omitempty"`  // the act is about all of a bulk, or a batch
	Count int    `json:"count,omitempty"` // how many, repeated by who confirms a bulk
}

// Unexplained stands as the reason of a return or a rejection for which nobody
// gave one: pages ask for it, a program may leave it out, and the timeline, what
// was signed and whoever asked for the certificate see which it was.
const Unexplained = "未说明（经办人没有写明原因）"

// Plan is an order made definite: the cases as they stand, and the words and
// items the person will sign.
type Plan struct {
	Order  Order
	Do     casework.Action
	Title  string
	Object string
	Items  []access.Item
	cases  []Record
}

// planned are the acts a person can order.
var planned = map[string]casework.Action{
	"ra.submit": Submit, "ra.approve": Approve, "ra.authorise": Authorise, "ra.return": Return, "ra.reject": Reject, "ra.produce": Produce, "ra.revoke": Revoke, "ra.freeze": Freeze, "ra.unfreeze": Unfreeze, "ra.withdraw": Withdraw, "ra.discard": Discard,
	"ra.cancel": Cancel, "ra.pause": Pause, "ra.resume": Resume,
}

// Whole reports whether an act is done to all of a batch only.
func Whole(do casework.Action) bool { return do == Cancel }

// Own reports whether only who drafted a case may order an act on it.
func Own(do casework.Action) bool { return do == Submit || do == Withdraw || do == Discard }

// Plan looks up what an order is about and decides whether the person could
// carry it out now; nothing changes.
func (r *Registrar) Plan(ctx context.Context, o Order, who access.Person) (Plan, error) {
	do, ok := planned[o.Act]
	if !ok {
		return Plan{}, NoAct.At("act", NoAct.Clause).Because("%q", o.Act)
	}
	if err := r.standing(ctx, who); err != nil {
		return Plan{}, err
	}
	if utf8.RuneCountInString(o.Note) > NoteMax {
		return Plan{}, BadForm.At("note", BadForm.Clause).Because("意见超过 %d 字", NoteMax)
	}
	if (do == Return || do == Reject) && strings.TrimSpace(o.Note) == "" {
		o.Note = Unexplained
	}
	p := Plan{Order: o, Do: do, Title: acts[do]}
	if o.Bulk != "" {
		return r.planBulk(ctx, p, who)
	}
	if do == Cancel || do == Pause || do == Resume {
		return Plan{}, NoAct.At("act", NoAct.Clause).Because("%s 只对整批办理", o.Act)
	}
	if _, ok := statusOf[do]; ok && len(o.IDs) == 0 {
		if !who.Holds(access.RAClerk) {
			return Plan{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("“%s”须由录入员办理", acts[do])
		}
		return r.planStatus(ctx, p, who)
	}
	if len(o.IDs) == 0 {
		return Plan{}, NoIDs.At("ids", NoIDs.Clause)
	}
	if len(o.IDs) > ActMax {
		return Plan{}, TooMany.At("ids", TooMany.Clause).Because("%d 件，一次至多 %d 件", len(o.IDs), ActMax)
	}
	for _, id := range o.IDs {
		rec, err := r.Store.Case(ctx, id)
		if err != nil {
			return Plan{}, err
		}
		if err := r.may(ctx, rec, do, who); err != nil {
			return Plan{}, err
		}
		if strings.HasPrefix(rec.Batch, BulkPrefix) && AboutStatus(rec.Kind) {
			return Plan{}, InBulk.At("id", InBulk.Clause).Because("%s 属于 %s", rec.ID, rec.Batch)
		}
		p.cases = append(p.cases, rec)
		p.Items = append(p.Items, itemOf(rec))
	}
	p.Object = objectOf(p.cases)
	return p, nil
}

func itemOf(rec Record) access.Item {
	return access.Item{Kind: rec.Kind, ID: rec.ID, Seq: len(rec.Events), Digest: alg.Digest(rec.Content)}
}

// may decides what can be decided before there is a signature.
func (r *Registrar) may(ctx context.Context, rec Record, do casework.Action, who access.Person) error {
	kind := Kinds[rec.Kind]
	if do == Produce && Issues(rec.Kind) && slices.Contains([]casework.State{Drafted, Submitted, Reviewed, Seconded, Thirded, Approved}, rec.State) {
		if !who.Holds(access.RAProducer) {
			return casework.NotYours.At("role", casework.NotYours.Clause).Because("“%s”须由制证员办理", acts[do])
		}
		return NotIssued.At("id", NotIssued.Clause).Because("%s当前为“%s”", rec.ID, kind.StateTitle(rec.State))
	}
	if Own(do) && rec.State != Asked && who.Holds(access.RAClerk) && rec.CreatedBy != who.ID {
		return NotYours.At("id", NotYours.Clause).Because("%s 由 %s 起草", rec.ID, rec.CreatedBy)
	}
	_, err := kind.Next(rec.Case, access.Preview(who), do, itemOf(rec), access.Proof{}, r.Now())
	if err == nil && (do == Submit || do == Approve) {
		err = r.based(ctx, rec, do)
	}
	if err == nil {
		err = r.upToDate(rec, do)
	}
	if err == nil && do == Produce {
		_, err = r.Package(rec, nil)
	}
	return err
}

// based refuses to submit or approve what rests on something that stands no
// more, or to approve what the law asks to be on record and is not.
func (r *Registrar) based(ctx context.Context, rec Record, do casework.Action) error {
	switch {
	case rec.Kind == UnitKind.Name:
		_, err := r.entered(ctx, rec, r.Now())
		return err
	case !Issues(rec.Kind):
		return nil
	}
	a, err := applicationOf(rec.Content)
	if err != nil {
		return err
	}
	if err := r.bodyStands(ctx, a); err != nil {
		return err
	}
	if a.Unit != "" {
		if _, err := r.unitStands(ctx, a.Unit); err != nil {
			return err
		}
	}
	if do == Approve {
		return checked(rec)
	}
	return nil
}

// checked refuses to approve what the law asks to be on record and is not.
func checked(rec Record) error {
	a, err := applicationOf(rec.Content)
	if err != nil {
		return err
	}
	why := ""
	switch {
	case a.Check.Method == "" || a.Check.Method == "none" || a.Check.By == "":
		why = "没有身份查验记录"
	case a.Accord == "":
		why = "没有服务协议记录"
	}
	for _, n := range Notices {
		if why == "" && !slices.Contains(a.Notices, n.Code) {
			why = "未告知：" + n.Text
		}
	}
	if why != "" {
		return NotChecked.At("check", NotChecked.Clause).Because("%s", why)
	}
	return nil
}

// Statement is what the person is asked to sign.
func (r *Registrar) Statement(p Plan, who access.Person) access.Statement {
	return r.Desk.Draft(who, p.Order.Act, p.Title, p.Object, p.Order.Note, p.Items)
}

// Do verifies the signature over the plan and carries it out, wholly or not at
// all. A refusal of authority is written to the trail.
func (r *Registrar) Do(ctx context.Context, p Plan, claim access.Claim, source string) ([]Record, error) {
	return r.do(ctx, r.Desk, p, claim, source)
}

func (r *Registrar) do(ctx context.Context, desk access.Desk, p Plan, claim access.Claim, source string) ([]Record, error) {
	start := r.Now()
	by, err := desk.Verify(ctx, claim, p.Order.Act, p.Title, p.Object, p.Order.Note, p.Items)
	if err != nil {
		return nil, err
	}
	if p.Do == Pause || p.Do == Resume {
		return nil, r.hold(ctx, p, by, source)
	}
	var saves []Save
	var lines []audit.Entry
	proofs := access.Proofs(p.Items)
	for i, rec := range p.cases {
		move, err := Kinds[rec.Kind].Next(rec.Case, by, p.Do, p.Items[i], proofs[i], r.Now().UTC())
		if err != nil {
			return nil, err
		}
		s := save(rec, move)
		if rec.Kind == UnitKind.Name && move.Event.To == Done {
			if s.Unit, err = r.entered(ctx, rec, move.Event.At); err != nil {
				return nil, err
			}
		}
		saves = append(saves, s)
		line := r.line(by.Who(), p.Order.Act, rec.ID, source)
		line.Start, line.Serial, line.Detail = start, rec.SignSerial, p.Order.Note
		line.Proof = alg.Digest(by.Signed().Text, by.Signed().Signature)
		lines = append(lines, line)
	}
	if err := r.Store.Save(ctx, by, saves, lines); err != nil {
		return nil, err
	}
	if (p.Do == Approve || p.Do == Authorise) && r.Wake != nil {
		r.Wake()
	}
	done := make([]Record, len(saves))
	for i, s := range saves {
		done[i] = s.Record
	}
	return done, nil
}

func save(rec Record, m casework.Move) Save {
	rec.Case, rec.UpdatedAt = m.Case, m.Event.At
	s := Save{Record: rec, Move: m}
	if Issues(rec.Kind) {
		s.Claim = m.Event.Did == Submit
		s.Release = slices.Contains([]casework.State{Drafted, Rejected, Revoked, Superseded, Discarded}, m.Event.To)
	}
	return s
}

// Note writes that somebody did something that left the cases as they are.
func (r *Registrar) Note(ctx context.Context, who access.Person, item, object, source string) error {
	return r.Store.Refuse(ctx, r.line(who, item, object, source))
}

// Turned writes a refusal of authority to the trail; other refusals change
// nothing and need no line.
func (r *Registrar) Turned(ctx context.Context, who access.Person, act, object, source string, err error) error {
	f := refusal.Of(err)
	if f == nil || f.Reason.Kind != refusal.Forbidden {
		return err
	}
	line := r.line(who, act, object, source)
	line.Result, line.Detail = f.Reason.Code, f.Detail
	if e := r.Store.Refuse(ctx, line); e != nil {
		return fmt.Errorf("writing the refusal to the audit trail: %w", e)
	}
	return err
}
