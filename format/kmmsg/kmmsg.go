// Package kmmsg writes and reads the messages between CA and key centre. (密钥管理消息)
//
// CARequest and KMRespond of GM/T 0014. Signatures are made and checked over
// the bytes that travel, never over a second encoding. One message carries
// several requests and the answer carries as many answers in their order. A
// CHOICE is written IMPLICIT and read in either tagging: implementations in
// the field differ.
package kmmsg

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Bounds of what is read.
const (
	MessageMax  = 4 << 20 // an answer to 1024 requests has under 2 MB
	RequestsMax = 1024    // enough to share one signature, few enough to answer within seconds
	numberMax   = 20      // octets of a serial or task number (RFC 5280 §4.1.2.2)
	nameMax     = 4 << 10
	textMax     = 1 << 10 // userName, dsCode, extendInfo, errDesc
)

// ErrSyntax is returned for bytes that are not a message of GM/T 0014.
var ErrSyntax = errors.New("not a message of GM/T 0014")

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

// Kind is what a request asks for, and its tag in the CHOICE.
type Kind uint8

// The kinds, and the answer that stands in place of a refused one's.
const (
	Apply   Kind = 0 // 密钥申请
	Restore Kind = 1 // 密钥恢复
	Revoke  Kind = 2 // 密钥撤销
	Failed  Kind = 3 // errorPkgRespond
)

func (k Kind) String() string {
	switch k {
	case Apply:
		return "apply"
	case Restore:
		return "restore"
	case Revoke:
		return "revoke"
	}
	return "failed"
}

// Entity is EntName: who speaks, by name, key and certificate serial.
type Entity struct {
	Name    []byte // DER GeneralName
	KeyHash []byte // SM3 of the 65-byte point
	Serial  []byte
}

const tagDirectoryName = cbasn1.Tag(0xa4)

// EntityOf names the holder of a certificate.
func EntityOf(c *cert.Certificate) Entity {
	var b cryptobyte.Builder
	b.AddASN1(tagDirectoryName, func(b *cryptobyte.Builder) { b.AddBytes(c.Subject) })
	return Entity{Name: b.BytesOrPanic(), KeyHash: alg.Digest(c.Point), Serial: c.Serial.Bytes()}
}

// Is reports whether e names the holder of c. The key may be hashed as a point
// or as a whole SubjectPublicKeyInfo; a name other than a directory name is an
// agreement between two parties and not compared.
func (e Entity) Is(c *cert.Certificate) bool {
	if !bytes.Equal(e.Serial, c.Serial.Bytes()) {
		return false
	}
	if !bytes.Equal(e.KeyHash, alg.Digest(c.Point)) && !bytes.Equal(e.KeyHash, alg.Digest(c.SPKI)) {
		return false
	}
	s := cryptobyte.String(e.Name)
	var name cryptobyte.String
	return !s.PeekASN1Tag(tagDirectoryName) || s.ReadASN1(&name, tagDirectoryName) && bytes.Equal(name, c.Subject)
}

func (e Entity) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		alg.AddID(b, alg.SM3)
		b.AddBytes(e.Name)
		b.AddASN1OctetString(e.KeyHash)
		addNumber(b, e.Serial)
	})
}

func readEntity(s *cryptobyte.String) (e Entity, err error) {
	var seq, name, hash cryptobyte.String
	var tag cbasn1.Tag
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return e, syntax("entity name")
	}
	if oid, ok := alg.ReadID(&seq); !ok || !oid.Equal(alg.SM3) {
		return e, syntax("entity name: hash algorithm %v", oid)
	}
	if !seq.ReadAnyASN1Element(&name, &tag) || tag&0xc0 != 0x80 || len(name) > nameMax {
		return e, syntax("entity name: general name")
	}
	if !seq.ReadASN1(&hash, cbasn1.OCTET_STRING) || len(hash) != 32 || !readNumber(&seq, &e.Serial) || !seq.Empty() {
		return e, syntax("entity name: key hash and serial")
	}
	e.Name, e.KeyHash = name, hash
	return e, nil
}

// Task is a task number as messages carry it.
func Task(n int64) []byte { return big.NewInt(n).Bytes() }

func addNumber(b *cryptobyte.Builder, n []byte) { b.AddASN1BigInt(new(big.Int).SetBytes(n)) }

