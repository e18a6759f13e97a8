package cert_test

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func read(t testing.TB, name string) *cert.Certificate {
	t.Helper()
	c, err := cert.FromPEM(vector(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var subject = dn.Name{C: "CN", O: "某某局", CN: "张三"}.Bytes()

// sample is a draft with every extension we write.
func sample(k *sm2.PrivateKey) cert.Draft {
	p := alg.Point(&k.PublicKey)
	return cert.Draft{
		Serial: bytes.Repeat([]byte{0x81}, 16), Issuer: subject, Subject: subject, Point: p,
		NotBefore: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 11, 24, 8, 0, 0, 0, time.UTC),
		Extensions: []cert.Extension{
			cert.AKI(p), cert.SKI(p), cert.KeyUsage(cert.UsageSign), cert.CA(3), cert.ExtKeyUsage(true, cert.UsageTimeStamp),
			cert.Policy(asn1.ObjectIdentifier{2, 999, 1}, "http://x.cn/cps"), cert.CRLDistribution("http://x.cn/a.crl", "http://x.cn/b.crl"),
			cert.InfoAccess("http://x.cn/ocsp", "http://x.cn/ca.cer"), cert.NoCheck(),
			cert.AltNames([]cert.AltName{{Kind: "dns", Value: "x.cn"}, {Kind: "ip", Value: "2001:db8::1"}, {Kind: "email", Value: "a@x.cn"}}),
		},
	}
}

func TestChainsOfOtherToolsVerify(t *testing.T) {
	for _, tool := range []string{"gmssl", "tongsuo"} {
		root, sub := read(t, tool+"/root.pem"), read(t, tool+"/sub.pem")
		for _, pair := range [][2]*cert.Certificate{{root, root}, {sub, root}, {read(t, tool+"/sign.pem"), sub}, {read(t, tool+"/enc.pem"), sub},
			{read(t, tool+"/client.pem"), sub}, {read(t, tool+"/ocsp.pem"), sub}} {
			if err := pair[0].SignedBy(pair[1]); err != nil {
				t.Errorf("%s %s: %v", tool, dn.Text(pair[0].Subject), err)
			}
		}
		if err := read(t, tool+"/sign.pem").SignedBy(root); err == nil {
			t.Errorf("%s: a level was skipped", tool)
		}
		renamed := *root
		renamed.Subject = sub.Subject
		if err := read(t, tool+"/sign.pem").SignedBy(&renamed); !errors.Is(err, alg.ErrSignature) {
			t.Errorf("%s: another key of the issuer's name: %v", tool, err)
		}
		if sign, enc := read(t, tool+"/sign.pem"), read(t, tool+"/enc.pem"); !bytes.Equal(sign.Subject, enc.Subject) || bytes.Equal(sign.Point, enc.Point) {
			t.Errorf("%s: not a pair", tool)
		}
	}
}

func TestWhatOtherToolsWroteIsFoundInPlace(t *testing.T) {
	c := read(t, "gmssl/sign.pem")
	if c.SerialHex() != "D42C14513C272F2D6A1169B7497EE2E7" || !c.NotAfter.Equal(time.Date(2027, 11, 22, 2, 20, 6, 0, time.UTC)) {
		t.Errorf("%s until %v", c.SerialHex(), c.NotAfter)
	}
	want := map[string][]string{"crl": {"http://127.0.0.1:8080/sub.crl"}, "ocsp": {"http://127.0.0.1:8889/"}}
	if got := c.URLs(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	e, ok := c.Extension(cert.SubjectAltName)
	names, fine := cert.ReadAltNames(e.Value)
	if !ok || !fine || !reflect.DeepEqual(names, []cert.AltName{{Kind: "dns", Value: "localhost"}}) {
		t.Errorf("%v", names)
	}
	if e, ok := c.Extension(cert.KeyUsageID); !ok || !e.Critical || !bytes.Equal(e.Value, cert.UsageSign) {
		t.Errorf("key usage %x", e.Value)
	}
	k := read(t, "tongsuo/sub.pem")
	if e, ok := k.Extension(cert.SubjectKeyID); !ok || !bytes.Equal(e.Value[2:], cert.KeyID(k.Point)) {
		t.Errorf("Tongsuo's key identifier is %x, ours %x", e.Value, cert.KeyID(k.Point))
	}
}

// gmsm, a reader of its own, finds in ours what we put there.
func TestGmsmReadsWhatWeWrite(t *testing.T) {
	k := newKey(t)
	der, err := cert.Seal(sample(k).TBS(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smx509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckSignature(smx509.SM2WithSM3, c.RawTBSCertificate, c.Signature); err != nil {
		t.Error(err)
	}
	if !c.IsCA || c.MaxPathLen != 3 || len(c.CRLDistributionPoints) != 2 || c.OCSPServer[0] != "http://x.cn/ocsp" || c.IssuingCertificateURL[0] != "http://x.cn/ca.cer" ||
		c.DNSNames[0] != "x.cn" || c.IPAddresses[0].String() != "2001:db8::1" || c.EmailAddresses[0] != "a@x.cn" ||
		!bytes.Equal(c.SubjectKeyId, cert.KeyID(alg.Point(&k.PublicKey))) || !bytes.Equal(c.SubjectKeyId, c.AuthorityKeyId) {
		t.Errorf("%+v", c)
	}
}

func TestADraftIsReadBackWhole(t *testing.T) {
	k := newKey(t)
	d := sample(k)
	c, err := cert.ParseTBS(d.TBS())
	if err != nil {
		t.Fatal(err)
	}
	again := cert.Draft{Serial: c.Serial.Bytes(), Issuer: c.Issuer, Subject: c.Subject, Point: c.Point, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Extensions: c.Extensions}
	if !bytes.Equal(again.TBS(), d.TBS()) {
		t.Error("written again it differs")
	}
	der, err := cert.Seal(d.TBS(), k)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := cert.Parse(der)
	if err != nil || !bytes.Equal(signed.RawTBS, d.TBS()) || signed.SignedBy(signed) != nil {
		t.Errorf("the signed bytes are not the draft's: %v", err)
	}
}

// The sets are exact (GM/T 0043 §6.2.2): two octets of bits each.
func TestKeyUsagesAreExactlyTheseBits(t *testing.T) {
	for name, tt := range map[string]struct {
		value []byte
		bits  asn1.BitString
	}{
		"sign":      {cert.UsageSign, asn1.BitString{Bytes: []byte{0xC0}, BitLength: 2}},
		"encrypt":   {cert.UsageEnc, asn1.BitString{Bytes: []byte{0x38}, BitLength: 5}},
		"authority": {cert.UsageCA, asn1.BitString{Bytes: []byte{0x06}, BitLength: 7}},
	} {
		want, err := asn1.Marshal(tt.bits)
		if err != nil || !bytes.Equal(want, tt.value) {
			t.Errorf("%s: %x, want %x", name, tt.value, want)
		}
	}
}

// The national root writes NULL after 1.2.156.10197.1.501, we do not; the
// signature is checked over the bytes as they came.
func TestParametersOfTheSignatureMayBeNULL(t *testing.T) {
	k := newKey(t)
	tbs := []byte(sample(k).TBS())
	bare := []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75}
	null := append([]byte{0x30, 0x0c}, append(bytes.Clone(bare[2:]), 5, 0)...)
	if bytes.Count(tbs, bare) != 1 || bytes.Contains(tbs, null) {
		t.Fatal("we write parameters")
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Replace(tbs, bare, null, 1)[4:]) })
	odd := b.BytesOrPanic()
	sig, err := alg.Sign(k, odd)
	if err != nil {
		t.Fatal(err)
	}
	der := bytes.Replace(cert.Assemble(odd, sig), bare, null, 1)
	der[2], der[3] = byte((len(der)-4)>>8), byte(len(der)-4)
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SignedBy(c); err != nil {
		t.Error(err)
	}
}

// 2049 is the last year of UTCTime (RFC 5280 §4.1.2.5).
func TestTimesChangeTheirFormIn2050(t *testing.T) {
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), "\x17\x0d491231235959Z"},
		{time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), "\x18\x0f20500101000000Z"},
		{time.Date(2050, 1, 1, 7, 59, 59, 0, time.FixedZone("", 8*3600)), "\x17\x0d491231235959Z"},
		{time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), "\x17\x0d500101000000Z"},
		{time.Date(1949, 12, 31, 0, 0, 0, 0, time.UTC), "\x18\x0f19491231000000Z"},
		{time.Date(2026, 11, 24, 8, 0, 0, 987654321, time.UTC), "\x17\x0d261124080000Z"},
	} {
		var b cryptobyte.Builder
		cert.AddTime(&b, tt.at)
		got, err := b.Bytes()
		if err != nil || string(got) != tt.want {
			t.Errorf("%v: %q %v", tt.at, got, err)
		}
		s := cryptobyte.String(got)
		var back time.Time
		if !cert.ReadTime(&s, &back) || !back.Equal(tt.at.Truncate(time.Second)) {
			t.Errorf("%v became %v", tt.at, back)
		}
	}
}

