package profile

import (
	"encoding/asn1"
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/identity"
)

// Fault is what is wrong with an application, in one field.
type Fault struct {
	Field  string
	Clause string
	Why    string // for people
	Fix    string
}

const nameClause = "GM/T 0043 §6.2.1"

// CheckSubject checks a name against the rules of the profile.
func (p Profile) CheckSubject(n dn.Name) *Fault {
	have := map[string][]string{}
	for _, a := range n.Attrs() {
		have[a.Type] = append(have[a.Type], a.Value)
	}
	for _, r := range p.Subject {
		if f := r.check(have[r.Type]); f != nil {
			return f
		}
		delete(have, r.Type)
	}
	for _, a := range n.Attrs() {
		if _, left := have[a.Type]; left {
			return &Fault{"subject." + a.Type, nameClause, "证书模板“" + p.Title + "”不允许此项", "请删除此项或改用其他模板"}
		}
	}
	return nil
}

// names is what every profile's subject keeps to; a profile may ask for less.
var names = Profile{Subject: []AttrRule{
	{Type: "C", Title: "国家", Fixed: "CN", Max: 2}, {Type: "ST", Title: "省级行政区", Max: 128}, {Type: "L", Title: "市县", Max: 128},
	{Type: "O", Title: "单位名称", Max: 64}, {Type: "OU", Title: "部门", Max: 64, Many: 4}, {Type: "E", Title: "电子邮件", Max: 255}, {Type: "CN", Title: "姓名或名称", Max: 64},
}}

// CheckName checks a name before its profile is known.
func CheckName(n dn.Name) *Fault { return names.CheckSubject(n) }

func (r AttrRule) check(values []string) *Fault {
	field := "subject." + r.Type
	if len(values) == 0 {
		if r.Required {
			return &Fault{field, nameClause, "缺少" + r.Title, "请填写" + r.Title}
		}
		return nil
	}
	if len(values) > max(1, r.Many) {
		return &Fault{field, nameClause, fmt.Sprintf("%s至多 %d 项", r.Title, max(1, r.Many)), "请减少到规定的项数"}
	}
	for _, v := range values {
		if f := r.one(field, v); f != nil {
			return f
		}
	}
	return nil
}

func (r AttrRule) one(field, v string) *Fault {
	switch {
	case r.Fixed != "" && v != r.Fixed:
		return &Fault{field, nameClause, r.Title + "应为 " + r.Fixed, "请填写 " + r.Fixed}
	case !utf8.ValidString(v):
		return &Fault{field, nameClause, r.Title + "不是有效的 UTF-8 文本", "请重新输入"}
	case utf8.RuneCountInString(v) > r.Max:
		return &Fault{field, "RFC 5280 附录 A", fmt.Sprintf("%s超过 %d 个字符", r.Title, r.Max), "请缩短"}
	case strings.TrimSpace(v) != v:
		return &Fault{field, nameClause, r.Title + "首尾有空白", "请删除首尾空白"}
	case strings.ContainsFunc(v, unprintable):
		return &Fault{field, nameClause, r.Title + "含有控制字符、不可见字符或自造字", "请使用国家标准编码字符集（GB 18030）中的汉字；自造字请改用规范字"}
	}
	if r.Type == "E" {
		if a, err := mail.ParseAddress(v); err != nil || a.Address != v || !ascii(v) {
			return &Fault{field, nameClause, "电子邮件地址无效", "请填写如 name@example.cn 的地址"}
		}
	}
	return nil
}

// unprintable refuses what a reader cannot see or another machine cannot show:
// controls, bidirectional marks, private-use characters. Rare but encoded
// characters such as 䶮 㐂 𠮷 are people's names and pass.
func unprintable(r rune) bool {
	return r == utf8.RuneError || r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Zl, r) ||
		unicode.Is(unicode.Zp, r) || r != ' ' && r != '\u3000' && unicode.IsSpace(r)
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 126 || r < 33 })
}

const sanMax = 20

// CheckSAN checks alternative names; cn is the subject's common name.
func (p Profile) CheckSAN(cn string, names []cert.AltName) *Fault {
	const clause = "RFC 5280 §4.2.1.6"
	if p.NeedSAN && len(names) == 0 {
		return &Fault{"san", clause, "此模板要求至少一个主体别名（域名或 IP 地址）", "请填写 san"}
	}
	if len(names) > sanMax {
		return &Fault{"san", clause, fmt.Sprintf("主体别名超过 %d 个", sanMax), "请分多张证书申请"}
	}
	for i, n := range names {
		field := fmt.Sprintf("san[%d]", i)
		if !slices.Contains(p.SAN, n.Kind) {
			return &Fault{field, clause, fmt.Sprintf("证书模板“%s”不允许 %.40s 类型的别名", p.Title, n.Kind), "允许的类型：" + strings.Join(p.SAN, "、")}
		}
		if slices.Contains(names[:i], n) {
			return &Fault{field, clause, "别名重复：" + n.Value, "请删除重复项"}
		}
		if !validAlt(n) {
			return &Fault{field, clause, fmt.Sprintf("别名格式无效：%.80s", n.Value), "域名请用小写 ASCII（中文域名用 punycode），IP 请用标准写法"}
		}
	}
	return p.CheckHosts(cn, names)
}

