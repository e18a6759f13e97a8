// Package caservice runs the CA service zone: registration, status, directory
// and the public's files. It reads the ledger and asks the core only to issue
// and revoke. (服务区)
package caservice

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldappush"
	"github.com/hufu-pki/hufu/pki/directory/ldapserver"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/pki/ra/raevidence"
	"github.com/hufu-pki/hufu/pki/ra/raself"
	"github.com/hufu-pki/hufu/pki/ra/rastore"
	"github.com/hufu-pki/hufu/pki/ra/raweb"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vahttp"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/page"
	"github.com/hufu-pki/hufu/web/proposals"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/wire/link"
	"github.com/hufu-pki/hufu/wire/tiles"
	"github.com/hufu-pki/hufu/zone/plant"
)

// Labels of keys in the service zone's device.
const (
	KeyServer   = "ra-server"
	KeyAudit    = "audit-ra"
	KeyOCSP     = "ocsp"
	KeyOCSPRoot = "ocsp-root"
	KeyIdentity = "identity"
)

// Names of the peers of a link.
const (
	PeerCA = "ca-server"
	PeerRA = "ra-server"
)

// Config is where a service zone runs and whom it talks to.
type Config struct {
	Dir       string // of the published copies and audit files
	Log       string // folder of the process\'s log; may be empty
	Database  string
	Device    hsm.Device
	Console   string // address of the registration desk
	Public    string // address of OCSP, CRL, AIA and tiles
	LDAP      string // address of the directory
	Receiver  string // address of the receiver of tiles
	Metrics   string // address of the metrics
	Core      string // URL of the CA core
	CA        *ecdsa.PublicKey
	LedgerKey *ecdsa.PublicKey
	Origin    string
	Chain     [][]byte // DER: issuing CA, then root
	OCSPCert  []byte
	OCSPRoot  []byte // of the responder for what the root issued; nil when there is none
	BlindKey  []byte
	CPS       string
	Accord    string
	PublicURL string                 // of the public's services, as certificates name it
	Publish   *ldappush.Server       // an external directory to publish into; nil is none
	Figures   []prometheus.Collector // further metrics
	Gauges    *plant.Gauges          // where figures of the zone are shown; may be nil
	Remind    []int                  // days before the end on which holders are reminded, rising
	SelfURL   string                 // of the subscribers' self-service, for reminders
	Extended  bool                   // say revoked of serials never issued (RFC 6960 §2.2)
	Mark      string                 // a standing warning on every page; may be empty
	Now       func() time.Time
	HTTP      *http.Client
}

// auditOrigin names the registration system's trail.
const auditOrigin = "hufu/audit/ra"

// follow is how often readers look at the ledger although nobody woke them.
const follow = time.Second

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
	store, err := rastore.Open(g.Context(), db, c.Now)
	if err != nil {
		return err
	}
	test := plant.SelfTest{
		Zone: "服务区", Device: c.Device, Signers: []string{KeyServer, KeyAudit, KeyOCSP}, Masters: []string{KeyIdentity}, DB: db, Logs: []string{audit.Log}, Now: c.Now,
	}
	if err := test.Run(g.Context()); err != nil {
		return err
	}
	seen := readingFigures()
	books := &ra.Reconciler{Store: store}
	c.Figures = append(slices.Clone(c.Figures), seen.people, seen.times, differing(books))
	wake, resp, dir, err := readers(g, c)
	if err != nil {
		return err
	}
	server, err := c.Device.Signer(KeyServer)
	if err != nil {
		return err
	}
	folder := &ledger.Folder{Dir: c.ledger(), Key: c.LedgerKey, Origin: c.Origin}
	in := &link.Server{Key: server, Peers: map[string]*ecdsa.PublicKey{PeerCA: c.CA}, Now: c.Now}
	tiles.Mount(in, folder, wake, PeerCA)
	if err := g.Serve("账本接收", c.Receiver, in); err != nil {
		return err
	}
	return desk(g, c, store, resp, dir, seen, books)
}

func (c Config) ledger() string { return filepath.Join(c.Dir, "ledger") }

