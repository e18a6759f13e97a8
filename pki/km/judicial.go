package km

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/shamir"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Custody is how the release of keys to a court is shared out: a seal key that
// alone makes an evidence package valid lies encrypted under a secret, the
// secret lies in shares with custodians, and each share is sealed to its
// custodian's own key. Nobody here can open it alone. (密钥分管, GM/T 0034 §10.3)
type Custody struct {
	Threshold int               `json:"threshold"`
	Seal      []byte            `json:"seal"`    // point of the seal key
	Private   []byte            `json:"private"` // nonce ‖ SM4-GCM of its private half
	Shares    map[string][]byte `json:"shares"`  // by custodian: SM2 ciphertext of their share
}

// NewCustody makes the seal key and shares out what opens it.
func NewCustody(threshold int, custodians []access.Person) (Custody, error) {
	for _, p := range custodians {
		for _, r := range []access.Role{access.KMSuper, access.KMAdmin, access.KMOperator} {
			if p.Holds(r) {
				return Custody{}, fmt.Errorf("%s is %s and cannot be a custodian (GM/T 0034 §10.3)", p.ID, r.Title())
			}
		}
	}
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return Custody{}, err
	}
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // crypto/rand never fails
	defer clear(secret)
	box, err := gcm(secret)
	if err != nil {
		return Custody{}, err
	}
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // crypto/rand never fails
	c := Custody{Threshold: threshold, Seal: alg.Point(&key.PublicKey), Shares: map[string][]byte{}}
	private := key.D.FillBytes(make([]byte, 32))
	defer clear(private)
	c.Private = box.Seal(nonce, nonce, private, c.Seal)
	shares, err := shamir.Split(secret, threshold, len(custodians))
	if err != nil {
		return Custody{}, err
	}
	for i, p := range custodians {
		to, err := alg.PublicKey(p.Point)
		if err != nil {
			return Custody{}, err
		}
		if c.Shares[string(p.ID)], err = sm2.EncryptASN1(rand.Reader, to, shares[i].Bytes()); err != nil {
			return Custody{}, err
		}
	}
	return c, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal gives the seal key back from enough shares.