func validAlt(n cert.AltName) bool {
	switch n.Kind {
	case "dns":
		return validHost(n.Value)
	case "ip":
		a, err := netip.ParseAddr(n.Value)
		return err == nil && a.Zone() == "" && a.String() == n.Value
	case "email":
		a, err := mail.ParseAddress(n.Value)
		return err == nil && a.Address == n.Value && ascii(n.Value) && len(n.Value) <= 254
	}
	return false
}

func validHost(h string) bool {
	h = strings.TrimPrefix(h, "*.")
	if len(h) == 0 || len(h) > 253 {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// CheckCodes checks the document numbers that are to stand in the certificate:
// a profile that has any wants exactly one, of a kind it knows.
func (p Profile) CheckCodes(codes []Code, today time.Time) *Fault {
	const clause = "GM/T 0015 §5.2.4"
	if len(p.Codes) == 0 && len(codes) == 0 {
		return nil
	}
	if len(p.Codes) == 0 || len(codes) != 1 {
		return &Fault{"codes", clause, "证书模板“" + p.Title + "”的身份标识扩展与申请不符", "请按模板登记的证件申请"}
	}
	if _, ok := p.CodeRule(codes[0].Kind); !ok {
		return &Fault{"identity.kind", clause, "证书模板“" + p.Title + "”没有此类证件的标识扩展", "请改用模板列出的证件"}
	}
	if err := identity.Check(codes[0].Kind, codes[0].Value, today); err != nil {
		return &Fault{"identity.number", clause, err.Error(), "请核对证件号码"}
	}
	if r, _ := p.CodeRule(codes[0].Kind); !r.UTF8 && !printable(codes[0].Value) {
		return &Fault{"identity.number", clause, "证件号码含有不能写入证书的字符", "请核对证件号码"}
	}
	return nil
}

// printable reports whether a text is a PrintableString (X.680 §41.4).
func printable(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") == ""
}

// CheckRequest compares a certificate request with the application: it may say
// less than the application, never something else, and may ask for nothing the
// profile does not give.
func (p Profile) CheckRequest(r *csr.Request, n dn.Name, san []cert.AltName) *Fault {
	const clause = "GM/T 0092 §5"
	attrs, err := dn.Attributes(r.Subject)
	if err != nil {
		return &Fault{"csr", clause, "请求中的主体名无法读取", "请重新生成证书请求"}
	}
	have := n.Attrs()
	for _, a := range attrs {
		if !slices.ContainsFunc(have, func(h dn.Attr) bool { return h.Type == a.Type && h.Value == a.Value }) {
			return &Fault{"csr", clause, fmt.Sprintf("请求中的 %s=%s 与申请不一致", a.Type, a.Value), "请使请求的主体与申请一致，或在请求中省略此项"}
		}
	}
	if len(r.Other) > 0 {
		return &Fault{"csr", clause, fmt.Sprintf("请求带有不认识的属性 %v", r.Other[0]), "请去掉此属性后重新生成请求"}
	}
	for _, e := range r.Extensions {
		if f := p.asks(e, san); f != nil {
			return f
		}
	}
	return nil
}

func (p Profile) asks(e cert.Extension, san []cert.AltName) *Fault {
	const clause = "GM/T 0015 §5.2"
	refuse := func(why string) *Fault {
		return &Fault{"csr", clause, why, "证书内容由模板“" + p.Title + "”决定；请去掉请求中的此扩展后重新生成"}
	}
	switch {
	case e.ID.Equal(cert.KeyUsageID):
		if string(e.Value) != string(p.KeyUsage(Sign)) {
			return refuse("请求的密钥用法与模板不符")
		}
	case e.ID.Equal(cert.ExtKeyUsageID):
		if string(e.Value) != string(cert.ExtKeyUsage(false, p.eku(Sign)...).Value) {
			return refuse("请求的扩展密钥用法与模板不符")
		}
	case e.ID.Equal(cert.SubjectKeyID):
	case e.ID.Equal(cert.BasicConstraints):
		if string(e.Value) != "\x30\x00" {
			return refuse("请求了 CA 证书")
		}
	case e.ID.Equal(cert.SubjectAltName):
		names, ok := cert.ReadAltNames(e.Value)
		if !ok {
			return refuse("请求的主体别名类型不受支持")
		}
		for _, n := range names {
			if !slices.Contains(san, n) {
				return refuse("请求的主体别名 " + n.Value + " 不在申请中")
			}
		}
	default:
		return refuse("请求了模板没有的扩展 " + asn1.ObjectIdentifier(e.ID).String())
	}
	return nil
}

// CheckDays checks a validity; 0 asks for the default.
func (p Profile) CheckDays(days int) *Fault {
	if days < 0 || days > p.Days.Max {
		return &Fault{"validity_days", "GM/T 0015 §5.2.3", fmt.Sprintf("有效期应为 1 至 %d 天，却是 %d", p.Days.Max, days), fmt.Sprintf("请填 1 至 %d 之间的整数，或不填（默认 %d 天）", p.Days.Max, p.Days.Default)}
	}
	return nil
}
