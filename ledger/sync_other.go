//go:build !linux

package ledger

import "os"

// SyncDir flushes the directory; without syncfs the files themselves are left
// to the system. A damaged tail is sent again by the core.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
