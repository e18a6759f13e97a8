package soft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hufu-pki/hufu/format/alg"
)

// ErrDestroyed is returned for a key that was destroyed: its tombstone lies
// where it was.
var ErrDestroyed = errors.New("密钥已销毁")

// complete is written last into a folder that takes another's place.
const complete = ".complete"

// Check opens every key of the store and reports the first that does not open:
// Open itself takes any passphrase.
func (d *Device) Check() error {
	keys, err := Labels(d.dir)
	if err != nil {
		return err
	}
	for _, k := range keys {
		secret, err := d.load(k.Label, k.Kind)
		clear(secret)
		if err != nil {
			return err
		}
	}
	return nil
}

// Key is one key of a store, as its file tells without being opened.
type Key struct {
	Label string
	Kind  string // "sm2" or "sm4"
}

// Labels lists the keys of a store in order of their labels.
func Labels(dir string) (list []Key, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		label, ok := strings.CutSuffix(e.Name(), ".key")
		if !ok {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		var f file
		if json.Unmarshal(data, &f) != nil {
			return nil, fmt.Errorf("%s: %w", label, errPassphrase)
		}
		list = append(list, Key{label, f.Kind})
	}
	return list, nil
}

// Rekey encrypts every key of a store anew under another passphrase: the keys
// stay, nothing that was sealed under the old passphrase opens them any more.
// add puts what belongs to the new folder into it before it takes the old one's
// place; the old files are overwritten and removed. Interrupted anywhere, Settle
// leaves either the old store whole or the new one.
func Rekey(dir string, old, fresh []byte, add func(next string) error) error {
	from, err := Open(dir, old)
	if err != nil {
		return err
	}
	if err := from.Check(); err != nil {
		return err
	}
	next := dir + ".next"
	if err := Shred(next); err != nil {
		return err
	}
	to, err := Open(next, fresh)
	if err != nil {
		return err
	}
	if err := from.copyTo(to); err != nil {
		return err
	}
	if err := add(next); err != nil {
		return err
	}
	if err := errors.Join(create(filepath.Join(next, complete), nil), syncDir(next)); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(dir, dir+".old"), os.Rename(next, dir), syncDir(filepath.Dir(dir))); err != nil {
		return err
	}
	return Settle(dir)
}

func (d *Device) copyTo(to *Device) error {
	keys, err := Labels(d.dir)
	if err != nil {
		return err
	}
	for _, k := range keys {
		secret, err := d.load(k.Label, k.Kind)
		if err != nil {
			return err
		}
		err = to.store(k.Label, k.Kind, secret)
		clear(secret)
		if err != nil {
			return err
		}
	}
	stones, err := filepath.Glob(filepath.Join(d.dir, "*.destroyed"))
	if err != nil {
		return err
	}
	for _, name := range stones {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := create(filepath.Join(to.dir, filepath.Base(name)), data); err != nil {
			return err
		}
	}
	return nil
}

// Settle finishes or undoes a Rekey that was interrupted. Whoever calls it holds
// the folder.
func Settle(dir string) error {
	_, gone := os.Stat(dir)
	_, ready := os.Stat(filepath.Join(dir+".next", complete))
	switch {
	case errors.Is(gone, fs.ErrNotExist) && ready == nil:
		if err := errors.Join(os.Rename(dir+".next", dir), syncDir(filepath.Dir(dir))); err != nil {
			return err
		}
	case errors.Is(gone, fs.ErrNotExist):
		return nil // not begun
	}
	return errors.Join(Shred(dir+".next"), Shred(dir+".old"))
}

// Shred overwrites every file of a folder and removes it; a folder that is not
// there is fine.
func Shred(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return Overwrite(path)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// Overwrite writes random bytes over a file, waits for the disk, and removes
// it. Media that keep old blocks (flash, snapshots) may still hold them: what
// they hold is encrypted.
func Overwrite(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return os.Remove(name)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(random(int(info.Size())))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Remove(name), syncDir(filepath.Dir(name)))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Destroy overwrites and removes a key's file and leaves a tombstone with what
// note says in its place, the tombstone first: a key is never gone without a
// word. It returns the SM3 of the file that was. (密钥销毁)
func Destroy(dir, label, note string) (was []byte, err error) {
	d := &Device{dir: dir}
	name, err := d.path(label)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	stone := filepath.Join(dir, label+".destroyed")
	if err := create(stone, []byte(note)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return alg.Digest(data), Overwrite(name)
}

// Destroyed says what the tombstone of a key says; ok is false where none is.
func Destroyed(dir, label string) (note string, ok bool) {
	data, err := os.ReadFile(filepath.Join(dir, label+".destroyed"))
	return string(data), err == nil
}
