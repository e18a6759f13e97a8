// Package certlint states what a certificate must be before it may be signed. (证书检查)
//
// Each rule has an identifier, its clause and one thing it looks at. Only
// Check makes a Linted, and a CA's key signs nothing else.
package certlint

import (
	"crypto"
	"fmt"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/profile"
)

// Context is what a draft is held against.
type Context struct {
	Profile profile.Profile
	Use     profile.Use
	Wish    profile.Wish
	Issuer  *cert.Certificate // nil for a root
	Place   profile.Place

	want *cert.Certificate // what the profile drafts for the wish
}

// Rule is one thing a certificate must be.
type Rule struct {
	ID     string
	Clause string
	Text   string // in Chinese, for people
	check  func(c *cert.Certificate, x Context) bool
}

// Failed says which rule a draft breaks. It is a failure of the system, not a
// refusal: drafts are made by us.
type Failed struct{ Rule Rule }

func (f *Failed) Error() string {
	return fmt.Sprintf("lint %s: %s (%s)", f.Rule.ID, f.Rule.Text, f.Rule.Clause)
}

// Linted is a draft that passed every rule. Its zero value signs nothing.
type Linted struct{ tbs cert.TBS }

// Check lints the very bytes to be signed.
func Check(t cert.TBS, x Context) (Linted, error) {
	c, err := cert.ParseTBS(t)
	if err != nil {
		return Linted{}, fmt.Errorf("lint: %w", err)
	}
	if x.want, err = cert.ParseTBS(x.Profile.Draft(x.Use, x.Wish, x.Issuer, x.Place)); err != nil {
		return Linted{}, fmt.Errorf("lint: %w", err)
	}
	for _, r := range Rules {
		if !r.check(c, x) {
			return Linted{}, &Failed{r}
		}
	}
	return Linted{t}, nil
}

// TBS is the draft that passed.
func (l Linted) TBS() cert.TBS { return l.tbs }

// Seal signs a draft that passed.
func (l Linted) Seal(key crypto.Signer) ([]byte, error) {
	if l.tbs == nil {
		return nil, fmt.Errorf("lint: nothing to sign")
	}
	return cert.Seal(l.tbs, key)
}
