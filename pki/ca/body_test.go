package ca_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// delegating is a place whose CA knows a body with an outlet and the clerk of it,
// and wants two reviews of devices.
func delegating(t *testing.T) (*place, *body.Keeper) {
	t.Helper()
	p := newPlace(t)
	people := accesstest.Open(accesstest.Database(t), func() time.Time { return start })
	if err := body.Migrate(t.Context(), people.DB); err != nil {
		t.Fatal(err)
	}
	people.Hire(t, "both", access.RAClerk, access.RAReviewer)
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	k := &body.Keeper{Register: &body.Register{DB: people.DB}, People: people.People, Profiles: func() profile.Set { return set }, Principal: "测试机构", Now: func() time.Time { return start }}
	p.Bodies = k.Register
	day := func(years int) string { return start.AddDate(years, 0, 0).Format(time.DateOnly) }
	enter(t, k, "P1", "body.open", body.Change{ID: "hz", Name: "受托中心", Unit: "91350100M000100Y43", Head: "某", Address: "某路", Agreement: strings.Repeat("ab", 32), From: day(-1), To: day(1), Profiles: []string{"person-dual"}})
	enter(t, k, "P2", "body.assign", body.Change{Person: "both", ID: "hz"})
	enter(t, k, "P3", "review.set", body.Change{Profile: "device-sign", Levels: 2})
	return p, k
}

func enter(t *testing.T, k *body.Keeper, id, name string, c body.Change) {
	t.Helper()
	content, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(k.Matters(), k.Bars()...) {
		if m.Name != name {
			continue
		}
		shown, err := m.Read(t.Context(), content)
		if err == nil {
			_, err = m.Do(t.Context(), proposal.Record{Case: casework.Case{ID: id, Kind: name}, Content: shown.Content})
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
}

// The desk's word on who took an application is not enough: the CA has its own
// register of bodies.
func TestTheCoreKnowsWhoMayRegister(t *testing.T) {
	for _, c := range []struct {
		name            string
		clerk, reviewer string
		change          func(a *enroll.Application)
		before          func(t *testing.T, k *body.Keeper)
		want            *refusal.Reason
		field           string
	}{
		{"by the institution's own people", "clerk", "reviewer", nil, nil, nil, ""},
		{"by the body's clerk, said to be the institution's", "both", "reviewer", nil, nil, body.NotTheirs, "body"},
		{"reviewed by the body's people, taken by the institution", "clerk", "both", nil, nil, body.NotTheirs, "body"},
		{"by no body there is", "clerk", "reviewer", func(a *enroll.Application) { a.Body = "none" }, nil, body.NoBody, "body"},
		{"in the body's own name", "both", "reviewer", func(a *enroll.Application) { a.Body, a.Principal = "hz", "受托中心" }, nil, body.Outside, "principal"},
		{"within its scope, over its clerk and the institution's reviewer", "both", "reviewer", func(a *enroll.Application) { a.Body, a.Principal = "hz", "测试机构" }, nil, nil, ""},
		{"a profile that was not delegated", "both", "reviewer", func(a *enroll.Application) {
			a.Body, a.Principal, a.Profile = "hz", "测试机构", "person-token-dual"
		}, nil, body.Outside, "profile"},
		{"a profile that by now nobody may delegate", "both", "reviewer", func(a *enroll.Application) { a.Body, a.Principal = "hz", "测试机构" }, nil, body.NotLent, "profile"},
		{"suspended", "both", "reviewer", func(a *enroll.Application) { a.Body, a.Principal = "hz", "测试机构" }, func(t *testing.T, k *body.Keeper) {
			enter(t, k, "P8", "body.suspend", body.Change{ID: "hz", Reason: "核对"})
		}, body.Suspended, "body"},
		{"barred by the CA", "both", "reviewer", func(a *enroll.Application) { a.Body, a.Principal = "hz", "测试机构" }, func(t *testing.T, k *body.Keeper) {
			enter(t, k, "P8", "registrar.suspend", body.Change{ID: "hz", Reason: "核对"})
		}, body.Suspended, "body"},
		{"of a registration system that is barred whole", "clerk", "reviewer", nil, func(t *testing.T, k *body.Keeper) {
			enter(t, k, "P8", "registrar.suspend", body.Change{ID: body.Top, Reason: "核对"})
		}, body.Suspended, "body"},
		{"reviewed once where two are wanted", "clerk", "reviewer", func(a *enroll.Application) { a.Profile = "device-sign" }, nil, ca.NoEvidence, "levels"},
		{"said to be reviewed twice, by one person", "clerk", "reviewer", func(a *enroll.Application) { a.Profile, a.Levels = "device-sign", 2 }, nil, ca.NoEvidence, "evidence"},
		{"more levels than there are", "clerk", "reviewer", func(a *enroll.Application) { a.Levels = 4 }, nil, ca.BadContent, "levels"},
		{"one level spelt out", "clerk", "reviewer", func(a *enroll.Application) { a.Levels = 1 }, nil, ca.BadContent, "levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, k := delegating(t)
			if c.want == body.NotLent {
				strict := p.Profiles["person-dual"]
				strict.Regime = profile.RegimeMIIT
				p.Profiles["person-dual"] = strict
			}
			if c.before != nil {
				c.before(t, k)
			}
			a := application(t, "A1", newKey(t))
			if c.change != nil {
				c.change(&a)
			}
			r := p.request(t, a, c.clerk, c.reviewer)
			if a.Levels == 2 {
				for i := range r.Evidence {
					r.Evidence[i] = p.sign(t, []string{c.clerk, c.reviewer}[i], []string{"ra.submit", "ra.approve"}[i], "ra.issue2", a.ID, i, r.Content)
				}
			}
			if c.want != nil {
				p.refuses(t, r, c.want, c.field)
				p.untouched(t)
				return
			}
			results, err := p.Issue(t.Context(), []enroll.Request{r})
			if err != nil || results[0].Err != nil {
				t.Errorf("%v %v", err, results)
			}
		})
	}
}
