package refusal

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// said is a failure in the words of whoever meets it.
type said struct {
	text  string
	cause error
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.cause }

// Said is a failure told in words for people; what caused it stays inside, for
// programs.
func Said(cause error, format string, args ...any) error {
	return &said{fmt.Sprintf(format, args...), cause}
}

// plain are the system's complaints in the words of people.
var plain = []struct {
	err  error
	text string
}{
	{fs.ErrNotExist, "没有这个文件或目录"}, {fs.ErrPermission, "没有权限"}, {fs.ErrExist, "已经存在"},
	{syscall.ENOSPC, "磁盘已满"}, {syscall.EDQUOT, "磁盘配额已用完"}, {syscall.EROFS, "文件系统是只读的"}, {syscall.EISDIR, "是目录，不是文件"}, {syscall.ENOTDIR, "路径中有一段不是目录"},
	{syscall.EIO, "磁盘读写出错"}, {syscall.ECONNREFUSED, "连接被拒绝：服务没有启动，或地址、端口不对"}, {syscall.EHOSTUNREACH, "网络不通"}, {syscall.ENETUNREACH, "网络不通"}, {syscall.ECONNRESET, "连接被对方断开"},
}

// Plain says what the system complained of, or nothing when it is none of what
// people meet.
func Plain(err error) string {
	for _, p := range plain {
		if errors.Is(err, p.err) {
			return p.text
		}
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return "等待超时"
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		return "找不到主机 " + d.Name
	}
	return ""
}
