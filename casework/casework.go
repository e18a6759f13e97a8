// Package casework moves a case through its lawful steps. (案件流转)
//
// A Kind is a table: from which state, by which role, which action leads
// where. Next answers one question and touches nothing: may this command be
// carried out on this case now, and what follows? The room stores the answer.
package casework

import (
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
)

type (
	// State is where a case stands.
	State string
	// Action is what is done to it.
	Action string
)

// Step is one lawful move.
type Step struct {
	From  State
	Do    Action
	By    access.Role
	To    State
	NotBy Action // whoever last did this may not take the step (职责分离)
	// Apart are acts none of whose doers, since the case last left its start, may
	// take the step: several levels of review are by several people.
	Apart []Action
}

// Kind is a sort of case: a certificate application, a revocation.
type Kind struct {
	Name   string // "ra.issue"
	Title  string // as people call it: 证书申请
	Start  State
	Steps  []Step
	States map[State]string  // what people call them
	Acts   map[Action]string // what people call them
}

// Event is a step that was taken. Events are kept for ever.
type Event struct {
	At     time.Time
	Who    access.PersonID
	Name   string
	Did    Action
	From   State
	To     State
	Note   string
	Signed access.Signed // empty for a process
	Proof  access.Proof  // ties the case to a statement that covers several
	Item   access.Item
}

// Case is where a matter stands and how it got there.
type Case struct {
	ID     string
	Kind   string
	State  State
	Events []Event
}

// Move is a step taken but not yet stored.
type Move struct {
	Case  Case // as it will be
	Seq   int  // events before the move; a store refuses a stale one
	Event Event
}

// Next decides one step. The caller has checked that the command covers this
// case; item and proof show it.
func (k Kind) Next(c Case, by access.Command, do Action, item access.Item, proof access.Proof, now time.Time) (Move, error) {
	i := slices.IndexFunc(k.Steps, func(s Step) bool { return s.From == c.State && s.Do == do })
	if i < 0 {
		return Move{}, NoSuchStep.At("state", NoSuchStep.Clause).Because("%s当前为“%s”，不能“%s”", k.Title, k.StateTitle(c.State), k.ActTitle(do))
	}
	step := k.Steps[i]
	who := by.Who()
	if step.NotBy != "" && c.LastBy(step.NotBy) == who.ID { // the graver reason first: another role would not help
		return Move{}, SamePerson.At("person", SamePerson.Clause).Because("%s 已办理“%s”", who.ID, k.ActTitle(step.NotBy))
	}
	if a := c.apart(k, step, who.ID); a != "" {
		return Move{}, SamePerson.At("person", SamePerson.Clause).Because("%s 已办理“%s”", who.ID, k.ActTitle(a))
	}
	if !by.Holds(step.By) {
		return Move{}, NotYours.At("role", NotYours.Clause).Because("“%s”须由%s办理", k.ActTitle(do), step.By.Title())
	}
	e := Event{At: now, Who: who.ID, Name: who.Name, Did: do, From: step.From, To: step.To, Note: by.Note(), Signed: by.Signed(), Item: item, Proof: proof}
	next := c
	next.State = step.To
	next.Events = append(slices.Clone(c.Events), e)
	return Move{Case: next, Seq: len(c.Events), Event: e}, nil
}

// May lists the actions somebody could take now, for the buttons of a page.
func (k Kind) May(c Case, who access.Person) (acts []Action) {
	for _, s := range k.Steps {
		if s.From == c.State && who.Holds(s.By) && (s.NotBy == "" || c.LastBy(s.NotBy) != who.ID) && c.apart(k, s, who.ID) == "" {
			acts = append(acts, s.Do)
		}
	}
	return acts
}

// apart is the act by which somebody has had their say since the case last left
// its start; empty if they have had none.
func (c Case) apart(k Kind, s Step, who access.PersonID) Action {
	for _, e := range slices.Backward(c.Events) {
		if e.Who == who && slices.Contains(s.Apart, e.Did) {
			return e.Did
		}
		if e.From == k.Start {
			break
		}
	}
	return ""
}

// LastBy is who last took an action.
func (c Case) LastBy(do Action) access.PersonID {
	for _, e := range slices.Backward(c.Events) {
		if e.Did == do {
			return e.Who
		}
	}
	return ""
}

// Last is the last event of an action.
func (c Case) Last(do Action) (Event, bool) {
	for _, e := range slices.Backward(c.Events) {
		if e.Did == do {
			return e, true
		}
	}
	return Event{}, false
}

// StateTitle is what people call a state.
func (k Kind) StateTitle(s State) string {
	if t := k.States[s]; t != "" {
		return t
	}
	return string(s)
}

// ActTitle is what people call an action.
func (k Kind) ActTitle(a Action) string {
	if t := k.Acts[a]; t != "" {
		return t
	}
	return string(a)
}
