// Package cacore runs the CA core zone: the CA's database and key, and nobody
// but named registration systems and the management console. (核心区)
package cacore

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/wire/link"
	"github.com/hufu-pki/hufu/wire/tiles"
	"github.com/hufu-pki/hufu/zone/plant"
)

// Labels of keys in the CA's device.
const (
	KeyRoot   = "root-ca"
	KeyCA     = "operating-ca"
	KeyServer = "ca-server"
	KeyLedger = "ledger"
	KeyAudit  = "audit-ca"
)

// Names of the peers of a link.
const (
	PeerCA = "ca-server"
	PeerRA = "ra-server"
)

// Config is where a CA core runs and whom it talks to.
type Config struct {
	Dir string // of audit files
	// Strength counts the custodians among people; nil where no keys are shared out.
	Strength func(people []access.Person) ([]staff.Strength, error)
	Log      string // folder of the process\'s log; may be empty
	Database string
	Device   hsm.Device
	Addr     string // of the link from registration systems
	Console  string // of the management interface, which only the console reaches
	Public   string // base URL in certificates
	Cert     *cert.Certificate
	Root     *cert.Certificate
	Keys     ca.KeyCentre
	RA       *ecdsa.PublicKey // the registration system's link key
	Tiles    string           // URL of the service zone's receiver
	Now      func() time.Time
	HTTP     *http.Client
	Outside  func() []api.Check // how what is published looks from outside; may be nil
	Gauges   *plant.Gauges      // where figures are shown; may be nil
}

// Origin names the public ledger of a CA.
func Origin(caCert *cert.Certificate) string {
	return fmt.Sprintf("hufu/ledger/%x", cert.KeyID(caCert.Point))
}

