package cacore

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// bodies keep the CA's register of registration bodies, over the register of
// people that checks what they signed.
func (c Config) bodies(is *ca.Issuer, people *access.People) (*body.Keeper, error) {
	org, err := dn.Parse(is.Cert.Subject)
	if err != nil {
		return nil, err
	}
	return &body.Keeper{Register: is.Bodies, People: people, Profiles: is.InForce, Principal: org.O, Now: c.Now}, nil
}

// bodyOf carries out what a registration system's people decided about who
// registers for whom. Their signatures are checked here again.
func bodyOf(is *ca.Issuer, store ca.Store, k *body.Keeper) func(ctx context.Context, s enroll.Staff) error {
	refuse := refuser(is, store)
	return func(ctx context.Context, s enroll.Staff) error {
		var steps []proposal.Step
		for _, e := range s.Evidence {
			steps = append(steps, proposal.Step(e))
		}
		if err := k.Obey(ctx, is.Desk, s.ID, s.Matter, s.Content, steps); err != nil {
			return refuse(ctx, "ca.body", s.ID, err)
		}
		return nil
	}
}

// bars are the bodies the CA takes no requests of, by its own decision.
func bars(r *body.Register) func(ctx context.Context) ([]enroll.Bar, error) {
	return func(ctx context.Context) ([]enroll.Bar, error) {
		t, err := r.Tree(ctx)
		if err != nil {
			return nil, err
		}
		list := []enroll.Bar{}
		for _, b := range t.Barred() {
			list = append(list, enroll.Bar{Body: b.ID, Why: b.Barred})
		}
		return list, nil
	}
}

// bodyChecks tells which registration bodies there are and how they stand.
func bodyChecks(ctx context.Context, r *body.Register, now time.Time) (list []api.Check, err error) {
	t, err := r.Tree(ctx)
	if err != nil {
		return nil, err
	}
	today := now.In(time.FixedZone("", 8*60*60)).Format(time.DateOnly)
	if err := t.Stands("", today); err != nil {
		list = append(list, api.Check{Name: "注册系统", Value: err.Error(), State: "bad", Advice: "恢复受理须由业务管理员提议、超级管理员批准（registrar.resume）"})
	}
	for _, b := range t.All() {
		c := api.Check{Name: body.Titles[b.Kind] + " " + b.Name, Value: "受理", State: "good"}
		if err := t.Stands(b.ID, today); err != nil {
			c.Value, c.State, c.Advice = "已停止受理", "warn", "查明后由注册系统或 CA 的业务管理员提议恢复"
		}
		list = append(list, c)
	}
	return list, nil
}

// registrars list the bodies the CA takes requests of.
func registrars(s *api.Site, r *body.Register) {
	api.Handle(s, api.Op{ID: "registrars", Method: http.MethodGet, Path: "/api/v1/registrars", Summary: "注册机构：受托机构与受理网点"},
		func(ctx context.Context, _ *struct{}) (*api.Body[[]body.Body], error) {
			t, err := r.Tree(ctx)
			if err != nil {
				return nil, err
			}
			list := t.All()
			if list == nil {
				list = []body.Body{}
			}
			return &api.Body[[]body.Body]{Body: list}, nil
		})
}

// figuresOf counts what was issued at registration systems' request.
func figuresOf(is *ca.Issuer, store *castore.Store) func(ctx context.Context, since time.Time) ([]enroll.Figure, time.Time, error) {
	return func(ctx context.Context, since time.Time) ([]enroll.Figure, time.Time, error) {
		now := is.Now()
		list, err := store.Figures(ctx, since, now)
		return slices.DeleteFunc(list, func(f enroll.Figure) bool {
			return is.InForce()[f.Profile].Internal || f.Profile == ca.WardProfile // nobody here registered these
		}), now, err
	}
}
