package ratest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Memory keeps everything in maps. Its zero value is an empty store.
type Memory struct {
	mu      sync.Mutex
	cases   map[string]ra.Record
	keys    map[string]string // live key to its case
	spent   map[string]bool   // nonces
	batches []ra.Batch
	files   map[string]ra.Evidence
	reads   []ra.Reading
	bulks   []ra.Bulk
	held    map[string]bool // batches held back
	asked   map[string]bool // cases the CA was asked about
	units   map[string]ra.Unit
	lines   []audit.Entry

	reminders []ra.Reminder
	gone      []gone // cases whose numbers were forgotten
}

var _ ra.Store = (*Memory)(nil)

func clone[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// Lines returns the audit trail.
func (m *Memory) Lines() []audit.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

// All returns every case in order of its id.
func (m *Memory) All() (list []ra.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.cases)) {
		list = append(list, m.cases[id])
	}
	return list
}

// Case returns one.
func (m *Memory) Case(_ context.Context, id string) (ra.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.cases[id]
	if !ok {
		return r, ra.NoCase.At("id", ra.NoCase.Clause).Because("%.40q", id)
	}
	return r, nil
}

// Draft stores new or corrected drafts.
func (m *Memory) Draft(_ context.Context, list []ra.Record, batch *ra.Batch, lines []audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	cases := clone(m.cases)
	for _, r := range list {
		if old, ok := cases[r.ID]; ok {
			if old.State != ra.Drafted || old.CreatedBy != r.CreatedBy {
				return ra.NotYours.At("id", ra.NotYours.Clause)
			}
			old.Content, old.Title, old.Profile, old.KeyHash, old.Identity, old.UpdatedAt, old.Body = r.Content, r.Title, r.Profile, r.KeyHash, r.Identity, r.UpdatedAt, r.Body
			r = old
		}
		cases[r.ID] = r
	}
	if batch != nil {
		if slices.ContainsFunc(m.batches, func(b ra.Batch) bool { return b.ID == batch.ID || bytes.Equal(b.Digest, batch.Digest) }) {
			return fmt.Errorf("sheet %s was taken in before", batch.Name)
		}
		m.batches = append(m.batches, *batch)
	}
	m.cases, m.lines = cases, append(m.lines, lines...)
	return nil
}

// Save stores moves, wholly or not at all.
func (m *Memory) Save(_ context.Context, by access.Command, saves []ra.Save, lines []audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	nonce := by.Signed().Nonce
	switch {
	case !by.Authentic():
		return access.BadSignature.At("signature", access.BadSignature.Clause)
	case m.spent[nonce]:
		return access.Replayed.At("nonce", access.Replayed.Clause)
	}
	cases, keys, spent, units := clone(m.cases), clone(m.keys), clone(m.spent), clone(m.units)
	for _, v := range saves {
		if v.Move.Event.Did == ra.Cancel && m.asked[v.Record.ID] {
			return casework.Stale.At("id", casework.Stale.Clause).Because("%s 已送交 CA", v.Record.ID)
		}
		if err := save(cases, keys, v); err != nil {
			return err
		}
		if err := enter(units, v); err != nil {
			return err
		}
	}
	if nonce != "" {
		spent[nonce] = true
	}
	m.cases, m.keys, m.spent, m.units, m.lines = cases, keys, spent, units, append(m.lines, lines...)
	for _, v := range saves {
		delete(m.asked, v.Record.ID)
	}
	return nil
}

