// Package cms writes and reads signed and enveloped data. (数字信封)
//
// GM/T 0010 (GB/T 35275) with its own object identifiers, never those of
// PKCS#7. The parts come from a cryptographic device: neither the session key
// nor the content is ever seen here, except by Open at the receiving end. The
// signature is over the plain content, so only the receiver can check it.
package cms

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Object identifiers of GM/T 0010 §6.
var (
	Data            = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 1}
	Enveloped       = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 3}
	SignedEnveloped = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 4}
)

// Bounds of what is read. A structure carries one private key of 64 bytes and
// at most a short certificate chain.
const (
	SizeMax    = 256 << 10
	contentMax = 4 << 10
	certsMax   = 8
)

// Errors of this package.
var (
	ErrSyntax  = errors.New("not signed and enveloped data")
	ErrOpen    = errors.New("envelope does not open with this key")
	ErrChained = errors.New("the content is encrypted in CBC mode, which cannot be re-encoded without opening it")
)

// Ref names a certificate by issuer and serial number.
type Ref struct {
	Issuer []byte // DER name; nil stands for the empty name
	Serial []byte // big endian
}

// Envelope is one content for one recipient, signed by one signer.
type Envelope struct {
	Recipient  Ref
	SessionKey []byte                // DER SM2Cipher
	Cipher     asn1.ObjectIdentifier // SM4 when nil, which means ECB without padding here
	Content    []byte                // encrypted
	Signer     Ref
	Cert       []byte // the signer's certificate; nil if not carried
	Signature  []byte // DER SM2 signature over the plain content
}

var emptyName = []byte{0x30, 0}

func context(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }

// Bytes is the DER of the bare SignedAndEnvelopedData.
func (e Envelope) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512+len(e.Content)+len(e.Cert)))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SET, e.addRecipient)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { alg.AddID(b, alg.SM3) })
		b.AddASN1(cbasn1.SEQUENCE, e.addContent)
		if e.Cert != nil {
			b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(e.Cert) })
		}
		b.AddASN1(cbasn1.SET, e.addSigner)
	})
	return b.BytesOrPanic()
}

func (e Envelope) addContent(b *cryptobyte.Builder) {
	b.AddASN1ObjectIdentifier(Data)
	if e.Cipher == nil {
		alg.AddID(b, alg.SM4)
	} else {
		alg.AddID(b, e.Cipher)
	}
	b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddBytes(e.Content) })
}

// Unsigned is EnvelopedData in a ContentInfo: the same ciphertext without the
// signature, for readers that know no signed form. The way back does not
// exist: the signature is over what only the recipient can read.
func (e Envelope) Unsigned() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512+len(e.Content)))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(Enveloped)
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(cbasn1.SET, e.addRecipient)
				b.AddASN1(cbasn1.SEQUENCE, e.addContent)
			})
		})
	})
	return b.BytesOrPanic()
}

func (e Envelope) addRecipient(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		e.Recipient.add(b)
		alg.AddID(b, alg.SM2Encrypt)
		b.AddASN1OctetString(e.SessionKey)
	})
}

func (e Envelope) addSigner(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		e.Signer.add(b)
		alg.AddID(b, alg.SM3)
		alg.AddID(b, alg.SM2Sign)
		b.AddASN1OctetString(e.Signature)
	})
}

func (r Ref) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if r.Issuer == nil {
			b.AddBytes(emptyName)
		} else {
			b.AddBytes(r.Issuer)
		}
		b.AddASN1BigInt(new(big.Int).SetBytes(r.Serial))
	})
}

// Wrap puts bare SignedAndEnvelopedData into a ContentInfo, for readers that
// know no other form.
func Wrap(bare []byte) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(bare)+32))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(SignedEnveloped)
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(bare) })
	})
	return b.BytesOrPanic()
}

// Parse reads SignedAndEnvelopedData, bare or in a ContentInfo: the first
// begins with a version, the second with an object identifier.
func Parse(der []byte) (Envelope, error) {
	if len(der) > SizeMax {
		return Envelope{}, fmt.Errorf("%w: larger than %d bytes", ErrSyntax, SizeMax)
	}
	s := cryptobyte.String(der)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() {
		return Envelope{}, ErrSyntax
	}
	if seq.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER) {
		var oid asn1.ObjectIdentifier
		var content, inner cryptobyte.String
		if !seq.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(SignedEnveloped) {
			return Envelope{}, fmt.Errorf("%w: content type %v", ErrSyntax, oid)
		}
		if !seq.ReadASN1(&content, context(0).Constructed()) || !seq.Empty() ||
			!content.ReadASN1(&inner, cbasn1.SEQUENCE) || !content.Empty() {
			return Envelope{}, ErrSyntax
		}
		seq = inner
	}
	return parse(seq)
}

