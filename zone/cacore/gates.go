package cacore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
)

// gates are the changes to what may be issued: a qualification and a practice
// statement are entered by two operators, a suspension works at once on one
// administrator's signature and is lifted by two.
type gates struct {
	store    *castore.Store
	profiles profile.Set
	now      func() time.Time
}

// opening is what a proposal to open a gate says.
type opening struct {
	Policy        string `json:"policy"`
	Qualification string `json:"qualification"`
	From          string `json:"from"` // 2026-01-01
	To            string `json:"to"`
	CPS           string `json:"cps"`
}

// halt is what a proposal to suspend or resume says.
type halt struct {
	Policy string `json:"policy"`
	Reason string `json:"reason"`
}

const gateClause = "电子政务电子认证服务管理办法 第四条、第十六条"

func (g *gates) matters() []proposal.Matter {
	policy := proposal.Field{Name: "policy", Title: "证书策略", Kind: "choice", Need: true}
	for _, name := range g.names() {
		p := g.profiles[name]
		at := slices.IndexFunc(policy.Choices, func(c proposal.Choice) bool { return c.Value == p.Policy })
		if at >= 0 { // profiles that differ in form only are of one policy
			policy.Choices[at].Title += "、" + p.Title
			continue
		}
		policy.Choices = append(policy.Choices, proposal.Choice{Value: p.Policy, Title: p.Policy + " " + p.Title})
	}
	reason := proposal.Field{Name: "reason", Title: "原因", Kind: "long", Need: true}
	return []proposal.Matter{
		{
			Name: "gate.open", Title: "登记资质与业务规则", Clause: gateClause, Propose: access.CAOperator, Confirm: access.CAOperator,
			Fields: []proposal.Field{policy, {Name: "qualification", Title: "资质证书编号", Kind: "text", Need: true}, {Name: "from", Title: "资质有效期起", Kind: "date", Need: true},
				{Name: "to", Title: "资质有效期止", Kind: "date", Need: true}, {Name: "cps", Title: "已公布的业务规则版本", Kind: "text", Need: true}},
			Read: g.readOpening, Do: g.open,
		},
		{
			Name: "gate.suspend", Title: "暂停签发", Clause: gateClause, Propose: access.CAAdmin, Fields: []proposal.Field{policy, reason},
			Read: g.readHalt(true), Do: g.halt(true),
		},
		{
			Name: "gate.resume", Title: "恢复签发", Clause: gateClause, Propose: access.CAAdmin, Confirm: access.CASuper, Fields: []proposal.Field{policy, reason},
			Read: g.readHalt(false), Do: g.halt(false),
		},
	}
}

