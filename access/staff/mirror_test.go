package staff_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
)

func digest(data []byte) []byte { return alg.Digest(data) }

// mirrored is a register here that follows one there.
type mirrored struct {
	*staff.Mirror
	there *accesstest.Staff
	here  *accesstest.Staff
	trail *audit.Trail
	asked int
	sent  int
	away  error
}

func follow(t testing.TB, here *sqldb.DB) *mirrored {
	t.Helper()
	now := func() time.Time { return start }
	m := &mirrored{there: accesstest.Open(accesstest.Database(t), now), here: accesstest.Open(here, now), trail: &audit.Trail{DB: here, Auditor: access.RAAuditor, Now: now}}
	m.Mirror = &staff.Mirror{DB: here, People: m.here.People, Now: now, Roster: func(ctx context.Context, digest []byte) ([]access.Person, bool, error) {
		m.asked++
		all, err := m.there.All(ctx)
		if m.away != nil || err != nil {
			return nil, false, errors.Join(m.away, err)
		}
		if bytes.Equal(digest, access.Digest(all)) {
			return nil, true, nil
		}
		m.sent++
		return all, false, nil
	}}
	return m
}

func (m *mirrored) write(t testing.TB, db *sqldb.DB, f func(tx *sqldb.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	m.here.Forget()
	m.there.Forget()
}

// once looks, and expects these changes, each with its line.
func (m *mirrored) once(t testing.TB, want ...string) {
	t.Helper()
	before, err := m.trail.List(t.Context(), audit.Query{Who: "system:mirror"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := m.trail.List(t.Context(), audit.Query{Who: "system:mirror"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range after[:len(after)-len(before)] {
		got = append(got, l.Entry.Item+" "+l.Entry.Object)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	here, err1 := m.here.All(t.Context())
	there, err2 := m.there.All(t.Context())
	if err1 != nil || err2 != nil || !bytes.Equal(access.Digest(here), access.Digest(there)) {
		t.Errorf("the registers differ: %v %v", err1, err2)
	}
}

// The register here says what the one there says, a line for each change.
func TestTheRegisterFollows(t *testing.T) {
	accesstest.Each(t, postgres, func(t *testing.T, db func(testing.TB) *sqldb.DB) {
		m := follow(t, db(t))
		clerk := m.there.Hire(t, "ra-clerk", access.RAClerk)
		m.there.Hire(t, "ra-admin", access.RAAdmin)
		m.once(t, "person.add ra-admin", "person.add ra-clerk")
		if p, err := m.here.Current(t.Context(), "ra-clerk"); err != nil || !bytes.Equal(p.Cert, clerk.Cert) || !p.Holds(access.RAClerk) {
			t.Errorf("%+v %v", p, err)
		}
		there := m.there.DB
		m.write(t, there, func(tx *sqldb.Tx) error { _, err := m.there.Freeze(tx, "ra-clerk", true); return err })
		m.once(t, "person.freeze ra-clerk")
		m.write(t, there, func(tx *sqldb.Tx) error { _, err := m.there.Freeze(tx, "ra-clerk", false); return err })
		m.once(t, "person.unfreeze ra-clerk")
		next := accesstest.Key(t)
		p, err := access.PersonOf("ra-clerk", "ra-clerk", accesstest.Certify(t, "ra-clerk", alg.Point(&next.PublicKey), next, start), access.RAClerk)
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, there, func(tx *sqldb.Tx) error { _, err := m.there.Add(tx, p, "test", start); return err })
		m.once(t, "person.add ra-clerk", "person.end ra-clerk")
		m.write(t, there, func(tx *sqldb.Tx) error { _, err := m.there.End(tx, "ra-clerk", start); return err })
		m.once(t, "person.end ra-clerk")
		if _, err := m.here.Current(t.Context(), "ra-clerk"); !errors.Is(err, access.NoSuchPerson) {
			t.Error(err)
		}
		sent := m.sent
		m.once(t)
		if m.sent != sent {
			t.Error("a register that is the same was sent again")
		}
	})
}

// Whatever is changed here by other hands is changed back, and on the trail.
func TestWhatIsAlteredHereIsSetRight(t *testing.T) {
	m := follow(t, accesstest.Database(t))
	for _, id := range []access.PersonID{"ra-clerk", "ra-left", "ra-bad"} {
		m.there.Hire(t, id, access.RAClerk)
	}
	m.write(t, m.there.DB, func(tx *sqldb.Tx) error {
		_, err1 := m.there.End(tx, "ra-left", start)
		_, err2 := m.there.Freeze(tx, "ra-bad", true)
		return errors.Join(err1, err2)
	})
	m.once(t, "person.add ra-bad", "person.add ra-clerk", "person.add ra-left")
	for q, want := range map[string]string{
		`UPDATE person SET roles = 'ra.admin' WHERE id = 'ra-clerk'`: "person.correct ra-clerk",
		`UPDATE person SET id = 'ra-boss' WHERE id = 'ra-clerk'`:     "person.correct ra-clerk",
		`UPDATE person SET ended = 0 WHERE id = 'ra-left'`:           "person.end ra-left",
		`UPDATE person SET ended = 1 WHERE id = 'ra-clerk'`:          "person.restore ra-clerk",
		`UPDATE person SET disabled = FALSE WHERE id = 'ra-bad'`:     "person.unfreeze ra-bad",
		`DELETE FROM person WHERE id = 'ra-clerk'`:                   "person.add ra-clerk",
	} {
		if want == "person.unfreeze ra-bad" {
			want = "person.freeze ra-bad"
		}
		m.write(t, m.here.DB, func(tx *sqldb.Tx) error { _, err := tx.Exec(q); return err })
		m.once(t, want)
	}
	m.here.Hire(t, "ra-ghost", access.RAClerk) // nobody there has heard of
	if err := m.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.here.Current(t.Context(), "ra-ghost"); !errors.Is(err, access.NoSuchPerson) {
		t.Errorf("somebody unknown there stays: %v", err)
	}
}

// While the other side is away the register stays as it was; and it is changed
// wholly or not at all.
func TestAFailureChangesNothing(t *testing.T) {
	m := follow(t, accesstest.Database(t))
	m.there.Hire(t, "ra-clerk", access.RAClerk)
	m.once(t, "person.add ra-clerk")
	m.there.Hire(t, "ra-new", access.RAClerk)
	m.away = errors.New("no answer")
	if err := m.Once(t.Context()); !errors.Is(err, m.away) {
		t.Error(err)
	}
	m.away = nil
	exec := func(q string) {
		m.write(t, m.here.DB, func(tx *sqldb.Tx) error { _, err := tx.Exec(q); return err })
	}
	exec(`ALTER TABLE audit_entry RENAME TO gone`)
	if err := m.Once(t.Context()); err == nil {
		t.Error("people change without a line")
	}
	exec(`ALTER TABLE gone RENAME TO audit_entry`)
	if _, err := m.here.Current(t.Context(), "ra-new"); !errors.Is(err, access.NoSuchPerson) {
		t.Error(err)
	}
	m.once(t, "person.add ra-new")
}