func parse(s cryptobyte.String) (e Envelope, err error) {
	var version int
	var recipients, digests, content, signers cryptobyte.String
	if !s.ReadASN1Integer(&version) || version != 1 || !s.ReadASN1(&recipients, cbasn1.SET) ||
		!s.ReadASN1(&digests, cbasn1.SET) || !s.ReadASN1(&content, cbasn1.SEQUENCE) {
		return e, ErrSyntax
	}
	if err := e.readRecipient(recipients); err != nil {
		return e, err
	}
	if oid, ok := alg.ReadID(&digests); !ok || !oid.Equal(alg.SM3) || !digests.Empty() {
		return e, fmt.Errorf("%w: digest algorithm %v", ErrSyntax, oid)
	}
	if err := e.readContent(content); err != nil {
		return e, err
	}
	if err := e.readCerts(&s); err != nil {
		return e, err
	}
	if !s.ReadASN1(&signers, cbasn1.SET) || !s.Empty() {
		return e, fmt.Errorf("%w: signers", ErrSyntax)
	}
	return e, e.readSigner(signers)
}

// read takes an issuer left out for the empty name: gmcert writes the two
// octets 00 00 in its place.
func (r *Ref) read(s *cryptobyte.String) bool {
	var seq, issuer cryptobyte.String
	var tag cbasn1.Tag
	ok := s.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadAnyASN1Element(&issuer, &tag) &&
		(tag == cbasn1.SEQUENCE || len(issuer) == 2 && tag == 0) &&
		seq.ReadASN1Integer(&r.Serial) && seq.Empty() && len(r.Serial) <= 20
	if tag == cbasn1.SEQUENCE {
		r.Issuer = issuer
	}
	return ok
}

func (e *Envelope) readRecipient(set cryptobyte.String) error {
	var one, key cryptobyte.String
	var version int
	if !set.ReadASN1(&one, cbasn1.SEQUENCE) || !set.Empty() || !one.ReadASN1Integer(&version) || !e.Recipient.read(&one) {
		return fmt.Errorf("%w: want one recipient by issuer and serial", ErrSyntax)
	}
	oid, ok := alg.ReadID(&one)
	if !ok || !oid.Equal(alg.SM2Encrypt) && !oid.Equal(alg.SM2) && !oid.Equal(alg.SM2Exchange) {
		return fmt.Errorf("%w: key encryption algorithm %v", ErrSyntax, oid)
	}
	if !one.ReadASN1(&key, cbasn1.OCTET_STRING) || !one.Empty() {
		return fmt.Errorf("%w: encrypted key", ErrSyntax)
	}
	e.SessionKey = key
	var cipher cryptobyte.String
	if !key.ReadASN1(&cipher, cbasn1.SEQUENCE) || !key.Empty() {
		return fmt.Errorf("%w: encrypted key is not an SM2 cipher", ErrSyntax)
	}
	return nil
}

func (e *Envelope) readContent(s cryptobyte.String) error {
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(Data) {
		return fmt.Errorf("%w: content is %v, not data", ErrSyntax, oid)
	}
	cipher, chained, ok := readCipher(&s)
	if chained {
		return fmt.Errorf("%w: %w", ErrSyntax, ErrChained)
	}
	if !ok || !cipher.Equal(alg.SM4) && !cipher.Equal(alg.SM4ECB) {
		return fmt.Errorf("%w: content cipher %v", ErrSyntax, cipher)
	}
	e.Cipher = cipher
	var text cryptobyte.String
	if !s.ReadASN1(&text, context(0)) || len(text) == 0 || len(text) > contentMax || len(text)%sm4.BlockSize != 0 {
		return fmt.Errorf("%w: encrypted content", ErrSyntax)
	}
	e.Content = text
	for n := uint8(1); n <= 2; n++ { // shared information, primitive or constructed: of no use here
		if !s.SkipOptionalASN1(context(n)) || !s.SkipOptionalASN1(context(n).Constructed()) {
			return ErrSyntax
		}
	}
	if !s.Empty() {
		return ErrSyntax
	}
	return nil
}

// readCipher reads the content's cipher. SM4 by itself is ECB here; with an
// initial vector beside it, it is CBC.
func readCipher(s *cryptobyte.String) (cipher asn1.ObjectIdentifier, chained, ok bool) {
	var seq cryptobyte.String
	ok = s.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadASN1ObjectIdentifier(&cipher)
	return cipher, ok && (cipher.Equal(alg.SM4CBC) || cipher.Equal(alg.SM4) && seq.PeekASN1Tag(cbasn1.OCTET_STRING)), ok
}

