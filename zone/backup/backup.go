// Package backup keeps an institution's data where a fire does not reach it,
// and brings it back. (备份恢复)
//
// A repository is a folder of encrypted chunks and signed manifests. Chunks are
// named by the SM3 of what lies in them, so anybody who keeps a copy can check
// it and nobody who keeps one can read it; a chunk that is there is not written
// again, so a set costs what changed. Manifests are signed with the ledger's
// key and chained. What is restored is older than what the world has seen: it
// is made safe before it can be started (docs/adr).
package backup

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/plant"
	"github.com/hufu-pki/hufu/zone/quorum"
)

// Config is what to back up, and where to.
type Config struct {
	Dir      string // of `hufu up`, which may be running
	Repo     string
	Officers []*cert.Certificate // of a new repository
	Quorum   int                 // how many of them open it; 0 or 1 is any one
	People   bool                // people's folders too, with their private keys
	Present  []*desk.Person      // custodians, where they alone open the CA's keys
	Now      func() time.Time
	Progress io.Writer
}

// Result is a set that was written.
type Result struct {
	Set      int    `json:"set"`
	Files    int    `json:"files"`
	Size     int64  `json:"size"` // of the files
	Chunks   int    `json:"chunks"`
	New      int    `json:"new_chunks"`
	NewBytes int64  `json:"new_bytes"` // written, encrypted
	Ledger   Head   `json:"ledger"`
	Seconds  string `json:"seconds"`
}

// work is one backup in hand.
type work struct {
	Config
	repo  *repository
	keys  *keys
	temp  string
	set   Manifest
	done  Result
	known map[string]bool // chunks seen in this run
	saved map[string]bool // files
}

// scratch is where snapshots lie until they are in the repository: beside the
// databases, under the same protection.
const scratch = ".backup"

// Backup writes one set. What it copies may be in use.
func Backup(ctx context.Context, c Config) (Result, error) {
	start := c.Now()
	key, err := signer(c.Dir, c.Present)
	if err != nil {
		return Result{}, err
	}
	release, err := plant.Lock(filepath.Join(c.Dir, "backup.lock"), "hufu backup")
	if err != nil {
		return Result{}, err
	}
	defer release()
	w := &work{Config: c, temp: filepath.Join(c.Dir, scratch), known: map[string]bool{}, saved: map[string]bool{}}
	if w.repo, w.keys, err = c.repository(ctx, key); err != nil {
		return Result{}, err
	}
	unlock, err := plant.Lock(filepath.Join(c.Repo, "lock"), "hufu backup")
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	if err := w.begin(); err != nil {
		return Result{}, err
	}
	err = errors.Join(os.RemoveAll(w.temp), os.Mkdir(w.temp, 0o700))
	if err == nil {
		err = w.files(ctx)
	}
	if err = errors.Join(err, os.RemoveAll(w.temp)); err != nil {
		return Result{}, err
	}
	if err := w.repo.add(w.set, key); err != nil {
		return Result{}, err
	}
	if err := w.log(ctx, start); err != nil {
		return Result{}, err
	}
	w.done.Set, w.done.Ledger, w.done.Seconds = w.set.Set, w.set.Ledger, fmt.Sprintf("%.1f", c.Now().Sub(start).Seconds())
	return w.done, nil
}

