package va

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
)

// authority is one CA certificate of the institution. Entries name it by the
// digest; the certificate may be learned later.
type authority struct {
	digest [32]byte
	cert   *cert.Certificate
}

// book lists the institution's CAs. It is never changed, only replaced, so
// readers need no lock. A CA's number is its place in the list.
type book struct {
	list   []authority
	by     []*delegate        // who signs answers, by number; nil where nobody does
	served map[string][]uint8 // hash ‖ name hash ‖ key hash → numbers
}

// with returns a book that has an authority under a digest, and its number. The
// certificate, when given, is kept.
func (b *book) with(digest []byte, c *cert.Certificate) (*book, uint8, error) {
	var d [32]byte
	if copy(d[:], digest) != len(d) || len(digest) != len(d) {
		return b, 0, fmt.Errorf("issuer digest of %d octets", len(digest))
	}
	for i, a := range b.list {
		if a.digest != d {
			continue
		}
		if a.cert != nil || c == nil {
			return b, uint8(i), nil
		}
		next := &book{list: copyOf(b.list)}
		next.list[i].cert = c
		return next, uint8(i), nil
	}
	if len(b.list) == authoritiesMax {
		return b, 0, fmt.Errorf("more than %d CA certificates", authoritiesMax)
	}
	return &book{list: append(copyOf(b.list), authority{d, c})}, uint8(len(b.list)), nil
}

func copyOf(list []authority) []authority { return append([]authority(nil), list...) }

// nobody is who signs answers about a key of a CA that has certified no responder
// while another of its keys has: the key is new, and its responder is on the way.
var nobody = new(delegate)

// serve fills in the CertIDs answered for: those of CAs with the name that
// issued a responder's certificate (RFC 6960 §4.2.2.2). A certificate that says
// which key issued it speaks for that key alone.
func (b *book) serve(delegates []*delegate) *book {
	next := &book{list: b.list, by: make([]*delegate, len(b.list)), served: map[string][]uint8{}}
	for n, a := range b.list {
		if a.cert == nil {
			continue
		}
		for _, d := range delegates {
			_, keyed := d.cert.Extension(cert.AuthorityKeyID)
			switch {
			case d.of(a.cert):
				next.by[n] = d
			case next.by[n] == nil && bytes.Equal(a.cert.Subject, d.cert.Issuer) && keyed:
				next.by[n] = nobody
			case next.by[n] == nil && bytes.Equal(a.cert.Subject, d.cert.Issuer):
				next.by[n] = d
			}
		}
		if next.by[n] == nil {
			continue
		}
		for _, h := range ocsp.Hashes {
			id := ocsp.Ask(h, false, a.cert, nil)
			k := string(servedKey(nil, id))
			next.served[k] = append(next.served[k], uint8(n))
		}
	}
	return next
}

func servedKey(buf []byte, id ocsp.CertID) []byte {
	kind := byte(0)
	switch {
	case id.Hash.Equal(alg.SHA1):
		kind = 1
	case id.Hash.Equal(alg.SHA256):
		kind = 2
	case id.Hash.Equal(alg.SM3):
		kind = 3
	}
	return append(append(append(buf, kind), id.IssuerName...), id.IssuerKey...)
}

// issuers returns the numbers of the CAs a CertID may mean; none for a stranger's.
func (b *book) issuers(id ocsp.CertID) []uint8 {
	var buf [1 + 2*64]byte
	return b.served[string(servedKey(buf[:0], id))]
}

// named returns the numbers of the CAs with a DER name.
func (b *book) named(subject []byte) (numbers []uint8) {
	for n, a := range b.list {
		if a.cert != nil && bytes.Equal(a.cert.Subject, subject) {
			numbers = append(numbers, uint8(n))
		}
	}
	return numbers
}

// Joined is the newest chain by which another root certifies a CA's own name
// and key: that certificate first, its root last; nil when there is none. What
// the ledger names has been checked by the core.
func (r *Responder) Joined(own []byte) (chain [][]byte) {
	b, now := r.book.Load(), r.Now()
	mine, err := cert.Parse(own)
	if err != nil {
		return nil
	}
	for _, a := range slices.Backward(b.list) {
		c := a.cert
		if c == nil || !bytes.Equal(c.Point, mine.Point) || !bytes.Equal(c.Subject, mine.Subject) || bytes.Equal(c.Issuer, c.Subject) || r.institution(c) || now.Before(c.NotBefore) || now.After(c.NotAfter) {
			continue
		}
		chain = [][]byte{c.Raw}
		for len(chain) <= joinedMax && !bytes.Equal(c.Issuer, c.Subject) {
			up := b.named(c.Issuer)
			if len(up) == 0 {
				break
			}
			c = b.list[up[len(up)-1]].cert
			chain = append(chain, c.Raw)
		}
		return chain
	}
	return nil
}

// institution reports whether one of the roots given at the start issued a
// certificate: the CA's own chain is no joined one.
func (r *Responder) institution(c *cert.Certificate) bool {
	for _, der := range r.Issuers {
		if root, err := cert.Parse(der); err == nil && bytes.Equal(root.Subject, root.Issuer) && bytes.Equal(root.Subject, c.Issuer) {
			return true
		}
	}
	return false
}

// Own is the institution's own certificate for the key that issued one, as its
// root issued it, nil if there is none. Cross certificates are others.
func (r *Responder) Own(issued *cert.Certificate) *cert.Certificate {
	e, ok := issued.Extension(cert.AuthorityKeyID)
	b := r.book.Load()
	for _, n := range b.named(issued.Issuer) {
		if c := b.list[n].cert; ok && bytes.Equal(e.Value, cert.AKI(c.Point).Value) && r.institution(c) {
			return c
		}
	}
	return nil
}

// Keys are the institution's own certificates of a CA name, one for each of its
// keys, oldest first.
func (r *Responder) Keys(subject []byte) (list []*cert.Certificate) {
	b := r.book.Load()
	for _, n := range b.named(subject) {
		c := b.list[n].cert
		if r.institution(c) && !slices.ContainsFunc(list, func(o *cert.Certificate) bool { return bytes.Equal(o.Point, c.Point) }) {
			list = append(list, c)
		}
	}
	return list
}

// Cross are the certificates by which the keys of a CA certify each other.
func (r *Responder) Cross(subject []byte) (list []*cert.Certificate) {
	b := r.book.Load()
	for _, n := range b.named(subject) {
		c := b.list[n].cert
		if e, ok := c.Extension(cert.AuthorityKeyID); ok && bytes.Equal(c.Issuer, subject) && !bytes.Equal(e.Value, cert.AKI(c.Point).Value) {
			list = append(list, c)
		}
	}
	return list
}

// joinedMax bounds the levels above a CA.
const joinedMax = 5
