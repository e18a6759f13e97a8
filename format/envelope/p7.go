package envelope

import (
	"slices"
)

const clauseP7 = "GB/T 35275"

// Identifiers compared here; names has what they stand for.
const (
	oidSM4          = "1.2.156.10197.1.104"
	oidSM4ECB       = "1.2.156.10197.1.104.1"
	oidSM4CBC       = "1.2.156.10197.1.104.2"
	oidSM2          = "1.2.156.10197.1.301"
	oidSM2Sign      = "1.2.156.10197.1.301.1"
	oidSM2Exchange  = "1.2.156.10197.1.301.2"
	oidSM2Encrypt   = "1.2.156.10197.1.301.3"
	oidSM3          = "1.2.156.10197.1.401"
	oidSM2WithSM3   = "1.2.156.10197.1.501"
	oidData         = "1.2.156.10197.6.1.4.2.1"
	oidEnveloped    = "1.2.156.10197.6.1.4.2.3"
	oidSignedEnv    = "1.2.156.10197.6.1.4.2.4"
	oidPKCSData     = "1.2.840.113549.1.7.1"
	oidPKCSEnv      = "1.2.840.113549.1.7.3"
	oidPKCSSigned   = "1.2.840.113549.1.7.4"
	recipientsMax   = 16
	tagContent      = 0x80 // [0] primitive
	tagContentParts = 0xa0 // [0] constructed
)

// signer is who signed an envelope, and the signature over the plain content.
type signer struct {
	serial    []byte
	cert      []byte
	signature []byte
}

// readInfo reads ContentInfo.
func (r *Report) readInfo(id string, content element) {
	signed := false
	switch id {
	case oidEnveloped:
	case oidSignedEnv:
		signed = true
	case oidPKCSEnv, oidPKCSSigned:
		r.wrong("contentType", clauseP7, "用了 %s，应为 GM/T 0010 的 1.2.156.10197.6.1.4.2.x", named(id))
		signed = id == oidPKCSSigned
	default:
		r.wrong("contentType", clauseP7, "内容类型 %s 不是数字信封", named(id))
		return
	}
	r.part("内容类型", "%s", named(id))
	inner, rest, err := next(content.body)
	if content.tag != tagContentParts || err != nil || len(rest) > 0 || inner.tag != tagSequence {
		r.wrong("content", clauseP7, "内容不是 [0] EXPLICIT SEQUENCE")
		return
	}
	list, err := all(inner.body)
	if err != nil {
		r.wrong("content", clauseP7, "%v", err)
		return
	}
	r.readData(list, signed)
}

// readBare reads the data without a ContentInfo, as GM/T 0014 carries it.
func (r *Report) readBare(list []element) {
	r.note("结构", clauseP7, "没有 ContentInfo 外层；GM/T 0014 的报文内如此，单独成文件时应有")
	r.readData(list, len(list) > 3 && list[2].tag == tagSet)
}

// readData reads EnvelopedData or SignedAndEnvelopedData.
func (r *Report) readData(list []element, signed bool) {
	r.Format = P7Plain
	shape := []byte{tagInteger, tagSet, tagSequence}
	if signed {
		r.Format, shape = P7, []byte{tagInteger, tagSet, tagSet, tagSequence}
	}
	for i, tag := range shape {
		if len(list) <= i || list[i].tag != tag {
			r.wrong("content", clauseP7, "第 %d 项不是%s应有的类型", i+1, titles[r.Format])
			r.Format = Unknown
			return
		}
	}
	if v := list[0].number(); v != 1 {
		r.wrong("version", clauseP7, "版本 %d，应为 1", v)
	}
	r.part("版本", "%d", list[0].number())
	r.readRecipients(list[1])
	if signed {
		r.digests(list[2])
	}
	r.readContent(list[len(shape)-1])
	rest := list[len(shape):]
	if !signed {
		if len(rest) > 0 {
			r.wrong("content", clauseP7, "末尾多 %d 项", len(rest))
		}
		return
	}
	r.readTail(rest)
}

