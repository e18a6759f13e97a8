// Package flows holds drawings of the tables of lawful steps. (流程图)
package flows

import (
	"flag"
	"os"
	"testing"

	"github.com/hufu-pki/hufu/pki/ra"
)

var update = flag.Bool("update", false, "write the drawings anew")

// A drawing is its table, or it is out of date.
func TestDrawingsAreTrue(t *testing.T) {
	for name, kind := range ra.Kinds {
		if err := kind.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		file := name + ".md"
		if *update {
			if err := os.WriteFile(file, []byte(kind.Mermaid()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil || string(have) != kind.Mermaid() {
			t.Errorf("%s is out of date: go test ./docs/flows -update", file)
		}
	}
}
