// Package describe says what this build is made of: subsystems, functions,
// certificates field by field, algorithms and keys. (系统说明)
//
// An applicant for the qualification has to write this down (材料3); what can be
// read from the program is read from it, so that paper and program agree.
package describe

import (
	"fmt"
	"strings"

	"github.com/hufu-pki/hufu/format/profile"
)

// Report is the build as it describes itself.
type Report struct {
	Parts        []Part        `json:"subsystems"`
	Links        []Link        `json:"links"`
	Functions    []Function    `json:"functions"`
	Certificates []Certificate `json:"certificates"`
	Algorithms   []Algorithm   `json:"algorithms"`
	Keys         []Key         `json:"keys"`
}

// Part is a subsystem. (子系统)
type Part struct {
	System string `json:"system"` // ca, ra, ocsp, ldap, km
	Title  string `json:"title"`
	Zone   string `json:"zone"`
	Does   string `json:"does"`
	Holds  string `json:"holds"`
}

// Link is how two parts speak. (子系统之间的交互)
type Link struct {
	From   string `json:"from"`
	To     string `json:"to"`
	By     string `json:"by"`
	Says   string `json:"says"`
	Guards string `json:"guards"`
}

// Parts are the subsystems the application form asks for.
var Parts = []Part{
	{"ca", "证书签发系统（CA）", "CA 核心区", "按证书模板起草、检查并签发证书，撤销、冻结，签发 CRL，写公开账本，管理本系统人员、闸门、下级 CA", "CA 数据库；根 CA、运营 CA、账本、审计密钥"},
	{"ra", "证书注册系统（RA）", "CA 服务区", "录入、审核、制证交付，身份查验与告知的记录，批量办理，持有人自助服务，到期提醒", "RA 数据库；证件号码密封存放；注册服务器、审计密钥"},
	{"ocsp", "证书状态查询系统（OCSP）", "CA 服务区", "读公开账本，回答证书此刻是否有效；发布 CRL、CA 证书和账本", "证书状态索引；OCSP 签名密钥。不接触 CA 数据库"},
	{"ldap", "目录服务系统（LDAP）", "CA 服务区", "读公开账本，按 DN、名称、序列号查证书与 CRL；向外部主目录推送", "目录内容的只读副本；不含私钥"},
	{"km", "密钥管理系统（KM）", "KM 核心区", "生成、保存、发放、归档加密密钥对；用户密钥恢复；司法取证；备用密钥库水位与可恢复性演练", "密钥库（逐个加密）；主密钥、身份密钥、人员 CA 密钥、审计密钥"},
}

// Links are the messages between them.
var Links = []Link{
	{"ra", "ca", "注册报文（wire/enroll）", "签发、撤销、冻结请求；人员名册", "双方 SM2 签名；附录入员、审核员的签名，CA 重新核验"},
	{"ca", "km", "密钥管理协议（GM/T 0014）", "申请、恢复、撤销加密密钥；一份报文可含多件", "双方 SM2 签名；私钥以用户签名公钥密封，CA 不能打开"},
	{"ca", "ocsp", "公开账本（检查点与瓦片）", "每张证书、每次状态变化、每份 CRL", "SM3 默克尔树，检查点由账本密钥签名；读者验证一致性后才采用"},
	{"ca", "ldap", "公开账本（检查点与瓦片）", "同上", "同上"},
	{"ocsp", "依赖方", "HTTP（RFC 6960、RFC 5019）", "证书状态", "应答由受委托的 OCSP 证书签名"},
	{"ldap", "依赖方", "LDAP v3（只读）", "证书、CRL", "内容自带 CA 签名；不接受写入"},
}

// Build reads the report from the program.
func Build() (Report, error) {
	set, err := profile.Builtin()
	if err != nil {
		return Report{}, err
	}
	list, err := certificates(set)
	return Report{Parts, Links, Functions, list, Algorithms, Keys}, err
}

// Markdown is the report as people read it; of one system only if one is named.
func (r Report) Markdown(system string) string {
	var b strings.Builder
	want := func(s string) bool { return system == "" || s == system }
	title := map[string]string{}
	for _, p := range r.Parts {
		title[p.System] = p.Title
	}
	name := func(s string) string {
		if t := title[s]; t != "" {
			return t
		}
		return s
	}
	b.WriteString("# 系统说明\n\n由程序生成：`hufu describe`。条目与程序一致，功能各有证明（`docs/trace.csv`）。\n\n## 组成\n\n| 子系统 | 分区 | 作用 | 保存 |\n|---|---|---|---|\n")
	for _, p := range r.Parts {
		if want(p.System) {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", p.Title, p.Zone, p.Does, p.Holds)
		}
	}
	b.WriteString("\n## 交互\n\n| 自 | 至 | 方式 | 内容 | 保护 |\n|---|---|---|---|---|\n")
	for _, l := range r.Links {
		if want(l.From) || want(l.To) {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name(l.From), name(l.To), l.By, l.Says, l.Guards)
		}
	}
	for _, p := range r.Parts {
		if !want(p.System) {
			continue
		}
		fmt.Fprintf(&b, "\n## %s的功能\n\n| 材料3 | 功能 | 实现方式 |\n|---|---|---|\n", p.Title)
		for _, f := range r.Functions {
			if f.System == p.System {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.TrimPrefix(f.ID, "R004.M3-"), f.Title, f.How)
			}
		}
	}
	b.WriteString("\n## 密码算法\n\n| 算法 | 标识 | 用途 | 标准 |\n|---|---|---|---|\n")
	for _, a := range r.Algorithms {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.Name, a.OID, a.Use, a.Standard)
	}
	b.WriteString("\n## 密钥\n\n| 密钥 | 标签 | 所在 | 用途 | 产生 | 保护与备份 |\n|---|---|---|---|---|---|\n")
	for _, k := range r.Keys {
		if want(k.System) {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", k.Title, k.Label, name(k.System), k.Use, k.Made, k.Guarded)
		}
	}
	if want("ca") {
		b.WriteString("\n## 证书种类与内容\n")
		for _, c := range r.Certificates {
			c.markdown(&b)
		}
	}
	return b.String()
}
