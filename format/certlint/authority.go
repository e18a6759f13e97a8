package certlint

import (
	"slices"

	"github.com/hufu-pki/hufu/format/cert"
)

// pathLength holds a CA certificate against its issuer's: a chain through both
// must be one that validators accept (RFC 5280 §6.1.4 l, m).
func pathLength(c *cert.Certificate, x Context) bool {
	if x.Profile.Usage != "ca" {
		return true
	}
	n, ok := c.PathLen()
	if !ok || n < 0 || n > x.Profile.PathLen {
		return false
	}
	if x.Issuer == nil {
		return true
	}
	above, isCA := x.Issuer.PathLen()
	if x.Profile.Own { // a self-issued certificate takes no step of the path
		return isCA && (above < 0 || n <= above)
	}
	return isCA && (above < 0 || n < above)
}

// policies holds the policies of a CA certificate that were asked for against
// its issuer's. A root names none and bounds none.
func policies(c *cert.Certificate, x Context) bool {
	if !x.Profile.Asked {
		return true
	}
	ids := c.PolicyIDs()
	if len(ids) == 0 || slices.ContainsFunc(ids, cert.AnyPolicy.Equal) {
		return false
	}
	if x.Issuer == nil {
		return true
	}
	above := x.Issuer.PolicyIDs()
	for _, id := range ids {
		if len(above) > 0 && !slices.ContainsFunc(above, id.Equal) && !slices.ContainsFunc(above, cert.AnyPolicy.Equal) {
			return false
		}
	}
	return true
}
