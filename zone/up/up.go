// Package up runs every zone in one process, for a laptop or an evaluation.
// (一体运行)
//
// It is the real thing in miniature: one database file and one key store for
// each zone, and every crossing between zones is the final signed message over
// loopback. It refuses hardware modules: production runs zone by zone.
package up

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/base/journal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/caescrow"
	"github.com/hufu-pki/hufu/pki/directory/ldappush"
	"github.com/hufu-pki/hufu/pki/ra/raself"
	"github.com/hufu-pki/hufu/wire/escrow"
	"github.com/hufu-pki/hufu/zone/caconsole"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/caservice"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/kmconsole"
	"github.com/hufu-pki/hufu/zone/kmcore"
	"github.com/hufu-pki/hufu/zone/plant"
	"github.com/hufu-pki/hufu/zone/quorum"
)

// Config is what the command line says.
type Config struct {
	Dir             string
	Addr            string
	BasePort        int
	PublicURL       string // acknowledges that certificates name another URL
	Now             func() time.Time
	Out             io.Writer
	ExtendedRevoked bool              // OCSP says revoked, not unknown, of serials never issued (RFC 6960 §2.2)
	Remind          []int             // days before the end on which holders are reminded, rising
	Publish         *ldappush.Server  // an external directory to publish into; nil is none
	Links           http.RoundTripper // carries links between zones; nil is plain HTTP
	Log             slog.Handler      // where the log goes beside the folder's journal; nil keeps no journal
	Quorum          bool              // shares the keys of CA and key centre out to custodians, if that was not done
}

// Offsets of the ports from the base port; all lie within forty.
const (
	portRA = iota
	portCAConsole
	portPublic
	portReceiver
	portLDAP
	portMetrics
	portCACore
	portKMCore
	portKMConsole
	portCAManage
	portKMManage
	portWaitCA // where zones wait for the shares of their keys
	portWaitRA
	portWaitKM
)

func (c Config) at(offset int) string {
	return net.JoinHostPort(c.Addr, strconv.Itoa(c.BasePort+offset))
}
func (c Config) url(offset int) string { return "http://" + c.at(offset) }

// loopback is for links between zones: never reachable from another machine.
func (c Config) loopback(offset int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.BasePort+offset))
}

func (c Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.Dir}, parts...)...)
}

// World is what the ceremony fixed, in hufu.json.
type World struct {
	Version   int       `json:"version"`
	Created   time.Time `json:"created"`
	PublicURL string    `json:"public_url"` // in certificates, for ever
	CPS       string    `json:"cps"`
	Accord    string    `json:"agreement"`
	KMURL     string    `json:"km_url,omitempty"` // in certificates of the key centre's people; none in folders from before
}

// staffPlace is where certificates of the key centre's people say that their
// status is found.
func (w World) staffPlace() profile.Place {
	if w.KMURL == "" {
		return ca.Place(w.PublicURL, 0)
	}
	return kmcore.StaffPlace(w.KMURL)
}

// ErrBusy is returned when another process holds the folder.
var ErrBusy = plant.ErrBusy

// ErrAddress is returned when certificates name another public URL.
var ErrAddress = errors.New("地址有误")