func (g *gates) names() (list []string) {
	for name, p := range g.profiles {
		if !p.Internal {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func (g *gates) known(policy string) error {
	for _, name := range g.names() {
		if g.profiles[name].Policy == policy {
			return nil
		}
	}
	return BadGate.At("policy", gateClause).Because("%.60q 不是证书模板的策略", policy)
}

// text refuses what is empty or too long to be a number or a version.
func text(field, v string, most int) error {
	if n := utf8.RuneCountInString(v); n == 0 || n > most || strings.TrimSpace(v) != v {
		return BadGate.At(field, gateClause).Because("应为 1 至 %d 字，首尾无空白", most)
	}
	return nil
}

func (g *gates) readOpening(_ context.Context, content []byte) (proposal.Shown, error) {
	var o opening
	if err := strict.JSON(content, &o); err != nil {
		return proposal.Shown{}, BadGate.At("content", gateClause).Because("字段为 policy、qualification、from、to、cps")
	}
	for _, err := range []error{g.known(o.Policy), text("qualification", o.Qualification, 100), text("cps", o.CPS, 100)} {
		if err != nil {
			return proposal.Shown{}, err
		}
	}
	if _, _, err := o.period(); err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(o)
	return proposal.Shown{Content: canonical, Title: o.Policy, Lines: []proposal.Line{
		{Name: "证书策略", Value: o.Policy}, {Name: "资质证书编号", Value: o.Qualification}, {Name: "资质有效期", Value: o.From + " 至 " + o.To}, {Name: "业务规则", Value: o.CPS},
	}}, err
}

// period is from the beginning of the first day to the end of the last, in
// Beijing.
func (o opening) period() (from, to time.Time, err error) {
	beijing := time.FixedZone("", 8*60*60)
	from, err1 := time.ParseInLocation("2006-01-02", o.From, beijing)
	to, err2 := time.ParseInLocation("2006-01-02", o.To, beijing)
	if err1 != nil || err2 != nil || to.Before(from) {
		return from, to, BadGate.At("to", gateClause).Because("起止日期应如 2026-01-01，止不早于起")
	}
	return from, to.AddDate(0, 0, 1).Add(-time.Millisecond), nil
}

func (g *gates) open(ctx context.Context, r proposal.Record) ([]byte, error) {
	var o opening
	if err := json.Unmarshal(r.Content, &o); err != nil {
		return nil, err
	}
	from, to, err := o.period()
	if err != nil {
		return nil, err
	}
	was, _, err := g.store.Gate(ctx, o.Policy)
	if err != nil {
		return nil, err
	}
	gate := ca.Gate{Policy: o.Policy, Qualification: o.Qualification, From: from, To: to, CPS: o.CPS, Suspended: was.Suspended, Note: was.Note} // a suspension is lifted by itself
	return nil, g.store.SetGate(ctx, gate, g.line("gate.open", r.ID, o.Policy))
}

func (g *gates) line(item, id, policy string) audit.Entry {
	now := g.now()
	return audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: item, Object: id, Result: audit.Done, Detail: policy}
}

func (g *gates) readHalt(suspend bool) func(ctx context.Context, content []byte) (proposal.Shown, error) {
	return func(ctx context.Context, content []byte) (proposal.Shown, error) {
		var h halt
		if err := strict.JSON(content, &h); err != nil {
			return proposal.Shown{}, BadGate.At("content", gateClause).Because("字段为 policy、reason")
		}
		for _, err := range []error{g.known(h.Policy), text("reason", h.Reason, 200)} {
			if err != nil {
				return proposal.Shown{}, err
			}
		}
		gate, ok, err := g.store.Gate(ctx, h.Policy)
		if err != nil {
			return proposal.Shown{}, err
		}
		if !ok || gate.Suspended == suspend {
			return proposal.Shown{}, BadGate.At("policy", gateClause).Because("%s 的状态不需要此变更", h.Policy)
		}
		canonical, err := json.Marshal(h)
		return proposal.Shown{Content: canonical, Title: h.Policy, Lines: []proposal.Line{{Name: "证书策略", Value: h.Policy}, {Name: "原因", Value: h.Reason}}}, err
	}
}

func (g *gates) halt(suspend bool) func(ctx context.Context, r proposal.Record) ([]byte, error) {
	return func(ctx context.Context, r proposal.Record) ([]byte, error) {
		var h halt
		if err := json.Unmarshal(r.Content, &h); err != nil {
			return nil, err
		}
		gate, ok, err := g.store.Gate(ctx, h.Policy)
		if err != nil || !ok {
			return nil, err
		}
		gate.Suspended, gate.Note = suspend, h.Reason
		item := map[bool]string{true: "gate.suspend", false: "gate.resume"}[suspend]
		return nil, g.store.SetGate(ctx, gate, g.line(item, r.ID, h.Policy))
	}
}

// OpenGates puts the gates of an evaluation on record: every policy of the
// profiles people apply for, under a qualification that says it is a sample.
func OpenGates(ctx context.Context, store *castore.Store, set profile.Set, cps string, from time.Time) error {
	g := &gates{store: store, profiles: set, now: func() time.Time { return from }}
	for _, name := range g.names() {
		gate := ca.Gate{Policy: set[name].Policy, Qualification: "评估样例（不是资质）", From: from.Add(-time.Hour), To: from.AddDate(30, 0, 0), CPS: cps}
		if err := store.SetGate(ctx, gate, g.line("gate.open", "ceremony", fmt.Sprint(gate.Policy))); err != nil {
			return err
		}
	}
	return nil
}