// Issuer builds the CA over its database, for Run, the ceremony and benchmarks.
func Issuer(ctx context.Context, db *sqldb.DB, c Config) (*ca.Issuer, *castore.Store, error) {
	store, err := castore.Open(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	if err := proposal.Migrate(ctx, db); err != nil {
		return nil, nil, err
	}
	if err := body.Migrate(ctx, db); err != nil {
		return nil, nil, err
	}
	key, err := c.Device.Signer(KeyCA)
	if err != nil {
		return nil, nil, err
	}
	set, err := profile.Builtin()
	if err != nil {
		return nil, nil, err
	}
	rules := &ca.Rules{Store: store, Base: set}
	if err := rules.Load(ctx); err != nil {
		return nil, nil, err
	}
	return &ca.Issuer{
		Rules: rules, Key: key, Cert: c.Cert, Root: c.Root, Store: store, Keys: c.Keys, Profiles: set, Gates: store, Public: c.Public, Now: c.Now, Line: new(ca.Line),
		Desk: access.Desk{Site: "注册系统", People: &access.People{DB: db}, Now: c.Now}, Bodies: &body.Register{DB: db},
	}, store, nil
}

// Run serves until ctx ends. ready is called once everything answers.
func Run(ctx context.Context, c Config, ready func()) error {
	g := plant.NewGroup(ctx)
	if err := start(g, c); err != nil {
		g.Fail(err)
		return g.Wait()
	}
	ready()
	return g.Wait()
}

func start(g *plant.Group, c Config) error {
	db, err := g.Database(c.Database)
	if err != nil {
		return err
	}
	is, store, err := Issuer(g.Context(), db, c)
	if err != nil {
		return err
	}
	if err := c.selfTest(g.Context(), db, store); err != nil {
		return err
	}
	server, err := c.Device.Signer(KeyServer)
	if err != nil {
		return err
	}
	ledgerKey, err := c.Device.Signer(KeyLedger)
	if err != nil {
		return err
	}
	auditKey, err := c.Device.Signer(KeyAudit)
	if err != nil {
		return err
	}
	files, err := g.Trail(db, "hufu/audit/ca", filepath.Join(c.Dir, "audit"), auditKey, c.Now)
	if err != nil {
		return err
	}
	c.Gauges.Unsealed("ca", g)
	target := tiles.Client{Link: &link.Client{URL: c.Tiles, Name: PeerCA, Key: server, Peer: c.RA, HTTP: c.HTTP, Now: c.Now}}
	sealer := (&ledger.Sealer{
		DB: db, Log: castore.Log, Origin: Origin(c.Cert), Key: ledgerKey, Targets: []ledger.Target{target}, Now: c.Now, Bodies: store.Bodies,
	}).Start()
	publisher := new(ca.Publisher).Start()
	is.Wake, is.Changed = sealer.Wake, publisher.Wake
	if err := inherit(g.Context(), is, store, c.Device); err != nil {
		return err
	}
	below, err := rootOf(is, store, c.Device)
	if err != nil {
		return err
	}
	publisher.Issuer, publisher.Root = is, below.issuers["root"]
	below.changed = publisher.Wake
	keeper, err := c.keeper(db, is)
	if err != nil {
		return err
	}
	bodies, err := c.bodies(is, keeper.People)
	if err != nil {
		return err
	}
	carried := &courier{issue: service(is, store, publisher).Issue, key: server, ra: c.RA, now: c.Now}
	if err := manage(g, c, keeper, is, publisher, store, below, bodies, carried, files); err != nil {
		return err
	}
	if err := notBehind(g.Context(), db, target, c.Now); err != nil {
		return err
	}
	g.Go(sealer.Run)
	g.Go(publisher.Run)

	s := &link.Server{Key: server, Peers: map[string]*ecdsa.PublicKey{PeerRA: c.RA}, Now: c.Now, Refused: turnedAway(store, c.Now)}
	v := service(is, store, publisher)
	v.Staff, v.Roster, v.Body = staffOf(is, store, keeper), rosterOf(keeper.People), bodyOf(is, store, bodies)
	v.Figures = figuresOf(is, store)
	v.Duties, v.Responder, v.Profiles, v.Bars = store.Duties, below.certify, edition(is.Rules, server), bars(is.Bodies)
	v.Mount(s, PeerRA)
	return g.Serve("CA 核心区", c.Addr, s)
}

// turnedAway writes calls refused at the door to the audit trail.
func turnedAway(store ca.Store, now func() time.Time) func(ctx context.Context, from, source, path, why string) {
	return func(ctx context.Context, from, source, path, why string) {
		t := now()
		_ = store.Refuse(ctx, audit.Entry{Start: t, End: t, Who: "peer:" + from, Item: path, Result: "link.refused", Source: source, Detail: why}) // the call is refused either way
	}
}

// refuser writes a refusal of authority to the audit trail and returns it.
func refuser(is *ca.Issuer, store ca.Store) func(ctx context.Context, item, id string, err error) error {
	return func(ctx context.Context, item, id string, err error) error {
		f := refusal.Of(err)
		if f == nil || f.Reason.Kind != refusal.Forbidden {
			return err
		}
		now := is.Now()
		line := audit.Entry{Start: now, End: now, Who: "peer:" + PeerRA, Item: item, Object: id, Result: f.Reason.Code, Source: link.Source(ctx), Detail: f.Detail}
		if e := store.Refuse(ctx, line); e != nil {
			return e
		}
		return err
	}
}

func service(is *ca.Issuer, store ca.Store, p *ca.Publisher) enroll.Service {
	refuse := refuser(is, store)
	return enroll.Service{
		Issue: func(ctx context.Context, requests []enroll.Request) ([]enroll.Answer, error) {
			results, err := is.Issue(ctx, requests)
			if err != nil {
				return nil, err
			}
			answers := make([]enroll.Answer, len(results))
			for i, r := range results {
				answers[i].Reply = r.Reply
				if f := refusal.Of(r.Err); f != nil {
					if err := refuse(ctx, "ca.issue", requests[i].ID, f); refusal.Of(err) == nil {
						return nil, err
					}
					report := f.Report()
					answers[i] = enroll.Answer{Kind: f.Reason.Kind, Refusal: &report}
				} else if r.Err != nil { // no answer: the desk asks again, and the others are not held up
					slog.Error("issuing", "request", requests[i].ID, "err", r.Err)
				}
			}
			return answers, nil
		},
		Revoke: func(ctx context.Context, r enroll.Request) (enroll.Revoked, error) {
			done, err := is.Revoke(ctx, r)
			if err != nil {
				return done, refuse(ctx, "ca.revoke", r.ID, err)
			}
			p.Wake()
			return done, nil
		},
	}
}
