// Package quorum keeps the software keys of a zone under the shares of
// custodians, and holds the ceremonies about them. (密钥分管)
//
// A zone's keys lie encrypted under a passphrase that nobody knows: it is shared
// out, each share sealed to its custodian's own key, so many of whom give it
// back for as long as the zone runs. Another arrangement means another
// passphrase, so that shares given out before open nothing. Every ceremony is
// recorded step by step and goes on where it was interrupted
// (GM/T 0034 §8.1.5, §8.2.4, §10.3).
package quorum

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/shamir"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/desk"
)

// Zone is the key store of one zone of a data folder.
type Zone struct {
	Dir  string // of the institution
	Name string // "ca", "ra" or "km"
	Now  func() time.Time
}

// Zones are those with key stores, and what people call them.
var Zones = map[string]string{"ca": "证书认证系统", "ra": "注册系统", "km": "密钥管理系统"}

// trail is the key that signs a zone's minutes: that of its audit ledger.
func (z Zone) trail() string { return "audit-" + z.Name }

func (z Zone) keys() string   { return filepath.Join(z.Dir, z.Name, "keys") }
func (z Zone) secret() string { return filepath.Join(z.Dir, "secrets", z.Name+".pass") }

// charterFile lies among the keys: they are moved, saved and restored together.
const charterFile = "quorum.json"

// Charter is how a zone's passphrase is shared out.
type Charter struct {
	Version    int         `json:"version"`
	Zone       string      `json:"zone"`
	Made       time.Time   `json:"made"`
	Threshold  int         `json:"threshold"`
	Set        []byte      `json:"set"` // names the split, so that a share of another is told apart
	Custodians []Custodian `json:"custodians"`
}

// Custodian holds one share, sealed to the key of their certificate. (份额保管人)
type Custodian struct {
	Name  string `json:"name"` // of the certificate's subject
	Cert  []byte `json:"cert"` // DER
	Share []byte `json:"share"`
}

// charterMax bounds the file: fifteen custodians take some thirty kilobytes.
const charterMax = 1 << 20

// Charter reads how the zone's keys are shared out; NotMade where a passphrase
// file opens them.
func (z Zone) Charter() (c Charter, err error) {
	data, err := os.ReadFile(filepath.Join(z.keys(), charterFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, NotMade.At("zone", NotMade.Clause).Because("%s", Zones[z.Name])
	}
	if err == nil && len(data) > charterMax {
		err = errors.New("too large")
	}
	if err == nil {
		err = strict.JSON(data, &c)
	}
	if err == nil && (c.Zone != z.Name || c.Threshold < 2 || len(c.Custodians) < c.Threshold) {
		err = errors.New("not of this zone, or damaged")
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", charterFile, err)
	}
	return c, nil
}

// Shared reports whether custodians open the zone's keys.
func (z Zone) Shared() bool {
	_, err := os.Stat(filepath.Join(z.keys(), charterFile))
	return err == nil
}

// Open opens the zone's keys with its passphrase file, or with the shares of
// those present where they are shared out.
func (z Zone) Open(present []*desk.Person) (*soft.Device, error) {
	if !z.Shared() {
		pass, err := os.ReadFile(z.secret())
		if err != nil {
			return nil, err
		}
		return soft.Open(z.keys(), pass)
	}
	c, err := z.Charter()
	if err != nil {
		return nil, err
	}
	pass, _, err := c.unseal(present)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	return z.openWith(pass)
}

func (z Zone) openWith(pass []byte) (*soft.Device, error) {
	d, err := soft.Open(z.keys(), pass)
	if err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, BadShare.At("share", BadShare.Clause).Because("合成的口令打不开密钥")
	}
	return d, nil
}

// of finds the custodian with a certificate.
func (c Charter) of(der []byte) *Custodian {
	i := slices.IndexFunc(c.Custodians, func(o Custodian) bool { return bytes.Equal(o.Cert, der) })
	if i < 0 {
		return nil
	}
	return &c.Custodians[i]
}

// mine opens somebody's share with their key.
func mine(o *Custodian, p *desk.Person) (share []byte, name string, err error) {
	if o == nil {
		return nil, "", NotHolder.At("holder", NotHolder.Clause).Because("%s", p.Name)
	}
	key, ok := p.Key.(*sm2.PrivateKey)
	if !ok {
		return nil, "", BadShare.At("holder", BadShare.Clause).Because("%s 的私钥不在文件中", o.Name)
	}
	plain, err := sm2.Decrypt(key, o.Share)
	if err != nil {
		return nil, "", BadShare.At("holder", BadShare.Clause).Because("%s 的份额打不开", o.Name)
	}
	return plain, o.Name, nil
}

