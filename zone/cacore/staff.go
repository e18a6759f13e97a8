package cacore

import (
	"bytes"
	"context"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// staffOf carries out what a registration system's people decided about their
// own. Their signatures are checked here again.
func staffOf(is *ca.Issuer, store ca.Store, k *staff.Keeper) func(ctx context.Context, s enroll.Staff) ([]byte, error) {
	refuse := refuser(is, store)
	return func(ctx context.Context, s enroll.Staff) ([]byte, error) {
		o := staff.Order{From: "ra", ID: s.ID, Matter: s.Matter, Content: s.Content}
		for _, e := range s.Evidence {
			o.Steps = append(o.Steps, staff.Step(e))
		}
		der, err := k.Obey(ctx, is.Desk, staff.RA, o)
		if err != nil {
			return nil, refuse(ctx, "ca.staff", s.ID, err)
		}
		return der, nil
	}
}

// rosterOf tells a registration system who works there.
func rosterOf(people *access.People) func(ctx context.Context, digest []byte) (enroll.Roster, error) {
	return func(ctx context.Context, digest []byte) (enroll.Roster, error) {
		all, err := people.All(ctx)
		if err != nil {
			return enroll.Roster{}, err
		}
		list := slices.DeleteFunc(all, func(p access.Person) bool {
			return !slices.ContainsFunc(access.RA.Roles, p.Holds)
		})
		if bytes.Equal(digest, access.Digest(list)) {
			return enroll.Roster{Same: true}, nil
		}
		return enroll.RosterOf(list), nil
	}
}
