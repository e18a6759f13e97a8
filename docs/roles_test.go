package docs

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/zone/roles"
)

var update = flag.Bool("update", false, "write the documents anew")

// The table of roles is the program's, or it is out of date.
func TestTheTableOfRolesIsTrue(t *testing.T) {
	if *update {
		if err := os.WriteFile("roles.md", []byte(roles.Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("roles.md")
	if err != nil || string(have) != roles.Markdown() {
		t.Errorf("roles.md is out of date: go test ./docs -update (%v)", err)
	}
	text, err := roles.CSV()
	if lines := strings.Count(text, "\n"); err != nil || lines != len(roles.Matrix())+1 {
		t.Errorf("%d lines for %d rows: %v", lines, len(roles.Matrix()), err)
	}
}
