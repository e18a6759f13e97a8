package ra_test

import (
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/pki/ra"
)

// What the CA said of a body reaches its outlets, and what it said of the whole
// system reaches everybody; what it takes back is gone.
func TestWhatTheCAStoppedIsKnown(t *testing.T) {
	b := new(ra.Bars)
	r := &ra.Registrar{Bars: b}
	if r.Barred() != "" || (&ra.Registrar{}).Barred() != "" {
		t.Error("stopped before the CA said anything")
	}
	for _, c := range []struct {
		said             map[string]string
		hz, west, system string
	}{
		{map[string]string{"hz": "甲"}, "甲", "甲", ""},
		{map[string]string{"hz-west": "乙"}, "", "乙", ""},
		{map[string]string{body.Top: "丙"}, "丙", "丙", "丙"},
		{map[string]string{body.Top: "丙", "hz": "甲"}, "甲", "甲", "丙"},
		{map[string]string{}, "", "", ""},
	} {
		b.Put(c.said)
		hz, west := b.Why(body.Body{ID: "hz"}), b.Why(body.Body{ID: "hz-west", Parent: "hz"})
		if hz != c.hz || west != c.west || r.Barred() != c.system || !strings.Contains(ra.UntilResumed, "registrar.resume") {
			t.Errorf("%v: %q %q %q", c.said, hz, west, r.Barred())
		}
	}
}
