package casework_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
)

const (
	drafted, submitted, approved, issued, closed casework.State  = "drafted", "submitted", "approved", "issued", "closed"
	submit, approve, back, issue, shut           casework.Action = "submit", "approve", "return", "issue", "close"

	clerk, reviewer = access.RAClerk, access.RAReviewer
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// kind is a small table with everything a table may have.
func kind() casework.Kind {
	return casework.Kind{
		Name: "test", Title: "测试案件", Start: drafted,
		States: map[casework.State]string{drafted: "草稿", submitted: "待审", approved: "待签发", issued: "已签发", closed: "已关闭"},
		Acts:   map[casework.Action]string{submit: "提交", approve: "通过", back: "退回", issue: "签发", shut: "关闭"},
		Steps: []casework.Step{
			{From: drafted, Do: submit, By: clerk, To: submitted},
			{From: submitted, Do: approve, By: reviewer, To: approved, NotBy: submit},
			{From: submitted, Do: back, By: reviewer, To: drafted, NotBy: submit},
			{From: approved, Do: issue, By: access.Machine, To: issued},
			{From: issued, Do: shut, By: reviewer, To: closed},
		},
	}
}

func person(id string, roles ...access.Role) access.Command {
	return access.Preview(access.Person{ID: access.PersonID(id), Name: id, Roles: roles})
}

func at(s casework.State, events ...casework.Event) casework.Case {
	return casework.Case{ID: "C1", Kind: "test", State: s, Events: events}
}

var all = struct {
	states []casework.State
	acts   []casework.Action
	roles  []access.Role
}{
	[]casework.State{drafted, submitted, approved, issued, closed, "", "elsewhere"},
	[]casework.Action{submit, approve, back, issue, shut, "", "burn"},
	[]access.Role{clerk, reviewer, access.Machine, access.RAProducer, access.CASuper, ""},
}

// Of all combinations of state, action and role these are lawful, and no other.
func TestOnlyTheTableIsLawful(t *testing.T) {
	lawful := map[string]casework.State{
		"drafted submit ra.clerk": submitted, "submitted approve ra.reviewer": approved, "submitted return ra.reviewer": drafted,
		"approved issue machine": issued, "issued close ra.reviewer": closed,
	}
	step := map[string]bool{}
	for key := range lawful {
		step[key[:strings.LastIndex(key, " ")]] = true
	}
	k := kind()
	for _, s := range all.states {
		for _, do := range all.acts {
			for _, role := range all.roles {
				key := fmt.Sprintf("%s %s %s", s, do, role)
				move, err := k.Next(at(s), person("p", role), do, access.Item{}, access.Proof{}, now)
				want, ok := lawful[key]
				switch {
				case ok && (err != nil || move.Case.State != want || move.Event.To != want || move.Event.From != s || move.Event.Did != do):
					t.Errorf("%s leads to %q: %v", key, move.Case.State, err)
				case !ok && step[fmt.Sprintf("%s %s", s, do)] && !errors.Is(err, casework.NotYours):
					t.Errorf("%s: %v", key, err)
				case !ok && !step[fmt.Sprintf("%s %s", s, do)] && !errors.Is(err, casework.NoSuchStep):
					t.Errorf("%s: %v", key, err)
				}
				may := slices.Contains(k.May(at(s), person("p", role).Who()), do)
				if may != ok {
					t.Errorf("%s: a button is shown: %v", key, may)
				}
			}
		}
	}
}

func did(do casework.Action, who string) casework.Event {
	return casework.Event{Did: do, Who: access.PersonID(who)}
}

// Nobody looks over their own work, whatever roles they hold; whoever did it
// last counts.
func TestNobodyReviewsTheirOwn(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []casework.Event
		who    string
		roles  []access.Role
		want   error
	}{
		{"their own", []casework.Event{did(submit, "a")}, "a", []access.Role{clerk, reviewer}, casework.SamePerson},
		{"another's", []casework.Event{did(submit, "a")}, "b", []access.Role{clerk, reviewer}, nil},
		{"their own, and without the role: the graver reason", []casework.Event{did(submit, "a")}, "a", []access.Role{clerk}, casework.SamePerson},
		{"another's, without the role", []casework.Event{did(submit, "a")}, "b", []access.Role{clerk}, casework.NotYours},
		{"submitted again by another", []casework.Event{did(submit, "a"), did(back, "b"), did(submit, "c")}, "a", []access.Role{reviewer}, nil},
		{"submitted again by themselves", []casework.Event{did(submit, "c"), did(back, "b"), did(submit, "a")}, "a", []access.Role{reviewer}, casework.SamePerson},
		{"an approval before is no submission", []casework.Event{did(submit, "a"), did(back, "b")}, "b", []access.Role{reviewer}, nil},
		{"nobody submitted", nil, "a", []access.Role{reviewer}, nil},
	} {
		k, by := kind(), person(c.who, c.roles...)
		for _, do := range []casework.Action{approve, back} {
			_, err := k.Next(at(submitted, c.events...), by, do, access.Item{}, access.Proof{}, now)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v, want %v", c.name, do, err, c.want)
			}
			if may := slices.Contains(k.May(at(submitted, c.events...), by.Who()), do); may != (c.want == nil) {
				t.Errorf("%s: the button for %s is shown: %v", c.name, do, may)
			}
		}
	}
}

