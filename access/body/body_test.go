package body_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/profile"
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// keeper is a register over a database of its own, with people on it.
func keeper(t *testing.T, db *sqldb.DB) *body.Keeper {
	t.Helper()
	staff := accesstest.Open(db, func() time.Time { return now })
	if err := body.Migrate(t.Context(), staff.DB); err != nil {
		t.Fatal(err)
	}
	staff.Hire(t, "clerk", access.RAClerk)
	staff.Hire(t, "both", access.RAClerk, access.RAAdmin)
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return &body.Keeper{Register: &body.Register{DB: staff.DB}, People: staff.People, Profiles: func() profile.Set { return set }, Principal: "机构", Now: func() time.Time { return now }}
}

// each runs a test on SQLite and, where there is a server, on PostgreSQL.
func each(t *testing.T, f func(t *testing.T, k *body.Keeper)) {
	accesstest.Each(t, os.Getenv("HUFU_TEST_POSTGRES"), func(t *testing.T, open func(t testing.TB) *sqldb.DB) { f(t, keeper(t, open(t))) })
}

func matter(t *testing.T, k *body.Keeper, name string) proposal.Matter {
	t.Helper()
	for _, m := range slices.Concat(k.Matters(), k.Bars()) {
		if m.Name == name {
			return m
		}
	}
	t.Fatal(name)
	return proposal.Matter{}
}

// do reads and carries a change out.
func do(t *testing.T, k *body.Keeper, id, name string, c body.Change) error {
	t.Helper()
	content, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	m := matter(t, k, name)
	shown, err := m.Read(t.Context(), content)
	if err != nil {
		return err
	}
	_, err = m.Do(t.Context(), proposal.Record{Case: casework.Case{ID: id, Kind: name}, Content: shown.Content})
	return err
}

func tree(t *testing.T, k *body.Keeper) *body.Tree {
	t.Helper()
	tr, err := k.Register.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

var open = body.Change{ID: "hz", Name: "受托中心", Unit: "91350100M000100Y43", Head: "某", Address: "某路", Agreement: strings.Repeat("ab", 32), From: "2026-01-01", To: "2026-12-31", Profiles: []string{"person-dual", "device-dual"}}

var outlet = body.Change{ID: "hz-west", Name: "城西", Parent: "hz", Head: "某", Address: "某路", Profiles: []string{"person-dual"}}

func TestATreeKnowsWhoMayRegisterWhat(t *testing.T) { each(t, aTreeKnowsWhoMayRegisterWhat) }

func aTreeKnowsWhoMayRegisterWhat(t *testing.T, k *body.Keeper) {
	for i, c := range []body.Change{open, outlet} {
		if err := do(t, k, "P"+c.ID, []string{"body.open", "body.outlet"}[i], c); err != nil {
			t.Fatal(err)
		}
	}
	tr := tree(t, k)
	if got := tr.Within("hz"); !slices.Equal(got, []string{"hz", "hz-west"}) || tr.Within("") != nil || !slices.Equal(tr.Within("hz-west"), []string{"hz-west"}) {
		t.Errorf("within: %v", got)
	}
	for _, c := range []struct {
		a, b string
		over bool
	}{{"", "", true}, {"", "hz", true}, {"hz", "hz-west", true}, {"hz-west", "hz", false}, {"hz", "", false}, {"hz", "hz", true}, {"hz-west", "hz-west", true}} {
		if tr.Over(c.a, c.b) != c.over {
			t.Errorf("%q over %q: %v", c.a, c.b, !c.over)
		}
	}
	for _, c := range []struct {
		id, profile, policy string
		want                error
	}{{"", "anything", "1.2", nil}, {"hz", "device-dual", "2.999.1.1.3", nil}, {"hz", "organisation-dual", "2.999.1.1.2", body.Outside}, {"hz", "person-dual", "2.999.1.1.9", body.Outside},
		{"hz-west", "person-dual", "2.999.1.1.1", nil}, {"hz-west", "device-dual", "2.999.1.1.3", body.Outside}, {"nobody", "person-dual", "2.999.1.1.1", body.NoBody}} {
		if err := tr.Allows(c.id, profile.Profile{Name: c.profile, Policy: c.policy}); !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v", c.id, c.profile, err)
		}
	}
	for day, want := range map[string]error{"2025-12-31": body.Suspended, "2026-01-01": nil, "2026-12-31": nil, "2027-01-01": body.Suspended} {
		for _, id := range []string{"hz", "hz-west"} {
			if err := tr.Stands(id, day); !errors.Is(err, want) {
				t.Errorf("%s on %s: %v", id, day, err)
			}
		}
	}
	b, err := tr.Body("hz-west")
	if err != nil || b.Unit != open.Unit || b.To != open.To || b.Principal != "机构" {
		t.Errorf("an outlet is not of its parent: %+v %v", b, err)
	}
}

// Suspended itself, by its parent, or by the CA, a body registers nothing.
func TestASuspensionReachesTheOutlets(t *testing.T) { each(t, aSuspensionReachesTheOutlets) }

