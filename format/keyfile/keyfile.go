// Package keyfile reads and writes private keys as files. (私钥文件)
//
// PKCS#8, encrypted with PBES2 (HMAC-SHA256, SM4-CBC), which OpenSSL, Tongsuo
// and gmsm read. Files of other tools are read in the forms they write.
package keyfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // PBKDF2 default of old files
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/pbkdf2"

	"github.com/hufu-pki/hufu/format/alg"
)

// Errors of this package.
var (
	ErrSyntax     = errors.New("not a private key file")
	ErrPassphrase = errors.New("wrong passphrase, or the key file is damaged")
	ErrCurve      = errors.New("not an SM2 private key")
)

// Bounds: on files read from outside, and on the work a file may ask for.
const (
	SizeMax       = 64 << 10
	Iterations    = 100_000
	iterationsMax = 10_000_000
)

var (
	pbes2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	pbkdf      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	hmacSHA1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	hmacSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	hmacSM3    = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401, 2}
	hmacSM3Old = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401, 3, 1} // Tongsuo and OpenSSL
	aes128     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	aes192     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	aes256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// Info is the PrivateKeyInfo of a key, in the clear.
func Info(key *sm2.PrivateKey) []byte {
	var ec cryptobyte.Builder
	ec.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1OctetString(key.D.FillBytes(make([]byte, 32)))
		b.AddASN1(cbasn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1BitString(alg.Point(&key.PublicKey)) })
	})
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(alg.ECPublicKey)
			b.AddASN1ObjectIdentifier(alg.SM2)
		})
		b.AddASN1OctetString(ec.BytesOrPanic())
	})
	return b.BytesOrPanic()
}

// Plain writes a key in the clear, as PEM.
func Plain(key *sm2.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: Info(key)})
}

// Encrypt writes a key under a passphrase, as PEM.
func Encrypt(key *sm2.PrivateKey, pass []byte) ([]byte, error) {
	der, err := Seal(Info(key), pass, false)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
}

// Seal encrypts data with PBES2 into EncryptedPrivateKeyInfo; withAES uses
// AES-256-CBC for readers that lack SM4.
func Seal(data, pass []byte, withAES bool) ([]byte, error) {
	id, text, err := Cipher(data, pass, withAES)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(id)
		b.AddASN1OctetString(text)
	})
	return b.Bytes()
}

// Cipher encrypts data with PBES2 and returns its AlgorithmIdentifier.
func Cipher(data, pass []byte, withAES bool) (id, text []byte, err error) {
	oid, size, make_ := alg.SM4CBC, 16, sm4.NewCipher
	if withAES {
		oid, size, make_ = aes256, 32, aes.NewCipher
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // crypto/rand never fails
	salt, iv := random[:16], random[16:]
	block, err := make_(pbkdf2.Key(pass, salt, Iterations, size, sha256.New))
	if err != nil {
		return nil, nil, err
	}
	pad := 16 - len(data)%16
	text = append(append(make([]byte, 0, len(data)+pad), data...), make([]byte, pad)...)
	for i := range pad {
		text[len(data)+i] = byte(pad)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(pbes2)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(pbkdf)
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1OctetString(salt)
					b.AddASN1Int64(Iterations)
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(hmacSHA256)
						b.AddASN1NULL()
					})
				})
			})
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oid)
				b.AddASN1OctetString(iv)
			})
		})
	})
	id, err = b.Bytes()
	return id, text, err
}

// Read reads a key, PEM or DER, encrypted or not.
func Read(data, pass []byte) (*sm2.PrivateKey, error) {
	if len(data) > SizeMax {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrSyntax, SizeMax)
	}
	kind := ""
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "EC PARAMETERS" && block.Type != "SM2 PARAMETERS" {
			kind, data = block.Type, block.Bytes
			break
		}
	}
	switch kind {
	case "EC PRIVATE KEY":
		return readEC(data)
	case "PRIVATE KEY":
		return readInfo(data)
	case "", "ENCRYPTED PRIVATE KEY":
		if plain, err := Open(data, pass); err == nil {
			return readInfo(plain)
		} else if kind != "" || errors.Is(err, ErrPassphrase) {
			return nil, err
		}
		return readInfo(data)
	}
	return nil, fmt.Errorf("%w: PEM block %q", ErrSyntax, kind)
}

// Open decrypts an EncryptedPrivateKeyInfo.
func Open(der, pass []byte) ([]byte, error) {
	s := cryptobyte.String(der)
	var outer, id, text cryptobyte.String
	if !s.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1Element(&id, cbasn1.SEQUENCE) || !outer.ReadASN1(&text, cbasn1.OCTET_STRING) || !outer.Empty() {
		return nil, ErrSyntax
	}
	return Decipher(id, text, pass)
}

