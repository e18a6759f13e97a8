package ledger

import (
	"os"

	"golang.org/x/sys/unix"
)

// SyncDir makes everything written to the file system of dir durable: one
// flush for a whole batch of tiles and bodies.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
