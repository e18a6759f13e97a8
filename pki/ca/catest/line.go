package catest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// A succession is begun once for an order, one at a time, and its key signs
// from when it is said to; each key knows the end of its last certificate.
func line(t *testing.T, s ca.Store) {
	ctx := t.Context()
	for range 2 {
		if n, err := s.Begin(ctx, "P1", "k1", Line("begin")); err != nil || n.Generation != 1 || n.Label != "k1" || n.DER != nil {
			t.Fatalf("%+v %v", n, err)
		}
	}
	if _, err := s.Begin(ctx, "P2", "k2", Line("begin")); !errors.Is(err, ca.RolloverOpen) {
		t.Errorf("two at once: %v", err)
	}
	for _, der := range []string{"one", "two"} {
		if err := s.Succeed(ctx, "P1", []byte(der), Line("succeed")); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Begin(ctx, "P2", "k2", Line("begin")); err != nil || n.Generation != 2 {
		t.Errorf("%+v %v", n, err)
	}
	for range 2 {
		if err := errors.Join(s.Forgo(ctx, "P2", Line("forgo")), s.Forgo(ctx, "P1", Line("forgo"))); err != nil { // P1 signs
			t.Fatal(err)
		}
	}
	if n, err := s.Begin(ctx, "P3", "k3", Line("begin")); err != nil || n.Generation != 2 {
		t.Errorf("%+v %v", n, err)
	}
	all, err := s.Successions(ctx)
	if err != nil || len(all) != 2 || string(all[0].DER) != "one" || all[0].Order != "P1" || all[1].DER != nil {
		t.Errorf("%+v %v", all, err)
	}
	Issue(t, s, 3)
	if end, err := s.LastEnd(ctx, 0); err != nil || !end.Equal(at.AddDate(1, 0, 0)) {
		t.Errorf("%v %v", end, err)
	}
	if end, err := s.LastEnd(ctx, 1); err != nil || !end.IsZero() {
		t.Errorf("of a key that signed nothing: %v %v", end, err)
	}
}

// The lists of two keys have nothing in common, whatever changes.
func later(t *testing.T, s ca.Store) {
	old, fresh := Issue(t, s, 3), IssueIn(t, s, 4, 4096+4)
	if end, err := s.LastEnd(t.Context(), 1); err != nil || !end.Equal(at.AddDate(1, 0, 0)) {
		t.Errorf("%v %v", end, err)
	}
	want := func(list int, of ...ca.Job) {
		t.Helper()
		var entries []byte
		one := func(e []byte) { entries = e }
		l := ca.List{Scope: ca.ScopeOf(list), ThisUpdate: at, NextUpdate: at, Base: 1}
		if _, err := s.IntendList(t.Context(), l, list, func(_ int64, e []byte) []byte { one(e); return []byte("x") }); err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, j := range of {
			all = append(append(all, entry(j.Serials.Sign)...), entry(j.Serials.Enc)...)
		}
		if !bytes.Equal(entries, all) {
			t.Errorf("%s has %x, want %x", ca.ScopeOf(list), entries, all)
		}
	}
	if err := Revoke(t, s, fresh, "R1", 4); err != nil {
		t.Fatal(err)
	}
	dirty(t, s, ca.DeltaOf(1), ca.FullOf(1), 4096+4)
	want(ca.Full)
	want(ca.Delta)
	dirty(t, s, ca.DeltaOf(1), ca.FullOf(1), 4096+4)
	if err := Revoke(t, s, old, "R2", 4); err != nil {
		t.Fatal(err)
	}
	want(ca.Full, old)
	want(3, old)
	want(ca.Delta, old)
	want(ca.FullOf(1), fresh)
	want(ca.DeltaOf(1), fresh)
	want(4096+4, fresh)
	dirty(t, s)
}

// A decision about a responder's key is resolved once and gets one key.
func duties(t *testing.T, s ca.Store) {
	ctx := t.Context()
	for range 2 {
		if err := s.Resolve(ctx, enroll.Duty{ID: "P1", Root: true}, Line("resolve")); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.Duties(ctx); err != nil || len(list) != 1 || !list[0].Root || list[0].ID != "P1" {
		t.Fatalf("%+v %v", list, err)
	}
	for _, c := range []struct {
		id    string
		root  bool
		point string
		ok    bool
	}{{"P2", true, "a", false}, {"P1", false, "a", false}, {"P1", true, "a", true}, {"P1", true, "a", true}, {"P1", true, "b", false}} {
		if err := s.Fulfil(ctx, c.id, c.root, []byte(c.point), Line("key")); (err == nil) != c.ok || err != nil && !errors.Is(err, ca.NoResponder) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if list, err := s.Duties(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	j := Job(7)
	j.State, j.Task, j.Serials.Enc, j.TBS, j.Content = ca.Intended, 0, nil, ca.Pair{Sign: []byte("tbs")}, []byte(`{"profile":"ocsp"}`)
	if err := s.Open(ctx, []ca.Job{j}, nil, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.DER.Sign = ca.Recorded, []byte("der")
	if err := s.Record(ctx, []ca.Job{j}, []ca.Publication{{Leaf: []byte("a")}}, nil, at); err != nil {
		t.Fatal(err)
	}
	Issue(t, s, 8)
	if list, err := s.Responders(ctx); err != nil || len(list) != 1 || string(list[0].DER) != "der" || list[0].Revoked {
		t.Errorf("%+v %v", list, err)
	}
}

// A rule is put on record once for an order, and no version twice.
func rules(t *testing.T, s ca.Store) {
	ctx := t.Context()
	for _, r := range []struct {
		rule ca.Rule
		ok   bool
	}{
		{ca.Rule{Kind: "settings", Version: 1, Body: []byte("{}"), Order: "P1", At: at}, true},
		{ca.Rule{Kind: "settings", Version: 1, Body: []byte("{}"), Order: "P1", At: at}, true},
		{ca.Rule{Kind: "settings", Version: 1, Body: []byte("[]"), Order: "P2", At: at}, false},
		{ca.Rule{Kind: "profile:a", Version: 1, Body: []byte("a"), Order: "P3", At: at.Add(time.Second)}, true},
	} {
		if err := s.AddRule(ctx, r.rule, Line("rule")); (err == nil) != r.ok || err != nil && !errors.Is(err, ca.RuleStale) {
			t.Errorf("%+v: %v", r.rule, err)
		}
	}
	list, err := s.Rules(ctx)
	if err != nil || len(list) != 2 || list[0].Order != "P1" || string(list[0].Body) != "{}" || list[1].Kind != "profile:a" || !list[1].At.Equal(at.Add(time.Second)) {
		t.Errorf("%+v %v", list, err)
	}
}