// ParseUnsigned reads EnvelopedData in a ContentInfo. Its Envelope has no
// signer: it can be re-encoded, and nobody answers for it.
func ParseUnsigned(der []byte) (Envelope, error) {
	s := cryptobyte.String(der)
	var info, outer, body, recipients, content cryptobyte.String
	var oid asn1.ObjectIdentifier
	var version int
	if len(der) > SizeMax || !s.ReadASN1(&info, cbasn1.SEQUENCE) || !s.Empty() || !info.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(Enveloped) {
		return Envelope{}, fmt.Errorf("%w: not enveloped data", ErrSyntax)
	}
	if !info.ReadASN1(&outer, context(0).Constructed()) || !info.Empty() || !outer.ReadASN1(&body, cbasn1.SEQUENCE) || !outer.Empty() ||
		!body.ReadASN1Integer(&version) || version != 1 || !body.ReadASN1(&recipients, cbasn1.SET) || !body.ReadASN1(&content, cbasn1.SEQUENCE) || !body.Empty() {
		return Envelope{}, ErrSyntax
	}
	var e Envelope
	if err := e.readRecipient(recipients); err != nil {
		return e, err
	}
	return e, e.readContent(content)
}

// readCerts keeps the first certificate, the signer's by custom.
func (e *Envelope) readCerts(s *cryptobyte.String) error {
	var certs cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&certs, &present, context(0).Constructed()) || !s.SkipOptionalASN1(context(1).Constructed()) {
		return fmt.Errorf("%w: certificates", ErrSyntax)
	}
	for n := 0; !certs.Empty(); n++ {
		var one cryptobyte.String
		if !certs.ReadASN1Element(&one, cbasn1.SEQUENCE) || n == certsMax {
			return fmt.Errorf("%w: certificates", ErrSyntax)
		}
		if n == 0 {
			e.Cert = one
		}
	}
	return nil
}

func (e *Envelope) readSigner(set cryptobyte.String) error {
	var one, sig cryptobyte.String
	var version int
	if !set.ReadASN1(&one, cbasn1.SEQUENCE) || !set.Empty() || !one.ReadASN1Integer(&version) || !e.Signer.read(&one) {
		return fmt.Errorf("%w: want one signer by issuer and serial", ErrSyntax)
	}
	if oid, ok := alg.ReadID(&one); !ok || !oid.Equal(alg.SM3) {
		return fmt.Errorf("%w: signer's digest algorithm %v", ErrSyntax, oid)
	}
	// With attributes the signature would be over them, not over the content.
	if one.PeekASN1Tag(context(0).Constructed()) {
		return fmt.Errorf("%w: signed attributes", ErrSyntax)
	}
	oid, ok := alg.ReadID(&one)
	if !ok || !oid.Equal(alg.SM2Sign) && !oid.Equal(alg.SM2) && !oid.Equal(alg.SM2WithSM3) {
		return fmt.Errorf("%w: signature algorithm %v", ErrSyntax, oid)
	}
	if !one.ReadASN1(&sig, cbasn1.OCTET_STRING) || !one.SkipOptionalASN1(context(1).Constructed()) || !one.Empty() {
		return fmt.Errorf("%w: signature", ErrSyntax)
	}
	e.Signature = signature(sig)
	return nil
}

// signature turns r ‖ s, which the text of GM/T 0010 speaks of, into the DER
// that everybody writes.
func signature(raw []byte) []byte {
	s := cryptobyte.String(raw)
	var seq cryptobyte.String
	if len(raw) != 64 || s.ReadASN1(&seq, cbasn1.SEQUENCE) && s.Empty() {
		return raw
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[32:]))
	})
	return b.BytesOrPanic()
}

// Open decrypts the content with the recipient's key and verifies the signer's
// signature over it. The certificate inside proves nothing by itself: the
// caller brings the key it trusts.
func (e Envelope) Open(key *sm2.PrivateKey, signer *ecdsa.PublicKey) ([]byte, error) {
	session, err := key.Decrypt(rand.Reader, e.SessionKey, nil)
	if err != nil || len(session) != sm4.BlockSize || len(e.Content)%sm4.BlockSize != 0 {
		return nil, ErrOpen
	}
	defer clear(session)
	block, err := sm4.NewCipher(session)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(e.Content))
	for i := 0; i < len(plain); i += sm4.BlockSize {
		block.Decrypt(plain[i:], e.Content[i:i+sm4.BlockSize])
	}
	if err := alg.Verify(signer, plain, e.Signature); err != nil {
		clear(plain)
		return nil, err
	}
	return plain, nil
}

// RefOf names a certificate.
func RefOf(c *cert.Certificate) Ref { return Ref{Issuer: c.Issuer, Serial: c.Serial.Bytes()} }
