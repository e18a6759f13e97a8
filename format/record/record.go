// Package record is what the CA says in public, as entries of its ledger. (公开记录)
//
// An entry is canonical DER: SEQUENCE { kind UTF8String, at INTEGER (Unix
// milliseconds), body [0] OCTET STRING | digest [1] OCTET STRING }. Bodies of
// the kinds below are DER too. Readers (status, directory, verifiers) get
// everything they answer from here.
package record

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SizeMax bounds one entry: bundles carry a 16-bit length (C2SP tlog-tiles).
const SizeMax = 65535

// ErrSyntax is returned for bytes that are not a canonical entry.
var ErrSyntax = errors.New("not a ledger entry")

// Kinds of entries.
const (
	KindAuthority   = "authority"   // a CA certificate of this institution
	KindCertificate = "certificate" // a certificate was issued
	KindStatus      = "status"      // its status changed
	KindCRL         = "crl"         // a revocation list was signed
	KindEscrow      = "escrow"      // a key was escrowed, recovered or retired: digest only
	KindRelease     = "release"     // a certificate comes into the directory before it was due
)

// Entry is one leaf. Exactly one of Body and Digest is set.
type Entry struct {
	Kind   string
	At     time.Time
	Body   []byte
	Digest []byte // SM3 of a body that stays private
}

// Bytes is the leaf.
func (e Entry) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(e.Body)+64))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		text(b, e.Kind)
		b.AddASN1Int64(e.At.UnixMilli())
		if e.Digest != nil {
			b.AddASN1(cbasn1.Tag(1).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(e.Digest) })
			return
		}
		b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(e.Body) })
	})
	return b.BytesOrPanic()
}

// Parse reads a leaf.
func Parse(leaf []byte) (Entry, error) {
	s := cryptobyte.String(leaf)
	var seq, kind, body cryptobyte.String
	var at int64
	var tag cbasn1.Tag
	if len(leaf) > SizeMax || !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1(&kind, cbasn1.UTF8String) ||
		!seq.ReadASN1Integer(&at) || !seq.ReadAnyASN1(&body, &tag) || !seq.Empty() {
		return Entry{}, ErrSyntax
	}
	e := Entry{Kind: string(kind), At: time.UnixMilli(at).UTC()}
	switch tag {
	case cbasn1.Tag(0).ContextSpecific():
		e.Body = body
	case cbasn1.Tag(1).ContextSpecific():
		e.Digest = body
	default:
		return Entry{}, fmt.Errorf("%w: tag %x", ErrSyntax, tag)
	}
	return e, nil
}

// Certificate says that a certificate was issued. Its DER lies beside the
// tiles under Digest; Public tells whether strangers may have it.
type Certificate struct {
	Issuer    []byte // SM3 of the issuing CA's certificate
	Serial    []byte
	Pair      []byte // serial of the other certificate of the pair; empty if single
	Use       string // "sign" or "enc"
	Profile   string
	NotBefore time.Time
	NotAfter  time.Time
	Shard     int       // of the CRL that lists it
	Digest    []byte    // SM3 of the DER certificate
	Public    bool      // publish: full
	Due       time.Time // when it comes into the directory; zero is at once
}

// Bytes is the body of a KindCertificate entry.
func (c Certificate) Bytes() []byte {
	return sequence(func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(c.Issuer)
		b.AddASN1OctetString(c.Serial)
		b.AddASN1OctetString(c.Pair)
		text(b, c.Use)
		text(b, c.Profile)
		b.AddASN1Int64(c.NotBefore.Unix())
		b.AddASN1Int64(c.NotAfter.Unix())
		b.AddASN1Int64(int64(c.Shard))
		b.AddASN1OctetString(c.Digest)
		b.AddASN1Boolean(c.Public)
		if !c.Due.IsZero() {
			b.AddASN1Int64(c.Due.Unix())
		}
	})
}

// ParseCertificate reads a body of KindCertificate.
func ParseCertificate(body []byte) (c Certificate, err error) {
	var from, to, due int64
	s, ok := open(body)
	ok = ok && octets(&s, &c.Issuer) && octets(&s, &c.Serial) && octets(&s, &c.Pair) && readText(&s, &c.Use) &&
		readText(&s, &c.Profile) && s.ReadASN1Integer(&from) && s.ReadASN1Integer(&to) && s.ReadASN1Integer(&c.Shard) &&
		octets(&s, &c.Digest) && s.ReadASN1Boolean(&c.Public)
	if ok && !s.Empty() { // at once is not written
		ok = s.ReadASN1Integer(&due) && due > 0 && s.Empty()
		c.Due = time.Unix(due, 0).UTC()
	}
	if !ok {
		return c, fmt.Errorf("%w: certificate", ErrSyntax)
	}
	c.NotBefore, c.NotAfter = time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()
	return c, nil
}

