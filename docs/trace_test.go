// Package docs holds what people read, and the test that it stays true. (文档)
package docs

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every proof a requirement names exists: package:TestName, or a file.
func TestProofsExist(t *testing.T) {
	f, err := os.Open("trace.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%v: %d rows", err, len(rows))
	}
	seen := map[string]bool{}
	for _, row := range rows[1:] {
		id := row[0]
		if seen[id] {
			t.Errorf("%s is traced twice", id)
		}
		seen[id] = true
		for proof := range strings.FieldsSeq(row[1]) {
			if !exists(t, proof) {
				t.Errorf("%s: %s is gone", id, proof)
			}
		}
	}
}

func exists(t *testing.T, proof string) bool {
	t.Helper()
	dir, name, ok := strings.Cut(proof, ":")
	if !ok {
		_, err := os.Stat(filepath.Join("..", proof))
		return err == nil
	}
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want.Match(data) {
			return true
		}
	}
	return false
}