// log writes the set to the CA's trail, beside whatever is serving from it: a
// backup is an act like any other (GM/T 0034 §8.3).
func (w *work) log(ctx context.Context, start time.Time) error {
	db, err := sqldb.Open(ctx, filepath.Join(w.Dir, "ca", "ca.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	line := audit.Entry{
		Start: start, End: w.Now(), Who: "system:backup", Role: "machine", Item: "system.backup", Object: fmt.Sprintf("%s/%d", w.set.Repository, w.set.Set), Result: audit.Done,
		Detail: fmt.Sprintf("%d 个文件，新写 %d 块，账本 %d 条", w.done.Files, w.done.New, w.set.Ledger.Size),
	}
	return db.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}

// begin takes up the chain where the newest set ends.
func (w *work) begin() error {
	last, digest, err := w.repo.newest()
	if err != nil {
		return err
	}
	w.set = Manifest{
		Version: 1, Repository: w.repo.ID, Set: last.Set + 1, At: w.Now().UTC().Truncate(time.Second), Previous: digest,
		Audits: map[string]Head{}, Schemas: map[string]map[string]int{}, People: w.People,
	}
	return nil
}

// signer is the ledger's key, which signs manifests as well.
func signer(dir string, present []*desk.Person) (crypto.Signer, error) {
	dev, err := device(dir, "ca", present)
	if err != nil {
		return nil, err
	}
	return dev.Signer(cacore.KeyLedger)
}

func device(dir, zone string, present []*desk.Person) (*soft.Device, error) {
	dev, err := quorum.Zone{Dir: dir, Name: zone}.Open(present)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a data folder: %w", dir, err)
	}
	return dev, err
}

func publicOf(key crypto.Signer) *ecdsa.PublicKey {
	pub, _ := key.Public().(*ecdsa.PublicKey)
	return pub
}

// zones in the order they are saved: who asks before who answers. The desk asks
// the CA, the CA asks the key centre, each again until it is answered. Saved in
// this order no set remembers an answer that the other side does not: after a
// restore they ask again and hear the same.
var zones = []string{"ra", "ca", "km"}

// folders are what belongs to an institution; other things in the folder are
// somebody else's.
var folders = []string{"ra", "ca", "km", "office", "regulate", "tsa", "certificates", "ceremony", "people", "secrets"}

// derived is what is built again from the databases: tiles, the directory, the
// status index.
var derived = []string{"ra/ledger", "ra/directory", "ra/status.snapshot", "ra/audit", "ca/audit", "km/audit"}

// checkpoints are what is kept of the derived: what the world was told.
var checkpoints = map[string]string{"ra": "ra/ledger/checkpoint", "ra audit": "ra/audit/checkpoint", "ca audit": "ca/audit/checkpoint", "km audit": "km/audit/checkpoint"}

// files saves everything: checkpoints first, so that every entry the world was
// told of is in the database saved after it; then the databases; then keys and
// papers, so that a key that a database names is there.
func (w *work) files(ctx context.Context) error {
	for _, z := range []string{"ra", "ra audit", "ca audit", "km audit"} {
		if err := w.optional(checkpoints[z], "files"); err != nil {
			return err
		}
	}
	for _, z := range zones {
		if err := w.database(ctx, z+"/"+z+".db"); err != nil {
			return err
		}
	}
	for _, top := range folders {
		if err := w.folder(ctx, top); err != nil {
			return err
		}
	}
	return w.file("hufu.json", filepath.Join(w.Dir, "hufu.json"), "system")
}

