package catest

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
)

// draft is a list as the CA drafts it, so that the next one can go on from it.
func draft(t *testing.T, s ca.Store, scope string, shard int, when time.Time) map[string]int {
	t.Helper()
	var tbs []byte
	l := ca.List{Scope: scope, ThisUpdate: when, NextUpdate: when.Add(24 * time.Hour)}
	if _, err := s.IntendList(t.Context(), l, shard, func(n int64, e []byte) []byte {
		tbs = crl.Draft{Issuer: []byte{0x30, 0}, Point: make([]byte, 65), ThisUpdate: when, NextUpdate: l.NextUpdate, Number: n, Entries: e}.TBS()
		return tbs
	}); err != nil {
		t.Fatal(err)
	}
	read, err := crl.Parse(cert.Assemble(tbs, []byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]int{}
	for _, e := range read.Entries {
		serial := cert.SerialHex(e.Serial)
		if _, twice := reasons[serial]; twice {
			t.Errorf("%s: %s twice", scope, serial)
		}
		reasons[serial] = e.Reason
	}
	return reasons
}

// Whatever happens between lists, the next one has what is revoked then.
func goesOn(t *testing.T, s ca.Store) {
	const hold = 6
	a, b, c := Issue(t, s, 3), Issue(t, s, 4), Issue(t, s, 19)
	sn := func(j ca.Job) string { return cert.SerialHex(j.Serials.Sign) }
	end := func(request string, j ca.Job, reason int, notAfter time.Time) func() error {
		return func() error {
			one, err := s.Certificate(t.Context(), j.Serials.Sign)
			if err != nil {
				return err
			}
			one.Revoked, one.Reason, one.RevokedAt, one.NotAfter = true, reason, at, notAfter
			return s.Revoke(t.Context(), request, []ca.Issued{one}, nil, nil, nil, at)
		}
	}
	far := at.AddDate(1, 0, 0)
	for i, step := range []struct {
		do          func() error
		full, shard map[string]int
	}{
		{func() error { return nil }, nil, nil},
		{end("R1", a, 4, at.Add(150*time.Minute)), map[string]int{sn(a): 4}, map[string]int{sn(a): 4}},
		{end("F2", b, hold, far), map[string]int{sn(a): 4, sn(b): hold}, map[string]int{sn(a): 4}},
		{end("F3", c, hold, far), map[string]int{sn(a): 4, sn(b): hold, sn(c): hold}, map[string]int{sn(a): 4, sn(c): hold}},
		{end("R3", c, 1, far), map[string]int{sn(b): hold, sn(c): 1}, map[string]int{sn(c): 1}}, // a was on one list after its end
		{func() error { return move(t, s, "U2", b.Serials.Sign, false, 0, at) }, map[string]int{sn(c): 1}, map[string]int{sn(c): 1}},
		{end("R2", b, 5, far), map[string]int{sn(b): 5, sn(c): 1}, map[string]int{sn(c): 1}},
		{func() error { return nil }, map[string]int{sn(b): 5, sn(c): 1}, map[string]int{sn(c): 1}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		when := at.Add(time.Duration(i) * time.Hour)
		if got := draft(t, s, "full", ca.Full, when); !maps.Equal(got, step.full) {
			t.Errorf("step %d, full: %v, want %v", i, got, step.full)
		}
		if got := draft(t, s, "shard-3", 3, when); !maps.Equal(got, step.shard) {
			t.Errorf("step %d, shard: %v, want %v", i, got, step.shard)
		}
	}
}

// What is intended together has one number and goes up to one change; the next
// number is one further, and each is signed by itself.
func together(t *testing.T, s ca.Store) {
	j := Issue(t, s, 3)
	if err := Revoke(t, s, j, "R1", 4); err != nil {
		t.Fatal(err)
	}
	one := func(scope string, shard int, l ca.List) ca.Wanted {
		l.Scope, l.ThisUpdate, l.NextUpdate = scope, at, at.Add(time.Hour)
		return ca.Wanted{List: l, Shard: shard, Draft: func(l ca.List, e []byte) []byte {
			return fmt.Appendf(nil, "%s %d from %d: %d", scope, l.Number, l.Base, len(e))
		}}
	}
	for i := range int64(2) {
		pair, err := s.IntendLists(t.Context(), []ca.Wanted{one("full", ca.Full, ca.List{}), one("delta", ca.Delta, ca.List{Base: i - 1})})
		if err != nil || len(pair) != 2 || pair[0].Number != i+1 || pair[1].Number != i+1 || pair[0].Upto != pair[1].Upto {
			t.Fatalf("%+v %v", pair, err)
		}
		size := 2 * len(entry(j.Serials.Sign))
		if base := max(i-1, 0); i == 0 && string(pair[1].TBS) != fmt.Sprintf("delta 1 from 1: %d", size) || i == 1 && string(pair[1].TBS) != fmt.Sprintf("delta 2 from %d: %d", base, size) {
			t.Errorf("%s", pair[1].TBS)
		}
		dirty(t, s, 3)
		for _, l := range pair {
			l.Signature = []byte("signed " + l.Scope)
			if err := s.RecordList(t.Context(), l, ca.Publication{Leaf: []byte(l.Scope)}, Line("ca.crl")); err != nil {
				t.Fatal(err)
			}
		}
	}
	have, err := s.Lists(t.Context())
	if err != nil || !have["full"].Signed || !have["delta"].Signed || have["delta"].Number != 2 || have["full"].Number != 2 {
		t.Errorf("%+v %v", have, err)
	}
}