// Run bootstraps the folder if need be and serves until ctx ends.
func Run(ctx context.Context, c Config) error {
	if c.PublicURL != "" {
		var err error
		if c.PublicURL, err = publicURL(c.PublicURL); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	release, err := plant.Lock(c.path("hufu.lock"), "hufu up")
	if err != nil {
		return err
	}
	defer release()
	if c.Log != nil {
		j, err := journal.Open(c.path("log"), journal.FileMax, journal.Keep)
		if err != nil {
			return err
		}
		defer j.Close()
		slog.SetDefault(slog.New(slog.NewMultiHandler(c.Log, slog.NewJSONHandler(j, nil))))
		defer func() { slog.SetDefault(slog.New(c.Log)) }()
	}
	w, err := c.world(ctx)
	if ctx.Err() != nil {
		return nil // asked to end before it began; a ceremony half held is held anew
	}
	if err != nil {
		return err
	}
	if w.PublicURL != c.url(portPublic) {
		if c.PublicURL != w.PublicURL {
			return fmt.Errorf("%w：证书中写入的公共地址是 %s，而现在要监听 %s；请用原来的 --addr 和 --base-port，或用 --public-url %s 确认外部仍可经原地址访问", ErrAddress, w.PublicURL, c.url(portPublic), w.PublicURL)
		}
		slog.Warn("证书中写的是另一公共地址", "url", w.PublicURL, "listening", c.url(portPublic))
	}
	if err := c.shareOut(ctx); err != nil {
		return err
	}
	return c.serve(ctx, w)
}

// reachable tries every address before certificates name one for ever.
func (c Config) reachable() error {
	if c.BasePort < 1 || c.BasePort > 65535-40 {
		return fmt.Errorf("%w：--base-port 应在 1 与 %d 之间，却是 %d", ErrAddress, 65535-40, c.BasePort)
	}
	for i := range portWaitKM + 1 {
		l, err := plant.Listen("尚未建立任何东西：服务", c.at(i))
		if err != nil {
			return fmt.Errorf("%w：%w", ErrAddress, err)
		}
		_ = l.Close()
	}
	return nil
}

// world reads what was fixed at bootstrap, or holds the ceremony.
func (c Config) world(ctx context.Context) (World, error) {
	var w World
	data, err := os.ReadFile(c.path("hufu.json"))
	if err == nil {
		return w, json.Unmarshal(data, &w)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return w, err
	}
	if err := c.reachable(); err != nil {
		return w, err
	}
	return c.bootstrap(ctx)
}

// serve starts the zones and waits for them to end.
func (c Config) serve(ctx context.Context, w World) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	zones, err := c.zones(w)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(zones))
	up := make(chan struct{}, len(zones))
	for i, z := range zones {
		wg.Go(func() {
			errs[i] = z(ctx, func() { up <- struct{}{} })
			if errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	for range zones {
		select {
		case <-up:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		if err := errors.Join(c.answers(ctx), c.announce()); err != nil {
			cancel(err)
		}
	}
	<-ctx.Done()
	_ = os.Remove(c.path("endpoints.json")) // it may never have been written
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// answers waits until the public can fetch what the core has published: the
// ledger and the revocation list.
func (c Config) answers(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second}
	for _, path := range []string{"/tiles/checkpoint", "/crl/full.crl", "/aia/ca.cer"} {
		for {
			resp, err := client.Get(c.url(portPublic) + path)
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case <-ctx.Done():
				return nil // whoever ended it says why
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

type zone func(ctx context.Context, ready func()) error

// zones builds every zone's configuration from the folder. A CA whose database
// is gone stays down; status and directory go on from the published ledger.
func (c Config) zones(w World) ([]zone, error) {
	certs, rootStatus, err := c.standing()
	if err != nil {
		return nil, err
	}
	ledgerKey, err := c.ledgerKey()
	if err != nil {
		return nil, err
	}
	links := c.Links
	if links == nil {
		links = &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
	}
	client := &http.Client{Timeout: 60 * time.Second, Transport: links}
	gauges := new(plant.Gauges)
	agreement, err := c.agreement(ledgerKey, cacore.Origin(certs["operating-ca"]))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.path("ra", "ra.db")); err != nil {
		return nil, gone("注册系统", c.path("ra", "ra.db"), err)
	}
	km := func(ctx context.Context, ready func(), dev *soft.Device) error {
		return kmcore.Run(ctx, kmcore.Config{
			Dir: c.path("km"), Strength: quorum.Strength(c.quorum("km")), Log: c.path("log"), Database: c.path("km", "km.db"), Device: dev, Addr: c.loopback(portKMCore), Console: c.loopback(portKMManage), Staff: certs["km-staff-ca"], Place: w.staffPlace(),
			Cert: certs["km-identity"].Raw, CAs: [][]byte{certs["ca-server"].Raw}, Low: 200, High: 500, Now: c.Now, Gauges: gauges,
		}, ready)
	}
	core := func(ctx context.Context, ready func(), dev *soft.Device) error {
		server, err := dev.Signer(cacore.KeyServer)
		if err != nil {
			return err
		}
		keys := &caescrow.Centre{
			Key: server, Cert: certs["ca-server"], KM: certs["km-identity"], Now: c.Now,
			Ask: escrow.Client{URL: "http://" + c.loopback(portKMCore), HTTP: client}.Ask,
		}
		return cacore.Run(ctx, cacore.Config{
			Dir: c.path("ca"), Strength: quorum.Strength(c.quorum("ca"), c.quorum("ra")), Log: c.path("log"), Database: c.path("ca", "ca.db"), Device: dev, Addr: c.loopback(portCACore), Console: c.loopback(portCAManage),
			Public: w.PublicURL, Cert: certs["operating-ca"], Root: certs["root-ca"], Keys: keys, RA: certs["ra-server"].PublicKey(),
			Tiles: "http://" + c.loopback(portReceiver), Now: c.Now, HTTP: client, Outside: agreement.Checks, Gauges: gauges,
		}, ready)
	}
	service := func(ctx context.Context, ready func(), dev *soft.Device) error {
		blind, err := c.blindKey(dev)
		if err != nil {
			return err
		}
		return caservice.Run(ctx, caservice.Config{
			Dir: c.path("ra"), Log: c.path("log"), Database: c.path("ra", "ra.db"), Device: dev, Console: c.at(portRA), Public: c.at(portPublic), LDAP: c.at(portLDAP),
			Receiver: c.loopback(portReceiver), Metrics: c.at(portMetrics), Core: "http://" + c.loopback(portCACore), CA: certs["ca-server"].PublicKey(),
			LedgerKey: ledgerKey, Origin: cacore.Origin(certs["operating-ca"]), Chain: [][]byte{certs["operating-ca"].Raw, certs["root-ca"].Raw},
			OCSPCert: certs["ocsp"].Raw, OCSPRoot: rootStatus, BlindKey: blind, CPS: w.CPS, Accord: w.Accord, PublicURL: w.PublicURL, Mark: mark, Now: c.Now, HTTP: client,
			Remind: c.Remind, SelfURL: c.url(portRA) + raself.Under + "/", Extended: c.ExtendedRevoked, Publish: c.Publish, Figures: append(agreement.Figures(), gauges), Gauges: gauges,
		}, ready)
	}
	return append([]zone{c.keyed("km", portWaitKM, km), c.keyed("ca", portWaitCA, core), c.keyed("ra", portWaitRA, service), c.agrees(agreement)}, c.consoles()...), nil
}

// down is a zone that stays down while the others go on.
func down(ctx context.Context, ready func(), why error) error {
	slog.Error("此区不启动；状态查询与目录照常", "err", why)
	ready()
	<-ctx.Done()
	return nil
}

// ledgerKey is as people have it; where their files were taken away, as the CA
// has it.
func (c Config) ledgerKey() (*ecdsa.PublicKey, error) {
	key, err := publicKey(c.path("people", "ledger.pem"))
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	dev, err := c.device("ca")
	if err != nil {
		return nil, fmt.Errorf("账本公钥 people/ledger.pem 不见了，且 CA 的密钥此时打不开：%w", err)
	}
	signer, err := dev.Signer(cacore.KeyLedger)
	if err != nil {
		return nil, err
	}
	key, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the ledger key is not an SM2 key")
	}
	return key, nil
}

// blindKey is the registration system's key of its index of identity numbers.
func (c Config) blindKey(ra *soft.Device) ([]byte, error) {
	wrapped, err := wrappedOf(c.path("ra", "blind.json"))
	if err != nil {
		return nil, err
	}
	key, err := ra.Unwrap(caservice.KeyIdentity, wrapped, []byte("blind"))
	if err != nil {
		return nil, fmt.Errorf("blind index key: %w", err)
	}
	return key, nil
}

// gone says that a database is not where it was: an empty one in its place would
// deny what was done.
func gone(system, name string, err error) error {
	return fmt.Errorf("%s的数据库不见了（%s），不新建空库代替：请放回原处，或用 hufu restore 从备份恢复：%w", system, name, err)
}

// consoles are the management zones: they hold no key.
func (c Config) consoles() []zone {
	inner := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}}
	caDesk := func(ctx context.Context, ready func()) error {
		return caconsole.Run(ctx, caconsole.Config{Addr: c.at(portCAConsole), Mark: mark, Core: "http://" + c.loopback(portCAManage), HTTP: inner}, ready)
	}
	kmDesk := func(ctx context.Context, ready func()) error {
		return kmconsole.Run(ctx, kmconsole.Config{Addr: c.at(portKMConsole), Mark: mark, Core: "http://" + c.loopback(portKMManage), HTTP: inner}, ready)
	}
	return []zone{caDesk, kmDesk}
}

// device opens a zone's key store under the passphrase in the secrets folder.
func (c Config) device(name string) (*soft.Device, error) {
	pass, err := os.ReadFile(c.path("secrets", name+".pass"))
	if err != nil {
		return nil, err
	}
	return soft.Open(c.path(name, "keys"), pass)
}

func (c Config) certificates(names ...string) (map[string]*cert.Certificate, error) {
	all := map[string]*cert.Certificate{}
	for _, name := range names {
		data, err := os.ReadFile(c.path("certificates", name+".pem"))
		if err != nil {
			return nil, err
		}
		if all[name], err = cert.FromPEM(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

// standing reads the certificates the zones run with, and that of the responder
// for what the root issued, which a folder from before does not have.
func (c Config) standing() (certs map[string]*cert.Certificate, status []byte, err error) {
	certs, err = c.certificates("root-ca", "operating-ca", "ca-server", "ra-server", "ocsp", "km-identity", "km-staff-ca")
	if err != nil {
		return nil, nil, err
	}
	own, err := c.certificates("ocsp-root")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return certs, nil, nil
	case err != nil:
		return nil, nil, err
	}
	return certs, own["ocsp-root"].Raw, nil
}

// mark stands on every page: nobody should take an evaluation for the real thing.
const mark = "评估环境：密钥在软件密码模块中，人员与机构均为样例，不得用于生产"

// announce writes endpoints.json and says who can sign in where.
func (c Config) announce() error {
	people, err := filepath.Abs(c.path("people"))
	if err != nil {
		return err
	}
	public := c.url(portPublic)
	e := desk.Endpoints{
		Console: c.url(portRA), RA: c.url(portRA), CAConsole: c.url(portCAConsole), KMConsole: c.url(portKMConsole), OCSP: public + "/ocsp",
		CRL: public + "/crl/full.crl", LDAP: "ldap://" + c.at(portLDAP), AIA: public + "/aia/ca.cer", Tiles: public + "/tiles",
		Metrics: c.url(portMetrics) + "/metrics", People: people,
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	tmp := c.path(".endpoints.new")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	if err := os.Rename(tmp, c.path("endpoints.json")); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, `虎符已就绪（软件密钥，仅供评估；数据目录 %s）

  注册系统控制台   %s    ra-clerk ra-clerk2 ra-reviewer ra-producer ra-super ra-audit-admin ra-admin ra-auditor
  CA 管理控制台    %s    ca-super ca-audit-admin ca-admin ca-operator ca-operator2 ca-auditor ca-custodian1…5
  密钥管理控制台   %s    km-super km-audit-admin km-admin km-operator km-auditor km-forensic1…5
  状态查询 OCSP    %s
  撤销列表 CRL     %s
  目录 LDAP        %s
  公开账本         %s

每个人的证书、加密私钥和口令在 %s/姓名/。下一步：hufu as ra-clerk --dir %s ra submit FILE.json
`, c.Dir, e.Console, e.CAConsole, e.KMConsole, e.OCSP, e.CRL, e.LDAP, e.Tiles, people, c.Dir)
	return nil
}
