package ledger

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hufu-pki/hufu/format/alg"
)

// Target receives a log. Put may repeat what the target has; Seal checks that
// what was put is what the checkpoint says before anybody can see it.
type Target interface {
	Size(ctx context.Context) (int64, error)
	Put(ctx context.Context, b Batch) error
	Seal(ctx context.Context, note []byte) error
}

// Batch is a run of leaves and the bodies that lie beside them.
type Batch struct {
	First  int64
	Leaves [][]byte
	Bodies [][]byte
}

// Folder is a target that lays a log out as files, and a source that serves
// them. Its methods may be called at once.
type Folder struct {
	Dir    string
	Key    *ecdsa.PublicKey // of the checkpoints it accepts
	Origin string

	mu     sync.Mutex
	loaded bool
	front  Frontier
	rows   [tileLevels][][]byte // the unfinished tile of each level
	bundle [][]byte             // the unfinished entry bundle
	old    []string             // partial files of the checkpoint before last
	last   []string
}

// ErrGap is returned when leaves are put that do not follow those it has.
var ErrGap = errors.New("ledger: a gap before these entries")

// ErrFork is returned when a checkpoint contradicts the entries received.
var ErrFork = errors.New("ledger: checkpoint does not match the entries")

// Size is how many entries lie in the folder under a checkpoint.
func (f *Folder) Size(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return 0, err
	}
	return f.front.Size(), nil
}

// load takes up where the last checkpoint in the folder ends.
func (f *Folder) load() error {
	if f.loaded {
		return nil
	}
	if err := os.MkdirAll(f.Dir, 0o750); err != nil {
		return err
	}
	note, err := os.ReadFile(filepath.Join(f.Dir, CheckpointPath))
	if errors.Is(err, fs.ErrNotExist) {
		f.loaded = true
		return nil
	}
	if err != nil {
		return err
	}
	cp, err := OpenCheckpoint(note, f.Key, f.Origin)
	if err != nil {
		return fmt.Errorf("ledger folder: %w", err)
	}
	if err := f.restore(cp); err != nil {
		// Tiles are derived: what is damaged is sent again from the start.
		f.front, f.rows, f.bundle = Frontier{}, [tileLevels][][]byte{}, nil
	} else if err := f.sweep(cp.Size); err != nil {
		return err
	}
	f.loaded = true
	return nil
}

// sweep removes the partial tiles that the checkpoint has no need of: those of
// checkpoints before it, and those a crash has cut short.
func (f *Folder) sweep(size int64) error {
	return filepath.WalkDir(filepath.Join(f.Dir, "tile"), func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // an empty log
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(f.Dir, file)
		if err != nil {
			return err
		}
		level, n, width, ok := parseTile(filepath.ToSlash(name))
		span := int64(1)
		for range level {
			span *= Width
		}
		if !ok || width == Width || size/span-n*Width == int64(width) {
			return nil
		}
		return os.Remove(file)
	})
}

func (f *Folder) restore(cp Checkpoint) error {
	src := Dir(f.Dir)
	ctx := context.Background()
	size := cp.Size
	for level := range tileLevels {
		if width := int(size % Width); width > 0 {
			tile, err := src.Get(ctx, TilePath(level, size/Width, width))
			if err != nil || len(tile) != width*HashSize {
				return fmt.Errorf("tile %d: %w", level, errors.Join(err, errBundle))
			}
			for h := range chunks(tile) {
				f.rows[level] = append(f.rows[level], bytes.Clone(h))
			}
		}
		size /= Width
	}
	if width := int(cp.Size % Width); width > 0 {
		b, err := src.Get(ctx, EntriesPath(cp.Size/Width, width))
		if err != nil {
			return err
		}
		if f.bundle, err = readBundle(b); err != nil || len(f.bundle) != width {
			return errBundle
		}
	}
	hashes, err := f.frontier()
	if err != nil {
		return err
	}
	if f.front, err = FrontierOf(cp.Size, hashes); err != nil {
		return err
	}
	if !bytes.Equal(f.front.Root(), cp.Root) {
		return ErrFork
	}
	return nil
}

// frontier computes the compact range from the unfinished tiles: left to
// right, from the highest level down, each row's own binary decomposition.
func (f *Folder) frontier() ([]byte, error) {
	var all []byte
	for level := tileLevels - 1; level >= 0; level-- {
		row := f.rows[level]
		for bit := 7; bit >= 0; bit-- {
			n := 1 << bit
			if len(f.rows[level])&n == 0 {
				continue
			}
			r := ranges.NewEmptyRange(0)
			for _, h := range row[:n] {
				if err := r.Append(h, nil); err != nil {
					return nil, err
				}
			}
			root, err := r.GetRootHash(nil)
			if err != nil {
				return nil, err
			}
			all, row = append(all, root...), row[n:]
		}
	}
	return all, nil
}

