package ocsp

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // byKey is SHA-1 by RFC 6960 §4.2.1
	"encoding/asn1"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Draft is an answer to be.
type Draft struct {
	Responder  []byte // DER name, byte for byte the subject of the responder's certificate
	ProducedAt time.Time
	Singles    []Single
	Nonce      []byte // value of the request's extension; nil leaves it out
	Extended   bool   // never-issued certificates are said to be revoked (RFC 6960 §4.4.8)
}

// TBS encodes the ResponseData. The responder is named byName: GmSSL reads
// byKey in a form of its own.
func (d Draft) TBS() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 256+192*len(d.Singles)))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(1), func(b *cryptobyte.Builder) { b.AddBytes(d.Responder) })
		b.AddASN1GeneralizedTime(d.ProducedAt.UTC())
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for i := range d.Singles {
				d.Singles[i].add(b)
			}
		})
		extended := cert.Extension{ID: oidExtended}
		if d.Extended {
			extended.Value = []byte{5, 0} // NULL
		}
		addExtensions(b, 1, cert.Extension{ID: oidNonce, Value: d.Nonce}, extended)
	})
	return b.BytesOrPanic()
}

func (s *Single) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(s.ID)
		switch s.State {
		case Good:
			b.AddBytes([]byte{0x80, 0})
		case Revoked:
			b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
				b.AddASN1GeneralizedTime(s.RevokedAt.UTC())
				if s.Reason != 0 {
					b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(s.Reason)) })
				}
			})
		default:
			b.AddBytes([]byte{0x82, 0})
		}
		b.AddASN1GeneralizedTime(s.ThisUpdate.UTC())
		if !s.NextUpdate.IsZero() {
			b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(s.NextUpdate.UTC()) })
		}
		if !s.Cutoff.IsZero() {
			var v cryptobyte.Builder
			v.AddASN1GeneralizedTime(s.Cutoff.UTC())
			addExtensions(b, 1, cert.Extension{ID: oidCutoff, Value: v.BytesOrPanic()})
		}
	})
}

// Seal signs exactly the bytes given and returns the whole answer, the
// responder's certificate with it.
func Seal(tbs, responder []byte, key crypto.Signer) ([]byte, error) {
	sig, err := alg.Sign(key, tbs)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(responder)+len(sig)+128))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(int64(Successful))
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidBasic)
				b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(tbs)
						alg.AddID(b, alg.SM2WithSM3)
						b.AddASN1BitString(sig)
						b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
							b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(responder) })
						})
					})
				})
			})
		})
	})
	return b.Bytes()
}

// Failure is an answer that is only a code.
func Failure(code Code) []byte { return []byte{0x30, 3, 0x0A, 1, byte(code)} }

// Response is an answer as it was read. Of the rest, only Code is set when it
// is not Successful.
type Response struct {
	Code       Code
	RawTBS     []byte
	Responder  []byte // DER name, when named so
	KeyHash    []byte // SHA-1 of the responder's point, when named so
	ProducedAt time.Time
	Singles    []Single
	Nonce      []byte // value of the extension
	Extended   bool   // never-issued certificates are said to be revoked
	Signature  []byte
	Certs      [][]byte
}

// Parse reads an answer.
func Parse(der []byte) (*Response, error) {
	bad := func(what string) (*Response, error) { return nil, fmt.Errorf("%w: %s", ErrSyntax, what) }
	if len(der) > ResponseMax {
		return bad(fmt.Sprintf("larger than %d octets", ResponseMax))
	}
	s := cryptobyte.String(der)
	var outer, part, typed, octets cryptobyte.String
	var kind asn1.ObjectIdentifier
	r := &Response{}
	if !s.ReadASN1(&outer, cbasn1.SEQUENCE) || !s.Empty() || !outer.ReadASN1Enum((*int)(&r.Code)) {
		return bad("status")
	}
	if outer.Empty() {
		if r.Code == Successful {
			return bad("successful, but empty")
		}
		return r, nil
	}
	if r.Code != Successful || !outer.ReadASN1(&part, explicit(0)) || !outer.Empty() ||
		!part.ReadASN1(&typed, cbasn1.SEQUENCE) || !part.Empty() || !typed.ReadASN1ObjectIdentifier(&kind) ||
		!typed.ReadASN1(&octets, cbasn1.OCTET_STRING) || !typed.Empty() {
		return bad("response bytes")
	}
	if !kind.Equal(oidBasic) {
		return bad(fmt.Sprintf("type %v is not basic", kind))
	}
	if what := r.readBasic(octets); what != "" {
		return bad(what)
	}
	return r, nil
}

