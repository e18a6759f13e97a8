package ra

import (
	"time"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/profile"
)

// InForce are the profiles the CA takes now: those it told of last, or those the
// product comes with before it did.
func (r *Registrar) InForce() profile.Set {
	if set, _, _ := r.Book.Held(); set != nil {
		return set
	}
	return r.Profiles
}

// Synced tells which edition the CA told of last, and when; 0 before it did.
func (r *Registrar) Synced() (edition int, at time.Time) {
	_, edition, at = r.Book.Held()
	return edition, at
}

// upToDate refuses a draft under a version of its profile that the CA does not
// take any more.
func (r *Registrar) upToDate(rec Record, do casework.Action) error {
	if !Issues(rec.Kind) || do != Submit && do != Approve {
		return nil
	}
	a, err := applicationOf(rec.Content)
	if err != nil {
		return err
	}
	if p, ok := r.InForce()[a.Profile]; !ok || p.Version != a.Version {
		return StaleProfile.At("profile", StaleProfile.Clause).Because("%s 按“%s”第 %d 版起草，现行为第 %d 版", rec.ID, p.Title, a.Version, p.Version)
	}
	return nil
}
