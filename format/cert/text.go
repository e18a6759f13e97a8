package cert

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// names are what people call extensions and usages.
var names = map[string]string{
	SubjectKeyID.String(): "主体密钥标识符", KeyUsageID.String(): "密钥用法", SubjectAltName.String(): "主体别名", BasicConstraints.String(): "基本约束",
	CRLPoints.String(): "CRL 分发点", Policies.String(): "证书策略", AuthorityKeyID.String(): "颁发机构密钥标识符", ExtKeyUsageID.String(): "扩展密钥用法",
	AuthorityInfo.String(): "颁发机构信息访问", OCSPNoCheck.String(): "OCSP 免检",

	"1.2.156.10260.4.1.1": "个人身份标识码", "1.2.156.10260.4.1.2": "个人社会保险号", "1.2.156.10260.4.1.3": "企业工商注册号",
	"1.2.156.10260.4.1.4": "企业组织机构代码（统一社会信用代码）", "1.2.156.10260.4.1.5": "企业税号",

	UsageServerAuth.String(): "服务器身份鉴别", UsageClientAuth.String(): "客户端身份鉴别", UsageEmail.String(): "电子邮件保护",
	UsageTimeStamp.String(): "时间戳", UsageOCSPSigning.String(): "OCSP 签名", accessOCSP.String(): "OCSP", accessIssuer.String(): "颁发者证书", qualifierCPS.String(): "业务规则",
}

func called(id asn1.ObjectIdentifier) string {
	if n := names[id.String()]; n != "" {
		return n
	}
	return id.String()
}

// ExtensionName is what people call an extension.
func ExtensionName(id asn1.ObjectIdentifier) string { return called(id) }

// ExtensionText shows an extension to people. What it cannot read it shows in
// hexadecimal.
func ExtensionText(e Extension) string {
	switch {
	case e.ID.Equal(KeyUsageID):
		for _, u := range []struct {
			value []byte
			text  string
		}{{UsageSign, "数字签名、抗抵赖"}, {UsageEnc, "密钥加密、数据加密、密钥协商"}, {UsageCA, "证书签发、CRL 签发"}} {
			if bytes.Equal(e.Value, u.value) {
				return u.text
			}
		}
	case e.ID.Equal(BasicConstraints):
		return constraintText(e.Value)
	}
	if parts := leaves(e.Value, 0); len(parts) > 0 {
		return strings.Join(parts, "；")
	}
	return fmt.Sprintf("%x", e.Value)
}

func constraintText(value []byte) string {
	s := cryptobyte.String(value)
	var seq cryptobyte.String
	var ca bool
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadOptionalASN1Boolean(&ca, cbasn1.BOOLEAN, false) || !ca {
		return "最终实体"
	}
	n := -1
	if !seq.Empty() && !seq.ReadASN1Integer(&n) || n < 0 {
		return "CA，路径长度不限"
	}
	return fmt.Sprintf("CA，路径长度 %d", n)
}

// depthMax bounds how deep leaves looks: real extensions have six levels.
const depthMax = 12

// leaves collects what a value says, in order: identifiers, names, key ids.
func leaves(der []byte, depth int) (parts []string) {
	s := cryptobyte.String(der)
	for depth < depthMax && !s.Empty() {
		var body cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1(&body, &tag) {
			return parts
		}
		switch {
		case tag == cbasn1.OBJECT_IDENTIFIER:
			var id asn1.ObjectIdentifier
			whole := cryptobyte.String(append([]byte{byte(tag), byte(len(body))}, body...)) // identifiers here are short
			if len(body) < 0x80 && whole.ReadASN1ObjectIdentifier(&id) {
				parts = append(parts, called(id))
			}
		case tag == context(1) || tag == context(2) || tag == context(6) || tag == cbasn1.IA5String || tag == cbasn1.UTF8String || tag == cbasn1.PrintableString:
			parts = append(parts, string(body))
		case tag == context(7):
			if ip, ok := netip.AddrFromSlice(body); ok {
				parts = append(parts, ip.String())
			}
		case tag == context(0) || tag == cbasn1.OCTET_STRING:
			parts = append(parts, fmt.Sprintf("%X", []byte(body)))
		case tag&0x20 != 0:
			parts = append(parts, leaves(body, depth+1)...)
		}
	}
	return parts
}
