package describe_test

import (
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/zone/describe"
)

func TestTheReportIsOfThisBuild(t *testing.T) {
	r, err := describe.Build()
	if err != nil {
		t.Fatal(err)
	}
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Certificates) != len(set) {
		t.Errorf("%d sorts of certificate described, there are %d", len(r.Certificates), len(set))
	}
	for _, c := range r.Certificates {
		uses := map[string]bool{}
		for _, f := range c.Fields {
			uses[f.Use] = true
			if f.Name == "" || f.Value == "" {
				t.Errorf("%s: %+v", c.Name, f)
			}
		}
		if len(uses) == 2 != c.Dual {
			t.Errorf("%s: dual is %v, described %v", c.Name, c.Dual, uses)
		}
	}
	known := map[string]bool{}
	for _, p := range r.Parts {
		known[p.System] = true
	}
	for _, f := range r.Functions {
		if !known[f.System] {
			t.Errorf("%s is of no subsystem", f.ID)
		}
	}
	whole := r.Markdown("")
	for _, p := range r.Parts {
		one := r.Markdown(p.System)
		if !strings.Contains(whole, p.Title) || !strings.Contains(one, p.Title) || len(one) >= len(whole) {
			t.Errorf("%s: the report of one system is not a part of the whole", p.System)
		}
	}
}
