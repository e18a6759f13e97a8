package ca

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/format/record"
)

// Takeover takes the business of another CA over. (业务承接, 002-29, 003-31)
//
// What is handed over comes in parts named by a manifest, each checked here by
// itself: nothing is believed that its signature does not prove.
type Takeover struct {
	Issuer *Issuer
	Store  WardStore
	Device Device
}

// WardLabel is the label of a handed over CA's key in the device.
func WardLabel(point []byte) string { return "taken-" + hex.EncodeToString(cert.KeyID(point)) }

func handed(field, format string, args ...any) error {
	return BadHandover.At(field, BadHandover.Clause).Because(format, args...)
}

// Upload keeps one part of a package, the manifest as part 0, and refuses what
// does not belong to it.
func (t *Takeover) Upload(ctx context.Context, manifest string, no int, body []byte, line audit.Entry) error {
	if no == 0 {
		if handover.Digest(body) != manifest {
			return handed("manifest", "清单的 SM3 不是 %.64s", manifest)
		}
		m, err := handover.Read(body)
		if err != nil {
			return handed("manifest", "不是移交清单，或超出上限")
		}
		if _, err := t.authority(ctx, m, manifest); err != nil {
			return err
		}
		return t.Store.KeepPiece(ctx, manifest, 0, body, line)
	}
	m, ca, err := t.manifest(ctx, manifest)
	if err != nil {
		return err
	}
	if no < 0 || no > len(m.Pieces) || len(body) > handover.PieceMax || m.Pieces[no-1].SM3 != handover.Digest(body) {
		return handed("piece", "第 %d 段不在清单之列", no)
	}
	if m.Pieces[no-1].Kind == handover.Certificates {
		list, err := t.certificates(m.Pieces[no-1], ca, body)
		if err != nil {
			return err
		}
		serials := make([][]byte, len(list))
		for i, c := range list {
			serials[i] = c.Serial.Bytes()
		}
		known, err := t.Store.Known(ctx, serials)
		if err != nil {
			return err
		}
		if len(known) > 0 && !t.adopted(ctx, manifest) {
			return TakenSerial.At("serial", TakenSerial.Clause).Because("%s", cert.SerialHex(known[0]))
		}
	}
	return t.Store.KeepPiece(ctx, manifest, no, body, line)
}

// adopted reports whether a package is being put on record already.
func (t *Takeover) adopted(ctx context.Context, manifest string) bool {
	all, err := t.Store.Wards(ctx)
	return err == nil && slices.ContainsFunc(all, func(w Ward) bool { return w.Manifest == manifest })
}

func (t *Takeover) manifest(ctx context.Context, digest string) (m handover.Manifest, ca *cert.Certificate, err error) {
	body, err := t.Store.Piece(ctx, digest, 0)
	if err != nil {
		return m, nil, err
	}
	if body == nil {
		return m, nil, handed("manifest", "没有上传 %.64s 的清单", digest)
	}
	if m, err = handover.Read(body); err != nil {
		return m, nil, err
	}
	ca, err = cert.Parse(m.CA)
	return m, ca, err
}

// authority checks the CA of a manifest and what stands above it.
func (t *Takeover) authority(ctx context.Context, m handover.Manifest, manifest string) (*cert.Certificate, error) {
	ca, err := cert.Parse(m.CA)
	if err != nil {
		return nil, handed("ca", "CA 证书无法读取，或公钥不是 SM2")
	}
	if _, ok := ca.PathLen(); !ok {
		return nil, handed("ca", "不是 CA 证书")
	}
	if m.ListNumber >= 1<<62 {
		return nil, handed("list_number", "列表编号过大，其后没有余地")
	}
	at := ca
	for _, der := range m.Chain {
		up, err := cert.Parse(der)
		if err != nil || at.SignedBy(up) != nil {
			return nil, handed("chain", "证书链不相接")
		}
		at = up
	}
	own := t.Issuer.Generations()
	if t.Issuer.Root != nil {
		own = append(slices.Clone(own), &Issuer{Cert: t.Issuer.Root})
	}
	for _, g := range own {
		if bytes.Equal(g.Cert.Point, ca.Point) || bytes.Equal(g.Cert.Subject, ca.Subject) {
			return nil, handed("ca", "是本机构的 CA")
		}
	}
	wards, err := t.Store.Wards(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range wards {
		if c, err := cert.Parse(w.DER); err == nil && bytes.Equal(c.Point, ca.Point) && w.Manifest != manifest {
			return nil, handed("ca", "已经承接（变更 %s）", w.Order)
		}
	}
	return ca, nil
}

// handedOver is one certificate read and proven to be the ward's.
type handedOver struct {
	*cert.Certificate
	use  string
	pair []byte
}

// certificates reads a part: each certificate is signed by the CA, and pairs
// stand together, the signing certificate first.
func (t *Takeover) certificates(p handover.Piece, ca *cert.Certificate, body []byte) ([]handedOver, error) {
	raw, err := handover.ReadCertificates(body)
	if err != nil || len(raw) != p.Count {
		return nil, handed("piece", "证书段无法读取，或件数不符")
	}
	list, seen := make([]handedOver, len(raw)), map[string]bool{}
	for i, r := range raw {
		c, err := cert.Parse(r.DER)
		if err != nil {
			return nil, handed("certificate", "第 %d 张无法读取", i+1)
		}
		if err := c.SignedBy(ca); err != nil {
			return nil, handed("certificate", "%s 的签名不能由被承接 CA 的公钥验证", c.SerialHex())
		}
		if n := len(c.Serial.Bytes()); n == 0 || n > 20 || c.Serial.Sign() <= 0 || seen[c.SerialHex()] || r.Use != "sign" && r.Use != "enc" {
			return nil, handed("certificate", "%s 的序列号或用途不合规定", c.SerialHex())
		}
		seen[c.SerialHex()] = true
		list[i] = handedOver{Certificate: c, use: r.Use}
		if list[i].pair, err = hex.DecodeString(strings.ToLower(r.Pair)); err != nil {
			return nil, handed("certificate", "%s 的另一半序列号无法读取", c.SerialHex())
		}
		list[i].pair = bytes.TrimLeft(list[i].pair, "\x00")
	}
	for i, c := range list {
		if len(c.pair) == 0 {
			continue
		}
		other := i + 1
		if c.use == "enc" {
			other = i - 1
		}
		if other < 0 || other >= len(list) || !bytes.Equal(list[other].Serial.Bytes(), c.pair) || list[other].use == c.use || !bytes.Equal(list[other].Subject, c.Subject) {
			return nil, handed("certificate", "%s 的另一半不在其旁，或不是同一持有人", c.SerialHex())
		}
	}
	return list, nil
}

// Plan is what a package would do, for people to see.
type Plan struct {
	CA           *cert.Certificate
	List         *crl.List
	Certificates int
	Revoked      int
	Key          bool // is in the device
}

// Plan checks a whole package.
func (t *Takeover) Plan(ctx context.Context, manifest string) (p Plan, err error) {
	m, ca, err := t.manifest(ctx, manifest)
	if err != nil {
		return p, err
	}
	if _, err := t.authority(ctx, m, manifest); err != nil {
		return p, err
	}
	wards, err := t.Store.Wards(ctx)
	if err != nil {
		return p, err
	}
	if err := free(wards, "", manifest); err != nil {
		return p, err
	}
	have, err := t.Store.Pieces(ctx, manifest)
	if err != nil {
		return p, err
	}
	if len(have) != len(m.Pieces)+1 {
		return p, handed("manifest", "移交包尚未传完：%d / %d 段", len(have), len(m.Pieces)+1)
	}
	p = Plan{CA: ca, Certificates: m.Certificates, Revoked: m.Revoked}
	if p.List, _, err = t.list(ctx, manifest, m, ca); err != nil {
		return p, err
	}
	_, p.Key, err = t.key(ca)
	return p, err
}

// key is the ward's key in the device, if it is there.
func (t *Takeover) key(ca *cert.Certificate) (key crypto.Signer, ok bool, err error) {
	key, err = t.Device.Signer(WardLabel(ca.Point))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err == nil && !bytes.Equal(pointOf(key), ca.Point) {
		err = fmt.Errorf("key %s is another's", WardLabel(ca.Point))
	}
	return key, err == nil, err
}

// list puts the ward's last revocation list together.
func (t *Takeover) list(ctx context.Context, manifest string, m handover.Manifest, ca *cert.Certificate) (*crl.List, []byte, error) {
	var raw []byte
	for i, p := range m.Pieces {
		if p.Kind != handover.List {
			break
		}
		body, err := t.Store.Piece(ctx, manifest, i+1)
		if err != nil {
			return nil, nil, err
		}
		if raw = append(raw, body...); len(raw) > handover.ListMax {
			return nil, nil, handed("list", "撤销列表过大")
		}
	}
	l, err := crl.Parse(raw)
	switch {
	case err != nil:
		return nil, nil, handed("list", "撤销列表无法读取")
	case !bytes.Equal(l.Issuer, ca.Subject) || alg.Verify(ca.PublicKey(), l.RawTBS, l.Signature) != nil:
		return nil, nil, handed("list", "撤销列表不是被承接的 CA 签发的")
	case l.Base != nil || l.Number == nil || !l.Number.IsInt64() || l.Number.Int64() != m.ListNumber:
		return nil, nil, handed("list", "不是全量列表，或编号与清单不符")
	}
	return l, raw, nil
}

// Do carries an order out: the ward on record with its certificates, and then
// part after part. Interrupted anywhere it goes on with what is not on record.
func (t *Takeover) Do(ctx context.Context, order, manifest string, withKey bool) error {
	wards, err := t.Store.Wards(ctx)
	if err != nil {
		return err
	}
	m, ca, err := t.manifest(ctx, manifest)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(wards, func(w Ward) bool { return w.Order == order }); i >= 0 && wards[i].Done {
		return t.guard(wards[i], ca)
	}
	if err := free(wards, order, manifest); err != nil {
		return err
	}
	if _, err := t.authority(ctx, m, manifest); err != nil {
		return err
	}
	l, raw, err := t.list(ctx, manifest, m, ca)
	if err != nil {
		return err
	}
	_, has, err := t.key(ca)
	if err != nil {
		return err
	}
	if withKey && !has {
		return handed("key", "被承接 CA 的私钥不在密码设备中")
	}
	w, err := t.adopt(ctx, order, manifest, m, ca, withKey, l, raw)
	if err != nil {
		return err
	}
	if err := t.take(ctx, w, m, ca, l); err != nil {
		return err
	}
	now := t.Issuer.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.takeover", Object: order, Result: audit.Done, Detail: fmt.Sprintf("%s，证书 %d 张", manifest, m.Certificates)}
	if err := t.Store.Finish(ctx, order, line); err != nil {
		return err
	}
	return t.guard(w, ca)
}

// guard has a ward on record answered for from now on.
func (t *Takeover) guard(w Ward, ca *cert.Certificate) error {
	var key crypto.Signer
	if w.Label != "" {
		var err error
		if key, err = t.Device.Signer(w.Label); err != nil {
			return fmt.Errorf("key of %s: %w", w.Label, err)
		}
	}
	t.Issuer.Guard(w, key, ca)
	if t.Issuer.Wake != nil {
		t.Issuer.Wake()
	}
	if t.Issuer.Changed != nil {
		t.Issuer.Changed()
	}
	return nil
}

// free refuses a package that another order took.
func free(wards []Ward, order, manifest string) error {
	for _, w := range wards {
		if w.Manifest == manifest && w.Order != order {
			return handed("ca", "已经承接（变更 %s）", w.Order)
		}
	}
	return nil
}

func (t *Takeover) adopt(ctx context.Context, order, manifest string, m handover.Manifest, ca *cert.Certificate, keyed bool, l *crl.List, raw []byte) (Ward, error) {
	wards, err := t.Store.Wards(ctx)
	if err != nil {
		return Ward{}, err
	}
	if i := slices.IndexFunc(wards, func(w Ward) bool { return w.Order == order }); i >= 0 {
		return wards[i], nil
	}
	now := t.Issuer.Now()
	w := Ward{Number: len(wards), Order: order, Manifest: manifest, DER: ca.Raw}
	if keyed {
		w.Label = WardLabel(ca.Point)
	}
	var authorities []Publication
	for _, der := range append(reversed(m.Chain), ca.Raw) {
		leaf, _ := Authority(der, now)
		authorities = append(authorities, Publication{Leaf: leaf, Body: der})
	}
	var last *List
	var entry Publication
	if !keyed { // the last list is what there is
		scope := ScopeOf(FullOf(w.Generation()))
		last = &List{Scope: scope, Number: m.ListNumber, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, TBS: l.RawTBS, Signature: raw, Signed: true}
		body := record.CRL{Issuer: alg.Digest(ca.Raw), Scope: scope, Number: m.ListNumber, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, Digest: alg.Digest(raw)}.Bytes()
		entry = Publication{Leaf: record.Entry{Kind: record.KindCRL, At: now, Body: body}.Bytes(), Body: raw}
	}
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.takeover.begin", Object: order, Result: audit.Done, Detail: manifest, Serial: ca.SerialHex()}
	return t.Store.Adopt(ctx, w, authorities, m.ListNumber, last, entry, line)
}

func reversed(list [][]byte) [][]byte {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// take puts part after part on record.
func (t *Takeover) take(ctx context.Context, w Ward, m handover.Manifest, ca *cert.Certificate, l *crl.List) error {
	ended := map[string]*crl.Entry{}
	for i := range l.Entries {
		ended[string(bytes.TrimLeft(l.Entries[i].Serial, "\x00"))] = &l.Entries[i]
	}
	digest := alg.Digest(ca.Raw)
	for i, p := range m.Pieces {
		if p.Kind != handover.Certificates {
			continue
		}
		body, err := t.Store.Piece(ctx, w.Manifest, i+1)
		if err != nil {
			return err
		}
		if body == nil || handover.Digest(body) != p.SM3 {
			return handed("piece", "第 %d 段不在，或已改变", i+1)
		}
		list, err := t.certificates(p, ca, body)
		if err != nil {
			return err
		}
		now := t.Issuer.Now()
		rows := make([]Taken, len(list))
		for n, c := range list {
			rows[n] = taken(ca, digest, w.Generation(), c.Certificate, c.use, c.pair, ended[string(c.Serial.Bytes())], now.UTC().Truncate(time.Millisecond), alg.Digest(c.Raw))
		}
		line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.takeover.piece", Object: w.Order, Result: audit.Done, Detail: fmt.Sprintf("第 %d 段，证书 %d 张，SM3 %s", i+1, len(rows), p.SM3)}
		if err := t.Store.Take(ctx, w.Order, i+1, rows, line); err != nil {
			return err
		}
	}
	return nil
}

// Taken finds a certificate taken over whose status can still be changed.
func (is *Issuer) Taken(ctx context.Context, serial []byte) (Issued, error) {
	c, err := is.Store.Certificate(ctx, serial)
	if err != nil {
		return c, err
	}
	if c.Profile != WardProfile {
		return c, NoCert.At("serial", NoCert.Clause).Because("不是承接的证书")
	}
	_, err = is.issuerOf(c)
	return c, err
}
