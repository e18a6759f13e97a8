package certlint

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
)

// Rules are all the rules, in the order they are checked.
var Rules = []Rule{
	{"serial.form", "GM/T 0043 §6.2.1c", "序列号应为正整数，不超过 20 个八位组，至少 64 位", serialForm},
	{"serial.reserved", "GM/T 0015 §5.2.3", "序列号应为已登记预留的序列号", func(c *cert.Certificate, x Context) bool {
		return c.Serial.Cmp(new(big.Int).SetBytes(x.Wish.Serial)) == 0
	}},
	{"issuer.identical", "GM/T 0043 §6.3.1", "颁发者应与 CA 证书的主体逐字节相同", func(c *cert.Certificate, x Context) bool {
		return bytes.Equal(c.Issuer, issuerOf(c, x).Subject)
	}},
	{"validity.order", "GM/T 0043 §6.2.1f", "起始时间应早于截止时间", func(c *cert.Certificate, _ Context) bool {
		return c.NotBefore.Before(c.NotAfter)
	}},
	{"validity.profile", "GM/T 0015 §5.2.3", "有效期不应超过模板上限", func(c *cert.Certificate, x Context) bool {
		return c.NotAfter.Sub(c.NotBefore).Hours() <= float64(24*x.Profile.Days.Max)
	}},
	{"validity.issuer", "GM/T 0034 §5.3.4", "有效期应在 CA 证书有效期之内", func(c *cert.Certificate, x Context) bool {
		// An old key that a new one certifies is older than that (RFC 4210 §4.4).
		return x.Issuer == nil || (x.Profile.Own || !c.NotBefore.Before(x.Issuer.NotBefore)) && !c.NotAfter.After(x.Issuer.NotAfter)
	}},
	{"validity.encoding", "RFC 5280 §4.1.2.5", "2049 年以前用 UTCTime，以后用 GeneralizedTime，以 Z 结尾、无小数秒", validityEncoding},
	{"subject.identical", "GM/T 0043 §6.2.1g", "主体应与申请逐字节相同，签名与加密证书的主体完全一致", func(c *cert.Certificate, x Context) bool {
		return bytes.Equal(c.Subject, x.Wish.Subject)
	}},
	{"subject.order", "GM/T 0043 §6.2.1e", "主体各项的次序应为 C、ST、L、O、OU、E、CN", subjectOrder},
	{"subject.strings", "GM/T 0043 §6.2.1e", "C 用 PrintableString，E 用 IA5String，其余用 UTF8String", subjectStrings},
	{"subject.single", "GM/T 0043 §6.2.1e", "每个 RDN 只应有一项属性", subjectSingle},
	{"subject.profile", "GM/T 0015 §5.2.3", "主体应符合模板", func(c *cert.Certificate, x Context) bool {
		n, err := dn.Parse(c.Subject)
		return err != nil || x.Profile.CheckSubject(n) == nil
	}},
	{"key.requested", "GM/T 0034 §12.1", "公钥应为申请或密钥管理系统给出的公钥", func(c *cert.Certificate, x Context) bool {
		return bytes.Equal(c.Point, x.Wish.Point)
	}},
	{"extensions.once", "RFC 5280 §4.2", "同一扩展只应出现一次", func(c *cert.Certificate, _ Context) bool {
		for i, e := range c.Extensions {
			if slices.ContainsFunc(c.Extensions[:i], func(o cert.Extension) bool { return o.ID.Equal(e.ID) }) {
				return false
			}
		}
		return true
	}},
	{"extensions.known", "GM/T 0015 §5.2.4", "不应有模板之外的扩展", func(c *cert.Certificate, x Context) bool {
		return !slices.ContainsFunc(c.Extensions, func(e cert.Extension) bool { return !known(e.ID, x) })
	}},
	{"extensions.criticality", "GM/T 0015 §5.2.4", "扩展的关键性应符合规定", func(c *cert.Certificate, x Context) bool {
		return !slices.ContainsFunc(c.Extensions, func(e cert.Extension) bool { return e.Critical != critical(e.ID, x) })
	}},
	{"ski", "GM/T 0043 §6.2.2b", "主体密钥标识符应由公钥算得", func(c *cert.Certificate, _ Context) bool {
		return has(c, cert.SKI(c.Point))
	}},
	{"aki", "GM/T 0043 §6.2.2a", "颁发机构密钥标识符应等于 CA 证书的主体密钥标识符", func(c *cert.Certificate, x Context) bool {
		return has(c, cert.AKI(issuerOf(c, x).Point))
	}},
	{"key-usage", "GM/T 0043 §6.2.2c", "密钥用法应恰为规定的集合，签名与加密证书各不相同", func(c *cert.Certificate, x Context) bool {
		return has(c, cert.KeyUsage(x.Profile.KeyUsage(x.Use)))
	}},
	{"ext-key-usage", "GM/T 0043 §6.2.2d", "扩展密钥用法应符合模板，不与密钥用法冲突", like(cert.ExtKeyUsageID)},
	{"basic-constraints", "GM/T 0015 §5.2.4", "最终实体证书不应有基本限制；CA 证书应为 cA TRUE", like(cert.BasicConstraints)},
	{"path-length", "RFC 5280 §4.2.1.9", "CA 证书的路径长度应小于签发者的，且不超过模板上限", pathLength},
	{"name-constraints", "RFC 5280 §4.2.1.10", "名称约束应与批准的相同，仅 CA 证书可有", func(c *cert.Certificate, x Context) bool {
		return like(cert.NameConstraints)(c, x) && (x.Profile.Usage == "ca" || len(x.Wish.Permitted) == 0)
	}},
	{"own-key", "GM/T 0034 §8.2.4", "下级 CA 的密钥和名称不应是签发者的；交叉证书的名称应是签发者的，密钥不是", func(c *cert.Certificate, x Context) bool {
		return x.Profile.Usage != "ca" || x.Issuer == nil || !bytes.Equal(c.Point, x.Issuer.Point) && bytes.Equal(c.Subject, x.Issuer.Subject) == x.Profile.Own
	}},
	{"any-policy", "RFC 5280 §4.2.1.4", "下级 CA 证书应列明策略，不用任意策略；签发者有策略时应在其内", policies},
	{"policy", "电子政务电子认证服务管理办法 第十九条第五项", "应有证书策略标识", like(cert.Policies)},
	{"crl-point", "GM/T 0043 §6.2.2g", "应有指向该序列号所在分段的撤销列表地址", like(cert.CRLPoints)},
	{"authority-info", "GM/T 0037 附录 A.11", "应有状态查询地址和颁发者证书地址", like(cert.AuthorityInfo)},
	{"uri", "RFC 5280 §4.2.1.6", "地址应为以 http:// 或 https:// 开头的可见 ASCII 字符", uris},
	{"alt-names", "RFC 5280 §4.2.1.6", "主体别名应与审核通过的申请相同", like(cert.SubjectAltName)},
	{"alt-names.own", "RFC 9525 §2", "主体别名应是申请单位自己的域名或设备地址；CN 是主机名时应在其中", owned},
	{"identity-code", "GM/T 0015 §5.2.4", "身份标识扩展应与审核通过的申请相同，模板没有的不应出现", codes},
	{"no-check", "RFC 6960 §4.2.2.2.1", "仅状态查询服务器证书应有 ocsp-nocheck", like(cert.OCSPNoCheck)},
	{"canonical", "GM/T 0006", "编码应为 DER，与重新编码逐字节相同", canonical},
}

