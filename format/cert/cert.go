// Package cert writes and reads certificates. It knows bytes, not business. (证书格式)
//
// Drafts are assembled by hand from pre-encoded parts, so that the bytes that
// are linted are the bytes that are signed (RFC 5280, GM/T 0015).
package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha1" //nolint:gosec // RFC 5280 method 1 for key identifiers
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
)

// SizeMax bounds a certificate read from outside; real ones have under 2 KB.
const SizeMax = 64 << 10

// ErrSyntax is returned for bytes that are not a certificate.
var ErrSyntax = errors.New("not a certificate")

// TBS is a certificate complete but for its signature: DER, to be signed as is.
type TBS []byte

// Extension is one extension, its value already in DER.
type Extension struct {
	ID       asn1.ObjectIdentifier
	Critical bool
	Value    []byte
}

// Draft is a certificate to be.
type Draft struct {
	Serial     []byte // big endian, positive, at most 20 octets
	Issuer     []byte // DER name, byte for byte the issuer's subject
	NotBefore  time.Time
	NotAfter   time.Time
	Subject    []byte // DER name
	Point      []byte // 65 bytes
	Extensions []Extension
	Validity   []byte // DER, in place of the two times when set
}

// TBS encodes the draft.
func (d Draft) TBS() TBS {
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
		b.AddASN1BigInt(new(big.Int).SetBytes(d.Serial))
		alg.AddID(b, alg.SM2WithSM3)
		b.AddBytes(d.Issuer)
		if d.Validity != nil {
			b.AddBytes(d.Validity)
		} else {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				AddTime(b, d.NotBefore)
				AddTime(b, d.NotAfter)
			})
		}
		b.AddBytes(d.Subject)
		alg.AddSPKI(b, d.Point)
		b.AddASN1(cbasn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, e := range d.Extensions {
					AddExtension(b, e)
				}
			})
		})
	})
	return b.BytesOrPanic()
}

// AddExtension appends one extension; critical FALSE is the default and left out.
func AddExtension(b *cryptobyte.Builder, e Extension) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(e.ID)
		if e.Critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(e.Value)
	})
}

// AddTime appends UTCTime through 2049 and GeneralizedTime from 2050 on.
func AddTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if y := t.Year(); y >= 1950 && y < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// Seal signs exactly the bytes given and returns the certificate.
func Seal(t TBS, key crypto.Signer) ([]byte, error) {
	sig, err := alg.Sign(key, t)
	if err != nil {
		return nil, err
	}
	return Assemble(t, sig), nil
}

// Assemble joins signed bytes, the algorithm and the signature, as in
// certificates, CRLs and requests alike.
func Assemble(signed, sig []byte) []byte {
	head, tail := Ends(len(signed), sig)
	b := make([]byte, 0, len(head)+len(signed)+len(tail))
	return append(append(append(b, head...), signed...), tail...)
}

// Ends are what Assemble puts before and after signed bytes of a length: enough
// to digest or send a long list without another copy of it.
func Ends(signed int, sig []byte) (head, tail []byte) {
	var b cryptobyte.Builder
	alg.AddID(&b, alg.SM2WithSM3)
	b.AddASN1BitString(sig)
	tail = b.BytesOrPanic()
	return Header(signed + len(tail)), tail
}

// Header is the tag and length of a SEQUENCE with content of a size.
func Header(size int) []byte {
	if size < 0x80 {
		return []byte{0x30, byte(size)}
	}
	var n []byte
	for v := size; v > 0; v >>= 8 {
		n = append([]byte{byte(v)}, n...)
	}
	return append([]byte{0x30, 0x80 | byte(len(n))}, n...)
}

// Certificate is a certificate as it was read. Raw slices share its memory.
type Certificate struct {
	Raw        []byte
	RawTBS     TBS
	Serial     *big.Int
	Issuer     []byte
	Validity   []byte // DER of the two times
	NotBefore  time.Time
	NotAfter   time.Time
	Subject    []byte
	SPKI       []byte
	Point      []byte
	Extensions []Extension
	Signature  []byte
}

// Parse reads one DER certificate with an SM2 key.
func Parse(der []byte) (*Certificate, error) {
	if len(der) > SizeMax {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrSyntax, SizeMax)
	}
	s := cryptobyte.String(der)
	var body, tbs cryptobyte.String
	c := &Certificate{Raw: der}
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1Element(&tbs, cbasn1.SEQUENCE) {
		return nil, ErrSyntax
	}
	c.RawTBS = TBS(tbs)
	oid, ok := alg.ReadID(&body)
	var sig asn1.BitString
	if !ok || !body.ReadASN1BitString(&sig) || !body.Empty() {
		return nil, fmt.Errorf("%w: no signature", ErrSyntax)
	}
	if !oid.Equal(alg.SM2WithSM3) {
		return nil, fmt.Errorf("%w: signature algorithm %v is not SM2 with SM3", ErrSyntax, oid)
	}
	c.Signature = sig.Bytes
	return c, c.readTBS()
}

