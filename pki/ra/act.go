package ra

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Order is what a person asks the desk to do.
type Order struct {
	Act     string   `json:"act"`               // "ra.submit", "ra.approve", …
	IDs     []string `json:"ids,omitempty"`     // of cases
	Note    string   `json:"note,omitempty"`    // reason or opinion
	ID      string   `json:"id,omitempty"`      // of the case a revocation opens; given by Plan
	Serial  string   `json:"serial,omitempty"`  // to revoke
	Reason  string   `json:"reason,omitempty"`  // of the revocation
	Invalid int64    `json:"invalid,omitempty"` // invalidity date, Unix seconds
}

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
	"ra.submit": Submit, "ra.approve": Approve, "ra.return": Return, "ra.reject": Reject, "ra.produce": Produce, "ra.revoke": Revoke, "ra.withdraw": Withdraw, "ra.discard": Discard,
}

// Own reports whether only who drafted a case may order an act on it.
func Own(do casework.Action) bool { return do == Submit || do == Withdraw || do == Discard }

// Plan looks up what an order is about and decides whether the person could
// carry it out now; nothing changes.
func (r *Registrar) Plan(ctx context.Context, o Order, who access.Person) (Plan, error) {
	do, ok := planned[o.Act]
	if !ok {
		return Plan{}, NoAct.At("act", NoAct.Clause).Because("%q", o.Act)
	}
	if utf8.RuneCountInString(o.Note) > NoteMax {
		return Plan{}, BadForm.At("note", BadForm.Clause).Because("意见超过 %d 字", NoteMax)
	}
	p := Plan{Order: o, Do: do, Title: acts[do]}
	if do == Revoke {
		return r.planRevoke(ctx, p, who)
	}
	if len(o.IDs) == 0 || len(o.IDs) > ActMax {
		return Plan{}, TooMany.At("ids", TooMany.Clause).Because("%d 件", len(o.IDs))
	}
	for _, id := range o.IDs {
		rec, err := r.Store.Case(ctx, id)
		if err != nil {
			return Plan{}, err
		}
		if err := r.may(rec, do, who); err != nil {
			return Plan{}, err
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

func objectOf(list []Record) string {
	first := list[0]
	name := fmt.Sprintf("%s %s（%s）", Kinds[first.Kind].Title, first.ID, first.Title)
	if len(list) > 1 {
		return fmt.Sprintf("%s 等 %d 件", name, len(list))
	}
	return name
}

// may decides what can be decided before there is a signature.
func (r *Registrar) may(rec Record, do casework.Action, who access.Person) error {
	kind := Kinds[rec.Kind]
	if do == Produce && rec.Kind == IssueKind.Name && slices.Contains([]casework.State{Drafted, Submitted, Approved}, rec.State) {
		if !who.Holds(access.RAProducer) {
			return casework.NotYours.At("role", casework.NotYours.Clause).Because("“%s”须由制证员办理", acts[do])
		}
		return NotIssued.At("id", NotIssued.Clause).Because("%s当前为“%s”", rec.ID, kind.StateTitle(rec.State))
	}
	if Own(do) && who.Holds(access.RAClerk) && rec.CreatedBy != who.ID {
		return NotYours.At("id", NotYours.Clause).Because("%s 由 %s 起草", rec.ID, rec.CreatedBy)
	}
	_, err := kind.Next(rec.Case, access.Preview(who), do, itemOf(rec), access.Proof{}, r.Now())
	if err == nil && do == Approve && rec.Kind == IssueKind.Name {
		err = checked(rec)
	}
	if err == nil && do == Produce {
		_, err = r.Package(rec, nil)
	}
	return err
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

// planRevoke finds the certificate and writes the revocation to be signed.
func (r *Registrar) planRevoke(ctx context.Context, p Plan, who access.Person) (Plan, error) {
	o := &p.Order
	if !who.Holds(access.RAClerk) {
		return Plan{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("“%s”须由录入员办理", acts[Revoke])
	}
	if reason, ok := crl.Reasons[o.Reason]; !ok || reason == 6 {
		return Plan{}, BadReason.At("reason", BadReason.Clause).Because("%q", o.Reason)
	}
	raw, err := hex.DecodeString(strings.ToLower(strings.TrimSpace(o.Serial)))
	if err != nil || len(raw) == 0 || len(raw) > 20 {
		return Plan{}, NotLive.At("serial", NotLive.Clause).Because("序列号应为十六进制")
	}
	o.Serial = cert.SerialHex(raw)
	app, err := r.Store.BySerial(ctx, o.Serial)
	if err != nil {
		return Plan{}, err
	}
	if app.State != Issued && app.State != Delivered {
		return Plan{}, NotLive.At("serial", NotLive.Clause).Because("案件 %s 当前为“%s”", app.ID, IssueKind.StateTitle(app.State))
	}
	now := r.Now().UTC()
	if o.ID == "" {
		o.ID = newID("R", now)
	}
	if len(o.ID) > 32 || !strings.HasPrefix(o.ID, "R") {
		return Plan{}, BadForm.At("id", BadForm.Clause)
	}
	rec := Record{
		Case:    casework.Case{ID: o.ID, Kind: RevokeKind.Name, State: Drafted},
		Content: enroll.Revocation{ID: o.ID, Serial: o.Serial, Reason: o.Reason, Invalid: o.Invalid}.Bytes(),
		Title:   app.Title, Profile: app.Profile, SignSerial: app.SignSerial, EncSerial: app.EncSerial, CreatedBy: who.ID, CreatedAt: now, UpdatedAt: now,
	}
	p.cases, p.Items = []Record{rec}, []access.Item{itemOf(rec)}
	p.Object = fmt.Sprintf("%s %s（%s，证书 %s，原因 %s）", RevokeKind.Title, rec.ID, rec.Title, o.Serial, o.Reason)
	return p, nil
}

// Statement is what the person is asked to sign.
func (r *Registrar) Statement(p Plan, who access.Person) access.Statement {
	return r.Desk.Draft(who, p.Order.Act, p.Title, p.Object, p.Order.Note, p.Items)
}

// Do verifies the signature over the plan and carries it out, wholly or not at
// all. A refusal of authority is written to the trail.
func (r *Registrar) Do(ctx context.Context, p Plan, claim access.Claim, source string) ([]Record, error) {
	start := r.Now()
	by, err := r.Desk.Verify(ctx, claim, p.Order.Act, p.Title, p.Object, p.Order.Note, p.Items)
	if err != nil {
		return nil, err
	}
	var saves []Save
	var lines []audit.Entry
	for i, rec := range p.cases {
		proof := access.ProofOf(p.Items, i)
		move, err := Kinds[rec.Kind].Next(rec.Case, by, p.Do, p.Items[i], proof, r.Now().UTC())
		if err != nil {
			return nil, err
		}
		saves = append(saves, save(rec, move))
		line := r.line(by.Who(), p.Order.Act, rec.ID, source)
		line.Start, line.Serial, line.Detail = start, rec.SignSerial, p.Order.Note
		line.Proof = alg.Digest(by.Signed().Text, by.Signed().Signature)
		lines = append(lines, line)
	}
	if err := r.Store.Save(ctx, by, saves, lines); err != nil {
		return nil, err
	}
	if p.Do == Approve && r.Wake != nil {
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
	if rec.Kind == IssueKind.Name {
		s.Claim = m.Event.Did == Submit
		s.Release = slices.Contains([]casework.State{Drafted, Rejected, Revoked, Discarded}, m.Event.To)
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
