// Package dn writes and reads distinguished names. (甄别名)
//
// The order in DER is C, ST, L, O, OU, E, CN and the string types are fixed:
// C PrintableString, E IA5String, everything else UTF8String, one attribute in
// each RDN (GM/T 0034 §5.4, GM/T 0043 §6.2.1e). Names are never built from
// strings: RFC 4514 text turns the order round.
package dn

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Name is a distinguished name. JSON names are those of the attributes.
type Name struct {
	C  string `json:"C,omitempty"`
	ST string `json:"ST,omitempty"`
	L  string `json:"L,omitempty"`
	O  string `json:"O,omitempty"`
	OU Units  `json:"OU,omitempty"` // higher unit first
	E  string `json:"E,omitempty"`
	CN string `json:"CN,omitempty"`
}

// Units are organisational units. In JSON one is a plain string.
type Units []string

// Attr is one attribute of a name.
type Attr struct {
	Type  string // "C", "ST", …, or the OID in dots
	Tag   cbasn1.Tag
	Value string
}

// ErrSyntax is returned for bytes that are not a name.
var ErrSyntax = errors.New("not a distinguished name")

var types = []struct {
	name string
	oid  asn1.ObjectIdentifier
	tag  cbasn1.Tag
}{
	{"C", asn1.ObjectIdentifier{2, 5, 4, 6}, cbasn1.PrintableString},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}, cbasn1.UTF8String},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}, cbasn1.UTF8String},
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}, cbasn1.UTF8String},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}, cbasn1.UTF8String},
	{"E", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, cbasn1.IA5String},
	{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}, cbasn1.UTF8String},
}

// Attrs lists the attributes in DER order, empty ones left out.
func (n Name) Attrs() []Attr {
	var list []Attr
	for _, t := range types {
		for _, v := range n.values(t.name) {
			if v != "" {
				list = append(list, Attr{t.name, t.tag, v})
			}
		}
	}
	return list
}

func (n Name) values(name string) []string {
	switch name {
	case "C":
		return []string{n.C}
	case "ST":
		return []string{n.ST}
	case "L":
		return []string{n.L}
	case "O":
		return []string{n.O}
	case "OU":
		return n.OU
	case "E":
		return []string{n.E}
	}
	return []string{n.CN}
}

// Bytes is the DER of the name.
func (n Name) Bytes() []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, a := range n.Attrs() {
			i := slices.IndexFunc(types, func(t struct {
				name string
				oid  asn1.ObjectIdentifier
				tag  cbasn1.Tag
			}) bool {
				return t.name == a.Type
			})
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(types[i].oid)
					b.AddASN1(a.Tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.Value)) })
				})
			})
		}
	})
	return b.BytesOrPanic()
}

// attrsMax bounds the attributes read from one name; real names have under ten.
const attrsMax = 32

// Attributes reads the attributes of a DER name in the order they stand,
// whatever their types. Several attributes in one RDN are read one by one.
func Attributes(der []byte) ([]Attr, error) {
	s := cryptobyte.String(der)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() {
		return nil, ErrSyntax
	}
	var list []Attr
	for !seq.Empty() {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, cbasn1.SET) || set.Empty() {
			return nil, ErrSyntax
		}
		for !set.Empty() {
			a, err := attribute(&set)
			if err != nil {
				return nil, err
			}
			if list = append(list, a); len(list) > attrsMax {
				return nil, fmt.Errorf("%w: more than %d attributes", ErrSyntax, attrsMax)
			}
		}
	}
	return list, nil
}

func attribute(set *cryptobyte.String) (Attr, error) {
	var pair, raw cryptobyte.String
	var oid asn1.ObjectIdentifier
	var tag cbasn1.Tag
	if !set.ReadASN1(&pair, cbasn1.SEQUENCE) || !pair.ReadASN1ObjectIdentifier(&oid) ||
		!pair.ReadAnyASN1(&raw, &tag) || !pair.Empty() {
		return Attr{}, ErrSyntax
	}
	value := string(raw)
	switch tag {
	case cbasn1.UTF8String, cbasn1.PrintableString, cbasn1.IA5String:
	case 30: // BMPString
		var ok bool
		if value, ok = bmp(raw); !ok {
			return Attr{}, fmt.Errorf("%w: BMPString", ErrSyntax)
		}
	case cbasn1.T61String:
	default:
		return Attr{}, fmt.Errorf("%w: string type %d", ErrSyntax, tag)
	}
	if !utf8.ValidString(value) {
		return Attr{}, fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	for _, t := range types {
		if t.oid.Equal(oid) {
			return Attr{t.name, tag, value}, nil
		}
	}
	return Attr{oid.String(), tag, value}, nil
}

// bmp reads two octets a character. Writers put characters beyond the basic
// plane, which people's names have, into surrogate pairs; half a pair is an
// error, or two names would read the same.
func bmp(raw []byte) (string, bool) {
	if len(raw)%2 != 0 {
		return "", false
	}
	var b strings.Builder
	for ; len(raw) > 0; raw = raw[2:] {
		r := rune(raw[0])<<8 | rune(raw[1])
		if utf16.IsSurrogate(r) {
			if len(raw) < 4 {
				return "", false
			}
			r = utf16.DecodeRune(r, rune(raw[2])<<8|rune(raw[3]))
			if r == utf8.RuneError {
				return "", false
			}
			raw = raw[2:]
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// Parse reads a DER name of the seven known attributes. An attribute that is
// unknown, or that may stand only once and is repeated, is an error: nothing
// is dropped.
func Parse(der []byte) (Name, error) {
	attrs, err := Attributes(der)
	if err != nil {
		return Name{}, err
	}
	var n Name
	seen := map[string]bool{}
	for _, a := range attrs {
		if seen[a.Type] && a.Type != "OU" {
			return Name{}, fmt.Errorf("%w: %s twice", ErrSyntax, a.Type)
		}
		seen[a.Type] = true
		switch a.Type {
		case "C":
			n.C = a.Value
		case "ST":
			n.ST = a.Value
		case "L":
			n.L = a.Value
		case "O":
			n.O = a.Value
		case "OU":
			n.OU = append(n.OU, a.Value)
		case "E":
			n.E = a.Value
		case "CN":
			n.CN = a.Value
		default:
			return Name{}, fmt.Errorf("%w: attribute %s", ErrSyntax, a.Type)
		}
	}
	return n, nil
}

// String is for people: C=CN, ST=…, in DER order.
func (n Name) String() string {
	var parts []string
	for _, a := range n.Attrs() {
		parts = append(parts, a.Type+"="+a.Value)
	}
	return strings.Join(parts, ", ")
}

// Text shows any DER name, for people.
func Text(der []byte) string {
	attrs, err := Attributes(der)
	if err != nil {
		return "?"
	}
	var parts []string
	for _, a := range attrs {
		parts = append(parts, a.Type+"="+a.Value)
	}
	return strings.Join(parts, ", ")
}
