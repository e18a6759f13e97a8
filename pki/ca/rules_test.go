package ca_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// ruled is a CA whose people may change profiles and settings.
func ruled(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	p.Rules = &ca.Rules{Store: p.memory, Base: p.Profiles}
	if err := p.Rules.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *place) rule(t *testing.T, kind string, version int, body any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err == nil {
		err = p.memory.AddRule(t.Context(), ca.Rule{Kind: kind, Version: version, Body: text, Order: fmt.Sprint(kind, version), At: p.now}, catest.Line("rule"))
	}
	if err == nil {
		err = p.Rules.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A new version holds for new requests only: one on record goes on under that
// of its day, and a new one under it is refused.
func TestAProfilesNextVersionHoldsForNewRequestsOnly(t *testing.T) {
	for at := 1; at < 12; at++ {
		p := ruled(t)
		p.Store = &catest.Failing{Store: p.memory, At: at}
		request := p.fresh(t, "A1")
		_, err := p.Issue(t.Context(), []enroll.Request{request})
		p.Store = p.memory
		known, lookup := p.memory.Jobs(t.Context(), []string{"A1"})
		if lookup != nil || err != nil && !errors.Is(err, catest.ErrCrash) {
			t.Fatal(err, lookup)
		}
		next := p.Profiles["person-dual"]
		next.Version, next.Days.Max, next.Days.Default = next.Version+1, 100, 90
		if fault := next.Follows(p.Profiles["person-dual"]); fault != nil {
			t.Fatal(fault)
		}
		p.rule(t, ca.ProfileRule+"person-dual", next.Version, next)
		results, err := p.Issue(t.Context(), []enroll.Request{request})
		if err != nil {
			t.Fatal(err)
		}
		if _, on := known["A1"]; on != (results[0].Err == nil) || !on && !errors.Is(results[0].Err, ca.NoProfile) {
			t.Errorf("call %d: on record %v: %v", at, on, results[0].Err)
		}
		a := application(t, "A2", newKey(t))
		a.Version, a.Days = next.Version, 101
		if results, err := p.Issue(t.Context(), []enroll.Request{p.request(t, a, "clerk", "reviewer")}); err != nil || !errors.Is(results[0].Err, ca.BadContent) {
			t.Errorf("longer than the new version allows: %v %v", err, results)
		}
		a.Days = 100
		if results, err := p.Issue(t.Context(), []enroll.Request{p.request(t, a, "clerk", "reviewer")}); err != nil || results[0].Err != nil {
			t.Errorf("under the new version: %v %v", err, results)
		}
		if _, ok := p.Rules.Profile("person-dual", 1); !ok || p.Rules.Edition().Number != 2 {
			t.Error("the old version is gone")
		}
	}
}

func TestWhatIsNoNextVersion(t *testing.T) {
	p := ruled(t)
	old := p.Profiles["person-dual"]
	for _, c := range []struct {
		change func(n *profile.Profile)
		field  string
	}{
		{func(n *profile.Profile) { n.Dual = false }, "body"},
		{func(n *profile.Profile) { n.Policy = "2.999.9" }, "body"},
		{func(n *profile.Profile) { n.Usage = "ca" }, "body"},
		{func(n *profile.Profile) { n.Version++ }, "version"},
		{func(n *profile.Profile) { n.Days.Max = 4000 }, "days"},
		{func(n *profile.Profile) { n.Days.Default = 0 }, "days"},
		{func(n *profile.Profile) { n.Publish = "all" }, "publish"},
		{func(n *profile.Profile) { n.Title = "" }, "title"},
		{func(n *profile.Profile) { n.Subject = n.Subject[:1] }, "subject"},
		{func(n *profile.Profile) { n.Subject = append(n.Subject, n.Subject[0]) }, "subject.C"},
		{func(n *profile.Profile) {}, "body"},
	} {
		next := old
		next.Version++
		c.change(&next)
		if fault := next.Follows(old); fault == nil || fault.Field != c.field {
			t.Errorf("%s: %+v", c.field, fault)
		}
	}
	internal := p.Profiles["staff"]
	if fault := internal.Follows(internal); fault == nil || fault.Field != "profile" {
		t.Errorf("internal: %+v", fault)
	}
	next := old
	next.Version++
	next.Days.Max = 1825 // the CA's certificate ends in three years
	var lint *certlint.Failed
	if err := certlint.Sample(next, p.Cert, profile.Place{CRL: "http://x/1.crl", OCSP: "http://x", Issuer: "http://x/ca.cer"}, p.now); !errors.As(err, &lint) || lint.Rule.ID != "validity.issuer" {
		t.Errorf("longer than the CA: %v", err)
	}
	next.Days.Max, next.Subject = 400, append(next.Subject, profile.AttrRule{Type: "X", Title: "x", Max: 9})
	if err := certlint.Sample(next, p.Cert, profile.Place{}, p.now); !errors.As(err, &lint) || lint.Rule.ID != "subject.known" {
		t.Errorf("an attribute nobody knows: %v", err)
	}
	if changes := next.Changes(old); len(changes) != 2 || changes[0].Name != "days" || !strings.Contains(changes[0].New, "400") || changes[1].Name != "subject" {
		t.Errorf("%+v", changes)
	}
}

// More shards are for new certificates; those before keep theirs, and the lists
// follow the schedule that is set.
func TestSettingsHoldForWhatComesAfter(t *testing.T) {
	p := ruled(t)
	before := p.certificate(t, p.issue(t, "A1").Sign)
	old, version := p.Rules.Settings()
	if version != 0 || old.Shards != ca.Shards {
		t.Errorf("%+v %d", old, version)
	}
	for field, s := range map[string]ca.Settings{
		"crl_days": {31, 24, 16}, "crl_hours": {1, 13, 16}, "shards": {7, 24, 8}, "content": old,
	} {
		if err := s.Follows(old); !errors.Is(err, ca.BadRule) || refusal.Of(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	next := ca.Settings{CRLDays: 2, CRLHours: 6, Shards: 256}
	if err := next.Follows(old); err != nil {
		t.Fatal(err)
	}
	p.rule(t, ca.SettingsRule, 1, next)
	far := false
	for i := range 40 {
		c := p.certificate(t, p.issue(t, fmt.Sprint("B", i)).Sign)
		want := fmt.Sprintf("/crl/shard-%d.crl", c.Serial.Bytes()[len(c.Serial.Bytes())-1])
		if !strings.HasSuffix(c.URLs()["crl"][0], want) {
			t.Fatalf("%v, want %s", c.URLs(), want)
		}
		far = far || int(c.Serial.Bytes()[len(c.Serial.Bytes())-1]) >= ca.Shards
	}
	if !far {
		t.Error("no certificate beyond the old shards")
	}
	if on, err := p.memory.Certificate(t.Context(), before.Serial.Bytes()); err != nil || on.Shard != ca.ShardOf(before.Serial.Bytes()) {
		t.Errorf("a certificate from before moved to %d: %v", on.Shard, err)
	}
	pub := (&ca.Publisher{Issuer: p.Issuer}).Start()
	if err := pub.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	have, err := p.memory.Lists(t.Context())
	if err != nil || len(have) != 256+2 || have["full"].NextUpdate.Sub(have["full"].ThisUpdate) != 48*time.Hour {
		t.Errorf("%d lists: %v", len(have), err)
	}
	p.now = p.now.Add(7 * time.Hour)
	if err := pub.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := p.memory.Lists(t.Context()); err != nil || again["full"].Number == have["full"].Number {
		t.Errorf("not signed anew: %v", err)
	}
}

// What had been drafted before there were more shards is finished on the list
// its draft names.
func TestADraftKeepsItsShard(t *testing.T) {
	for at := 1; at < 20; at++ {
		p := ruled(t)
		f := &catest.Failing{Store: p.memory, At: at}
		p.Store = f
		request := p.fresh(t, "A1")
		_, err := p.Issue(t.Context(), []enroll.Request{request})
		if !f.Failed() {
			return
		}
		if !errors.Is(err, catest.ErrCrash) {
			continue
		}
		p.Store = p.memory
		p.rule(t, ca.SettingsRule, 1, ca.Settings{CRLDays: 7, CRLHours: 24, Shards: 251})
		results, err := p.Issue(t.Context(), []enroll.Request{request})
		if err != nil || results[0].Err != nil {
			t.Fatal(at, err, results)
		}
		for _, der := range [][]byte{results[0].Reply.Sign, results[0].Reply.Enc} {
			c := p.certificate(t, der)
			on, err := p.memory.Certificate(t.Context(), c.Serial.Bytes())
			if err != nil || !strings.HasSuffix(c.URLs()["crl"][0], "/"+ca.ScopeOf(on.Shard)+".crl") {
				t.Errorf("call %d: on record in %d, names %v: %v", at, on.Shard, c.URLs()["crl"], err)
			}
		}
	}
}

// A scheduled certificate says in the ledger when it comes into the directory,
// the same to the second however often a crash interrupts; what became of it is
// said at once. Released early it says so once.
func TestAScheduledCertificateIsDueAtTheNextTime(t *testing.T) {
	for at := 1; at < 14; at++ {
		p := ruled(t)
		next := p.Profiles["person-dual"]
		next.Version, next.PublishAt = next.Version+1, "every 6h"
		p.rule(t, ca.ProfileRule+"person-dual", next.Version, next)
		a := application(t, "A1", newKey(t))
		a.Version = next.Version
		request := p.request(t, a, "clerk", "reviewer")
		p.Store = &catest.Failing{Store: p.memory, At: at, After: at%2 == 0}
		if _, err := p.Issue(t.Context(), []enroll.Request{request}); err != nil && !errors.Is(err, catest.ErrCrash) {
			t.Fatal(err)
		}
		p.Store = p.memory
		results, err := p.Issue(t.Context(), []enroll.Request{request})
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		want := next.Due(p.now)
		said := map[string]time.Time{}
		for _, leaf := range p.memory.Leaves() {
			if e, err := record.Parse(leaf); err == nil && e.Kind == record.KindCertificate {
				c, err := record.ParseCertificate(e.Body)
				if err != nil {
					t.Fatal(err)
				}
				said[c.Use] = c.Due
			}
		}
		if len(said) != 2 || !said["sign"].Equal(want) || !said["enc"].Equal(want) || want.IsZero() {
			t.Fatalf("call %d: the ledger says %v, want %v", at, said, want)
		}
		serial := p.certificate(t, results[0].Reply.Enc).SerialHex()
		if list, err := p.Waiting(t.Context(), strings.ToLower(serial)); err != nil || len(list) != 2 {
			t.Fatalf("%d wait: %v", len(list), err)
		}
		early := func() (n int) {
			for _, leaf := range p.memory.Leaves() {
				if e, err := record.Parse(leaf); err == nil && e.Kind == record.KindRelease {
					n++
				}
			}
			return n
		}
		p.Store = &catest.Failing{Store: p.memory, At: 1 + at%4, After: at%3 == 0}
		if err := p.Release(t.Context(), "P1", serial); err != nil && !errors.Is(err, catest.ErrCrash) {
			t.Fatal(err)
		}
		p.Store = p.memory
		for range 2 {
			if err := p.Release(t.Context(), "P1", serial); err != nil || early() != 2 {
				t.Errorf("call %d: %d entries: %v", at, early(), err)
			}
		}
		if _, err := p.Waiting(t.Context(), serial); !errors.Is(err, ca.NotWaiting) {
			t.Errorf("what is there waits: %v", err)
		}
		lines := 0
		for _, l := range p.memory.Lines() {
			if l.Item == "ca.release" && l.Object == "P1" && l.Serial != "" {
				lines++
			}
		}
		if lines != 1 {
			t.Errorf("%d lines on the trail", lines)
		}
	}
	p := newPlace(t)
	plain := p.certificate(t, p.issue(t, "A1").Sign).SerialHex()
	for serial, reason := range map[string]*refusal.Reason{plain: ca.NotWaiting, "xyz": ca.NoCert, "": ca.NoCert, "0123": ca.NoCert} {
		if _, err := p.Waiting(t.Context(), serial); !errors.Is(err, reason) || refusal.Of(err).Field != "serial" {
			t.Errorf("%q: %v", serial, err)
		}
	}
}
