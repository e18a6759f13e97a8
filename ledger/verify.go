package ledger

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/record"
)

// Broken says where a log first fails to be what its checkpoint claims.
type Broken struct {
	Entry int64 // index of the first broken entry; -1 when no entry is
	Why   string
	File  string // that contradicts what was verified; empty when an entry or the checkpoint does
}

func (b *Broken) Error() string {
	if b.File != "" && b.Entry < 0 {
		return fmt.Sprintf("文件 %q %s", b.File, b.Why)
	}
	if b.File != "" {
		return fmt.Sprintf("文件 %q（第 %d 条起，entry %d）%s", b.File, b.Entry, b.Entry, b.Why)
	}
	if b.Entry < 0 {
		return "检查点（checkpoint）：" + b.Why
	}
	return fmt.Sprintf("第 %d 条（entry %d）：%s", b.Entry, b.Entry, b.Why)
}

// Report is what a verification found.
type Report struct {
	Checkpoint Checkpoint
	Entries    int64
	Kinds      map[string]int64
	Bodies     int64 // checked
	Withheld   int64 // certificates published as digest only
	Missing    int64 // published in full, but not here
	Strays     int64 // files the checkpoint does not cover
	Named      []Stray
}

// Verify checks a whole log, offline, with nothing but the checkpoint key:
// entries against tiles, tiles against their parents, all against the signed
// root, bodies against their digests, and files the checkpoint does not cover
// against all of these. The error is a *Broken, or a failure to read. Every body
// that the log publishes in full must be there.
func Verify(ctx context.Context, src Source, key *ecdsa.PublicKey) (Report, error) {
	return verify(ctx, src, key, true)
}

// VerifyEntries checks a log as Verify does, but for bodies that are missing:
// an export may leave them out, and the entries stand without.
func VerifyEntries(ctx context.Context, src Source, key *ecdsa.PublicKey) (Report, error) {
	return verify(ctx, src, key, false)
}

func verify(ctx context.Context, src Source, key *ecdsa.PublicKey, bodies bool) (Report, error) {
	r := Report{Kinds: map[string]int64{}}
	note, err := src.Get(ctx, CheckpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		return r, &Broken{Entry: -1, Why: "没有检查点文件"}
	}
	if err != nil {
		return r, refusal.Said(err, "检查点（checkpoint）%s", why(err))
	}
	if r.Checkpoint, err = OpenCheckpoint(note, key, ""); err != nil {
		return r, &Broken{Entry: -1, Why: strings.TrimPrefix(err.Error(), ErrCheckpoint.Error()+": ")}
	}
	v := verifier{src: src, size: r.Checkpoint.Size, report: &r, bodies: bodies}
	if _, ok := src.(lister); ok {
		v.read = map[string]bool{}
	}
	for n := int64(0); n*Width < v.size; n++ {
		if err := v.bundle(ctx, n); err != nil {
			return r, err
		}
	}
	if !bytes.Equal(v.front.Root(), r.Checkpoint.Root) {
		return r, &Broken{Entry: -1, Why: "根与各条不符：条目与瓦片被一并改动"}
	}
	return r, v.strays(ctx)
}

// why says to people what is wrong with a file that could not be had.
func why(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "不在"
	case errors.Is(err, errLarge):
		return "超过大小上限"
	case errors.Is(err, ErrBody):
		return "与其摘要不符"
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF):
		return "在压缩包里已损坏"
	}
	if text := refusal.Plain(err); text != "" {
		return "无法读取：" + text
	}
	return "无法读取"
}

type verifier struct {
	src    Source
	size   int64
	front  Frontier
	report *Report
	bodies bool            // they must be there
	read   map[string]bool // the files that were verified, of a source that can list its files
}

// bundle checks 256 entries against their hash tile, and that against its parent.
func (v *verifier) bundle(ctx context.Context, n int64) error {
	first := n * Width
	width := int(min(Width, v.size-first))
	tile, exact, err := v.get(ctx, TilePath(0, n, width), TilePath(0, n, Width))
	if err != nil {
		return &Broken{Entry: first, Why: "散列瓦片 " + TilePath(0, n, width) + " " + why(err)}
	}
	raw, whole, err := v.get(ctx, EntriesPath(n, width), EntriesPath(n, Width))
	if err != nil {
		return &Broken{Entry: first, Why: "条目包 " + EntriesPath(n, width) + " " + why(err)}
	}
	leaves, bundleErr := readBundle(raw)
	var hashes [][]byte
	for i := range width {
		at := first + int64(i)
		if i >= len(leaves) {
			return &Broken{Entry: at, Why: "条目包中没有此条"}
		}
		h := LeafHash(leaves[i])
		if len(tile) < (i+1)*HashSize || !bytes.Equal(h, tile[i*HashSize:(i+1)*HashSize]) {
			return &Broken{Entry: at, Why: "与其散列不符"}
		}
		if err := v.entry(ctx, at, leaves[i]); err != nil {
			return err
		}
		hashes = append(hashes, h)
	}
	if bundleErr != nil || whole && len(raw) != len(appendBundle(nil, leaves[:width]...)) {
		return &Broken{Entry: first + int64(width), Why: "条目包末尾有多余的字节"}
	}
	if exact && len(tile) != width*HashSize {
		return &Broken{Entry: first + int64(width), Why: "散列瓦片末尾有多余的字节"}
	}
	if v.front, err = v.front.Append(hashes...); err != nil {
		return err
	}
	return v.parents(ctx, n, hashes)
}

