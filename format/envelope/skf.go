package envelope

import (
	"bytes"
	"encoding/binary"
)

const clauseSKF = "GM/T 0016 §6.4.10"

// layout is one way the blob of GM/T 0016 is found laid out.
type layout struct {
	order binary.ByteOrder
	word  int // octets of a ULONG
	field int // octets of a coordinate and of the encrypted private key
	fault string
}

// layouts of ENVELOPEDKEYBLOB, the standard's first. The others are what comes
// out of programs compiled with another idea of the structure.
var layouts = []layout{
	{binary.LittleEndian, 4, 64, ""},
	{binary.BigEndian, 4, 64, "整数是大端序，应为小端序"},
	{binary.LittleEndian, 8, 64, "ULONG 占 8 字节（64 位编译），应为紧缩的 4 字节"},
	{binary.BigEndian, 8, 64, "ULONG 占 8 字节且为大端序，应为 4 字节小端序"},
	{binary.LittleEndian, 4, 32, "坐标与加密私钥字段为 32 字节，应为 64 字节右对齐"},
	{binary.BigEndian, 4, 32, "字段为 32 字节且整数为大端序，应为 64 字节、小端序"},
}

func (l layout) uint(b []byte) uint64 {
	if l.word == 8 {
		return l.order.Uint64(b)
	}
	return uint64(l.order.Uint32(b))
}

// fixed is the length without the ciphertext of the session key.
func (l layout) fixed() int { return 3*l.word + l.field + l.word + 2*l.field + 2*l.field + 32 + l.word }

// fits reports whether a blob has this layout: the two bit lengths say so.
func (l layout) fits(b []byte) bool {
	if len(b) < l.fixed() {
		return false
	}
	bits, bitLen := l.uint(b[2*l.word:]), l.uint(b[3*l.word+l.field:])
	return bits == 256 && bitLen == 256 || (bits == 256 || bitLen == 256) && l.uint(b) == 1
}

// readSKF reads ENVELOPEDKEYBLOB; false when the blob is none.
func (r *Report) readSKF(b []byte) bool {
	for _, l := range layouts {
		if l.fits(b) {
			r.readBlob(b, l)
			return true
		}
	}
	return false
}

func (r *Report) readBlob(b []byte, l layout) {
	take := func(n int) []byte {
		head := b[:n]
		b = b[n:]
		return head
	}
	if l.fault != "" {
		r.wrong("结构", clauseSKF, "%s", l.fault)
	}
	if v := l.uint(take(l.word)); v != 1 {
		r.wrong("Version", clauseSKF, "版本 %d，应为 1", v)
	} else {
		r.part("版本", "1")
	}
	r.skfCipher(uint32(l.uint(take(l.word))))
	if n := l.uint(take(l.word)); n != 256 {
		r.wrong("ulBits", clauseSKF, "密钥位数 %d，应为 256", n)
	} else {
		r.part("密钥位数", "256")
	}
	key := take(l.field)
	if n := l.uint(take(l.word)); n != 256 {
		r.wrong("PubKey.BitLen", clauseSKF, "公钥位数 %d，应为 256", n)
	}
	x, y := r.aligned(take(l.field), "PubKey.XCoordinate"), r.aligned(take(l.field), "PubKey.YCoordinate")
	r.setPoint(x, y, "PubKey", clauseSKF)
	cx, cy := r.aligned(take(l.field), "ECCCipherBlob.XCoordinate"), r.aligned(take(l.field), "ECCCipherBlob.YCoordinate")
	c := sm2Cipher{x: cx, y: cy, hash: take(32)}
	n := l.uint(take(l.word))
	if n > uint64(len(b)) {
		r.wrong("ECCCipherBlob.CipherLen", clauseSKF, "密文长度 %d，剩余只有 %d 字节", n, len(b))
		n = uint64(len(b))
	}
	c.text = take(int(n))
	r.setSession(c, "ECCCipherBlob", clauseSKF)
	if len(b) > 0 {
		r.wrong("结构", clauseSKF, "末尾多 %d 字节", len(b))
	}
	r.skfKey(key)
}

