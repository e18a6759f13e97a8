package cacore

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/proposals"
	"github.com/hufu-pki/hufu/zone/plant"
)

// keeper changes the institution's people, the registration systems' among
// them, over the register that also checks what they signed.
func (c Config) keeper(db *sqldb.DB, is *ca.Issuer) (*staff.Keeper, error) {
	people, ok := is.Desk.People.(*access.People)
	if !ok {
		return nil, fmt.Errorf("register of people is a %T", is.Desk.People)
	}
	return &staff.Keeper{DB: db, People: people, Issue: certify(is), Status: publish(is), Now: c.Now, Strength: c.Strength}, nil
}

// Matters are the changes the CA's people may propose, as tables: what they do
// needs a running core.
func Matters() []proposal.Matter {
	return slices.Concat((&staff.Keeper{}).Matters(staff.CA), (&gates{}).matters(), (&authorities{}).matters(), (&rules{}).matters(), listMatters(nil), releaseMatters(nil), (&body.Keeper{}).Bars(), (&courier{}).matters())
}

// manage starts the management interface: people, changes, audit, overview.
func manage(g *plant.Group, c Config, keeper *staff.Keeper, is *ca.Issuer, publisher *ca.Publisher, store *castore.Store, below *authorities, bodies *body.Keeper, carried *courier, files func(context.Context) ([]byte, error)) error {
	people, db := keeper.People, keeper.DB
	desk := access.Desk{Site: "证书认证系统", People: people, Now: c.Now}
	doors := &gates{store: store, profiles: is.Profiles, now: c.Now}
	law := &rules{is: is, rules: is.Rules, store: store, base: is.Profiles}
	changes := (&proposal.Desk{DB: db, People: desk, Now: c.Now, Matters: slices.Concat(keeper.Matters(staff.CA), doors.matters(), below.matters(), law.matters(), listMatters(publisher), releaseMatters(is), bodies.Bars(), carried.matters())}).Start()
	g.Go(changes.Run)
	site := (&api.Site{
		Staff: access.CA.Roles,
		Title: "虎符 CA 管理接口", Desk: desk, Trail: &audit.Trail{DB: db, Auditor: access.CA.Auditor, Admin: access.CA.AuditAdmin, Now: c.Now}, Files: files, Now: c.Now, Behind: true,
		Archive: filepath.Join(c.Dir, "archive"), Log: c.Log,
	}).Start()
	(&proposals.API{Desk: changes, People: people}).Mount(site)
	books := &ca.Reconciler{Store: store, Now: c.Now}
	statistics(site, books)
	registrars(site, bodies.Register)
	law.mount(site)
	below.receive(site)
	site.Overview(func(ctx context.Context) ([]api.Check, error) {
		list, err := c.checks(ctx, is, store, people)
		if err != nil {
			return nil, err
		}
		agree, err := reconciled(ctx, books)
		if err != nil {
			return nil, err
		}
		told, err := bodyChecks(ctx, bodies.Register, c.Now())
		if err != nil {
			return nil, err
		}
		list = append(list, told...)
		more, err := below.above(ctx, c.Now())
		if err != nil {
			return nil, err
		}
		who, err := below.answering(ctx, c.Now())
		return slices.Concat(list, []api.Check{agree, g.SealCheck()}, more, who), err
	})
	return g.Serve("CA 管理接口", c.Console, site.Mux)
}

// certify issues certificates of the institution's people.
func certify(is *ca.Issuer) func(ctx context.Context, request string, role access.Role, name string, point []byte) ([]byte, error) {
	return func(ctx context.Context, request string, _ access.Role, name string, point []byte) ([]byte, error) {
		org, err := dn.Parse(is.Cert.Subject)
		if err != nil {
			return nil, err
		}
		return is.IssueInternal(ctx, request, "staff", dn.Name{C: "CN", O: org.O, CN: name}, point)
	}
}

