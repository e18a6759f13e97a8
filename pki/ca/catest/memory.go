package catest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Memory keeps everything in maps. Its zero value is an empty store.
type Memory struct {
	mu       sync.Mutex
	jobs     map[string]ca.Job
	keys     map[string]string // live key to the request that has it
	escrowed map[string]bool
	asks     []ask
	issued   map[string]ca.Issued // by serial
	revoked  map[string]revoked   // by serial
	changes  []changed
	dirty    map[int]bool
	lists    []ca.List // oldest first; those intended together share a number
	leaves   [][]byte
	lines    []audit.Entry
	heirs    []ca.Succession
	duties   []duty
	rules    []ca.Rule
	wards    wards
}

type duty struct {
	enroll.Duty
	point []byte
}

type ask struct {
	ca.Ask
	retire, done bool
}

type revoked struct {
	shard    int
	entry    []byte
	notAfter time.Time
}

// changed is one change of status.
type changed struct {
	request string
	ca.Issued
	at time.Time
}

var _ ca.Store = (*Memory)(nil)

func plain(serial []byte) string { return string(bytes.TrimLeft(serial, "\x00")) }

// Lines returns the audit trail.
func (m *Memory) Lines() []audit.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

// Leaves returns the public ledger.
func (m *Memory) Leaves() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.leaves)
}

// Intents returns every draft on record: what the key may have signed.
func (m *Memory) Intents() (list [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		for _, tbs := range [][]byte{j.TBS.Sign, j.TBS.Enc} {
			if tbs != nil {
				list = append(list, tbs)
			}
		}
	}
	for _, l := range m.lists {
		list = append(list, l.TBS)
	}
	return list
}

// History returns every revocation list in order of its number.
func (m *Memory) History() []ca.List {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lists)
}

// Jobs returns the requests that are on record.
func (m *Memory) Jobs(_ context.Context, ids []string) (map[string]ca.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]ca.Job{}
	for _, id := range ids {
		if j, ok := m.jobs[id]; ok {
			found[id] = j
		}
	}
	return found, nil
}

// Open puts new requests on record.
func (m *Memory) Open(_ context.Context, list []ca.Job, a *ca.Ask, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	jobs, keys := clone(m.jobs), clone(m.keys)
	for _, j := range list {
		if _, ok := jobs[j.ID]; ok {
			return fmt.Errorf("request %s is on record already", j.ID)
		}
		if m.escrowed[string(j.KeyHash)] {
			return ca.KeyEscrowed.At("csr", ca.KeyEscrowed.Clause)
		}
		if holder, ok := keys[string(j.KeyHash)]; ok && !(j.KeepsKey && holder == j.Follows) {
			return ca.KeyInUse.At("csr", ca.KeyInUse.Clause)
		}
		for _, other := range jobs {
			if bytes.Equal(other.Serials.Sign, j.Serials.Sign) || j.Serials.Enc != nil && bytes.Equal(other.Serials.Enc, j.Serials.Enc) {
				return fmt.Errorf("a serial of %s is reserved for %s", j.ID, other.ID)
			}
		}
		j.Digest = alg.Digest(j.Content)
		jobs[j.ID], keys[string(j.KeyHash)] = j, j.ID
	}
	if a != nil {
		m.asks = append(m.asks, ask{Ask: *a})
	}
	m.jobs, m.keys = jobs, keys
	return nil
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// Ask returns the message of a task.
func (m *Memory) Ask(_ context.Context, task int64) (ca.Ask, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.asks, func(a ask) bool { return a.Task == task })
	if i < 0 {
		return ca.Ask{}, fmt.Errorf("no task %d", task)
	}
	return m.asks[i].Ask, nil
}

// move takes requests from one state to the next, all of them or none.
func (m *Memory) move(list []ca.Job, from ca.State, to ca.State, change func(have *ca.Job, by ca.Job)) error {
	jobs := clone(m.jobs)
	for _, j := range list {
		have := jobs[j.ID]
		if have.State != from {
			return fmt.Errorf("request %s is in state %d, not %d", j.ID, have.State, from)
		}
		have.State = to
		change(&have, j)
		jobs[j.ID] = have
	}
	m.jobs = jobs
	return nil
}