// readers start status and directory over the published ledger; wake makes
// them look at once.
// Its results have no names: what the group runs must not see them change.
func readers(g *plant.Group, c Config) (func(), *va.Responder, *directory.Directory, error) {
	key, err := c.Device.Signer(KeyOCSP)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := os.MkdirAll(c.ledger(), 0o750); err != nil {
		return nil, nil, nil, err
	}
	src := ledger.Dir(c.ledger())
	resp := &va.Responder{Issuers: c.Chain, Signer: key, Cert: c.OCSPCert, Now: c.Now, Extended: c.Extended}
	if c.OCSPRoot != nil {
		root, err := c.Device.Signer(KeyOCSPRoot)
		if err != nil {
			return nil, nil, nil, err
		}
		resp.Others = []va.Delegation{{Signer: root, Cert: c.OCSPRoot}}
	}
	if err := resp.Start(); err != nil {
		return nil, nil, nil, err
	}
	snapshot := filepath.Join(c.Dir, "status.snapshot")
	remember(resp, snapshot)
	g.AtEnd(func() error { return keep(resp, snapshot) })
	status := &ledger.Follower{Source: src, Key: c.LedgerKey, Origin: c.Origin}
	if err := resp.Follow(g.Context(), status); err != nil {
		slog.Warn("status service begins with the last good state", "err", err)
	}
	dir, err := directory.Open(filepath.Join(c.Dir, "directory"), c.Now)
	if err != nil {
		return nil, nil, nil, err
	}
	g.AtEnd(dir.Close)
	figures, err := publish(g, c, dir)
	if err != nil {
		return nil, nil, nil, err
	}
	g.Go(func(ctx context.Context) { resp.Run(ctx, status, follow) })
	g.Go(func(ctx context.Context) {
		dir.Run(ctx, &ledger.Follower{Source: src, Key: c.LedgerKey, Origin: c.Origin, At: dir.At()}, follow)
	})
	pub := &vahttp.Public{Responder: resp, Dir: c.ledger(), OCSPPath: "/ocsp", AIA: map[string][]byte{"ca.cer": c.Chain[0], "root.cer": c.Chain[1], "ca-own.cer": c.Chain[0]}, Newer: c.newer(resp), Now: c.Now}
	if err := pub.Open(); err != nil {
		return nil, nil, nil, err
	}
	g.AtEnd(pub.Close)
	if err := public(g, c.Public, pub); err != nil {
		return nil, nil, nil, err
	}
	if err := g.Serve("运行指标", c.Metrics, metrics(resp, pub, append(figures, c.Figures...)...)); err != nil {
		return nil, nil, nil, err
	}
	l, err := plant.Listen("目录服务", c.LDAP)
	if err != nil {
		return nil, nil, nil, err
	}
	srv := &ldapserver.Server{Directory: dir, Now: c.Now}
	g.Go(func(ctx context.Context) {
		if err := srv.Serve(ctx, l); err != nil && ctx.Err() == nil {
			g.Fail(err)
		}
	})
	return func() { resp.Wake(); dir.Wake() }, resp, dir, nil
}

// remember takes up the status index as it was saved; a snapshot that is not
// there or damaged only costs the time to read the ledger again.
func remember(r *va.Responder, name string) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if err := r.Load(f); err != nil {
		slog.Warn("status snapshot is not used", "err", err)
	}
}

