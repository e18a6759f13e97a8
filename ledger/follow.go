package ledger

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/hufu-pki/hufu/format/alg"
)

// FileMax bounds a file read from a ledger: a full bundle of the largest entries.
const FileMax = Width * (2 + 65535)

// Source serves the files of a ledger. A file that is not there is
// fs.ErrNotExist.
type Source interface {
	Get(ctx context.Context, path string) ([]byte, error)
}

type fsSource struct{ files fs.FS }

// Dir is a ledger in a folder.
func Dir(dir string) Source { return fsSource{os.DirFS(dir)} }

func (s fsSource) Get(_ context.Context, path string) ([]byte, error) {
	f, err := s.files.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f, path)
}

// bodyMax bounds a body that lies beside the tiles: a revocation list of some
// millions of entries.
const bodyMax = 512 << 20

var errLarge = errors.New("ledger: file too large")

// ErrBody is returned for a body that is not the one with its digest.
var ErrBody = errors.New("ledger: body does not match its digest")

func bounded(r io.Reader, path string) ([]byte, error) {
	most := int64(FileMax)
	if strings.HasPrefix(path, "body/") {
		most = bodyMax
	}
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%w: more than %d bytes", errLarge, most)
	}
	return data, err
}

// Web is a ledger behind a URL.
type Web struct {
	URL    string // without a trailing slash
	Client *http.Client
}

// Get fetches one file.
func (w Web) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(w.URL, "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return bounded(resp.Body, path)
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s: %s", path, resp.Status)
}

// Body fetches a body and checks that it is the one with this digest.
func Body(ctx context.Context, src Source, digest []byte) ([]byte, error) {
	body, err := src.Get(ctx, BodyPath(digest))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(alg.Digest(body), digest) {
		return nil, fmt.Errorf("%w: %x", ErrBody, digest)
	}
	return body, nil
}

// Follower reads a log as it grows. It hands out only entries that a signed
// checkpoint covers and that continue the log it has seen.
type Follower struct {
	Source Source
	Key    *ecdsa.PublicKey
	Origin string
	At     Frontier // how far it has come; keep Size and Hashes to go on later
}

// Run is a verified run of entries. Frontier is where a follower stands after it.
type Run struct {
	First    int64
	Leaves   [][]byte
	Frontier Frontier
	Sealed   Checkpoint
}

// Next returns the entries sealed since At, in one verified run; it has no
// leaves when there is nothing new. The caller applies them and then sets At
// to the run's Frontier.
func (f *Follower) Next(ctx context.Context) (Run, error) {
	note, err := f.Source.Get(ctx, CheckpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		return Run{First: f.At.Size(), Frontier: f.At}, nil
	}
	if err != nil {
		return Run{}, err
	}
	cp, err := OpenCheckpoint(note, f.Key, f.Origin)
	if err != nil {
		return Run{}, err
	}
	have := f.At.Size()
	if cp.Size < have {
		return Run{}, fmt.Errorf("%w: checkpoint shrank from %d to %d", ErrFork, have, cp.Size)
	}
	leaves, err := readLeaves(ctx, f.Source, have, cp.Size)
	if err != nil {
		return Run{}, err
	}
	hashes := make([][]byte, len(leaves))
	for i, l := range leaves {
		hashes[i] = LeafHash(l)
	}
	front, err := f.At.Append(hashes...)
	if err != nil {
		return Run{}, err
	}
	if !bytes.Equal(front.Root(), cp.Root) {
		return Run{}, fmt.Errorf("%w: entries %d to %d", ErrFork, have, cp.Size)
	}
	return Run{have, leaves, front, cp}, nil
}

func readLeaves(ctx context.Context, src Source, from, to int64) (all [][]byte, err error) {
	for from < to {
		n := from / Width
		leaves, err := bundleAt(ctx, src, n, to)
		if err != nil {
			return nil, fmt.Errorf("entries %d: %w", from, err)
		}
		all = append(all, leaves[from-n*Width:]...)
		from = min((n+1)*Width, to)
	}
	return all, nil
}

// bundleAt reads bundle n of a log of size to: the partial one if that is what
// the checkpoint covers, else (it may have been replaced) the head of the full.
func bundleAt(ctx context.Context, src Source, n, to int64) ([][]byte, error) {
	width := int(min(Width, to-n*Width))
	raw, err := src.Get(ctx, EntriesPath(n, width))
	if errors.Is(err, fs.ErrNotExist) && width < Width {
		raw, err = src.Get(ctx, EntriesPath(n, Width))
	}
	if err != nil {
		return nil, err
	}
	leaves, err := readBundle(raw)
	if err != nil {
		return nil, err
	}
	if len(leaves) < width {
		return nil, fmt.Errorf("%w: %d of %d entries", errBundle, len(leaves), width)
	}
	return leaves[:width], nil
}

// WriteFiles copies a log as far as its checkpoint into a folder, for export.
func WriteFiles(ctx context.Context, src Source, to *Folder) error {
	f := Follower{Source: src, Key: to.Key, Origin: to.Origin}
	run, err := f.Next(ctx)
	if err != nil {
		return err
	}
	note, err := src.Get(ctx, CheckpointPath)
	if err != nil {
		return err
	}
	if err := to.Put(ctx, Batch{Leaves: run.Leaves}); err != nil {
		return err
	}
	return to.Seal(ctx, note)
}