// aligned takes the value out of a field and tells when it stands on the left.
func (r *Report) aligned(field []byte, at string) []byte {
	if len(field) == 32 {
		return field
	}
	left, right := field[:32], field[32:]
	if bytes.Count(left, []byte{0}) == 32 {
		return right
	}
	if bytes.Count(right, []byte{0}) == 32 {
		r.wrong(at, clauseSKF, "左对齐，应在 64 字节字段内右对齐")
		return left
	}
	r.wrong(at, clauseSKF, "前 32 字节不为零，不是 256 位的数")
	return right
}

// skfKey reads the field of the encrypted private key.
func (r *Report) skfKey(field []byte) {
	r.Format, r.content = SKF64, field
	if len(field) == 64 {
		switch left, right := field[:32], field[32:]; {
		case bytes.Count(left, []byte{0}) == 32:
			r.Format, r.content = SKF32, right
		case bytes.Count(right, []byte{0}) == 32:
			r.Format, r.content = SKF32, left
			r.wrong("cbEncryptedPriKey", clauseSKF, "密文左对齐，应在 64 字节字段内右对齐")
		}
	} else {
		r.Format = SKF32
	}
	r.part("加密私钥", "%d 字节字段，其中密文 %d 字节", len(field), len(r.content))
}

// Identifiers of GM/T 0006 for the cipher of the private key.
const (
	sgdSM1ECB = 0x00000101
	sgdSSFECB = 0x00000201
	sgdSM4ECB = 0x00000401
	sgdSM4CBC = 0x00000402
)

func (r *Report) skfCipher(id uint32) {
	switch id {
	case sgdSM4ECB:
		r.mode = modeECB
		r.part("对称算法", "SGD_SM4_ECB 0x%08X", id)
	case sgdSM1ECB, sgdSSFECB:
		r.part("对称算法", "0x%08X（旧令牌的 SM1 或 SSF33，ECB）", id)
		r.note("ulSymmAlgID", clauseSKF, "算法不公开，软件不能核对；新令牌应为 SGD_SM4_ECB")
	case sgdSM4CBC:
		r.part("对称算法", "SGD_SM4_CBC 0x%08X", id)
		r.wrong("ulSymmAlgID", clauseSKF, "SM4-CBC，此处只能用 ECB")
	default:
		r.part("对称算法", "0x%08X", id)
		r.wrong("ulSymmAlgID", clauseSKF, "算法标识 0x%08X，应为 SGD_SM4_ECB 0x00000401", id)
	}
}

const clauseSDF = "GM/T 0018 §5.8"

// readSDF recognises the structure of GM/T 0018, which has the same parts in
// another order and is what some key centres hand out instead.
func (r *Report) readSDF(b []byte) bool {
	const cipherLen, size = 64 + 64 + 32, 4 + 4 + 64 + 64 + 32 + 4 + 16 + 132 + 64
	if len(b) != size {
		return false
	}
	u := binary.LittleEndian.Uint32
	if u(b[8+cipherLen:]) != 16 || u(b[8+cipherLen+20:]) != 256 {
		return false
	}
	r.wrong("结构", clauseSKF, "字段次序是 GM/T 0018 的（会话密钥在前），令牌的 SKF_ImportECCKeyPair 不读")
	r.skfCipher(u(b[4:]))
	c, p, key := b[8:], b[8+cipherLen+20+4:], b[size-64:]
	r.setPoint(r.aligned(p[:64], "PubKey.x"), r.aligned(p[64:128], "PubKey.y"), "PubKey", clauseSDF)
	r.setSession(sm2Cipher{x: r.aligned(c[:64], "C.x"), y: r.aligned(c[64:128], "C.y"), hash: c[128:160], text: c[164:180]}, "ECCCipherBlob", clauseSDF)
	r.skfKey(key)
	r.Format = SDF
	return true
}
