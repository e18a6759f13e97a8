package ca

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/record"
)

// Statistic counts the certificates of a profile issued in a month. Each issued
// certificate is revoked, expired or valid. (证书统计)
type Statistic struct {
	Profile string `json:"profile"`
	Month   string `json:"month"` // 2026-01, in Beijing
	Issued  int64  `json:"issued"`
	Expired int64  `json:"expired"` // ended without having been revoked
	Revoked int64  `json:"revoked"`
	Held    int64  `json:"held"` // on hold, among the revoked
	Valid   int64  `json:"valid"`
}

// Balanced reports whether issued − expired − revoked = valid. The four were
// counted each by itself.
func (s Statistic) Balanced() bool { return s.Issued-s.Expired-s.Revoked == s.Valid }

// Totals are the numbers on record at one moment.
type Totals struct {
	Certificates int64
	Revoked      int64 // certificates that say they are
	Entries      int64 // of revocation lists to come
	Changes      int64 // of status
	Leaves       int64 // of the ledger
}

// StatisticStore counts certificates.
type StatisticStore interface {
	// Statistics counts the certificates whose validity begins in [from, to), as
	// they stand at a time.
	Statistics(ctx context.Context, from, to, now time.Time) ([]Statistic, error)
	// Totals are read at one moment.
	Totals(ctx context.Context) (Totals, error)
	// Entries reads entries [from, to) of the ledger.
	Entries(ctx context.Context, from, to int64) ([][]byte, error)
}

// Reconciler holds the certificates on record against the ledger, from where it
// was the last time.
type Reconciler struct {
	Store StatisticStore
	Now   func() time.Time

	mu                        sync.Mutex
	at, certificates, changes int64
}

// leavesAtOnce bounds what is read from the ledger in one query.
const leavesAtOnce = 10_000

// Check names every difference it finds; none, all is well. It is a failure not
// to be able to look.
func (r *Reconciler) Check(ctx context.Context) (differences []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.Store.Totals(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.read(ctx, t.Leaves); err != nil {
		return nil, err
	}
	for _, d := range []struct {
		what        string
		have, there int64
	}{
		{"证书库有证书 %d 张，账本有 %d 张", t.Certificates, r.certificates},
		{"证书库有状态变更 %d 次，账本有 %d 次", t.Changes, r.changes},
		{"标记为撤销的证书 %d 张，撤销列表条目 %d 条", t.Revoked, t.Entries},
	} {
		if d.have != d.there {
			differences = append(differences, fmt.Sprintf(d.what, d.have, d.there))
		}
	}
	list, err := r.Store.Statistics(ctx, time.Time{}, r.Now().AddDate(1000, 0, 0), r.Now())
	if err != nil {
		return nil, err
	}
	issued := int64(0)
	for _, s := range list {
		if issued += s.Issued; !s.Balanced() {
			differences = append(differences, fmt.Sprintf("%s %s：签发 %d − 过期 %d − 撤销 %d ≠ 有效 %d", s.Profile, s.Month, s.Issued, s.Expired, s.Revoked, s.Valid))
		}
	}
	if t2, err := r.Store.Totals(ctx); err != nil || issued < t.Certificates || issued > t2.Certificates { // some may have been issued meanwhile
		differences = append(differences, fmt.Sprintf("统计合计 %d 张，证书库有 %d 张", issued, t.Certificates))
		return differences, err
	}
	return differences, nil
}

// read counts the ledger's entries up to a size.
func (r *Reconciler) read(ctx context.Context, size int64) error {
	for r.at < size {
		leaves, err := r.Store.Entries(ctx, r.at, min(size, r.at+leavesAtOnce))
		if err != nil {
			return err
		}
		if len(leaves) == 0 {
			return fmt.Errorf("ledger: no leaf %d of %d", r.at, size)
		}
		for _, leaf := range leaves {
			e, err := record.Parse(leaf)
			if err != nil {
				return fmt.Errorf("ledger: leaf %d: %w", r.at, err)
			}
			switch e.Kind {
			case record.KindCertificate:
				r.certificates++
			case record.KindStatus:
				r.changes++
			}
			r.at++
		}
	}
	return nil
}

// Beijing is the time months are counted in.
var Beijing = time.FixedZone("", 8*60*60)
