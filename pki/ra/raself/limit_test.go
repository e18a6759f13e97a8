package raself

import (
	"fmt"
	"testing"
	"time"
)

func TestALimiterCountsEachNameInItsPeriod(t *testing.T) {
	l := limiter{max: 2, per: time.Minute}
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		name  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", time.Second, true}, {"a", 2 * time.Second, false}, {"b", 2 * time.Second, true},
		{"a", 59 * time.Second, false}, {"a", time.Minute, true}, {"a", time.Minute, true}, {"a", time.Minute, false},
	} {
		if got := l.allow(c.name, now.Add(c.after)); got != c.want {
			t.Errorf("%d: %s after %s: %v", i, c.name, c.after, got)
		}
	}
	for i := range crowd + 10 {
		l.allow(fmt.Sprint(i), now)
	}
	if len(l.since) > crowd {
		t.Errorf("%d names are kept", len(l.since))
	}
}

func TestAnAddressOfIPv6CountsAsItsNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::", "[2001:db8:1:2:ffff::9]:1": "2001:db8:1:2::", "[::ffff:192.0.2.7]:80": "::ffff:192.0.2.7",
	} {
		if got := network(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