// Decipher undoes Cipher, and what other tools write.
func Decipher(id, text, pass []byte) ([]byte, error) {
	s := cryptobyte.String(id)
	var outer, params, kdf, kp, enc, salt, iv cryptobyte.String
	var oid, kdfID, encID asn1.ObjectIdentifier
	var rounds int
	ok := s.ReadASN1(&outer, cbasn1.SEQUENCE) && outer.ReadASN1ObjectIdentifier(&oid) && oid.Equal(pbes2) && outer.ReadASN1(&params, cbasn1.SEQUENCE) &&
		params.ReadASN1(&kdf, cbasn1.SEQUENCE) && kdf.ReadASN1ObjectIdentifier(&kdfID) && kdfID.Equal(pbkdf) && kdf.ReadASN1(&kp, cbasn1.SEQUENCE) &&
		kp.ReadASN1(&salt, cbasn1.OCTET_STRING) && kp.ReadASN1Integer(&rounds) &&
		params.ReadASN1(&enc, cbasn1.SEQUENCE) && enc.ReadASN1ObjectIdentifier(&encID) && enc.ReadASN1(&iv, cbasn1.OCTET_STRING)
	if !ok {
		return nil, fmt.Errorf("%w: not PBES2", ErrSyntax)
	}
	if rounds < 1 || rounds > iterationsMax || len(iv) != 16 || len(text) == 0 || len(text)%16 != 0 {
		return nil, fmt.Errorf("%w: parameters", ErrSyntax)
	}
	if kp.PeekASN1Tag(cbasn1.INTEGER) && !kp.SkipASN1(cbasn1.INTEGER) {
		return nil, ErrSyntax
	}
	prf, err := prfOf(&kp)
	if err != nil {
		return nil, err
	}
	block, err := blockOf(encID, func(size int) []byte { return pbkdf2.Key(pass, salt, rounds, size, prf) })
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(text))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, text)
	pad := int(out[len(out)-1])
	if pad < 1 || pad > 16 {
		return nil, ErrPassphrase
	}
	for _, b := range out[len(out)-pad:] {
		if int(b) != pad {
			return nil, ErrPassphrase
		}
	}
	if out = out[:len(out)-pad]; len(out) == 0 || out[0] != 0x30 {
		return nil, ErrPassphrase
	}
	return out, nil
}

func prfOf(kp *cryptobyte.String) (func() hash.Hash, error) {
	if kp.Empty() {
		return sha1.New, nil
	}
	oid, ok := alg.ReadID(kp)
	switch {
	case !ok:
		return nil, ErrSyntax
	case oid.Equal(hmacSHA1):
		return sha1.New, nil
	case oid.Equal(hmacSHA256):
		return sha256.New, nil
	case oid.Equal(hmacSM3), oid.Equal(hmacSM3Old):
		return sm3.New, nil
	}
	return nil, fmt.Errorf("%w: key derivation with %v", ErrSyntax, oid)
}

func blockOf(oid asn1.ObjectIdentifier, key func(size int) []byte) (cipher.Block, error) {
	switch {
	case oid.Equal(aes128):
		return aes.NewCipher(key(16))
	case oid.Equal(aes192):
		return aes.NewCipher(key(24))
	case oid.Equal(aes256):
		return aes.NewCipher(key(32))
	case oid.Equal(alg.SM4CBC):
		return sm4.NewCipher(key(16))
	}
	return nil, fmt.Errorf("%w: cipher %v", ErrSyntax, oid)
}

func readInfo(der []byte) (*sm2.PrivateKey, error) {
	s := cryptobyte.String(der)
	var info, id, secret cryptobyte.String
	var version int
	var oid, curve asn1.ObjectIdentifier
	if !s.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1Integer(&version) || !info.ReadASN1(&id, cbasn1.SEQUENCE) ||
		!id.ReadASN1ObjectIdentifier(&oid) || !info.ReadASN1(&secret, cbasn1.OCTET_STRING) {
		return nil, ErrSyntax
	}
	if !oid.Equal(alg.SM2) && (!oid.Equal(alg.ECPublicKey) || !id.ReadASN1ObjectIdentifier(&curve) || !curve.Equal(alg.SM2)) {
		return nil, fmt.Errorf("%w: %v %v", ErrCurve, oid, curve)
	}
	return readEC(secret)
}

// readEC reads ECPrivateKey; when it names a curve that must be SM2.
func readEC(der []byte) (*sm2.PrivateKey, error) {
	s := cryptobyte.String(der)
	var ec, d, params cryptobyte.String
	var version int
	var named bool
	if !s.ReadASN1(&ec, cbasn1.SEQUENCE) || !ec.ReadASN1Integer(&version) || !ec.ReadASN1(&d, cbasn1.OCTET_STRING) ||
		!ec.ReadOptionalASN1(&params, &named, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return nil, ErrSyntax
	}
	var curve asn1.ObjectIdentifier
	if named && (!params.ReadASN1ObjectIdentifier(&curve) || !curve.Equal(alg.SM2)) {
		return nil, fmt.Errorf("%w: %v", ErrCurve, curve)
	}
	if len(d) > 32 {
		return nil, ErrSyntax
	}
	secret := make([]byte, 32)
	copy(secret[32-len(d):], d)
	key, err := sm2.NewPrivateKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: scalar out of range", ErrCurve)
	}
	return key, nil
}