// get reads a partial file, or the full one that has replaced it and goes on
// beyond the checkpoint; whole tells which.
func (v *verifier) get(ctx context.Context, path, full string) (data []byte, whole bool, err error) {
	data, err = v.src.Get(ctx, path)
	if errors.Is(err, fs.ErrNotExist) && full != path {
		data, err = v.src.Get(ctx, full)
		return data, false, err // what goes beyond the checkpoint is looked at with the strays
	}
	v.proved(path, err)
	return data, true, err
}

// proved remembers a file that was read and is what it must be.
func (v *verifier) proved(path string, err error) {
	if v.read != nil && err == nil {
		v.read[path] = true
	}
}

// parents checks a full tile against the hash its parent tile keeps of it, and
// finished parents against theirs.
func (v *verifier) parents(ctx context.Context, n int64, hashes [][]byte) error {
	for level := 1; level < tileLevels && len(hashes) == Width; level++ {
		r := ranges.NewEmptyRange(0)
		for _, h := range hashes {
			if err := r.Append(h, nil); err != nil {
				return err
			}
		}
		sum, err := r.GetRootHash(nil)
		if err != nil {
			return err
		}
		span := int64(1)
		for range level {
			span *= Width
		}
		rows := v.size / span
		path := TilePath(level, n/Width, int(min(Width, rows-n/Width*Width)))
		tile, exact, err := v.get(ctx, path, TilePath(level, n/Width, Width))
		if err != nil {
			return &Broken{Entry: n * span, Why: "瓦片 " + path + " " + why(err)}
		}
		if exact && int64(len(tile)) != min(Width, rows-n/Width*Width)*HashSize {
			return &Broken{Entry: n * span, Why: "瓦片 " + path + " 的长度不符"}
		}
		at := n % Width * HashSize
		if int64(len(tile)) < at+HashSize || !bytes.Equal(sum, tile[at:at+HashSize]) {
			return &Broken{Entry: n * span, Why: "其后 " + fmt.Sprint(span) + " 条中有一条与瓦片 " + path + " 不符"}
		}
		if n%Width != Width-1 {
			return nil
		}
		hashes = nil
		for h := range chunks(tile) {
			hashes = append(hashes, h)
		}
		n /= Width
	}
	return nil
}

func (v *verifier) entry(ctx context.Context, at int64, leaf []byte) error {
	v.report.Entries++
	e, err := record.Parse(leaf)
	if err != nil {
		return &Broken{Entry: at, Why: "不是账本条目"}
	}
	v.report.Kinds[e.Kind]++
	var digest []byte
	switch e.Kind {
	case record.KindCertificate:
		c, err := record.ParseCertificate(e.Body)
		if err != nil {
			return &Broken{Entry: at, Why: "不是账本的证书条目"}
		}
		if !c.Public { // not for strangers; but if it is here, it is the right one
			v.report.Withheld++
			_, err := Body(ctx, v.src, c.Digest)
			v.proved(BodyPath(c.Digest), err)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &Broken{Entry: at, Why: "正文 " + BodyPath(c.Digest) + " " + why(err)}
			}
			return nil
		}
		digest = c.Digest
	case record.KindCRL:
		c, err := record.ParseCRL(e.Body)
		if err != nil {
			return &Broken{Entry: at, Why: "不是账本的列表条目"}
		}
		digest = c.Digest
	default:
		return nil
	}
	_, err = Body(ctx, v.src, digest)
	if errors.Is(err, fs.ErrNotExist) {
		v.report.Missing++
		if v.bodies {
			return &Broken{Entry: at, Why: "缺少正文 " + BodyPath(digest)}
		}
		return nil
	}
	if err != nil {
		return &Broken{Entry: at, Why: "正文 " + BodyPath(digest) + " " + why(err)}
	}
	v.proved(BodyPath(digest), nil)
	v.report.Bodies++
	return nil
}
