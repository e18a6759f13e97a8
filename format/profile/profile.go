// Package profile says what a sort of certificate contains. (证书模板)
//
// Profiles are data: the RA checks applications against them, the CA drafts
// from them, and both must hold the same version. The built-in set follows
// GM/T 0015 and the matrix of GM/T 0034 §5.4; an institution edits its own.
package profile

import (
	"embed"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/identity"
)

//go:embed data/*.json
var builtin embed.FS

// Publication policies (发布策略).
const (
	PublishFull   = "full"   // anybody may fetch the certificate
	PublishDigest = "digest" // the ledger names its digest only
)

// RegimeMIIT is the regime of the Ministry of Industry and Information Technology
// (电子认证服务管理办法, a draft not in force). A profile that names none is of the
// State Cryptography Administration's, Order No. 4. (适用制度)
const RegimeMIIT = "MIIT-draft"

// Delegable reports whether taking applications, checking, issuing and delivery may
// be delegated to another institution: under the draft of the MIIT they may not
// (art. 22), under Order No. 4 registration may (art. 25).
func (p Profile) Delegable() bool { return p.Regime != RegimeMIIT }

// Forms in which a package carries the sealed encryption key besides
// SM2EnvelopedKey. (密钥信封格式)
const (
	SealedKey = "sealed-key" // SM2EnvelopedKey only (GB/T 35276)
	SKF32     = "skf-32"     // ENVELOPEDKEYBLOB for tokens that want 32 octets encrypted (GM/T 0016)
	SKF64     = "skf-64"     // ENVELOPEDKEYBLOB for tokens that want all 64
	P7        = "p7"         // SignedAndEnvelopedData (GB/T 35275, GM/T 0010)
)

// Profile is one sort of certificate.
type Profile struct {
	Name      string     `json:"name"`
	Title     string     `json:"title"`
	Version   int        `json:"version"`
	Internal  bool       `json:"internal,omitempty"` // for the system's own keys and people, never applied for
	Dual      bool       `json:"dual"`               // signing and encryption certificate (双证书)
	Audience  string     `json:"audience"`           // "government" 政务部门内部, "public" 企事业单位与公众, "system"
	Publish   string     `json:"publish"`
	PublishAt string     `json:"publish_at,omitempty"` // when it comes into the directory: at once, "02:30" daily or "every 6h", Beijing time
	Regime    string     `json:"regime,omitempty"`     // of law it is issued under: none is Order No. 4, or RegimeMIIT
	Policy    string     `json:"policy"`               // certificate policy OID (Order No. 4 art. 19(5))
	CPS       string     `json:"cps,omitempty"`
	Usage     string     `json:"usage"`              // "sign", "ca" or "root"
	SignEKU   []string   `json:"sign_eku,omitempty"` // names of extUsages
	EncEKU    []string   `json:"enc_eku,omitempty"`
	Subject   []AttrRule `json:"subject"`
	SAN       []string   `json:"san,omitempty"` // kinds allowed
	NeedSAN   bool       `json:"need_san,omitempty"`
	Days      Days       `json:"days"`
	Identity  []string   `json:"identity,omitempty"` // kinds of documents accepted
	PathLen   int        `json:"path_len,omitempty"`
	Asked     bool       `json:"asked,omitempty"`       // a CA's path length and policies are asked for; PathLen bounds them
	Own       bool       `json:"self_issued,omitempty"` // another key of the issuer's own name (RFC 4210 §4.4)
	NoCheck   bool       `json:"no_check,omitempty"`
	Plain     bool       `json:"plain,omitempty"`    // no CDP and AIA: roots
	Codes     []CodeRule `json:"codes,omitempty"`    // identity extensions; off unless a profile says so
	Envelope  string     `json:"envelope,omitempty"` // form of the sealed key; SealedKey when left out
}

// Form is the form in which a package carries the sealed key.
func (p Profile) Form() string {
	if p.Envelope == "" {
		return SealedKey
	}
	return p.Envelope
}

// NeedsOriginal reports whether the form can be made only from the whole of
// what the key centre sent: SM2EnvelopedKey has lost the signature and the
// first 32 of the 64 encrypted octets.
func (p Profile) NeedsOriginal() bool { return p.Form() == SKF64 || p.Form() == P7 }

