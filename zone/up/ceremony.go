package up

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/caservice"
	"github.com/hufu-pki/hufu/zone/kmcore"
)

// folders are what the ceremony makes. A folder half made, marked as such, is
// begun anew: nothing in it was ever acknowledged.
var folders = []string{"ca", "ra", "km", "people", "secrets", "certificates", "ceremony"}

// staff are the people of an evaluation, by system and role.
var staff = []struct {
	id, name string
	role     access.Role
}{
	{"ra-clerk", "录入员甲", access.RAClerk}, {"ra-clerk2", "录入员乙", access.RAClerk}, {"ra-reviewer", "审核员", access.RAReviewer},
	{"ra-producer", "制证员", access.RAProducer}, {"ra-super", "注册超级管理员", access.RASuper}, {"ra-audit-admin", "注册审计管理员", access.RAAuditAdmin}, {"ra-admin", "注册业务管理员", access.RAAdmin}, {"ra-auditor", "注册审计员", access.RAAuditor},
	{"ca-super", "超级管理员", access.CASuper}, {"ca-audit-admin", "审计管理员", access.CAAuditAdmin}, {"ca-admin", "业务管理员", access.CAAdmin},
	{"ca-operator", "业务操作员甲", access.CAOperator}, {"ca-operator2", "业务操作员乙", access.CAOperator}, {"ca-auditor", "审计员", access.CAAuditor},
	{"ca-custodian1", "份额保管人甲", access.CACustodian}, {"ca-custodian2", "份额保管人乙", access.CACustodian}, {"ca-custodian3", "份额保管人丙", access.CACustodian},
	{"ca-custodian4", "份额保管人丁", access.CACustodian}, {"ca-custodian5", "份额保管人戊", access.CACustodian},
	{"km-super", "密钥管理超级管理员", access.KMSuper}, {"km-audit-admin", "密钥管理审计管理员", access.KMAuditAdmin}, {"km-admin", "密钥管理业务管理员", access.KMAdmin},
	{"km-operator", "密钥管理业务操作员", access.KMOperator}, {"km-auditor", "密钥管理审计员", access.KMAuditor},
	{"km-forensic1", "司法取证员甲", access.KMForensic}, {"km-forensic2", "司法取证员乙", access.KMForensic}, {"km-forensic3", "司法取证员丙", access.KMForensic},
	{"km-forensic4", "司法取证员丁", access.KMForensic}, {"km-forensic5", "司法取证员戊", access.KMForensic},
}

// ceremony is the bootstrap in progress.
type ceremony struct {
	Config
	world      World
	set        profile.Set
	ca, ra, km *soft.Device
	root, op   *cert.Certificate
	kmCA       *cert.Certificate
	record     strings.Builder
}

const unfinished = ".ceremony-unfinished"

// bootstrap makes the institution of an evaluation: keys, certificates, people.
// (初始化仪式, GM/T 0034 §8.1.5)
func (c Config) bootstrap(ctx context.Context) (World, error) {
	mark := c.path(unfinished)
	_, half := os.Stat(mark)
	for _, name := range folders {
		_, err := os.Stat(c.path(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case half != nil:
			return World{}, fmt.Errorf("%s 已有 %s，但没有 hufu.json：不是虎符的数据目录，请另选目录", c.Dir, name)
		default:
			if err := os.RemoveAll(c.path(name)); err != nil {
				return World{}, err
			}
		}
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return World{}, err
	}
	public := c.url(portPublic)
	if c.PublicURL != "" {
		public = c.PublicURL
	} else if ip := net.ParseIP(c.Addr); ip != nil && ip.IsUnspecified() {
		return World{}, fmt.Errorf("%w：监听 %s 时证书里要写明外部可达的地址，请加 --public-url http://主机:%d", ErrAddress, c.Addr, c.BasePort+portPublic)
	}
	y := &ceremony{Config: c, world: World{1, c.Now().UTC().Truncate(time.Second), public, "CPS-1.0（评估样例）", "服务协议-1.0（评估样例）", c.kmURL(public)}}
	for _, step := range []func(context.Context) error{y.keys, y.authorities, y.institution, y.keyCentre, y.finish} {
		if err := step(ctx); err != nil {
			return World{}, fmt.Errorf("初始化: %w", err)
		}
	}
	return y.world, os.Remove(mark)
}

// kmURL is the key centre's console as its people reach it: on the public URL's
// host when it listens on all addresses.
func (c Config) kmURL(public string) string {
	if ip := net.ParseIP(c.Addr); ip != nil && ip.IsUnspecified() {
		if u, err := url.Parse(public); err == nil {
			return "http://" + net.JoinHostPort(u.Hostname(), strconv.Itoa(c.BasePort+portKMConsole))
		}
	}
	return c.url(portKMConsole)
}

func (y *ceremony) note(format string, args ...any) {
	fmt.Fprintf(&y.record, "%s  %s\n", y.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...))
}