// Abandon closes opened requests.
func (m *Memory) Abandon(_ context.Context, list []ca.Job, lines []audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	jobs, keys := clone(m.jobs), clone(m.keys)
	for _, j := range list {
		have := jobs[j.ID]
		if have.State != ca.Opened || have.Task != j.Task {
			return fmt.Errorf("request %s is not open", j.ID)
		}
		delete(jobs, j.ID)
		if delete(keys, string(have.KeyHash)); have.KeepsKey {
			keys[string(have.KeyHash)] = have.Follows
		}
		have.ID = fmt.Sprintf("%s~%d", j.ID, j.Task)
		jobs[have.ID] = have
	}
	m.jobs, m.keys, m.lines = jobs, keys, append(m.lines, lines...)
	return nil
}

// Intend puts the drafts of opened requests on record.
func (m *Memory) Intend(_ context.Context, list []ca.Job, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := clone(m.escrowed)
	for _, j := range list {
		if j.EncKeyHash != nil {
			if keys[string(j.EncKeyHash)] {
				return fmt.Errorf("key centre gave %s a key that was given before", j.ID)
			}
			keys[string(j.EncKeyHash)] = true
		}
	}
	err := m.move(list, ca.Opened, ca.Intended, func(have *ca.Job, by ca.Job) { have.TBS, have.Sealed = by.TBS, by.Sealed })
	if err == nil {
		m.escrowed = keys
	}
	return err
}

// Record stores what was signed.
func (m *Memory) Record(_ context.Context, list []ca.Job, entries []ca.Publication, lines []audit.Entry, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.move(list, ca.Intended, ca.Recorded, func(have *ca.Job, by ca.Job) { have.DER = by.DER }); err != nil {
		return err
	}
	m.issued = clone(m.issued)
	for _, j := range list {
		var app struct{ Profile string }
		if err := json.Unmarshal(j.Content, &app); err != nil {
			return err
		}
		one := ca.Issued{Serial: j.Serials.Sign, Pair: j.Serials.Enc, Request: j.ID, Profile: app.Profile, Use: "sign", Shard: j.Shards[0], DER: j.DER.Sign, NotBefore: j.From, NotAfter: j.To, Due: j.Due}
		if j.Escrow != nil {
			one.Pair = j.Escrow
			enc := m.issued[plain(j.Escrow)]
			enc.Pair = one.Serial
			m.issued[plain(j.Escrow)] = enc
		}
		m.issued[plain(one.Serial)] = one
		if j.DER.Enc != nil {
			one.Serial, one.Pair, one.Use, one.Shard, one.DER = j.Serials.Enc, j.Serials.Sign, "enc", j.Shards[1], j.DER.Enc
			m.issued[plain(one.Serial)] = one
		}
	}
	m.publish(entries, lines)
	return nil
}

func (m *Memory) publish(entries []ca.Publication, lines []audit.Entry) {
	for _, e := range entries {
		m.leaves = append(m.leaves, e.Leaf)
	}
	m.lines = append(m.lines, lines...)
}

// Refuse writes a refusal of authority to the trail.
func (m *Memory) Refuse(_ context.Context, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
	return nil
}

// Certificate finds one by serial.
func (m *Memory) Certificate(_ context.Context, serial []byte) (ca.Issued, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.issued[plain(serial)]
	if !ok {
		return c, ca.NoCert.At("serial", ca.NoCert.Clause)
	}
	return c, nil
}

const keyCompromise, caCompromise, hold = 1, 2, 6 // RFC 5280 §5.3.1

// Revoke changes the status of certificates.
func (m *Memory) Revoke(_ context.Context, request string, changes []ca.Issued, entries []ca.Publication, lines []audit.Entry, a *ca.Ask, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		have, ok := m.issued[plain(c.Serial)]
		held := have.Revoked && have.Reason == hold
		switch {
		case !ok || have.Revoked && !held:
			return ca.Revoked.At("serial", ca.Revoked.Clause)
		case held && c.Revoked && c.Reason == hold:
			return ca.Held.At("serial", ca.Held.Clause)
		case !held && !c.Revoked:
			return ca.NotHeld.At("serial", ca.NotHeld.Clause)
		}
	}
	m.revoked, m.dirty = clone(m.revoked), clone(m.dirty)
	for _, c := range changes {
		m.change(request, c, at)
	}
	if a != nil {
		m.asks = append(m.asks, ask{Ask: *a, retire: true})
	}
	m.publish(entries, lines)
	return nil
}

