package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/zone/desk"
)

// writeNew never overwrites: a private key lost is lost. What it could not
// write whole is not there.
func writeNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return taken(name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func taken(name string) error {
	return &desk.Usage{Text: name + " 已存在，不覆盖；请另取文件名，或先移走它"}
}

// place writes what a command makes. The same again in the same place is done
// already; anything else there stays.
func place(name string, data []byte) error {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() { // a terminal, a pipe
		return os.WriteFile(name, data, 0o600)
	}
	err = writeNew(name, data, 0o600)
	if _, exists := errors.AsType[*desk.Usage](err); exists && info != nil && info.Size() == int64(len(data)) {
		if old, e := os.ReadFile(name); e == nil && bytes.Equal(old, data) {
			return nil
		}
	}
	return err
}

// keySizeMax is more than a key file of any kind has.
const keySizeMax = 1 << 20

// spare refuses an output that would replace a private key or one of the
// command's own inputs. Other exports may be fetched again to the same place.
func spare(out string, inputs ...string) error {
	info, err := os.Stat(out)
	if err != nil || !info.Mode().IsRegular() {
		return nil // nothing there, or what writing will complain of
	}
	for _, in := range inputs {
		if other, err := os.Stat(in); err == nil && os.SameFile(info, other) {
			return taken(out)
		}
	}
	if slices.Contains([]string{".p12", ".pfx"}, strings.ToLower(filepath.Ext(out))) {
		return taken(out)
	}
	if info.Size() > keySizeMax {
		return nil
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return desk.Unreadable(err)
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return taken(out)
	}
	return nil
}
