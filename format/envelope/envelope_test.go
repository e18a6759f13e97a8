package envelope_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"github.com/emmansun/gmsm/smx509"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/envelope"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm/soft"
)

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// made is one pair sealed to one owner in every form there is.
type made struct {
	owner *sm2.PrivateKey
	point []byte
	forms map[string][]byte
	p7    cms.Envelope
}

func newMade(t testing.TB) made {
	t.Helper()
	d, err := soft.Open(t.TempDir(), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.Generate("km")
	if err := errors.Join(err, d.NewMaster("m")); err != nil {
		t.Fatal(err)
	}
	m := made{owner: newKey(t)}
	pair, err := d.NewPair("m")
	if err != nil {
		t.Fatal(err)
	}
	m.point = pair.Point
	s, err := d.Envelope("m", pair, alg.Point(&m.owner.PublicKey), "km")
	if err != nil {
		t.Fatal(err)
	}
	name := []byte{0x30, 0x0d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x02, 'K', 'M'}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 7}, Issuer: name, Subject: name, NotBefore: begin, NotAfter: begin.AddDate(9, 0, 0),
		Point: alg.Point(&key.(*sm2.PrivateKey).PublicKey), Extensions: []cert.Extension{cert.SKI(m.point)}}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	m.p7 = cms.Envelope{Recipient: cms.Ref{Issuer: name, Serial: []byte{9}}, SessionKey: s.SessionKey, Cipher: alg.SM4ECB, Content: s.Content,
		Signer: cms.Ref{Issuer: name, Serial: []byte{0x41, 7}}, Cert: der, Signature: s.Signature}
	e := sealedkey.Envelope{SessionKey: s.SessionKey, Point: pair.Point, Content: s.Content}
	narrow, err1 := e.SKF(false)
	wide, err2 := e.SKF(true)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	m.forms = map[string][]byte{
		envelope.SealedKey: e.Narrow().Bytes(), envelope.SKF32: narrow, envelope.SKF64: wide,
		envelope.P7: cms.Wrap(m.p7.Bytes()), envelope.P7Plain: m.p7.Unsigned(),
	}
	return m
}

func TestEveryFormWeWriteIsNamedFaultlessAndOpens(t *testing.T) {
	m := newMade(t)
	for form, blob := range m.forms {
		r := envelope.Inspect(blob)
		if r.Format != form || len(r.Findings) != 0 || len(r.Parts) == 0 || r.Title == "" {
			t.Errorf("%s: named %s, findings %+v", form, r.Format, r.Findings)
		}
		pair := r.Open(m.owner, m.point)
		if pair == nil || r.Err() != nil || !bytes.Equal(alg.Point(&pair.PublicKey), m.point) || !r.Opened.Opens || !*r.Opened.Certificate {
			t.Errorf("%s: %v %+v", form, r.Err(), r.Opened)
		}
		again := envelope.Inspect(blob)
		if again.Open(newKey(t), nil) != nil || !errors.Is(again.Err(), envelope.NotOpened) {
			t.Errorf("%s: opened by a stranger: %v", form, again.Err())
		}
		other := envelope.Inspect(blob)
		if other.Open(m.owner, alg.Point(&newKey(t).PublicKey)); !errors.Is(other.Err(), envelope.NotOpened) || *other.Opened.Certificate {
			t.Errorf("%s: another certificate is not noticed: %v", form, other.Err())
		}
	}
}

func TestABlobMayComeAsText(t *testing.T) {
	m := newMade(t)
	for form, blob := range m.forms {
		for encoding, text := range map[string][]byte{
			"pem": pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: blob}), "base64": []byte(base64.StdEncoding.EncodeToString(blob) + "\n"),
			"hex": []byte(hex.EncodeToString(blob)), "binary": blob,
		} {
			if r := envelope.Inspect(text); r.Format != form || r.Encoding != encoding || r.Size != len(blob) {
				t.Errorf("%s as %s: read as %s, %s", form, encoding, r.Format, r.Encoding)
			}
		}
	}
}

// swap replaces bytes that must be there.
func swap(t testing.TB, blob, old, by []byte) []byte {
	t.Helper()
	if !bytes.Contains(blob, old) {
		t.Fatalf("%x is not in the blob", old)
	}
	return bytes.Replace(blob, old, by, 1)
}

