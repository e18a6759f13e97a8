package ocsp

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Request is a question as it was read. Its slices share the memory read.
type Request struct {
	IDs       []CertID
	Nonce     []byte // value of the extension, to be repeated; nil when there is none
	Requestor []byte // DER GeneralName; nil when there is none
	Signed    bool   // carries a signature, which only Verify checks

	tbs       []byte
	algorithm asn1.ObjectIdentifier
	signature []byte
	certs     [][]byte
}

// Sole returns the CertID of a request that holds one and nothing else: no
// nonce, name, extension or signature. It only looks at the frame; the CertID
// itself may still be wrong.
func Sole(der []byte) (id []byte, ok bool) {
	s := cryptobyte.String(der)
	for range 4 { // OCSPRequest, TBSRequest, requestList, Request
		var inner cryptobyte.String
		if !s.ReadASN1(&inner, cbasn1.SEQUENCE) || !s.Empty() {
			return nil, false
		}
		s = inner
	}
	id = s
	return id, s.SkipASN1(cbasn1.SEQUENCE) && s.Empty()
}

// ParseRequest reads a question. What it does not understand and is critical,
// what is out of bounds and what is not DER is malformed.
func ParseRequest(der []byte) (*Request, error) {
	bad := func(format string, args ...any) (*Request, error) {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	if len(der) > RequestMax {
		return bad("larger than %d octets", RequestMax)
	}
	s := cryptobyte.String(der)
	var outer, element cryptobyte.String
	if !s.ReadASN1(&outer, cbasn1.SEQUENCE) || !s.Empty() || !outer.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return bad("not one SEQUENCE")
	}
	r := &Request{tbs: element}
	if why := r.readTBS(element); why != "" {
		return bad("%s", why)
	}
	if outer.Empty() {
		return r, nil
	}
	if why := r.readSignature(&outer); why != "" {
		return bad("%s", why)
	}
	return r, nil
}

func (r *Request) readTBS(element cryptobyte.String) (why string) {
	var tbs, part, list cryptobyte.String
	var present bool
	if !element.ReadASN1(&tbs, cbasn1.SEQUENCE) || !tbs.ReadOptionalASN1(&part, &present, explicit(0)) {
		return "TBSRequest"
	}
	if version := 0; present && (!part.ReadASN1Integer(&version) || !part.Empty() || version != 0) {
		return "version is not v1"
	}
	if !tbs.ReadOptionalASN1(&part, &present, explicit(1)) {
		return "requestor name"
	}
	if present {
		var tag cbasn1.Tag
		var name cryptobyte.String
		if !part.ReadAnyASN1Element(&name, &tag) || !part.Empty() {
			return "requestor name"
		}
		r.Requestor = name
	}
	if !tbs.ReadASN1(&list, cbasn1.SEQUENCE) || list.Empty() {
		return "no certificate is asked for"
	}
	for !list.Empty() {
		if len(r.IDs) == RequestsMax {
			return fmt.Sprintf("more than %d certificates are asked for", RequestsMax)
		}
		if why := r.readOne(&list); why != "" {
			return why
		}
	}
	if !tbs.ReadOptionalASN1(&part, &present, explicit(2)) || !tbs.Empty() {
		return "after the list of requests"
	}
	if !present {
		return ""
	}
	return readExtensions(part, func(id asn1.ObjectIdentifier, critical bool, value []byte) string {
		switch {
		case id.Equal(oidNonce):
			r.Nonce = value
			return checkNonce(value)
		case id.Equal(oidAcceptable), id.Equal(oidPreferred):
			return "" // there is one kind of answer and one algorithm to choose from
		}
		return refuseCritical(id, critical, value)
	})
}

func (r *Request) readOne(list *cryptobyte.String) (why string) {
	var one, part cryptobyte.String
	var present bool
	if !list.ReadASN1(&one, cbasn1.SEQUENCE) {
		return "Request"
	}
	id, why := readCertID(&one)
	if why != "" {
		return why
	}
	if !one.ReadOptionalASN1(&part, &present, explicit(0)) || !one.Empty() {
		return "after a CertID"
	}
	r.IDs = append(r.IDs, id)
	if !present {
		return ""
	}
	return readExtensions(part, refuseCritical)
}

