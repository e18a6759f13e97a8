package ratest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
)

// gone is a case whose number was forgotten.
type gone struct {
	id, proposal string
	at           time.Time
}

// Outlived returns cases whose certificates ended before a time and that still
// hold a number.
func (m *Memory) Outlived(_ context.Context, profiles []string, before time.Time, after string, limit int) (list []ra.Record, err error) {
	for _, rec := range m.All() {
		c, err := cert.Parse(rec.Reply.Sign)
		if err != nil || rec.Identity.Number.Blob == nil || !slices.Contains(profiles, rec.Profile) || !c.NotAfter.Before(before) || rec.ID <= after || len(list) == limit {
			continue
		}
		rec.Events = nil
		list = append(list, rec)
	}
	return list, nil
}

// ForgetIdentity takes numbers away for good.
func (m *Memory) ForgetIdentity(_ context.Context, proposal string, ids []string, at time.Time, line audit.Entry) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cases = clone(m.cases)
	for _, id := range ids {
		rec, ok := m.cases[id]
		if !ok || rec.Identity.Number.Blob == nil {
			continue
		}
		rec.Identity = ra.Sealed{}
		m.cases[id] = rec
		m.gone = append(m.gone, gone{id, proposal, at})
		n++
	}
	if n > 0 {
		line.Detail = fmt.Sprintf("销毁身份证件号码 %d 件", n)
		m.lines = append(m.lines, line)
	}
	return n, nil
}

// Forgotten returns ids forgotten under a proposal.
func (m *Memory) Forgotten(_ context.Context, proposal, after string, limit int) (ids []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.gone {
		if g.proposal == proposal && g.id > after {
			ids = append(ids, g.id)
		}
	}
	slices.Sort(ids)
	return ids[:min(limit, len(ids))], nil
}

// WasForgotten reports when and why a number was forgotten.
func (m *Memory) WasForgotten(_ context.Context, id string) (at time.Time, proposal string, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.gone {
		if g.id == id {
			return g.at, g.proposal, true, nil
		}
	}
	return at, "", false, nil
}

// DropEvidence takes files away for good.
func (m *Memory) DropEvidence(_ context.Context, digests [][]byte, line audit.Entry) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = clone(m.files)
	for _, d := range digests {
		if _, ok := m.files[string(d)]; ok {
			delete(m.files, string(d))
			n++
		}
	}
	if n > 0 {
		m.lines = append(m.lines, line)
	}
	return n, nil
}

func outlived(d *Desk) {
	t, ctx := d.t, d.t.Context()
	end := Now.AddDate(1, 0, 0).Truncate(time.Second) // as Certificate makes them
	d.issued(0, ra.Issued)
	d.issued(1, ra.Delivered)
	ids := func(before time.Time, after string, limit int, profiles ...string) (got string) {
		list, err := d.Outlived(ctx, profiles, before, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			got += r.ID + " "
		}
		return got
	}
	a, b, profile := Sample(0).ID, Sample(1).ID, Sample(0).Profile
	for _, c := range []struct{ name, got, want string }{
		{"ended", ids(end.Add(time.Millisecond), "", 9, profile), a + " " + b + " "}, {"not yet", ids(end, "", 9, profile), ""}, {"no profile", ids(end.AddDate(1, 0, 0), "", 9), ""},
		{"another profile", ids(end.AddDate(1, 0, 0), "", 9, "none"), ""}, {"one at a time", ids(end.AddDate(1, 0, 0), "", 1, "none", profile), a + " "}, {"after one", ids(end.AddDate(1, 0, 0), a, 9, profile), b + " "},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	for i, want := range []int{1, 1, 0} {
		list := [][]string{{a}, {a, b}, {a, b}}[i]
		if n, err := d.ForgetIdentity(ctx, "P1", list, end, Line("ra.forget")[0]); n != want || err != nil {
			t.Errorf("forgot %d, want %d: %v", n, want, err)
		}
	}
	if rec, err := d.Case(ctx, a); err != nil || rec.Identity.Number.Blob != nil || rec.Identity.Blind != nil || len(rec.Content) == 0 {
		t.Errorf("%+v %v", rec.Identity, err)
	}
	if got := ids(end.AddDate(1, 0, 0), "", 9, profile); got != "" {
		t.Errorf("still due: %s", got)
	}
	if got, err := d.Forgotten(ctx, "P1", a, 9); err != nil || len(got) != 1 || got[0] != b {
		t.Errorf("%v %v", got, err)
	}
	if at, p, ok, err := d.WasForgotten(ctx, b); !ok || p != "P1" || !at.Equal(end) || err != nil {
		t.Errorf("%v %q %v %v", at, p, ok, err)
	}
	if _, _, ok, err := d.WasForgotten(ctx, "none"); ok || err != nil {
		t.Error(ok, err)
	}
	e := ra.Evidence{Digest: []byte("d"), Name: "a.pdf", Size: 1, By: "c", At: end, Sealed: Sample(0).Identity.Number}
	if err := d.KeepEvidence(ctx, e, Line("ra.evidence")[0]); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := d.DropEvidence(ctx, [][]byte{e.Digest, []byte("none")}, Line("ra.forget")[0]); n != want || err != nil {
			t.Errorf("dropped %d, want %d: %v", n, want, err)
		}
	}
}
