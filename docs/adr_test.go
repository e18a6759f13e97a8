package docs

import (
	"os"
	"regexp"
	"testing"
)

// Decisions are cited by number, so a number names one.
func TestEveryDecisionHasItsOwnNumber(t *testing.T) {
	files, err := os.ReadDir("adr")
	if err != nil || len(files) < 10 {
		t.Fatalf("%v: %d decisions", err, len(files))
	}
	seen := map[string]string{}
	for _, f := range files {
		m := regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`).FindStringSubmatch(f.Name())
		if m == nil {
			t.Errorf("%s: want NNNN-words.md", f.Name())
			continue
		}
		if seen[m[1]] != "" {
			t.Errorf("%s and %s have one number", seen[m[1]], f.Name())
		}
		seen[m[1]] = f.Name()
	}
}
