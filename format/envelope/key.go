package envelope

const (
	clauseKey    = "GB/T 35276"
	clauseCipher = "GM/T 0009 §7.2"
)

// readDER tells the DER forms apart by how they begin.
func (r *Report) readDER(b []byte) {
	r.Format = Unknown
	outer, rest, err := next(b)
	if err != nil || outer.tag != tagSequence {
		r.wrong("文件", "", "既不是 ENVELOPEDKEYBLOB，也不是 DER 结构")
		return
	}
	if len(rest) > 0 {
		r.wrong("结构", "X.690", "末尾多 %d 字节", len(rest))
	}
	list, err := all(outer.body)
	if err != nil || len(list) == 0 {
		r.wrong("结构", "X.690", "内容无法读取")
		return
	}
	switch first := list[0]; {
	case first.tag == tagSequence:
		r.readSealedKey(list)
	case first.tag == tagOID && len(list) == 2:
		r.readInfo(first.oid(), list[1])
	case first.tag == tagInteger && len(list) >= 3 && list[1].tag == tagSet:
		r.readBare(list)
	default:
		r.wrong("文件", "", "是 DER，但不是密钥信封")
	}
}

// readSealedKey reads SM2EnvelopedKey.
func (r *Report) readSealedKey(list []element) {
	id, parameters, ok := list[0].algorithm()
	if !ok || len(list) != 4 || list[1].tag != tagSequence && list[1].tag != tagOctets || list[2].tag != tagBits || list[3].tag != tagBits {
		r.wrong("文件", "", "是 DER，但不是密钥信封")
		return
	}
	r.Format = SealedKey
	r.part("对称算法", "%s", named(id))
	switch id {
	case oidSM4ECB:
		r.mode = modeECB
	case oidSM4:
		r.mode = modeECB
		r.note("symAlgID", clauseKey, "算法标识没有写明工作模式，按 ECB 读")
	default:
		r.wrong("symAlgID", clauseKey, "算法 %s，应为 SM4-ECB %s", named(id), oidSM4ECB)
	}
	switch {
	case parameters == nil:
		r.note("symAlgID", clauseKey, "没有 NULL 参数，个别软件不读")
	case !isNull(parameters):
		r.wrong("symAlgID", clauseKey, "算法参数不是 NULL")
	}
	session := list[1].raw
	if list[1].tag == tagOctets { // some put the ciphertext in octets, as GM/T 0010 does
		r.wrong("symEncryptedKey", clauseKey, "密文放在 OCTET STRING 里，应直接为 SM2Cipher")
		session = list[1].body
	}
	r.readCipher(session, "symEncryptedKey")
	if p := r.bits(list[2], "sm2PublicKey"); len(p) == 65 && p[0] == 4 {
		r.setPoint(p[1:33], p[33:], "sm2PublicKey", clauseKey)
	} else {
		r.wrong("sm2PublicKey", clauseKey, "公钥应为 04 开头的 65 字节，实有 %d 字节", len(p))
	}
	r.content = r.bits(list[3], "sm2EncryptedPrivateKey")
	r.part("加密私钥", "%d 字节", len(r.content))
	if n := len(r.content); n != 32 {
		r.wrong("sm2EncryptedPrivateKey", clauseKey, "密文 %d 字节，应为 32 字节", n)
	}
}

// bits is the content of a BIT STRING of whole octets.
func (r *Report) bits(e element, at string) []byte {
	if len(e.body) == 0 || e.body[0] != 0 {
		r.wrong(at, clauseKey, "BIT STRING 不是整字节")
		return nil
	}
	return e.body[1:]
}

// readCipher reads SM2Cipher, or the raw octets some write in its place.
func (r *Report) readCipher(b []byte, at string) {
	if len(b) == 65+48 && b[0] == 4 || len(b) == 64+48 {
		raw := b[len(b)-64-48:]
		r.wrong(at, clauseCipher, "会话密钥密文是裸拼接的 %d 字节，应为 DER 的 SM2Cipher", len(b))
		r.setSession(sm2Cipher{x: raw[:32], y: raw[32:64], hash: raw[64:96], text: raw[96:]}, at, clauseCipher)
		return
	}
	outer, rest, err := next(b)
	list, listErr := all(outer.body)
	if err != nil || len(rest) > 0 || outer.tag != tagSequence || listErr != nil || len(list) != 4 {
		r.wrong(at, clauseCipher, "会话密钥密文不是 SM2Cipher")
		return
	}
	if list[0].tag != tagInteger || list[1].tag != tagInteger || list[2].tag != tagOctets || list[3].tag != tagOctets {
		r.wrong(at, clauseCipher, "SM2Cipher 的四项应为两个 INTEGER 和两个 OCTET STRING")
		return
	}
	for _, e := range list[:2] {
		if len(e.body) == 0 || e.body[0]&0x80 != 0 || len(e.body) > 1 && e.body[0] == 0 && e.body[1]&0x80 == 0 {
			r.wrong(at, clauseCipher, "坐标不是最短编码的正整数")
			break
		}
	}
	c := sm2Cipher{x: list[0].body, y: list[1].body, hash: list[2].body, text: list[3].body}
	if len(c.hash) == 16 && len(c.text) == 32 {
		r.wrong(at, clauseCipher, "密文次序是 C1C2C3，应为 C1C3C2")
		c.hash, c.text, c.swapped = c.text, c.hash, true
	}
	r.setSession(c, at, clauseCipher)
}
