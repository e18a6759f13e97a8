package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Rollover gives a CA its next key. (CA 密钥更新, GM/T 0034 §8.2.4.3, RFC 4210 §4.4)
type Rollover struct {
	Issuer *Issuer
	Root   *Issuer // certifies the new key; nil where the root's key is elsewhere
	Store  LineStore
	Device Device
	// Given is the new key's certificate where the root, being offline, has made it
	// already: a person brought it.
	Given *cert.Certificate
}

// Device holds the CA's keys.
type Device interface {
	Signer(label string) (crypto.Signer, error)
	Generate(label string) (crypto.Signer, error)
}

// Renewed is what a change of the key made, DER.
type Renewed struct {
	New        []byte // the new key, certified by the root
	NewWithOld []byte // the new key, certified by the one before
	OldWithNew []byte // the key before, certified by the new one
}

// Profiles of CA certificates that a change of the key makes.
const (
	OperatingProfile = "operating-ca"
	CrossProfile     = "ca-cross" // 交叉证书
)

// Check refuses a change of the key that could not be carried out.
func (r *Rollover) Check(ctx context.Context, order string) error {
	if r.Root == nil && r.Given == nil {
		return NoRollover.At("root", NoRollover.Clause).Because("根密钥不在本系统").ToFix("请提议“以新密钥向上级根申请证书”，在离线根上签发后导入")
	}
	return r.free(ctx, order)
}

// free refuses a change of the key while another is under way, or when the key
// in use can sign no cross certificate any more.
func (r *Rollover) free(ctx context.Context, order string) error {
	now := r.Issuer.Now()
	if end := r.Issuer.Current().Cert.NotAfter; !now.Before(end) {
		return NoRollover.At("certificate", NoRollover.Clause).Because("现有 CA 证书已于 %s 到期，旧密钥不能再签发交叉证书", end.Format("2006-01-02"))
	}
	all, err := r.Store.Successions(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.DER == nil && s.Order != order {
			return RolloverOpen.At("order", RolloverOpen.Clause).Because("变更 %s", s.Order)
		}
	}
	return nil
}

// Do carries an order out: the key, its certificate, both cross certificates,
// and last the switch. Done again it goes on from where it stood and makes
// nothing twice.
func (r *Rollover) Do(ctx context.Context, order string) (made Renewed, err error) {
	if err := r.Check(ctx, order); err != nil {
		return made, err
	}
	begun, err := r.begin(ctx, order)
	if err != nil {
		return made, err
	}
	s, key := begun.Succession, begun.key
	point := pointOf(key)
	before := r.Issuer.Generations()[s.Generation-1]
	if made.New, err = r.certified(ctx, order, point); err != nil {
		return made, fmt.Errorf("certifying the new key: %w", err)
	}
	c, err := cert.Parse(made.New)
	if err != nil {
		return made, err
	}
	if made.NewWithOld, err = r.certify(ctx, before, "rollover-"+order+"-new-old", CrossProfile, point, c.NotBefore, earlier(before.Cert.NotAfter, c.NotAfter)); err != nil {
		return made, fmt.Errorf("certifying the new key with the old: %w", err)
	}
	var heir *Issuer
	if s.DER == nil {
		heir = r.Issuer.Heir(key, c)
	} else {
		heir = r.Issuer.Generations()[s.Generation]
	}
	if made.OldWithNew, err = r.certify(ctx, heir, "rollover-"+order+"-old-new", CrossProfile, before.Cert.Point, before.Cert.NotBefore, earlier(before.Cert.NotAfter, c.NotAfter)); err != nil {
		return made, fmt.Errorf("certifying the old key with the new: %w", err)
	}
	if s.DER != nil {
		return made, nil
	}
	now := r.Issuer.Now()
	line := audit.Entry{
		Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.rollover", Object: order, Result: audit.Done, Detail: fmt.Sprintf("SM3 %x", alg.Digest(made.New)), Serial: c.SerialHex(),
	}
	if err := r.Store.Succeed(ctx, order, made.New, line); err != nil {
		return made, err
	}
	r.Issuer.Succeed(heir)
	return made, nil
}

// certified is the root's certificate for the new key: made now, or given.
func (r *Rollover) certified(ctx context.Context, order string, point []byte) ([]byte, error) {
	if r.Given == nil {
		from := later(r.Issuer.Now().Add(-backdate), r.Root.Cert.NotBefore)
		return r.certify(ctx, r.Root, "rollover-"+order+"-new", OperatingProfile, point, from, r.Root.Cert.NotAfter)
	}
	if !bytes.Equal(r.Given.Point, point) || r.Given.SignedBy(r.Issuer.Root) != nil {
		return nil, BadJoin.At("certificate", BadJoin.Clause).Because("证书不是本机构的根为待启用的新密钥签发的")
	}
	return r.Given.Raw, nil
}

// begun is a succession on record with its key in the device.
type begun struct {
	Succession
	key crypto.Signer
}

func (r *Rollover) begin(ctx context.Context, order string) (b begun, err error) {
	now := r.Issuer.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.rollover.begin", Object: order, Result: audit.Done}
	if b.Succession, err = r.Store.Begin(ctx, order, "operating-ca-"+strings.ToLower(order), line); err == nil {
		b.key, err = r.key(b.Label)
	}
	return b, err
}

// key finds the new key, or makes it: a label is used once.
func (r *Rollover) key(label string) (crypto.Signer, error) {
	key, err := r.Device.Signer(label)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = r.Device.Generate(label)
	}
	return key, err
}

func pointOf(key crypto.Signer) []byte {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil
	}
	return alg.Point(pub)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// ownOrder is what a certificate of the institution's own is to say, on record.
type ownOrder struct {
	ID      string `json:"id"`
	Profile string `json:"profile"`
	Issuer  []byte `json:"issuer"` // key identifier
	Point   []byte `json:"point"`
}

// certify has an issuer certify a key of this CA's own name.
func (r *Rollover) certify(ctx context.Context, by *Issuer, id, name string, point []byte, from, to time.Time) ([]byte, error) {
	p, ok := by.profiles()[name]
	if !ok || p.Usage != "ca" {
		return nil, NoProfile.At("profile", NoProfile.Clause).Because("%q", name)
	}
	p.Publish = profile.PublishDigest // the ledger names the certificate whole besides: it is an authority's
	from = from.UTC().Truncate(time.Second)
	if most := from.AddDate(0, 0, p.Days.Default); name == OperatingProfile {
		to = earlier(to, most)
	}
	return by.own(ctx, id, p, r.Issuer.Cert.Subject, point, from, to)
}

// own certifies a key of the institution's own, once for a request, even where
// the key has another certificate: another issuer's, or an earlier one.
func (is *Issuer) own(ctx context.Context, id string, p profile.Profile, subject, point []byte, from, to time.Time) ([]byte, error) {
	known, err := is.Store.Jobs(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(ownOrder{id, p.Name, cert.KeyID(is.Cert.Point), point})
	if err != nil {
		return nil, err
	}
	j := &job{Job: known[id], app: enroll.Application{ID: id, Profile: p.Name, Version: p.Version}, profile: p, subject: subject, point: point}
	switch {
	case j.State != None && !bytes.Equal(j.Content, content):
		return nil, Changed.At("id", Changed.Clause)
	case j.State == Recorded:
		return j.DER.Sign, nil
	case j.State == None:
		j.ID, j.Content, j.KeyHash = id, content, alg.Digest([]byte(id), point)
		j.From, j.To = from, to
	}
	return is.single(ctx, j)
}
