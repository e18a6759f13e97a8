package refusal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
)

// People read the words, programs find the cause.
func TestAFailureIsSaidAndKeepsItsCause(t *testing.T) {
	_, cause := os.ReadFile(filepath.Join(t.TempDir(), "x"))
	err := fmt.Errorf("verifying: %w", refusal.Said(cause, "不能读取 %s", "x"))
	if err.Error() != "verifying: 不能读取 x" || !errors.Is(err, fs.ErrNotExist) || refusal.Of(err) != nil {
		t.Error(err)
	}
}

func TestTheSystemsComplaintsAreInChinese(t *testing.T) {
	_, missing := os.Open(filepath.Join(t.TempDir(), "x"))
	for _, c := range []struct {
		err  error
		want string
	}{
		{missing, "没有这个文件或目录"}, {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "磁盘已满"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "连接被拒绝：服务没有启动，或地址、端口不对"},
		{&net.DNSError{Name: "nowhere.invalid", IsNotFound: true}, "找不到主机 nowhere.invalid"}, {&net.DNSError{Name: "x", IsTimeout: true}, "等待超时"},
		{errors.New("something else"), ""},
	} {
		if got := refusal.Plain(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
