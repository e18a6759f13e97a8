package ra_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// counted is a store with figures only.
type counted []enroll.Figure

func (c counted) Figures(context.Context, time.Time, time.Time) ([]enroll.Figure, error) {
	return c, nil
}

// What differs once may be on its way; what differs twice is an alarm, until it
// agrees again. Both sides' surplus is seen, and a sum that does not balance.
func TestFiguresThatDifferTwiceRaiseAnAlarm(t *testing.T) {
	good := enroll.Figure{Profile: "person-dual", Day: 20000, Issued: 3, Expired: 1, Revoked: 1, Valid: 1}
	held := good
	held.Revoked, held.Valid = 0, 2
	odd := good
	odd.Valid = 2
	of := good
	of.Body = "hz"
	for name, c := range map[string]struct{ ours, theirs []enroll.Figure }{
		"a status that did not arrive":        {[]enroll.Figure{held}, []enroll.Figure{good}},
		"something the desk knows nothing of": {nil, []enroll.Figure{good}},
		"something the CA never issued":       {[]enroll.Figure{good}, nil},
		"another body's":                      {[]enroll.Figure{good}, []enroll.Figure{of}},
		"a sum that does not balance":         {[]enroll.Figure{odd}, []enroll.Figure{odd}},
	} {
		theirs := c.theirs
		r := &ra.Reconciler{Store: counted(c.ours), CA: func(context.Context, time.Time) ([]enroll.Figure, time.Time, error) {
			return theirs, time.Unix(1, 0), nil
		}}
		for look, want := range []bool{false, true, true} {
			v, err := r.Check(t.Context(), time.Unix(0, 0))
			if err != nil || (len(v.Alarm) > 0) != want || (r.Differences() > 0) != want {
				t.Errorf("%s, look %d: %v %v", name, look, v.Alarm, err)
			}
		}
		r.Store, theirs = counted{good}, []enroll.Figure{good}
		if v, err := r.Check(t.Context(), time.Unix(0, 0)); err != nil || len(v.Alarm) > 0 || len(v.Rows) != 1 || !v.Rows[0].Agree || v.Total.Issued != 3 || v.Rows[0].Date != "2024-10-04" {
			t.Errorf("%s, and then as it should be: %+v %v", name, v, err)
		}
	}
	away := errors.New("away")
	r := &ra.Reconciler{Store: counted{good}, CA: func(context.Context, time.Time) ([]enroll.Figure, time.Time, error) { return nil, time.Time{}, away }}
	if _, err := r.Check(t.Context(), time.Unix(0, 0)); !errors.Is(err, away) || r.Differences() != 0 {
		t.Errorf("a CA that does not answer is no difference: %v", err)
	}
}