// CodeRule puts the number of one kind of document into the certificate, in an
// identity extension whose form is data: editions of GM/T 0015 differ.
type CodeRule struct {
	Kind string `json:"kind"` // of document
	OID  string `json:"oid"`
	Tag  int    `json:"tag"` // explicit tag of the choice; -1 is none
	UTF8 bool   `json:"utf8,omitempty"`
}

// Code is the number of a document that is to stand in the certificate.
type Code struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// CodeRule returns what a profile says of a kind of document.
func (p Profile) CodeRule(kind string) (CodeRule, bool) {
	for _, r := range p.Codes {
		if r.Kind == kind {
			return r, true
		}
	}
	return CodeRule{}, false
}

// AttrRule is what the subject may have in one attribute.
type AttrRule struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Required bool   `json:"required,omitempty"`
	Fixed    string `json:"fixed,omitempty"`
	Max      int    `json:"max"`            // characters
	Many     int    `json:"many,omitempty"` // how many values; 0 is one
}

// Days bounds validity.
type Days struct {
	Default int `json:"default"`
	Max     int `json:"max"`
}

var extUsages = map[string]asn1.ObjectIdentifier{
	"serverAuth": cert.UsageServerAuth, "clientAuth": cert.UsageClientAuth, "emailProtection": cert.UsageEmail,
	"OCSPSigning": cert.UsageOCSPSigning, "timeStamping": cert.UsageTimeStamp,
}

// Set is the profiles in force, by name.
type Set map[string]Profile

// Builtin is the set the product comes with.
func Builtin() (Set, error) {
	set := Set{}
	names, err := fs.Glob(builtin, "data/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := builtin.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		set[p.Name] = p
	}
	return set, nil
}

// Parse reads one profile strictly.
func Parse(text []byte) (Profile, error) {
	var p Profile
	if err := strict.JSON(text, &p); err != nil {
		return p, err
	}
	switch p.Usage { // anything but "sign" is a CA's: a slip of the pen must not make one
	case "sign", "ca", "root":
	default:
		return p, fmt.Errorf("usage %q", p.Usage)
	}
	switch p.Form() {
	case SealedKey, SKF32, SKF64, P7:
	default:
		return p, fmt.Errorf("envelope %q", p.Envelope)
	}
	if p.Regime != "" && p.Regime != RegimeMIIT {
		return p, fmt.Errorf("regime %q", p.Regime)
	}
	if p.PublishAt != "" {
		if _, err := parseSchedule(p.PublishAt); err != nil {
			return p, err
		}
		if p.Publish != PublishFull {
			return p, errors.New("publish_at without publication")
		}
	}
	if p.Envelope != "" && !p.Dual {
		return p, errors.New("an envelope without an encryption certificate")
	}
	if _, err := OID(p.Policy); err != nil && !p.Plain {
		return p, fmt.Errorf("policy: %w", err)
	}
	for _, r := range p.Codes {
		if _, err := OID(r.OID); err != nil || r.Tag < -1 || r.Tag > 30 || identity.Kinds[r.Kind] == "" {
			return p, fmt.Errorf("code of %q: object identifier %q, tag %d", r.Kind, r.OID, r.Tag)
		}
	}
	for _, u := range append(append([]string{}, p.SignEKU...), p.EncEKU...) {
		if extUsages[u] == nil {
			return p, fmt.Errorf("extended key usage %q", u)
		}
	}
	return p, nil
}

// OID reads "2.999.1", in the one spelling it has and with numbers that every
// reader of DER takes.
func OID(text string) (asn1.ObjectIdentifier, error) {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > math.MaxInt32 || strconv.Itoa(n) != part {
			return nil, fmt.Errorf("%q is not an object identifier", text)
		}
		id = append(id, n)
	}
	if len(id) < 2 || id[0] > 2 || id[0] < 2 && id[1] > 39 || id[1] > math.MaxInt32-80 {
		return nil, fmt.Errorf("%q is not an object identifier", text)
	}
	return id, nil
}

// Digest is the SM3 of the profile as both sides hold it.
func (p Profile) Digest() []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic("profile: plain data: " + err.Error())
	}
	return alg.Digest(text)
}

