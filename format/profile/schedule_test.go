package profile_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/profile"
)

// The next scheduled time is counted in Beijing, wherever the machine stands.
func TestACertificateIsDueAtTheNextScheduledTime(t *testing.T) {
	for _, c := range []struct{ at, recorded, due string }{
		{"", "2026-11-25T01:00:00Z", "0001-01-01T00:00:00Z"},
		{"02:30", "2026-11-24T18:29:59Z", "2026-11-24T18:30:00Z"},
		{"02:30", "2026-11-24T18:30:00Z", "2026-11-25T18:30:00Z"}, // on the stroke is the next day's
		{"02:30", "2026-11-25T01:00:00Z", "2026-11-25T18:30:00Z"},
		{"00:00", "2026-12-31T15:59:59Z", "2026-12-31T16:00:00Z"},
		{"23:59", "2026-12-31T15:59:30Z", "2027-01-01T15:59:00Z"},
		{"every 6h", "2026-11-24T16:00:00Z", "2026-11-24T22:00:00Z"}, // Beijing midnight to six
		{"every 6h", "2026-11-25T15:00:00Z", "2026-11-25T16:00:00Z"},
		{"every 1h", "2026-11-25T00:59:59.999Z", "2026-11-25T01:00:00Z"},
		{"every 24h", "2026-11-25T01:00:00Z", "2026-11-25T16:00:00Z"},
	} {
		recorded, err := time.Parse(time.RFC3339, c.recorded)
		if err != nil {
			t.Fatal(err)
		}
		if got := (profile.Profile{PublishAt: c.at}).Due(recorded.In(time.FixedZone("", -5*3600))).Format(time.RFC3339); got != c.due {
			t.Errorf("%q recorded %s is due %s, want %s", c.at, c.recorded, got, c.due)
		}
	}
}

func TestASchedulePeopleCannotKeepIsRefused(t *testing.T) {
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at, publish string
		fine        bool
	}{
		{"", "full", true}, {"02:30", "full", true}, {"every 4h", "full", true}, {"02:30", "digest", false}, {"2:30", "full", false}, {"24:00", "full", false}, {"every 5h", "full", false},
		{"every 0h", "full", false}, {"every 06h", "full", false}, {"every -6h", "full", false}, {"every 6", "full", false}, {"noon", "full", false},
	} {
		p := set["person-dual"]
		p.Publish, p.PublishAt = c.publish, c.at
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := profile.Parse(text); (err == nil) != c.fine {
			t.Errorf("%q with %s: %v", c.at, c.publish, err)
		}
		next := p
		if next.Version++; (next.Follows(set["person-dual"]) == nil) != (c.fine && c.at != "") {
			t.Errorf("%q with %s as the next version: %+v", c.at, c.publish, next.Follows(set["person-dual"]))
		}
	}
}
