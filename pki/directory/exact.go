package directory

import (
	"math/big"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
)

// exact names one certificate (RFC 4523 §2.1). An older client leaves the
// issuer out.
type exact struct {
	serial string
	issuer []string
}

// parseExact reads a certificateExactMatch assertion:
// { serialNumber 123, issuer rdnSequence:"…" }, "123$issuer" as older clients
// write it, or the certificate itself.
func parseExact(v string) (exact, bool) {
	if c, err := cert.Parse([]byte(v)); err == nil {
		return exactOf(c)
	}
	digits, issuer := "", ""
	if inner, ok := strings.CutPrefix(strings.TrimSpace(v), "{"); ok {
		inner, ok = strings.CutSuffix(inner, "}")
		if !ok {
			return exact{}, false
		}
		digits, issuer = gser(inner)
	} else {
		digits, issuer, _ = strings.Cut(v, "$")
		digits = strings.TrimSpace(digits)
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok || len(digits) > serialMax || n.Sign() <= 0 {
		return exact{}, false
	}
	rdns, ok := parseDN(issuer)
	return exact{cert.SerialHex(n.Bytes()), rdns}, ok
}

// serialMax bounds the decimal digits of a serial: twenty octets have 49.
const serialMax = 50

// gser takes the two components, in either order.
func gser(s string) (digits, issuer string) {
	if before, rest, ok := strings.Cut(s, `"`); ok { // a name may hold anything: take it out first
		name, after, _ := cutQuoted(rest)
		s, issuer = before+after, name
	}
	if _, rest, ok := strings.Cut(s, "serialNumber"); ok {
		rest = strings.TrimSpace(rest)
		digits = rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	}
	return digits, issuer
}

// cutQuoted reads up to the closing quote; a doubled quote stands for itself
// (RFC 3641 §3.2).
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			if i+1 == len(s) || s[i+1] != '"' {
				return b.String(), s[i+1:], true
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func exactOf(c *cert.Certificate) (exact, bool) {
	attrs, err := dn.Attributes(c.Issuer)
	if err != nil {
		return exact{}, false
	}
	e := exact{serial: c.SerialHex()}
	for _, a := range slices.Backward(attrs) {
		e.issuer = append(e.issuer, AttributeKey(a.Type)+"="+fold(a.Value))
	}
	return e, true
}

// names reports whether e names the certificate.
func (e exact) names(der []byte) bool {
	c, err := cert.Parse(der)
	if err != nil {
		return false
	}
	its, ok := exactOf(c)
	return ok && its.serial == e.serial && (len(e.issuer) == 0 || slices.Equal(its.issuer, e.issuer))
}
