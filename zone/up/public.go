package up

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// publicURL checks the address that certificates will name for ever, and writes
// it without a slash at the end: in a certificate it is an IA5String (RFC 5280
// §4.2.1.6), and strangers join paths to it.
func publicURL(text string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%w：--public-url %.200q %s；应为 http://主机[:端口][/路径]，证书中的地址写入后不能更改", ErrAddress, text, why)
	}
	for _, r := range text {
		if r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) {
			return bad("含有空格、控制字符或非 ASCII 字符（中文域名请写成 xn-- 形式）")
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("不是网址")
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("须以 http:// 或 https:// 开头")
	case u.Hostname() == "":
		return bad("缺少主机名")
	case u.User != nil:
		return bad("不得含用户名或口令")
	case strings.ContainsAny(text, "?#"):
		return bad("不得含查询或片段")
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		return bad("是不指向任何机器的地址")
	}
	return strings.TrimRight(text, "/"), nil
}
