// Package enroll is what the registration system says to the CA. (注册协议)
//
// A request carries the application as the people signed it and their
// signatures: the CA reads the same bytes and checks them again, since the RA
// faces the internet and its word is not enough (GM/T 0034 §5.3.3).
package enroll

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
)

// Bounds of one message.
const (
	BatchMax   = 64
	MessageMax = 8 << 20
)

// Application is what a subscriber asks for, as clerk and reviewer sign it.
type Application struct {
	ID       string         `json:"id"`
	Profile  string         `json:"profile"`
	Version  int            `json:"profile_version"`
	Subject  dn.Name        `json:"subject"`
	SAN      []cert.AltName `json:"san,omitempty"`
	Days     int            `json:"days"`
	CSR      []byte         `json:"csr"` // DER
	Identity Identity       `json:"identity"`
	Codes    []profile.Code `json:"codes,omitempty"` // only where the profile puts the number into the certificate
	Check    IdentityCheck  `json:"check"`
	Notices  []string       `json:"notices"`            // given at acceptance (Order No. 4 art. 21)
	For      string         `json:"for,omitempty"`      // what a later certificate is for; empty for a first one
	Replaces string         `json:"replaces,omitempty"` // serial of the signing certificate it follows
	Cause    string         `json:"cause,omitempty"`    // why details are put right, as the desk's table has it
	Accord   string         `json:"agreement"`          // version of the service agreement accepted
	CPS      string         `json:"cps"`                // version of the practice statement in force
	Unit     string         `json:"unit,omitempty"`     // credit code of the unit the fields were taken from

	Body      string `json:"body,omitempty"`      // registration body that took it; empty for the institution's own
	Principal string `json:"principal,omitempty"` // institution in whose name that body acts
	Levels    int    `json:"levels,omitempty"`    // reviews it needs, where more than one
}

// What a certificate that follows another is for.
const (
	Renew   = "renew"   // 更新: new keys, same holder
	Extend  = "extend"  // 延期: the signing key goes on
	Amend   = "amend"   // 变更: other details
	Reissue = "reissue" // 补办: the carrier is lost or broken
	Recover = "recover" // 密钥恢复: the old encryption certificate stays (GM/T 0034 §12.4)
)

// NoticeCodes are the four things an applicant must be told at acceptance (Order
// No. 4 art. 21), as cases record them.
var NoticeCodes = []string{"conditions", "liability", "holder-data", "scope"}

// Told reports whether every notice is among those given.
func Told(given []string) bool {
	return !slices.ContainsFunc(NoticeCodes, func(c string) bool { return !slices.Contains(given, c) })
}

// Identity names a document without giving its number away: masked for people,
// committed to by SM3 over a salt the RA keeps.
type Identity struct {
	Kind       string `json:"kind"`
	Masked     string `json:"masked"`
	Commitment []byte `json:"commitment"`
}

// IdentityCheck records how the subscriber's identity was checked. (身份查验)
type IdentityCheck struct {
	Method   string   `json:"method"` // "in-person", "entrusted", "remote-video", "none"
	By       string   `json:"by"`
	At       string   `json:"at"`
	Evidence []string `json:"evidence,omitempty"` // SM3 of the files, hex
}

// Bytes is the canonical form that statements name by digest.
func (a Application) Bytes() []byte { return encode(a) }

// What a case about the status of certificates asks for.
const (
	Freeze   = "freeze"   // 冻结: certificateHold until released
	Unfreeze = "unfreeze" // 解冻
)

// Revocation is what a case about the status of certificates asks for: to end
// them, or to put them on hold or release them. (证书撤销)
type Revocation struct {
	ID       string   `json:"id"`
	Do       string   `json:"do,omitempty"` // empty for a revocation
	Serial   string   `json:"serial"`       // of either certificate of a pair
	Reason   string   `json:"reason"`
	Invalid  int64    `json:"invalid,omitempty"`  // Unix seconds; 0 if not given
	Ground   string   `json:"ground,omitempty"`   // in law, as the desk's table has it
	Asker    string   `json:"asker,omitempty"`    // who asked the institution: the holder, an authority, a court
	Evidence []string `json:"evidence,omitempty"` // SM3 of the files, hex
}

// Bytes is the canonical form that statements name by digest.
func (r Revocation) Bytes() []byte { return encode(r) }

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("enroll: plain data: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Decode reads a canonical content strictly: unknown fields, trailing data and
// any other spelling of the same content are errors.
func Decode[T Application | Revocation](data []byte, v *T) error {
	if err := strict.JSON(data, v); err != nil {
		return err
	}
	if !bytes.Equal(encode(*v), data) {
		return fmt.Errorf("not in canonical form")
	}
	return nil
}

// Evidence is one signed step of a case.
type Evidence struct {
	Signed access.Signed `json:"signed"`
	Item   access.Item   `json:"item"`
	Proof  access.Proof  `json:"proof"`
}

// Covers reports whether the statement covers the content of a case.
func (e Evidence) Covers(kind, id string, content []byte) bool {
	return e.Item.Kind == kind && e.Item.ID == id && bytes.Equal(e.Item.Digest, alg.Digest(content)) &&
		e.Proof.Covers(e.Signed.Digest, e.Item) && e.Proof.Count == e.Signed.Count
}

// Request asks for one thing: content, and the evidence that people asked.
type Request struct {
	ID       string     `json:"id"`
	Content  []byte     `json:"content"`
	Evidence []Evidence `json:"evidence"`
}

// Reply is what the CA issued.
type Reply struct {
	Sign   []byte `json:"sign"`             // DER
	Enc    []byte `json:"enc,omitempty"`    // DER
	Sealed []byte `json:"sealed,omitempty"` // SM2EnvelopedKey, or the key centre's own envelope where the profile's form needs all of it
}

// Serials of the certificates in a reply, for people.
func (r Reply) Serials() (sign, enc string) {
	if c, err := cert.Parse(r.Sign); err == nil {
		sign = c.SerialHex()
	}
	if c, err := cert.Parse(r.Enc); err == nil {
		enc = c.SerialHex()
	}
	return sign, enc
}

// Revoked is the answer to a revocation.
type Revoked struct {
	Serials []string  `json:"serials"`
	At      time.Time `json:"at"`
}