func aSuspensionReachesTheOutlets(t *testing.T, k *body.Keeper) {
	must := func(id, name string, c body.Change) {
		t.Helper()
		if err := do(t, k, id, name, c); err != nil {
			t.Fatal(err)
		}
	}
	must("P1", "body.open", open)
	must("P2", "body.outlet", outlet)
	for i, c := range []struct {
		matter, id string
		hz, west   bool
	}{{"body.suspend", "hz-west", true, false}, {"body.resume", "hz-west", true, true}, {"body.suspend", "hz", false, false}, {"body.resume", "hz", true, true},
		{"registrar.suspend", "hz", false, false}, {"registrar.resume", "hz", true, true}, {"registrar.suspend", "ra", false, false}, {"registrar.resume", "ra", true, true}} {
		must("P3"+string(rune('a'+i)), c.matter, body.Change{ID: c.id, Reason: "核对"})
		tr := tree(t, k)
		if hz, west := tr.Stands("hz", "2026-11-24") == nil, tr.Stands("hz-west", "2026-11-24") == nil; hz != c.hz || west != c.west {
			t.Errorf("%s %s: hz %v, its outlet %v", c.matter, c.id, hz, west)
		}
	}
	if n := len(tree(t, k).All()); n != 2 {
		t.Errorf("%d bodies", n)
	}
}

func TestWhatIsNotEntered(t *testing.T) { each(t, whatIsNotEntered) }

func whatIsNotEntered(t *testing.T, k *body.Keeper) {
	for i, c := range []body.Change{open, outlet} {
		if err := do(t, k, "P"+c.ID, []string{"body.open", "body.outlet"}[i], c); err != nil {
			t.Fatal(err)
		}
	}
	with := func(c body.Change, f func(*body.Change)) body.Change { f(&c); return c }
	second := with(open, func(c *body.Change) { c.ID, c.Unit = "other", "91110000000000001H" })
	for name, c := range map[string]struct {
		matter string
		change body.Change
		want   error
		field  string
	}{
		"a body below a body":           {"body.open", with(second, func(c *body.Change) { c.Parent = "hz" }), body.Further, "parent"},
		"an outlet below an outlet":     {"body.outlet", with(outlet, func(c *body.Change) { c.ID, c.Parent = "deep", "hz-west" }), body.Further, "parent"},
		"an outlet of nobody":           {"body.outlet", with(outlet, func(c *body.Change) { c.ID, c.Parent = "deep", "none" }), body.BadBody, "parent"},
		"more than the parent has":      {"body.outlet", with(outlet, func(c *body.Change) { c.ID, c.Profiles = "deep", []string{"organisation-dual"} }), body.BadBody, "profiles"},
		"an id twice":                   {"body.open", open, body.BadBody, "id"},
		"an id of the system's":         {"body.open", with(second, func(c *body.Change) { c.ID = body.Top }), body.BadBody, "id"},
		"in its own name":               {"body.open", with(second, func(c *body.Change) { c.Principal = "受托中心" }), body.BadBody, "principal"},
		"a unit twice":                  {"body.open", with(second, func(c *body.Change) { c.Unit = open.Unit }), body.BadBody, "unit"},
		"a code that does not check":    {"body.open", with(second, func(c *body.Change) { c.Unit = "91110000000000001J" }), body.BadBody, "unit"},
		"no agreement":                  {"body.open", with(second, func(c *body.Change) { c.Agreement = "" }), body.BadBody, "agreement"},
		"an agreement that ends first":  {"body.open", with(second, func(c *body.Change) { c.To = "2025-01-01" }), body.BadBody, "to"},
		"nothing delegated":             {"body.open", with(second, func(c *body.Change) { c.Profiles = nil }), body.BadBody, "profiles"},
		"the system's own certificates": {"body.open", with(second, func(c *body.Change) { c.Profiles = []string{"staff"} }), body.BadBody, "profiles"},
		"a policy of no profile":        {"body.open", with(second, func(c *body.Change) { c.Policies = []string{"1.2.3"} }), body.BadBody, "policies"},
		"nobody in charge":              {"body.open", with(second, func(c *body.Change) { c.Head = "" }), body.BadBody, ""},
		"an administrator":              {"body.assign", body.Change{Person: "both", ID: "hz"}, body.BadBody, "person"},
		"a stranger":                    {"body.assign", body.Change{Person: "nobody", ID: "hz"}, body.BadBody, "person"},
		"to no body":                    {"body.assign", body.Change{Person: "clerk", ID: "none"}, body.NoBody, "id"},
		"four levels":                   {"review.set", body.Change{Profile: "person-dual", Levels: 4}, body.BadBody, "levels"},
		"levels of the system's own":    {"review.set", body.Change{Profile: "staff", Levels: 2}, body.BadBody, "profile"},
		"no reason":                     {"body.suspend", body.Change{ID: "hz"}, body.BadBody, "reason"},
		"a bar that is none":            {"registrar.resume", body.Change{ID: "hz", Reason: "核对"}, body.NoBody, "id"},
	} {
		err := do(t, k, "Px", c.matter, c.change)
		f := refusal.Of(err)
		if !errors.Is(err, c.want) || f == nil || c.field != "" && f.Field != c.field || f.Fix == "" || f.Report().Clause == "" {
			t.Errorf("%s: %v %+v", name, err, f)
		}
	}
	if n := len(tree(t, k).All()); n != 2 {
		t.Errorf("%d bodies", n)
	}
}

