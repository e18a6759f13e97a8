package certlint

import (
	"time"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
)

// Sample drafts certificates as a profile has them, at their longest and with
// every attribute, and lints them: what fails here could never be signed. The
// key certified is the issuer's own.
func Sample(p profile.Profile, issuer *cert.Certificate, at profile.Place, now time.Time) error {
	n := dn.Name{}
	to := map[string]*string{"C": &n.C, "ST": &n.ST, "L": &n.L, "O": &n.O, "E": &n.E, "CN": &n.CN}
	for _, r := range p.Subject {
		v := r.Fixed
		switch {
		case v != "":
		case r.Type == "E":
			v = "a@b.cn"
		case r.Type == "C":
			v = "CN"
		default:
			v = "样"
		}
		if r.Type == "OU" {
			n.OU = []string{v}
			continue
		}
		if to[r.Type] == nil {
			return &Failed{Rule{ID: "subject.known", Clause: "GM/T 0043 §6.2.1e", Text: "主体只可有 C、ST、L、O、OU、E、CN，不可有 " + r.Type}}
		}
		*to[r.Type] = v
	}
	from := now.UTC().Truncate(time.Second)
	uses := []profile.Use{profile.Sign}
	if p.Dual {
		uses = append(uses, profile.Enc)
	}
	for _, use := range uses {
		x := Context{Profile: p, Use: use, Issuer: issuer, Place: at}
		x.Wish = profile.Wish{
			Serial: []byte{0x41, 1, 2, 3, 4, 5, 6, 7, 8}, NotBefore: from, NotAfter: from.AddDate(0, 0, p.Days.Max), Subject: n.Bytes(), Point: issuer.Point,
		}
		if _, err := Check(p.Draft(use, x.Wish, issuer, at), x); err != nil {
			return err
		}
	}
	return nil
}