func (r *Response) readBasic(octets cryptobyte.String) (what string) {
	var body, element, part, list cryptobyte.String
	var bits asn1.BitString
	var present bool
	if !octets.ReadASN1(&body, cbasn1.SEQUENCE) || !octets.Empty() || !body.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return "basic response"
	}
	r.RawTBS = element
	oid, ok := alg.ReadID(&body)
	if !ok || !oid.Equal(alg.SM2WithSM3) || !body.ReadASN1BitString(&bits) || bits.BitLength%8 != 0 ||
		!body.ReadOptionalASN1(&part, &present, explicit(0)) || !body.Empty() {
		return fmt.Sprintf("signature, algorithm %v", oid)
	}
	r.Signature = bits.Bytes
	if present {
		if !part.ReadASN1(&list, cbasn1.SEQUENCE) || !part.Empty() {
			return "certificates"
		}
		if r.Certs, ok = readCerts(list); !ok {
			return "certificates"
		}
	}
	return r.readTBS(element)
}

func (r *Response) readTBS(element cryptobyte.String) (what string) {
	var tbs, part, list cryptobyte.String
	var present bool
	if !element.ReadASN1(&tbs, cbasn1.SEQUENCE) || !tbs.ReadOptionalASN1(&part, &present, explicit(0)) {
		return "version"
	}
	if version := 0; present && (!part.ReadASN1Integer(&version) || version != 0) {
		return "version is not v1"
	}
	if !r.readResponder(&tbs) {
		return "responder"
	}
	if !tbs.ReadASN1GeneralizedTime(&r.ProducedAt) || !tbs.ReadASN1(&list, cbasn1.SEQUENCE) {
		return "time or list of answers"
	}
	for !list.Empty() {
		one, ok := readSingle(&list)
		if !ok || len(r.Singles) == RequestsMax {
			return "answer about a certificate"
		}
		r.Singles = append(r.Singles, one)
	}
	if !tbs.ReadOptionalASN1(&part, &present, explicit(1)) || !tbs.Empty() {
		return "after the list of answers"
	}
	if !present {
		return ""
	}
	return readExtensions(part, func(id asn1.ObjectIdentifier, critical bool, value []byte) string {
		if id.Equal(oidNonce) {
			r.Nonce = value
			return checkNonce(value)
		}
		if id.Equal(oidExtended) {
			if r.Extended = bytes.Equal(value, []byte{5, 0}); !r.Extended {
				return "extended revoked"
			}
			return ""
		}
		return refuseCritical(id, critical, value)
	})
}

// readResponder also takes byKey as GmSSL writes it: IMPLICIT, where the RFC's
// module is EXPLICIT.
func (r *Response) readResponder(tbs *cryptobyte.String) bool {
	var part, name, key cryptobyte.String
	switch {
	case tbs.PeekASN1Tag(explicit(1)):
		if !tbs.ReadASN1(&part, explicit(1)) || !part.ReadASN1Element(&name, cbasn1.SEQUENCE) || !part.Empty() {
			return false
		}
		r.Responder = name
		return true
	case tbs.PeekASN1Tag(explicit(2)):
		if !tbs.ReadASN1(&part, explicit(2)) || !part.ReadASN1(&key, cbasn1.OCTET_STRING) || !part.Empty() {
			return false
		}
	case !tbs.ReadASN1(&key, implicit(2)):
		return false
	}
	r.KeyHash = key
	return len(key) == sha1.Size
}

