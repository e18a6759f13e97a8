package ra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Bulk is a change of many certificates found by a query: tried first, then
// proposed by one person and confirmed by another, who repeats the number.
// What it changes is fixed when it is tried. (批量变更)
type Bulk struct {
	ID       string          `json:"id"`
	Act      string          `json:"act"` // a key of bulkActs
	Query    BulkQuery       `json:"query"`
	Reason   string          `json:"reason,omitempty"`
	Ground   string          `json:"ground,omitempty"`
	Asker    string          `json:"asker,omitempty"`
	Note     string          `json:"note,omitempty"`
	Evidence []string        `json:"evidence,omitempty"`
	By       access.PersonID `json:"by"`
	At       time.Time       `json:"at"`
	Body     string          `json:"body,omitempty"` // registration body that tried it
	Found    int             `json:"found"`          // certificates or pairs the query finds
	Targets  int             `json:"targets"`        // of them, to be changed by this one
	Refused  int             `json:"refused"`        // of them, that cannot be
	More     int             `json:"more"`           // of them, beyond ActMax: for a further one
	Forecast Forecast        `json:"forecast"`
	Rows     []BulkRow       `json:"rows,omitempty"`
}

// BulkRow is one certificate or pair the query finds: the case to be opened for
// it, or why it cannot be changed.
type BulkRow struct {
	Case    string          `json:"case"`   // that issued it
	Serial  string          `json:"serial"` // of the signing certificate
	ID      string          `json:"id,omitempty"`
	Refusal *refusal.Report `json:"refusal,omitempty"`
}

// BulkQuery finds issued certificates. Empty fields match all; one at least is
// given.
type BulkQuery struct {
	Profile   string    `json:"profile,omitempty"`
	Unit      string    `json:"unit,omitempty"`      // O of the subject, whole
	Policy    string    `json:"policy,omitempty"`    // certificate policy, dotted
	From      time.Time `json:"from,omitzero"`       // issued at or after
	To        time.Time `json:"to,omitzero"`         // issued before
	Expires   time.Time `json:"expires,omitzero"`    // ends before
	Algorithm string    `json:"algorithm,omitempty"` // of the key: "SM2"
	Batch     string    `json:"batch,omitempty"`     // of the application
}

// BulkStore keeps trials, and what of a batch is held back.
type BulkStore interface {
	// KeepBulk stores a trial with its line.
	KeepBulk(ctx context.Context, b Bulk, line audit.Entry) error
	// Bulk returns one with its rows; NoCase if there is none.
	Bulk(ctx context.Context, id string) (Bulk, error)
	// Bulks lists them without rows, newest first, those after an id.
	Bulks(ctx context.Context, within []string, after string, limit int) ([]Bulk, error)
	// Hold holds the approved cases of a batch back or lets them go on: Waiting
	// passes over them. casework.Stale if it is so already.
	Hold(ctx context.Context, by access.Command, batch string, hold bool, line audit.Entry) error
	// Held reports whether a batch is held back.
	Held(ctx context.Context, batch string) (bool, error)
	// Ask puts on record, before it is done, that the CA is asked about approved
	// cases, and returns those it may be asked about: of batches not held back, or
	// asked about before. They are carried to the end though the batch is held
	// back, and Save refuses to cancel them (casework.Stale).
	Ask(ctx context.Context, ids []string) ([]string, error)
	// Unasked lists the approved cases of a batch the CA was not asked about.
	Unasked(ctx context.Context, batch string) ([]string, error)
}

// scanMax bounds the cases one trial reads.
const scanMax = 1_000_000

// bulkActs are the changes that can be made to many at once.
var bulkActs = map[string]casework.Action{"ra.revoke": Revoke, "ra.freeze": Freeze, "ra.unfreeze": Unfreeze}

// BulkPrefix begins the number of every bulk.
const BulkPrefix = "M"

// TryBulk finds what a bulk would change, and why it cannot change the rest,
// and forecasts the load; nothing changes but that the trial is on record.
func (r *Registrar) TryBulk(ctx context.Context, b Bulk, who access.Person, source string) (Bulk, error) {
	do, ok := bulkActs[b.Act]
	switch {
	case Campaign(b.Act) && who.Holds(access.RAClerk):
		return r.tryCampaign(ctx, b, who, source)
	case !ok && !Campaign(b.Act):
		return b, NoAct.At("act", NoAct.Clause).Because("%.40q 不能批量办理", b.Act).ToFix("可用：ra.revoke、ra.freeze、ra.unfreeze、ra.renew、ra.extend")
	case !who.Holds(access.RAClerk):
		return b, casework.NotYours.At("role", casework.NotYours.Clause).Because("批量变更由录入员试算和提出")
	}
	if err := b.Query.check(); err != nil {
		return b, err
	}
	o := Order{Reason: b.Reason, Ground: b.Ground, Asker: b.Asker, Note: b.Note, Evidence: b.Evidence}
	if err := o.checkStatus(do); err != nil {
		return b, err
	}
	if do == Revoke && o.Ground == "" {
		return b, BadReason.At("ground", "电子认证服务管理办法（征求意见稿） 第二十五条").Because("批量撤销须写明撤销依据").ToFix("请选择撤销依据，如 unsafe、law、court")
	}
	b.Reason, b.Asker, b.Note = o.Reason, o.Asker, o.Note
	now := r.Now().UTC()
	b.ID, b.By, b.At, b.Rows = newID(BulkPrefix, now), who.ID, now, nil
	var err error
	if b.Body, err = r.bodyOf(ctx, who); err != nil {
		return b, err
	}
	found, err := r.search(ctx, b.Query)
	if err != nil {
		return b, err
	}
	if b.Found = len(found); b.Found == 0 {
		return b, NotLive.At("query", NotLive.Clause).Because("没有符合条件的有效证书").ToFix("请放宽条件后重新试算")
	}
	judge, err := r.judge(ctx, do, b.Asker)
	if err != nil {
		return b, err
	}
	var targets []Record
	for _, rec := range found {
		row := BulkRow{Case: rec.ID, Serial: rec.SignSerial}
		switch err := judge(rec); {
		case err != nil:
			report := err.Report()
			row.Refusal = &report
			b.Refused++
		case len(targets) == ActMax:
			b.More++
			continue
		default:
			targets = append(targets, rec)
			row.ID = fmt.Sprintf("R%s-%04d", strings.TrimPrefix(b.ID, BulkPrefix), len(targets))
		}
		b.Rows = append(b.Rows, row)
	}
	b.Targets = len(targets)
	if b.Forecast, err = r.forecast(ctx, do, b.Reason, targets, now); err != nil {
		return b, err
	}
	return b, r.Store.KeepBulk(ctx, b, r.line(who, "ra.bulk.try", b.ID, source))
}

// check refuses a query that would find everything, or nothing by its form.
func (q BulkQuery) check() error {
	for _, f := range []struct{ name, value string }{{"profile", q.Profile}, {"unit", q.Unit}, {"policy", q.Policy}, {"batch", q.Batch}} {
		if len([]rune(f.value)) > 2*WordMax {
			return BadQuery.At("query."+f.name, BadQuery.Clause).Because("超过 %d 字", 2*WordMax)
		}
	}
	if q.Algorithm != "" && q.Algorithm != "SM2" {
		return BadQuery.At("query.algorithm", BadQuery.Clause).Because("%.40q 不是本系统签发的密钥算法", q.Algorithm).ToFix("可用：SM2")
	}
	if q == (BulkQuery{}) {
		return BadQuery.At("query", BadQuery.Clause).Because("没有任何条件")
	}
	return nil
}

var issuedStates = []casework.State{Issued, Delivered, IssuedHeld, DeliveredHeld}

// search reads every issued certificate and keeps those that match.
func (r *Registrar) search(ctx context.Context, q BulkQuery) (found []Record, err error) {
	now := r.Now()
	read := 0
	err = r.each(ctx, Query{States: issuedStates, Profile: q.Profile, Batch: q.Batch}, func(rec Record) error {
		if read++; read > scanMax {
			return TooMany.At("query", TooMany.Clause).Because("需要查看的证书超过 %d 张", scanMax).ToFix("请按模板或批次缩小范围")
		}
		ok, err := q.matches(rec, now)
		if ok {
			rec.Content, rec.Reply.Enc, rec.Reply.Sealed, rec.Reply.Sign = nil, nil, nil, nil
			found = append(found, rec)
		}
		return err
	})
	return found, err
}

// each calls f with every case a query finds, page by page.
func (r *Registrar) each(ctx context.Context, q Query, f func(Record) error) error {
	for q.Limit = PageMax; ; {
		page, err := r.Store.Find(ctx, q)
		if err != nil {
			return err
		}
		for _, rec := range page {
			if err := f(rec); err != nil {
				return err
			}
		}
		if len(page) < q.Limit {
			return nil
		}
		q.After = page[len(page)-1].ID
	}
}

// matches reads the certificate itself: what it says is what counts. One that
// has ended by itself needs no change.
func (q BulkQuery) matches(rec Record, now time.Time) (bool, error) {
	c, err := cert.Parse(rec.Reply.Sign)
	if err != nil {
		return false, fmt.Errorf("certificate of %s: %w", rec.ID, err)
	}
	switch {
	case now.After(c.NotAfter),
		!q.From.IsZero() && c.NotBefore.Before(q.From), !q.To.IsZero() && !c.NotBefore.Before(q.To),
		!q.Expires.IsZero() && !c.NotAfter.Before(q.Expires):
		return false, nil
	}
	if q.Unit != "" {
		subject, err := dn.Parse(c.Subject)
		if err != nil || subject.O != q.Unit {
			return false, err
		}
	}
	return q.Policy == "" || slices.Contains(c.Policies(), q.Policy), nil
}

// judge tells which certificates an act can be done to, from one look at the
// cases under way: it is asked about thousands.
func (r *Registrar) judge(ctx context.Context, do casework.Action, asker string) (func(Record) *refusal.Refusal, error) {
	open, askers := map[string]Record{}, map[string]string{}
	err := r.each(ctx, Query{States: []casework.State{Asked, Submitted, Approved}}, func(rec Record) error {
		if AboutStatus(rec.Kind) {
			open[rec.SignSerial] = rec
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if do == Unfreeze {
		err = r.each(ctx, Query{Kind: FreezeKind.Name, State: Done}, func(rec Record) error {
			var c enroll.Revocation
			if _, newer := askers[rec.SignSerial]; !newer {
				if err := enroll.Decode(rec.Content, &c); err != nil {
					return err
				}
				askers[rec.SignSerial] = c.Asker
			}
			return nil
		})
	}
	return func(rec Record) *refusal.Refusal {
		if !slices.Contains(statusOf[do].from, rec.State) {
			return NotLive.At("serial", NotLive.Clause).Because("案件 %s 当前为“%s”，不能%s", rec.ID, states[rec.State], acts[do])
		}
		if other, ok := open[rec.SignSerial]; ok {
			return Pending.At("serial", Pending.Clause).Because("%s %s 当前为“%s”", Kinds[other.Kind].Title, other.ID, states[other.State])
		}
		if was, ok := askers[rec.SignSerial]; ok && was != asker {
			return NotAsker.At("asker", NotAsker.Clause).Because("冻结由%s提出", Askers[was])
		}
		return nil
	}, err
}
