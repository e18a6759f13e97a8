package kmcore

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/proposals"
	"github.com/hufu-pki/hufu/zone/plant"
)

// Matters are the changes the centre's people may propose, as tables: what they
// do needs a running core.
func Matters() []proposal.Matter {
	list := append((&staff.Keeper{}).Matters(staff.KM), (&pool{}).matters()...)
	return append(list, (&km.Court{Custody: km.Custody{Threshold: 1}}).Matter(), (&km.Retention{}).Matter(), (&km.Archive{}).Matter())
}

// manage starts the management interface: people, changes, audit, overview.
func manage(g *plant.Group, c Config, db *sqldb.DB, vault *km.Vault, store *kmstore.Store, files func(context.Context) ([]byte, error)) error {
	set, err := profile.Builtin()
	if err != nil {
		return err
	}
	key, err := c.Device.Signer(KeyStaffCA)
	if err != nil {
		return err
	}
	own := &km.StaffCA{Store: store, Key: key, Cert: c.Staff, Profile: set["staff"], Place: c.Place, Now: c.Now}
	people := &access.People{DB: db}
	desk := access.Desk{Site: "密钥管理系统", People: people, Now: c.Now}
	keeper := &staff.Keeper{DB: db, People: people, Now: c.Now, Issue: func(ctx context.Context, request string, _ access.Role, name string, point []byte) ([]byte, error) {
		return own.Issue(ctx, request, name, point)
	}}
	keeper.Strength = c.Strength
	register := &km.StaffRegister{CA: own, Store: store}
	keeper.Status = publish(register)
	g.Go(register.Run)
	keys := &pool{vault: vault, keeper: &km.Keeper{Vault: vault, Store: store}, store: store, device: c.Device, now: c.Now}
	g.Go(keys.keeper.Run)
	old := &km.Retention{Vault: vault, Store: store}
	changes := (&proposal.Desk{DB: db, People: desk, Now: c.Now, Matters: append(append(keeper.Matters(staff.KM), keys.matters()...), old.Matter())}).Start()
	custody, ok, err := store.Custody(g.Context())
	if err != nil {
		return err
	}
	identity, err := c.Device.Signer(KeyIdentity)
	if err != nil {
		return err
	}
	if opener, can := identity.(crypto.Decrypter); ok && can {
		court := &km.Court{Vault: vault, Store: store, Custody: custody, Open: func(sealed []byte) ([]byte, error) { return opener.Decrypt(rand.Reader, sealed, nil) }}
		changes.Matters = append(changes.Matters, court.Matter())
		g.Go(func(ctx context.Context) { sweep(ctx, store) })
	}
	changes.Matters = append(changes.Matters, (&km.Archive{Vault: vault}).Matter())
	g.Go(changes.Run)
	site := (&api.Site{
		Staff: access.KM.Roles,
		Title: "虎符密钥管理接口", Desk: desk, Trail: &audit.Trail{DB: db, Auditor: access.KM.Auditor, Admin: access.KM.AuditAdmin, Now: c.Now}, Files: files, Now: c.Now, Behind: true,
		Archive: filepath.Join(c.Dir, "archive"), Log: c.Log,
	}).Start()
	(&proposals.API{Desk: changes, People: people}).Mount(site)
	site.Overview(func(ctx context.Context) ([]api.Check, error) {
		list, err := c.checks(ctx, vault, custody, people)
		if err != nil {
			return nil, err
		}
		drill, err := keys.drillCheck(ctx)
		return append(list, drill, g.SealCheck()), err
	})
	shares(site, changes, custody, vault.Cert)
	keys.queries(site, authorities(c.CAs))
	due(site, old)
	published(site.Mux, c, store)
	type status struct{ Body km.Status }
	api.Handle(site, api.Op{ID: "pool", Method: http.MethodGet, Path: "/api/v1/pool", Summary: "密钥库状态"},
		func(ctx context.Context, _ *struct{}) (*status, error) {
			s, err := vault.Status(ctx)
			return &status{s}, err
		})
	return g.Serve("密钥管理接口", c.Console, site.Mux)
}

// Reasons of RFC 5280 §5.3.1, as the CA gives them.
const (
	superseded         = 4
	certificateHold    = 6
	privilegeWithdrawn = 9
)

// publish puts what became of a person's certificate on the centre's own list;
// what they may do here is for the register.
func publish(r *km.StaffRegister) func(ctx context.Context, request, verb string, der []byte) error {
	reasons := map[string]int{staff.Freeze: certificateHold, staff.Unfreeze: km.StaffGood, staff.Revoke: privilegeWithdrawn, staff.Renew: superseded}
	return func(ctx context.Context, request, verb string, der []byte) error {
		serial, err := r.CA.SerialOf(der)
		if err != nil {
			return err
		}
		return r.Set(ctx, request, serial, reasons[verb])
	}
}

// Paths of what the centre's own CA publishes through its console.
const (
	PathStaffList = "/crl/km-staff.crl"
	PathStaffCA   = "/aia/km-staff-ca.cer"
)

// StaffPlace is where staff certificates say their status and issuer are found,
// at the console's address.
func StaffPlace(console string) profile.Place {
	return profile.Place{CRL: console + PathStaffList, Issuer: console + PathStaffCA}
}