func (w *work) optional(path, class string) error {
	err := w.file(path, filepath.Join(w.Dir, filepath.FromSlash(path)), class)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// folder saves the files of a folder, and the databases in it not yet saved.
func (w *work) folder(ctx context.Context, top string) error {
	return filepath.WalkDir(filepath.Join(w.Dir, top), func(full string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no such zone here, or a file that was only passing
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(w.Dir, full)
		if err != nil {
			return err
		}
		path := filepath.ToSlash(rel)
		switch {
		case skipped(path) || d.IsDir() && w.private(path):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular() || w.saved[path]:
			return nil
		case strings.HasSuffix(path, ".db"):
			return w.database(ctx, path)
		}
		return w.optional(path, classOf(path))
	})
}

func skipped(path string) bool {
	for _, d := range derived {
		if path == d {
			return true
		}
	}
	base := filepath.Base(path)
	for _, end := range []string{".db-wal", ".db-shm", ".new", ".lock"} {
		if strings.HasSuffix(base, end) {
			return true
		}
	}
	return strings.HasPrefix(base, ".") || strings.HasPrefix(path, "secrets/backup-")
}

// private is a person's folder: their key never leaves them unless they ask.
func (w *work) private(path string) bool {
	return !w.People && strings.HasPrefix(path, "people/")
}

// classOf sorts a file into the four kinds of content a backup plan names:
// system, data, files, keys.
func classOf(path string) string {
	switch top, _, _ := strings.Cut(path, "/"); {
	case strings.HasSuffix(path, ".db"):
		return "data"
	case top == "secrets" || strings.Contains(path, "/keys/") || path == "ra/blind.json":
		return "keys"
	case top == "certificates" || path == "hufu.json":
		return "system"
	}
	return "files"
}

func (w *work) say(format string, args ...any) {
	if w.Progress != nil {
		fmt.Fprintf(w.Progress, format+"\n", args...)
	}
}

// database saves one committed state of a database and notes what it holds.
func (w *work) database(ctx context.Context, path string) error {
	source := filepath.Join(w.Dir, filepath.FromSlash(path))
	if _, err := os.Stat(source); err != nil {
		return err
	}
	copied := filepath.Join(w.temp, strings.ReplaceAll(path, "/", "-"))
	w.say("快照 %s", path)
	if err := sqldb.Snapshot(ctx, source, copied); err != nil {
		return err
	}
	if err := w.file(path, copied, "data"); err != nil {
		return err
	}
	return errors.Join(w.note(ctx, path, copied), os.Remove(copied))
}

// note reads out of a snapshot what the manifest says of it.
func (w *work) note(ctx context.Context, path, copied string) error {
	db, err := sqldb.Open(ctx, copied)
	if err != nil {
		return err
	}
	defer db.Close()
	if w.set.Schemas[path], err = db.Versions(ctx); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	zone, _, _ := strings.Cut(path, "/")
	if w.set.Schemas[path]["audit"] > 0 {
		head, err := ledger.Head(ctx, db, audit.Log)
		if err != nil {
			return err
		}
		w.set.Audits[zone] = headOf(head)
	}
	if zone != "ca" {
		return nil
	}
	head, err := ledger.Head(ctx, db, castore.Log)
	if err != nil {
		return err
	}
	w.set.Ledger = headOf(head)
	w.set.Certificates, w.set.CRLNumber, err = (&castore.Store{DB: db}).Count(ctx)
	return err
}

// Sizes of chunks: an act changes a few pages here and there, so small chunks
// keep sets small; a large database would have too many of them.
const (
	chunkSmall = 16 << 10
	chunkLarge = 128 << 10
	large      = 64 << 20
)

// file cuts a file into chunks and writes those the repository does not have.
func (w *work) file(path, source, class string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	one := File{Path: path, Class: class, Mode: uint32(info.Mode().Perm()), ChunkSize: chunkSmall}
	if info.Size() > large {
		one.ChunkSize = chunkLarge
	}
	mac := w.keys.mac(path)
	buf := make([]byte, one.ChunkSize)
	before := w.done.New
	for {
		n, err := io.ReadFull(f, buf)
		if n == 0 {
			if err != nil && err != io.EOF {
				return err
			}
			break
		}
		mac.Write(buf[:n])
		name, err2 := w.chunk(buf[:n])
		if err2 != nil {
			return err2
		}
		one.Size, one.Chunks = one.Size+int64(n), append(one.Chunks, name)
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
	}
	one.MAC = fmt.Sprintf("%x", mac.Sum(nil))
	w.set.Files, w.saved[path] = append(w.set.Files, one), true
	w.done.Files, w.done.Size = w.done.Files+1, w.done.Size+one.Size
	if class == "data" {
		w.say("  %s：%d 字节，%d 块，其中新写 %d 块", path, one.Size, len(one.Chunks), w.done.New-before)
	}
	return nil
}

func (w *work) chunk(plain []byte) (string, error) {
	name, data, err := w.keys.seal(plain)
	if err != nil {
		return "", err
	}
	if w.known[name] {
		return name, nil
	}
	w.known[name] = true
	w.done.Chunks++
	fresh, err := w.repo.put(name, data)
	if err == nil && fresh {
		w.done.New, w.done.NewBytes = w.done.New+1, w.done.NewBytes+int64(len(data))
	}
	return name, err
}
