package directory

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/format/dn"
)

// matching is how the values of an attribute compare (RFC 4519, RFC 4523).
type matching int

const (
	unknown      matching = iota // a filter over it is neither true nor false
	words                        // case and runs of blanks do not count
	serials                      // words, and colons in between do not count
	classes                      // equality only
	certificates                 // certificateExactMatch
	lists                        // the bytes themselves
)

// known are the attributes entries are made of.
var known = map[string]matching{
	"objectclass": classes, "cn": words, "sn": words, "serialnumber": serials, "c": words, "l": words, "st": words, "o": words, "ou": words,
	"mail": words, "usercertificate": certificates, "cacertificate": certificates, "certificaterevocationlist": lists,
	"authorityrevocationlist": lists, "deltarevocationlist": lists, "hufucertificatestatus": words, "hufuprofile": words,
}

// aliases are other names of attribute types.
var aliases = map[string]string{
	"2.5.4.0": "objectclass", "commonname": "cn", "2.5.4.3": "cn", "surname": "sn", "2.5.4.4": "sn", "2.5.4.5": "serialnumber", "countryname": "c", "2.5.4.6": "c",
	"localityname": "l", "2.5.4.7": "l", "stateorprovincename": "st", "s": "st", "2.5.4.8": "st", "organizationname": "o", "2.5.4.10": "o",
	"organizationalunitname": "ou", "2.5.4.11": "ou", "emailaddress": "mail", "e": "mail", "email": "mail", "rfc822mailbox": "mail", "0.9.2342.19200300.100.1.3": "mail",
	"2.5.4.36": "usercertificate", "2.5.4.37": "cacertificate", "2.5.4.38": "authorityrevocationlist", "2.5.4.39": "certificaterevocationlist", "2.5.4.53": "deltarevocationlist",
	"2.999.1.3.1": "hufucertificatestatus", "2.999.1.3.2": "hufuprofile",
}

// AttributeKey folds an attribute description: case, aliases, the binary option.
func AttributeKey(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.TrimSuffix(s, ";binary")
	if a := aliases[s]; a != "" {
		return a
	}
	return s
}

// fold prepares a value for comparison: case and runs of blanks do not count.
func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// parseDN reads RFC 4514 text into folded RDNs, most specific first. A
// multi-valued RDN is put in order.
func parseDN(text string) ([]string, bool) {
	if strings.TrimSpace(text) == "" {
		return nil, true
	}
	var rdns []string
	var avas []string
	for len(text) > 0 {
		name, rest, ok := strings.Cut(text, "=")
		if !ok || strings.TrimSpace(name) == "" || len(rdns) > rdnMax {
			return nil, false
		}
		value, end, rest, ok := readValue(rest)
		if !ok {
			return nil, false
		}
		avas = append(avas, AttributeKey(name)+"="+fold(value))
		text = rest
		if end != '+' {
			slices.Sort(avas)
			rdns, avas = append(rdns, strings.Join(avas, "+")), nil
			if end != 0 && strings.TrimSpace(text) == "" {
				return nil, false
			}
		}
	}
	return rdns, len(avas) == 0
}

// readValue reads one value up to the separator that ends it.
func readValue(s string) (value string, end byte, rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ',', ';', '+':
			if c == ';' {
				c = ','
			}
			return b.String(), c, s[i+1:], true
		case '\\':
			if i+2 < len(s) {
				if raw, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
					b.Write(raw)
					i += 2
					continue
				}
			}
			if i+1 >= len(s) {
				return "", 0, "", false
			}
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), 0, "", true
}

// rdnMax bounds the depth of a name asked for.
const rdnMax = 32

// escape writes a value as RFC 4514 has it.
func escape(v string) string {
	var b strings.Builder
	for i, r := range v {
		if strings.ContainsRune(`,+"\<>;=`, r) || i == 0 && (r == '#' || r == ' ') || i == len(v)-1 && r == ' ' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// organisation is the O of a CA's name, or its CN.
func organisation(n dn.Name) string {
	if n.O != "" {
		return n.O
	}
	return n.CN
}
