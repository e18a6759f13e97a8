package kmtest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const ca = "ca-1"

// Store is the suite every store must pass.
func Store(t *testing.T, open func(*testing.T) km.Store) {
	for name, test := range map[string]func(*testing.T, km.Store){
		"the oldest pairs are taken and come back as stored":   oldestFirst,
		"a pair is never given twice":                          neverTwice,
		"a short pool changes nothing, fresh pairs go past it": short,
		"a message on record has no second effect":             onRecord,
		"what is decided is done all at once":                  allAtOnce,
		"a change that cannot be done leaves nothing":          nothingLeft,
		"the first response wins":                              firstWins,
		"ended pairs go to the history":                        expire,
		"old responses are forgotten, messages are not":        forget,
		"task zero is a task":                                  taskZero,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func line(item string) audit.Entry {
	return audit.Entry{Start: at, End: at, Who: "system:km", Role: "machine", Item: item, Result: audit.Done}
}

// pair n is made up: a store does not look into it.
func pair(n int) hsm.Pair {
	point := bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 33)[:65]
	return hsm.Pair{Point: point, Private: hsm.Wrapped{Version: 1, Master: "m", Blob: fmt.Appendf(nil, "blob-%d", n)}}
}

func pairs(from, n int) (list []hsm.Pair) {
	for i := range n {
		list = append(list, pair(from+i))
	}
	return list
}

func deposit(t *testing.T, s km.Store, from, n int) {
	t.Helper()
	if err := s.Deposit(t.Context(), pairs(from, n), line("km.generate")); err != nil {
		t.Fatal(err)
	}
}

func task(n byte) km.Task { return km.Task{CA: ca, No: []byte{n}, Digest: []byte{n, n}, At: at} }

func record(serial ...byte) km.Record {
	return km.Record{
		State: km.InUse, CA: ca, Serial: serial, From: at, To: at.AddDate(1, 0, 0), UserName: "张三", Region: "110000",
		SealedTo: []byte("owner"), Task: []byte{9}, TakenAt: at,
	}
}

func taking(list ...km.Record) func(map[string]km.Record) km.Effect {
	return func(map[string]km.Record) km.Effect {
		e := km.Effect{Outcome: make([]byte, len(list)), Lines: []audit.Entry{line("km.apply")}}
		e.Take = append(e.Take, list...)
		return e
	}
}

func serials(list ...km.Record) (s [][]byte) {
	for _, r := range list {
		s = append(s, r.Serial)
	}
	return s
}

func begin(t *testing.T, s km.Store, k km.Task, list ...km.Record) map[string]km.Record {
	t.Helper()
	_, held, err := s.Begin(t.Context(), k, serials(list...), nil, taking(list...))
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func counts(t *testing.T, s km.Store, standby, inUse, history int) {
	t.Helper()
	n, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n[km.Standby] != standby || n[km.InUse] != inUse || n[km.History] != history {
		t.Errorf("standby %d, in use %d, history %d; want %d, %d, %d", n[km.Standby], n[km.InUse], n[km.History], standby, inUse, history)
	}
}

func oldestFirst(t *testing.T, s km.Store) {
	deposit(t, s, 1, 3)
	held := begin(t, s, task(1), record(1), record(2))
	counts(t, s, 1, 2, 0)
	for i, serial := range []string{"\x01", "\x02"} {
		got, ok, err := s.Record(t.Context(), ca, []byte(serial))
		if err != nil || !ok {
			t.Fatalf("record %d: %v %v", i, ok, err)
		}
		if !reflect.DeepEqual(got, held[serial]) {
			t.Errorf("read %+v\nbegun %+v", got, held[serial])
		}
		want := record([]byte(serial)...)
		want.ID, want.Pair = got.ID, pair(i+1)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
	if _, ok, err := s.Record(t.Context(), "ca-2", []byte{1}); ok || err != nil {
		t.Errorf("another CA sees the record: %v %v", ok, err)
	}
}

func neverTwice(t *testing.T, s km.Store) {
	const tasks, each = 12, 5
	deposit(t, s, 1, tasks*each)
	var mu sync.Mutex
	owner := map[string]string{}
	var wg sync.WaitGroup
	for n := range tasks {
		wg.Go(func() {
			var list []km.Record
			for i := range each {
				list = append(list, record(byte(n+1), byte(i)))
			}
			_, held, err := s.Begin(t.Context(), task(byte(n+1)), serials(list...), nil, taking(list...))
			if err != nil || len(held) != each {
				t.Errorf("task %d: %d records, %v", n, len(held), err)
			}
			mu.Lock()
			defer mu.Unlock()
			for serial, r := range held {
				if other, ok := owner[string(r.Pair.Point)]; ok {
					t.Errorf("%x and %x have the same pair", serial, other)
				}
				owner[string(r.Pair.Point)] = serial
			}
		})
	}
	wg.Wait()
	counts(t, s, 0, tasks*each, 0)
}

func short(t *testing.T, s km.Store) {
	deposit(t, s, 1, 1)
	list := []km.Record{record(1), record(2)}
	if _, _, err := s.Begin(t.Context(), task(1), serials(list...), nil, taking(list...)); !errors.Is(err, km.ErrShort) {
		t.Fatalf("got %v", err)
	}
	counts(t, s, 1, 0, 0)
	if _, ok, err := s.Task(t.Context(), ca, []byte{1}); ok || err != nil {
		t.Errorf("the task is on record: %v %v", ok, err)
	}
	_, held, err := s.Begin(t.Context(), task(1), serials(list...), pairs(10, 2), taking(list...))
	if err != nil || !reflect.DeepEqual(held["\x02"].Pair, pair(11)) {
		t.Fatalf("%v %+v", err, held["\x02"])
	}
	counts(t, s, 1, 2, 0)
}

func onRecord(t *testing.T, s km.Store) {
	deposit(t, s, 1, 4)
	held := begin(t, s, task(1), record(1))
	other := task(1)
	other.Digest = []byte("other bytes")
	got, again, err := s.Begin(t.Context(), other, [][]byte{{1}}, nil, func(map[string]km.Record) km.Effect {
		t.Error("asked to decide a second time")
		return km.Effect{}
	})
	if err != nil || !bytes.Equal(got.Digest, task(1).Digest) || !bytes.Equal(got.Outcome, []byte{0}) || got.Response != nil || !got.At.Equal(at) {
		t.Errorf("%v %+v", err, got)
	}
	if !reflect.DeepEqual(again, held) {
		t.Errorf("got %+v\nwant %+v", again, held)
	}
	counts(t, s, 3, 1, 0)
}

func allAtOnce(t *testing.T, s km.Store) {
	deposit(t, s, 1, 9)
	begin(t, s, task(1), record(1), record(2))
	k := task(2)
	k.At = at.Add(time.Hour)
	got, held, err := s.Begin(t.Context(), k, [][]byte{{1}, {2}, {3}, {4}}, nil, func(before map[string]km.Record) km.Effect {
		if len(before) != 2 || before["\x01"].State != km.InUse {
			t.Errorf("sees %+v", before)
		}
		return km.Effect{
			Outcome: []byte{0, 0, 0, 8}, Take: []km.Record{record(3)},
			Reseal: []km.Record{{CA: ca, Serial: []byte{1}, SealedTo: []byte("new")}}, Retire: [][]byte{{2}},
			Lines: []audit.Entry{line("km.apply"), line("km.restore"), line("km.revoke")},
		}
	})
	if err != nil || !bytes.Equal(got.Outcome, []byte{0, 0, 0, 8}) || len(held) != 3 {
		t.Fatalf("%v %+v %d", err, got, len(held))
	}
	if string(held["\x01"].SealedTo) != "new" || held["\x02"].State != km.History || !held["\x02"].RetiredAt.Equal(k.At) || held["\x03"].Pair.Point == nil {
		t.Errorf("%+v", held)
	}
	for serial, want := range held {
		r, ok, err := s.Record(t.Context(), ca, []byte(serial))
		if err != nil || !ok || !reflect.DeepEqual(r, want) {
			t.Errorf("%v %v\nread %+v\nwant %+v", ok, err, r, want)
		}
	}
	counts(t, s, 6, 2, 1)
}

func nothingLeft(t *testing.T, s km.Store) {
	deposit(t, s, 1, 9)
	begin(t, s, task(1), record(1))
	list := []km.Record{record(2), record(1)} // the second is taken
	if _, _, err := s.Begin(t.Context(), task(2), nil, nil, taking(list...)); err == nil {
		t.Error("a serial was given a second pair")
	}
	counts(t, s, 8, 1, 0)
	if _, ok, _ := s.Record(t.Context(), ca, []byte{2}); ok {
		t.Error("half of it was done")
	}
	if _, ok, _ := s.Task(t.Context(), ca, []byte{2}); ok {
		t.Error("the message is on record")
	}
}

func firstWins(t *testing.T, s km.Store) {
	deposit(t, s, 1, 1)
	begin(t, s, task(1), record(1))
	for _, response := range []string{"first", "second"} {
		k := task(1)
		k.Response = []byte(response)
		got, err := s.Finish(t.Context(), k, line("km.answer"))
		if err != nil || string(got) != "first" {
			t.Errorf("%v %q", err, got)
		}
	}
	k, ok, err := s.Task(t.Context(), ca, []byte{1})
	if err != nil || !ok || string(k.Response) != "first" {
		t.Errorf("%v %v %q", ok, err, k.Response)
	}
	if _, err := s.Finish(t.Context(), task(7), line("km.answer")); err == nil {
		t.Error("an unknown message was finished")
	}
}

func expire(t *testing.T, s km.Store) {
	deposit(t, s, 1, 3)
	early, later := record(1), record(2)
	early.To = at.Add(time.Hour)
	begin(t, s, task(1), early, later, record(3))
	for _, want := range []int{1, 0} {
		n, err := s.Expire(t.Context(), at.Add(2*time.Hour), 10, line("km.expire"))
		if err != nil || n != want {
			t.Errorf("moved %d, %v; want %d", n, err, want)
		}
	}
	counts(t, s, 0, 2, 1)
	r, _, err := s.Record(t.Context(), ca, []byte{1})
	if err != nil || r.State != km.History || !r.RetiredAt.Equal(at.Add(2*time.Hour)) {
		t.Errorf("%v %+v", err, r)
	}
	if n, err := s.Expire(t.Context(), at.AddDate(2, 0, 0), 1, line("km.expire")); n != 1 || err != nil {
		t.Errorf("the limit: %d, %v", n, err)
	}
}

func forget(t *testing.T, s km.Store) {
	deposit(t, s, 1, 1)
	begin(t, s, task(1), record(1))
	k := task(1)
	k.Response = []byte("sealed")
	if _, err := s.Finish(t.Context(), k, line("km.answer")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Forget(t.Context(), at, 10); n != 0 || err != nil {
		t.Errorf("too early: %d, %v", n, err)
	}
	for _, want := range []int{1, 0} {
		if n, err := s.Forget(t.Context(), at.Add(time.Second), 10); n != want || err != nil {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
	got, ok, err := s.Task(t.Context(), ca, []byte{1})
	if err != nil || !ok || got.Response != nil || !bytes.Equal(got.Digest, k.Digest) {
		t.Errorf("%v %v %+v", ok, err, got)
	}
}

func taskZero(t *testing.T, s km.Store) {
	deposit(t, s, 1, 1)
	k := task(1)
	k.No = []byte{}
	nameless := record(1)
	nameless.UserName, nameless.Region = "", ""
	begin(t, s, k, nameless)
	if _, ok, err := s.Task(t.Context(), ca, []byte{}); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}
