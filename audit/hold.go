package audit

import (
	"errors"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
)

// SealWithin is how long acts go on while the trail cannot be sealed: a device
// may restart, a file system may be remounted. After that an act would rest on
// a line that nobody can prove, so it does not happen.
const SealWithin = time.Minute

// ErrHeld is returned to processes of the system whose acts are held back: a
// failure, to be tried again, where a person gets the refusal Unsealed.
var ErrHeld = errors.New("audit: the trail cannot be sealed")

// goesOn are the items written even so: what the public reads stays true,
// people sign in and read, and reading leaves its line.
var goesOn = []string{"ca.crl", "ra.export", "session.sign-in", "session.sign-out", "ra.personal.read"}

// Watch holds back acts on a database while its trail has not been sealed for
// longer than SealWithin, as behind tells.
func Watch(db *sqldb.DB, behind func() time.Duration) {
	db.Hold(func() error {
		if behind() < SealWithin {
			return nil
		}
		return Unsealed.At("", Unsealed.Clause)
	})
}

// held refuses entries of acts on a database that is held. Refusals are always
// written down.
func held(tx *sqldb.Tx, entries []Entry) error {
	acts := func(e Entry) bool { return e.Result == Done && !slices.Contains(goesOn, e.Item) }
	i := slices.IndexFunc(entries, acts)
	if i < 0 {
		return nil
	}
	err := tx.Held()
	if err != nil && entries[i].Role == "machine" { // whoever asked for it tries again
		return ErrHeld
	}
	return err
}