// ParseTBS reads a draft back, as the linter does.
func ParseTBS(t TBS) (*Certificate, error) {
	c := &Certificate{RawTBS: t}
	return c, c.readTBS()
}

func (c *Certificate) readTBS() error {
	s := cryptobyte.String(c.RawTBS)
	var body, version, validity cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() {
		return ErrSyntax
	}
	var v int
	if !body.ReadASN1(&version, cbasn1.Tag(0).ContextSpecific().Constructed()) || !version.ReadASN1Integer(&v) || v != 2 {
		return fmt.Errorf("%w: not version 3", ErrSyntax)
	}
	c.Serial = new(big.Int)
	if !body.ReadASN1Integer(c.Serial) || c.Serial.Sign() < 0 { // or −5 would be looked up as 5
		return fmt.Errorf("%w: serial number", ErrSyntax)
	}
	if oid, ok := alg.ReadID(&body); !ok || !oid.Equal(alg.SM2WithSM3) {
		return fmt.Errorf("%w: inner signature algorithm", ErrSyntax)
	}
	var issuer, subject, spki, raw cryptobyte.String
	if !body.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !body.ReadASN1Element(&raw, cbasn1.SEQUENCE) {
		return fmt.Errorf("%w: base fields", ErrSyntax)
	}
	c.Validity = raw
	if !raw.ReadASN1(&validity, cbasn1.SEQUENCE) || !ReadTime(&validity, &c.NotBefore) || !ReadTime(&validity, &c.NotAfter) || !validity.Empty() ||
		!body.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !body.ReadASN1Element(&spki, cbasn1.SEQUENCE) {
		return fmt.Errorf("%w: base fields", ErrSyntax)
	}
	c.Issuer, c.Subject, c.SPKI = issuer, subject, spki
	var err error
	if c.Point, err = alg.ReadSPKI(&spki); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if body.Empty() {
		return nil
	}
	c.Extensions, err = readExtensions(&body)
	return err
}

// extensionsMax bounds the extensions of one certificate; profiles have about ten.
const extensionsMax = 64

func readExtensions(body *cryptobyte.String) ([]Extension, error) {
	var outer, seq cryptobyte.String
	if !body.ReadASN1(&outer, cbasn1.Tag(3).ContextSpecific().Constructed()) || !outer.ReadASN1(&seq, cbasn1.SEQUENCE) || !body.Empty() {
		return nil, fmt.Errorf("%w: unique identifiers or trailing data", ErrSyntax)
	}
	var list []Extension
	for !seq.Empty() {
		var e Extension
		var one, value cryptobyte.String
		if !seq.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&e.ID) ||
			one.PeekASN1Tag(cbasn1.BOOLEAN) && !one.ReadASN1Boolean(&e.Critical) ||
			!one.ReadASN1(&value, cbasn1.OCTET_STRING) || !one.Empty() || len(list) == extensionsMax {
			return nil, fmt.Errorf("%w: extensions", ErrSyntax)
		}
		e.Value = value
		list = append(list, e)
	}
	return list, nil
}

// ReadTime reads UTCTime or GeneralizedTime.
func ReadTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(cbasn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

// Extension returns an extension by its OID.
func (c *Certificate) Extension(id asn1.ObjectIdentifier) (Extension, bool) {
	for _, e := range c.Extensions {
		if e.ID.Equal(id) {
			return e, true
		}
	}
	return Extension{}, false
}

// PublicKey is the subject's key.
func (c *Certificate) PublicKey() *ecdsa.PublicKey {
	pub, err := alg.PublicKey(c.Point)
	if err != nil {
		return nil // Parse has checked it
	}
	return pub
}

// SignedBy checks the issuer's name and signature.
func (c *Certificate) SignedBy(issuer *Certificate) error {
	if string(c.Issuer) != string(issuer.Subject) {
		return errors.New("issuer name differs")
	}
	return alg.Verify(issuer.PublicKey(), c.RawTBS, c.Signature)
}

// SerialHex is the serial as openssl prints it: upper-case hex, whole bytes.
func (c *Certificate) SerialHex() string { return SerialHex(append([]byte{0}, c.Serial.Bytes()...)) }

// SerialHex writes a serial as openssl prints it.
func SerialHex(serial []byte) string {
	for len(serial) > 1 && serial[0] == 0 {
		serial = serial[1:]
	}
	return strings.ToUpper(fmt.Sprintf("%x", serial))
}

// KeyID is SHA-1 over the 65 bytes of the point (RFC 5280 §4.2.1.2 method 1).
func KeyID(point []byte) []byte {
	sum := sha1.Sum(point) //nolint:gosec // the standard's choice, not a security property
	return sum[:]
}

// PEM writes a certificate as text.
func PEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// FromPEM reads the first certificate in data, PEM or DER.
func FromPEM(data []byte) (*Certificate, error) {
	if block, _ := pem.Decode(data); block != nil {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%w: PEM block %q", ErrSyntax, block.Type)
		}
		data = block.Bytes
	}
	return Parse(data)
}