// Reasons of RFC 5280 §5.3.1. affiliationChanged and the like are finer than
// what the register knows: a person's certificate ends because they no longer
// hold the post.
const (
	superseded         = 4
	privilegeWithdrawn = 9
)

// publish tells the world what became of a person's certificate; what they may
// do here is for the register.
func publish(is *ca.Issuer) func(ctx context.Context, request, verb string, der []byte) error {
	return func(ctx context.Context, request, verb string, der []byte) error {
		c, err := cert.Parse(der)
		if err != nil {
			return err
		}
		serial := c.Serial.Bytes()
		switch verb {
		case staff.Revoke:
			return is.EndInternal(ctx, request, serial, privilegeWithdrawn)
		case staff.Renew: // the one before
			return is.EndInternal(ctx, request, serial, superseded)
		}
		return is.HoldInternal(ctx, request, serial, verb == staff.Freeze)
	}
}

// soon is how long before an end somebody should know.
const soon = 60 * 24 * time.Hour

// checks is the operator's overview of the CA.
func (c Config) checks(ctx context.Context, is *ca.Issuer, store *castore.Store, people *access.People) ([]api.Check, error) {
	now := c.Now()
	list := []api.Check{
		api.Expiry("运营 CA 证书", is.Current().Cert.NotAfter, now, 365*24*time.Hour, "请由业务管理员提议“更新 CA 密钥”（GM/T 0034 §8.2.4.3）"),
		api.Expiry("根 CA 证书", c.Root.NotAfter, now, 365*24*time.Hour, "请安排根密钥更新"),
	}
	lists, err := store.Lists(ctx)
	if err != nil {
		return nil, err
	}
	if full, ok := lists[ca.ScopeOf(ca.FullOf(is.Current().Generation()))]; ok && full.Signed {
		list = append(list, api.Expiry(fmt.Sprintf("全量 CRL 第 %d 号", full.Number), full.NextUpdate, now, 24*time.Hour, "列表未按时签发：请检查核心区日志与密码设备"))
	} else {
		list = append(list, api.Check{Name: "全量 CRL", Value: "尚未签发", State: "bad", Advice: "请检查核心区日志与密码设备"})
	}
	doors, err := gateChecks(ctx, store, now)
	if err != nil {
		return nil, err
	}
	list = append(list, doors...)
	unsent, err := store.Unsent(ctx, 1000)
	if err != nil {
		return nil, err
	}
	queue := api.Check{Name: "待通知密钥管理系统", Value: fmt.Sprintf("%d 件", len(unsent)), State: "good"}
	if len(unsent) > 0 {
		queue.State, queue.Advice = "warn", "密钥管理系统没有应答：撤销已生效，密钥归档会自动补办"
	}
	all, err := people.All(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, queue, api.Disk(c.Dir), plant.DeviceCheck(c.Device),
		api.Clock(now))
	for _, p := range all {
		if p.Ended.IsZero() && p.NotAfter.Sub(now) < soon {
			list = append(list, api.Expiry("人员证书 "+string(p.ID), p.NotAfter, now, soon, "请由上级提议更新证书"))
		}
	}
	strong, err := plant.CustodyChecks(c.Strength, all)
	list = append(list, strong...)
	if c.Outside != nil {
		list = append(list, c.Outside()...)
	}
	return list, err
}

// gateChecks tells which policies may be issued under.
func gateChecks(ctx context.Context, store *castore.Store, now time.Time) ([]api.Check, error) {
	all, err := store.AllGates(ctx)
	if err != nil {
		return nil, err
	}
	list := []api.Check{}
	for _, g := range all {
		c := api.Expiry("签发条件 "+g.Policy, g.To, now, soon, "请办理资质延续并登记")
		c.Value = "资质 " + g.Qualification + "，业务规则 " + g.CPS + "，" + c.Value
		if g.Suspended {
			c.State, c.Value, c.Advice = "warn", "已暂停："+g.Note, "恢复签发须由业务管理员提议、超级管理员批准"
		}
		list = append(list, c)
	}
	return list, nil
}
