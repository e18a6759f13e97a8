package docs

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every point has a test that exists, or says what is not yet there.
func TestPointsAreProven(t *testing.T) {
	text, err := os.ReadFile("top40.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for n := 1; n <= 40; n++ {
		want[strconv.Itoa(n)] = true
	}
	proof := regexp.MustCompile("`([a-z0-9/]+:Test[A-Za-z0-9]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(line, "|\n "), " | ")
		if len(cells) < 2 || cells[0] == "point" || cells[0] == "trap" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		last := cells[len(cells)-1]
		found := proof.FindAllStringSubmatch(last, -1)
		if len(found) == 0 && !strings.Contains(last, "not yet: issue ") {
			t.Errorf("%s: no proof, and not said to be missing", cells[0])
		}
		for _, m := range found {
			if !exists(t, m[1]) {
				t.Errorf("%s: %s is gone", cells[0], m[1])
			}
		}
		if len(cells) == 3 {
			if !want[cells[0]] {
				t.Errorf("point %s is not asked for, or there twice", cells[0])
			}
			delete(want, cells[0])
		}
	}
	for n := range want {
		t.Errorf("point %s is missing", n)
	}
}