// A refusal names the field, the clause and the fix, in the words of the table.
func TestARefusalSaysWhy(t *testing.T) {
	k := kind()
	for _, c := range []struct {
		c     casework.Case
		by    access.Command
		do    casework.Action
		field string
		text  string
	}{
		{at(issued), person("a", clerk), submit, "state", "当前状态不能进行此操作：测试案件当前为“已签发”，不能“提交”"},
		{at(drafted), person("a", reviewer), submit, "role", "您的角色不能办理此步骤：“提交”须由录入员办理"},
		{at(submitted, did(submit, "a")), person("a", reviewer), approve, "person", "录入与审核（申请与核准）不得为同一人：a 已办理“提交”"},
	} {
		_, err := k.Next(c.c, c.by, c.do, access.Item{}, access.Proof{}, now)
		f := refusal.Of(err)
		if f == nil {
			t.Fatal(err)
		}
		if r := f.Report(); r.Field != c.field || r.Text != c.text || r.Clause == "" || r.Fix == "" {
			t.Errorf("%+v", r)
		}
	}
}

// Deciding touches nothing: two moves may be decided from one case.
func TestDecidingTouchesNothing(t *testing.T) {
	k := kind()
	events := make([]casework.Event, 1, 8) // room to spare, where an append could write
	events[0] = did(submit, "a")
	c := at(submitted, events...)
	item, proof := access.Item{ID: "C1", Seq: 1}, access.Proof{Index: 2, Count: 3}
	one, err := k.Next(c, person("b", reviewer), approve, item, proof, now)
	if err != nil {
		t.Fatal(err)
	}
	two, err := k.Next(c, person("d", reviewer), back, item, proof, now)
	if err != nil {
		t.Fatal(err)
	}
	if c.State != submitted || len(c.Events) != 1 || one.Case.Events[1].Who != "b" || two.Case.Events[1].Who != "d" || one.Seq != 1 {
		t.Errorf("%+v\n%+v\n%+v", c, one, two)
	}
	e := one.Event
	if e.Item.ID != "C1" || e.Proof.Index != 2 || !e.At.Equal(now) || e.Name != "b" || one.Case.LastBy(approve) != "b" || one.Case.LastBy(issue) != "" {
		t.Errorf("%+v", e)
	}
	if last, ok := one.Case.Last(submit); !ok || last.Who != "a" {
		t.Errorf("%+v", last)
	}
	if _, ok := one.Case.Last(issue); ok {
		t.Error("an action that was never taken has an event")
	}
}

func TestAFaultyTableIsFound(t *testing.T) {
	if err := kind().Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		change     func(k *casework.Kind)
	}{
		{"a state nobody reaches", "is never reached", func(k *casework.Kind) {
			k.States["limbo"] = "悬"
			k.Steps = append(k.Steps, casework.Step{From: "limbo", Do: shut, By: clerk, To: closed})
		}},
		{"one action, two ways", "leads two ways", func(k *casework.Kind) {
			k.Steps = append(k.Steps, casework.Step{From: drafted, Do: submit, By: reviewer, To: closed})
		}},
		{"four eyes against nobody", "nobody ever does", func(k *casework.Kind) { k.Steps[1].NotBy = "sign" }},
		{"a state without a name", "no Chinese name", func(k *casework.Kind) { delete(k.States, closed) }},
		{"an action without a name", "no Chinese name", func(k *casework.Kind) { delete(k.Acts, shut) }},
	} {
		k := kind()
		c.change(&k)
		if err := k.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTheDrawingIsInPeoplesWords(t *testing.T) {
	text := kind().Mermaid()
	for _, want := range []string{"# 测试案件 (test)", "[*] --> 草稿", "草稿 --> 待审: 提交（录入员）\n", "待审 --> 待签发: 通过（审核员），不得为办理“提交”的人", "待签发 --> 已签发: 签发（系统）"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if k := kind(); k.StateTitle("x") != "x" || k.ActTitle("y") != "y" {
		t.Error("what has no name is called by its code")
	}
}
