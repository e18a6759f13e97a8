package backup

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/pki/ra/rastore"
	"github.com/hufu-pki/hufu/zone/desk"
)

// Restoration is what to bring back, and where to.
type Restoration struct {
	Repo      string
	To        string
	Keys      []*sm2.PrivateKey // the officers'
	Set       int               // 0 is the newest
	LedgerKey *ecdsa.PublicKey  // nil believes the repository
	Published ledger.Source     // the ledger as the world has it; nil if nobody has it
	Present   []*desk.Person    // custodians, where they alone open the CA's keys
	Now       func() time.Time
	Progress  io.Writer
}

// Restored is what was brought back.
type Restored struct {
	Set      int       `json:"set"`
	At       time.Time `json:"at"`
	Files    int       `json:"files"`
	Ledger   Head      `json:"ledger"`
	CRLFloor int64     `json:"crl_floor"`
	Missing  *Report   `json:"missing,omitempty"`
}

// Restore brings a set back into a folder that is empty or not there. Until the
// last step the folder lacks hufu.json, without which nothing starts on it.
func Restore(ctx context.Context, c Restoration) (Restored, error) {
	repo, err := open(c.Repo, c.LedgerKey)
	if err != nil {
		return Restored{}, err
	}
	k, dataKey, err := repo.unseal(c.Keys)
	if err != nil {
		return Restored{}, err
	}
	m, err := repo.choose(c.Set)
	if err != nil {
		return Restored{}, err
	}
	if err := empty(c.To); err != nil {
		return Restored{}, err
	}
	b := &back{Restoration: c, repo: repo, keys: k, set: m, notes: map[string][]byte{}}
	b.say("恢复第 %d 集（%s）到 %s", m.Set, m.At.Format(time.RFC3339), c.To)
	for _, step := range []func(context.Context) error{b.files, b.sound, b.tiles} {
		if err := step(ctx); err != nil {
			return Restored{}, err
		}
	}
	done := Restored{Set: m.Set, At: m.At, Files: len(m.Files), Ledger: m.Ledger}
	if c.Published != nil {
		r, err := Reconcile(ctx, Reconciliation{Dir: c.To, Published: c.Published, Present: c.Present, Now: c.Now, Progress: c.Progress})
		if err != nil {
			return Restored{}, err
		}
		done.Missing = &r
	}
	if done.CRLFloor, err = b.safe(ctx); err != nil {
		return Restored{}, err
	}
	host := Config{Dir: c.To}
	return done, errors.Join(durable.Write(host.keyFile(repo.ID), dataKey, 0o600), durable.Write(filepath.Join(c.To, last), b.world, 0o644))
}

// last makes a folder whole.
const last = "hufu.json"

// choose finds a set, after checking the whole chain.
func (r *repository) choose(n int) (Manifest, error) {
	sets, err := r.chain()
	if err != nil {
		return Manifest{}, err
	}
	if n == 0 {
		n = len(sets)
	}
	if n < 1 || n > len(sets) {
		return Manifest{}, NoSet.At("set", NoSet.Clause).Because("%d；共有 %d 集", n, len(sets))
	}
	return sets[n-1], nil
}

func empty(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o755)
	}
	if err == nil && len(list) > 0 {
		err = NotEmpty.At("to", NotEmpty.Clause).Because("%s", dir)
	}
	return err
}

// back is one restoration in hand.
type back struct {
	Restoration
	repo  *repository
	keys  *keys
	set   Manifest
	world []byte            // hufu.json, written last
	notes map[string][]byte // checkpoints of ledgers that are laid out again
}

func (b *back) say(format string, args ...any) {
	if b.Progress != nil {
		fmt.Fprintf(b.Progress, format+"\n", args...)
	}
}

func (b *back) path(path string) string { return filepath.Join(b.To, filepath.FromSlash(path)) }

func (b *back) files(ctx context.Context) error {
	for _, f := range b.set.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return Damaged.At("file", Damaged.Clause).Because("%q", f.Path)
		}
		if err := b.file(ctx, f); err != nil {
			return fmt.Errorf("restoring %s: %w", f.Path, err)
		}
	}
	b.say("已写回 %d 个文件", len(b.set.Files))
	return nil
}

func (b *back) file(ctx context.Context, f File) error {
	var kept bytes.Buffer
	if f.Path == last || strings.HasSuffix(f.Path, "/"+ledger.CheckpointPath) {
		err := b.repo.read(ctx, b.set, f, b.keys, &kept)
		if f.Path == last {
			b.world = kept.Bytes()
		} else {
			b.notes[f.Path] = kept.Bytes()
		}
		return err
	}
	name := b.path(f.Path)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(f.Mode).Perm())
	if err != nil {
		return err
	}
	err = b.repo.read(ctx, b.set, f, b.keys, to)
	return errors.Join(err, to.Chmod(fs.FileMode(f.Mode).Perm()), to.Sync(), to.Close())
}

