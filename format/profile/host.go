package profile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/format/cert"
)

// shared are second levels of .cn under which anybody registers: those of kinds
// of institutions and of provinces (中国互联网络域名体系). Whoever has a name
// there has the third level.
var shared = strings.Fields(`ac com edu gov mil net org
	ah bj cq fj gd gs gx gz ha hb he hi hk hl hn jl js jx ln mo nm nx qh sc sd sh sn sx tj tw xj xz yn zj`)

// public reports whether a name is a public suffix: nobody's own.
func public(host string) bool {
	labels := strings.Split(host, ".")
	return len(labels) == 1 || len(labels) == 2 && labels[1] == "cn" && slices.Contains(shared, labels[0])
}

// unowned says why a host's name or address is nobody's own, or nothing.
func unowned(n cert.AltName) string {
	switch n.Kind {
	case "dns":
		host := strings.TrimPrefix(n.Value, "*.")
		last := host[strings.LastIndexByte(host, '.')+1:]
		switch {
		case strings.Trim(last, "0123456789") == "":
			return "最后一段全是数字，不是域名"
		case host == "localhost" || strings.HasSuffix(host, ".localhost"):
			return "只指本机，不属于任何单位"
		case public(host) && host != n.Value:
			return "是公共后缀上的通配名，会包括他人的域名"
		case public(host):
			return "是公共后缀或单段名，不属于任何单位"
		}
	case "ip":
		a, err := netip.ParseAddr(n.Value)
		if a = a.Unmap(); err == nil && (a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
			return "是未指定、环回、组播或广播地址，不属于任何一台设备"
		}
	}
	return ""
}

// hostly reports whether a common name reads as a host's: a name of several
// labels whose last is of letters, or an address.
func hostly(cn string) bool {
	if _, err := netip.ParseAddr(cn); err == nil {
		return true
	}
	cn = strings.ToLower(cn)
	last := cn[strings.LastIndexByte(cn, '.')+1:]
	return strings.Contains(cn, ".") && validHost(cn) && len(last) > 1 && strings.Trim(last, "0123456789") != ""
}

// CheckHosts refuses names that are nobody's own, and a device named after a
// host that is not among its names.
func (p Profile) CheckHosts(cn string, names []cert.AltName) *Fault {
	for i, n := range names {
		if why := unowned(n); why != "" {
			return &Fault{fmt.Sprintf("san[%d]", i), "RFC 9525 §6", fmt.Sprintf("别名 %.80s %s", n.Value, why), "请填写申请单位自己的完整域名（如 www.example.cn、*.example.cn）或设备的单播 IP 地址"}
		}
	}
	return p.named(cn, names)
}

// named wants the host that a device's common name gives among the alternative
// names, if there are any: whoever checks a server looks nowhere else (RFC 9525
// §2). None at all is for a profile to refuse, with NeedSAN: sheets have no
// column for them.
func (p Profile) named(cn string, names []cert.AltName) *Fault {
	if !slices.Contains(p.SAN, "dns") || len(names) == 0 || !hostly(cn) {
		return nil
	}
	if slices.ContainsFunc(names, func(n cert.AltName) bool { return n.Kind != "email" && strings.EqualFold(n.Value, cn) }) {
		return nil
	}
	kind := "dns"
	if _, err := netip.ParseAddr(cn); err == nil {
		kind = "ip"
	}
	return &Fault{"san", "RFC 9525 §2", fmt.Sprintf("主体的 CN（%.80s）是主机名或地址，却不在主体别名中；客户端只按主体别名核对服务器", cn),
		fmt.Sprintf(`请在 san 中加入 {"kind":"%s","value":"%.80s"}，或把 CN 改为设备名称`, kind, strings.ToLower(cn))}
}
