// Package kmcore runs the key management core: the key store and the master
// key, reached by nothing but GM/T 0014 messages and its own console. (密钥管理核心区)
package kmcore

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/wire/escrow"
	"github.com/hufu-pki/hufu/zone/plant"
)

// Labels of keys in the KM's device.
const (
	KeyStaffCA  = "km-staff-ca"
	KeyIdentity = "km-identity"
	KeyMaster   = "km-master"
	KeyAudit    = "audit-km"
)

// Config is where a KM core runs and whom it serves.
type Config struct {
	Dir string // of audit files
	// Strength counts the custodians among people; nil where no keys are shared out.
	Strength  func(people []access.Person) ([]staff.Strength, error)
	Log       string // folder of the process\'s log; may be empty
	Database  string
	Device    hsm.Device
	Addr      string            // of the escrow service
	Console   string            // of the management interface
	Cert      []byte            // DER, of the KM's identity
	Staff     *cert.Certificate // of the centre's own CA
	Place     profile.Place     // where its certificates say status is found
	CAs       [][]byte
	Low, High int // watermarks of the pool
	Now       func() time.Time
	Gauges    *plant.Gauges // where figures are shown; may be nil
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
	store, err := kmstore.Open(g.Context(), db)
	if err != nil {
		return err
	}
	if err := errors.Join(access.Migrate(g.Context(), db), proposal.Migrate(g.Context(), db)); err != nil {
		return err
	}
	master, err := store.Master(g.Context())
	if err != nil {
		return err
	}
	test := plant.SelfTest{
		Zone: "密钥管理核心区", Device: c.Device, Signers: []string{KeyStaffCA, KeyIdentity, KeyAudit}, Masters: []string{cmp.Or(master, KeyMaster)}, DB: db, Logs: []string{audit.Log}, Now: c.Now,
	}
	if err := test.Run(g.Context()); err != nil {
		return err
	}
	auditKey, err := c.Device.Signer(KeyAudit)
	if err != nil {
		return err
	}
	files, err := g.Trail(db, "hufu/audit/km", filepath.Join(c.Dir, "audit"), auditKey, c.Now)
	if err != nil {
		return err
	}
	c.Gauges.Unsealed("km", g)
	vault := &km.Vault{Store: store, Device: c.Device, Master: KeyMaster, Identity: KeyIdentity, Cert: c.Cert, CAs: c.CAs, Now: c.Now, Low: c.Low, High: c.High, Marks: store.Marks, Wrapping: store.Master}
	g.Go(func(ctx context.Context) { vault.Run(ctx) })
	mux := http.NewServeMux()
	mux.Handle("/", escrow.Handler{Answer: vault.Answer})
	if err := g.Serve("密钥管理核心区", c.Addr, mux); err != nil {
		return err
	}
	return manage(g, c, db, vault, store, files)
}