// keys makes folders, passphrases, and every key in its own zone's device.
func (y *ceremony) keys(context.Context) error {
	for _, name := range folders {
		if err := os.MkdirAll(y.path(name), 0o700); err != nil {
			return err
		}
	}
	var err error
	if y.set, err = profile.Builtin(); err != nil {
		return err
	}
	for _, d := range []struct {
		name   string
		to     **soft.Device
		labels []string
	}{
		{"ca", &y.ca, []string{cacore.KeyRoot, cacore.KeyCA, cacore.KeyServer, cacore.KeyLedger, cacore.KeyAudit}},
		{"ra", &y.ra, []string{caservice.KeyServer, caservice.KeyAudit, caservice.KeyOCSP, caservice.KeyOCSPRoot}},
		{"km", &y.km, []string{kmcore.KeyStaffCA, kmcore.KeyIdentity, kmcore.KeyAudit}},
	} {
		if err := durable.Write(y.path("secrets", d.name+".pass"), []byte(rand.Text()), 0o600); err != nil {
			return err
		}
		if *d.to, err = y.device(d.name); err != nil {
			return err
		}
		for _, label := range d.labels {
			key, err := (*d.to).Generate(label)
			if err != nil {
				return err
			}
			y.note("%s 的 %s 生成密钥 %s，公钥 SM3 %x", (*d.to).Name(), d.name, label, alg.Digest(point(key)))
		}
	}
	return errors.Join(y.ra.NewMaster(caservice.KeyIdentity), y.km.NewMaster(kmcore.KeyMaster))
}

func point(key crypto.Signer) []byte { return alg.Point(key.Public().(*ecdsa.PublicKey)) }

// name is a subject of the evaluation's institution.
func name(cn string) dn.Name {
	return dn.Name{C: "CN", O: "虎符评估认证机构（样例）", CN: cn}
}

// seal issues a certificate outside the CA's own store: roots, the operating
// CA, the key centre's own.
func (y *ceremony) seal(dev *soft.Device, label, profileName, cn string, subjectKey []byte, issuer *cert.Certificate, place profile.Place, file string) (*cert.Certificate, error) {
	key, err := dev.Signer(label)
	if err != nil {
		return nil, err
	}
	p := y.set[profileName]
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // crypto/rand never fails
	serial[0] = serial[0]&0x7F | 0x40
	from := y.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	x := certlint.Context{
		Profile: p, Use: profile.Sign, Issuer: issuer, Place: place,
		Wish: profile.Wish{Serial: serial, NotBefore: from, NotAfter: from.AddDate(0, 0, p.Days.Default), Subject: name(cn).Bytes(), Point: subjectKey},
	}
	linted, err := certlint.Check(p.Draft(profile.Sign, x.Wish, issuer, place), x)
	if err != nil {
		return nil, err
	}
	der, err := linted.Seal(key)
	if err != nil {
		return nil, err
	}
	y.note("签发 %s（%s），序列号 %s，SM3 %x", cn, p.Title, cert.SerialHex(serial), alg.Digest(der))
	if err := durable.Write(y.path("certificates", file+".pem"), cert.PEM(der), 0o644); err != nil {
		return nil, err
	}
	return cert.Parse(der)
}

// authorities: the root signs itself, then the operating CA.
func (y *ceremony) authorities(context.Context) (err error) {
	rootKey, err := y.ca.Signer(cacore.KeyRoot)
	if err != nil {
		return err
	}
	if y.root, err = y.seal(y.ca, cacore.KeyRoot, "root-ca", "虎符评估根 CA", point(rootKey), nil, profile.Place{}, "root-ca"); err != nil {
		return err
	}
	opKey, err := y.ca.Signer(cacore.KeyCA)
	if err != nil {
		return err
	}
	place := profile.Place{CRL: y.world.PublicURL + "/crl/arl.crl", Issuer: y.world.PublicURL + "/aia/root.cer"}
	y.op, err = y.seal(y.ca, cacore.KeyRoot, "operating-ca", "虎符评估运营 CA", point(opKey), y.root, place, "operating-ca")
	return err
}

