// Package crl writes and reads revocation lists. (证书撤销列表)
//
// Version 2, RFC 5280 §5 and GM/T 0015 §5.3. Entries are encoded once and
// joined; a list of a million is a walk over bytes.
package crl

import (
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

var (
	extNumber     = asn1.ObjectIdentifier{2, 5, 29, 20}
	extReason     = asn1.ObjectIdentifier{2, 5, 29, 21}
	extInvalidity = asn1.ObjectIdentifier{2, 5, 29, 24}
	extIDP        = asn1.ObjectIdentifier{2, 5, 29, 28}
	extDelta      = asn1.ObjectIdentifier{2, 5, 29, 27}
	extFreshest   = asn1.ObjectIdentifier{2, 5, 29, 46}
)

// Reasons of RFC 5280 §5.3.1 as contract and openssl name them.
var Reasons = map[string]int{
	"unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4,
	"cessationOfOperation": 5, "certificateHold": 6, "privilegeWithdrawn": 9, "aACompromise": 10,
}

// RemoveFromCRL is the reason of an entry in a delta list whose certificate was
// on hold in the base and is no more.
const RemoveFromCRL = 8

// Entry is one revoked certificate.
type Entry struct {
	Serial  []byte
	At      time.Time
	Reason  int
	Invalid time.Time // zero if not given
}

// Bytes encodes an entry. Reason 0 is left out, as RFC 5280 asks.
func (e Entry) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 64))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(e.Serial))
		cert.AddTime(b, e.At)
		if e.Reason == 0 && e.Invalid.IsZero() {
			return
		}
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if e.Reason != 0 {
				cert.AddExtension(b, cert.Extension{ID: extReason, Value: []byte{0x0A, 1, byte(e.Reason)}})
			}
			if !e.Invalid.IsZero() {
				var v cryptobyte.Builder
				v.AddASN1GeneralizedTime(e.Invalid.UTC())
				cert.AddExtension(b, cert.Extension{ID: extInvalidity, Value: v.BytesOrPanic()})
			}
		})
	})
	return b.BytesOrPanic()
}

// Draft is a list to be.
type Draft struct {
	Issuer     []byte // DER name, byte for byte the CA's subject
	Point      []byte // the CA's key
	ThisUpdate time.Time
	NextUpdate time.Time
	Number     int64
	Shard      string // URL of the distribution point; empty for a full list
	OnlyCA     bool   // an ARL
	Base       int64  // number of the full list a delta goes on from; 0 for a list that is no delta
	Freshest   string // URL of the delta list that goes on from this one; may be empty
	Entries    []byte // encoded entries, joined
}

// TBS encodes the draft: entries are copied once, whatever their number.
func (d Draft) TBS() []byte {
	var head, tail cryptobyte.Builder
	head.AddASN1Int64(1)
	alg.AddID(&head, alg.SM2WithSM3)
	head.AddBytes(d.Issuer)
	cert.AddTime(&head, d.ThisUpdate)
	cert.AddTime(&head, d.NextUpdate)
	if len(d.Entries) > 0 {
		head.AddBytes(cert.Header(len(d.Entries)))
	}
	tail.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { d.extensions(b) })
	})
	first, last := head.BytesOrPanic(), tail.BytesOrPanic()
	outer := cert.Header(len(first) + len(d.Entries) + len(last))
	tbs := make([]byte, 0, len(outer)+len(first)+len(d.Entries)+len(last))
	return append(append(append(append(tbs, outer...), first...), d.Entries...), last...)
}

func (d Draft) extensions(b *cryptobyte.Builder) {
	cert.AddExtension(b, cert.AKI(d.Point))
	var n cryptobyte.Builder
	n.AddASN1Int64(d.Number)
	cert.AddExtension(b, cert.Extension{ID: extNumber, Value: n.BytesOrPanic()})
	if d.Base > 0 {
		var base cryptobyte.Builder
		base.AddASN1Int64(d.Base)
		cert.AddExtension(b, cert.Extension{ID: extDelta, Critical: true, Value: base.BytesOrPanic()})
	}
	if d.Freshest != "" {
		cert.AddExtension(b, cert.Extension{ID: extFreshest, Value: cert.CRLDistribution(d.Freshest).Value})
	}
	if d.Shard == "" && !d.OnlyCA {
		return
	}
	var idp cryptobyte.Builder
	idp.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if d.Shard != "" {
			cert.AddDistributionName(b, d.Shard)
		}
		if d.OnlyCA {
			b.AddASN1(cbasn1.Tag(2).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddUint8(0xFF) })
		}
	})
	cert.AddExtension(b, cert.Extension{ID: extIDP, Critical: true, Value: idp.BytesOrPanic()})
}

