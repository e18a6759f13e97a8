package ra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/crl"
)

// Forecast is the load a bulk will be. (预计负荷)
type Forecast struct {
	Certificates int       `json:"certificates"`         // both of a pair
	Keys         int       `json:"keys,omitempty"`       // encryption keys to be taken from the pool
	PerSecond    float64   `json:"per_second,omitempty"` // cases, as last measured; 0 if there was nothing to measure
	Samples      int       `json:"samples"`              // intervals measured
	Seconds      float64   `json:"seconds,omitempty"`    // at that pace
	AtMost       float64   `json:"at_most,omitempty"`    // as lists grow: measured, five thousand take twice as long as the first ones promise
	Done         time.Time `json:"done,omitzero"`        // at the latest, if it were confirmed at once
	Entries      int       `json:"crl_entries"`          // more in the full list; fewer when negative
	Bytes        int       `json:"crl_bytes"`            // the same, in bytes of DER
}

// paceMin is how many intervals a measured rate needs; paceGap the longest
// interval that still counts as work and not as waiting for it.
const (
	paceMin = 10
	paceGap = time.Second
)

// forecast reckons from the certificates themselves and the pace of the last
// changes of status.
func (r *Registrar) forecast(ctx context.Context, do casework.Action, reason string, targets []Record, now time.Time) (f Forecast, err error) {
	for _, rec := range targets {
		held := rec.State == IssuedHeld || rec.State == DeliveredHeld
		for _, serial := range []string{rec.SignSerial, rec.EncSerial} {
			if serial == "" {
				continue
			}
			f.Certificates++
			size := entrySize(serial, now, reason)
			switch {
			case do == Unfreeze:
				f.Entries, f.Bytes = f.Entries-1, f.Bytes-size
			case !held: // else the entry is there and its reason changes
				f.Entries, f.Bytes = f.Entries+1, f.Bytes+size
			}
		}
	}
	var times []time.Time
	for _, kind := range []string{RevokeKind.Name, FreezeKind.Name, UnfreezeKind.Name} {
		list, err := r.Store.Find(ctx, Query{Kind: kind, State: Done, Limit: PageMax})
		if err != nil {
			return f, err
		}
		for _, rec := range list {
			times = append(times, rec.UpdatedAt)
		}
	}
	f.reckon(times, len(targets), now)
	return f, nil
}

// reckon fills in the pace and how long so many take at it.
func (f *Forecast) reckon(times []time.Time, n int, now time.Time) {
	f.pace(times)
	if f.PerSecond > 0 {
		f.Seconds = float64(n) / f.PerSecond
		f.AtMost = f.Seconds * (1 + float64(n)/ActMax)
		f.Done = now.Add(time.Duration(f.AtMost * float64(time.Second)))
	}
}

// pace is the rate of events that came one after the other.
func (f *Forecast) pace(times []time.Time) {
	slices.SortFunc(times, time.Time.Compare)
	var busy time.Duration
	n := 0
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < paceGap {
			busy, n = busy+gap, n+1
		}
	}
	if f.Samples = n; n >= paceMin && busy > 0 {
		f.PerSecond = float64(n) / busy.Seconds()
	}
}

func entrySize(serial string, at time.Time, reason string) int {
	raw := make([]byte, len(serial)/2)
	_, _ = fmt.Sscanf(serial, "%x", &raw) // a serial on record is hex
	return len(crl.Entry{Serial: raw, At: at, Reason: crl.Reasons[reason]}.Bytes())
}

