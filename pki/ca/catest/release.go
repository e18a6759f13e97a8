package catest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/pki/ca"
)

// What is to come into the directory later says so, until it is released; with
// one that does not wait nothing is released.
func released(t *testing.T, s ca.Store) {
	ctx := t.Context()
	at := at.Truncate(time.Second)
	due := at.Add(6 * time.Hour)
	j := Job(9)
	if err := s.Open(ctx, []ca.Job{j}, &ca.Ask{Task: j.Task, Message: []byte("ask")}, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.TBS, j.Due = ca.Intended, ca.Pair{Sign: []byte{9, 't', 1}, Enc: []byte{9, 't', 2}}, due
	if err := s.Intend(ctx, []ca.Job{j}, at); err != nil {
		t.Fatal(err)
	}
	j.DER = ca.Pair{Sign: []byte{9, 's'}, Enc: []byte{9, 'e'}}
	entries := []ca.Publication{{Leaf: []byte("c1")}, {Leaf: []byte("c2")}, {Leaf: []byte("escrow")}}
	if err := s.Record(ctx, []ca.Job{j}, entries, []audit.Entry{Line("ca.issue")}, at); err != nil {
		t.Fatal(err)
	}
	now := Issue(t, s, 3)
	want := func(serial []byte, due time.Time) {
		t.Helper()
		if c, err := s.Certificate(ctx, serial); err != nil || !c.Due.Equal(due) {
			t.Errorf("due %v, want %v: %v", c.Due, due, err)
		}
	}
	want(j.Serials.Sign, due)
	want(j.Serials.Enc, due)
	want(now.Serials.Sign, time.Time{})
	both := [][]byte{j.Serials.Sign, now.Serials.Sign}
	leaf := []ca.Publication{{Leaf: []byte("r1")}, {Leaf: []byte("r2")}}
	if err := s.Release(ctx, both, leaf, Line("ca.release"), at.Add(time.Hour)); !errors.Is(err, ca.NotWaiting) {
		t.Errorf("one of them waits for nothing: %v", err)
	}
	want(j.Serials.Sign, due)
	if err := s.Release(ctx, [][]byte{j.Serials.Sign, j.Serials.Enc}, leaf, Line("ca.release"), due); !errors.Is(err, ca.NotWaiting) {
		t.Errorf("when they are due: %v", err)
	}
	if err := s.Release(ctx, [][]byte{j.Serials.Sign, j.Serials.Enc}, leaf, Line("ca.release"), at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	want(j.Serials.Sign, at.Add(time.Hour))
	want(j.Serials.Enc, at.Add(time.Hour))
	if err := s.Release(ctx, [][]byte{j.Serials.Sign}, leaf, Line("ca.release"), at.Add(time.Hour)); !errors.Is(err, ca.NotWaiting) {
		t.Errorf("released twice: %v", err)
	}
	if err := Revoke(t, s, j, "R9", 1); err != nil {
		t.Fatal(err)
	}
}

// Release has certificates that are not due come into the directory.
func (m *Memory) Release(_ context.Context, serials [][]byte, entries []ca.Publication, line audit.Entry, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	issued := clone(m.issued)
	for _, serial := range serials {
		c, ok := issued[plain(serial)]
		if !ok || !c.Due.After(at) {
			return ca.NotWaiting.At("serial", ca.NotWaiting.Clause)
		}
		c.Due = at
		issued[plain(serial)] = c
	}
	m.issued = issued
	m.publish(entries, []audit.Entry{line})
	return nil
}