// Put takes leaves that follow those it has; repeated ones are passed over.
func (f *Folder) Put(_ context.Context, b Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return err
	}
	have := f.front.Size()
	if b.First > have {
		return fmt.Errorf("%w: have %d, got %d", ErrGap, have, b.First)
	}
	for _, body := range b.Bodies {
		if err := f.write(BodyPath(alg.Digest(body)), body); err != nil {
			return err
		}
	}
	skip := have - b.First
	if skip >= int64(len(b.Leaves)) {
		return nil
	}
	return f.add(b.Leaves[skip:])
}

func (f *Folder) add(leaves [][]byte) error {
	hashes := make([][]byte, len(leaves))
	for i, l := range leaves {
		hashes[i] = LeafHash(l)
	}
	next, err := f.front.Append(hashes...)
	if err != nil {
		return err
	}
	rows, bundle, index := f.rows, f.bundle, f.front.Size()
	for i := range rows {
		rows[i] = slices.Clone(rows[i])
	}
	for i, l := range leaves {
		bundle = append(bundle, bytes.Clone(l))
		if len(bundle) == Width {
			if err := f.write(EntriesPath(index/Width, Width), appendBundle(nil, bundle...)); err != nil {
				return err
			}
			bundle = nil
		}
		if err := f.climb(&rows, hashes[i], index); err != nil {
			return err
		}
		index++
	}
	f.front, f.rows, f.bundle = next, rows, bundle
	return nil
}

// climb adds a leaf hash at level 0 and carries each finished tile upward.
func (f *Folder) climb(rows *[tileLevels][][]byte, hash []byte, index int64) error {
	for level := range tileLevels {
		rows[level] = append(rows[level], hash)
		if len(rows[level]) < Width {
			return nil
		}
		index /= Width
		if err := f.write(TilePath(level, index, Width), bytes.Join(rows[level], nil)); err != nil {
			return err
		}
		r := ranges.NewEmptyRange(0)
		for _, h := range rows[level] {
			if err := r.Append(h, nil); err != nil {
				return err
			}
		}
		var err error
		if hash, err = r.GetRootHash(nil); err != nil {
			return err
		}
		rows[level] = nil
	}
	return nil
}

// Seal publishes a checkpoint over exactly the entries that were put.
func (f *Folder) Seal(_ context.Context, note []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return err
	}
	cp, err := OpenCheckpoint(note, f.Key, f.Origin)
	if err != nil {
		return err
	}
	if cp.Size != f.front.Size() || !bytes.Equal(cp.Root, f.front.Root()) {
		return fmt.Errorf("%w: checkpoint of %d entries, have %d", ErrFork, cp.Size, f.front.Size())
	}
	partial, err := f.partials(cp.Size)
	if err != nil {
		return err
	}
	if err := SyncDir(f.Dir); err != nil {
		return err
	}
	tmp := filepath.Join(f.Dir, ".checkpoint.new")
	if err := os.WriteFile(tmp, note, 0o640); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(f.Dir, CheckpointPath)); err != nil {
		return err
	}
	if slices.Equal(partial, f.last) {
		return nil // sealed again: who reads by the one before still needs its files
	}
	for _, p := range f.old {
		if !slices.Contains(partial, p) && !slices.Contains(f.last, p) {
			_ = os.Remove(filepath.Join(f.Dir, p)) // a left-over partial tile harms nobody
		}
	}
	f.old, f.last = f.last, partial
	return nil
}

func (f *Folder) partials(size int64) (paths []string, err error) {
	put := func(path string, data []byte) {
		if paths = append(paths, path); err == nil {
			err = f.write(path, data)
		}
	}
	if n := len(f.bundle); n > 0 {
		put(EntriesPath(size/Width, n), appendBundle(nil, f.bundle...))
	}
	for level := range tileLevels {
		if n := len(f.rows[level]); n > 0 {
			put(TilePath(level, size/Width, n), bytes.Join(f.rows[level], nil))
		}
		size /= Width
	}
	return paths, err
}

// write is safe to repeat: a path has one content for ever. What is there
// already is left alone, for somebody may be reading it; what a crash has cut
// short is replaced at one stroke.
func (f *Folder) write(path string, data []byte) error {
	full := filepath.Join(f.Dir, filepath.FromSlash(path))
	err := create(full, data)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
			return err
		}
		err = create(full, data)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if have, err := os.ReadFile(full); err == nil && bytes.Equal(have, data) {
		return nil
	}
	whole := filepath.Join(f.Dir, ".tile.new")
	if err := os.WriteFile(whole, data, 0o640); err != nil {
		return err
	}
	return os.Rename(whole, full)
}

// create writes a file that nobody has a name for yet.
func create(full string, data []byte) error {
	file, err := os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
