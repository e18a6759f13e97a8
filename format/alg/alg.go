// Package alg names the algorithms and signs and verifies with SM2. (算法标识)
//
// Identifiers are those of GB/T 33560 and GM/T 0006; the convention for SM2
// signatures (default signer ID, DER of r and s) is GM/T 0009.
package alg

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers (GB/T 33560-2017, GM/T 0006, RFC 5480).
var (
	ECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	SM2         = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
	SM2Sign     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 1}
	SM2Exchange = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 2} // GmSSL writes it for encryption
	SM2Encrypt  = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 3}
	SM3         = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}
	SM2WithSM3  = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}
	SM4         = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104}
	SM4ECB      = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 1}
	SM4CBC      = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2}
	SHA1        = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	SHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// PointSize is the length of an uncompressed SM2 point, 04 ‖ X ‖ Y.
const PointSize = 65

// Errors of this package; readers wrap them with what they were reading.
var (
	ErrCurve     = errors.New("not an SM2 public key")
	ErrPoint     = errors.New("not a point of the SM2 curve")
	ErrSignature = errors.New("SM2 signature does not verify")
)

// AddID appends SEQUENCE { oid } without parameters, as GM/T 0092 writes it.
func AddID(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
}

// ReadID reads an AlgorithmIdentifier and reports its OID. Parameters are
// ignored: the national root writes NULL, others leave them out.
func ReadID(s *cryptobyte.String) (oid asn1.ObjectIdentifier, ok bool) {
	var seq cryptobyte.String
	ok = s.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadASN1ObjectIdentifier(&oid)
	return oid, ok
}

// Point is the public key as 65 bytes, 04 ‖ X ‖ Y.
func Point(pub *ecdsa.PublicKey) []byte {
	p := make([]byte, PointSize)
	p[0] = 4
	pub.X.FillBytes(p[1:33]) //nolint:staticcheck // SM2 is no crypto/ecdh curve
	pub.Y.FillBytes(p[33:])  //nolint:staticcheck
	return p
}

// PublicKey reads a point, refusing what is not on the curve.
func PublicKey(point []byte) (*ecdsa.PublicKey, error) {
	if len(point) != PointSize || point[0] != 4 {
		return nil, ErrPoint
	}
	pub, err := sm2.NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPoint, err)
	}
	return pub, nil
}

// AddSPKI appends the SubjectPublicKeyInfo of a point.
func AddSPKI(b *cryptobyte.Builder, point []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(ECPublicKey)
			b.AddASN1ObjectIdentifier(SM2)
		})
		b.AddASN1BitString(point)
	})
}

// SPKI is the SubjectPublicKeyInfo of a point.
func SPKI(point []byte) []byte {
	var b cryptobyte.Builder
	AddSPKI(&b, point)
	return b.BytesOrPanic()
}

// ReadSPKI reads a SubjectPublicKeyInfo and returns its point, checked to lie
// on the curve. The algorithm may be id-ecPublicKey with the SM2 curve, or SM2
// itself as annex A of GM/T 0043 allows.
func ReadSPKI(s *cryptobyte.String) ([]byte, error) {
	var seq, id cryptobyte.String
	var oid, curve asn1.ObjectIdentifier
	var bits asn1.BitString
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1ObjectIdentifier(&oid) ||
		!seq.ReadASN1BitString(&bits) || !seq.Empty() {
		return nil, fmt.Errorf("%w: not a SubjectPublicKeyInfo", ErrCurve)
	}
	switch {
	case oid.Equal(SM2):
	case oid.Equal(ECPublicKey) && id.ReadASN1ObjectIdentifier(&curve) && curve.Equal(SM2):
	case oid.Equal(ECPublicKey):
		return nil, fmt.Errorf("%w: curve %v", ErrCurve, curve)
	default:
		return nil, fmt.Errorf("%w: algorithm %v", ErrCurve, oid)
	}
	if bits.BitLength%8 != 0 {
		return nil, ErrPoint
	}
	if _, err := PublicKey(bits.Bytes); err != nil {
		return nil, err
	}
	return bits.Bytes, nil
}

// PointOf reads a whole SubjectPublicKeyInfo, as a public key file has it.
func PointOf(spki []byte) ([]byte, error) {
	s := cryptobyte.String(spki)
	p, err := ReadSPKI(&s)
	if err == nil && !s.Empty() {
		err = fmt.Errorf("%w: trailing data", ErrCurve)
	}
	return p, err
}

// Sign signs message itself, as Z and SM3 belong to the signer, and returns
// DER SEQUENCE { r, s }.
func Sign(key crypto.Signer, message []byte) ([]byte, error) {
	return key.Sign(rand.Reader, message, sm2.NewSM2SignerOption(true, nil))
}

// Verify checks an SM2 signature over message with the default signer ID.
func Verify(pub *ecdsa.PublicKey, message, sig []byte) error {
	if pub == nil || !sm2.VerifyASN1WithSM2(pub, nil, message, sig) {
		return ErrSignature
	}
	return nil
}

// Digest is SM3 over the parts, one after another.
func Digest(parts ...[]byte) []byte {
	h := sm3.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