func save(cases map[string]ra.Record, keys map[string]string, v ra.Save) error {
	r := v.Record
	have, ok := cases[r.ID]
	if ok && (len(have.Events) != v.Move.Seq || !bytes.Equal(have.Content, r.Content)) || !ok && (v.Move.Seq > 0 || !ra.AboutStatus(r.Kind)) {
		return casework.Stale.At("id", casework.Stale.Clause).Because("%s", r.ID)
	}
	if !ok {
		have = r // a revocation is opened by its first move
		have.Events = nil
	}
	have.Case.State, have.UpdatedAt = r.State, r.UpdatedAt
	have.SignSerial, have.EncSerial, have.Reply, have.Trouble = r.SignSerial, r.EncSerial, r.Reply, r.Trouble
	have.Events = append(slices.Clone(have.Events), v.Move.Event)
	cases[r.ID] = have
	if v.Release {
		maps.DeleteFunc(keys, func(_, id string) bool { return id == r.ID })
		if r.KeepsKey && slices.Contains([]casework.State{ra.Drafted, ra.Rejected, ra.Discarded}, r.State) {
			keys[string(r.KeyHash)] = r.Follows
		}
	} else if v.Claim {
		if holder, live := keys[string(r.KeyHash)]; live && !(r.KeepsKey && holder == r.Follows) {
			return ra.KeyInUse.At("csr", ra.KeyInUse.Clause).Because("案件 %s", r.ID)
		}
		keys[string(r.KeyHash)] = r.ID
	}
	return nil
}

// Waiting returns cases in a state, those after an id first.
func (m *Memory) Waiting(_ context.Context, kind string, state casework.State, after string, limit int) ([]ra.Record, error) {
	var next, rest []ra.Record
	for _, r := range m.All() {
		switch {
		case r.Kind != kind || r.State != state || !m.goes(r):
		case r.ID > after:
			next = append(next, r)
		default:
			rest = append(rest, r)
		}
	}
	list := append(next, rest...)
	return list[:min(limit, len(list))], nil
}

// Find lists cases, newest first.
func (m *Memory) Find(_ context.Context, q ra.Query) ([]ra.Record, error) {
	all := m.All()
	newest := func(a, b ra.Record) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	}
	slices.SortFunc(all, newest)
	if q.After != "" {
		i := slices.IndexFunc(all, func(r ra.Record) bool { return r.ID == q.After })
		if i < 0 {
			return nil, ra.NoCase.At("after", ra.NoCase.Clause)
		}
		all = all[i+1:]
	}
	if q.Limit <= 0 || q.Limit > ra.PageMax {
		q.Limit = ra.PageMax
	}
	var page []ra.Record
	for _, r := range all {
		if len(page) < q.Limit && matches(q, r) {
			r.Events = nil
			page = append(page, r)
		}
	}
	return page, nil
}

// inside reports whether something of a body is in a scope; nil is all.
func inside(within []string, body string) bool {
	return within == nil || slices.Contains(within, body)
}

func matches(q ra.Query, r ra.Record) bool {
	if q.State != "" && q.State != r.State || q.Kind != "" && q.Kind != r.Kind || q.By != "" && q.By != r.CreatedBy {
		return false
	}
	if q.State == "" && len(q.States) > 0 && !slices.Contains(q.States, r.State) || q.Profile != "" && q.Profile != r.Profile || q.Follows != "" && q.Follows != r.Follows || q.Batch != "" && q.Batch != r.Batch || !inside(q.Within, r.Body) ||
		!q.From.IsZero() && r.CreatedAt.Before(q.From) || !q.To.IsZero() && !r.CreatedAt.Before(q.To) {
		return false
	}
	if q.Blind != nil {
		return bytes.Equal(q.Blind, r.Identity.Blind)
	}
	t := strings.TrimSpace(q.Text)
	low := strings.ToLower(t)
	return t == "" || strings.Contains(strings.ToLower(r.Title), low) || strings.Contains(strings.ToLower(r.ID), low) ||
		r.SignSerial == strings.ToUpper(t) || r.EncSerial == strings.ToUpper(t) || r.Batch == t
}

// Counts counts cases by kind and state.
func (m *Memory) Counts(_ context.Context, within []string) (map[string]map[casework.State]int, error) {
	counts := map[string]map[casework.State]int{}
	for _, r := range m.All() {
		if !inside(within, r.Body) {
			continue
		}
		if counts[r.Kind] == nil {
			counts[r.Kind] = map[casework.State]int{}
		}
		counts[r.Kind][r.State]++
	}
	return counts, nil
}