// parse reads an opened share and checks that it is of this arrangement.
func (c Charter) parse(plain []byte, name string) (shamir.Share, error) {
	s, err := shamir.Parse(plain)
	if err != nil {
		return s, BadShare.At("share", BadShare.Clause).Because("%s 的份额已损坏", name)
	}
	if !bytes.Equal(s.Set[:], c.Set) {
		return s, BadShare.At("share", BadShare.Clause).Because("%s 的份额属于另一次分割", name)
	}
	return s, nil
}

// unseal puts the shares of those present together.
func (c Charter) unseal(present []*desk.Person) (pass []byte, names []string, err error) {
	var shares []shamir.Share
	for _, p := range present {
		plain, name, err := mine(c.of(p.Cert), p)
		if err != nil {
			return nil, nil, err
		}
		s, err := c.parse(plain, name)
		clear(plain)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(names, name) {
			shares, names = append(shares, s), append(names, name)
		}
	}
	if len(shares) < c.Threshold {
		return nil, nil, TooFew.At("holder", TooFew.Clause).Because("到场 %d 名，应有 %d 名", len(shares), c.Threshold)
	}
	if pass, err = shamir.Combine(shares); err != nil {
		return nil, nil, BadShare.At("holder", BadShare.Clause).Because("份额不属于同一次分割")
	}
	return pass, names, nil
}

// Plan is how a zone's keys are to be shared out.
type Plan struct {
	Threshold  int
	Custodians []*cert.Certificate
}

// custodiansMax: a key is opened by several, and not by a crowd.
const custodiansMax = 15

// ExcludedPosts do not keep what opens the house (GM/T 0034 §10.3). Those of the
// registration desk do the business of operators.
var ExcludedPosts = []access.Role{
	access.CASuper, access.CAAdmin, access.CAOperator, access.RASuper, access.RAAdmin, access.RAClerk, access.RAReviewer, access.RAProducer,
	access.KMSuper, access.KMAdmin, access.KMOperator,
}

// auditors watch custodians, so they are none.
var auditors = []access.Role{access.CAAuditAdmin, access.CAAuditor, access.RAAuditAdmin, access.RAAuditor, access.KMAuditAdmin, access.KMAuditor}

// Custody is the role that keeps a zone's shares. The registration system's
// people are on the CA's register, and its keys with the CA's custodians.
var Custody = map[string]access.Role{"ca": access.CACustodian, "ra": access.CACustodian, "km": access.KMForensic}

// check holds a plan against the rules and against everybody on the registers.
func (z Zone) check(ctx context.Context, p Plan) error {
	if Zones[z.Name] == "" {
		return BadPlan.At("zone", BadPlan.Clause).Because("系统应为 ca、ra 或 km")
	}
	if len(p.Custodians) > custodiansMax || p.Threshold < 2 || p.Threshold > len(p.Custodians) {
		return BadPlan.At("threshold", BadPlan.Clause).Because("门限应为 2 至保管人数，保管人至多 %d 名", custodiansMax)
	}
	people, err := z.People(ctx)
	if err != nil {
		return err
	}
	now := z.Now()
	for i, c := range p.Custodians {
		name := nameOf(c)
		for _, other := range p.Custodians[:i] {
			if bytes.Equal(c.Point, other.Point) || nameOf(other) == name {
				return BadPlan.At("custodian", BadPlan.Clause).Because("同一人（%s）不得持有两份", name)
			}
		}
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return BadPlan.At("custodian", BadPlan.Clause).Because("%s 的证书不在有效期内", name)
		}
		if who, bad := Barred(people, c, slices.Concat(ExcludedPosts, auditors)); bad {
			return Excluded.At("custodian", Excluded.Clause).Because("%s 是在册的%s", name, who.Roles[0].Title())
		}
		if err := z.keeps(people, c); err != nil {
			return err
		}
	}
	return nil
}