// institution: the CA's database, its servers, its people and the RA's.
func (y *ceremony) institution(ctx context.Context) error {
	db, err := sqldb.Open(ctx, y.path("ca", "ca.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	raDB, err := sqldb.Open(ctx, y.path("ra", "ra.db"))
	if err != nil {
		return err
	}
	defer raDB.Close()
	if err := errors.Join(audit.Migrate(ctx, raDB), access.Migrate(ctx, raDB)); err != nil {
		return err
	}
	is, store, err := cacore.Issuer(ctx, db, cacore.Config{Device: y.ca, Cert: y.op, Root: y.root, Public: y.world.PublicURL, Now: y.Now})
	if err != nil {
		return err
	}
	if err := cacore.OpenGates(ctx, store, y.set, y.world.CPS, y.world.Created); err != nil {
		return err
	}
	for _, c := range []*cert.Certificate{y.root, y.op} {
		leaf, line := ca.Authority(c.Raw, y.Now())
		if err := store.Authority(ctx, leaf, c.Raw, line); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		file, profile, cn string
		dev               *soft.Device
		label             string
	}{
		{"ca-server", "server", "CA 服务器", y.ca, cacore.KeyServer}, {"ra-server", "server", "RA 服务器", y.ra, caservice.KeyServer},
		{"ocsp", "ocsp", "状态查询服务器", y.ra, caservice.KeyOCSP},
	} {
		key, err := s.dev.Signer(s.label)
		if err != nil {
			return err
		}
		der, err := is.IssueInternal(ctx, "ceremony-"+s.file, s.profile, name(s.cn), point(key))
		if err != nil {
			return err
		}
		y.note("签发 %s，SM3 %x", s.cn, alg.Digest(der))
		if err := durable.Write(y.path("certificates", s.file+".pem"), cert.PEM(der), 0o644); err != nil {
			return err
		}
	}
	if err := y.arl(ctx, is); err != nil {
		return err
	}
	for _, s := range staff {
		if strings.HasPrefix(s.id, "km-") {
			continue
		}
		issue := func(p []byte) ([]byte, error) {
			return is.IssueInternal(ctx, "ceremony-"+s.id, "staff", name(s.name), p)
		}
		dbs := []*sqldb.DB{db}
		if strings.HasPrefix(s.id, "ra-") {
			dbs = append(dbs, raDB) // the core keeps its own register of the desk's people
		}
		if err := y.person(ctx, s.id, s.name, s.role, issue, dbs...); err != nil {
			return err
		}
	}
	return nil
}

// arl has the root sign the first list of revoked CA certificates, and the
// certificate of the responder that answers for them.
func (y *ceremony) arl(ctx context.Context, is *ca.Issuer) error {
	rootKey, err := y.ca.Signer(cacore.KeyRoot)
	if err != nil {
		return err
	}
	root := is.AsRoot(rootKey)
	ocsp, err := y.ra.Signer(caservice.KeyOCSPRoot)
	if err != nil {
		return err
	}
	der, err := root.IssueInternal(ctx, "ceremony-ocsp-root", "ocsp", name("根状态查询服务器"), point(ocsp))
	if err != nil {
		return err
	}
	y.note("签发根状态查询服务器，SM3 %x", alg.Digest(der))
	if err := durable.Write(y.path("certificates", "ocsp-root.pem"), cert.PEM(der), 0o644); err != nil {
		return err
	}
	_, err = root.SignARL(ctx)
	return err
}

// keyCentre: the KM's own CA, its identity, its people (GM/T 0034 §9.2.4).
func (y *ceremony) keyCentre(ctx context.Context) error {
	db, err := sqldb.Open(ctx, y.path("km", "km.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := errors.Join(audit.Migrate(ctx, db), access.Migrate(ctx, db)); err != nil {
		return err
	}
	staffKey, err := y.km.Signer(kmcore.KeyStaffCA)
	if err != nil {
		return err
	}
	if y.kmCA, err = y.seal(y.km, kmcore.KeyStaffCA, "root-ca", "虎符评估密钥管理 CA", point(staffKey), nil, profile.Place{}, "km-staff-ca"); err != nil {
		return err
	}
	idKey, err := y.km.Signer(kmcore.KeyIdentity)
	if err != nil {
		return err
	}
	place := y.world.staffPlace()
	if _, err = y.seal(y.km, kmcore.KeyStaffCA, "server", "密钥管理系统", point(idKey), y.kmCA, place, "km-identity"); err != nil {
		return err
	}
	for _, s := range staff {
		if !strings.HasPrefix(s.id, "km-") {
			continue
		}
		issue := func(p []byte) ([]byte, error) {
			c, err := y.seal(y.km, kmcore.KeyStaffCA, "staff", s.name, p, y.kmCA, place, s.id)
			if err != nil {
				return nil, err
			}
			return c.Raw, nil
		}
		if err := y.person(ctx, s.id, s.name, s.role, issue, db); err != nil {
			return err
		}
	}
	return y.custody(ctx, db)
}

// custody shares the release of keys to a court out to five custodians, any
// three of whom can let it happen (GM/T 0034 §8.2.4.3, §10.3).
func (y *ceremony) custody(ctx context.Context, db *sqldb.DB) error {
	all, err := (&access.People{DB: db}).All(ctx)
	if err != nil {
		return err
	}
	custodians := slices.DeleteFunc(all, func(p access.Person) bool { return !p.Holds(access.KMForensic) })
	c, err := km.NewCustody(threshold, custodians)
	if err != nil {
		return err
	}
	store, err := kmstore.Open(ctx, db)
	if err != nil {
		return err
	}
	now := y.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:ceremony", Role: "machine", Item: "km.custody", Object: fmt.Sprintf("%d/%d", threshold, len(custodians)), Result: audit.Done}
	if err := store.SetCustody(ctx, c, line); err != nil {
		return err
	}
	y.note("司法取证放行密钥分为 %d 份，任意 %d 份可放行；验证公钥 SM3 %x", len(custodians), threshold, alg.Digest(c.Seal))
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: alg.SPKI(c.Seal)})
	return durable.Write(y.path("people", "km-seal.pem"), text, 0o644)
}

const threshold = 3

// person makes somebody's key, has it certified and registers them.
func (y *ceremony) person(ctx context.Context, id, title string, role access.Role, issue func(point []byte) ([]byte, error), dbs ...*sqldb.DB) error {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := issue(alg.Point(&key.PublicKey))
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	pass := rand.Text()
	text, err := keyfile.Encrypt(key, []byte(pass))
	if err != nil {
		return err
	}
	dir := y.path("people", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err = errors.Join(durable.Write(filepath.Join(dir, "cert.pem"), cert.PEM(der), 0o600), durable.Write(filepath.Join(dir, "key.pem"), text, 0o600), durable.Write(filepath.Join(dir, "pass"), []byte(pass+"\n"), 0o600))
	if err != nil {
		return err
	}
	p, err := access.PersonOf(access.PersonID(id), title, der, role)
	if err != nil {
		return err
	}
	y.note("登记人员 %s（%s），证书序列号 %s", id, role.Title(), p.Serial)
	for _, db := range dbs {
		err := db.Write(ctx, func(tx *sqldb.Tx) error {
			now := y.Now()
			if _, err := (&access.People{}).Add(tx, p, "system:ceremony", now); err != nil {
				return err
			}
			return audit.Append(tx, audit.Entry{Start: now, End: now, Who: "system:ceremony", Role: "machine", Item: "person.add", Object: id, Serial: p.Serial, Result: audit.Done, Detail: string(role)})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finish writes the verifying keys, the blind index key, the signed record and
// last of all hufu.json, which makes the folder whole.
func (y *ceremony) finish(context.Context) error {
	for _, k := range []struct {
		file  string
		dev   *soft.Device
		label string
	}{{"ledger", y.ca, cacore.KeyLedger}, {"audit-ca", y.ca, cacore.KeyAudit}, {"audit-ra", y.ra, caservice.KeyAudit}, {"audit-km", y.km, kmcore.KeyAudit}} {
		key, err := k.dev.Signer(k.label)
		if err != nil {
			return err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: alg.SPKI(point(key))})
		if err := durable.Write(y.path("people", k.file+".pem"), text, 0o644); err != nil {
			return err
		}
	}
	blind := make([]byte, 32)
	_, _ = rand.Read(blind) // crypto/rand never fails
	wrapped, err := y.ra.Wrap(caservice.KeyIdentity, blind, []byte("blind"))
	if err != nil {
		return err
	}
	data, err := json.Marshal(wrapped)
	if err != nil {
		return err
	}
	if err := durable.Write(y.path("ra", "blind.json"), data, 0o600); err != nil {
		return err
	}
	key, err := y.ca.Signer(cacore.KeyRoot)
	if err != nil {
		return err
	}
	text := "虎符评估环境初始化记录（软件密钥，仅供评估，不得用于生产）\n\n" + y.record.String()
	sig, err := alg.Sign(key, []byte(text))
	if err != nil {
		return err
	}
	err = errors.Join(durable.Write(y.path("ceremony", "record.txt"), []byte(text), 0o644), durable.Write(y.path("ceremony", "record.sig"), sig, 0o644))
	if err != nil {
		return err
	}
	if data, err = json.MarshalIndent(y.world, "", "  "); err != nil {
		return err
	}
	return durable.Write(y.path("hufu.json"), data, 0o644)
}

// publicKey reads a verifying key.
func publicKey(name string) (*ecdsa.PublicKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM", name)
	}
	p, err := alg.PointOf(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return alg.PublicKey(p)
}

func wrappedOf(name string) (w hsm.Wrapped, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return w, err
	}
	return w, json.Unmarshal(data, &w)
}
