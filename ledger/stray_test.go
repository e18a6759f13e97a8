package ledger_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm3"

	"github.com/hufu-pki/hufu/ledger"
)

func place(t *testing.T, dir, path string, data []byte) (undo func()) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(file) }
}

func read(t *testing.T, dir, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Every file in a folder is proven, named as not covered, or a finding that
// names it.
func TestFilesTheCheckpointDoesNotCoverAreNamed(t *testing.T) {
	const n = 700
	dir, key, leaves := sealed(t, n)
	hashes, last := read(t, dir, ledger.TilePath(0, 0, 256)), read(t, dir, ledger.TilePath(0, 2, n-512))
	body := sm3.Sum([]byte("nobody's"))
	twice := append(bytes.Clone(hashes[:32]), hashes[:32]...)
	for _, c := range []struct {
		name, path string
		data       []byte
		entry      int64 // of the finding; -2 is none
		note       string
	}{
		{"a superseded tile", ledger.TilePath(0, 0, 9), hashes[:9*32], -2, "内容一致"},
		{"one that contradicts", ledger.TilePath(0, 0, 2), twice, 1, ""},
		{"one that is short", ledger.TilePath(0, 1, 9), nil, 256, ""},
		{"one that is long", ledger.TilePath(0, 0, 1), hashes[:33], 1, ""},
		{"a superseded bundle", ledger.EntriesPath(0, 2), bundle(leaves[:2]...), -2, "内容一致"},
		{"a bundle that contradicts", ledger.EntriesPath(0, 2), bundle(leaves[0], leaves[2]), 1, ""},
		{"a bundle that is cut", ledger.EntriesPath(0, 2), bundle(leaves[:2]...)[:8], 0, ""},
		{"a superseded parent that contradicts", ledger.TilePath(1, 0, 1), hashes[:32], 0, ""},
		{"more than the checkpoint", ledger.TilePath(0, 2, 200), append(bytes.Clone(last), hashes[:12*32]...), -2, "未经核验"},
		{"more, and other", ledger.TilePath(0, 2, 200), append(bytes.Clone(hashes[:32]), last...), 512, ""},
		{"after the checkpoint", ledger.TilePath(0, 9, 256), hashes, -2, "未经核验"},
		{"no tile at all", "tile/readme.txt", nil, -1, ""},
		{"a tile misnamed", "tile/0/0", hashes, -1, ""},
		{"a level too high", "tile/9/000", hashes, -1, ""},
		{"a body no entry names", ledger.BodyPath(body[:]), []byte("nobody's"), -2, "没有条目"},
		{"a body that is another", ledger.BodyPath(body[:]), []byte("else"), -1, ""},
		{"a body misnamed", "body/aa/x", nil, -1, ""},
		{"a foreign file", "README.txt", nil, -2, "不属于账本"},
		{"a hidden file", ".checkpoint.new", nil, -2, "不属于账本"},
	} {
		undo := place(t, dir, c.path, c.data)
		r, err := ledger.Verify(t.Context(), ledger.Dir(dir), key)
		undo()
		if c.entry == -2 {
			if err != nil || r.Strays != 1 || len(r.Named) != 1 || r.Named[0].Path != c.path || !strings.Contains(r.Named[0].Why, c.note) {
				t.Errorf("%s: %v, named %v", c.name, err, r.Named)
			}
			continue
		}
		b, ok := errors.AsType[*ledger.Broken](err)
		if !ok || b.File != c.path || b.Entry != c.entry || !strings.Contains(b.Error(), c.path) {
			t.Errorf("%s: %v, want entry %d", c.name, err, c.entry)
		}
	}
	if r, err := ledger.Verify(t.Context(), ledger.Dir(dir), key); err != nil || r.Strays != 0 {
		t.Errorf("without them: %v, %v", err, r.Named)
	}
}

// Of a name that appears twice in an archive, readers show different ones.
func TestANameTwiceInAnArchiveIsAFinding(t *testing.T) {
	dir, key, _ := sealed(t, 3)
	pack := func(extra ...string) ledger.Source {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		add := func(name string, data []byte) {
			w, err := z.Create(name)
			if err == nil {
				_, err = w.Write(data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				name, _ := filepath.Rel(dir, path) // it lies within
				add(filepath.ToSlash(name), read(t, dir, filepath.ToSlash(name)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range extra {
			add(name, nil)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		return ledger.Archive(r)
	}
	for extra, want := range map[string]string{"": "", ledger.TilePath(0, 0, 3): "两次", ledger.CheckpointPath: "两次", "tile/0/../0/000": "瓦片目录"} {
		src := pack()
		if extra != "" {
			src = pack(extra)
		}
		_, err := ledger.Verify(t.Context(), src, key)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), extra)) {
			t.Errorf("%q: %v", extra, err)
		}
	}
	if r, err := ledger.Verify(t.Context(), pack("../out"), key); err != nil || r.Strays != 1 {
		t.Errorf("a name that leads out: %v %v", err, r.Named)
	}
}

// A folder that is opened again drops what checkpoints before, or a crash,
// have left among the tiles; what it needs stays.
func TestAFolderOpenedAgainHasNoPartialTilesButItsOwn(t *testing.T) {
	dir, key, _ := sealed(t, 700)
	place(t, dir, ledger.TilePath(0, 2, 9), nil)
	place(t, dir, ledger.EntriesPath(0, 3), nil)
	place(t, dir, ledger.TilePath(0, 3, 9), nil)
	f := &ledger.Folder{Dir: dir, Key: key, Origin: "test"}
	if n, err := f.Size(context.Background()); err != nil || n != 700 {
		t.Fatal(n, err)
	}
	if r, err := ledger.Verify(t.Context(), ledger.Dir(dir), key); err != nil || r.Strays != 0 {
		t.Errorf("%v, named %v", err, r.Named)
	}
}
