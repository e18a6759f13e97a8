package cert

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// NameConstraints bounds the names below a CA (RFC 5280 §4.2.1.10).
var NameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// AnyPolicy is every policy at once (RFC 5280 §4.2.1.4).
var AnyPolicy = asn1.ObjectIdentifier{2, 5, 29, 32, 0}

// Subtree is one permitted part of a space of names: Kind "dn" and the DER of a
// name whose attributes the names below begin with, "dns" or "email" and a
// domain.
type Subtree struct {
	Kind  string
	Value []byte
}

// Permitted is a critical NameConstraints that permits these and no other names
// of their kinds.
func Permitted(trees []Subtree) Extension {
	return Extension{NameConstraints, true, build(func(b *cryptobyte.Builder) {
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
			for _, t := range trees {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					tag := context(2)
					switch t.Kind {
					case "dn": // a CHOICE: tagged explicitly
						tag = context(4).Constructed()
					case "email":
						tag = context(1)
					}
					b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(t.Value) })
				})
			}
		})
	})}
}

// PolicyList names several policies without where to read of them.
func PolicyList(ids []asn1.ObjectIdentifier) Extension {
	return Extension{Policies, false, build(func(b *cryptobyte.Builder) {
		for _, id := range ids {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(id) })
		}
	})}
}

// PolicyIDs are the policies a certificate names; none when it names none or
// they cannot be read.
func (c *Certificate) PolicyIDs() (ids []asn1.ObjectIdentifier) {
	e, _ := c.Extension(Policies)
	s := cryptobyte.String(e.Value)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return nil
	}
	for !seq.Empty() && len(ids) < extensionsMax {
		var one cryptobyte.String
		var id asn1.ObjectIdentifier
		if !seq.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// PathLen is how many CA certificates may follow this one in a chain, -1 for
// any number; ok is false when it is no CA's or cannot be read.
func (c *Certificate) PathLen() (n int, ok bool) {
	e, there := c.Extension(BasicConstraints)
	s := cryptobyte.String(e.Value)
	var seq cryptobyte.String
	var isCA bool
	if !there || !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.PeekASN1Tag(cbasn1.BOOLEAN) || !seq.ReadASN1Boolean(&isCA) || !isCA {
		return 0, false
	}
	if seq.Empty() {
		return -1, true
	}
	return n, seq.ReadASN1Integer(&n) && seq.Empty() && n >= 0
}
