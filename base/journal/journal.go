// Package journal keeps a process's log on disk, bounded, and finds lines in
// it. (系统日志)
//
// Lines are JSON, one each, as log/slog writes them. A file that is full is
// followed by the next; the oldest go. What may not be logged, private keys and
// identity data, never reaches it: whoever logs sees to that.
package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds: ten files of ten megabytes are some hundred thousand lines, weeks of
// a busy system.
const (
	FileMax = 10 << 20
	Keep    = 10
	lineMax = 64 << 10
)

// Journal is a folder of log files. It is an io.Writer: each Write is a line.
type Journal struct {
	dir  string
	max  int64
	keep int

	mu   sync.Mutex
	file *os.File
	size int64
}

const current = "hufu.log"

// Open goes on with a folder's journal, or begins one, with files of up to max
// bytes of which keep are kept.
func Open(dir string, max int64, keep int) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, max: max, keep: keep}
	return j, j.open()
}

func (j *Journal) open() error {
	f, err := os.OpenFile(filepath.Join(j.dir, current), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.size = f, info.Size()
	return nil
}

// Write appends a line. A line that is too long is cut.
func (j *Journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(line)
	if n > lineMax {
		line = append(line[:lineMax-1:lineMax-1], '\n')
	}
	if j.size > 0 && j.size+int64(len(line)) > j.max {
		if err := j.turn(); err != nil {
			return 0, err
		}
	}
	w, err := j.file.Write(line)
	if j.size += int64(w); err != nil {
		return w, err
	}
	return n, nil
}

// turn begins the next file: hufu.log becomes hufu.log.1, which becomes
// hufu.log.2, and so on.
func (j *Journal) turn() error {
	if err := j.file.Close(); err != nil {
		return err
	}
	name := func(i int) string {
		if i == 0 {
			return filepath.Join(j.dir, current)
		}
		return filepath.Join(j.dir, fmt.Sprintf("%s.%d", current, i))
	}
	for i := j.keep - 2; i >= 0; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return j.open()
}

// Close ends writing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

// LogLine is one line of the log.
type LogLine struct {
	Time  time.Time         `json:"time"`
	Level string            `json:"level"`
	Text  string            `json:"msg"`
	Attrs map[string]string `json:"attrs,omitempty"`
}

// Query finds lines. Empty fields match all; Level takes that level and above.
type Query struct {
	Level    string // DEBUG, INFO, WARN, ERROR
	Text     string // within the message or an attribute
	From, To time.Time
	Limit    int
}

// LimitMax bounds one answer.
const LimitMax = 500

var levels = []string{"DEBUG", "INFO", "WARN", "ERROR"}

// Find returns matching lines, newest first.
func Find(dir string, q Query) ([]LogLine, error) {
	if q.Limit <= 0 || q.Limit > LimitMax {
		q.Limit = LimitMax
	}
	found := []LogLine{}
	for i := 0; i < Keep+1 && len(found) < q.Limit; i++ {
		name := filepath.Join(dir, current)
		if i > 0 {
			name = fmt.Sprintf("%s.%d", name, i)
		}
		lines, err := scan(name, q)
		if errors.Is(err, fs.ErrNotExist) {
			continue // turned meanwhile, or never that many
		}
		if err != nil {
			return nil, err
		}
		slices.Reverse(lines)
		found = append(found, lines...)
	}
	return found[:min(q.Limit, len(found))], nil
}

func scan(name string, q Query) (lines []LogLine, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 2*lineMax)
	for in.Scan() {
		if l, ok := parse(in.Bytes()); ok && q.takes(l) {
			if lines = append(lines, l); len(lines) > q.Limit {
				lines = lines[1:]
			}
		}
	}
	return lines, in.Err()
}

func parse(line []byte) (l LogLine, ok bool) {
	var raw map[string]any
	if json.Unmarshal(line, &raw) != nil {
		return l, false
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(raw["time"]))
	l = LogLine{Time: at, Level: fmt.Sprint(raw["level"]), Text: fmt.Sprint(raw["msg"]), Attrs: map[string]string{}}
	for k, v := range raw {
		if k != "time" && k != "level" && k != "msg" {
			l.Attrs[k] = fmt.Sprint(v)
		}
	}
	return l, err == nil
}

func (q Query) takes(l LogLine) bool {
	if slices.Index(levels, l.Level) < slices.Index(levels, strings.ToUpper(q.Level)) {
		return false
	}
	if !q.From.IsZero() && l.Time.Before(q.From) || !q.To.IsZero() && !l.Time.Before(q.To) {
		return false
	}
	if q.Text == "" || strings.Contains(l.Text, q.Text) {
		return true
	}
	for k, v := range l.Attrs {
		if strings.Contains(k+"="+v, q.Text) {
			return true
		}
	}
	return false
}