func published(mux *http.ServeMux, c Config, store *kmstore.Store) {
	mux.HandleFunc("GET "+PathStaffList, func(w http.ResponseWriter, r *http.Request) {
		der, err := store.SignedStaffList(r.Context())
		if err != nil || der == nil {
			slog.Error("list of staff certificates", "err", err)
			http.Error(w, "列表尚未签发", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/pkix-crl")
		_, _ = w.Write(der) // whoever asked has gone
	})
	mux.HandleFunc("GET "+PathStaffCA, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/pkix-cert")
		_, _ = w.Write(c.Staff.Raw) // whoever asked has gone
	})
}

// due lists archived keys whose time has come; nothing changes.
func due(site *api.Site, old *km.Retention) {
	type query struct {
		Before string `query:"before" doc:"退出使用早于，如 2014-01-31；省略为允许的最晚一天"`
		After  int64  `query:"after" doc:"上一页最后一个的编号"`
	}
	api.Handle(site, api.Op{ID: "due", Method: http.MethodGet, Path: "/api/v1/due", Summary: "到期可销毁的归档密钥（试算，不作改动）"},
		func(ctx context.Context, in *query) (*api.Body[km.DueList], error) {
			list, err := old.Dry(ctx, in.Before, in.After)
			return &api.Body[km.DueList]{Body: list}, err
		})
}

// OwnShare is what a custodian needs to release: their share, sealed to their
// key, and the centre's key to seal it to again.
type OwnShare struct {
	Sealed []byte `json:"sealed"`
	Centre []byte `json:"centre"` // point
	Seal   []byte `json:"seal"`   // point of the key that evidence packages are checked by
}

func shares(site *api.Site, changes *proposal.Desk, custody km.Custody, centre []byte) {
	api.Handle(site, api.Op{ID: "custody", Method: http.MethodGet, Path: "/api/v1/custody", Summary: "本人保管的份额（密封）"},
		func(ctx context.Context, _ *struct{}) (*api.Body[OwnShare], error) {
			who := api.Person(ctx)
			sealed := custody.Shares[string(who.ID)]
			if sealed == nil {
				err := km.BadShare.At("person", km.BadShare.Clause).Because("%s 不是份额保管人", who.ID)
				return nil, changes.Turned(ctx, who, proposal.Order{Matter: "km.custody", Act: "read"}, api.Source(ctx), err)
			}
			c, err := cert.Parse(centre)
			if err != nil {
				return nil, err
			}
			return &api.Body[OwnShare]{Body: OwnShare{sealed, c.Point, custody.Seal}}, nil
		})
}

// authorities are the names the records of registered CAs are kept under.
func authorities(ders [][]byte) (names []string) {
	for _, der := range ders {
		if c, err := cert.Parse(der); err == nil {
			names = append(names, km.Authority(c))
		}
	}
	return names
}

// sweep forgets shares that were used or are no longer needed.
func sweep(ctx context.Context, store *kmstore.Store) {
	for {
		if err := store.SweepShares(ctx); err != nil && ctx.Err() == nil {
			slog.Error("forgetting released shares", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
}

// soon is how long before an end somebody should know.
const soon = 60 * 24 * time.Hour

// court counts the custodians of the seal of a court. Its shares are never dealt
// again, so this is shown and keeps nobody in office.
func (c Config) court(custody km.Custody, people []access.Person) staff.Strength {
	s := staff.Strength{Name: "司法取证放行", Need: custody.Threshold, Fix: "放行密钥的份额在建立时已定：请解冻可恢复的司法取证员"}
	for _, p := range people {
		if custody.Shares[string(p.ID)] != nil && staff.InForce(p, c.Now()) {
			s.Left++
		}
	}
	return s
}

// checks is the operator's overview of the key centre.
func (c Config) checks(ctx context.Context, vault *km.Vault, custody km.Custody, people *access.People) ([]api.Check, error) {
	now := c.Now()
	s, err := vault.Status(ctx)
	if err != nil {
		return nil, err
	}
	self, err := cert.Parse(c.Cert)
	if err != nil {
		return nil, err
	}
	pool := api.Check{Name: "备用库", Value: fmt.Sprintf("%d 对（下限 %d，补至 %d）", s.Standby, s.Low, s.High), State: "good"}
	if s.Standby < s.Low {
		pool.State, pool.Advice = "warn", "正在自动补充；长时间不回升请检查密码设备"
	}
	list := []api.Check{
		pool, {Name: "在用库", Value: fmt.Sprintf("%d 对", s.InUse), State: "good"}, {Name: "历史库", Value: fmt.Sprintf("%d 对", s.History), State: "good"},
		api.Expiry("密钥管理系统证书", self.NotAfter, now, soon, "请更新系统证书，否则 CA 拒收应答"),
		api.Expiry("人员 CA 证书", c.Staff.NotAfter, now, 365*24*time.Hour, "请安排更新"),
		api.Disk(c.Dir), plant.DeviceCheck(c.Device),
		api.Clock(now),
	}
	for _, der := range c.CAs {
		if peer, err := cert.Parse(der); err == nil {
			list = append(list, api.Expiry("已登记的 CA 服务器证书", peer.NotAfter, now, soon, "请登记其新证书"))
		}
	}
	all, err := people.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.Ended.IsZero() && p.NotAfter.Sub(now) < soon {
			list = append(list, api.Expiry("人员证书 "+string(p.ID), p.NotAfter, now, soon, "请由上级提议更新证书"))
		}
	}
	strong, err := plant.CustodyChecks(c.Strength, all)
	if list = append(list, strong...); custody.Threshold > 0 {
		list = append(list, plant.CustodyCheck(c.court(custody, all)))
	}
	return list, err
}