// readNumber reads an INTEGER of at most 20 octets, not negative, without
// leading zeros: zero is the empty slice.
func readNumber(s *cryptobyte.String, n *[]byte) bool {
	if !s.ReadASN1Integer(n) || len(*n) > numberMax {
		return false
	}
	for len(*n) > 0 && (*n)[0] == 0 {
		*n = (*n)[1:]
	}
	return true
}

func context(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// readChoice reads one alternative of a CHOICE and returns the content of its
// SEQUENCE. After the context tag the content of an EXPLICIT alternative is one
// SEQUENCE that spans it all; an IMPLICIT one begins with a shorter element.
func readChoice(s *cryptobyte.String) (Kind, cryptobyte.String, error) {
	var tag cbasn1.Tag
	var content cryptobyte.String
	if !s.ReadAnyASN1(&content, &tag) || tag&^0x1f != 0xa0 || tag&0x1f > cbasn1.Tag(Failed) {
		return 0, nil, syntax("choice has tag %#x", uint8(tag))
	}
	rest := content
	var inner cryptobyte.String
	if rest.ReadASN1(&inner, cbasn1.SEQUENCE) && rest.Empty() {
		content = inner
	}
	return Kind(tag & 0x1f), content, nil
}

// message is what both directions have in common: signed bytes, algorithm and
// signature.
type message struct {
	Signed    []byte // the bytes under the signature, as received
	Signature []byte
}

func seal(signed []byte, key crypto.Signer) ([]byte, error) {
	sig, err := alg.Sign(key, signed)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(signed)+128))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(signed)
		alg.AddID(b, alg.SM2WithSM3)
		b.AddASN1OctetString(sig)
	})
	return b.BytesOrPanic(), nil
}

// open splits a message and checks the frame, not the signature.
func open(der []byte) (m message, body cryptobyte.String, err error) {
	if len(der) > MessageMax {
		return m, nil, syntax("larger than %d bytes", MessageMax)
	}
	s := cryptobyte.String(der)
	var seq, signed, sig cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1Element(&signed, cbasn1.SEQUENCE) {
		return m, nil, ErrSyntax
	}
	oid, ok := alg.ReadID(&seq)
	if !ok || !oid.Equal(alg.SM2WithSM3) && !oid.Equal(alg.SM2Sign) && !oid.Equal(alg.SM2) {
		return m, nil, syntax("signature algorithm %v", oid)
	}
	if !seq.ReadASN1(&sig, cbasn1.OCTET_STRING) || !seq.Empty() {
		return m, nil, syntax("signature")
	}
	m = message{Signed: signed, Signature: sig}
	var version int
	if !signed.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1Integer(&version) || version < 0 || version > 2 {
		return m, nil, syntax("version")
	}
	return m, body, nil
}

// Verify checks the signature with the key of the certificate.
func (m message) Verify(c *cert.Certificate) error {
	return alg.Verify(c.PublicKey(), m.Signed, m.Signature)
}

// readKey reads a SubjectPublicKeyInfo. A key of another kind is no error of
// syntax: the one who asked is told so, his neighbours are served.
func readKey(s *cryptobyte.String) (point []byte, ok bool) {
	var element cryptobyte.String
	if !s.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return nil, false
	}
	point, err := alg.ReadSPKI(&element)
	if err != nil {
		return nil, true
	}
	return point, true
}

// readText reads an optional EXPLICIT string of any string type.
func readText(s *cryptobyte.String, n uint8, to *string) bool {
	var outer, text cryptobyte.String
	var tag cbasn1.Tag
	var present bool
	if !s.ReadOptionalASN1(&outer, &present, context(n)) || !present {
		return !present
	}
	ok := outer.ReadAnyASN1(&text, &tag) && outer.Empty() && len(text) <= textMax &&
		(tag == cbasn1.UTF8String || tag == cbasn1.OCTET_STRING || tag == cbasn1.IA5String || tag == cbasn1.PrintableString)
	*to = string(text)
	return ok
}

func addText(b *cryptobyte.Builder, n uint8, tag cbasn1.Tag, text string) {
	if text == "" {
		return
	}
	b.AddASN1(context(n), func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
	})
}

func oneOf(oid asn1.ObjectIdentifier, list ...asn1.ObjectIdentifier) bool {
	for _, o := range list {
		if oid.Equal(o) {
			return true
		}
	}
	return false
}