// refuseCritical passes over what may be ignored (RFC 6960 §4.4).
func refuseCritical(id asn1.ObjectIdentifier, critical bool, _ []byte) string {
	if critical {
		return fmt.Sprintf("critical extension %v is not understood", id)
	}
	return ""
}

func (r *Request) readSignature(outer *cryptobyte.String) (why string) {
	var part, seq, list cryptobyte.String
	var bits asn1.BitString
	var present, ok bool
	if !outer.ReadASN1(&part, explicit(0)) || !outer.Empty() || !part.ReadASN1(&seq, cbasn1.SEQUENCE) || !part.Empty() {
		return "after TBSRequest"
	}
	if r.algorithm, ok = alg.ReadID(&seq); !ok || !seq.ReadASN1BitString(&bits) || bits.BitLength%8 != 0 ||
		!seq.ReadOptionalASN1(&part, &present, explicit(0)) || !seq.Empty() {
		return "signature"
	}
	r.Signed, r.signature = true, bits.Bytes
	if !present {
		return ""
	}
	if !part.ReadASN1(&list, cbasn1.SEQUENCE) || !part.Empty() {
		return "certificates of the signer"
	}
	r.certs, ok = readCerts(list)
	if !ok {
		return fmt.Sprintf("certificates of the signer, at most %d", certsMax)
	}
	return ""
}

func readCerts(list cryptobyte.String) (certs [][]byte, ok bool) {
	for !list.Empty() {
		var one cryptobyte.String
		if !list.ReadASN1Element(&one, cbasn1.SEQUENCE) || len(certs) == certsMax {
			return nil, false
		}
		certs = append(certs, one)
	}
	return certs, true
}

// Verify checks the signature with the first certificate that came with it and
// returns that certificate. Whether its holder may ask is the caller's to say.
// When the requestor names itself by a directory name, it is the holder's.
func (r *Request) Verify() (*cert.Certificate, error) {
	if !r.Signed {
		return nil, fmt.Errorf("%w: there is none", ErrRequestor)
	}
	if !r.algorithm.Equal(alg.SM2WithSM3) {
		return nil, fmt.Errorf("%w: algorithm %v is not SM2 with SM3", ErrRequestor, r.algorithm)
	}
	if len(r.certs) == 0 {
		return nil, fmt.Errorf("%w: no certificate of the signer", ErrRequestor)
	}
	signer, err := cert.Parse(r.certs[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequestor, err)
	}
	if err := alg.Verify(signer.PublicKey(), r.tbs, r.signature); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequestor, err)
	}
	name := cryptobyte.String(r.Requestor)
	var directory cryptobyte.String
	if name.ReadASN1(&directory, explicit(4)) && !bytes.Equal(directory, signer.Subject) {
		return nil, fmt.Errorf("%w: the requestor's name is not the signer's", ErrRequestor)
	}
	return signer, nil
}

// NewRequest writes an unsigned question. A nonce of nil is left out.
func NewRequest(nonce []byte, ids ...CertID) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, id := range ids {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(id.Raw) })
				}
			})
			if nonce == nil {
				return
			}
			var value cryptobyte.Builder
			value.AddASN1OctetString(nonce)
			addExtensions(b, 2, cert.Extension{ID: oidNonce, Value: value.BytesOrPanic()})
		})
	})
	return b.BytesOrPanic()
}

// addExtensions appends Extensions under an explicit tag; those without a value
// are left out, and so is all of it when none has one.
func addExtensions(b *cryptobyte.Builder, tag uint8, list ...cert.Extension) {
	list = slices.DeleteFunc(list, func(e cert.Extension) bool { return e.Value == nil })
	if len(list) == 0 {
		return
	}
	b.AddASN1(explicit(tag), func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, e := range list {
				cert.AddExtension(b, e)
			}
		})
	})
}