// planBulk is an act on all of a bulk: proposing it, what becomes of the
// proposal, and holding a batch back.
func (r *Registrar) planBulk(ctx context.Context, p Plan, who access.Person) (Plan, error) {
	switch p.Do {
	case Pause, Resume:
		return r.planHold(ctx, p, who)
	case Revoke, Freeze, Unfreeze:
		return r.planProposal(ctx, p, who)
	case Approve, Reject, Withdraw, Cancel:
	default:
		return Plan{}, NoAct.At("act", NoAct.Clause).Because("%q 不能对整批办理", p.Order.Act)
	}
	b, err := r.Store.Bulk(ctx, p.Order.Bulk)
	if err != nil {
		return Plan{}, err
	}
	ids, err := r.concerned(ctx, b.ID, p.Do)
	if err != nil {
		return Plan{}, err
	}
	for _, id := range ids {
		rec, err := r.Store.Case(ctx, id)
		if err != nil {
			return Plan{}, err
		}
		if err := r.may(ctx, rec, p.Do, who); err != nil {
			return Plan{}, err
		}
		p.cases, p.Items = append(p.cases, rec), append(p.Items, itemOf(rec))
	}
	if p.Do == Approve && p.Order.Count != len(p.cases) {
		return Plan{}, BadCount.At("count", BadCount.Clause).Because("输入 %d，应为待核准的件数", p.Order.Count)
	}
	p.Object = b.object(len(p.cases))
	return p, nil
}

// concerned are the cases of a bulk an act is about.
func (r *Registrar) concerned(ctx context.Context, bulk string, do casework.Action) (ids []string, err error) {
	if do == Cancel {
		held, err := r.Store.Held(ctx, bulk)
		if err != nil {
			return nil, err
		}
		if !held {
			return nil, NotHeld.At("bulk", NotHeld.Clause).Because("%s", bulk)
		}
		ids, err = r.Store.Unasked(ctx, bulk)
		if err != nil {
			return nil, err
		}
	} else {
		err = r.each(ctx, Query{Batch: bulk, State: Submitted}, func(rec Record) error {
			ids = append(ids, rec.ID)
			return nil
		})
		slices.Sort(ids)
	}
	if err == nil && len(ids) == 0 {
		err = NothingLeft.At("bulk", NothingLeft.Clause).Because("%s 没有可以“%s”的案件", bulk, acts[do])
	}
	return ids, err
}

// planProposal writes the cases a bulk opens, as they were tried; if any could
// not be opened now, the trial is out of date.
func (r *Registrar) planProposal(ctx context.Context, p Plan, who access.Person) (Plan, error) {
	if !who.Holds(access.RAClerk) {
		return Plan{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("“%s”须由录入员办理", acts[p.Do])
	}
	b, err := r.Store.Bulk(ctx, p.Order.Bulk)
	switch {
	case err != nil:
		return Plan{}, err
	case b.Act != p.Order.Act:
		return Plan{}, NoAct.At("act", NoAct.Clause).Because("%s 试算的是%s", b.ID, acts[bulkActs[b.Act]])
	case b.By != who.ID:
		return Plan{}, NotYours.At("bulk", NotYours.Clause).Because("%s 由 %s 试算", b.ID, b.By).ToFix("请由试算人提出，或自行试算")
	case b.Targets == 0:
		return Plan{}, NothingLeft.At("bulk", NothingLeft.Clause).Because("%s 没有可以变更的证书", b.ID).ToFix("请换查询条件重新试算")
	}
	judge, err := r.judge(ctx, p.Do, b.Asker)
	if err != nil {
		return Plan{}, err
	}
	p.Order.Note = b.Note
	o := Order{Reason: b.Reason, Ground: b.Ground, Asker: b.Asker, Evidence: b.Evidence}
	for _, row := range b.Rows {
		if row.ID == "" {
			continue
		}
		app, err := r.Store.Case(ctx, row.Case)
		if err != nil {
			return Plan{}, err
		}
		if no := judge(app); no != nil {
			return Plan{}, Outdated.At("bulk", Outdated.Clause).Because("证书 %s：%s", row.Serial, no.Report().Text)
		}
		o.ID, o.Serial = row.ID, row.Serial
		rec := statusCase(p.Do, o, app, who, r.Now().UTC())
		rec.Batch, rec.Row = b.ID, len(p.cases)+1
		p.cases, p.Items = append(p.cases, rec), append(p.Items, itemOf(rec))
	}
	p.Object = b.object(len(p.cases))
	return p, nil
}

// object names a bulk in a statement: how many, which, and why.
func (b Bulk) object(n int) string {
	why := "原因 " + b.Reason
	if g, ok := groundOf(b.Ground); ok {
		why += "，依据 " + g.Text
	}
	return fmt.Sprintf("批量变更 %s（%s，%s，申请方 %s）：%d 件，条件：%s", b.ID, acts[bulkActs[b.Act]], why, Askers[b.Asker], n, b.Query)
}

// String is the query in people's words.
func (q BulkQuery) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	add("模板", q.Profile)
	add("单位", q.Unit)
	add("策略", q.Policy)
	add("签发自", day(q.From))
	add("签发早于", day(q.To))
	add("到期早于", day(q.Expires))
	add("算法", q.Algorithm)
	add("批次", q.Batch)
	return strings.Join(parts, "，")
}

