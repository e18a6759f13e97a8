package cert

import (
	"encoding/asn1"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Extension identifiers (RFC 5280, RFC 6960).
var (
	SubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	KeyUsageID       = asn1.ObjectIdentifier{2, 5, 29, 15}
	SubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	BasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	CRLPoints        = asn1.ObjectIdentifier{2, 5, 29, 31}
	Policies         = asn1.ObjectIdentifier{2, 5, 29, 32}
	AuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	ExtKeyUsageID    = asn1.ObjectIdentifier{2, 5, 29, 37}
	AuthorityInfo    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	OCSPNoCheck      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

	UsageServerAuth  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	UsageClientAuth  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	UsageEmail       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}
	UsageTimeStamp   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	UsageOCSPSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}

	accessOCSP   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}
	accessIssuer = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2}
	qualifierCPS = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 1}
)

// Key usages as whole DER values: the sets are exact (GM/T 0043 §6.2.2).
var (
	UsageSign = []byte{0x03, 0x02, 0x06, 0xC0} // digitalSignature, nonRepudiation
	UsageEnc  = []byte{0x03, 0x02, 0x03, 0x38} // keyEncipherment, dataEncipherment, keyAgreement
	UsageCA   = []byte{0x03, 0x02, 0x01, 0x06} // keyCertSign, cRLSign
)

func build(f func(b *cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, f)
	return b.BytesOrPanic()
}

func context(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }

// KeyUsage is critical, as dual certificates ask.
func KeyUsage(value []byte) Extension { return Extension{KeyUsageID, true, value} }

// SKI names the subject's key.
func SKI(point []byte) Extension {
	var b cryptobyte.Builder
	b.AddASN1OctetString(KeyID(point))
	return Extension{SubjectKeyID, false, b.BytesOrPanic()}
}

// AKI names the issuer's key by its key identifier.
func AKI(issuerPoint []byte) Extension {
	return Extension{AuthorityKeyID, false, build(func(b *cryptobyte.Builder) {
		b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddBytes(KeyID(issuerPoint)) })
	})}
}

// IdentityCode carries the number of an identity document (GM/T 0015 §5.2.4,
// the SAC arc). tag is the explicit context tag of the CHOICE the number stands
// in, below zero for a bare string; utf8 chooses UTF8String over PrintableString.
func IdentityCode(id asn1.ObjectIdentifier, tag int, utf8 bool, number string) Extension {
	kind := cbasn1.PrintableString
	if utf8 {
		kind = cbasn1.UTF8String
	}
	text := func(b *cryptobyte.Builder) {
		b.AddASN1(kind, func(b *cryptobyte.Builder) { b.AddBytes([]byte(number)) })
	}
	var b cryptobyte.Builder
	if tag < 0 {
		text(&b)
	} else {
		b.AddASN1(context(uint8(tag)).Constructed(), text)
	}
	return Extension{id, false, b.BytesOrPanic()}
}

// CA is a critical BasicConstraints; pathLen below zero leaves it open.
func CA(pathLen int) Extension {
	return Extension{BasicConstraints, true, build(func(b *cryptobyte.Builder) {
		b.AddASN1Boolean(true)
		if pathLen >= 0 {
			b.AddASN1Int64(int64(pathLen))
		}
	})}
}

// ExtKeyUsage lists purposes.
func ExtKeyUsage(critical bool, purposes ...asn1.ObjectIdentifier) Extension {
	return Extension{ExtKeyUsageID, critical, build(func(b *cryptobyte.Builder) {
		for _, p := range purposes {
			b.AddASN1ObjectIdentifier(p)
		}
	})}
}

// Policy names the certificate policy and, when cps is not empty, where the
// practice statement can be read.
func Policy(id asn1.ObjectIdentifier, cps string) Extension {
	return Extension{Policies, false, build(func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(id)
			if cps == "" {
				return
			}
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(qualifierCPS)
					b.AddASN1(cbasn1.IA5String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(cps)) })
				})
			})
		})
	})}
}

// CRLDistribution lists where the revocation list lies.
func CRLDistribution(urls ...string) Extension {
	return Extension{CRLPoints, false, build(func(b *cryptobyte.Builder) {
		for _, u := range urls {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { AddDistributionName(b, u) })
		}
	})}
}

