package caservice

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/zone/plant"
)

// due lists what may be destroyed of what identified holders; nothing changes.
func due(site *api.Site, old *ra.Retention) {
	api.Handle(site, api.Op{ID: "due", Method: http.MethodGet, Path: "/api/v1/due", Summary: "到期可销毁的身份材料（试算，不作改动）"},
		func(ctx context.Context, _ *struct{}) (*api.Body[[]ra.Outlived], error) {
			list, err := old.Dry(ctx)
			return &api.Body[[]ra.Outlived]{Body: list}, err
		})
}

// changes start the desk where the registration system's people change who
// works there. The CA's register counts: it carries changes out, and this
// system's register follows it.
func (c Config) changes(g *plant.Group, db *sqldb.DB, desk access.Desk, people *access.People, bodies *body.Keeper, ca enroll.Client, old *ra.Retention) (*proposal.Desk, error) {
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
	bodies.People, bodies.Tell = people, func(ctx context.Context, r proposal.Record) error { return ca.Body(ctx, orderOf(r)) }
	d := (&proposal.Desk{DB: db, People: desk, Now: c.Now, Matters: slices.Concat(keeper.Matters(staff.RA), bodies.Matters(), []proposal.Matter{old.Matter()})}).Start()
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

// bodies keep the register of who registers for whom. A body's unit is on the
// register of units, and its agreement is a file kept here.
func (c Config) bodies(ctx context.Context, db *sqldb.DB, store ra.Store, set func() profile.Set) (*body.Keeper, error) {
	if err := body.Migrate(ctx, db); err != nil {
		return nil, err
	}
	issuer, err := cert.Parse(c.Chain[0])
	if err != nil {
		return nil, err
	}
	name, err := dn.Parse(issuer.Subject)
	if err != nil {
		return nil, err
	}
	return &body.Keeper{
		Register: &body.Register{DB: db}, Profiles: set, Principal: name.O, Now: c.Now,
		Unit: func(ctx context.Context, code string) error {
			u, err := store.Unit(ctx, code)
			if err == nil && u.Suspended {
				err = ra.UnitStopped.At("unit", ra.UnitStopped.Clause).Because("%s", u.Name)
			}
			return err
		},
		Kept: func(ctx context.Context, digest []byte) error {
			if _, err := store.Evidence(ctx, digest); err != nil {
				return ra.NoEvidence.At("agreement", ra.NoEvidence.Clause)
			}
			return nil
		},
	}, nil
}