// uris looks at every address at which others are to fetch something.
func uris(c *cert.Certificate, _ Context) bool {
	for _, id := range []asn1.ObjectIdentifier{cert.CRLPoints, cert.AuthorityInfo} {
		if e, ok := c.Extension(id); ok && !fetchable(e.Value) {
			return false
		}
	}
	return true
}

// fetchable goes through DER for GeneralNames of the URI kind, [6].
func fetchable(der cryptobyte.String) bool {
	const uri = cbasn1.Tag(6 | 0x80)
	for !der.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !der.ReadAnyASN1(&value, &tag) {
			return false
		}
		if tag == uri {
			if !bytes.HasPrefix(value, []byte("http://")) && !bytes.HasPrefix(value, []byte("https://")) ||
				slices.ContainsFunc(value, func(b byte) bool { return b <= ' ' || b > '~' }) {
				return false
			}
		} else if tag&0x20 != 0 && !fetchable(value) {
			return false
		}
	}
	return true
}

// issuerOf is the CA's certificate; a root is its own.
func issuerOf(c *cert.Certificate, x Context) *cert.Certificate {
	if x.Issuer == nil {
		return &cert.Certificate{Subject: c.Subject, Point: c.Point}
	}
	return x.Issuer
}

func serialForm(c *cert.Certificate, _ Context) bool {
	n := c.Serial.BitLen()
	return c.Serial.Sign() > 0 && n <= 159 && n >= 64
}

func has(c *cert.Certificate, want cert.Extension) bool {
	e, ok := c.Extension(want.ID)
	return ok && bytes.Equal(e.Value, want.Value)
}