func readSingle(list *cryptobyte.String) (a Single, ok bool) {
	var one, part cryptobyte.String
	var tag cbasn1.Tag
	var present bool
	if !list.ReadASN1(&one, cbasn1.SEQUENCE) {
		return a, false
	}
	id, why := readCertID(&one)
	if why != "" || !one.ReadAnyASN1(&part, &tag) {
		return a, false
	}
	a.ID = id.Raw
	switch tag {
	case implicit(0):
		ok = part.Empty()
	case explicit(1):
		a.State = Revoked
		ok = readRevoked(part, &a)
	case implicit(2):
		a.State = Unknown
		ok = part.Empty()
	}
	if !ok || !one.ReadASN1GeneralizedTime(&a.ThisUpdate) || !one.ReadOptionalASN1(&part, &present, explicit(0)) {
		return a, false
	}
	if present && (!part.ReadASN1GeneralizedTime(&a.NextUpdate) || !part.Empty()) {
		return a, false
	}
	if !one.ReadOptionalASN1(&part, &present, explicit(1)) || !one.Empty() {
		return a, false
	}
	return a, !present || readExtensions(part, func(id asn1.ObjectIdentifier, critical bool, value []byte) string {
		if v := cryptobyte.String(value); id.Equal(oidCutoff) {
			if !v.ReadASN1GeneralizedTime(&a.Cutoff) || !v.Empty() {
				return "archive cutoff"
			}
			return ""
		}
		return refuseCritical(id, critical, value)
	}) == ""
}

func readRevoked(info cryptobyte.String, a *Single) bool {
	var part cryptobyte.String
	var present bool
	if !info.ReadASN1GeneralizedTime(&a.RevokedAt) || !info.ReadOptionalASN1(&part, &present, explicit(0)) || !info.Empty() {
		return false
	}
	return !present || part.ReadASN1Enum(&a.Reason) && part.Empty()
}

// Verify checks that issuer itself, or one to whom it gave a certificate for
// the purpose, signed the answer, and that the certificate was valid then.
func (r *Response) Verify(issuer *cert.Certificate, at time.Time) error {
	if r.Code != Successful {
		return fmt.Errorf("%w: it says %v", ErrResponder, r.Code)
	}
	if r.names(issuer) && alg.Verify(issuer.PublicKey(), r.RawTBS, r.Signature) == nil {
		return nil
	}
	for _, der := range r.Certs {
		c, err := cert.Parse(der)
		if err != nil || !r.names(c) || alg.Verify(c.PublicKey(), r.RawTBS, r.Signature) != nil {
			continue
		}
		if err := c.SignedBy(issuer); err != nil {
			return fmt.Errorf("%w: certificate of the responder: %w", ErrResponder, err)
		}
		if !Delegated(c) {
			return fmt.Errorf("%w: its certificate is not for signing OCSP", ErrResponder)
		}
		if at.Before(c.NotBefore) || at.After(c.NotAfter) {
			return fmt.Errorf("%w: its certificate is not valid at %s", ErrResponder, at.UTC().Format(time.RFC3339))
		}
		return nil
	}
	return ErrResponder
}

func (r *Response) names(c *cert.Certificate) bool {
	if r.Responder != nil {
		return bytes.Equal(r.Responder, c.Subject)
	}
	return bytes.Equal(r.KeyHash, cert.KeyID(c.Point))
}

// Delegated reports whether a certificate is for signing answers (RFC 6960 §4.2.2.2).
func Delegated(c *cert.Certificate) bool {
	e, ok := c.Extension(cert.ExtKeyUsageID)
	s := cryptobyte.String(e.Value)
	var seq cryptobyte.String
	if !ok || !s.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return false
	}
	for !seq.Empty() {
		var purpose asn1.ObjectIdentifier
		if !seq.ReadASN1ObjectIdentifier(&purpose) {
			return false
		}
		if purpose.Equal(cert.UsageOCSPSigning) {
			return true
		}
	}
	return false
}