func (c Custody) seal(parts [][]byte) (*sm2.PrivateKey, error) {
	var shares []shamir.Share
	for _, p := range parts {
		s, err := shamir.Parse(p)
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	secret, err := shamir.Combine(shares)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	box, err := gcm(secret)
	if err != nil {
		return nil, err
	}
	n := box.NonceSize()
	if len(c.Private) < n {
		return nil, errors.New("seal key is damaged")
	}
	private, err := box.Open(nil, c.Private[:n], c.Private[n:], c.Seal)
	if err != nil {
		return nil, errors.New("the shares do not open the seal key")
	}
	defer clear(private)
	return sm2.NewPrivateKey(private)
}

// Warrant is what a judicial recovery is asked for with. (司法取证)
type Warrant struct {
	Case      string `json:"case"`      // number of the authority's case
	Authority string `json:"authority"` // who asks
	Document  string `json:"document"`  // number of the legal document
	Digest    string `json:"digest"`    // SM3 of the document, hex
	Serial    string `json:"serial"`    // of the encryption certificate
	CA        string `json:"ca"`        // as Authority names it; may be empty where one CA is served
	Recipient string `json:"recipient"` // PEM: the certificate the evidence is sealed to
	Scope     string `json:"scope"`     // what the key may be used for
	Expires   string `json:"expires"`   // 2026-12-31: nothing is released after it
}

// Package is the evidence: the key sealed to the recipient, the warrant, the
// statements of everybody who signed, and two signatures: the centre's, and the
// seal's that took a quorum.
type Package struct {
	Version int      `json:"version"`
	Warrant Warrant  `json:"warrant"`
	State   string   `json:"state"` // 在用库 or 历史库
	Point   []byte   `json:"point"` // of the encryption key
	Session []byte   `json:"session_key"`
	Content []byte   `json:"content"`
	Proof   []byte   `json:"key_signature"` // the centre's over the plain 64 bytes
	Signed  []Signed `json:"signed"`
	At      string   `json:"at"`
	Centre  []byte   `json:"centre"` // DER
	Seal    []byte   `json:"seal"`   // point
}

// Signed is one person's statement.
type Signed struct {
	Text      string `json:"text"`
	Signature []byte `json:"signature"`
	Cert      []byte `json:"cert"`
}

// Evidence is a package with its signatures over its exact bytes.
type Evidence struct {
	Package []byte `json:"package"`
	Centre  []byte `json:"centre_signature"`
	Seal    []byte `json:"seal_signature"`
}

// JudicialStore keeps what custodians gave until it was used.
type JudicialStore interface {
	// KeepShare keeps a custodian's share for a proposal, in its transaction.
	KeepShare(tx *sqldb.Tx, proposal, custodian string, sealed []byte) error
	// Shares returns them; DropShares forgets them with an audit line.
	Shares(ctx context.Context, proposal string) ([][]byte, error)
	DropShares(ctx context.Context, proposal string, line audit.Entry) error
}

// Court carries out judicial recoveries. (GM/T 0034 §12.5)
type Court struct {
	Vault   *Vault
	Store   JudicialStore
	Custody Custody
	Open    func(sealed []byte) ([]byte, error) // what was sealed to the centre's key
}

const judicialClause = "GM/T 0034 §12.5"

// Matter is the judicial recovery: an operator asks with the document in hand,
// a forensic officer agrees, a quorum of custodians releases, and the centre
// makes the package.
func (c *Court) Matter() proposal.Matter {
	field := func(name, title, kind string) proposal.Field {
		return proposal.Field{Name: name, Title: title, Kind: kind, Need: true}
	}
	return proposal.Matter{
		Name: "km.judicial", Title: "司法取证密钥恢复", Clause: judicialClause, Propose: access.KMOperator, Confirm: access.KMForensic,
		Quorum: c.Custody.Threshold, Release: access.KMForensic, Accept: c.accept,
		Fields: []proposal.Field{
			field("case", "案件编号", "text"), field("authority", "办案机关", "text"), field("document", "法律文书编号", "text"), field("digest", "法律文书的 SM3 摘要", "text"),
			field("serial", "加密证书序列号", "text"), field("recipient", "接收人的加密证书（PEM）", "pem"), field("scope", "使用范围", "long"), field("expires", "有效期至", "date"),
		},
		Read: c.read, Do: c.do,
	}
}

func (c *Court) read(ctx context.Context, content []byte) (proposal.Shown, error) {
	var w Warrant
	if err := strict.JSON(content, &w); err != nil {
		return proposal.Shown{}, BadWarrant.At("content", judicialClause).Because("字段为 case、authority、document、digest、serial、recipient、scope、expires；%v", err)
	}
	for _, f := range []struct{ name, value string }{{"case", w.Case}, {"authority", w.Authority}, {"document", w.Document}, {"scope", w.Scope}} {
		if n := utf8.RuneCountInString(f.value); n == 0 || n > 200 {
			return proposal.Shown{}, BadWarrant.At(f.name, judicialClause).Because("应为 1 至 200 字")
		}
	}
	if raw, err := hex.DecodeString(w.Digest); err != nil || len(raw) != 32 {
		return proposal.Shown{}, BadWarrant.At("digest", judicialClause).Because("应为文书的 SM3 摘要（64 位十六进制）")
	}
	if _, err := w.recipient(); err != nil {
		return proposal.Shown{}, err
	}
	if err := w.inForce(c.Vault.Now()); err != nil {
		return proposal.Shown{}, err
	}
	rec, err := c.find(ctx, &w)
	if err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(w)
	return proposal.Shown{Content: canonical, Title: w.Case + " 证书 " + w.Serial, Lines: []proposal.Line{
		{Name: "案件编号", Value: w.Case}, {Name: "办案机关", Value: w.Authority}, {Name: "法律文书", Value: w.Document + "，SM3 " + w.Digest},
		{Name: "加密证书序列号", Value: w.Serial}, {Name: "密钥所在", Value: rec.State.Title()}, {Name: "持有人", Value: rec.UserName},
		{Name: "使用范围", Value: w.Scope}, {Name: "有效期至", Value: w.Expires},
	}}, err
}

func (w Warrant) recipient() (*cert.Certificate, error) {
	c, err := cert.FromPEM([]byte(w.Recipient))
	if err != nil {
		return nil, BadWarrant.At("recipient", judicialClause).Because("不是 PEM 证书")
	}
	if _, err := alg.PublicKey(c.Point); err != nil {
		return nil, BadWarrant.At("recipient", judicialClause).Because("不是 SM2 证书")
	}
	return c, nil
}

// inForce refuses a warrant that has run out, by the end of its last day in Beijing.
func (w Warrant) inForce(now time.Time) error {
	day, err := time.ParseInLocation("2006-01-02", w.Expires, time.FixedZone("", 8*60*60))
	if err != nil || now.After(day.AddDate(0, 0, 1)) {
		return BadWarrant.At("expires", judicialClause).Because("应为尚未过去的日期，如 2026-12-31")
	}
	return nil
}

// find looks the pair up under each CA served, in use or history.
func (c *Court) find(ctx context.Context, w *Warrant) (Record, error) {
	if err := c.Vault.ready(); err != nil {
		return Record{}, err
	}
	serial, err := hex.DecodeString(strings.ToLower(w.Serial))
	if err != nil {
		return Record{}, BadWarrant.At("serial", judicialClause).Because("序列号应为十六进制")
	}
	for _, ca := range c.Vault.known {
		if w.CA != "" && w.CA != ca.id {
			continue
		}
		rec, ok, err := c.Vault.Store.Record(ctx, ca.id, serial)
		if err != nil {
			return Record{}, err
		}
		if ok {
			w.CA, w.Serial = ca.id, cert.SerialHex(serial)
			return rec, nil
		}
	}
	return Record{}, c.none(ctx, serial, w.Serial)
}

// none says that no key is kept, and when it was destroyed if it was.
func (c *Court) none(ctx context.Context, serial []byte, shown string) error {
	if gone, ok := c.Store.(RetentionStore); ok {
		for _, ca := range c.Vault.known {
			at, proposal, was, err := gone.WasDestroyed(ctx, ca.id, serial)
			if err != nil {
				return err
			}
			if was {
				return Destroyed.At("serial", Destroyed.Clause).Because("%s 于 %s 销毁，变更 %s", cert.SerialHex(serial), at.In(beijing).Format("2006-01-02"), proposal)
			}
		}
	}
	return NoRecord.At("serial", judicialClause).Because("%.40q", shown)
}

// accept checks that a share is the custodian's own and keeps it sealed.
func (c *Court) accept(tx *sqldb.Tx, r proposal.Record, who access.Person, sealed []byte) error {
	plain, err := c.Open(sealed)
	if err != nil {
		return BadShare.At("share", judicialClause).Because("不是密封给本系统的份额")
	}
	defer clear(plain)
	if _, err := shamir.Parse(plain); err != nil {
		return BadShare.At("share", judicialClause).Because("份额已损坏")
	}
	if c.Custody.Shares[string(who.ID)] == nil {
		return BadShare.At("person", judicialClause).Because("%s 不是份额保管人", who.ID)
	}
	return c.Store.KeepShare(tx, r.ID, string(who.ID), sealed)
}

// do makes the package. Called again before it is on record it makes another,
// and only the one on record counts.
func (c *Court) do(ctx context.Context, r proposal.Record) ([]byte, error) {
	var w Warrant
	if err := json.Unmarshal(r.Content, &w); err != nil {
		return nil, err
	}
	v := c.Vault
	if err := w.inForce(v.Now()); err != nil {
		return nil, err
	}
	seal, err := c.gather(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	rec, err := c.find(ctx, &w)
	if err != nil {
		return nil, err
	}
	to, err := w.recipient()
	if err != nil {
		return nil, err
	}
	sealed, err := v.Device.Envelope(rec.Pair.Private.Master, rec.Pair, to.Point, v.Identity)
	if err != nil {
		return nil, fmt.Errorf("sealing the key: %w", err)
	}
	p := Package{
		Version: 1, Warrant: w, State: rec.State.Title(), Point: rec.Pair.Point, Session: sealed.SessionKey, Content: sealed.Content, Proof: sealed.Signature,
		At: v.Now().UTC().Format(time.RFC3339), Centre: v.Cert, Seal: c.Custody.Seal,
	}
	for _, e := range r.Events {
		if e.Did == proposal.Propose || e.Did == proposal.Confirm || e.Did == proposal.Release {
			p.Signed = append(p.Signed, Signed{string(e.Signed.Text), e.Signed.Signature, e.Signed.Cert})
		}
	}
	out, err := c.sign(p, seal)
	if err != nil {
		return nil, err
	}
	now := v.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.judicial", Object: r.ID, Serial: w.Serial, Result: audit.Done, Detail: w.Case + " " + w.Document}
	return out, c.Store.DropShares(ctx, r.ID, line)
}

// gather opens what the custodians gave and combines it.
func (c *Court) gather(ctx context.Context, proposal string) (*sm2.PrivateKey, error) {
	sealed, err := c.Store.Shares(ctx, proposal)
	if err != nil {
		return nil, err
	}
	parts := make([][]byte, len(sealed))
	for i, s := range sealed {
		if parts[i], err = c.Open(s); err != nil {
			return nil, err
		}
		defer clear(parts[i])
	}
	key, err := c.Custody.seal(parts)
	if err != nil {
		return nil, BadShare.At("share", judicialClause).Because("%v", err)
	}
	return key, nil
}

func (c *Court) sign(p Package, seal *sm2.PrivateKey) ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	key, err := c.Vault.Device.Signer(c.Vault.Identity)
	if err != nil {
		return nil, err
	}
	e := Evidence{Package: text}
	if e.Centre, err = alg.Sign(key, text); err != nil {
		return nil, err
	}
	if e.Seal, err = alg.Sign(seal, text); err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// Check verifies a package with nothing but itself and the seal's point.
func (e Evidence) Check(seal []byte) (Package, error) {
	var p Package
	if err := json.Unmarshal(e.Package, &p); err != nil {
		return p, err
	}
	centre, err := cert.Parse(p.Centre)
	if err != nil {
		return p, err
	}
	pub, err := alg.PublicKey(seal)
	if err != nil {
		return p, err
	}
	if alg.Verify(centre.PublicKey(), e.Package, e.Centre) != nil || alg.Verify(pub, e.Package, e.Seal) != nil {
		return p, errors.New("证据包的签名无效")
	}
	for _, s := range p.Signed {
		c, err := cert.Parse(s.Cert)
		if err != nil || alg.Verify(c.PublicKey(), []byte(s.Text), s.Signature) != nil {
			return p, errors.New("证据包中有人员签名无效")
		}
	}
	return p, nil
}

// Title is what people call a store.
func (s State) Title() string {
	return map[State]string{Standby: "备用库", InUse: "在用库", History: "历史库"}[s]
}
