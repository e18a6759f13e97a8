// Package ocsp writes and reads questions about certificates and the answers. (证书状态协议)
//
// RFC 6960 (GB/T 19713 is its forerunner) with SM2-with-SM3 signatures. The
// bytes of a CertID are kept as they were asked, so that an answer repeats
// them: with or without NULL after the hash, SHA-1, SHA-256 or SM3.
package ocsp

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // CertID names an issuer by it, RFC 6960 §4.1.1
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Bounds on what is read from outside.
const (
	RequestMax    = 64 << 10 // octets of a question
	RequestsMax   = 100      // certificates asked for in one question
	ResponseMax   = 1 << 20  // octets of an answer: 100 singles and a few certificates have 40 KB
	NonceMax      = 128      // RFC 9654 §2.1
	SerialMax     = 20       // RFC 5280 §4.1.2.2
	hashMax       = 64       // no hash in use is longer
	extensionsMax = 16
	certsMax      = 8
)

var (
	oidBasic      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidCutoff     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}
	oidExtended   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 9}
	oidAcceptable = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 4}
	oidPreferred  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 8}
)

// Errors of this package; each is wrapped with what was wrong.
var (
	ErrMalformed = errors.New("not an OCSP request")
	ErrRequestor = errors.New("signature of the OCSP request is not acceptable")
	ErrSyntax    = errors.New("not an OCSP response")
	ErrResponder = errors.New("OCSP response is not signed by the issuer or one it names")
)

// Code is the status of a whole answer (RFC 6960 §4.2.1).
type Code int

// Codes of answers.
const (
	Successful       Code = 0
	MalformedRequest Code = 1
	InternalError    Code = 2
	TryLater         Code = 3
	SigRequired      Code = 5
	Unauthorized     Code = 6
)

var codes = map[Code]string{
	Successful: "successful", MalformedRequest: "malformedRequest", InternalError: "internalError",
	TryLater: "tryLater", SigRequired: "sigRequired", Unauthorized: "unauthorized",
}

func (c Code) String() string {
	if name, ok := codes[c]; ok {
		return name
	}
	return fmt.Sprintf("code %d", int(c))
}

// State is the status of one certificate.
type State int

// States of a certificate.
const (
	Good State = iota
	Revoked
	Unknown
)

func (s State) String() string { return [...]string{"good", "revoked", "unknown"}[s] }

// Single is the answer about one certificate.
type Single struct {
	ID         []byte // DER CertID as it was asked
	State      State
	RevokedAt  time.Time
	Reason     int // CRLReason; 0 is left out
	ThisUpdate time.Time
	NextUpdate time.Time
	Cutoff     time.Time // how far back ended certificates are answered for (RFC 6960 §4.4.4); zero leaves it out
}

// NeverIssued is the answer about a serial that no certificate has, from a
// responder that says revoked of those; the whole answer is then marked
// Extended (RFC 6960 §2.2).
func NeverIssued(id []byte) Single {
	return Single{ID: id, State: Revoked, Reason: 6, RevokedAt: time.Unix(0, 0)}
}

// CertID names a certificate by its issuer and serial.
type CertID struct {
	Raw        []byte // the whole DER, to be repeated in the answer
	Hash       asn1.ObjectIdentifier
	IssuerName []byte // hash of the issuer's DER name
	IssuerKey  []byte // hash of the issuer's 65-byte point
	Serial     []byte // big endian, no leading zero; empty for 0
}

// Hashes are the algorithms a CertID may name its issuer with: ordinary
// clients ask with SHA-1 or SHA-256, GmSSL with SM3.
var Hashes = []asn1.ObjectIdentifier{alg.SHA1, alg.SHA256, alg.SM3}

// Digest hashes with one of Hashes; it is nil for any other.
func Digest(hash asn1.ObjectIdentifier, data []byte) []byte {
	switch {
	case hash.Equal(alg.SHA1):
		sum := sha1.Sum(data) //nolint:gosec // see above
		return sum[:]
	case hash.Equal(alg.SHA256):
		sum := sha256.Sum256(data)
		return sum[:]
	case hash.Equal(alg.SM3):
		return alg.Digest(data)
	}
	return nil
}

