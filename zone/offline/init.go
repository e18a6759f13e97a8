package offline

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/shamir"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Plan is how a root is to be made.
type Plan struct {
	Subject    dn.Name
	Public     string // base URL of ARL and root certificate
	Threshold  int
	Custodians []*cert.Certificate
}

// Bounds of a plan: a root's key is opened by several, and not by a crowd.
const (
	custodiansMax = 15
	publicMax     = 200
)

func (p Plan) check(root profile.Profile) error {
	u, err := url.Parse(p.Public)
	switch {
	case err != nil || len(p.Public) > publicMax || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || strings.HasSuffix(p.Public, "/"):
		return BadPlan.At("public", "GM/T 0043 §6.2.2g").Because("应为 http(s) 网址，不以 / 结尾")
	case len(p.Custodians) > custodiansMax || p.Threshold < 2 || p.Threshold > len(p.Custodians):
		return BadPlan.At("threshold", BadPlan.Clause).Because("门限应为 2 至持有人数，持有人至多 %d 名", custodiansMax)
	}
	if fault := root.CheckSubject(p.Subject); fault != nil {
		return BadPlan.At(fault.Field, fault.Clause).Because("%s", fault.Why)
	}
	for i, c := range p.Custodians {
		for _, other := range p.Custodians[:i] {
			if bytes.Equal(c.Point, other.Point) {
				return BadPlan.At("custodian", BadPlan.Clause).Because("同一人不得持有两份")
			}
		}
	}
	return nil
}

// unfinished marks a folder whose root nobody has seen yet: it is begun anew.
const unfinished = ".unfinished"

// Init makes the root: shares first, then the key under the passphrase they
// make, its certificate and an empty ARL. Interrupted, it begins anew; a root
// that is made is never made again.
func (f Folder) Init(ctx context.Context, p Plan) (*cert.Certificate, error) {
	release, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	set, err := profile.Builtin()
	if err != nil {
		return nil, err
	}
	if err := p.check(set["root-ca"]); err != nil {
		return nil, err
	}
	if err := f.clean(); err != nil {
		return nil, err
	}
	pass := secret()
	defer clear(pass)
	c := Charter{Version: 1, Created: f.Now().UTC().Truncate(time.Second), Public: p.Public, Threshold: p.Threshold}
	if c.Custodians, err = deal(pass, p); err != nil {
		return nil, err
	}
	device, err := soft.Open(f.path("keys"), pass)
	if err != nil {
		return nil, err
	}
	key, err := device.Generate(keyLabel)
	if err != nil {
		return nil, err
	}
	root, err := f.selfSign(key, set["root-ca"], p.Subject)
	if err != nil {
		return nil, err
	}
	return root, f.begin(ctx, c, root, key)
}

// clean leaves nothing of an attempt that was interrupted, and touches nothing
// else.
func (f Folder) clean() error {
	if _, err := os.Stat(f.path("root.json")); err == nil {
		return Made.At("dir", Made.Clause)
	}
	_, half := os.Stat(f.path(unfinished))
	for _, name := range []string{"keys", "in", "out", "root.db", "root.db-wal", "root.db-shm"} {
		if _, err := os.Stat(f.path(name)); err != nil {
			continue
		}
		if half != nil {
			return BadPlan.At("dir", BadPlan.Clause).Because("%s 已有 %s，不是离线根的目录", f.Dir, name).ToFix("请另选目录")
		}
		if err := os.RemoveAll(f.path(name)); err != nil {
			return err
		}
	}
	return write(f.path(unfinished), nil)
}

// deal shares a passphrase out, each share sealed to its custodian.
func deal(pass []byte, p Plan) (list []Custodian, err error) {
	shares, err := shamir.Split(pass, p.Threshold, len(p.Custodians))
	if err != nil {
		return nil, err
	}
	for i, c := range p.Custodians {
		sealed, err := sm2.EncryptASN1(rand.Reader, c.PublicKey(), shares[i].Bytes())
		if err != nil {
			return nil, err
		}
		list = append(list, Custodian{nameOf(c), alg.Digest(c.Raw), sealed})
	}
	return list, nil
}

func (f Folder) selfSign(key crypto.Signer, p profile.Profile, subject dn.Name) (*cert.Certificate, error) {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("root key is not an SM2 key")
	}
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // crypto/rand never fails
	serial[0] = serial[0]&0x7F | 0x40
	from := f.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	x := certlint.Context{Profile: p, Use: profile.Sign, Wish: profile.Wish{
		Serial: serial, NotBefore: from, NotAfter: from.AddDate(0, 0, p.Days.Default), Subject: subject.Bytes(), Point: alg.Point(pub),
	}}
	linted, err := certlint.Check(p.Draft(profile.Sign, x.Wish, nil, x.Place), x)
	if err != nil {
		return nil, err
	}
	if err := f.note(nil, "建立根 CA %s：拟签证书正文 SM3 %x", subject.String(), alg.Digest(linted.TBS())); err != nil {
		return nil, err
	}
	der, err := linted.Seal(key)
	if err != nil {
		return nil, err
	}
	return cert.Parse(der)
}

// begin opens the root's records and makes the folder whole, root.json last.
func (f Folder) begin(ctx context.Context, c Charter, root *cert.Certificate, key crypto.Signer) error {
	is, err := f.issuer(ctx, c, root, key)
	if err != nil {
		return err
	}
	defer is.close()
	leaf, line := ca.Authority(root.Raw, f.Now())
	if err := is.store.Authority(ctx, leaf, root.Raw, line); err != nil {
		return err
	}
	if err := errors.Join(write(f.path("out", "root.pem"), cert.PEM(root.Raw)), write(f.path("out", "root.cer"), root.Raw)); err != nil {
		return err
	}
	names := make([]string, len(c.Custodians))
	for i, own := range c.Custodians {
		names[i] = own.Name
	}
	if err := f.note(key, "根证书序列号 %s，SM3 %x；密钥口令分为 %d 份，持有人 %s，任意 %d 名可开启", root.SerialHex(), alg.Digest(root.Raw), len(names), strings.Join(names, "、"), c.Threshold); err != nil {
		return err
	}
	if _, err := f.list(ctx, is, "建立根 CA"); err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := write(f.path("root.json"), data); err != nil {
		return err
	}
	return os.Remove(f.path(unfinished))
}