// AddDistributionName appends DistributionPointName [0] { fullName [0] { uri } }.
func AddDistributionName(b *cryptobyte.Builder, url string) {
	b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(context(6), func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
		})
	})
}

// InfoAccess tells where status and issuer are found; an empty URL is left out.
func InfoAccess(ocsp, issuer string) Extension {
	return Extension{AuthorityInfo, false, build(func(b *cryptobyte.Builder) {
		for _, a := range []struct {
			id  asn1.ObjectIdentifier
			url string
		}{{accessOCSP, ocsp}, {accessIssuer, issuer}} {
			if a.url == "" {
				continue
			}
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(a.id)
				b.AddASN1(context(6), func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.url)) })
			})
		}
	})}
}

// NoCheck tells clients not to ask for the responder's own status (RFC 6960 §4.2.2.2.1).
func NoCheck() Extension { return Extension{OCSPNoCheck, false, []byte{5, 0}} }

// AltName is one subject alternative name: "dns", "ip" or "email" and its value.
type AltName struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// AltNames lists further names of the subject.
func AltNames(names []AltName) Extension {
	return Extension{SubjectAltName, false, build(func(b *cryptobyte.Builder) {
		for _, n := range names {
			tag, value := context(2), []byte(n.Value)
			switch n.Kind {
			case "email":
				tag = context(1)
			case "ip":
				tag = context(7)
				if ip, err := netip.ParseAddr(n.Value); err == nil {
					value = ip.AsSlice()
				}
			}
			b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(value) })
		}
	})}
}

// ReadAltNames reads dns, ip and email names; any other kind is reported as
// not ok, never skipped.
func ReadAltNames(value []byte) (names []AltName, ok bool) {
	s := cryptobyte.String(value)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() {
		return nil, false
	}
	for !seq.Empty() {
		var raw cryptobyte.String
		var tag cbasn1.Tag
		if !seq.ReadAnyASN1(&raw, &tag) || len(names) > extensionsMax {
			return nil, false
		}
		switch tag {
		case context(1):
			names = append(names, AltName{"email", string(raw)})
		case context(2):
			names = append(names, AltName{"dns", string(raw)})
		case context(7):
			ip, isIP := netip.AddrFromSlice(raw)
			if !isIP {
				return nil, false
			}
			names = append(names, AltName{"ip", ip.String()})
		default:
			return nil, false
		}
	}
	return names, true
}

// URLs collects every URI in a distribution-point or access extension, with
// the access method's last arc ("ocsp", "issuer") or "crl".
func (c *Certificate) URLs() map[string][]string {
	found := map[string][]string{}
	if e, ok := c.Extension(AuthorityInfo); ok {
		s := cryptobyte.String(e.Value)
		var seq cryptobyte.String
		for s.ReadASN1(&seq, cbasn1.SEQUENCE) {
			for !seq.Empty() {
				var one, uri cryptobyte.String
				var id asn1.ObjectIdentifier
				if !seq.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) || !one.ReadASN1(&uri, context(6)) {
					return found
				}
				name := "ocsp"
				if id.Equal(accessIssuer) {
					name = "issuer"
				}
				found[name] = append(found[name], string(uri))
			}
		}
	}
	if e, ok := c.Extension(CRLPoints); ok {
		s := cryptobyte.String(e.Value)
		var seq cryptobyte.String
		for s.ReadASN1(&seq, cbasn1.SEQUENCE) {
			for !seq.Empty() {
				var point, name, full, uri cryptobyte.String
				if !seq.ReadASN1(&point, cbasn1.SEQUENCE) || !point.ReadASN1(&name, context(0).Constructed()) ||
					!name.ReadASN1(&full, context(0).Constructed()) || !full.ReadASN1(&uri, context(6)) {
					return found
				}
				found["crl"] = append(found["crl"], string(uri))
			}
		}
	}
	return found
}

// Policies are the certificate policies it names, dotted; none if it names none
// that can be read.
func (c *Certificate) Policies() (list []string) {
	e, ok := c.Extension(Policies)
	in := cryptobyte.String(e.Value)
	var all, one cryptobyte.String
	if !ok || !in.ReadASN1(&all, cbasn1.SEQUENCE) {
		return nil
	}
	for !all.Empty() {
		var id asn1.ObjectIdentifier
		if !all.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) {
			return nil
		}
		list = append(list, id.String())
	}
	return list
}
