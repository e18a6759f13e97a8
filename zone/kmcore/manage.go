package kmcore

import (
	"context"
	"fmt"
	"net/http"
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
	changes := (&proposal.Desk{DB: db, People: desk, Now: c.Now, Matters: keeper.Matters(staff.KM)}).Start()
	g.Go(changes.Run)
	site := (&api.Site{
		Staff: access.KM.Roles,
		Title: "虎符密钥管理接口", Desk: desk, Trail: &audit.Trail{DB: db, Auditor: access.KM.Auditor, Admin: access.KM.AuditAdmin, Now: c.Now}, Files: files, Now: c.Now, Behind: true,
	}).Start()
	(&proposals.API{Desk: changes, People: people}).Mount(site)
	site.Overview(func(ctx context.Context) ([]api.Check, error) { return c.checks(ctx, vault, people) })
	type status struct{ Body km.Status }
	api.Handle(site, api.Op{ID: "pool", Method: http.MethodGet, Path: "/api/v1/pool", Summary: "密钥库状态"},
		func(ctx context.Context, _ *struct{}) (*status, error) {
			s, err := vault.Status(ctx)
			return &status{s}, err
		})
	return g.Serve("密钥管理接口", c.Console, site.Mux)
}

// soon is how long before an end somebody should know.
const soon = 60 * 24 * time.Hour

// checks is the operator's overview of the key centre.
func (c Config) checks(ctx context.Context, vault *km.Vault, people *access.People) ([]api.Check, error) {
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
	for _, p := range all {
		if p.Ended.IsZero() && p.NotAfter.Sub(now) < soon {
			list = append(list, api.Expiry("人员证书 "+string(p.ID), p.NotAfter, now, soon, "请由上级提议更新证书"))
		}
	}
	return list, err
}
