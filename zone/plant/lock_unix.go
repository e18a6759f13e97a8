//go:build unix

package plant

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrBusy is returned when another process holds the folder.
var ErrBusy = errors.New("数据目录正在被另一个进程使用")

// Lock holds a folder for this process. The system lets go of it when the
// process ends, however it ends, so a file left behind blocks nobody.
func Lock(name, holder string) (release func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		who, _ := os.ReadFile(name) // only for the message
		return nil, errors.Join(fmt.Errorf("%w：%s，占用者：%s；请先停止它（Ctrl+C 或 kill 进程号），或用 --dir 另选目录", ErrBusy, name, strings.TrimSpace(string(who))), f.Close())
	}
	if err := errors.Join(f.Truncate(0), writeHolder(f, holder)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing lets go
}

func writeHolder(f *os.File, holder string) error {
	_, err := fmt.Fprintf(f, "%s，进程号 %d\n", holder, os.Getpid())
	return err
}
