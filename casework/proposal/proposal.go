// Package proposal changes what a system is: its people, its settings, what it
// may issue. (变更审批)
//
// One person proposes, another agrees, the system carries it out: the same
// three steps for every matter, each a signed command on record with its audit
// line. What is carried out is carried out once, however often it is begun
// (GM/T 0034 §10.2.3.1).
package proposal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
)

// Matter is one sort of change.
type Matter struct {
	Name    string // "people.add:ca.operator"
	Title   string // 新增业务操作员
	Clause  string // the rule that asks for two people, or gives the power
	Propose access.Role
	Confirm access.Role // empty where one signature is enough
	// Quorum asks that many people of another role, none of whom proposed or
	// confirmed, to release what was agreed: each with a share of a secret where
	// there is an Accept, otherwise by their signatures.
	Quorum  int
	Release access.Role
	// Accept checks a share and keeps it, in the transaction of the release.
	Accept func(tx *sqldb.Tx, r Record, who access.Person, share []byte) error
	Fields []Field // what a form asks for
	// Current fills the form with how things are; may be nil.
	Current func(ctx context.Context) (map[string]string, error)
	// Read checks a content strictly against the state of things now and says what
	// people see of it. Its Content is canonical: what is signed. With a refusal
	// come the lines that could be read all the same.
	Read func(ctx context.Context, content []byte) (Shown, error)
	// Do carries a change out and returns what came of it. Called again for the
	// same record it changes nothing more and returns the same.
	Do func(ctx context.Context, r Record) (result []byte, err error)
}

// Field is one thing a proposal's form asks for.
type Field struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Kind    string   `json:"kind"` // "text", "pem", "lines", "number", "date", "choice", "long"
	Hint    string   `json:"hint,omitempty"`
	Need    bool     `json:"need,omitempty"`
	Choices []Choice `json:"choices,omitempty"`
}

// Choice is one value a field may take.
type Choice struct {
	Value string `json:"value"`
	Title string `json:"title"`
}

// Shown is a content as people see it.
type Shown struct {
	Content []byte
	Title   string
	Lines   []Line
}

// Line is one thing a change says.
type Line struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// States of a proposal.
const (
	Begun     casework.State = "begun"
	Proposed  casework.State = "proposed"
	Confirmed casework.State = "confirmed"
	Done      casework.State = "done"
	Failed    casework.State = "failed"
	Rejected  casework.State = "rejected"
	Withdrawn casework.State = "withdrawn"
)

// Actions on a proposal.
const (
	Propose  casework.Action = "propose"
	Confirm  casework.Action = "confirm"
	Release  casework.Action = "release"
	Reject   casework.Action = "reject"
	Withdraw casework.Action = "withdraw"
	Carry    casework.Action = "carry"
	Fail     casework.Action = "fail"
)

var states = map[casework.State]string{
	Begun: "拟稿", Proposed: "待批准", Confirmed: "待执行", Done: "已执行", Failed: "未能执行", Rejected: "未批准", Withdrawn: "已撤回",
}

var acts = map[casework.Action]string{
	Propose: "提议", Confirm: "批准", Release: "放行", Reject: "不批准", Withdraw: "撤回", Carry: "执行", Fail: "未能执行",
}

// Kind is the table of a matter's steps. Nobody agrees to their own proposal.
func (m Matter) Kind() casework.Kind {
	k := casework.Kind{Name: m.Name, Title: m.Title, Start: Begun, States: maps.Clone(states), Acts: acts}
	if m.Confirm == "" {
		k.Steps = []casework.Step{{From: Begun, Do: Propose, By: m.Propose, To: Confirmed}}
	} else {
		k.Steps = []casework.Step{
			{From: Begun, Do: Propose, By: m.Propose, To: Proposed},
			{From: Proposed, Do: Confirm, By: m.Confirm, To: m.agreed(0), NotBy: Propose},
			{From: Proposed, Do: Reject, By: m.Confirm, To: Rejected, NotBy: Propose},
			{From: Proposed, Do: Withdraw, By: m.Propose, To: Withdrawn},
		}
	}
	for i := range m.Quorum {
		k.Steps = append(k.Steps, casework.Step{From: m.agreed(i), Do: Release, By: m.Release, To: m.agreed(i + 1)})
		k.States[m.agreed(i)] = fmt.Sprintf("待放行（%d/%d）", i, m.Quorum)
	}
	k.Steps = append(k.Steps,
		casework.Step{From: Confirmed, Do: Carry, By: access.Machine, To: Done},
		casework.Step{From: Confirmed, Do: Fail, By: access.Machine, To: Failed})
	return k
}

// agreed is where a proposal stands after n releases: confirmed, once there are
// as many as it needs.
func (m Matter) agreed(n int) casework.State {
	if n >= m.Quorum {
		return Confirmed
	}
	return casework.State(fmt.Sprintf("agreed-%d", n))
}

// Record is a proposal on record.
type Record struct {
	casework.Case
	Content   []byte
	Title     string
	CreatedBy access.PersonID
	CreatedAt time.Time
	UpdatedAt time.Time
	Result    []byte
	Trouble   *refusal.Report // why it could not be carried out
}

// Desk takes proposals of one system.
type Desk struct {
	DB      *sqldb.DB
	People  access.Desk
	Matters []Matter
	Now     func() time.Time

	wake  chan struct{} // something is to be carried out
	round string        // id of the last one carried out or tried
}

// Start prepares the desk; Run does what was agreed.
func (d *Desk) Start() *Desk {
	d.wake = make(chan struct{}, 1)
	return d
}

// Matter finds one by name.
func (d *Desk) Matter(name string) (Matter, error) {
	for _, m := range d.Matters {
		if m.Name == name {
			return m, nil
		}
	}
	return Matter{}, NoMatter.At("matter", NoMatter.Clause).Because("%.60q", name)
}

// Offers are the matters somebody may propose.
func (d *Desk) Offers(who access.Person) (list []Matter) {
	for _, m := range d.Matters {
		if who.Holds(m.Propose) {
			list = append(list, m)
		}
	}
	return list
}

// May lists what somebody could do to a proposal now.
func (d *Desk) May(r Record, who access.Person) []casework.Action {
	m, err := d.Matter(r.Kind)
	if err != nil {
		return nil
	}
	var list []casework.Action
	for _, a := range m.Kind().May(r.Case, who) {
		if a == Withdraw && r.CreatedBy != who.ID || a == Release && signed(r, who) {
			continue
		}
		list = append(list, a)
	}
	return list
}

// signed reports whether a person has had a hand in a proposal.
func signed(r Record, who access.Person) bool {
	return slices.ContainsFunc(r.Events, func(e casework.Event) bool { return e.Who == who.ID })
}
