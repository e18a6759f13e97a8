package ledger

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/hufu-pki/hufu/format/alg"
)

// Stray is a file beside a log that its checkpoint does not cover: nothing was
// proven of it, and nothing that was proven rests on it.
type Stray struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// strayMax bounds the strays named one by one; the rest are counted.
const strayMax = 1000

// lister is a source that can tell what files it has. A log behind a URL
// cannot: who verifies it there sees only what they ask for.
type lister interface {
	list(see func(path string) error) error
}

// list names the files of a folder, the hidden ones too.
func (s fsSource) list(see func(path string) error) error {
	return fs.WalkDir(s.files, ".", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() { // a tile that was replaced meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		return see(path)
	})
}

type archive struct {
	fsSource
	names []string
}

// Archive is a ledger in a ZIP file. Names that appear twice, or that lead out
// of it, are kept: readers differ about which of two they show.
func Archive(z *zip.Reader) Source {
	a := archive{fsSource: fsSource{z}}
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, "/") {
			a.names = append(a.names, f.Name)
		}
	}
	return a
}

func (a archive) list(see func(path string) error) error {
	met := map[string]bool{}
	for _, name := range a.names {
		if met[name] {
			return &Broken{Entry: -1, File: name, Why: "在压缩包里出现两次"}
		}
		met[name] = true
		if err := see(name); err != nil {
			return err
		}
	}
	return nil
}

// strays goes through every file of a source that can list them. What lies
// among the tiles and bodies and contradicts what was verified, or has no
// business there, is a *Broken; other files are only named.
func (v *verifier) strays(ctx context.Context) error {
	all, ok := v.src.(lister)
	if !ok {
		return nil
	}
	return all.list(func(path string) error {
		if err := ctx.Err(); err != nil || path == CheckpointPath || v.read[path] {
			return err
		}
		note, err := "不属于账本", error(nil)
		switch {
		case strings.HasPrefix(path, "tile/"):
			note, err = v.tile(ctx, path)
		case strings.HasPrefix(path, "body/"):
			note, err = v.body(ctx, path)
		}
		if err != nil || note == "" {
			return err
		}
		v.report.Strays++
		if len(v.report.Named) < strayMax {
			v.report.Named = append(v.report.Named, Stray{path, note})
		}
		return nil
	})
}

// tile judges a tile or bundle that verification had no need of.
func (v *verifier) tile(ctx context.Context, name string) (note string, err error) {
	broken := func(entry int64, text string) error { return &Broken{Entry: entry, File: name, Why: text} }
	level, n, width, ok := parseTile(name)
	if !ok {
		return "", broken(-1, "不是账本的瓦片，却在瓦片目录里")
	}
	span, at := int64(1), func(width int) string { return EntriesPath(n, width) }
	if level >= 0 {
		at = func(width int) string { return TilePath(level, n, width) }
	}
	for range level {
		span *= Width
	}
	have := int(min(Width, v.size/span-n*Width))
	if have <= 0 {
		return "在检查点之后，未经核验", nil
	}
	proven, _, err := v.get(ctx, at(have), at(Width))
	if err != nil {
		return "", err
	}
	data, err := v.src.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) { // replaced while we looked
		return "", nil
	}
	if err != nil {
		return "", broken(n*Width*span, why(err))
	}
	mine, theirs, err := pieces(level, data), pieces(level, proven), error(nil)
	for i, p := range mine {
		if i < min(have, width) && i < len(theirs) && !bytes.Equal(p, theirs[i]) {
			return "", broken((n*Width+int64(i))*span, "与已核验的 "+at(have)+" 矛盾")
		}
	}
	if len(mine) > width {
		return "", broken((n*Width+int64(width))*span, "末尾有多余的字节")
	}
	if width > have {
		return "超出检查点的部分未经核验", nil
	}
	if len(mine) < width {
		return "", broken((n*Width+int64(len(mine)))*span, "被截短")
	}
	return "已被更完整的瓦片取代，内容一致", nil
}

// pieces splits a tile into its hashes, or a bundle into its leaves; what is
// left over at the end is one more.
func pieces(level int, data []byte) (list [][]byte) {
	if level < 0 {
		list, err := readBundle(data)
		if err != nil {
			return append(list, nil)
		}
		return list
	}
	for len(data) > HashSize {
		list, data = append(list, data[:HashSize]), data[HashSize:]
	}
	if len(data) > 0 {
		list = append(list, data)
	}
	return list
}

// body judges a body that no verified entry names.
func (v *verifier) body(ctx context.Context, name string) (note string, err error) {
	digest, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(name, "body/"), "/", ""))
	if err != nil || len(digest) != HashSize || BodyPath(digest) != name {
		return "", &Broken{Entry: -1, File: name, Why: "不是以摘要命名的正文，却在正文目录里"}
	}
	data, err := v.src.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", &Broken{Entry: -1, File: name, Why: why(err)}
	}
	if !bytes.Equal(alg.Digest(data), digest) {
		return "", &Broken{Entry: -1, File: name, Why: "正文与其摘要不符"}
	}
	return "没有条目提到的正文", nil
}

// parseTile reads a path as TilePath and EntriesPath write them; level is -1
// for a bundle.
func parseTile(name string) (level int, n int64, width int, ok bool) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(name, "tile/"), "/")
	if level = -1; kind != "entries" {
		l, err := strconv.Atoi(kind)
		if err != nil || l < 0 || l >= tileLevels {
			return 0, 0, 0, false
		}
		level = l
	}
	width = Width
	if dir := path.Dir(rest); strings.HasSuffix(dir, ".p") {
		w, err := strconv.Atoi(path.Base(rest))
		if err != nil || w < 1 || w >= Width {
			return 0, 0, 0, false
		}
		width, rest = w, strings.TrimSuffix(dir, ".p")
	}
	for part := range strings.SplitSeq(rest, "/") {
		d, err := strconv.Atoi(strings.TrimPrefix(part, "x"))
		if err != nil || d < 0 || d > 999 || n > 1<<40 {
			return 0, 0, 0, false
		}
		n = n*1000 + int64(d)
	}
	canonical := EntriesPath(n, width)
	if level >= 0 {
		canonical = TilePath(level, n, width)
	}
	return level, n, width, canonical == name
}

// String is the stray as a line for people.
func (s Stray) String() string { return fmt.Sprintf("%s：%s", s.Path, s.Why) }
