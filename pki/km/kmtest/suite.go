package kmtest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
)

// Kept is a store with what those need who look after it.
type Kept interface {
	km.Store
	km.KeepStore
	km.RetentionStore
}

// Keep is the suite every store must pass for those who look after it.
func Keep(t *testing.T, open func(*testing.T) Kept) {
	for name, test := range map[string]func(*testing.T, Kept){
		"records are walked in order of their pairs":               walked,
		"a key is replaced once, wherever its pair lies":           replaced,
		"a master key is retired when nothing rests on it":         retired,
		"watermarks and the master key are what was set last":      settings,
		"the newest drill comes first, within one second too":      tallies,
		"archived keys are destroyed once, and only those due":     destroyed,
		"standby pairs under another master are walked past a gap": standbys,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func numbersOf(list []km.Record) (n []int64) {
	for _, r := range list {
		n = append(n, r.ID)
	}
	return n
}

func walked(t *testing.T, s Kept) {
	if n, err := s.Newest(t.Context()); n != 0 || err != nil {
		t.Errorf("empty: %d, %v", n, err)
	}
	deposit(t, s, 1, 3)
	begin(t, s, task(1), record(9), record(3))
	begin(t, s, task(2), record(5))
	first, err := s.After(t.Context(), 0, 2)
	if err != nil || len(first) != 2 || first[0].ID >= first[1].ID {
		t.Fatalf("%v, %v", numbersOf(first), err)
	}
	rest, err := s.After(t.Context(), first[1].ID, 5)
	newest, _ := s.Newest(t.Context())
	if err != nil || len(rest) != 1 || rest[0].ID != newest {
		t.Errorf("%v, newest %d, %v", numbersOf(rest), newest, err)
	}
}

func under(master string, n int) hsm.Wrapped {
	return hsm.Wrapped{Version: 1, Master: master, Blob: []byte{byte(n), 'n', 'e', 'w'}}
}

func replaced(t *testing.T, s Kept) {
	deposit(t, s, 1, 2)
	waiting, err := s.Standbys(t.Context(), "m2", 0, 9)
	if err != nil || len(waiting) != 2 {
		t.Fatalf("%d, %v", len(waiting), err)
	}
	begin(t, s, task(1), record(1)) // the first is given away meanwhile
	var list []km.Rewrap
	for i, r := range waiting {
		list = append(list, km.Rewrap{Pair: r.ID, From: r.Pair.Private.Blob, To: under("m2", i)})
	}
	for _, want := range []int{2, 0} {
		if n, err := s.Rewrapped(t.Context(), list, line("km.rewrap")); n != want || err != nil {
			t.Errorf("replaced %d, %v; want %d", n, err, want)
		}
	}
	r, _, err := s.Record(t.Context(), ca, []byte{1})
	if err != nil || !reflect.DeepEqual(r.Pair.Private, under("m2", 0)) {
		t.Errorf("%+v, %v", r.Pair.Private, err)
	}
	if left, err := s.Standbys(t.Context(), "m2", 0, 9); len(left) != 0 || err != nil {
		t.Errorf("%d left, %v", len(left), err)
	}
}

func retired(t *testing.T, s Kept) {
	deposit(t, s, 1, 2)
	begin(t, s, task(1), record(1))
	if err := s.SetMaster(t.Context(), "m2", line("km.master")); err != nil {
		t.Fatal(err)
	}
	rest, err := s.RetireOthers(t.Context(), "m2", "m", at, line("km.master.retire"))
	if rest != 2 || err != nil {
		t.Fatalf("%d rest, %v", rest, err)
	}
	deposit(t, s, 3, 1) // still in service
	var list []km.Rewrap
	waiting, err := s.Standbys(t.Context(), "m2", 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	held, err := s.After(t.Context(), 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range append(waiting, held...) {
		list = append(list, km.Rewrap{Pair: r.ID, From: r.Pair.Private.Blob, To: under("m2", i)})
	}
	if n, err := s.Rewrapped(t.Context(), list, line("km.rewrap")); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	for range 2 {
		if rest, err := s.RetireOthers(t.Context(), "m2", "m", at, line("km.master.retire")); rest != 0 || err != nil {
			t.Fatalf("%d rest, %v", rest, err)
		}
	}
	if err := s.Deposit(t.Context(), pairs(7, 1), line("km.generate")); !errors.Is(err, km.ErrRetiredMaster) {
		t.Errorf("deposit under the old one: %v", err)
	}
	if _, _, err := s.Begin(t.Context(), task(7), serials(record(7)), pairs(7, 1), taking(record(7))); !errors.Is(err, km.ErrRetiredMaster) {
		t.Errorf("taken under the old one: %v", err)
	}
	if err := s.SetMaster(t.Context(), "m", line("km.master")); !errors.Is(err, km.ErrRetiredMaster) {
		t.Errorf("back in force: %v", err)
	}
	counts(t, s, 2, 1, 0)
	if err := s.Deposit(t.Context(), []hsm.Pair{{Point: pair(8).Point, Private: under("m2", 8)}}, line("km.generate")); err != nil {
		t.Errorf("deposit under the new one: %v", err)
	}
}

func settings(t *testing.T, s Kept) {
	if _, _, ok, err := s.Marks(t.Context()); ok || err != nil {
		t.Errorf("marks before any: %v, %v", ok, err)
	}
	if label, err := s.Master(t.Context()); label != "" || err != nil {
		t.Errorf("master before any: %q, %v", label, err)
	}
	for n := 1; n <= 2; n++ {
		if err := s.SetMarks(t.Context(), n, 10*n, line("km.marks")); err != nil {
			t.Fatal(err)
		}
		if err := s.SetMaster(t.Context(), string(rune('a'+n)), line("km.master")); err != nil {
			t.Fatal(err)
		}
	}
	if low, high, ok, err := s.Marks(t.Context()); low != 2 || high != 20 || !ok || err != nil {
		t.Errorf("%d %d %v %v", low, high, ok, err)
	}
	if label, err := s.Master(t.Context()); label != "c" || err != nil {
		t.Errorf("%q %v", label, err)
	}
}

func tallies(t *testing.T, s Kept) {
	for n := 1; n <= 3; n++ {
		k := km.Tally{At: at, Checked: n, Failed: []string{"AB"}, Pairs: []int64{int64(n)}, Digest: []byte{1}, Signature: []byte{2}}
		if err := s.Tally(t.Context(), k, line("km.drill")); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Tallies(t.Context(), 2)
	if err != nil || len(list) != 2 || list[0].Checked != 3 || list[1].Checked != 2 || list[0].Pairs[0] != 3 || !list[0].At.Equal(at.Truncate(time.Second)) {
		t.Errorf("%+v, %v", list, err)
	}
}

func standbys(t *testing.T, s Kept) {
	deposit(t, s, 1, 3)
	all, err := s.Standbys(t.Context(), "m2", 0, 9)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d, %v", len(all), err)
	}
	if list, err := s.Standbys(t.Context(), "m2", all[0].ID, 1); err != nil || len(list) != 1 || list[0].ID != all[1].ID || list[0].State != km.Standby {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := s.Standbys(t.Context(), "m", 0, 9); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", numbersOf(list), err)
	}
}

func destroyed(t *testing.T, s Kept) {
	deposit(t, s, 1, 4)
	begin(t, s, task(1), record(1), record(2), record(3))
	begin(t, s, task(2), record(4)) // stays in use
	old, late := task(3), task(4)
	late.At = at.AddDate(1, 0, 0)
	for _, r := range []struct {
		task km.Task
		list [][]byte
	}{{old, serials(record(1), record(2))}, {late, serials(record(3))}} {
		_, _, err := s.Begin(t.Context(), r.task, r.list, nil, func(map[string]km.Record) km.Effect {
			return km.Effect{Outcome: make([]byte, len(r.list)), Retire: r.list, Lines: []audit.Entry{line("km.revoke")}}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	counts(t, s, 0, 1, 3)
	limit := at.Add(time.Hour)
	due, err := s.Due(t.Context(), limit, 0, 9)
	if err != nil || len(due) != 2 {
		t.Fatalf("%v, %v", numbersOf(due), err)
	}
	if rest, err := s.Due(t.Context(), limit, due[0].ID, 9); err != nil || len(rest) != 1 || rest[0].ID != due[1].ID {
		t.Errorf("%v, %v", numbersOf(rest), err)
	}
	for _, want := range []int{1, 1, 0} {
		if n, err := s.Destroy(t.Context(), "P1", limit, at.AddDate(11, 0, 0), 1, line("km.destroy")); n != want || err != nil {
			t.Errorf("destroyed %d, %v; want %d", n, err, want)
		}
	}
	counts(t, s, 0, 1, 1)
	for n, want := range map[byte]bool{1: false, 2: false, 3: true, 4: true} {
		if _, ok, err := s.Record(t.Context(), ca, []byte{n}); ok != want || err != nil {
			t.Errorf("record %d: %v, %v", n, ok, err)
		}
		when, proposal, ok, err := s.WasDestroyed(t.Context(), ca, []byte{n})
		if ok == want || err != nil || ok && (proposal != "P1" || !when.Equal(at.AddDate(11, 0, 0))) {
			t.Errorf("%d was destroyed: %v %q %v, %v", n, when, proposal, ok, err)
		}
	}
	list, err := s.Destroyed(t.Context(), "P1", 0, 9)
	if err != nil || len(list) != 2 || list[0].ID != due[0].ID || len(list[0].Pair.Private.Blob) != 0 || !reflect.DeepEqual(list[1].Serial, due[1].Serial) {
		t.Errorf("%+v, %v", list, err)
	}
	if more, err := s.Destroyed(t.Context(), "P1", list[1].ID, 9); len(more) != 0 || err != nil {
		t.Errorf("%+v, %v", more, err)
	}
}