func (r *Report) digests(set element) {
	list, err := all(set.body)
	ok := err == nil && len(list) > 0
	for _, e := range list {
		id, _, is := e.algorithm()
		ok = ok && is && id == oidSM3
	}
	if !ok {
		r.wrong("digestAlgorithms", clauseP7, "杂凑算法不是 SM3")
	}
}

func (r *Report) readRecipients(set element) {
	list, err := all(set.body)
	if err != nil || len(list) == 0 || len(list) > recipientsMax {
		r.wrong("recipientInfos", clauseP7, "接收者应有 1 至 %d 个", recipientsMax)
		return
	}
	if len(list) > 1 {
		r.note("recipientInfos", clauseP7, "有 %d 个接收者，只核对第一个", len(list))
	}
	parts, err := all(list[0].body)
	if err != nil || list[0].tag != tagSequence || len(parts) != 4 {
		r.wrong("recipientInfo", clauseP7, "不是 RecipientInfo")
		return
	}
	if v := parts[0].number(); v != 1 {
		r.wrong("recipientInfo.version", clauseP7, "版本 %d，应为 1", v)
	}
	r.name(parts[1], "recipientInfo", "接收者")
	id, parameters, ok := parts[2].algorithm()
	switch {
	case !ok:
		r.wrong("keyEncryptionAlgorithm", clauseP7, "不是算法标识")
	case id == oidSM2Encrypt:
	case id == oidSM2Exchange:
		r.wrong("keyEncryptionAlgorithm", clauseP7, "写成 301.2（密钥交换，GmSSL 的写法），应为 301.3")
	case id == oidSM2:
		r.note("keyEncryptionAlgorithm", clauseP7, "写成 301，应写 301.3")
	default:
		r.wrong("keyEncryptionAlgorithm", clauseP7, "算法 %s，应为 SM2 加密 301.3", named(id))
	}
	r.part("密钥加密算法", "%s", named(id))
	r.null("keyEncryptionAlgorithm", parameters)
	if parts[3].tag != tagOctets {
		r.wrong("encryptedKey", clauseP7, "不是 OCTET STRING")
		return
	}
	r.readCipher(parts[3].body, "encryptedKey")
}

// null notes parameters: receivers take none, NULL, or both.
func (r *Report) null(at string, parameters *element) {
	switch {
	case isNull(parameters):
		r.note(at, "GM/T 0006", "带有 NULL 参数，个别软件不读")
	case parameters != nil:
		r.wrong(at, "GM/T 0006", "带有不该有的算法参数")
	}
}

// name reads IssuerAndSerialNumber and returns the serial.
func (r *Report) name(e element, at, title string) (serial []byte) {
	parts, err := all(e.body)
	if len(parts) == 2 && parts[0].tag == 0 && len(parts[0].body) == 0 {
		r.wrong(at, clauseP7, "颁发者写成两个零字节，应为 Name")
		parts[0].tag = tagSequence
	}
	if err != nil || e.tag != tagSequence || len(parts) != 2 || parts[0].tag != tagSequence || parts[1].tag != tagInteger {
		r.wrong(at, clauseP7, "没有用颁发者和序列号指明证书")
		return nil
	}
	issuer := "空"
	if len(parts[0].body) > 0 {
		issuer = "已写明"
	} else {
		r.note(at, clauseP7, "颁发者为空名，只能按私钥找到接收者")
	}
	r.part(title, "颁发者%s，证书序列号 %X", issuer, parts[1].body)
	return parts[1].body
}

func (r *Report) readContent(e element) {
	list, err := all(e.body)
	if err != nil || len(list) < 3 {
		r.wrong("encryptedContentInfo", clauseP7, "没有密文")
		return
	}
	switch id := list[0].oid(); id {
	case oidData:
	case oidPKCSData:
		r.wrong("encryptedContentInfo.contentType", clauseP7, "用了 PKCS#7 的 data，应为 %s", oidData)
	default:
		r.wrong("encryptedContentInfo.contentType", clauseP7, "内容类型 %s，应为 data", named(id))
	}
	id, parameters, _ := list[1].algorithm()
	r.part("内容加密算法", "%s", named(id))
	r.contentCipher(id, parameters)
	text := list[2]
	switch text.tag {
	case tagContent:
		r.content = text.body
	case tagContentParts:
		r.wrong("encryptedContent", clauseP7, "密文是分段编码，应为原始编码 [0] IMPLICIT")
		parts, _ := all(text.body)
		for _, p := range parts {
			r.content = append(r.content, p.body...)
		}
	default:
		r.wrong("encryptedContent", clauseP7, "没有密文")
	}
	r.part("密文", "%d 字节，%v", len(r.content), r.mode)
	if n := len(r.content); n == 0 || n%16 != 0 {
		r.wrong("encryptedContent", clauseP7, "密文 %d 字节，不是分组的整数倍", n)
	}
}