// Barred finds somebody in one of the posts on a register, by key or by name.
func Barred(people []access.Person, c *cert.Certificate, posts []access.Role) (access.Person, bool) {
	i := slices.IndexFunc(people, func(who access.Person) bool {
		same := bytes.Equal(who.Point, c.Point) || who.Name == nameOf(c)
		return same && who.Ended.IsZero() && slices.ContainsFunc(posts, who.Holds)
	})
	if i < 0 {
		return access.Person{}, false
	}
	return people[i], true
}

// keeps checks that a certificate is one of the zone's custodians', in force, and
// its key not that of another system's.
func (z Zone) keeps(people []access.Person, c *cert.Certificate) error {
	name, role := nameOf(c), Custody[z.Name]
	i := slices.IndexFunc(people, func(who access.Person) bool { return bytes.Equal(who.Cert, c.Raw) && who.Holds(role) })
	if i < 0 {
		return NotRegistered.At("custodian", NotRegistered.Clause).Because("%s 不是%s在册的%s", name, Zones[z.Name], role.Title())
	}
	if people[i].Disabled || !people[i].Ended.IsZero() {
		return BadPlan.At("custodian", BadPlan.Clause).Because("%s 的证书已冻结或已撤销", name)
	}
	for _, other := range Custody {
		if other != role && slices.ContainsFunc(people, func(who access.Person) bool { return bytes.Equal(who.Point, c.Point) && who.Holds(other) }) {
			return BadPlan.At("custodian", BadPlan.Clause).Because("%s 的密钥也是另一系统%s的密钥", name, other.Title())
		}
	}
	return nil
}

// People is everybody on the registers of the folder's systems.
func (z Zone) People(ctx context.Context) (all []access.Person, err error) {
	for _, name := range []string{"ca", "km"} { // the CA's register has the registration system's people
		if _, err := os.Stat(filepath.Join(z.Dir, name, name+".db")); errors.Is(err, fs.ErrNotExist) {
			continue // one system that is gone does not keep another shut
		}
		list, err := z.register(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func (z Zone) register(ctx context.Context, system string) ([]access.Person, error) {
	file := filepath.Join(z.Dir, system, system+".db")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, BadPlan.At("dir", BadPlan.Clause).Because("%s 不是虎符的数据目录：没有 %s", z.Dir, filepath.Join(system, system+".db"))
	}
	db, err := sqldb.Open(ctx, file)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := access.Migrate(ctx, db); err != nil {
		return nil, err
	}
	return (&access.People{DB: db}).All(ctx)
}

func nameOf(c *cert.Certificate) string {
	if n, err := dn.Parse(c.Subject); err == nil && n.CN != "" {
		return n.CN
	}
	return dn.Text(c.Subject)
}

// deal shares a passphrase out, each share sealed to its custodian.
func (z Zone) deal(pass []byte, p Plan) (c Charter, err error) {
	shares, err := shamir.Split(pass, p.Threshold, len(p.Custodians))
	if err != nil {
		return c, err
	}
	c = Charter{Version: 1, Zone: z.Name, Made: z.Now().UTC().Truncate(time.Second), Threshold: p.Threshold, Set: shares[0].Set[:]}
	for i, k := range p.Custodians {
		plain := shares[i].Bytes()
		sealed, err := sm2.EncryptASN1(rand.Reader, k.PublicKey(), plain)
		clear(plain)
		clear(shares[i].Value)
		if err != nil {
			return c, err
		}
		c.Custodians = append(c.Custodians, Custodian{nameOf(k), k.Raw, sealed})
	}
	return c, nil
}

// rekey puts the zone's keys under a fresh passphrase, shared out as planned,
// in one step: keys and charter take their place together.
func (z Zone) rekey(old []byte, p Plan, prove func(c Charter, fresh []byte) error) (Charter, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // crypto/rand never fails
	defer clear(fresh)
	c, err := z.deal(fresh, p)
	if err != nil {
		return c, err
	}
	if err := prove(c, fresh); err != nil {
		return c, err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return c, err
	}
	return c, soft.Rekey(z.keys(), old, fresh, func(next string) error { return write(filepath.Join(next, charterFile), data) })
}

// digest stands for an arrangement in the minutes.
func (c Charter) digest() []byte {
	parts := make([][]byte, 0, 2*len(c.Custodians))
	for _, o := range c.Custodians {
		parts = append(parts, alg.Digest(o.Cert), alg.Digest(o.Share))
	}
	return alg.Digest(parts...)
}

// write replaces a file durably.
func write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return durable.Write(name, data, 0o600)
}
