package envelope

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"github.com/emmansun/gmsm/smx509"
)

// Opened is what a key made of an envelope.
type Opened struct {
	Opens       bool   `json:"opens"`
	Why         string `json:"why,omitempty"`         // why not
	Point       *bool  `json:"point,omitempty"`       // the private key belongs to the point inside
	Certificate *bool  `json:"certificate,omitempty"` // and to the encryption certificate
	Signature   *bool  `json:"signature,omitempty"`   // the signer inside signed this key
}

// Open tries the owner's signing key and records what comes of it; enc is the
// point of the encryption certificate, nil when there is none to compare with.
// It returns the private key when the envelope opens.
func (r *Report) Open(key *sm2.PrivateKey, enc []byte) *sm2.PrivateKey {
	r.Opened = &Opened{}
	pair, why := r.open(key)
	if why != "" {
		r.Opened.Why = why
		r.wrong("打开", "", "%s", why)
		return nil
	}
	r.Opened.Opens = true
	got := pointOf(&pair.PublicKey)
	same := func(what, clause string, want []byte) *bool {
		ok := bytes.Equal(got, want)
		if !ok {
			r.wrong("打开", clause, "私钥与%s不成对", what)
		}
		return &ok
	}
	if r.Point != nil {
		r.Opened.Point = same("信封内的公钥", clauseKey, r.Point)
	}
	if enc != nil {
		r.Opened.Certificate = same("加密证书", "GM/T 0034 §5.3.4", enc)
	}
	return pair
}

// Compare holds the point inside, where the form has one, against that of the
// encryption certificate, for want of a key.
func (r *Report) Compare(enc []byte) {
	switch {
	case r.Point == nil:
		r.note("公钥", "", "此格式不含公钥，没有私钥就不能与证书核对")
	case !bytes.Equal(r.Point, enc):
		r.wrong("公钥", "GM/T 0034 §5.3.4", "与加密证书的公钥不符")
	}
}

func pointOf(pub *ecdsa.PublicKey) []byte {
	p := append([]byte{4}, make([]byte, 64)...)
	pub.X.FillBytes(p[1:33]) //nolint:staticcheck // SM2 is no crypto/ecdh curve
	pub.Y.FillBytes(p[33:])  //nolint:staticcheck
	return p
}

func (r *Report) open(key *sm2.PrivateKey) (pair *sm2.PrivateKey, why string) {
	switch {
	case r.Format == Unknown || r.Format == CFCA:
		return nil, "不是可以打开的密钥信封"
	case !r.session.ok:
		return nil, "会话密钥密文有误，无法解密"
	case r.mode == modeNone:
		return nil, "对称算法不在此处支持"
	case len(r.content) == 0 || len(r.content)%sm4.BlockSize != 0:
		return nil, "加密私钥的密文长度有误"
	}
	session := r.unwrap(key)
	if len(session) != sm4.BlockSize {
		return nil, "会话密钥用此私钥解不开：信封不是封给这个签名密钥的，或密文已损坏"
	}
	defer clear(session)
	block, err := sm4.NewCipher(session)
	if err != nil {
		return nil, err.Error()
	}
	plain := make([]byte, len(r.content))
	defer clear(plain)
	if r.mode == modeCBC {
		cipher.NewCBCDecrypter(block, r.iv).CryptBlocks(plain, r.content)
	} else {
		for i := 0; i < len(plain); i += sm4.BlockSize {
			block.Decrypt(plain[i:], r.content[i:i+sm4.BlockSize])
		}
	}
	r.checkSigner(plain)
	secret := r.scalar(plain)
	if secret == nil {
		return nil, "会话密钥解开了，但内容不是 SM2 私钥"
	}
	if pair, err = sm2.NewPrivateKey(secret); err != nil {
		return nil, "内容不是 SM2 私钥：数值超出范围"
	}
	return pair, ""
}

