// Package durable writes files that survive a power cut whole. (持久写入)
package durable

import (
	"errors"
	"io/fs"
	"os"
)

// Write replaces a file: beside it first, flushed, then in its place, so that a
// reader sees the old content or the new. The folder must exist.
func Write(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
