package docs

import (
	"encoding/csv"
	"os"
	"testing"

	"github.com/hufu-pki/hufu/zone/describe"
)

// What the program says of itself is written down as it says it, and no
// function is claimed that no proof is traced for.
func TestTheDescriptionIsTrue(t *testing.T) {
	r, err := describe.Build()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("system.md", []byte(r.Markdown("")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile("system.md"); err != nil || string(have) != r.Markdown("") {
		t.Errorf("system.md is out of date: go test ./docs -update (%v)", err)
	}
	f, err := os.Open("trace.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	traced := map[string]bool{}
	for _, row := range rows {
		traced[row[0]] = true
	}
	for _, f := range r.Functions {
		if !traced[f.ID] {
			t.Errorf("%s %s is claimed without a proof", f.ID, f.Title)
		}
	}
}