// Ask names a certificate of issuer by its serial, as a client does. OpenSSL
// writes NULL after the hash, GmSSL does not.
func Ask(hash asn1.ObjectIdentifier, null bool, issuer *cert.Certificate, serial []byte) CertID {
	id := CertID{Hash: hash, IssuerName: Digest(hash, issuer.Subject), IssuerKey: Digest(hash, issuer.Point)}
	id.Serial = bytes.TrimLeft(serial, "\x00")
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(hash)
			if null {
				b.AddASN1NULL()
			}
		})
		b.AddASN1OctetString(id.IssuerName)
		b.AddASN1OctetString(id.IssuerKey)
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) {
			if len(id.Serial) == 0 || id.Serial[0] >= 0x80 {
				b.AddUint8(0)
			}
			b.AddBytes(id.Serial)
		})
	})
	id.Raw = b.BytesOrPanic()
	return id
}

// readCertID reads one CertID; why tells what was wrong.
func readCertID(s *cryptobyte.String) (id CertID, why string) {
	var raw, seq, algorithm, name, key, serial cryptobyte.String
	if !s.ReadASN1Element(&raw, cbasn1.SEQUENCE) {
		return id, "CertID"
	}
	id.Raw = raw
	if !raw.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id.Hash) {
		return id, "CertID hash algorithm"
	}
	if !algorithm.Empty() && string(algorithm) != "\x05\x00" {
		return id, "CertID hash algorithm has parameters"
	}
	if !seq.ReadASN1(&name, cbasn1.OCTET_STRING) || !seq.ReadASN1(&key, cbasn1.OCTET_STRING) ||
		!seq.ReadASN1(&serial, cbasn1.INTEGER) || !seq.Empty() {
		return id, "CertID fields"
	}
	id.IssuerName, id.IssuerKey = name, key
	if want := hashSize(id.Hash); len(name) > hashMax || len(key) > hashMax || want > 0 && (len(name) != want || len(key) != want) {
		return id, "CertID hashes have the wrong length"
	}
	var ok bool
	if id.Serial, ok = magnitude(serial); !ok {
		return id, fmt.Sprintf("serial number is not a positive INTEGER of at most %d octets", SerialMax)
	}
	return id, ""
}

func hashSize(hash asn1.ObjectIdentifier) int {
	switch {
	case hash.Equal(alg.SHA1):
		return sha1.Size
	case hash.Equal(alg.SHA256), hash.Equal(alg.SM3):
		return sha256.Size // SM3 is as long
	}
	return 0
}

// magnitude checks the contents of a DER INTEGER and strips its sign octet.
func magnitude(raw []byte) ([]byte, bool) {
	switch {
	case len(raw) == 0 || raw[0] >= 0x80:
		return nil, false
	case len(raw) > 1 && raw[0] == 0 && raw[1] < 0x80:
		return nil, false // not the shortest form
	case raw[0] == 0:
		raw = raw[1:]
	}
	return raw, len(raw) <= SerialMax
}

// readExtensions walks Extensions. No extension may stand twice, and each is
// bounded by what holds it.
func readExtensions(s cryptobyte.String, each func(id asn1.ObjectIdentifier, critical bool, value []byte) string) (why string) {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() {
		return "extensions"
	}
	var seen []asn1.ObjectIdentifier
	for !seq.Empty() {
		var one, value cryptobyte.String
		var id asn1.ObjectIdentifier
		var critical bool
		if !seq.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) ||
			one.PeekASN1Tag(cbasn1.BOOLEAN) && !one.ReadASN1Boolean(&critical) ||
			!one.ReadASN1(&value, cbasn1.OCTET_STRING) || !one.Empty() {
			return "extension"
		}
		for _, other := range seen {
			if other.Equal(id) {
				return fmt.Sprintf("extension %v twice", id)
			}
		}
		if seen = append(seen, id); len(seen) > extensionsMax {
			return fmt.Sprintf("more than %d extensions", extensionsMax)
		}
		if why := each(id, critical, value); why != "" {
			return why
		}
	}
	return ""
}

// checkNonce bounds a nonce. RFC 2560, and GB/T 19713 after it, did not say that
// the value is an OCTET STRING, so that old clients put bare bytes there.
func checkNonce(value []byte) (why string) {
	s := cryptobyte.String(value)
	inner := cryptobyte.String(value)
	var octets cryptobyte.String
	if s.ReadASN1(&octets, cbasn1.OCTET_STRING) && s.Empty() {
		inner = octets
	}
	if len(inner) < 1 || len(inner) > NonceMax {
		return fmt.Sprintf("nonce of %d octets, RFC 9654 allows 1 to %d", len(inner), NonceMax)
	}
	return ""
}

func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

func implicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }
