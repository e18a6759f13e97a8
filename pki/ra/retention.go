package ra

import (
	"context"
	"crypto"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Period is how long what identified a holder is kept after the certificate
// ended, by whom the certificate is for. (保存期限)
type Period struct {
	Audience string `json:"audience"` // of profiles
	Title    string `json:"title"`
	Years    int    `json:"years"`
	Clause   string `json:"clause"`
}

//go:embed retention.json
var periods []byte

// Periods is the table, the longest rule that applies to each.
func Periods() (list []Period, err error) {
	if err := strict.JSON(periods, &list); err != nil {
		return nil, fmt.Errorf("retention.json: %w", err)
	}
	return list, nil
}

// RetentionStore finds and forgets what identified holders. Each call happens
// wholly or not at all.
type RetentionStore interface {
	// Outlived returns up to limit cases of some profiles that hold an identity
	// number and whose certificates ended before a time, in order of ids, after one.
	Outlived(ctx context.Context, profiles []string, before time.Time, after string, limit int) ([]Record, error)
	// ForgetIdentity takes the numbers of cases away for good and notes each under
	// a proposal; those gone before are left out. It returns how many it took.
	ForgetIdentity(ctx context.Context, proposal string, ids []string, at time.Time, line audit.Entry) (int, error)
	// Forgotten returns up to limit ids forgotten under a proposal, in order, after one.
	Forgotten(ctx context.Context, proposal, after string, limit int) ([]string, error)
	// WasForgotten reports when and under which proposal a case's number was forgotten.
	WasForgotten(ctx context.Context, id string) (at time.Time, proposal string, ok bool, err error)
	// DropEvidence takes files away for good and returns how many there were.
	DropEvidence(ctx context.Context, digests [][]byte, line audit.Entry) (int, error)
}

// Retention destroys identity numbers and the files that proved them, after
// their time: one asks, another agrees. (身份材料销毁)
type Retention struct {
	Desk *Registrar
	Key  crypto.Signer // signs the minutes
}

type forgetting struct {
	Audience string `json:"audience"`
	Before   string `json:"before"` // 2016-01-31: certificates that ended on an earlier day, in Beijing
	Reason   string `json:"reason"`
	Count    int    `json:"count,omitempty"`
	Digest   string `json:"digest,omitempty"` // SM3 over the ids, a line each
}

const retentionClause = "电子政务电子认证服务管理办法第二十四条"

// Matter is the destruction: the business administrator asks, the super
// administrator agrees.
func (t *Retention) Matter() proposal.Matter {
	var choices []proposal.Choice
	if list, err := Periods(); err == nil {
		for _, p := range list {
			choices = append(choices, proposal.Choice{Value: p.Audience, Title: fmt.Sprintf("%s（%d 年）", p.Title, p.Years)})
		}
	}
	return proposal.Matter{
		Name: "ra.forget", Title: "销毁到期的身份材料", Clause: retentionClause, Propose: access.RAAdmin, Confirm: access.RASuper,
		Fields: []proposal.Field{{Name: "audience", Title: "证书类别", Kind: "choice", Need: true, Choices: choices}, {Name: "before", Title: "证书失效早于", Kind: "date", Need: true}, {Name: "reason", Title: "原因", Kind: "long", Need: true}},
		Read:   t.read, Do: t.do,
	}
}

// day checks that everything that ended before a day has been kept long enough.
func (t *Retention) day(audience, text string) (p Period, day time.Time, err error) {
	list, err := Periods()
	if err != nil {
		return p, day, err
	}
	i := slices.IndexFunc(list, func(p Period) bool { return p.Audience == audience })
	if i < 0 {
		return p, day, NotDue.At("audience", retentionClause).Because("没有类别 %.20q", audience).ToFix("请选择 government、public 或 system")
	}
	p = list[i]
	if day, err = time.ParseInLocation("2006-01-02", text, beijing); err != nil {
		return p, day, NotDue.At("before", p.Clause).Because("应为日期，如 2016-01-31").ToFix("请填写日期")
	}
	y, m, d := t.Desk.Now().In(beijing).Date()
	if limit := time.Date(y-p.Years, m, d, 0, 0, 0, 0, beijing); day.After(limit) {
		return p, day, NotDue.At("before", p.Clause).Because("%s类须保存至证书失效后 %d 年，至早可销毁 %s 之前失效的", p.Title, p.Years, limit.Format("2006-01-02"))
	}
	return p, day, nil
}

// of are the profiles of an audience.
func (t *Retention) of(audience string) (names []string) {
	for name, p := range t.Desk.Profiles {
		if p.Audience == audience {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// due are the ids of what may be destroyed, all of them: ids are short, and a
// destruction that is too large for memory is asked for by parts.
func (t *Retention) due(ctx context.Context, audience string, day time.Time) (ids []string, err error) {
	for after := ""; len(ids) < forgetMax; {
		page, err := t.Desk.Store.Outlived(ctx, t.of(audience), day, after, PageMax)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			ids, after = append(ids, r.ID), r.ID
		}
		if len(page) < PageMax {
			return ids, nil
		}
	}
	return nil, NotDue.At("before", retentionClause).Because("超过 %d 件", forgetMax).ToFix("请改填更早的日期，分次办理")
}

// forgetMax bounds one destruction.
const forgetMax = 1_000_000

func digestOf(ids []string) string {
	return hex.EncodeToString(alg.Digest([]byte(strings.Join(ids, "\n"))))
}

func (t *Retention) read(ctx context.Context, content []byte) (proposal.Shown, error) {
	var o forgetting
	if err := strict.JSON(content, &o); err != nil {
		return proposal.Shown{}, NotDue.At("content", retentionClause).Because("字段为 audience、before、reason").ToFix("请按字段填写")
	}
	p, day, err := t.day(o.Audience, o.Before)
	if err != nil {
		return proposal.Shown{}, err
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(o.Reason)); n == 0 || n > 200 {
		return proposal.Shown{}, NotDue.At("reason", p.Clause).Because("应写明原因，至多 200 字").ToFix("请填写原因")
	}
	ids, err := t.due(ctx, o.Audience, day)
	if err != nil {
		return proposal.Shown{}, err
	}
	digest := digestOf(ids)
	switch {
	case len(ids) == 0:
		return proposal.Shown{}, NotDue.At("before", p.Clause).Because("没有 %s 之前失效的%s类证书的身份材料", o.Before, p.Title).ToFix("hufu as ra-admin ra due 列出到期的案件")
	case o.Digest != "" && (o.Digest != digest || o.Count != len(ids)):
		return proposal.Shown{}, NotDue.At("digest", p.Clause).Because("清单已变").ToFix("请重新提议")
	}
	o.Count, o.Digest = len(ids), digest
	canonical, err := json.Marshal(o)
	return proposal.Shown{Content: canonical, Title: fmt.Sprintf("%s类，%s 之前失效，%d 件", p.Title, o.Before, o.Count), Lines: []proposal.Line{
		{Name: "证书类别", Value: p.Title}, {Name: "保存期限", Value: fmt.Sprintf("证书失效后 %d 年（%s）", p.Years, p.Clause)}, {Name: "证书失效早于", Value: o.Before},
		{Name: "案件数量", Value: strconv.Itoa(o.Count)}, {Name: "清单 SM3", Value: digest}, {Name: "原因", Value: o.Reason},
	}}, err
}

// ForgetMinutes are what is kept of a destruction. (销毁纪要)
type ForgetMinutes struct {
	Proposal  string      `json:"proposal"`
	Audience  string      `json:"audience"`
	Before    string      `json:"before"`
	Count     int         `json:"count"`
	Digest    string      `json:"digest"`
	Reason    string      `json:"reason"`
	At        string      `json:"at"`
	Signed    []Statement `json:"signed"`
	Signature []byte      `json:"signature"` // of the registration system, over the JSON with this empty
}

// Statement is what one person signed of a destruction.
type Statement struct {
	Text      string `json:"text"`
	Signature []byte `json:"signature"`
	Cert      []byte `json:"cert"`
}

// Verify checks minutes against the registration system's certificate.
func (m ForgetMinutes) Verify(by *cert.Certificate) error {
	sig := m.Signature
	m.Signature = nil
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return alg.Verify(by.PublicKey(), text, sig)
}

// do forgets what is on the list. Interrupted, it goes on.
func (t *Retention) do(ctx context.Context, r proposal.Record) ([]byte, error) {
	var o forgetting
	if err := json.Unmarshal(r.Content, &o); err != nil {
		return nil, err
	}
	_, day, err := t.day(o.Audience, o.Before)
	if err != nil {
		return nil, err
	}
	begun, err := t.Desk.Store.Forgotten(ctx, r.ID, "", 1)
	if err != nil {
		return nil, err
	}
	if len(begun) == 0 {
		if _, err := t.read(ctx, r.Content); err != nil { // another may have come first
			return nil, err
		}
	}
	ids, err := t.due(ctx, o.Audience, day)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(ids, PageMax) {
		if _, err := t.Desk.Store.ForgetIdentity(ctx, r.ID, part, t.Desk.Now(), t.line(r.ID, "")); err != nil {
			return nil, fmt.Errorf("forgetting identity numbers: %w", err)
		}
	}
	gone, err := t.forgotten(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if len(gone) != o.Count || digestOf(gone) != o.Digest {
		return nil, errors.New("what was forgotten is not what was agreed")
	}
	if err := t.files(ctx, r.ID, gone); err != nil {
		return nil, err
	}
	return t.minutes(r, o)
}

func (t *Retention) line(id, detail string) audit.Entry {
	now := t.Desk.Now()
	return audit.Entry{Start: now, End: now, Who: "system:ra", Role: "machine", Item: "ra.forget", Object: id, Result: audit.Done, Detail: detail}
}

func (t *Retention) forgotten(ctx context.Context, id string) (all []string, err error) {
	for after := ""; ; {
		page, err := t.Desk.Store.Forgotten(ctx, id, after, PageMax)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) < PageMax {
			return all, nil
		}
		after = page[len(page)-1]
	}
}

// files takes away what proved the numbers, unless a case that is still kept
// names it.
func (t *Retention) files(ctx context.Context, id string, gone []string) error {
	named := map[string]bool{}
	for _, one := range gone {
		rec, err := t.Desk.Store.Case(ctx, one)
		if err != nil {
			return err
		}
		app, err := applicationOf(rec.Content)
		if err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
		for _, e := range app.Check.Evidence {
			named[e] = true
		}
	}
	if len(named) == 0 {
		return nil
	}
	if err := t.keep(ctx, named); err != nil {
		return err
	}
	var list [][]byte
	for e := range named {
		if raw, err := hex.DecodeString(e); err == nil {
			list = append(list, raw)
		}
	}
	_, err := t.Desk.Store.DropEvidence(ctx, list, t.line(id, fmt.Sprintf("查验材料 %d 份", len(list))))
	return err
}

// longest is the longest period: a case without a number of its own, such as a
// revocation, keeps the files it names that long.
const longest = 10

// keep strikes out files that cases still kept name. It walks all cases: a
// destruction happens once a year.
func (t *Retention) keep(ctx context.Context, named map[string]bool) error {
	young := t.Desk.Now().AddDate(-longest, 0, 0)
	for q := (Query{Limit: PageMax}); ; {
		page, err := t.Desk.Store.Find(ctx, q)
		if err != nil {
			return err
		}
		for _, rec := range page {
			if _, _, dead, err := t.Desk.Store.WasForgotten(ctx, rec.ID); err != nil {
				return err
			} else if dead || rec.Identity.Number.Blob == nil && rec.UpdatedAt.Before(young) {
				continue
			}
			for e := range named {
				if strings.Contains(string(rec.Content), e) {
					delete(named, e)
				}
			}
		}
		if len(page) < PageMax || len(named) == 0 {
			return nil
		}
		q.After = page[len(page)-1].ID
	}
}

func (t *Retention) minutes(r proposal.Record, o forgetting) ([]byte, error) {
	m := ForgetMinutes{Proposal: r.ID, Audience: o.Audience, Before: o.Before, Count: o.Count, Digest: o.Digest, Reason: o.Reason, At: t.Desk.Now().UTC().Format(time.RFC3339)}
	for _, e := range r.Events {
		m.Signed = append(m.Signed, Statement{string(e.Signed.Text), e.Signed.Signature, e.Signed.Cert})
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if m.Signature, err = alg.Sign(t.Key, text); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// Outlived is what may be destroyed of one class: a dry run, nothing changes.
type Outlived struct {
	Period
	Before string   `json:"before"`
	Total  int      `json:"total"`
	Digest string   `json:"digest"`
	Cases  []string `json:"cases"` // the first PageMax
}

// Dry lists what is due of every class, on the newest day that may be named.
func (t *Retention) Dry(ctx context.Context) ([]Outlived, error) {
	list, err := Periods()
	if err != nil {
		return nil, err
	}
	out := make([]Outlived, len(list))
	for i, p := range list {
		y, m, d := t.Desk.Now().In(beijing).Date()
		day := time.Date(y-p.Years, m, d, 0, 0, 0, 0, beijing)
		ids, err := t.due(ctx, p.Audience, day)
		if err != nil {
			return nil, err
		}
		out[i] = Outlived{p, day.Format("2006-01-02"), len(ids), digestOf(ids), append([]string{}, ids[:min(len(ids), PageMax)]...)}
	}
	return out, nil
}
