// Package sealedkey is a key pair on its way to its owner. (加密密钥对保护结构)
//
// SM2EnvelopedKey of GM/T 0009 and GB/T 35276: the private key under a
// one-time SM4 key, that key to the owner's signing key. CA and RA build it
// from the key centre's answer without decrypting anything: ECB blocks are
// independent, so the last 32 bytes of the 64-byte form are the 32-byte form.
package sealedkey

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
)

// SizeMax bounds a structure read from outside; real ones have under 350 bytes.
const SizeMax = 4 << 10

// Lengths of a private key and of the right-aligned field it lies in
// (GM/T 0016 §6.4.10).
const (
	scalarSize = 32
	fieldSize  = 64
)

// Errors of this package.
var (
	ErrSyntax = errors.New("not an SM2 enveloped key")
	ErrOpen   = errors.New("sealed key does not open with this key")
)

// Envelope is a private key sealed to its owner.
type Envelope struct {
	SessionKey []byte // DER SM2Cipher of the 16-byte SM4 key
	Point      []byte // 65 bytes: the pair's public key
	Content    []byte // SM4-ECB of the 32-byte private key; 64 bytes from some peers
}

// Bytes is the DER. SM4-ECB with NULL is what readers in the field expect.
func (e Envelope) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 320))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(alg.SM4ECB)
			b.AddASN1NULL()
		})
		b.AddBytes(e.SessionKey)
		b.AddASN1BitString(e.Point)
		b.AddASN1BitString(e.Content)
	})
	return b.BytesOrPanic()
}

// Parse reads a structure. The cipher may be named SM4 or SM4-ECB, with NULL
// or without, and the content may have 32 or 64 bytes.
func Parse(der []byte) (Envelope, error) {
	if len(der) > SizeMax {
		return Envelope{}, fmt.Errorf("%w: larger than %d bytes", ErrSyntax, SizeMax)
	}
	s := cryptobyte.String(der)
	var seq, id, session cryptobyte.String
	var oid asn1.ObjectIdentifier
	var point, content asn1.BitString
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1ObjectIdentifier(&oid) {
		return Envelope{}, ErrSyntax
	}
	if !oid.Equal(alg.SM4) && !oid.Equal(alg.SM4ECB) {
		return Envelope{}, fmt.Errorf("%w: cipher %v is not SM4 in ECB mode", ErrSyntax, oid)
	}
	var null cryptobyte.String
	if !id.Empty() && (!id.ReadASN1(&null, cbasn1.NULL) || !null.Empty() || !id.Empty()) {
		return Envelope{}, fmt.Errorf("%w: cipher parameters", ErrSyntax)
	}
	if !seq.ReadASN1Element(&session, cbasn1.SEQUENCE) || !seq.ReadASN1BitString(&point) ||
		!seq.ReadASN1BitString(&content) || !seq.Empty() || point.BitLength%8 != 0 || content.BitLength%8 != 0 {
		return Envelope{}, ErrSyntax
	}
	e := Envelope{SessionKey: session, Point: point.Bytes, Content: content.Bytes}
	return e, e.check()
}

// FromEnveloped re-encodes what a key centre sends in GM/T 0010 form. The
// content may have 32 or 64 bytes; nothing is decrypted. Blocks that were
// chained cannot be re-encoded: whoever reads CBC refuses before coming here.
func FromEnveloped(sessionKey, content, point []byte) (Envelope, error) {
	e := Envelope{SessionKey: sessionKey, Point: point, Content: content}
	if err := e.check(); err != nil {
		return Envelope{}, err
	}
	return e.Narrow(), nil
}

// Narrow is the same key with 32 encrypted octets, as SM2EnvelopedKey has it.
func (e Envelope) Narrow() Envelope {
	if len(e.Content) == fieldSize {
		e.Content = e.Content[fieldSize-scalarSize:]
	}
	return e
}

func (e Envelope) check() error {
	if len(e.Content) != scalarSize && len(e.Content) != fieldSize {
		return fmt.Errorf("%w: encrypted private key has %d bytes", ErrSyntax, len(e.Content))
	}
	if _, err := alg.PublicKey(e.Point); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return checkCipher(e.SessionKey)
}

// checkCipher wants SM2Cipher of a 16-byte key (GM/T 0009 §7.2).
func checkCipher(der []byte) error {
	s := cryptobyte.String(der)
	var seq, hash, text cryptobyte.String
	var x, y []byte
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1Integer(&x) || !seq.ReadASN1Integer(&y) ||
		!seq.ReadASN1(&hash, cbasn1.OCTET_STRING) || !seq.ReadASN1(&text, cbasn1.OCTET_STRING) || !seq.Empty() ||
		len(x) > scalarSize || len(y) > scalarSize || len(hash) != 32 || len(text) != sm4.BlockSize {
		return fmt.Errorf("%w: session key is not an SM2 cipher of 16 bytes", ErrSyntax)
	}
	return nil
}

// Open decrypts the private key with its owner's signing key and checks that
// it belongs to the point.
func (e Envelope) Open(key *sm2.PrivateKey) (*sm2.PrivateKey, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	session, err := key.Decrypt(rand.Reader, e.SessionKey, nil)
	if err != nil || len(session) != sm4.BlockSize {
		return nil, fmt.Errorf("%w: session key", ErrOpen)
	}
	defer clear(session)
	secret, err := e.scalar(session)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	pair, err := sm2.NewPrivateKey(secret)
	if err != nil || !bytes.Equal(alg.Point(&pair.PublicKey), e.Point) {
		return nil, fmt.Errorf("%w: private and public key are not a pair", ErrOpen)
	}
	return pair, nil
}

var zeros [scalarSize]byte

// scalar decrypts the private key. A 64-byte field has zeros on the left, in
// the plain text with some peers and in the cipher text with others.
func (e Envelope) scalar(session []byte) ([]byte, error) {
	block, err := sm4.NewCipher(session)
	if err != nil {
		return nil, err
	}
	text := e.Content
	if len(text) == fieldSize && bytes.Equal(text[:scalarSize], zeros[:]) {
		text = text[scalarSize:]
	}
	plain := make([]byte, len(text))
	for i := 0; i < len(text); i += sm4.BlockSize {
		block.Decrypt(plain[i:], text[i:i+sm4.BlockSize])
	}
	if len(plain) == fieldSize && !bytes.Equal(plain[:scalarSize], zeros[:]) {
		clear(plain)
		return nil, fmt.Errorf("%w: content is not right-aligned", ErrOpen)
	}
	return plain[len(plain)-scalarSize:], nil
}
