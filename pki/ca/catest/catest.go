// Package catest holds what every store of the CA must do. (证书签发测试)
package catest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Store is the suite every store must pass.
func Store(t *testing.T, open func(*testing.T) ca.Store) {
	for name, test := range map[string]func(*testing.T, ca.Store){
		"a request goes from opened to recorded once":         once,
		"a single certificate is intended as it is opened":    single,
		"serials and keys are used once":                      usedOnce,
		"of many who claim a key at once one has it":          atOnce,
		"a request on record is not opened again":             openedOnce,
		"half of a batch is never kept":                       wholly,
		"a request refused for good frees its key":            abandoned,
		"a certificate is found by its serial":                found,
		"a revocation is done once":                           revokedOnce,
		"the key centre is told until it answers":             told,
		"a compromised key is never certified again":          compromised,
		"what is on hold comes back or ends":                  held,
		"expired entries leave after one list more":           expired,
		"a list goes on from the one before":                  goesOn,
		"lists intended together share a number":              together,
		"a rule is put on record once":                        rules,
		"what waits to be published is released once":         released,
		"a responder's key is decided once":                   duties,
		"lists of a later key have what it certified":         later,
		"a key succeeds another once":                         line,
		"lists are numbered and clear their own mark":         lists,
		"the root's list has its own certificates only":       authorities,
		"what is revoked after a list was drafted marks anew": anew,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var at = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// Job is request n as the issuer opens it, made up: a store does not look into it.
func Job(n byte) ca.Job {
	serial := func(b byte) []byte { return append([]byte{0x40, b}, bytes.Repeat([]byte{n}, 14)...) }
	return ca.Job{
		ID: fmt.Sprint("A", n), State: ca.Opened, Content: []byte(`{"profile":"person-dual"}`), KeyHash: bytes.Repeat([]byte{n}, 32),
		Serials: ca.Pair{Sign: serial(1), Enc: serial(2)}, From: at, To: at.AddDate(1, 0, 0), Task: int64(n), Shards: [2]int{int(n) % 16, int(n) % 16},
		EncKeyHash: append([]byte{0xE0}, bytes.Repeat([]byte{n}, 31)...),
	}
}

// Line is an audit line.
func Line(item string) audit.Entry {
	return audit.Entry{Start: at, End: at, Who: "system:ca", Item: item, Result: audit.Done}
}

// Issue takes request n through to Recorded.
func Issue(t *testing.T, s ca.Store, n byte) ca.Job { return IssueIn(t, s, n, int(n)%16) }

// IssueIn is Issue into a shard of choice.
func IssueIn(t *testing.T, s ca.Store, n byte, shard int) ca.Job {
	t.Helper()
	ctx := t.Context()
	j := Job(n)
	j.Shards = [2]int{shard, shard}
	if err := s.Open(ctx, []ca.Job{j}, &ca.Ask{Task: j.Task, Message: []byte("ask")}, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.TBS, j.Sealed = ca.Intended, ca.Pair{Sign: []byte{n, 't', 1}, Enc: []byte{n, 't', 2}}, []byte("sealed")
	if err := s.Intend(ctx, []ca.Job{j}, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.DER = ca.Recorded, ca.Pair{Sign: []byte{n, 1}, Enc: []byte{n, 2}}
	entries := []ca.Publication{{Leaf: []byte{n, 'a'}}, {Leaf: []byte{n, 'b'}}, {Leaf: []byte{n, 'c'}}}
	if err := s.Record(ctx, []ca.Job{j}, entries, []audit.Entry{Line("ca.issue")}, at); err != nil {
		t.Fatal(err)
	}
	return j
}

// Revoke revokes both certificates of a request.
func Revoke(t *testing.T, s ca.Store, j ca.Job, request string, reason int) error {
	t.Helper()
	var changes []ca.Issued
	for _, serial := range [][]byte{j.Serials.Sign, j.Serials.Enc} {
		c, err := s.Certificate(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		c.Revoked, c.Reason, c.RevokedAt, c.Invalid = true, reason, at, at.Add(-time.Hour)
		changes = append(changes, c)
	}
	entries := []ca.Publication{{Leaf: []byte("s1")}, {Leaf: []byte("s2")}}
	return s.Revoke(t.Context(), request, changes, entries, []audit.Entry{Line("ca.revoke")}, &ca.Ask{Task: 1000 + j.Task, Message: []byte("retire")}, at)
}

func have(t *testing.T, s ca.Store, ids ...string) map[string]ca.Job {
	t.Helper()
	known, err := s.Jobs(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func once(t *testing.T, s ca.Store) {
	ctx := t.Context()
	j := Issue(t, s, 3)
	known := have(t, s, j.ID, "other")
	k := known[j.ID]
	if len(known) != 1 || k.State != ca.Recorded || k.Task != j.Task || k.Shards != j.Shards || !k.From.Equal(j.From) || !k.To.Equal(j.To) {
		t.Errorf("%d jobs, read back %+v", len(known), k)
	}
	for _, p := range [][2][]byte{
		{k.Content, j.Content}, {k.KeyHash, j.KeyHash}, {k.Serials.Sign, j.Serials.Sign}, {k.Serials.Enc, j.Serials.Enc},
		{k.TBS.Sign, j.TBS.Sign}, {k.TBS.Enc, j.TBS.Enc}, {k.DER.Sign, j.DER.Sign}, {k.DER.Enc, j.DER.Enc}, {k.Sealed, j.Sealed},
	} {
		if !bytes.Equal(p[0], p[1]) {
			t.Errorf("read back %x, want %x", p[0], p[1])
		}
	}
	if len(k.Digest) != 32 {
		t.Error("no digest")
	}
	if err := s.Intend(ctx, []ca.Job{j}, at); err == nil {
		t.Error("a second intent was taken")
	}
	if err := s.Record(ctx, []ca.Job{j}, nil, nil, at); err == nil {
		t.Error("a second record was taken")
	}
	if ask, err := s.Ask(ctx, j.Task); err != nil || string(ask.Message) != "ask" {
		t.Error(ask, err)
	}
	if _, err := s.Ask(ctx, 77); err == nil {
		t.Error("an unknown task has a message")
	}
}

func single(t *testing.T, s ca.Store) {
	a, b := Job(1), Job(2)
	for _, j := range []*ca.Job{&a, &b} { // two, both without a second serial
		j.State, j.Task, j.Serials.Enc, j.Shards[1], j.TBS.Sign = ca.Intended, 0, nil, 0, []byte("tbs")
	}
	if err := s.Open(t.Context(), []ca.Job{a, b}, nil, at); err != nil {
		t.Fatal(err)
	}
	k := have(t, s, a.ID)[a.ID]
	if k.State != ca.Intended || k.Serials.Enc != nil || string(k.TBS.Sign) != "tbs" || k.TBS.Enc != nil {
		t.Errorf("%+v", k)
	}
	a.State, a.DER.Sign = ca.Recorded, []byte("der")
	if err := s.Record(t.Context(), []ca.Job{a}, []ca.Publication{{Leaf: []byte("l")}}, nil, at); err != nil {
		t.Fatal(err)
	}
	c, err := s.Certificate(t.Context(), a.Serials.Sign)
	if err != nil || c.Use != "sign" || len(c.Pair) != 0 {
		t.Errorf("%+v %v", c, err)
	}
}

func usedOnce(t *testing.T, s ca.Store) {
	ctx := t.Context()
	j := Issue(t, s, 3)
	sameKey := Job(4)
	sameKey.KeyHash = j.KeyHash
	if err := s.Open(ctx, []ca.Job{Job(5), sameKey}, nil, at); !errors.Is(err, ca.KeyInUse) {
		t.Errorf("a key in use: %v", err)
	}
	again := Job(9)
	again.EncKeyHash = j.EncKeyHash
	if err := s.Open(ctx, []ca.Job{again}, nil, at); err != nil {
		t.Fatal(err)
	}
	if again.State = ca.Intended; s.Intend(ctx, []ca.Job{again}, at) == nil {
		t.Error("a key the centre gave twice is to be certified twice")
	}
	escrowed := Job(8)
	escrowed.KeyHash = j.EncKeyHash
	if err := s.Open(ctx, []ca.Job{Job(5), escrowed}, nil, at); !errors.Is(err, ca.KeyEscrowed) {
		t.Errorf("a key the centre holds: %v", err)
	}
	twice := Job(6)
	twice.KeyHash = Job(5).KeyHash
	if err := s.Open(ctx, []ca.Job{Job(5), twice}, nil, at); !errors.Is(err, ca.KeyInUse) {
		t.Errorf("a key twice in a batch: %v", err)
	}
	for _, change := range []func(*ca.Job){
		func(k *ca.Job) { k.Serials.Sign = j.Serials.Sign }, func(k *ca.Job) { k.Serials.Enc = j.Serials.Enc },
	} {
		same := Job(7)
		change(&same)
		if err := s.Open(ctx, []ca.Job{Job(5), same}, nil, at); err == nil {
			t.Error("a serial was reserved twice")
		}
	}
	if known := have(t, s, "A4", "A5", "A6", "A7"); len(known) != 0 {
		t.Errorf("%d jobs of refused batches remain", len(known))
	}
	if err := s.Open(ctx, []ca.Job{Job(5)}, nil, at); err != nil {
		t.Errorf("the key of a refused batch is not free: %v", err)
	}
}

func atOnce(t *testing.T, s ca.Store) {
	const many = 6
	errs := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		j := Job(byte(i + 1))
		j.KeyHash = Job(1).KeyHash
		wg.Go(func() { errs[i] = s.Open(context.Background(), []ca.Job{j, Job(byte(i + 100))}, nil, at) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		opened := len(have(t, s, fmt.Sprint("A", i+1), fmt.Sprint("A", i+100)))
		switch {
		case err == nil && opened == 2:
			won++
		case !errors.Is(err, ca.KeyInUse) || opened > 0:
			t.Errorf("%d of 2 opened: %v", opened, err)
		}
	}
	if won != 1 {
		t.Errorf("%d have the key", won)
	}
}

// Two callers may ask for one request at once. The later one must not hear that
// its key is taken: it is taken by itself.
func openedOnce(t *testing.T, s ca.Store) {
	j := Issue(t, s, 3)
	again := j
	again.Serials = Job(9).Serials
	if err := s.Open(t.Context(), []ca.Job{again}, nil, at); err == nil || refusal.Of(err) != nil {
		t.Errorf("the same request: %v", err)
	}
	again.KeyHash = Job(9).KeyHash
	if err := s.Open(t.Context(), []ca.Job{again}, nil, at); err == nil || refusal.Of(err) != nil {
		t.Errorf("its number with another key: %v", err)
	}
	if k := have(t, s, j.ID)[j.ID]; !bytes.Equal(k.Serials.Sign, j.Serials.Sign) {
		t.Error("other serials were reserved")
	}
}

func wholly(t *testing.T, s ca.Store) {
	ctx := t.Context()
	done := Issue(t, s, 3)
	fresh := Job(4)
	if err := s.Open(ctx, []ca.Job{fresh}, nil, at); err != nil {
		t.Fatal(err)
	}
	fresh.TBS = ca.Pair{Sign: []byte("x"), Enc: []byte("y")}
	if err := s.Intend(ctx, []ca.Job{fresh, done}, at); err == nil {
		t.Error("an intent beside one already recorded was taken")
	}
	if k := have(t, s, fresh.ID)[fresh.ID]; k.State != ca.Opened || k.TBS.Sign != nil {
		t.Errorf("half of it was kept: %+v", k)
	}
	if err := s.Record(ctx, []ca.Job{done, fresh}, nil, nil, at); err == nil {
		t.Error("what was never intended was recorded")
	}
}

func found(t *testing.T, s ca.Store) {
	j := Issue(t, s, 3)
	for _, c := range []struct {
		use          string
		serial, pair []byte
		der          []byte
	}{{"sign", j.Serials.Sign, j.Serials.Enc, j.DER.Sign}, {"enc", append([]byte{0}, j.Serials.Enc...), j.Serials.Sign, j.DER.Enc}} {
		got, err := s.Certificate(t.Context(), c.serial)
		if err != nil || got.Use != c.use || !bytes.Equal(got.Pair, c.pair) || !bytes.Equal(got.DER, c.der) || got.Revoked ||
			got.Request != j.ID || got.Profile != "person-dual" || got.Shard != 3 {
			t.Errorf("%s: %+v %v", c.use, got, err)
		}
	}
	if _, err := s.Certificate(t.Context(), []byte{1, 2, 3}); !errors.Is(err, ca.NoCert) {
		t.Errorf("an unknown serial: %v", err)
	}
}

func revokedOnce(t *testing.T, s ca.Store) {
	ctx := t.Context()
	j := Issue(t, s, 3)
	if _, ok, err := s.Revocation(ctx, "R1"); ok || err != nil {
		t.Errorf("done before it was asked: %v %v", ok, err)
	}
	if err := Revoke(t, s, j, "R1", 4); err != nil {
		t.Fatal(err)
	}
	if err := Revoke(t, s, j, "R2", 4); !errors.Is(err, ca.Revoked) {
		t.Errorf("again: %v", err)
	}
	done, ok, err := s.Revocation(ctx, "R1")
	if err != nil || !ok || len(done.Serials) != 2 || !done.At.Equal(at) {
		t.Error(done, ok, err)
	}
	if _, ok, err := s.Revocation(ctx, "R2"); ok || err != nil {
		t.Errorf("a refused revocation counts as done: %v %v", ok, err)
	}
	c, err := s.Certificate(ctx, j.Serials.Enc)
	if err != nil || !c.Revoked || c.Reason != 4 || !c.RevokedAt.Equal(at) || !c.Invalid.Equal(at.Add(-time.Hour)) {
		t.Errorf("%+v %v", c, err)
	}
	again := Job(7)
	again.KeyHash = j.KeyHash
	if err := s.Open(ctx, []ca.Job{again}, nil, at); err != nil {
		t.Errorf("a superseded key may be certified again: %v", err)
	}
}

func told(t *testing.T, s ca.Store) {
	ctx := t.Context()
	for n := byte(1); n <= 3; n++ {
		if err := Revoke(t, s, Issue(t, s, n), fmt.Sprint("R", n), 4); err != nil {
			t.Fatal(err)
		}
	}
	if asks, err := s.Unsent(ctx, 2); err != nil || len(asks) != 2 {
		t.Fatalf("the limit: %v %v", asks, err)
	}
	if err := s.Answered(ctx, 1002); err != nil {
		t.Fatal(err)
	}
	asks, err := s.Unsent(ctx, 10)
	if err != nil || len(asks) != 2 { // the messages that asked for keys are no part of it
		t.Fatal(asks, err)
	}
	for _, a := range asks {
		if a.Task == 1002 || string(a.Message) != "retire" {
			t.Errorf("%+v", a)
		}
	}
}

func compromised(t *testing.T, s ca.Store) {
	j := Issue(t, s, 3)
	if err := Revoke(t, s, j, "R1", 1); err != nil {
		t.Fatal(err)
	}
	again := Job(7)
	again.KeyHash = j.KeyHash
	if err := s.Open(t.Context(), []ca.Job{again}, nil, at); !errors.Is(err, ca.KeyInUse) {
		t.Errorf("a compromised key: %v", err)
	}
}

// intend drafts a list of a shard; its draft is the number and the entries.
func intend(t *testing.T, s ca.Store, shard int) (l ca.List, entries []byte) {
	t.Helper()
	l, err := s.IntendList(t.Context(), ca.List{Scope: fmt.Sprint("shard", shard), ThisUpdate: at, NextUpdate: at.Add(time.Hour)}, shard, func(n int64, e []byte) []byte {
		entries = e
		return fmt.Append(nil, "draft ", n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, entries
}

func dirty(t *testing.T, s ca.Store, want ...int) {
	t.Helper()
	have, err := s.Dirty(t.Context())
	if err != nil || fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("dirty %v, want %v: %v", have, want, err)
	}
}

// Numbers rise over all scopes; a list clears its own mark and no other.
func lists(t *testing.T, s ca.Store) {
	j := Issue(t, s, 3)
	if err := Revoke(t, s, j, "R1", 4); err != nil {
		t.Fatal(err)
	}
	dirty(t, s, ca.Delta, ca.Full, 3)
	want := append(entry(j.Serials.Sign), entry(j.Serials.Enc)...)
	for i, c := range []struct {
		shard   int
		entries []byte
	}{{3, want}, {4, nil}, {ca.Full, want}, {ca.Delta, want}} {
		l, entries := intend(t, s, c.shard)
		if string(l.TBS) != fmt.Sprint("draft ", i+1) || l.Number != int64(i+1) || !bytes.Equal(entries, c.entries) {
			t.Fatalf("%+v, entries %x", l, entries)
		}
		if c.shard == 3 {
			dirty(t, s, ca.Delta, ca.Full)
			l.Signature = []byte("signed")
			if err := s.RecordList(t.Context(), l, ca.Publication{Leaf: []byte("l")}, Line("ca.crl")); err != nil {
				t.Fatal(err)
			}
		}
	}
	dirty(t, s)
	have, err := s.Lists(t.Context())
	if err != nil || len(have) != 4 || !have["shard3"].Signed || have["shard3"].Size != 7 || have["shard4"].Signed || string(have["shard4"].TBS) != "draft 2" {
		t.Errorf("%+v %v", have, err)
	}
	if l, _ := intend(t, s, 3); l.Number != 5 {
		t.Errorf("the next number is %d", l.Number)
	}
	if have, err := s.Lists(t.Context()); err != nil || have["shard3"].Number != 5 || have["shard3"].Signed || !have["shard3"].NextUpdate.Equal(at.Add(time.Hour)) {
		t.Errorf("the newest: %+v %v", have["shard3"], err)
	}
}

func entry(serial []byte) []byte {
	return crl.Entry{Serial: serial, At: at, Reason: 4, Invalid: at.Add(-time.Hour)}.Bytes()
}

func anew(t *testing.T, s ca.Store) {
	a, b := Issue(t, s, 3), Issue(t, s, 19) // both of shard 3
	if err := Revoke(t, s, a, "R1", 4); err != nil {
		t.Fatal(err)
	}
	l, _ := intend(t, s, 3)
	if err := Revoke(t, s, b, "R2", 4); err != nil {
		t.Fatal(err)
	}
	l.Signature = []byte("signed")
	if err := s.RecordList(t.Context(), l, ca.Publication{Leaf: []byte("l")}, Line("ca.crl")); err != nil {
		t.Fatal(err)
	}
	dirty(t, s, ca.Delta, ca.Full, 3)
	if _, entries := intend(t, s, 3); len(entries) != 4*len(entry(a.Serials.Sign)) {
		t.Errorf("%d bytes of entries", len(entries))
	}
}

// An abandoned request leaves its serials used and its key and ID free.
func move(t *testing.T, s ca.Store, request string, serial []byte, revoked bool, reason int, when time.Time) error {
	t.Helper()
	c, err := s.Certificate(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	c.Revoked, c.Reason, c.RevokedAt, c.Invalid = revoked, reason, when, time.Time{}
	return s.Revoke(t.Context(), request, []ca.Issued{c}, nil, nil, nil, when)
}

// since drafts a delta list of what changed after the first so many changes.
func since(t *testing.T, s ca.Store, from int64) (entries []byte) {
	t.Helper()
	_, err := s.IntendList(t.Context(), ca.List{Scope: "delta", ThisUpdate: at, NextUpdate: at, Base: 1, Since: from}, ca.Delta, func(_ int64, e []byte) []byte {
		entries = bytes.Clone(e)
		return []byte("delta")
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func held(t *testing.T, s ca.Store) {
	const hold = 6
	j := Issue(t, s, 3)
	serial := j.Serials.Sign
	later := at.Add(time.Hour)
	if err := move(t, s, "U0", serial, false, 0, at); !errors.Is(err, ca.NotHeld) {
		t.Errorf("released what is not held: %v", err)
	}
	if err := move(t, s, "F1", serial, true, hold, at); err != nil {
		t.Fatal(err)
	}
	if err := move(t, s, "F2", serial, true, hold, at); !errors.Is(err, ca.Held) {
		t.Errorf("held twice: %v", err)
	}
	on := crl.Entry{Serial: serial, At: at, Reason: hold}.Bytes()
	if _, entries := intend(t, s, 3); !bytes.Equal(entries, on) {
		t.Errorf("on hold: entries %x", entries)
	}
	if done, ok, err := s.Revocation(t.Context(), "F1"); err != nil || !ok || len(done.Serials) != 1 {
		t.Errorf("what F1 did: %v %v %v", done, ok, err)
	}
	if err := s.Open(t.Context(), []ca.Job{{ID: "other", State: ca.Opened, Content: []byte("{}"), KeyHash: j.KeyHash, Serials: ca.Pair{Sign: []byte{0x40, 77}}, From: at, To: at}}, nil, at); !errors.Is(err, ca.KeyInUse) {
		t.Errorf("the key of a held certificate is free: %v", err)
	}
	if err := move(t, s, "U1", serial, false, 0, later); err != nil {
		t.Fatal(err)
	}
	if _, entries := intend(t, s, 3); len(entries) != 0 {
		t.Errorf("released: entries %x", entries)
	}
	if got, want := since(t, s, 1), (crl.Entry{Serial: serial, At: later, Reason: crl.RemoveFromCRL}).Bytes(); !bytes.Equal(got, want) {
		t.Errorf("delta after the release: %x, want %x", got, want)
	}
	if got := since(t, s, 2); len(got) != 0 {
		t.Errorf("delta with nothing new: %x", got)
	}
	if err := move(t, s, "F3", serial, true, hold, later); err != nil {
		t.Fatal(err)
	}
	if err := move(t, s, "R1", serial, true, 4, later); err != nil {
		t.Errorf("from hold to the end: %v", err)
	}
	for _, to := range []bool{true, false} {
		if err := move(t, s, "X", serial, to, hold, later); !errors.Is(err, ca.Revoked) {
			t.Errorf("out of revocation, to %v: %v", to, err)
		}
	}
	if got, want := since(t, s, 1), (crl.Entry{Serial: serial, At: later, Reason: 4}).Bytes(); !bytes.Equal(got, want) {
		t.Errorf("delta after the end: %x, want %x", got, want)
	}
}

func expired(t *testing.T, s ca.Store) {
	j := Issue(t, s, 3)
	c, err := s.Certificate(t.Context(), j.Serials.Sign)
	if err != nil {
		t.Fatal(err)
	}
	c.Revoked, c.Reason, c.RevokedAt, c.NotAfter = true, 4, at, at.Add(time.Minute)
	if err := s.Revoke(t.Context(), "R1", []ca.Issued{c}, nil, nil, nil, at); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false} { // before its end, once after it, and no more
		n := -1
		l := ca.List{Scope: "full", ThisUpdate: at.Add(time.Duration(i) * time.Hour), NextUpdate: at.Add(24 * time.Hour)}
		if _, err := s.IntendList(t.Context(), l, ca.Full, func(_ int64, e []byte) []byte { n = len(e); return []byte("x") }); err != nil {
			t.Fatal(err)
		}
		if n > 0 != want {
			t.Errorf("list %d: %d bytes of entries", i, n)
		}
	}
}

// What the root issued stands in the root's list, and in no list of the CA's.
func authorities(t *testing.T, s ca.Store) {
	ctx := t.Context()
	j := Job(1)
	j.State, j.Task, j.Serials.Enc, j.TBS = ca.Intended, 0, nil, ca.Pair{Sign: []byte("tbs")}
	j.Content, j.Shards[0] = []byte(`{"profile":"subordinate-ca"}`), ca.Authorities
	if err := s.Open(ctx, []ca.Job{j}, nil, at); err != nil {
		t.Fatal(err)
	}
	j.State, j.DER.Sign = ca.Recorded, []byte("der")
	if err := s.Record(ctx, []ca.Job{j}, []ca.Publication{{Leaf: []byte("a")}, {Leaf: []byte("b")}}, nil, at); err != nil {
		t.Fatal(err)
	}
	other := Issue(t, s, 2)
	c, err := s.Certificate(ctx, j.Serials.Sign)
	if err != nil || c.Shard != ca.Authorities {
		t.Fatalf("%+v %v", c, err)
	}
	c.Revoked, c.Reason, c.RevokedAt = true, 2, at
	if err := s.Revoke(ctx, "R1", []ca.Issued{c}, nil, nil, nil, at); err != nil {
		t.Fatal(err)
	}
	dirty(t, s, ca.Authorities)
	for _, shard := range []int{ca.Full, other.Shards[0]} {
		if _, entries := intend(t, s, shard); len(entries) > 0 {
			t.Errorf("list %d has %x", shard, entries)
		}
	}
	if entries := since(t, s, 0); len(entries) > 0 {
		t.Errorf("the list of changes has %x", entries)
	}
	if _, entries := intend(t, s, ca.Authorities); !bytes.Contains(entries, c.Serial) {
		t.Error("the root's list does not have it")
	}
	dirty(t, s)
	again := j
	again.ID, again.Serials.Sign, again.State = "A9", Job(9).Serials.Sign, ca.Intended
	if err := s.Open(ctx, []ca.Job{again}, nil, at); !errors.Is(err, ca.KeyInUse) {
		t.Errorf("a compromised CA's key was certified again: %v", err)
	}
}