// holders are the roles that may hold a batch back and let it go on.
var holders = []access.Role{access.RAClerk, access.RAReviewer, access.RAAdmin}

// planHold is holding a batch back, or letting it go on; the item names it with
// the number of its cases that are not yet done.
func (r *Registrar) planHold(ctx context.Context, p Plan, who access.Person) (Plan, error) {
	if !slices.ContainsFunc(holders, who.Holds) {
		return Plan{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("批次由录入员、审核员或业务管理员暂停和恢复")
	}
	id := p.Order.Bulk
	var err error
	if strings.HasPrefix(id, BulkPrefix) {
		_, err = r.Store.Bulk(ctx, id)
	} else {
		_, err = r.Store.Batch(ctx, id)
	}
	if err != nil {
		return Plan{}, err
	}
	held, err := r.Store.Held(ctx, id)
	if err != nil {
		return Plan{}, err
	}
	if held == (p.Do == Pause) {
		return Plan{}, casework.NoSuchStep.At("bulk", casework.NoSuchStep.Clause).Because("批次 %s 现在%s", id, map[bool]string{true: "已暂停", false: "没有暂停"}[held])
	}
	p.Object = "批次 " + id
	p.Items = []access.Item{{Kind: "ra.batch", ID: id, Digest: alg.Digest([]byte(id))}}
	return p, nil
}

func (r *Registrar) hold(ctx context.Context, p Plan, by access.Command, source string) error {
	line := r.line(by.Who(), p.Order.Act, p.Order.Bulk, source)
	line.Detail, line.Proof = p.Order.Note, alg.Digest(by.Signed().Text, by.Signed().Signature)
	if err := r.Store.Hold(ctx, by, p.Order.Bulk, p.Do == Pause, line); err != nil {
		return err
	}
	if p.Do == Resume && r.Wake != nil {
		r.Wake()
	}
	return nil
}

// Result is a row of a bulk with what became of it.
type Result struct {
	BulkRow
	State  casework.State
	Answer *refusal.Report // what the CA said no with
}

// Progress is how far a bulk has come.
type Progress struct {
	Counts map[casework.State]int
	Held   bool
}

// Progress tells how far a bulk, or a sheet's batch, has come.
func (r *Registrar) Progress(ctx context.Context, batch string) (p Progress, err error) {
	if p.Counts, err = r.Store.BatchCounts(ctx, batch); err != nil {
		return p, err
	}
	p.Held, err = r.Store.Held(ctx, batch)
	return p, err
}

// Results are the rows of a bulk in order, with the case each opened.
func (r *Registrar) Results(ctx context.Context, id string) ([]Result, error) {
	b, err := r.Store.Bulk(ctx, id)
	if err != nil {
		return nil, err
	}
	became := map[string]Record{}
	err = r.each(ctx, Query{Batch: id}, func(rec Record) error {
		became[rec.ID] = Record{Case: rec.Case, Trouble: rec.Trouble, UpdatedAt: rec.UpdatedAt}
		return nil
	})
	out := make([]Result, len(b.Rows))
	for i, row := range b.Rows {
		rec := became[row.ID]
		out[i] = Result{row, rec.State, rec.Trouble}
	}
	return out, err
}