// unwrap decrypts the session key, in the other order too.
func (r *Report) unwrap(key *sm2.PrivateKey) []byte {
	c := r.session
	p, _ := point(c.x, c.y)
	try := func(hash, text []byte) []byte {
		raw := append(append(bytes.Clone(p), hash...), text...)
		out, err := key.Decrypt(rand.Reader, raw, nil)
		if err != nil {
			return nil
		}
		return out
	}
	if out := try(c.hash, c.text); out != nil {
		return out
	}
	joined := append(bytes.Clone(c.hash), c.text...)
	if c.swapped {
		joined = append(bytes.Clone(c.text), c.hash...)
	}
	out := try(joined[16:], joined[:16])
	if out != nil {
		r.wrong("会话密钥密文", clauseCipher, "密文次序是 C1C2C3，应为 C1C3C2")
	}
	return out
}

// scalar finds the private key in the plain content: right-aligned in 64
// octets, alone, or in a structure; padded in some.
func (r *Report) scalar(plain []byte) []byte {
	const at = "私钥明文"
	if n := len(plain); n == 48 || n > 64 {
		if pad := int(plain[n-1]); pad >= 1 && pad <= 16 && bytes.Count(plain[n-pad:], []byte{byte(pad)}) == pad {
			r.note(at, clauseKey, "带有填充，私钥密文通行不填充")
			plain = plain[:n-pad]
		}
	}
	switch {
	case len(plain) == 32:
		return plain
	case len(plain) == 64 && bytes.Count(plain[:32], []byte{0}) == 32:
		return plain[32:]
	case len(plain) == 64 && bytes.Count(plain[32:], []byte{0}) == 32:
		r.wrong(at, clauseSKF, "私钥左对齐，应在 64 字节内右对齐")
		return plain[:32]
	}
	if secret := wrappedScalar(plain); secret != nil {
		r.note(at, clauseP7, "内容是 ECPrivateKey 或 PKCS#8 结构，不是裸私钥；不能只重新编码就导入令牌")
		return secret
	}
	return nil
}

// wrappedScalar digs the private key out of ECPrivateKey or PrivateKeyInfo.
func wrappedScalar(b []byte) []byte {
	for range 3 {
		outer, _, err := next(b)
		if err != nil || outer.tag != tagSequence {
			return nil
		}
		list, err := all(outer.body)
		if err != nil || len(list) < 2 {
			return nil
		}
		inner := list[1]
		if inner.tag == tagOctets {
			return coordinate(inner.body)
		}
		if inner.tag != tagSequence || len(list) < 3 || list[2].tag != tagOctets {
			return nil
		}
		b = list[2].body
	}
	return nil
}

// checkSigner verifies the signature with the certificate inside. Who that is
// proves nothing; that it does not fit proves damage.
func (r *Report) checkSigner(plain []byte) {
	if r.Format != P7 || r.signer.cert == nil || r.signer.signature == nil {
		return
	}
	c, err := smx509.ParseCertificate(r.signer.cert)
	ok := false
	if err == nil {
		if pub, is := c.PublicKey.(*ecdsa.PublicKey); is {
			ok = sm2.VerifyASN1WithSM2(pub, nil, plain, derSignature(r.signer.signature))
		}
	}
	if r.Opened.Signature = &ok; !ok {
		r.wrong("signerInfo", clauseP7, "签名与所附证书和内容不符")
	}
}

// derSignature writes r ‖ s as SEQUENCE { r, s }.
func derSignature(sig []byte) []byte {
	if len(sig) != 64 {
		return sig
	}
	var body []byte
	for _, n := range [][]byte{sig[:32], sig[32:]} {
		if n = bytes.TrimLeft(n, "\x00"); len(n) == 0 || n[0]&0x80 != 0 {
			n = append([]byte{0}, n...)
		}
		body = append(append(body, tagInteger, byte(len(n))), n...)
	}
	return append([]byte{tagSequence, byte(len(body))}, body...)
}
