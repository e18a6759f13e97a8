package casework_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
)

// Levels of review are by several people: nobody who has had a say since the case
// last left its start; what was said before it came back does not count.
func TestSeveralLevelsAreBySeveralPeople(t *testing.T) {
	k := kind()
	k.Steps[1] = casework.Step{From: submitted, Do: approve, By: reviewer, To: "second", NotBy: submit}
	k.Steps = append(k.Steps, casework.Step{From: "second", Do: approve, By: reviewer, To: approved, Apart: []casework.Action{submit, approve}})
	k.States["second"] = "待复审"
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	step := func(do casework.Action, who string, from, to casework.State) casework.Event {
		return casework.Event{Did: do, Who: access.PersonID(who), From: from, To: to}
	}
	first := []casework.Event{step(submit, "clerk", drafted, submitted), step(approve, "one", submitted, "second")}
	again := append(slices.Clone(first), step(back, "two", "second", drafted), step(submit, "clerk", drafted, submitted), step(approve, "two", submitted, "second"))
	for _, c := range []struct {
		name   string
		events []casework.Event
		who    string
		want   error
	}{
		{"the first reviewer again", first, "one", casework.SamePerson},
		{"the clerk, who may review", first, "clerk", casework.SamePerson},
		{"another", first, "two", nil},
		{"after it came back, who reviewed the time before", again, "one", nil},
		{"after it came back, the same twice", again, "two", casework.SamePerson},
	} {
		by := person(c.who, reviewer)
		_, err := k.Next(at("second", c.events...), by, approve, access.Item{}, access.Proof{}, now)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if may := slices.Contains(k.May(at("second", c.events...), by.Who()), approve); may != (c.want == nil) {
			t.Errorf("%s: a button is shown: %v", c.name, may)
		}
	}
	if text := k.Mermaid(); !strings.Contains(text, "待复审 --> 待签发: 通过（审核员），不得为本轮办理“提交”的人，不得为本轮办理“通过”的人") {
		t.Errorf("the drawing does not say it:\n%s", text)
	}
	k.Steps[len(k.Steps)-1].Apart = []casework.Action{"sign"}
	if err := k.Check(); err == nil || !strings.Contains(err.Error(), "nobody ever does one of") {
		t.Errorf("apart from nobody: %v", err)
	}
}