// Seal signs exactly the bytes given.
func Seal(tbs []byte, key crypto.Signer) ([]byte, error) {
	sig, err := alg.Sign(key, tbs)
	if err != nil {
		return nil, err
	}
	return cert.Assemble(tbs, sig), nil
}

// Without returns joined entries but for those of some serials (without leading
// zeros). With none to leave out it returns the same memory.
func Without(entries []byte, serials map[string]struct{}) ([]byte, error) {
	if len(serials) == 0 {
		return entries, nil
	}
	var kept []byte
	from := 0
	for at := 0; at < len(entries); {
		body, next := element(entries, at, 0x30)
		serial, end := element(entries[:max(next, 0)], body, 2)
		if next < 0 || end < 0 {
			return nil, fmt.Errorf("%w: entry", ErrSyntax)
		}
		for serial < end && entries[serial] == 0 {
			serial++
		}
		if _, gone := serials[string(entries[serial:end])]; gone {
			kept, from = append(kept, entries[from:at]...), next
		}
		at = next
	}
	if from == 0 {
		return entries, nil
	}
	return append(kept, entries[from:]...), nil
}

// Cut cuts joined entries into pieces of about a size, between entries.
func Cut(entries []byte, size int) (pieces [][]byte, err error) {
	from := 0
	for at := 0; at < len(entries); {
		_, next := element(entries, at, 0x30)
		if next < 0 {
			return nil, fmt.Errorf("%w: entry", ErrSyntax)
		}
		if at = next; at-from >= size || at == len(entries) {
			pieces, from = append(pieces, entries[from:at]), at
		}
	}
	return pieces, nil
}

// Split finds the joined entries of a draft and what lies before and after.
func Split(draft []byte) (head, entries, tail []byte, err error) {
	s := cryptobyte.String(draft)
	var tbs, list cryptobyte.String
	var version int
	var from, to time.Time
	ok := s.ReadASN1(&tbs, cbasn1.SEQUENCE) && s.Empty() && tbs.ReadASN1Integer(&version)
	if _, known := alg.ReadID(&tbs); !ok || !known || !tbs.SkipASN1(cbasn1.SEQUENCE) || !cert.ReadTime(&tbs, &from) || !cert.ReadTime(&tbs, &to) {
		return nil, nil, nil, fmt.Errorf("%w: base fields", ErrSyntax)
	}
	if tbs.PeekASN1Tag(cbasn1.SEQUENCE) && !tbs.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil, nil, nil, fmt.Errorf("%w: entries", ErrSyntax)
	}
	end := len(draft) - len(tbs)
	return draft[:end-len(list)], list, draft[end:], nil
}

// element finds the content and the end of the DER element at a place; end is
// -1 if there is none of that tag.
func element(b []byte, at int, tag byte) (content, end int) {
	if at < 0 || at+2 > len(b) || b[at] != tag {
		return 0, -1
	}
	content, size := at+2, int(b[at+1])
	if n := size & 0x7F; size > 0x7F {
		if n == 0 || n > 4 || content+n > len(b) {
			return 0, -1
		}
		size = 0
		for _, c := range b[content : content+n] {
			size = size<<8 | int(c)
		}
		content += n
	}
	if size > len(b)-content {
		return 0, -1
	}
	return content, content + size
}

// ErrSyntax is returned for bytes that are not a revocation list.
var ErrSyntax = errors.New("not a revocation list")

// List is a list as it was read.
type List struct {
	RawTBS     []byte
	Issuer     []byte
	ThisUpdate time.Time
	NextUpdate time.Time
	Number     *big.Int
	Base       *big.Int // of a delta list; nil for others
	Entries    []Entry
	Signature  []byte
}