// A change is carried out once for a record; the same id with another content is
// refused. What the CA refuses is not entered here, but a suspension holds at once.
func TestAChangeIsCarriedOutOnce(t *testing.T) { each(t, aChangeIsCarriedOutOnce) }

func aChangeIsCarriedOutOnce(t *testing.T, k *body.Keeper) {
	if err := do(t, k, "P1", "body.open", open); err != nil {
		t.Fatal(err)
	}
	if err := do(t, k, "P2", "body.assign", body.Change{Person: "clerk", ID: "hz"}); err != nil || tree(t, k).Of("clerk") != "hz" {
		t.Fatal(err)
	}
	again, err := json.Marshal(body.Change{Person: "clerk", ID: "hz"})
	if err != nil {
		t.Fatal(err)
	}
	m := matter(t, k, "body.assign")
	if _, err := m.Do(t.Context(), proposal.Record{Case: casework.Case{ID: "P2", Kind: m.Name}, Content: again}); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := m.Do(t.Context(), proposal.Record{Case: casework.Case{ID: "P2", Kind: m.Name}, Content: []byte(`{"person":"clerk"}`)}); !errors.Is(err, body.BadBody) {
		t.Errorf("another content: %v", err)
	}
	down := errors.New("the CA is away")
	k.Tell = func(context.Context, proposal.Record) error { return down }
	if err := do(t, k, "P3", "body.assign", body.Change{Person: "clerk"}); !errors.Is(err, down) || tree(t, k).Of("clerk") != "hz" {
		t.Errorf("entered without the CA: %v", err)
	}
	if err := do(t, k, "P4", "body.suspend", body.Change{ID: "hz", Reason: "核对"}); !errors.Is(err, down) || tree(t, k).Stands("hz", "2026-11-24") == nil {
		t.Errorf("a suspension waits for the CA: %v", err)
	}
}

// What the law lets nobody delegate is no part of a delegation, old or new; the
// institution's own outlets take it. (电子认证服务管理办法征求意见稿第二十二条)
func TestWhatMayNotBeDelegatedIsNot(t *testing.T) { each(t, whatMayNotBeDelegatedIsNot) }

func whatMayNotBeDelegatedIsNot(t *testing.T, k *body.Keeper) {
	set := k.Profiles()
	k.Profiles = func() profile.Set { return set }
	for i, c := range []body.Change{open, outlet} {
		if err := do(t, k, "P"+c.ID, []string{"body.open", "body.outlet"}[i], c); err != nil {
			t.Fatal(err)
		}
	}
	strict := set["person-dual"]
	strict.Regime = profile.RegimeMIIT
	set["person-dual"] = strict
	other := open
	other.ID, other.Unit = "gz", "91110000000000002L"
	below := outlet
	below.ID = "hz-east"
	for _, c := range []struct {
		name   string
		matter string
		c      body.Change
		want   error
	}{
		{"a new body", "body.open", other, body.NotLent},
		{"an outlet of a body", "body.outlet", below, body.NotLent},
		{"a body's scope", "body.amend", body.Change{ID: "hz", Profiles: []string{"person-dual"}}, body.NotLent},
		{"an outlet's scope", "body.amend", body.Change{ID: "hz-west", Profiles: []string{"person-dual"}}, body.NotLent},
		{"what may be", "body.amend", body.Change{ID: "hz", Profiles: []string{"device-dual"}}, nil},
		{"an outlet of the institution's own", "body.outlet", body.Change{ID: "own", Name: "本部", Head: "某", Address: "某路", Profiles: []string{"person-dual"}}, nil},
	} {
		content, err := json.Marshal(c.c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = matter(t, k, c.matter).Read(t.Context(), content)
		if c.name == "a new body" && errors.Is(err, body.BadBody) && refusal.Of(err).Field == "unit" {
			t.Fatalf("the sample's code is wrong: %v", err)
		}
		if !errors.Is(err, c.want) || err != nil && (refusal.Of(err).Field != "profiles" || !strings.Contains(refusal.Of(err).Clause, "征求意见稿")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := do(t, k, "Pown", "body.outlet", body.Change{ID: "own", Name: "本部", Head: "某", Address: "某路", Profiles: []string{"person-dual"}}); err != nil {
		t.Fatal(err)
	}
	tr := tree(t, k)
	for id, want := range map[string]error{"": nil, "own": nil, "hz": body.NotLent, "hz-west": body.NotLent} { // delegated before the law said so
		if err := tr.Allows(id, strict); !errors.Is(err, want) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