// Place is where a certificate's status and issuer are found.
type Place struct {
	CRL    string // of the serial's shard
	OCSP   string
	Issuer string // URL of the issuing CA's certificate
}

// Wish is what a certificate is to say beyond what its profile fixes.
type Wish struct {
	Serial    []byte
	NotBefore time.Time
	NotAfter  time.Time
	Subject   []byte // DER name
	Point     []byte
	SAN       []cert.AltName
	Codes     []Code

	Policies  []asn1.ObjectIdentifier // of a subordinate CA, in place of the profile's
	PathLen   int                     // of a subordinate CA; its profile bounds it
	Permitted []cert.Subtree          // names below a subordinate CA; none bounds nothing
}

// Use says which certificate of a pair is meant.
type Use string

// The two certificates of a pair.
const (
	Sign Use = "sign"
	Enc  Use = "enc"
)

// Draft puts a certificate together. Issuer is nil for a root.
func (p Profile) Draft(use Use, w Wish, issuer *cert.Certificate, at Place) cert.TBS {
	d := cert.Draft{Serial: w.Serial, NotBefore: w.NotBefore, NotAfter: w.NotAfter, Subject: w.Subject, Point: w.Point}
	issuerPoint := w.Point
	d.Issuer = w.Subject
	if issuer != nil {
		issuerPoint, d.Issuer = issuer.Point, issuer.Subject
	}
	d.Extensions = append(d.Extensions, cert.AKI(issuerPoint), cert.SKI(w.Point), cert.KeyUsage(p.KeyUsage(use)))
	if p.Usage != "sign" {
		d.Extensions = append(d.Extensions, cert.CA(p.pathLen(w)))
	}
	if len(w.Permitted) > 0 {
		d.Extensions = append(d.Extensions, cert.Permitted(w.Permitted))
	}
	if eku := p.eku(use); len(eku) > 0 {
		d.Extensions = append(d.Extensions, cert.ExtKeyUsage(p.critical(use), eku...))
	}
	if len(w.Policies) > 0 {
		d.Extensions = append(d.Extensions, cert.PolicyList(w.Policies))
	} else if id, err := OID(p.Policy); err == nil {
		d.Extensions = append(d.Extensions, cert.Policy(id, p.CPS))
	}
	if !p.Plain {
		if !p.NoCheck {
			d.Extensions = append(d.Extensions, cert.CRLDistribution(at.CRL))
		}
		d.Extensions = append(d.Extensions, cert.InfoAccess(at.OCSP, at.Issuer))
	}
	if len(w.SAN) > 0 {
		d.Extensions = append(d.Extensions, cert.AltNames(w.SAN))
	}
	for _, c := range w.Codes { // the same in both certificates of a pair
		if r, ok := p.CodeRule(c.Kind); ok {
			id, _ := OID(r.OID) // checked when the profile was read
			d.Extensions = append(d.Extensions, cert.IdentityCode(id, r.Tag, r.UTF8, c.Value))
		}
	}
	if p.NoCheck {
		d.Extensions = append(d.Extensions, cert.NoCheck())
	}
	return d.TBS()
}

// KeyUsage is the exact key usage of a certificate of this profile.
func (p Profile) KeyUsage(use Use) []byte {
	switch {
	case p.Usage != "sign":
		return cert.UsageCA
	case use == Enc:
		return cert.UsageEnc
	}
	return cert.UsageSign
}

func (p Profile) pathLen(w Wish) int {
	if p.Usage == "root" {
		return -1
	}
	if p.Asked {
		return w.PathLen
	}
	return p.PathLen
}

// EKU lists the extended usages of a certificate of this profile.
func (p Profile) eku(use Use) (ids []asn1.ObjectIdentifier) {
	names := p.SignEKU
	if use == Enc {
		names = p.EncEKU
	}
	for _, n := range names {
		ids = append(ids, extUsages[n])
	}
	return ids
}

// critical: a time stamp certificate's usage must be critical (RFC 3161 §2.3).
func (p Profile) critical(use Use) bool {
	eku := p.eku(use)
	return len(eku) == 1 && eku[0].Equal(cert.UsageTimeStamp)
}