// change moves one certificate. The caller holds the lock.
func (m *Memory) change(request string, c ca.Issued, at time.Time) {
	m.issued[plain(c.Serial)] = c
	delete(m.revoked, plain(c.Serial))
	if c.Revoked {
		entry := crl.Entry{Serial: c.Serial, At: c.RevokedAt, Reason: c.Reason, Invalid: c.Invalid}.Bytes()
		m.revoked[plain(c.Serial)] = revoked{c.Shard, entry, c.NotAfter}
	}
	m.changes = append(m.changes, changed{request, c, at})
	for _, list := range ca.Behind(c.Shard) {
		m.dirty[list] = true
	}
	if c.Revoked && c.Reason != keyCompromise && c.Reason != caCompromise && c.Reason != hold { // a key that was given away is never certified again
		maps.DeleteFunc(m.keys, func(_, job string) bool { return job == c.Request })
	}
}

// Revocation returns what a request changed.
func (m *Memory) Revocation(_ context.Context, request string) (done enroll.Revoked, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.changes {
		if c.request == request {
			done.Serials, done.At = append(done.Serials, cert.SerialHex(c.Serial)), c.RevokedAt
		}
	}
	slices.Sort(done.Serials)
	return done, len(done.Serials) > 0, nil
}

// Unsent returns unanswered messages that retire keys.
func (m *Memory) Unsent(_ context.Context, limit int) (list []ca.Ask, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.asks {
		if a.retire && !a.done && len(list) < limit {
			list = append(list, a.Ask)
		}
	}
	return list, nil
}

// Answered marks a message as answered.
func (m *Memory) Answered(_ context.Context, task int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.asks {
		m.asks[i].done = m.asks[i].done || m.asks[i].Task == task
	}
	return nil
}

// Lists returns the newest list of every scope.
func (m *Memory) Lists(context.Context) (map[string]ca.List, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	newest := map[string]ca.List{}
	for _, l := range m.lists {
		if l.Size = len(l.TBS); l.Signed {
			l.TBS, l.Signature = nil, nil
		}
		newest[l.Scope] = l
	}
	return newest, nil
}

// entries joins those of a list.
func (m *Memory) entries(l ca.List, shard int) (all []byte) {
	var before time.Time
	for _, old := range m.lists {
		if old.Scope == l.Scope {
			before = old.ThisUpdate
		}
	}
	from, to := ca.Span(shard)
	delta := ca.Kind(shard) == ca.Delta
	moved := map[string]changed{}
	for _, c := range m.changes[min(l.Since, int64(len(m.changes))):] {
		moved[plain(c.Serial)] = c
	}
	for _, serial := range slices.Sorted(maps.Keys(m.revoked)) {
		r := m.revoked[serial]
		_, recent := moved[serial]
		ended := !r.notAfter.IsZero() && r.notAfter.Before(before)
		if from <= r.shard && r.shard < to && (delta && recent || !delta && !ended) {
			all = append(all, r.entry...)
		}
	}
	if !delta {
		return all
	}
	for _, serial := range slices.Sorted(maps.Keys(moved)) {
		if _, still := m.revoked[serial]; !still && from <= moved[serial].Shard && moved[serial].Shard < to {
			all = append(all, crl.Entry{Serial: []byte(serial), At: moved[serial].RevokedAt, Reason: crl.RemoveFromCRL}.Bytes()...)
		}
	}
	return all
}

// IntendList puts a draft on record under the next number.
func (m *Memory) IntendList(ctx context.Context, l ca.List, shard int, draft func(number int64, entries []byte) []byte) (ca.List, error) {
	lists, err := m.IntendLists(ctx, []ca.Wanted{{List: l, Shard: shard, Draft: func(l ca.List, entries []byte) []byte { return draft(l.Number, entries) }}})
	return lists[0], err
}

// IntendLists puts drafts on record under the next number, which they share.
func (m *Memory) IntendLists(_ context.Context, wanted []ca.Wanted) ([]ca.List, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	number, lists := int64(1), []ca.List{}
	if n := len(m.lists); n > 0 {
		number = m.lists[n-1].Number + 1
	}
	number = max(number, m.wards.floor+1)
	for _, w := range wanted {
		l := w.List
		entries := m.entries(l, w.Shard)
		l.Number, l.Upto = number, int64(len(m.changes))
		if l.Base < 0 {
			l.Base = number
		}
		l.TBS = w.Draft(l, entries)
		m.lists, lists = append(m.lists, l), append(lists, l)
		delete(m.dirty, w.Shard)
	}
	return lists, nil
}

