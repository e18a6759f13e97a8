// Package kmtest holds what every store of the key centre must do. (密钥管理测试)
package kmtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
)

// Memory keeps everything in maps. Its zero value is an empty store.
type Memory struct {
	mu      sync.Mutex
	next    int64
	standby []km.Record // oldest first
	held    map[string]km.Record
	tasks   map[string]km.Task
	lines   []audit.Entry

	tallies []km.Tally
	marks   []int // low, high; nil before any were set
	master  string
	masters map[string]bool // labels that were in force; true when retired
	dead    []dead          // whose keys were destroyed
}

var _ km.Store = (*Memory)(nil)

func id(ca string, number []byte) string { return ca + "/" + string(number) }

// Lines returns the audit trail.
func (m *Memory) Lines() []audit.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

// Task returns the message on record.
func (m *Memory) Task(_ context.Context, ca string, no []byte) (km.Task, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tasks[id(ca, no)]
	return t, ok, nil
}

// Begin puts a message on record with its effect.
func (m *Memory) Begin(_ context.Context, t km.Task, serials [][]byte, fresh []hsm.Pair, decide func(map[string]km.Record) km.Effect) (km.Task, map[string]km.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.tasks[id(t.CA, t.No)]; ok {
		return old, m.under(t.CA, serials), nil
	}
	e := decide(m.under(t.CA, serials))
	if err := m.take(e.Take, fresh); err != nil {
		return km.Task{}, nil, err
	}
	for _, r := range e.Reseal {
		old := m.held[id(r.CA, r.Serial)]
		old.SealedTo = r.SealedTo
		m.held[id(r.CA, r.Serial)] = old
	}
	for _, serial := range e.Retire {
		old := m.held[id(t.CA, serial)]
		old.State, old.RetiredAt = km.History, t.At
		m.held[id(t.CA, serial)] = old
	}
	t.Outcome = e.Outcome
	if m.tasks == nil {
		m.tasks = map[string]km.Task{}
	}
	m.tasks[id(t.CA, t.No)] = t
	m.lines = append(m.lines, e.Lines...)
	return t, m.under(t.CA, serials), nil
}

func (m *Memory) under(ca string, serials [][]byte) map[string]km.Record {
	found := map[string]km.Record{}
	for _, serial := range serials {
		if r, ok := m.held[id(ca, serial)]; ok {
			found[string(serial)] = r
		}
	}
	return found
}

func (m *Memory) take(list []km.Record, fresh []hsm.Pair) error {
	held := maps.Clone(m.held)
	if held == nil {
		held = map[string]km.Record{}
	}
	standby := m.standby
	for i, r := range list {
		if _, ok := held[id(r.CA, r.Serial)]; ok {
			return fmt.Errorf("serial %x twice", r.Serial)
		}
		switch {
		case len(fresh) > i && m.masters[fresh[i].Private.Master]:
			return km.ErrRetiredMaster
		case len(fresh) > i:
			r.ID, r.Pair = m.number(), fresh[i]
		case fresh == nil && len(standby) > 0:
			r.ID, r.Pair, standby = standby[0].ID, standby[0].Pair, standby[1:]
		default:
			return km.ErrShort
		}
		held[id(r.CA, r.Serial)] = r
	}
	m.held, m.standby = held, standby
	return nil
}

func (m *Memory) number() int64 {
	m.next++
	return m.next
}

// Finish keeps the response to an open message.
func (m *Memory) Finish(_ context.Context, t km.Task, line audit.Entry) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.tasks[id(t.CA, t.No)]
	if !ok {
		return nil, fmt.Errorf("no task %x", t.No)
	}
	if old.Response == nil {
		old.Response = bytes.Clone(t.Response)
		m.tasks[id(t.CA, t.No)] = old
		m.lines = append(m.lines, line)
	}
	return old.Response, nil
}

// Deposit adds pairs to the standby store.
func (m *Memory) Deposit(_ context.Context, pairs []hsm.Pair, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pairs {
		if m.masters[p.Private.Master] {
			return km.ErrRetiredMaster
		}
	}
	for _, p := range pairs {
		m.standby = append(m.standby, km.Record{ID: m.number(), State: km.Standby, Pair: p})
	}
	m.lines = append(m.lines, line)
	return nil
}

// Expire moves ended pairs to the history.
func (m *Memory) Expire(_ context.Context, at time.Time, limit int, line audit.Entry) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ended []string
	for key, r := range m.held {
		if r.State == km.InUse && r.To.Before(at) {
			ended = append(ended, key)
		}
	}
	slices.SortFunc(ended, func(a, b string) int { return cmp.Compare(m.held[a].To.Unix(), m.held[b].To.Unix()) })
	ended = ended[:min(len(ended), limit)]
	for _, key := range ended {
		r := m.held[key]
		r.State, r.RetiredAt = km.History, at
		m.held[key] = r
	}
	if len(ended) > 0 {
		line.Detail = strconv.Itoa(len(ended))
		m.lines = append(m.lines, line)
	}
	return len(ended), nil
}

// Forget drops old responses.
func (m *Memory) Forget(_ context.Context, before time.Time, limit int) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, t := range m.tasks {
		if t.Response != nil && t.At.Before(before) && n < limit {
			t.Response = nil
			m.tasks[key] = t
			n++
		}
	}
	return n, nil
}

// Record returns the pair of a certificate.
func (m *Memory) Record(_ context.Context, ca string, serial []byte) (km.Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.held[id(ca, serial)]
	return r, ok, nil
}

// Count reports how many pairs lie in each store.
func (m *Memory) Count(context.Context) (map[km.State]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[km.State]int{km.Standby: len(m.standby)}
	for _, r := range m.held {
		n[r.State]++
	}
	return n, nil
}

// Note writes one audit line.
func (m *Memory) Note(_ context.Context, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
	return nil
}