// contentCipher finds the mode: SM4 by itself means CBC where an initial vector
// stands beside it and ECB where none does.
func (r *Report) contentCipher(id string, parameters *element) {
	iv := parameters != nil && parameters.tag == tagOctets && len(parameters.body) == 16
	switch {
	case id == oidSM4CBC && iv, id == oidSM4 && iv:
		r.mode, r.iv = modeCBC, parameters.body
		r.note("contentEncryptionAlgorithm", clauseP7, "CBC 模式的信封不能不解密就转成 SM2EnvelopedKey 或 ENVELOPEDKEYBLOB")
	case id == oidSM4CBC:
		r.wrong("contentEncryptionAlgorithm", clauseP7, "CBC 模式没有 16 字节的初始向量")
	case id == oidSM4ECB, id == oidSM4:
		r.mode = modeECB
		if id == oidSM4 {
			r.note("contentEncryptionAlgorithm", clauseP7, "算法标识没有写明工作模式，也没有初始向量，按 ECB 读")
		}
		r.null("contentEncryptionAlgorithm", parameters)
	default:
		r.wrong("contentEncryptionAlgorithm", clauseP7, "算法 %s，应为 SM4", named(id))
	}
}

// readTail reads certificates, lists and signers.
func (r *Report) readTail(rest []element) {
	for len(rest) > 0 && (rest[0].tag == 0xa0 || rest[0].tag == 0xa1) {
		if list, err := all(rest[0].body); rest[0].tag == 0xa0 && err == nil && len(list) > 0 {
			r.signer.cert = list[0].raw
			r.part("所附证书", "%d 张", len(list))
		}
		rest = rest[1:]
	}
	if len(rest) != 1 || rest[0].tag != tagSet {
		r.wrong("signerInfos", clauseP7, "没有签名者")
		return
	}
	list, err := all(rest[0].body)
	if err != nil || len(list) == 0 {
		r.wrong("signerInfos", clauseP7, "没有签名者")
		return
	}
	parts, err := all(list[0].body)
	parts = slices.DeleteFunc(parts, func(e element) bool { return e.tag == 0xa1 })
	if err == nil && len(parts) == 6 && parts[3].tag == 0xa0 {
		r.note("signerInfo", clauseP7, "带有签名属性，签名不直接针对内容")
		parts = slices.Delete(parts, 3, 4)
	}
	if err != nil || len(parts) != 5 || parts[4].tag != tagOctets {
		r.wrong("signerInfo", clauseP7, "不是 SignerInfo")
		return
	}
	if v := parts[0].number(); v != 1 {
		r.wrong("signerInfo.version", clauseP7, "版本 %d，应为 1", v)
	}
	r.signer.serial = r.name(parts[1], "signerInfo", "签名者")
	if id, _, _ := parts[2].algorithm(); id != oidSM3 {
		r.wrong("digestAlgorithm", clauseP7, "杂凑算法 %s，应为 SM3", named(id))
	}
	switch id, parameters, _ := parts[3].algorithm(); id {
	case oidSM2Sign:
		r.null("digestEncryptionAlgorithm", parameters)
	case oidSM2WithSM3, oidSM2:
		r.note("digestEncryptionAlgorithm", clauseP7, "写成 %s，应为 301.1", id)
	default:
		r.wrong("digestEncryptionAlgorithm", clauseP7, "算法 %s，应为 SM2 签名 301.1", named(id))
	}
	if r.signer.signature = parts[4].body; len(r.signer.signature) == 64 {
		r.note("encryptedDigest", clauseP7, "签名是裸拼接的 64 字节，通行写法是 DER 的 SM2Signature")
	}
}
