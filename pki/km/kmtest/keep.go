package kmtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
)

var _ km.KeepStore = (*Memory)(nil)

func inOrder(a, b km.Record) int { return cmp.Compare(a.ID, b.ID) }

// After returns records in order of their pairs.
func (m *Memory) After(_ context.Context, pair int64, limit int) (list []km.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.held {
		if r.ID > pair {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, inOrder)
	return list[:min(limit, len(list))], nil
}

// Newest is the highest number of a pair in use or history.
func (m *Memory) Newest(context.Context) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.held {
		n = max(n, r.ID)
	}
	return n, nil
}

// Standbys returns pairs of the standby store not under a master.
func (m *Memory) Standbys(_ context.Context, master string, pair int64, limit int) (list []km.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.standby {
		if r.Pair.Private.Master != master && r.ID > pair && len(list) < limit {
			list = append(list, r)
		}
	}
	return list, nil
}

// Rewrapped replaces private keys as they are kept.
func (m *Memory) Rewrapped(_ context.Context, list []km.Rewrap, line audit.Entry) (moved int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range list {
		for i, r := range m.standby {
			if r.ID == w.Pair && bytes.Equal(r.Pair.Private.Blob, w.From) {
				m.standby[i].Pair.Private = w.To
				moved++
			}
		}
		for key, r := range m.held {
			if r.ID == w.Pair && bytes.Equal(r.Pair.Private.Blob, w.From) {
				r.Pair.Private = w.To
				m.held[key] = r
				moved++
			}
		}
	}
	if moved > 0 {
		line.Detail = fmt.Sprintf("%d 对，主密钥 %s", moved, list[0].To.Master)
		m.lines = append(m.lines, line)
	}
	return moved, nil
}

// Tally keeps the result of a drill.
func (m *Memory) Tally(_ context.Context, t km.Tally, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tallies, m.lines = append(m.tallies, t), append(m.lines, line)
	return nil
}

// Tallies returns the newest drills.
func (m *Memory) Tallies(_ context.Context, limit int) ([]km.Tally, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.tallies)
	slices.Reverse(list)
	return list[:min(limit, len(list))], nil
}

// Marks returns the watermarks on record.
func (m *Memory) Marks(context.Context) (low, high int, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marks == nil {
		return 0, 0, false, nil
	}
	return m.marks[0], m.marks[1], true, nil
}

// SetMarks puts watermarks on record.
func (m *Memory) SetMarks(_ context.Context, low, high int, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks, m.lines = []int{low, high}, append(m.lines, line)
	return nil
}

// Master is the label of the master key in force.
func (m *Memory) Master(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.master, nil
}

// SetMaster puts another master key in force.
func (m *Memory) SetMaster(_ context.Context, label string, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.masters[label] {
		return km.ErrRetiredMaster
	}
	if m.masters == nil {
		m.masters = map[string]bool{}
	}
	m.masters[label], m.master, m.lines = false, label, append(m.lines, line)
	return nil
}

// RetireOthers takes every other master key out of service.
func (m *Memory) RetireOthers(_ context.Context, master, first string, _ time.Time, line audit.Entry) (rest int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.standby {
		if r.Pair.Private.Master != master {
			rest++
		}
	}
	for _, r := range m.held {
		if r.Pair.Private.Master != master {
			rest++
		}
	}
	if rest > 0 {
		return rest, nil
	}
	if _, known := m.masters[first]; !known {
		if m.masters == nil {
			m.masters = map[string]bool{}
		}
		m.masters[first] = false
	}
	retired := false
	for label, was := range m.masters {
		if label != master && !was {
			m.masters[label], retired = true, true
		}
	}
	if retired {
		m.lines = append(m.lines, line)
	}
	return 0, nil
}

// dead is a record whose key was destroyed.
type dead struct {
	km.Record
	at       time.Time
	proposal string
}

func (m *Memory) ripe(before time.Time, pair int64, limit int) (list []km.Record) {
	for _, r := range m.held {
		if r.State == km.History && r.RetiredAt.Before(before) && r.ID > pair {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b km.Record) int { return cmp.Compare(a.ID, b.ID) })
	return list[:min(limit, len(list))]
}

// Due returns records of the history retired before a time.
func (m *Memory) Due(_ context.Context, before time.Time, pair int64, limit int) ([]km.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ripe(before, pair, limit), nil
}

// Destroy takes private keys away for good.
func (m *Memory) Destroy(_ context.Context, proposal string, before, at time.Time, limit int, line audit.Entry) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.ripe(before, 0, limit)
	for _, r := range list {
		delete(m.held, id(r.CA, r.Serial))
		r.Pair.Private = hsm.Wrapped{}
		m.dead = append(m.dead, dead{r, at, proposal})
	}
	if len(list) > 0 {
		line.Detail = fmt.Sprintf("销毁归档密钥 %d 个", len(list))
		m.lines = append(m.lines, line)
	}
	return len(list), nil
}

// Destroyed returns what was destroyed under a proposal.
func (m *Memory) Destroyed(_ context.Context, proposal string, pair int64, limit int) (list []km.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.dead {
		if d.proposal == proposal && d.ID > pair {
			list = append(list, d.Record)
		}
	}
	slices.SortFunc(list, func(a, b km.Record) int { return cmp.Compare(a.ID, b.ID) })
	return list[:min(limit, len(list))], nil
}

// WasDestroyed reports when and why a certificate's key was destroyed.
func (m *Memory) WasDestroyed(_ context.Context, ca string, serial []byte) (at time.Time, proposal string, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.dead {
		if d.CA == ca && bytes.Equal(d.Serial, serial) {
			return d.at, d.proposal, true, nil
		}
	}
	return at, "", false, nil
}
