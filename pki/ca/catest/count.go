package catest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
)

var _ ca.StatisticStore = (*Memory)(nil)

// Statistics counts certificates by profile and month.
func (m *Memory) Statistics(_ context.Context, from, to, now time.Time) ([]ca.Statistic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	months := map[string]ca.Statistic{}
	for _, c := range m.issued {
		if c.NotBefore.Before(from) || !c.NotBefore.Before(to) {
			continue
		}
		month := c.NotBefore.In(ca.Beijing).Format("2006-01")
		s := months[c.Profile+month]
		s.Profile, s.Month = c.Profile, month
		s.Issued++
		switch {
		case c.Revoked:
			s.Revoked++
			if c.Reason == hold {
				s.Held++
			}
		case c.NotAfter.Before(now):
			s.Expired++
		default:
			s.Valid++
		}
		months[c.Profile+month] = s
	}
	list := []ca.Statistic{}
	for _, s := range months {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b ca.Statistic) int {
		return cmp.Or(cmp.Compare(a.Month, b.Month), cmp.Compare(a.Profile, b.Profile))
	})
	return list, nil
}

// Totals are the numbers on record.
func (m *Memory) Totals(context.Context) (ca.Totals, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := ca.Totals{Certificates: int64(len(m.issued)), Entries: int64(len(m.revoked)), Changes: int64(len(m.changes)), Leaves: int64(len(m.leaves))}
	for _, c := range m.issued {
		if c.Revoked {
			t.Revoked++
		}
	}
	return t, nil
}

// Entries reads entries of the public ledger.
func (m *Memory) Entries(_ context.Context, from, to int64) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.leaves[from:to]), nil
}

// Counted is a store whose certificates are counted.
type Counted interface {
	ca.Store
	ca.StatisticStore
}

// Count is the suite every store must pass for those who count.
func Count(t *testing.T, open func(*testing.T) Counted) {
	t.Run("every certificate is counted once", func(t *testing.T) { countedOnce(t, open(t)) })
	t.Run("records and ledger are held against each other", func(t *testing.T) { heldAgainst(t, open(t)) })
}

// dated takes request n through to Recorded, with leaves that say so.
func dated(t *testing.T, s Counted, n byte, from, to time.Time) ca.Job {
	t.Helper()
	ctx, j := t.Context(), Job(n)
	j.State, j.Task, j.From, j.To, j.TBS = ca.Intended, 0, from, to, ca.Pair{Sign: []byte("tbs")}
	j.Serials.Enc, j.Shards[1] = nil, 0
	if err := s.Open(ctx, []ca.Job{j}, nil, from); err != nil {
		t.Fatal(err)
	}
	j.State, j.DER.Sign = ca.Recorded, []byte{n}
	if err := s.Record(ctx, []ca.Job{j}, []ca.Publication{{Leaf: leaf(record.KindCertificate)}}, []audit.Entry{Line("ca.issue")}, from); err != nil {
		t.Fatal(err)
	}
	return j
}

func leaf(kind string) []byte { return record.Entry{Kind: kind, At: at, Body: []byte{1}}.Bytes() }

// turn changes a status, with a leaf that says so.
func turn(t *testing.T, s Counted, request string, j ca.Job, revoked bool, reason int) {
	t.Helper()
	c, err := s.Certificate(t.Context(), j.Serials.Sign)
	if err != nil {
		t.Fatal(err)
	}
	c.Revoked, c.Reason, c.RevokedAt, c.NotAfter = revoked, reason, at, j.To
	c.NotBefore = j.From
	if err := s.Revoke(t.Context(), request, []ca.Issued{c}, []ca.Publication{{Leaf: leaf(record.KindStatus)}}, nil, nil, at); err != nil {
		t.Fatal(err)
	}
}

func countedOnce(t *testing.T, s Counted) {
	old := time.Date(2025, 12, 31, 17, 0, 0, 0, time.UTC) // already January in Beijing
	year := func(from time.Time) time.Time { return from.AddDate(1, 0, 0) }
	dated(t, s, 1, at, year(at))
	dated(t, s, 2, at, at.Add(time.Hour)) // expired
	turn(t, s, "R1", dated(t, s, 3, at, year(at)), true, 4)
	turn(t, s, "R2", dated(t, s, 4, at, at.Add(time.Hour)), true, 4) // revoked, then expired: revoked
	turn(t, s, "F1", dated(t, s, 5, old, year(old)), true, 6)
	again := dated(t, s, 6, old, year(old))
	turn(t, s, "F2", again, true, 6)
	turn(t, s, "U2", again, false, 0)
	now := at.Add(2 * time.Hour)
	jan := ca.Statistic{Profile: "person-dual", Month: "2026-01", Issued: 2, Revoked: 1, Held: 1, Valid: 1}
	nov := ca.Statistic{Profile: "person-dual", Month: "2026-11", Issued: 4, Expired: 1, Revoked: 2, Valid: 1}
	for _, c := range []struct {
		from, to time.Time
		want     []ca.Statistic
	}{
		{time.Unix(0, 0), now, []ca.Statistic{jan, nov}}, {at, now, []ca.Statistic{nov}}, {time.Unix(0, 0), at, []ca.Statistic{jan}}, {now, year(now), []ca.Statistic{}},
	} {
		got, err := s.Statistics(t.Context(), c.from, c.to, now)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("from %v to %v: %+v, %v", c.from, c.to, got, err)
		}
		for _, one := range got {
			if !one.Balanced() {
				t.Errorf("%+v does not balance", one)
			}
		}
	}
}

func heldAgainst(t *testing.T, s Counted) {
	r := &ca.Reconciler{Store: s, Now: func() time.Time { return at }}
	agree := func(want string) {
		t.Helper()
		found, err := r.Check(t.Context())
		if err != nil || (want == "") != (len(found) == 0) || !strings.Contains(fmt.Sprint(found), want) {
			t.Errorf("found %v, %v; want %q", found, err, want)
		}
	}
	agree("")
	j := dated(t, s, 1, at, at.AddDate(1, 0, 0))
	turn(t, s, "R1", j, true, 4)
	agree("")
	dated(t, s, 2, at, at.AddDate(1, 0, 0))
	agree("")
	extra := Job(3)
	extra.State, extra.Task, extra.TBS, extra.Serials.Enc = ca.Intended, 0, ca.Pair{Sign: []byte("tbs")}, nil
	if err := s.Open(t.Context(), []ca.Job{extra}, nil, at); err != nil {
		t.Fatal(err)
	}
	extra.DER.Sign = []byte("not in the ledger")
	if err := s.Record(t.Context(), []ca.Job{extra}, []ca.Publication{{Leaf: leaf("other")}}, nil, at); err != nil {
		t.Fatal(err)
	}
	agree("证书库有证书 3 张，账本有 2 张")
}