// KeyHolder returns the live case of a key, or "".
func (m *Memory) KeyHolder(_ context.Context, keyHash []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[string(keyHash)], nil
}

// Escrowed reports whether a key was ever given out as an encryption key.
func (m *Memory) Escrowed(_ context.Context, keyHash []byte) (bool, error) {
	for _, r := range m.All() {
		if c, err := cert.Parse(r.Reply.Enc); err == nil && bytes.Equal(alg.Digest(c.Point), keyHash) {
			return true, nil
		}
	}
	return false, nil
}

// BySerial returns the case a certificate was issued in.
func (m *Memory) BySerial(_ context.Context, serial string) (ra.Record, error) {
	var newest ra.Record
	for _, r := range m.All() {
		if ra.Issues(r.Kind) && (r.SignSerial == serial || r.EncSerial == serial) && !r.CreatedAt.Before(newest.CreatedAt) {
			newest = r
		}
	}
	if newest.ID != "" {
		return newest, nil
	}
	return ra.Record{}, ra.NotLive.At("serial", ra.NotLive.Clause)
}

// BatchByDigest finds a sheet taken in before.
func (m *Memory) BatchByDigest(_ context.Context, digest []byte) (ra.Batch, bool, error) {
	b, ok := m.batch(func(b ra.Batch) bool { return bytes.Equal(b.Digest, digest) })
	return b, ok, nil
}

// Batch returns one sheet's rows.
func (m *Memory) Batch(_ context.Context, id string) (ra.Batch, error) {
	b, ok := m.batch(func(b ra.Batch) bool { return b.ID == id })
	if !ok {
		return b, ra.NoCase.At("batch", ra.NoCase.Clause)
	}
	return b, nil
}

func (m *Memory) batch(is func(ra.Batch) bool) (b ra.Batch, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.IndexFunc(m.batches, is); i >= 0 {
		return m.batches[i], true
	}
	return b, false
}

// Batches lists sheets without their rows, newest first.
func (m *Memory) Batches(_ context.Context, within []string, after string, limit int) (list []ra.Batch, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(m.batches), func(b ra.Batch) bool { return !inside(within, b.Body) })
	slices.SortFunc(all, func(a, b ra.Batch) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(b.ID, a.ID)) })
	if after != "" {
		i := slices.IndexFunc(all, func(b ra.Batch) bool { return b.ID == after })
		if i < 0 {
			return nil, ra.NoCase.At("batch", ra.NoCase.Clause)
		}
		all = all[i+1:]
	}
	for _, b := range all[:min(limit, len(all))] {
		b.Rows = nil
		list = append(list, b)
	}
	return list, nil
}

// BatchCounts counts the cases of a sheet by state.
func (m *Memory) BatchCounts(_ context.Context, id string) (map[casework.State]int, error) {
	counts := map[casework.State]int{}
	for _, r := range m.All() {
		if r.Batch == id {
			counts[r.State]++
		}
	}
	return counts, nil
}

// KeepEvidence stores a sealed file with its audit line.
func (m *Memory) KeepEvidence(_ context.Context, e ra.Evidence, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.files[string(e.Digest)]; !ok {
		m.files = clone(m.files)
		m.files[string(e.Digest)] = e
	}
	m.lines = append(m.lines, line)
	return nil
}

// Evidence returns one file by its digest.
func (m *Memory) Evidence(_ context.Context, digest []byte) (ra.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.files[string(digest)]
	if !ok {
		return ra.Evidence{Digest: digest}, ra.NoEvidence.At("digest", ra.NoEvidence.Clause)
	}
	return e, nil
}

// Refuse writes a refusal of authority to the trail.
func (m *Memory) Refuse(_ context.Context, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
	return nil
}