// RecordList stores a signed list.
func (m *Memory) RecordList(_ context.Context, l ca.List, entry ca.Publication, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.lists, func(have ca.List) bool { return have.Number == l.Number && have.Scope == l.Scope })
	if i < 0 {
		return fmt.Errorf("no list %s %d", l.Scope, l.Number)
	}
	m.lists[i].Signature, m.lists[i].Signed = l.Signature, true
	m.publish([]ca.Publication{entry}, []audit.Entry{line})
	return nil
}

// Dirty reports the shards whose status changed after their newest list.
func (m *Memory) Dirty(context.Context) ([]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.dirty)), nil
}

// Successions are the changes of the CA's key.
func (m *Memory) Successions(context.Context) ([]ca.Succession, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heirs), nil
}

// Begin puts a succession on record, once for an order.
func (m *Memory) Begin(_ context.Context, order, label string, line audit.Entry) (ca.Succession, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.heirs {
		if s.Order == order {
			return s, nil
		}
	}
	if n := len(m.heirs); n > 0 && m.heirs[n-1].DER == nil {
		return ca.Succession{}, ca.RolloverOpen.At("order", ca.RolloverOpen.Clause)
	}
	s := ca.Succession{Generation: len(m.heirs) + 1, Order: order, Label: label}
	m.heirs, m.lines = append(m.heirs, s), append(m.lines, line)
	return s, nil
}

// Succeed makes the key of an order the one that signs, once.
func (m *Memory) Succeed(_ context.Context, order string, der []byte, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.heirs {
		if m.heirs[i].Order == order && m.heirs[i].DER == nil {
			m.heirs[i].DER, m.lines = der, append(m.lines, line)
		}
	}
	return nil
}

// LastEnd is when the last certificate of a key expires.
func (m *Memory) LastEnd(_ context.Context, generation int) (end time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to := ca.Span(ca.FullOf(generation))
	for _, c := range m.issued {
		if from <= c.Shard && c.Shard < to && c.NotAfter.After(end) {
			end = c.NotAfter
		}
	}
	return end, nil
}

// Responders are the certificates for signing OCSP, newest first.
func (m *Memory) Responders(context.Context) (list []ca.Issued, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.issued {
		if c.Profile == ca.ResponderProfile {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b ca.Issued) int { return b.NotBefore.Compare(a.NotBefore) })
	return list, nil
}

// Duties are the decisions that wait for a key.
func (m *Memory) Duties(context.Context) (list []enroll.Duty, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.duties {
		if d.point == nil {
			list = append(list, d.Duty)
		}
	}
	return list, nil
}

// Resolve puts a decision on record, once.
func (m *Memory) Resolve(_ context.Context, d enroll.Duty, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.duties, func(have duty) bool { return have.ID == d.ID }) {
		m.duties, m.lines = append(m.duties, duty{Duty: d}), append(m.lines, line)
	}
	return nil
}

// Fulfil gives a decision its key.
func (m *Memory) Fulfil(_ context.Context, id string, root bool, point []byte, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.duties, func(d duty) bool { return d.ID == id && d.Root == root })
	switch {
	case i < 0:
		return ca.NoResponder.At("duty", ca.NoResponder.Clause)
	case bytes.Equal(m.duties[i].point, point):
		return nil
	case m.duties[i].point != nil:
		return ca.NoResponder.At("csr", ca.NoResponder.Clause)
	}
	m.duties[i].point, m.lines = point, append(m.lines, line)
	return nil
}

// Forgo takes an order that does not sign yet off the record.
func (m *Memory) Forgo(_ context.Context, order string, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.heirs)
	m.heirs = slices.DeleteFunc(m.heirs, func(s ca.Succession) bool { return s.Order == order && s.DER == nil })
	if len(m.heirs) < n {
		m.lines = append(m.lines, line)
	}
	return nil
}

// Rules are the versions of profiles and settings.
func (m *Memory) Rules(context.Context) ([]ca.Rule, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rules), nil
}

// AddRule puts one on record, once for an order.
func (m *Memory) AddRule(_ context.Context, r ca.Rule, line audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, have := range m.rules {
		switch {
		case have.Order == r.Order:
			return nil
		case have.Kind == r.Kind && have.Version == r.Version:
			return ca.RuleStale.At("version", ca.RuleStale.Clause)
		}
	}
	m.rules, m.lines = append(m.rules, r), append(m.lines, line)
	return nil
}
