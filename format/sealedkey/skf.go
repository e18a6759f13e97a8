package sealedkey

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrNarrow is returned when a token is to get 64 encrypted octets and only
// the last 32 are at hand: the rest cannot be made without the session key.
var ErrNarrow = errors.New("the 64-octet form is not at hand")

// What a token's blob has in its words (GM/T 0016 §6.4.10, GM/T 0006).
const (
	skfVersion = 1
	sgdSM4ECB  = 0x00000401
	keyBits    = 256
)

// SKFSize is the length of an ENVELOPEDKEYBLOB.
const SKFSize = 3*4 + fieldSize + 4 + 2*fieldSize + 2*fieldSize + 32 + 4 + sm4.BlockSize

// SKF is the ENVELOPEDKEYBLOB that SKF_ImportECCKeyPair takes (GM/T 0016
// §6.4.10): packed, little-endian, numbers on the right of 64 octets. Wide
// tells whether this model of token wants the whole field of the private key
// encrypted, or the 32 octets of the key only.
func (e Envelope) SKF(wide bool) ([]byte, error) {
	x, y, hash, text, err := e.cipher()
	if err != nil {
		return nil, err
	}
	key := e.Content
	switch {
	case wide && (len(key) != fieldSize || string(key[:scalarSize]) == string(zeros[:])):
		return nil, ErrNarrow
	case !wide:
		key = key[len(key)-scalarSize:]
	}
	b := make([]byte, 0, SKFSize)
	word := func(n uint32) { b = binary.LittleEndian.AppendUint32(b, n) }
	field := func(v []byte) { b = append(append(b, make([]byte, fieldSize-len(v))...), v...) }
	word(skfVersion)
	word(sgdSM4ECB)
	word(keyBits)
	field(key)
	word(keyBits)
	field(e.Point[1:33])
	field(e.Point[33:])
	field(x)
	field(y)
	b = append(b, hash...)
	word(uint32(len(text)))
	return append(b, text...), nil
}

// cipher takes SM2Cipher apart, coordinates padded to 32 octets.
func (e Envelope) cipher() (x, y, hash, text []byte, err error) {
	if err := e.check(); err != nil {
		return nil, nil, nil, nil, err
	}
	s := cryptobyte.String(e.SessionKey)
	var seq, h, t cryptobyte.String
	var nx, ny big.Int
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Integer(&nx) || !seq.ReadASN1Integer(&ny) || nx.Sign() < 0 || ny.Sign() < 0 ||
		!seq.ReadASN1(&h, cbasn1.OCTET_STRING) || !seq.ReadASN1(&t, cbasn1.OCTET_STRING) {
		return nil, nil, nil, nil, ErrSyntax
	}
	return nx.FillBytes(make([]byte, scalarSize)), ny.FillBytes(make([]byte, scalarSize)), h, t, nil
}

// ParseSKF reads an ENVELOPEDKEYBLOB of either kind of token; Content has 32
// octets or 64 as it was encrypted.
func ParseSKF(blob []byte) (Envelope, error) {
	if len(blob) != SKFSize {
		return Envelope{}, fmt.Errorf("%w: ENVELOPEDKEYBLOB of %d bytes, want %d", ErrSyntax, len(blob), SKFSize)
	}
	take := func(n int) []byte {
		head := blob[:n]
		blob = blob[n:]
		return head
	}
	ok := true
	word := func(want uint32) { ok = binary.LittleEndian.Uint32(take(4)) == want && ok }
	value := func() []byte {
		f := take(fieldSize)
		ok = ok && string(f[:scalarSize]) == string(zeros[:])
		return f[scalarSize:]
	}
	word(skfVersion)
	word(sgdSM4ECB)
	word(keyBits)
	key := take(fieldSize)
	if string(key[:scalarSize]) == string(zeros[:]) {
		key = key[scalarSize:]
	}
	word(keyBits)
	point := append(append([]byte{4}, value()...), value()...)
	x, y, hash := value(), value(), take(32)
	word(sm4.BlockSize)
	if !ok {
		return Envelope{}, fmt.Errorf("%w: ENVELOPEDKEYBLOB has other words or fields not right-aligned", ErrSyntax)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(x))
		b.AddASN1BigInt(new(big.Int).SetBytes(y))
		b.AddASN1OctetString(hash)
		b.AddASN1OctetString(blob)
	})
	e := Envelope{SessionKey: b.BytesOrPanic(), Point: point, Content: key}
	return e, e.check()
}