// sound checks what came back: every page of every database, and every entry
// of its ledgers against the head the signed manifest names and the checkpoint
// the world was told before.
func (b *back) sound(ctx context.Context) error {
	for _, f := range b.set.Files {
		if f.Class != "data" {
			continue
		}
		b.say("检查 %s", f.Path)
		if err := sqldb.Sound(ctx, b.path(f.Path)); err != nil {
			return Damaged.At(f.Path, Damaged.Clause).Because("%v", err)
		}
		zone, _, _ := strings.Cut(f.Path, "/")
		if want, ok := b.set.Audits[zone]; ok {
			if err := b.recount(ctx, f.Path, audit.Log, want, checkpoints[zone+" audit"]); err != nil {
				return err
			}
		}
		if zone == "ca" {
			if err := b.recount(ctx, f.Path, castore.Log, b.set.Ledger, checkpoints["ra"]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *back) recount(ctx context.Context, path, log string, want Head, checkpoint string) error {
	db, err := sqldb.Open(ctx, b.path(path))
	if err != nil {
		return err
	}
	defer db.Close()
	wrong := func(why string) error {
		return Damaged.At(path, Damaged.Clause).Because("%s 的账本 %s：%s", path, log, why)
	}
	told, err := told(b.notes[checkpoint])
	if err != nil {
		return wrong(err.Error())
	}
	then, now, err := ledger.Recount(ctx, db, log, told.Size)
	switch {
	case err != nil:
		return wrong(err.Error())
	case headOf(now) != want:
		return wrong("与清单不符")
	case told.Size > 0 && !bytes.Equal(then.Root(), told.Root):
		return wrong("与已发布的检查点不符")
	}
	return nil
}

// told reads a checkpoint for its size and root. The manifest that lists it is
// signed; who follows it later checks its own signature too.
func told(note []byte) (ledger.Checkpoint, error) {
	if note == nil {
		return ledger.Checkpoint{}, nil
	}
	return ledger.PeekCheckpoint(note)
}

// tiles lays the public ledger out again as far as it was published. The other
// derived files are made at the next start.
func (b *back) tiles(ctx context.Context) error {
	note := b.notes[checkpoints["ra"]]
	if note == nil {
		return nil
	}
	key, err := publicKey(b.path("people/ledger.pem"))
	if err != nil {
		return err
	}
	db, err := sqldb.Open(ctx, b.path("ca/ca.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	b.say("重建公开账本")
	store := &castore.Store{DB: db}
	if err := ledger.Rebuild(ctx, db, castore.Log, &ledger.Folder{Dir: b.path("ra/ledger"), Key: key}, note, store.Bodies); err != nil {
		return Damaged.At("ra/ledger", Damaged.Clause).Because("%v", err)
	}
	return nil
}

// listsPerSecond bounds how fast revocation lists can have been numbered since
// the set was made: ten rounds a second at most, of at most fifty lists.
const listsPerSecond = 500

// margin is added to what can be computed: numbers are not scarce.
const margin = 1000

// safe makes the databases fit to go on although the world has moved since: list
// numbers jump over all that can have been used, standby keys that may have
// been given away are dropped, every trail says so.
func (b *back) safe(ctx context.Context) (floor int64, err error) {
	now := b.Now()
	since := max(0, int64(now.Sub(b.set.At).Seconds()))
	detail := fmt.Sprintf("从备份库 %s 第 %d 集恢复，备份时间 %s", b.repo.ID, b.set.Set, b.set.At.Format(time.RFC3339))
	line := audit.Entry{Start: now, End: now, Who: "system:restore", Role: "machine", Item: "system.restore", Object: fmt.Sprintf("%s/%d", b.repo.ID, b.set.Set), Result: audit.Done, Detail: detail}
	return floor, errors.Join(
		b.in(ctx, "ca/ca.db", func(db *sqldb.DB) error {
			s, err := castore.Open(ctx, db)
			if err != nil {
				return err
			}
			_, number, err := s.Count(ctx)
			if err != nil {
				return err
			}
			floor = max(number, b.set.CRLNumber) + margin + listsPerSecond*since
			l := line
			l.Detail += fmt.Sprintf("；CRL 编号从 %d 跳到 %d 之后", number, floor)
			b.say("CRL 编号从 %d 之后继续", floor)
			return s.Restored(ctx, floor, l)
		}),
		b.in(ctx, "km/km.db", func(db *sqldb.DB) error {
			s, err := kmstore.Open(ctx, db)
			if err != nil {
				return err
			}
			return s.Restored(ctx, line)
		}),
		b.in(ctx, "ra/ra.db", func(db *sqldb.DB) error {
			s, err := rastore.Open(ctx, db, b.Now)
			if err != nil {
				return err
			}
			return s.Reimport(ctx, nil, line)
		}),
	)
}

// in opens a database of the set, if the set has it.
func (b *back) in(ctx context.Context, path string, f func(*sqldb.DB) error) error {
	return within(ctx, b.path(path), f)
}

func within(ctx context.Context, name string, f func(*sqldb.DB) error) error {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := sqldb.Open(ctx, name)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := access.Migrate(ctx, db); err != nil {
		return err
	}
	return f(db)
}

// publicKey reads a verifying key.
func publicKey(name string) (*ecdsa.PublicKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM", name)
	}
	p, err := alg.PointOf(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return alg.PublicKey(p)
}