// like compares one extension with what the profile drafts for this wish, in
// value and in presence.
func like(id asn1.ObjectIdentifier) func(c *cert.Certificate, x Context) bool {
	return func(c *cert.Certificate, x Context) bool {
		w, wanted := x.want.Extension(id)
		e, there := c.Extension(id)
		return wanted == there && bytes.Equal(w.Value, e.Value)
	}
}

var allKnown = []asn1.ObjectIdentifier{
	cert.AuthorityKeyID, cert.SubjectKeyID, cert.KeyUsageID, cert.BasicConstraints, cert.ExtKeyUsageID, cert.Policies,
	cert.CRLPoints, cert.AuthorityInfo, cert.SubjectAltName, cert.OCSPNoCheck, cert.NameConstraints,
}

func known(id asn1.ObjectIdentifier, x Context) bool {
	return slices.ContainsFunc(allKnown, id.Equal) || slices.ContainsFunc(codeIDs(x), id.Equal)
}

// codeIDs are the identity extensions the profile knows.
func codeIDs(x Context) (ids []asn1.ObjectIdentifier) {
	for _, r := range x.Profile.Codes {
		if id, err := profile.OID(r.OID); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// owned holds the names in the certificate to what the profile asks of names.
func owned(c *cert.Certificate, x Context) bool {
	if x.Profile.Internal { // our own processes talk on one machine
		return true
	}
	n, err := dn.Parse(c.Subject)
	if err != nil {
		return true // the rules on subjects say so
	}
	var names []cert.AltName
	if e, ok := c.Extension(cert.SubjectAltName); ok {
		if names, ok = cert.ReadAltNames(e.Value); !ok {
			return false
		}
	}
	return x.Profile.CheckHosts(n.CN, names) == nil
}

func codes(c *cert.Certificate, x Context) bool {
	for _, id := range codeIDs(x) {
		if !like(id)(c, x) {
			return false
		}
	}
	return true
}

func critical(id asn1.ObjectIdentifier, x Context) bool {
	switch {
	case id.Equal(cert.KeyUsageID), id.Equal(cert.BasicConstraints), id.Equal(cert.NameConstraints):
		return true
	case id.Equal(cert.ExtKeyUsageID):
		return slices.Equal(x.Profile.SignEKU, []string{"timeStamping"})
	}
	return false
}

// validityEncoding looks at the raw times: two elements of the right tags, 13
// or 15 characters, ending in Z.
func validityEncoding(c *cert.Certificate, _ Context) bool {
	s := cryptobyte.String(c.Validity)
	var validity cryptobyte.String
	if !s.ReadASN1(&validity, cbasn1.SEQUENCE) {
		return false
	}
	for _, year := range []int{c.NotBefore.Year(), c.NotAfter.Year()} {
		var raw cryptobyte.String
		var tag cbasn1.Tag
		if !validity.ReadAnyASN1(&raw, &tag) || raw[len(raw)-1] != 'Z' {
			return false
		}
		if year < 2050 && (tag != cbasn1.UTCTime || len(raw) != 13) || year >= 2050 && (tag != cbasn1.GeneralizedTime || len(raw) != 15) {
			return false
		}
	}
	return true
}

var order = []string{"C", "ST", "L", "O", "OU", "E", "CN"}

func subjectOrder(c *cert.Certificate, _ Context) bool {
	attrs, err := dn.Attributes(c.Subject)
	if err != nil || len(attrs) == 0 {
		return false
	}
	last := 0
	for _, a := range attrs {
		i := slices.Index(order, a.Type)
		if i < last {
			return false
		}
		last = i
	}
	return true
}

func subjectStrings(c *cert.Certificate, _ Context) bool {
	attrs, err := dn.Attributes(c.Subject)
	if err != nil {
		return false
	}
	for _, a := range attrs {
		want := cbasn1.UTF8String
		switch a.Type {
		case "C":
			want = cbasn1.PrintableString
		case "E":
			want = cbasn1.IA5String
		}
		if a.Tag != want {
			return false
		}
	}
	return true
}

func subjectSingle(c *cert.Certificate, _ Context) bool {
	s := cryptobyte.String(c.Subject)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return false
	}
	for !seq.Empty() {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, cbasn1.SET) || !set.SkipASN1(cbasn1.SEQUENCE) || !set.Empty() {
			return false
		}
	}
	return true
}

// canonical re-encodes what was read: a draft with anything but the one DER
// form, or with parts the reader passed over, differs.
func canonical(c *cert.Certificate, _ Context) bool {
	again := cert.Draft{
		Serial: c.Serial.Bytes(), Issuer: c.Issuer, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Subject: c.Subject, Point: c.Point, Extensions: c.Extensions, Validity: c.Validity, // its form is a rule of its own
	}.TBS()
	return bytes.Equal(again, c.RawTBS)
}
