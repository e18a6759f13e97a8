// Package csr reads and writes certificate requests. (证书请求)
//
// PKCS#10 with an SM2 key and SM2-with-SM3 signature (GM/T 0092). A request is
// read whole or not at all: nothing it asks for is passed over.
package csr

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// SizeMax bounds a request; real ones have under 1 KB.
const SizeMax = 32 << 10

// Errors of this package.
var (
	ErrSyntax    = errors.New("不是 PKCS#10 证书请求")
	ErrAlgorithm = errors.New("签名算法不是 SM2-SM3（1.2.156.10197.1.501）")
	ErrKey       = errors.New("公钥不是 SM2 曲线上的点")
	ErrProof     = errors.New("请求的签名与其公钥不符，不能证明持有私钥")
	ErrSize      = errors.New("证书请求过大")
)

var (
	extensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	challenge        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	challengeGM      = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 1, 10, 3}
)

// Request is a certificate request as it was read and proven.
type Request struct {
	Raw        []byte // DER
	Subject    []byte // DER name; may be empty of attributes
	Point      []byte
	Extensions []cert.Extension        // what it asks to be in the certificate
	Other      []asn1.ObjectIdentifier // attributes that are neither extensions nor a challenge
}

// Parse reads PEM, base64 or DER, and checks the proof of possession.
func Parse(data []byte) (*Request, error) {
	if len(data) > SizeMax {
		return nil, fmt.Errorf("%w：超过 %d 字节", ErrSize, SizeMax)
	}
	der, err := decode(data)
	if err != nil {
		return nil, err
	}
	s := cryptobyte.String(der)
	var body, info cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1Element(&info, cbasn1.SEQUENCE) {
		return nil, ErrSyntax
	}
	oid, ok := alg.ReadID(&body)
	var sig asn1.BitString
	if !ok || !body.ReadASN1BitString(&sig) || !body.Empty() {
		return nil, fmt.Errorf("%w：缺少签名", ErrSyntax)
	}
	r := &Request{Raw: der}
	if err := r.read(info); err != nil { // another curve explains another algorithm
		return nil, err
	}
	if !oid.Equal(alg.SM2WithSM3) {
		return nil, fmt.Errorf("%w，而是 %v", ErrAlgorithm, oid)
	}
	pub, err := alg.PublicKey(r.Point)
	if err != nil {
		return nil, ErrKey
	}
	if alg.Verify(pub, info, sig.Bytes) != nil {
		return nil, ErrProof
	}
	return r, nil
}

func decode(data []byte) ([]byte, error) {
	if len(data) > 0 && data[0] == 0x30 {
		return data, nil // DER as it is: its last byte may look like a blank
	}
	data = bytes.TrimSpace(data)
	if bytes.HasPrefix(data, []byte("-----BEGIN")) {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			return nil, fmt.Errorf("%w：PEM 头应为 CERTIFICATE REQUEST", ErrSyntax)
		}
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, fmt.Errorf("%w：PEM 之后还有内容", ErrSyntax)
		}
		return block.Bytes, nil
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
	if err != nil || len(der) == 0 {
		return nil, fmt.Errorf("%w：既不是 PEM，也不是 DER 的 Base64", ErrSyntax)
	}
	return der, nil
}

func (r *Request) read(element cryptobyte.String) error {
	var info, subject, spki, attrs cryptobyte.String
	var version int
	if !element.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1Integer(&version) || version != 0 ||
		!info.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !info.ReadASN1Element(&spki, cbasn1.SEQUENCE) {
		return ErrSyntax
	}
	r.Subject = subject
	element = spki
	var err error
	if r.Point, err = alg.ReadSPKI(&spki); err != nil {
		return fmt.Errorf("%w%s", ErrKey, kindOf(element))
	}
	if info.Empty() {
		return nil
	}
	if !info.ReadASN1(&attrs, cbasn1.Tag(0).ContextSpecific().Constructed()) || !info.Empty() {
		return ErrSyntax
	}
	for !attrs.Empty() {
		if err := r.attribute(&attrs); err != nil {
			return err
		}
	}
	return nil
}

// keys are what people bring for an SM2 key.
var keys = map[string]string{
	"1.2.840.10045.3.1.7": "P-256 曲线", "1.3.132.0.34": "P-384 曲线", "1.3.132.0.35": "P-521 曲线", "1.3.132.0.10": "secp256k1 曲线",
	"1.2.840.113549.1.1.1": "RSA 密钥", "1.3.101.112": "Ed25519 密钥", "1.2.840.10045.2.1": "椭圆曲线密钥",
}

// kindOf says what a public key is that is none of SM2.
func kindOf(spki cryptobyte.String) string {
	var seq, id cryptobyte.String
	var oid, curve asn1.ObjectIdentifier
	if !spki.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1ObjectIdentifier(&oid) {
		return ""
	}
	if oid.Equal(alg.ECPublicKey) && id.ReadASN1ObjectIdentifier(&curve) {
		oid = curve
	}
	if oid.Equal(alg.SM2) {
		return "" // the right curve, and no point of it
	}
	name := oid.String()
	if n := keys[name]; n != "" {
		name = n + "（" + name + "）"
	}
	return "，而是 " + name + "；应为 SM2（" + alg.SM2.String() + "）"
}

// attributesMax bounds extensions and attributes of one request.
const attributesMax = 64

func (r *Request) attribute(attrs *cryptobyte.String) error {
	var one, set, list cryptobyte.String
	var id asn1.ObjectIdentifier
	if !attrs.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) || !one.ReadASN1(&set, cbasn1.SET) || !one.Empty() {
		return ErrSyntax
	}
	switch {
	case id.Equal(challenge), id.Equal(challengeGM):
		return nil
	case !id.Equal(extensionRequest):
		if r.Other = append(r.Other, id); len(r.Other) > attributesMax {
			return ErrSyntax
		}
		return nil
	}
	if !set.ReadASN1(&list, cbasn1.SEQUENCE) || !set.Empty() {
		return ErrSyntax
	}
	for !list.Empty() {
		var e cert.Extension
		var ext, value cryptobyte.String
		if !list.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&e.ID) ||
			ext.PeekASN1Tag(cbasn1.BOOLEAN) && !ext.ReadASN1Boolean(&e.Critical) ||
			!ext.ReadASN1(&value, cbasn1.OCTET_STRING) || !ext.Empty() || len(r.Extensions) == attributesMax {
			return ErrSyntax
		}
		e.Value = value
		r.Extensions = append(r.Extensions, e)
	}
	return nil
}

// New makes a request for a subject's key, as a subscriber's tool does.
func New(subject []byte, key crypto.Signer, ask ...cert.Extension) ([]byte, error) {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, ErrKey
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(subject)
		alg.AddSPKI(b, alg.Point(pub))
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			if len(ask) == 0 {
				return
			}
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(extensionRequest)
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						for _, e := range ask {
							cert.AddExtension(b, e)
						}
					})
				})
			})
		})
	})
	info := b.BytesOrPanic()
	sig, err := alg.Sign(key, info)
	if err != nil {
		return nil, err
	}
	return cert.Assemble(info, sig), nil
}

// PEM writes a request as text.
func PEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
