package journal_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/journal"
)

// However much is logged, the folder stays within its bounds and the newest
// lines are found first.
func TestItIsBounded(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, 2000, 3)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(j, nil))
	for i := range 200 {
		log.Info("行", "n", i)
	}
	log.Error("坏了", "zone", "ca", "detail", strings.Repeat("长", 200_000))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("%v %v", files, err)
	}
	for _, f := range files[1:] {
		if info, err := os.Stat(f); err != nil || info.Size() > 2000 {
			t.Errorf("%s: %v %v", f, info.Size(), err)
		}
	}
	lines, err := journal.Find(dir, journal.Query{Limit: 5})
	if err != nil || len(lines) != 5 || lines[0].Attrs["n"] != "199" || lines[4].Attrs["n"] != "195" {
		t.Errorf("%+v %v", lines, err)
	}
}

// A journal goes on where it was, and a query finds what it says.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		j, err := journal.Open(dir, journal.FileMax, journal.Keep)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.NewJSONHandler(j, nil))
		log.Info("启动", "zone", fmt.Sprint("ca", i))
		log.Warn("慢", "ms", 5)
		log.Error("失败", "err", "磁盘满")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for _, c := range []struct {
		name string
		q    journal.Query
		want int
	}{
		{"all", journal.Query{}, 6}, {"errors", journal.Query{Level: "error"}, 2}, {"warnings and above", journal.Query{Level: "WARN"}, 4},
		{"words of a message", journal.Query{Text: "失"}, 2}, {"an attribute", journal.Query{Text: "zone=ca1"}, 1}, {"nothing", journal.Query{Text: "没有"}, 0},
		{"later", journal.Query{From: now.Add(time.Hour)}, 0}, {"until now", journal.Query{To: now.Add(time.Hour)}, 6}, {"bounded", journal.Query{Limit: 2}, 2},
	} {
		lines, err := journal.Find(dir, c.q)
		if err != nil || len(lines) != c.want {
			t.Errorf("%s: %d lines, want %d: %v", c.name, len(lines), c.want, err)
		}
	}
	if lines, err := journal.Find(t.TempDir(), journal.Query{}); err != nil || len(lines) != 0 {
		t.Errorf("an empty folder: %v %v", lines, err)
	}
}