// Status says that a certificate's status changed.
type Status struct {
	Issuer  []byte // SM3 of the issuing CA's certificate
	Serial  []byte
	Revoked bool // false: released from hold
	Reason  int  // CRLReason, RFC 5280 §5.3.1
	At      time.Time
	Invalid time.Time // invalidity date; zero if not given
}

// Bytes is the body of a KindStatus entry.
func (c Status) Bytes() []byte {
	return sequence(func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(c.Issuer)
		b.AddASN1OctetString(c.Serial)
		b.AddASN1Boolean(c.Revoked)
		b.AddASN1Int64(int64(c.Reason))
		b.AddASN1Int64(c.At.Unix())
		if c.Invalid.IsZero() {
			b.AddASN1Int64(0)
		} else {
			b.AddASN1Int64(c.Invalid.Unix())
		}
	})
}

// ParseStatus reads a body of KindStatus.
func ParseStatus(body []byte) (c Status, err error) {
	var at, invalid int64
	s, ok := open(body)
	ok = ok && octets(&s, &c.Issuer) && octets(&s, &c.Serial) && s.ReadASN1Boolean(&c.Revoked) && s.ReadASN1Integer(&c.Reason) &&
		s.ReadASN1Integer(&at) && s.ReadASN1Integer(&invalid) && s.Empty()
	if !ok {
		return c, fmt.Errorf("%w: status", ErrSyntax)
	}
	c.At = time.Unix(at, 0).UTC()
	if invalid != 0 {
		c.Invalid = time.Unix(invalid, 0).UTC()
	}
	return c, nil
}

// Release says that a certificate comes into the directory now, although it was
// due later.
type Release struct {
	Issuer []byte // SM3 of the issuing CA's certificate
	Serial []byte
	At     time.Time
}

// Bytes is the body of a KindRelease entry.
func (c Release) Bytes() []byte {
	return sequence(func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(c.Issuer)
		b.AddASN1OctetString(c.Serial)
		b.AddASN1Int64(c.At.Unix())
	})
}

// ParseRelease reads a body of KindRelease.
func ParseRelease(body []byte) (c Release, err error) {
	var at int64
	s, ok := open(body)
	if ok = ok && octets(&s, &c.Issuer) && octets(&s, &c.Serial) && s.ReadASN1Integer(&at) && s.Empty(); !ok {
		return c, fmt.Errorf("%w: release", ErrSyntax)
	}
	c.At = time.Unix(at, 0).UTC()
	return c, nil
}

// CRL says that a revocation list was signed. The list lies under Digest.
type CRL struct {
	Issuer     []byte // SM3 of the CA's certificate
	Scope      string // "full", "arl", or "shard-3"
	Number     int64
	ThisUpdate time.Time
	NextUpdate time.Time
	Digest     []byte
}

// Bytes is the body of a KindCRL entry.
func (c CRL) Bytes() []byte {
	return sequence(func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(c.Issuer)
		text(b, c.Scope)
		b.AddASN1Int64(c.Number)
		b.AddASN1Int64(c.ThisUpdate.Unix())
		b.AddASN1Int64(c.NextUpdate.Unix())
		b.AddASN1OctetString(c.Digest)
	})
}

// ParseCRL reads a body of KindCRL.
func ParseCRL(body []byte) (c CRL, err error) {
	var from, to int64
	s, ok := open(body)
	ok = ok && octets(&s, &c.Issuer) && readText(&s, &c.Scope) && s.ReadASN1Integer(&c.Number) &&
		s.ReadASN1Integer(&from) && s.ReadASN1Integer(&to) && octets(&s, &c.Digest) && s.Empty()
	if !ok {
		return c, fmt.Errorf("%w: crl", ErrSyntax)
	}
	c.ThisUpdate, c.NextUpdate = time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()
	return c, nil
}

func sequence(f func(*cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 192))
	b.AddASN1(cbasn1.SEQUENCE, f)
	return b.BytesOrPanic()
}

func text(b *cryptobyte.Builder, s string) {
	b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func open(body []byte) (cryptobyte.String, bool) {
	s := cryptobyte.String(body)
	var seq cryptobyte.String
	ok := s.ReadASN1(&seq, cbasn1.SEQUENCE) && s.Empty()
	return seq, ok
}

func octets(s *cryptobyte.String, to *[]byte) bool {
	var raw cryptobyte.String
	ok := s.ReadASN1(&raw, cbasn1.OCTET_STRING)
	*to = raw
	return ok
}

func readText(s *cryptobyte.String, to *string) bool {
	var raw cryptobyte.String
	ok := s.ReadASN1(&raw, cbasn1.UTF8String)
	*to = string(raw)
	return ok
}