// words writes a blob of GM/T 0016 anew with another idea of the structure.
func words(blob []byte, order binary.AppendByteOrder, word, field int) (out []byte) {
	number := func(at int) {
		n := binary.LittleEndian.Uint32(blob[at:])
		if word == 8 {
			out = order.AppendUint64(out, uint64(n))
		} else {
			out = order.AppendUint32(out, n)
		}
	}
	value := func(at int) { out = append(out, blob[at+64-field:at+64]...) }
	for _, at := range []int{0, 4, 8} {
		number(at)
	}
	value(12)
	number(76)
	for _, at := range []int{80, 144, 208, 272} {
		value(at)
	}
	out = append(out, blob[336:368]...)
	number(368)
	return append(out, blob[372:]...)
}

// leftAligned moves a number to the left of its field.
func leftAligned(blob []byte, at int) []byte {
	out := bytes.Clone(blob)
	copy(out[at:at+32], blob[at+32:at+64])
	copy(out[at+32:at+64], make([]byte, 32))
	return out
}

func put(blob []byte, at int, by ...byte) []byte {
	out := bytes.Clone(blob)
	copy(out[at:], by)
	return out
}

// sdf orders the parts as GM/T 0018 does.
func sdf(blob []byte) []byte {
	out := append([]byte{0, 4, 2, 0}, blob[4:8]...)
	out = append(out, blob[208:388]...)
	out = append(out, blob[76:208]...)
	return append(out, blob[12:76]...)
}

