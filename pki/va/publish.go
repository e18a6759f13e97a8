package va

import (
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// PublicHead is how much of a body Public must be shown; all of it if it is shorter.
const PublicHead = cert.SizeMax

// Public reports whether strangers may have a body that lies beside the tiles,
// told from its beginning. Two kinds are public, and nothing else is: a
// certificate that is on record as published in full, which the index tells by
// its serial, so that no list of digests is needed; and a revocation list of
// one of our CAs, public once it is signed. A certificate not yet on record is
// withheld until it is.
func (r *Responder) Public(head []byte) bool {
	if c, err := cert.Parse(head); err == nil {
		b := r.book.Load()
		for _, n := range b.named(c.Issuer) {
			if r.index.Load().get(nameOf(n, c.Serial.Bytes()))&public != 0 {
				return true
			}
		}
		return false
	}
	return r.ownList(head)
}

// ownList reads as much of a revocation list as names its issuer. A list of a
// million entries is never read whole for this.
func (r *Responder) ownList(head []byte) bool {
	outer, ok := open(head)
	if !ok {
		return false
	}
	tbs, ok := open(outer)
	if !ok {
		return false
	}
	s := cryptobyte.String(tbs)
	var version int
	var issuer cryptobyte.String
	if !s.ReadASN1Integer(&version) || version != 1 {
		return false
	}
	oid, ok := alg.ReadID(&s)
	return ok && oid.Equal(alg.SM2WithSM3) && s.ReadASN1Element(&issuer, cbasn1.SEQUENCE) && len(r.book.Load().named(issuer)) > 0
}

// open passes over the header of a SEQUENCE whose end may not be at hand.
func open(b []byte) ([]byte, bool) {
	if len(b) < 2 || b[0] != 0x30 {
		return nil, false
	}
	skip := 2
	if b[1] >= 0x80 {
		skip += int(b[1] & 0x7F)
	}
	if skip > 6 || len(b) < skip {
		return nil, false
	}
	return b[skip:], true
}
