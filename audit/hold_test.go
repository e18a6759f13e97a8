package audit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
)

// While the trail cannot be sealed no act is done: people are refused, the
// system's own work fails and is tried again, and what the public reads goes on.
func TestNoActWhileTheTrailCannotBeSealed(t *testing.T) {
	r := newRoom(t)
	var behind time.Duration
	audit.Watch(r.DB, func() time.Duration { return behind })
	line := func(item, role, result string) audit.Entry {
		return audit.Entry{Start: start, End: start, Who: "x", Role: role, Item: item, Result: result}
	}
	effects, lines := 0, 0
	for _, c := range []struct {
		name   string
		behind time.Duration
		entry  audit.Entry
		want   error
	}{
		{"sealed", 0, line("ra.approve", "ra.reviewer", audit.Done), nil},
		{"within the bound", audit.SealWithin - 1, line("ra.approve", "ra.reviewer", audit.Done), nil},
		{"a person's act", audit.SealWithin, line("ra.approve", "ra.reviewer", audit.Done), audit.Unsealed},
		{"the system's", audit.SealWithin, line("ca.issue", "machine", audit.Done), audit.ErrHeld},
		{"a refusal", audit.SealWithin, line("ra.approve", "ra.reviewer", "case.same_person"), nil},
		{"signing in", audit.SealWithin, line("session.sign-in", "ra.reviewer", audit.Done), nil},
		{"a revocation list", audit.SealWithin, line("ca.crl", "machine", audit.Done), nil},
		{"sealed again", 0, line("ra.approve", "ra.reviewer", audit.Done), nil},
	} {
		behind = c.behind
		err := r.act(c.entry, nil)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if f := refusal.Of(err); c.want == audit.ErrHeld && f != nil || c.want == audit.Unsealed && (f == nil || f.Fix == "" || f.Clause == "") {
			t.Errorf("%s: as a refusal it is %+v", c.name, f)
		}
		if c.want == nil {
			effects, lines = effects+1, lines+1
		}
	}
	r.stands(effects, lines)
}