// der wraps content in a tag with a length of its own.
func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	switch n := len(body); {
	case n < 128:
		return append([]byte{tag, byte(n)}, body...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

// cipherParts takes SM2Cipher apart by hand.
func cipherParts(t testing.TB, b []byte) (x, y, hash, text []byte) {
	t.Helper()
	raw, err := sm2.ASN1Ciphertext2Plain(b, nil)
	if err != nil || len(raw) != 65+48 {
		t.Fatal(err, len(raw))
	}
	return raw[1:33], raw[33:65], raw[65:97], raw[97:]
}

// Every deviation that was met, or is feared, with the words that name it.
func TestEveryDeviationIsNamed(t *testing.T) {
	m := newMade(t)
	skf, wide, key := m.forms[envelope.SKF32], m.forms[envelope.SKF64], m.forms[envelope.SealedKey]
	p7 := func(change func(e *cms.Envelope)) []byte {
		e := m.p7
		change(&e)
		return cms.Wrap(e.Bytes())
	}
	x, y, hash, text := cipherParts(t, m.p7.SessionKey)
	point := append([]byte{4}, append(bytes.Clone(x), y...)...)
	integer := func(b []byte) []byte {
		b = bytes.TrimLeft(b, "\x00")
		if b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return der(2, b)
	}
	swapped := der(0x30, integer(x), integer(y), der(4, text), der(4, hash))
	raw := append(append(bytes.Clone(point), hash...), text...)
	rawSwapped := append(append(bytes.Clone(point), text...), hash...)
	oid := func(n ...byte) []byte { return append([]byte{0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01}, n...) }
	sealed := func(session, content []byte, id ...[]byte) []byte {
		return der(0x30, der(0x30, id...), session, der(3, []byte{0}, m.point), der(3, []byte{0}, content))
	}
	ecb, null := der(6, oid(0x68, 1)), []byte{5, 0}
	narrow := m.p7.Content[32:]
	for name, c := range map[string]struct {
		blob   []byte
		format string
		level  envelope.Level
		says   string
		opens  bool
	}{
		"big-endian words":         {words(skf, binary.BigEndian, 4, 64), envelope.SKF32, envelope.Wrong, "大端序", true},
		"words of eight octets":    {words(skf, binary.LittleEndian, 8, 64), envelope.SKF32, envelope.Wrong, "8 字节", true},
		"eight octets, big-endian": {words(wide, binary.BigEndian, 8, 64), envelope.SKF64, envelope.Wrong, "大端序", true},
		"fields of 32 octets":      {words(skf, binary.LittleEndian, 4, 32), envelope.SKF32, envelope.Wrong, "32 字节，应为 64", true},
		"the order of GM/T 0018":   {sdf(skf), envelope.SDF, envelope.Wrong, "GM/T 0018", true},
		"key on the left":          {leftAligned(skf, 12), envelope.SKF32, envelope.Wrong, "密文左对齐", true},
		"X on the left":            {leftAligned(skf, 80), envelope.SKF32, envelope.Wrong, "左对齐", true},
		"C1 on the left":           {leftAligned(skf, 208), envelope.SKF32, envelope.Wrong, "左对齐", true},
		"rubbish before Y":         {put(skf, 150, 1), envelope.SKF32, envelope.Wrong, "不为零", true},
		"version 2":                {put(skf, 0, 2), envelope.SKF32, envelope.Wrong, "版本 2", true},
		"SM4-CBC named":            {put(skf, 4, 2, 4), envelope.SKF32, envelope.Wrong, "只能用 ECB", false},
		"SM1-ECB named":            {put(skf, 4, 1, 1), envelope.SKF32, envelope.Note, "算法不公开", false},
		"a cipher unknown":         {put(skf, 4, 9, 9), envelope.SKF32, envelope.Wrong, "0x00000909", false},
		"512 bits":                 {put(skf, 8, 0, 2), envelope.SKF32, envelope.Wrong, "密钥位数 512", true},
		"a point off the curve":    {put(skf, 143, skf[143]^1), envelope.SKF32, envelope.Wrong, "不是 SM2 曲线上的点", true},
		"a longer ciphertext said": {put(skf, 368, 32), envelope.SKF32, envelope.Wrong, "密文长度 32", true},
		"octets left over":         {append(bytes.Clone(skf), 0), envelope.SKF32, envelope.Wrong, "末尾多 1 字节", true},
		"cut short":                {skf[:380], envelope.SKF32, envelope.Wrong, "剩余只有 8", false},

		"64 octets in SM2EnvelopedKey": {sealed(m.p7.SessionKey, m.p7.Content, ecb, null), envelope.SealedKey, envelope.Wrong, "密文 64 字节，应为 32", true},
		"no NULL":                      {sealed(m.p7.SessionKey, narrow, ecb), envelope.SealedKey, envelope.Note, "没有 NULL", true},
		"SM4 without a mode":           {sealed(m.p7.SessionKey, narrow, der(6, oid(0x68)), null), envelope.SealedKey, envelope.Note, "没有写明工作模式", true},
		"SM4-CBC in SM2EnvelopedKey":   {sealed(m.p7.SessionKey, narrow, der(6, oid(0x68, 2)), null), envelope.SealedKey, envelope.Wrong, "应为 SM4-ECB", false},
		"C1C2C3":                       {sealed(swapped, narrow, ecb, null), envelope.SealedKey, envelope.Wrong, "C1C2C3", true},
		"raw octets for SM2Cipher":     {swapDER(t, key, m.p7.SessionKey, der(4, raw)), envelope.SealedKey, envelope.Wrong, "裸拼接", true},
		"octets after the structure":   {append(bytes.Clone(key), 0), envelope.SealedKey, envelope.Wrong, "末尾多 1 字节", true},
		"a compressed point":           {sealedPoint(m, ecb, null, narrow, append([]byte{2}, m.point[1:33]...)), envelope.SealedKey, envelope.Wrong, "65 字节，实有 33", true},

		"PKCS#7 identifiers":     {pkcs7(t, m.forms[envelope.P7], 4), envelope.P7, envelope.Wrong, "PKCS#7", true},
		"PKCS#7 enveloped":       {pkcs7(t, m.forms[envelope.P7Plain], 3), envelope.P7Plain, envelope.Wrong, "PKCS#7", true},
		"PKCS#7 data":            {pkcs7Data(t, m.p7), envelope.P7, envelope.Wrong, "PKCS#7 的 data", true},
		"301.2":                  {swap(t, m.forms[envelope.P7], oid(0x82, 0x2d, 3), oid(0x82, 0x2d, 2)), envelope.P7, envelope.Wrong, "301.2", true},
		"SM4 without a mode, p7": {p7(func(e *cms.Envelope) { e.Cipher = alg.SM4 }), envelope.P7, envelope.Note, "没有写明工作模式", true},
		"raw SM2 ciphertext":     {p7(func(e *cms.Envelope) { e.SessionKey = raw }), envelope.P7, envelope.Wrong, "裸拼接", true},
		"raw, C1C2C3":            {p7(func(e *cms.Envelope) { e.SessionKey = rawSwapped }), envelope.P7, envelope.Wrong, "裸拼接", true},
		"C1C2C3 in p7":           {p7(func(e *cms.Envelope) { e.SessionKey = swapped }), envelope.P7, envelope.Wrong, "C1C2C3", true},
		"no ContentInfo":         {m.p7.Bytes(), envelope.P7, envelope.Note, "没有 ContentInfo", true},
		"no issuer":              {p7(func(e *cms.Envelope) { e.Recipient.Issuer = nil }), envelope.P7, envelope.Note, "空名", true},
		"signed by 501":          {swapDER(t, m.forms[envelope.P7], signAlgorithm, der(0x30, der(6, oid(0x83, 0x75)))), envelope.P7, envelope.Note, "应为 301.1", true},
		"NULL after 301.1":       {swapDER(t, m.forms[envelope.P7], signAlgorithm, der(0x30, der(6, oid(0x82, 0x2d, 1)), null)), envelope.P7, envelope.Note, "NULL", true},
		"another key's signature": {p7(func(e *cms.Envelope) {
			e.Signature, _ = alg.Sign(m.owner, []byte("something else"))
		}), envelope.P7, envelope.Wrong, "签名与所附证书和内容不符", true},

		"text of a vendor": {[]byte("0000000000000001" + "0000000000000001" + strings.Repeat("0", 32)), envelope.CFCA, envelope.Wrong, "厂商", false},
		"a certificate":    {m.p7.Cert, envelope.Unknown, envelope.Wrong, "不是密钥信封", false},
		"nothing":          {nil, envelope.Unknown, envelope.Wrong, "DER", false},
		"a length of BER":  {append([]byte{0x30, 0x80}, key[3:]...), envelope.Unknown, envelope.Wrong, "DER", false},
	} {
		r := envelope.Inspect(c.blob)
		opened := r.Open(m.owner, nil) != nil
		if r.Format != c.format {
			t.Errorf("%s: named %s, want %s", name, r.Format, c.format)
		}
		said := false
		for _, f := range r.Findings {
			said = said || f.Level == c.level && strings.Contains(f.Text, c.says)
		}
		if !said {
			t.Errorf("%s: no %q (%s) in %+v", name, c.says, c.level, r.Findings)
		}
		if opened != c.opens {
			t.Errorf("%s: opens: %v, %+v", name, opened, r.Opened)
		}
		if c.level == envelope.Wrong && r.Err() == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

// signAlgorithm is SEQUENCE { 301.1 } as our signers write it.
var signAlgorithm = []byte{0x30, 0x0b, 0x06, 0x09, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d, 0x01}

// swapDER replaces an element and mends every length around it.
func swapDER(t testing.TB, blob, old, by []byte) []byte {
	t.Helper()
	at := bytes.Index(blob, old)
	if at < 0 {
		t.Fatalf("%x is not in the blob", old)
	}
	if at == 0 {
		return by
	}
	head := 2
	if blob[1] > 0x80 {
		head += int(blob[1] - 0x80)
	}
	var parts [][]byte
	for rest := blob[head:]; len(rest) > 0; {
		n, h := int(rest[1]), 2
		if n > 0x80 {
			h, n = 2+n-0x80, 0
			for _, c := range rest[2:h] {
				n = n<<8 | int(c)
			}
		}
		one := rest[:h+n]
		if rest = rest[h+n:]; bytes.Contains(one, old) {
			one = swapDER(t, one, old, by)
		}
		parts = append(parts, one)
	}
	return der(blob[0], parts...)
}

func sealedPoint(m made, ecb, null, content, point []byte) []byte {
	return der(0x30, der(0x30, ecb, null), m.p7.SessionKey, der(3, []byte{0}, point), der(3, []byte{0}, content))
}

// pkcs7 puts the identifier of PKCS#7 in place of that of GM/T 0010.
func pkcs7(t testing.TB, blob []byte, n byte) []byte {
	return swapDER(t, blob, der(6, []byte{0x2a, 0x81, 0x1c, 0xcf, 0x55, 6, 1, 4, 2, n}), der(6, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, n}))
}

func pkcs7Data(t testing.TB, e cms.Envelope) []byte { return pkcs7(t, cms.Wrap(e.Bytes()), 1) }

// What others wrote, read where it lies for the packages that read it in earnest.
func TestWhatOthersWroteIsToldApart(t *testing.T) {
	file := func(name string) []byte {
		data, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	private := func(name, pass string) *sm2.PrivateKey {
		k, err := keyfile.Read(file(name), []byte(pass))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	gmcert := envelope.Inspect(file("cms/testdata/gmcert.p7"))
	if gmcert.Format != envelope.P7 || gmcert.Fault() == nil || !strings.Contains(gmcert.Fault().Text, "零字节") {
		t.Errorf("gmcert: %s %+v", gmcert.Format, gmcert.Findings)
	}
	pair := gmcert.Open(private("cms/testdata/gmcert-owner.key", ""), nil)
	if want := private("cms/testdata/gmcert-pair.key", ""); pair == nil || pair.D.Cmp(want.D) != 0 || !*gmcert.Opened.Signature {
		t.Errorf("gmcert: %+v", gmcert.Opened)
	}
	gmssl := envelope.Inspect(file("cms/testdata/gmssl-env.cms")) // a message to the encryption key, in CBC
	if f := gmssl.Fault(); gmssl.Format != envelope.P7Plain || f == nil || !strings.Contains(f.Text, "301.2") {
		t.Errorf("gmssl: %s %+v", gmssl.Format, gmssl.Findings)
	}
	if gmssl.Open(private("alg/testdata/gmssl/enc.key", "P@ssw0rd"), nil) != nil || !strings.Contains(gmssl.Opened.Why, "不是 SM2 私钥") {
		t.Errorf("gmssl: %+v", gmssl.Opened)
	}
	owner, key := newKey(t), newKey(t)
	blob, err := sm2.MarshalEnvelopedPrivateKey(rand.Reader, &owner.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	gmsm := envelope.Inspect(blob)
	if got := gmsm.Open(owner, nil); len(gmsm.Findings) != 0 || got == nil || got.D.Cmp(key.D) != 0 {
		t.Errorf("gmsm: %+v %+v", gmsm.Findings, gmsm.Opened)
	}
}

// Nothing goes out that other eyes have not found to be what it should be.
func TestWhatGoesOutIsTheSameKeyInEveryForm(t *testing.T) {
	m, other := newMade(t), newMade(t)
	sealed := m.forms[envelope.SealedKey]
	for _, form := range []string{envelope.SealedKey, envelope.SKF32, envelope.SKF64, envelope.P7} {
		if err := envelope.Check(sealed, form, m.forms[form], m.point); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if form == envelope.SealedKey {
			continue
		}
		for name, further := range map[string][]byte{"another pair's": other.forms[form], "another form": sealed, "nothing": nil} {
			if err := envelope.Check(sealed, form, further, m.point); err == nil {
				t.Errorf("%s: %s passes", form, name)
			}
		}
	}
	if err := envelope.Check(sealed, "", nil, other.point); !errors.Is(err, envelope.Deviates) {
		t.Errorf("another certificate: %v", err)
	}
	if err := envelope.Check(other.forms[envelope.SKF32], "", nil, other.point); err == nil {
		t.Error("a token's blob passes for SM2EnvelopedKey")
	}
}

// A key in a structure of its own opens, and is told to be no raw key.
func TestAKeyInAStructureIsFound(t *testing.T) {
	owner, key := newKey(t), newKey(t)
	ec, err := smx509.MarshalSM2PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, plain := range map[string][]byte{"ECPrivateKey": ec, "PKCS#8": keyfile.Info(key)} {
		pad := 16 - len(plain)%16
		plain = append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
		session, content := seal(t, owner, plain)
		r := envelope.Inspect(cms.Envelope{SessionKey: session, Cipher: alg.SM4ECB, Content: content}.Unsigned())
		if got := r.Open(owner, nil); got == nil || got.D.Cmp(key.D) != 0 || r.Err() != nil {
			t.Errorf("%s: %+v %v", name, r.Opened, r.Err())
		}
	}
}

func FuzzInspect(f *testing.F) {
	m := newMade(f)
	for _, blob := range m.forms {
		f.Add(blob)
	}
	f.Add(sdf(m.forms[envelope.SKF32]))
	f.Add(words(m.forms[envelope.SKF32], binary.BigEndian, 8, 64))
	f.Add(words(m.forms[envelope.SKF32], binary.LittleEndian, 4, 32))
	f.Add(m.p7.Bytes())
	f.Fuzz(func(t *testing.T, blob []byte) {
		r := envelope.Inspect(blob)
		if r.Title == "" || r.Format == envelope.Unknown && r.Err() == nil {
			t.Errorf("%+v", r)
		}
		if pair := r.Open(m.owner, m.point); pair != nil && r.Err() == nil && !bytes.Equal(alg.Point(&pair.PublicKey), m.point) {
			t.Error("another key passes")
		}
		_ = envelope.Check(blob, envelope.P7, blob, m.point)
	})
}

// seal encrypts anything to an owner as a key centre would.
func seal(t testing.TB, owner *sm2.PrivateKey, plain []byte) (session, content []byte) {
	t.Helper()
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	block, err := sm4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	content = make([]byte, len(plain))
	for i := 0; i < len(plain); i += 16 {
		block.Encrypt(content[i:], plain[i:i+16])
	}
	if session, err = sm2.EncryptASN1(rand.Reader, &owner.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	return session, content
}