// Parse reads a list whole.
func Parse(der []byte) (*List, error) {
	s := cryptobyte.String(der)
	var body, element, tbs cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return nil, ErrSyntax
	}
	l := &List{RawTBS: element}
	oid, ok := alg.ReadID(&body)
	var sig asn1.BitString
	if !ok || !oid.Equal(alg.SM2WithSM3) || !body.ReadASN1BitString(&sig) || !body.Empty() {
		return nil, fmt.Errorf("%w: signature", ErrSyntax)
	}
	l.Signature = sig.Bytes
	var version int
	var issuer cryptobyte.String
	if !element.ReadASN1(&tbs, cbasn1.SEQUENCE) || !tbs.ReadASN1Integer(&version) || version != 1 {
		return nil, fmt.Errorf("%w: not version 2", ErrSyntax)
	}
	if _, ok := alg.ReadID(&tbs); !ok || !tbs.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
		!cert.ReadTime(&tbs, &l.ThisUpdate) || !cert.ReadTime(&tbs, &l.NextUpdate) {
		return nil, fmt.Errorf("%w: base fields", ErrSyntax)
	}
	l.Issuer = issuer
	if tbs.PeekASN1Tag(cbasn1.SEQUENCE) {
		var list cryptobyte.String
		if !tbs.ReadASN1(&list, cbasn1.SEQUENCE) {
			return nil, ErrSyntax
		}
		for !list.Empty() {
			e, err := readEntry(&list)
			if err != nil {
				return nil, err
			}
			l.Entries = append(l.Entries, e)
		}
	}
	return l, l.extensions(&tbs)
}

func (l *List) extensions(tbs *cryptobyte.String) error {
	var outer, seq cryptobyte.String
	if !tbs.ReadASN1(&outer, cbasn1.Tag(0).ContextSpecific().Constructed()) || !tbs.Empty() || !outer.ReadASN1(&seq, cbasn1.SEQUENCE) || !outer.Empty() {
		return fmt.Errorf("%w: extensions", ErrSyntax)
	}
	for !seq.Empty() {
		id, value, ok := readExtension(&seq)
		if !ok {
			return fmt.Errorf("%w: extensions", ErrSyntax)
		}
		for _, n := range []struct {
			id asn1.ObjectIdentifier
			to **big.Int
		}{{extNumber, &l.Number}, {extDelta, &l.Base}} {
			if !id.Equal(n.id) {
				continue
			}
			if *n.to = new(big.Int); !value.ReadASN1Integer(*n.to) {
				return fmt.Errorf("%w: number", ErrSyntax)
			}
		}
	}
	return nil
}

func readExtension(seq *cryptobyte.String) (id asn1.ObjectIdentifier, value cryptobyte.String, ok bool) {
	var one cryptobyte.String
	var critical bool
	ok = seq.ReadASN1(&one, cbasn1.SEQUENCE) && one.ReadASN1ObjectIdentifier(&id) &&
		(!one.PeekASN1Tag(cbasn1.BOOLEAN) || one.ReadASN1Boolean(&critical)) && one.ReadASN1(&value, cbasn1.OCTET_STRING) && one.Empty()
	return id, value, ok
}

func readEntry(list *cryptobyte.String) (e Entry, err error) {
	var one, exts cryptobyte.String
	serial := new(big.Int)
	if !list.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1Integer(serial) || serial.Sign() < 0 || !cert.ReadTime(&one, &e.At) {
		return e, fmt.Errorf("%w: entry", ErrSyntax)
	}
	e.Serial = serial.Bytes()
	if one.Empty() {
		return e, nil
	}
	if !one.ReadASN1(&exts, cbasn1.SEQUENCE) || !one.Empty() {
		return e, fmt.Errorf("%w: entry", ErrSyntax)
	}
	for !exts.Empty() {
		id, value, ok := readExtension(&exts)
		if !ok {
			return e, fmt.Errorf("%w: entry extensions", ErrSyntax)
		}
		switch {
		case id.Equal(extReason):
			ok = value.ReadASN1Enum(&e.Reason)
		case id.Equal(extInvalidity):
			ok = value.ReadASN1GeneralizedTime(&e.Invalid)
		}
		if !ok {
			return e, fmt.Errorf("%w: entry extension %v", ErrSyntax, id)
		}
	}
	return e, nil
}