// keep saves the status index for the next start.
func keep(r *va.Responder, name string) error {
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(r.Save(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func public(g *plant.Group, addr string, p *vahttp.Public) error {
	l, err := plant.Listen("公开服务", addr)
	if err != nil {
		return err
	}
	srv := p.Server()
	g.Go(func(ctx context.Context) {
		<-ctx.Done()
		_ = l.Close() // Shutdown knows the listener only once Serve has begun
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = srv.ShutdownWithContext(stop) // idle connections are cut off after that
		_ = l.Close()                     // or a server that was shut down before it began would begin now
	})
	g.Go(func(ctx context.Context) {
		if err := srv.Serve(l); err != nil && ctx.Err() == nil {
			g.Fail(err)
		}
	})
	return nil
}

// core is the CA as the desk sees it, over the link.
type core struct{ enroll.Client }

func (c core) Issue(ctx context.Context, requests []enroll.Request) ([]ra.Answer, error) {
	list, err := c.Client.Issue(ctx, requests)
	out := make([]ra.Answer, len(list))
	for i, a := range list {
		out[i].Reply = a.Reply
		if a.Refusal != nil {
			out[i].Refusal = refusal.FromReport(a.Kind, *a.Refusal)
		}
	}
	return out, err
}

// desk starts the registration system.
func desk(g *plant.Group, c Config, store *rastore.Store, resp *va.Responder, dir *directory.Directory, seen figures, books *ra.Reconciler) error {
	db := store.DB
	server, err := c.Device.Signer(KeyServer)
	if err != nil {
		return err
	}
	auditKey, err := c.Device.Signer(KeyAudit)
	if err != nil {
		return err
	}
	set, err := profile.Builtin()
	if err != nil {
		return err
	}
	trail := &audit.Trail{DB: db, Auditor: access.RA.Auditor, Admin: access.RA.AuditAdmin, Now: c.Now}
	files, err := g.Trail(db, auditOrigin, filepath.Join(c.Dir, "audit"), auditKey, c.Now)
	if err != nil {
		return err
	}
	c.Gauges.Unsealed("ra", g)
	register := &access.People{DB: db}
	people := access.Desk{Site: "注册系统", People: register, Now: c.Now, Avers: ra.Avers}
	ca := enroll.Client{Link: &link.Client{URL: c.Core, Name: PeerRA, Key: server, Peer: c.CA, HTTP: c.HTTP, Now: c.Now}}
	books.CA = ca.Figures
	auditPub, ok := auditKey.Public().(*ecdsa.PublicKey)
	if !ok {
		return errors.New("audit key is not an SM2 key")
	}
	r := &ra.Registrar{
		Store: store, Profiles: set, Book: new(profile.Book), Desk: people, Device: c.Device, Master: KeyIdentity, BlindKey: c.BlindKey, CPS: c.CPS, Accord: c.Accord, Now: c.Now, CA: core{ca},
	}
	bodies, err := c.bodies(g.Context(), db, store, r.InForce)
	if err != nil {
		return err
	}
	r.Bodies, r.Self = bodies.Register, c.holders(people, store)
	r.Seal, r.Open = c.courier(server)
	c.keepUp(g, db, r, ca, resp)
	worker := (&ra.Worker{Registrar: r}).Start()
	r.Wake, r.Read = worker.Wake, seen.read
	g.Go(worker.Run)
	site := (&api.Site{Staff: access.RA.Roles, Title: "虎符注册系统接口", Desk: people, Trail: trail, Files: files, Now: c.Now, Archive: filepath.Join(c.Dir, "archive"), Log: c.Log}).Start()
	binder := &raevidence.Binder{
		Desk: r, Trail: trail, Audit: raevidence.Log{Source: ledger.Dir(filepath.Join(c.Dir, "audit")), Origin: auditOrigin, Key: auditPub}, Seal: g.Seal,
		Public: raevidence.Log{Source: ledger.Dir(c.ledger()), Origin: c.Origin, Key: c.LedgerKey}, Chain: c.chain(resp), Kin: c.kin(resp), Key: auditKey, Lists: c.shards(resp),
	}
	ops := &raapi.API{Desk: r, Chain: c.chains(resp), Bind: binder.Bind, Published: func(ctx context.Context) (raapi.Published, error) { return c.published(ctx, resp, r, g.SealCheck()) }}
	ops.RemindDays, ops.Dropped, ops.Books, ops.Waits = c.Remind, c.reminders(), books, dir.Waits
	g.Go(func(ctx context.Context) { books.Run(ctx, c.Now) })
	ops.Mount(site)
	g.Go(func(ctx context.Context) { c.remind(ctx, r) })
	old := &ra.Retention{Desk: r, Key: server}
	due(site, old)
	changes, err := c.changes(g, db, people, register, bodies, ca, old)
	if err != nil {
		return err
	}
	(&proposals.API{Desk: changes, People: register}).Mount(site)
	if err := (&raweb.Pages{API: ops, Site: site, Mark: c.Mark}).Mount(); err != nil {
		return err
	}
	self, err := (&raself.Service{Desk: r, Mark: c.Mark}).Handler(trail)
	if err != nil {
		return err
	}
	front := http.NewServeMux()
	front.Handle(raself.Under+"/", self)
	front.Handle("/", site.Mux)
	return g.Serve("注册系统", c.Console, page.Guarded(front))
}

// courier signs files for the CA and reads those it signed.
func (c Config) courier(key crypto.Signer) (seal func(v any) ([]byte, error), open func(data []byte, v any) ([]byte, error)) {
	return func(v any) ([]byte, error) { return enroll.SealFile(key, enroll.RequestFile, v) },
		func(data []byte, v any) ([]byte, error) { return enroll.OpenFile(data, enroll.AnswerFile, c.CA, v) }
}

// holders is the desk of subscribers, who sign with their own certificates.
func (c Config) holders(people access.Desk, store *rastore.Store) access.Desk {
	secret := make([]byte, 32) // statements to be signed do not outlive a restart
	_, _ = rand.Read(secret)   // crypto/rand never fails
	return access.Desk{Site: people.Site, People: ra.Subscribers{Store: store, Now: c.Now}, Now: c.Now, Avers: ra.Avers, Secret: secret}
}
