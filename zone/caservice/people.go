package caservice

import (
	"context"
	"errors"
	"log/slog"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/zone/plant"
)

// changes start the desk where the registration system's people change who
// works there. The CA's register counts: it carries changes out, and this
// system's register follows it.
func (c Config) changes(g *plant.Group, db *sqldb.DB, desk access.Desk, people *access.People, ca enroll.Client) (*proposal.Desk, error) {
	if err := proposal.Migrate(g.Context(), db); err != nil {
		return nil, err
	}
	mirror := &staff.Mirror{DB: db, People: people, Now: c.Now, Roster: func(ctx context.Context, digest []byte) ([]access.Person, bool, error) {
		r, err := ca.Roster(ctx, digest)
		if err != nil || r.Same {
			return nil, r.Same, err
		}
		list, err := r.People()
		if err == nil && len(list) == 0 {
			err = errors.New("the CA knows nobody of this system")
		}
		return list, false, err
	}}
	keeper := &staff.Keeper{DB: db, People: people, Now: c.Now, Ask: func(ctx context.Context, r proposal.Record) ([]byte, error) {
		der, err := ca.Staff(ctx, orderOf(r))
		if err != nil {
			return nil, err
		}
		if err := mirror.Once(ctx); err != nil {
			slog.Warn("the register follows later", "err", err)
		}
		return der, nil
	}}
	d := (&proposal.Desk{DB: db, People: desk, Now: c.Now, Matters: keeper.Matters(staff.RA)}).Start()
	g.Go(mirror.Run)
	g.Go(d.Run)
	return d, nil
}

// orderOf is what the CA is asked: the content, and the signed steps.
func orderOf(r proposal.Record) enroll.Staff {
	s := enroll.Staff{ID: r.ID, Matter: r.Kind, Content: r.Content}
	for _, act := range []casework.Action{proposal.Propose, proposal.Confirm} {
		if e, ok := r.Last(act); ok {
			s.Evidence = append(s.Evidence, enroll.Evidence{Signed: e.Signed, Item: e.Item, Proof: e.Proof})
		}
	}
	return s
}