func TestSerialsAreShownAsOpenSSLShowsThem(t *testing.T) {
	for want, serial := range map[string][]byte{"00": {0}, "0A": {10}, "81": {0, 0x81}, "0100": {1, 0}} {
		if got := cert.SerialHex(serial); got != want {
			t.Errorf("%x: %s, want %s", serial, got, want)
		}
	}
	zero := &cert.Certificate{Serial: new(big.Int)}
	if zero.SerialHex() != "00" {
		t.Errorf("zero is shown as %q", zero.SerialHex())
	}
}

func TestWhatIsNoCertificateIsRefused(t *testing.T) {
	good := read(t, "tongsuo/sign.pem").Raw
	tbs := read(t, "tongsuo/sign.pem").RawTBS
	flip := func(find, put []byte) []byte { return bytes.Replace(bytes.Clone(good), find, put, 1) }
	for name, der := range map[string][]byte{
		"nothing": nil, "cut": good[:len(good)-1], "bytes after it": append(bytes.Clone(good), 0), "a draft": tbs,
		"64 KiB and one": make([]byte, cert.SizeMax+1),
		"version 1":      flip([]byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, 0}),
		"a negative serial": func() []byte {
			c, serial := bytes.Clone(good), read(t, "tongsuo/sign.pem").Serial.Bytes()
			c[bytes.Index(c, serial)] |= 0x80
			return c
		}(),
		"another curve": flip([]byte{0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d}, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}),
		"another inner algorithm": flip([]byte{0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75},
			[]byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}),
		"a point off the curve": func() []byte {
			c, p := bytes.Clone(good), read(t, "tongsuo/sign.pem").Point
			c[bytes.Index(c, p)+64] ^= 1
			return c
		}(),
	} {
		if c, err := cert.Parse(der); !errors.Is(err, cert.ErrSyntax) {
			t.Errorf("%s: %v %v", name, c, err)
		}
	}
	if _, err := cert.FromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good})); !errors.Is(err, cert.ErrSyntax) {
		t.Errorf("a request: %v", err)
	}
	for name, data := range map[string][]byte{"PEM": cert.PEM(good), "DER": good, "PEM after words": append([]byte("subject=x\n"), cert.PEM(good)...)} {
		if c, err := cert.FromPEM(data); err != nil || !bytes.Equal(c.Raw, good) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnyFlippedByteBreaksTheSignatureOrTheForm(t *testing.T) {
	good, sub := read(t, "gmssl/sign.pem"), read(t, "gmssl/sub.pem")
	for i := range good.RawTBS {
		der := bytes.Clone(good.Raw)
		der[4+i] ^= 0x01
		c, err := cert.Parse(der)
		if err == nil && c.SignedBy(sub) == nil {
			t.Fatalf("byte %d of the draft may be changed", i)
		}
	}
}

func TestAlternativeNamesAreReadInEverySpelling(t *testing.T) {
	for text, want := range map[string]cert.AltName{
		`"dns:www.example.cn"`: {Kind: "dns", Value: "www.example.cn"}, `"www.example.cn"`: {Kind: "dns", Value: "www.example.cn"},
		`"192.0.2.7"`: {Kind: "ip", Value: "192.0.2.7"}, `"2001:db8::1"`: {Kind: "ip", Value: "2001:db8::1"}, `"IP:192.0.2.7"`: {Kind: "ip", Value: "192.0.2.7"},
		`"a@x.cn"`: {Kind: "email", Value: "a@x.cn"}, `{"kind":"dns","value":"x.cn"}`: {Kind: "dns", Value: "x.cn"},
	} {
		var got cert.AltName
		if err := got.UnmarshalJSON([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	var got cert.AltName
	if err := got.UnmarshalJSON([]byte("7")); err == nil {
		t.Error("a number is a name")
	}
}

func TestAnUnknownKindOfNameIsNeverSkipped(t *testing.T) {
	for name, value := range map[string][]byte{
		"a URI": {0x30, 3, 0x86, 1, 'x'}, "a directory name": {0x30, 4, 0xa4, 2, 0x30, 0}, "an address of five octets": {0x30, 7, 0x87, 5, 1, 2, 3, 4, 5},
		"bytes after it": {0x30, 0, 0}, "nothing": {},
	} {
		if names, ok := cert.ReadAltNames(value); ok {
			t.Errorf("%s: %v", name, names)
		}
	}
}

func seeds(f *testing.F, add func(der []byte)) {
	for _, name := range []string{"gmssl/root.pem", "gmssl/sign.pem", "tongsuo/root.pem", "tongsuo/sign.pem", "tongsuo/ocsp.pem"} {
		add(read(f, name).Raw)
	}
	k := newKey(f)
	der, err := cert.Seal(sample(k).TBS(), k)
	if err != nil {
		f.Fatal(err)
	}
	add(der)
}

// use asks a certificate everything it can be asked.
func use(t *testing.T, c *cert.Certificate) {
	t.Helper()
	if c.PublicKey() == nil || c.SerialHex() == "" {
		t.Error("no key or no serial")
	}
	_ = c.URLs()
	for _, e := range c.Extensions {
		_, _ = cert.ReadAltNames(e.Value)
	}
	_ = dn.Text(c.Subject)
}

func FuzzParse(f *testing.F) {
	sub := read(f, "gmssl/sub.pem")
	seeds(f, func(der []byte) { f.Add(der) })
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := cert.Parse(der)
		if err != nil {
			if !errors.Is(err, cert.ErrSyntax) {
				t.Error(err)
			}
			return
		}
		use(t, c)
		_ = c.SignedBy(sub)
		if again, err := cert.ParseTBS(c.RawTBS); err != nil || again.Serial.Cmp(c.Serial) != 0 {
			t.Errorf("the draft in it is not read: %v", err)
		}
	})
}

func FuzzParseTBS(f *testing.F) {
	seeds(f, func(der []byte) {
		c, err := cert.Parse(der)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(c.RawTBS))
	})
	f.Fuzz(func(t *testing.T, tbs []byte) {
		c, err := cert.ParseTBS(tbs)
		if err != nil {
			return
		}
		use(t, c)
		again := cert.Draft{Serial: c.Serial.Bytes(), Issuer: c.Issuer, Validity: c.Validity, Subject: c.Subject, Point: c.Point, Extensions: c.Extensions}
		if _, err := cert.ParseTBS(again.TBS()); err != nil {
			t.Errorf("written again it is refused: %v", err)
		}
	})
}

func FuzzFromPEM(f *testing.F) {
	seeds(f, func(der []byte) { f.Add(cert.PEM(der)) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := cert.FromPEM(data); err == nil {
			use(t, c)
		}
	})
}
