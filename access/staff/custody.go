package staff

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
)

// Strength is how many custodians count today, of how many something needs.
type Strength struct {
	Name string // what needs them
	Left int    // in office, their certificate in force
	Need int
	Fix  string // what to do first, where they become too few
}

// InForce reports whether a person may act at a time.
func InForce(p access.Person, now time.Time) bool {
	return p.Ended.IsZero() && !p.Disabled && !now.Before(p.NotBefore) && !now.After(p.NotAfter)
}

// enough refuses a change after which fewer custodians would count than are
// needed: nobody could open the house again, or look after those at the top.
func (k *Keeper) enough(ctx context.Context, verb string, c Change) error {
	if k.Strength == nil || verb == Add || verb == Unfreeze {
		return nil
	}
	people, err := k.People.All(ctx)
	if err != nil {
		return err
	}
	before, err := k.Strength(people)
	if err != nil {
		return err
	}
	after, err := k.Strength(k.without(people, verb, c.ID))
	if err != nil {
		return err
	}
	for i, s := range after {
		if s.Left < s.Need && s.Left < before[i].Left {
			return FewCustodians.At("id", FewCustodians.Clause).Because("%s需要 %d 名，现有 %d 名有效，办理后只剩 %d 名", s.Name, s.Need, before[i].Left, s.Left).ToFix(s.Fix)
		}
	}
	return nil
}

// without is the register as a change leaves it.
func (k *Keeper) without(people []access.Person, verb string, id access.PersonID) []access.Person {
	list := slices.Clone(people)
	for i, p := range list {
		switch {
		case p.ID != id || !p.Ended.IsZero():
		case verb == Freeze:
			list[i].Disabled = true
		default:
			list[i].Ended = k.Now()
			if p.Cert = nil; verb == Renew { // the next certificate is not yet known
				list = append(list, p)
			}
		}
	}
	return list
}

// Told is a strength in words for the overview, and how good that is.
func (s Strength) Told() (value, state, advice string) {
	value = fmt.Sprintf("有效 %d 名，需要 %d 名", s.Left, s.Need)
	switch {
	case s.Left < s.Need:
		return value, "bad", s.Fix
	case s.Left == s.Need:
		return value, "warn", "再少一名即不足：" + s.Fix
	}
	return value, "good", ""
}
