package alg_test

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
)

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func vector(t testing.TB, tool, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", tool, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The signature covers Z with the default signer ID, whoever made it.
func TestSignaturesOfOtherToolsVerify(t *testing.T) {
	for _, tool := range []string{"gmssl", "tongsuo"} {
		c, err := cert.FromPEM(vector(t, tool, "sign.pem"))
		if err != nil {
			t.Fatal(err)
		}
		msg, sig := vector(t, tool, "msg.txt"), vector(t, tool, "msg.sig")
		if err := alg.Verify(c.PublicKey(), msg, sig); err != nil {
			t.Errorf("%s: %v", tool, err)
		}
		for name, bad := range map[string]error{
			"another message": alg.Verify(c.PublicKey(), append(msg, '!'), sig),
			"another key":     alg.Verify(&newKey(t).PublicKey, msg, sig),
			"no key":          alg.Verify(nil, msg, sig),
			"no signature":    alg.Verify(c.PublicKey(), msg, nil),
			"bytes after it":  alg.Verify(c.PublicKey(), msg, append(bytes.Clone(sig), 0)),
			"its digest":      alg.Verify(c.PublicKey(), alg.Digest(msg), sig),
		} {
			if !errors.Is(bad, alg.ErrSignature) {
				t.Errorf("%s: %s: %v", tool, name, bad)
			}
		}
	}
}

// Encryption is SM2Cipher in the order C1, C3, C2.
func TestCiphertextsOfOtherToolsOpen(t *testing.T) {
	for _, tool := range []string{"gmssl", "tongsuo"} {
		k, err := keyfile.Read(vector(t, tool, "enc.key"), []byte("P@ssw0rd"))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := k.Decrypt(rand.Reader, vector(t, tool, "msg.sm2"), nil)
		if err != nil || !bytes.Equal(plain, vector(t, tool, "msg.txt")) {
			t.Errorf("%s: %v", tool, err)
		}
	}
}

func TestASignatureIsOverTheMessageNotItsDigest(t *testing.T) {
	k, msg := newKey(t), []byte("消息")
	sig, err := alg.Sign(k, msg)
	if err != nil {
		t.Fatal(err)
	}
	if err := alg.Verify(&k.PublicKey, msg, sig); err != nil {
		t.Error(err)
	}
	if !sm2.VerifyASN1WithSM2(&k.PublicKey, []byte("1234567812345678"), msg, sig) {
		t.Error("the signer ID is not the default one")
	}
}

func TestIdentifiersAreWrittenAsRegistered(t *testing.T) {
	for want, oid := range map[string]asn1.ObjectIdentifier{
		"06082a811ccf5501822d": alg.SM2, "06092a811ccf5501822d01": alg.SM2Sign, "06092a811ccf5501822d03": alg.SM2Encrypt,
		"06082a811ccf55018311": alg.SM3, "06082a811ccf55018375": alg.SM2WithSM3, "06072a811ccf550168": alg.SM4,
		"06082a811ccf55016801": alg.SM4ECB, "06082a811ccf55016802": alg.SM4CBC,
	} {
		der, err := asn1.Marshal(oid)
		if err != nil || hex.EncodeToString(der) != want {
			t.Errorf("%v is %x, want %s", oid, der, want)
		}
	}
}

// spki writes an AlgorithmIdentifier of any parts before a key.
func spki(point []byte, ids ...asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, id := range ids {
				if id == nil {
					b.AddASN1NULL()
					continue
				}
				b.AddASN1ObjectIdentifier(id)
			}
		})
		b.AddASN1BitString(point)
	})
	return b.BytesOrPanic()
}

func TestAKeyMayBeNamedByItsCurveOrAsSM2Itself(t *testing.T) {
	point := alg.Point(&newKey(t).PublicKey)
	off := bytes.Clone(point)
	off[64] ^= 1
	p256 := asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	for _, tt := range []struct {
		name string
		der  []byte
		want error
	}{
		{"as we write it", alg.SPKI(point), nil},
		{"id-ecPublicKey with the SM2 curve", spki(point, alg.ECPublicKey, alg.SM2), nil},
		{"SM2 alone", spki(point, alg.SM2), nil},
		{"SM2 with NULL", spki(point, alg.SM2, nil), nil},
		{"SM2 twice", spki(point, alg.SM2, alg.SM2), nil},
		{"no curve", spki(point, alg.ECPublicKey), alg.ErrCurve},
		{"another curve", spki(point, alg.ECPublicKey, p256), alg.ErrCurve},
		{"another algorithm", spki(point, alg.SM4), alg.ErrCurve},
		{"a point off the curve", spki(off, alg.ECPublicKey, alg.SM2), alg.ErrPoint},
		{"a compressed point", spki(append([]byte{2}, point[1:33]...), alg.ECPublicKey, alg.SM2), alg.ErrPoint},
		{"infinity", spki([]byte{0}, alg.ECPublicKey, alg.SM2), alg.ErrPoint},
		{"nothing", nil, alg.ErrCurve},
		{"bytes after it", append(alg.SPKI(point), 0), alg.ErrCurve},
	} {
		got, err := alg.PointOf(tt.der)
		if !errors.Is(err, tt.want) || err == nil && !bytes.Equal(got, point) {
			t.Errorf("%s: %x %v", tt.name, got, err)
		}
	}
}

// A coordinate that begins with zeros keeps its 32 octets.
func TestAPointAlwaysHas65Octets(t *testing.T) {
	for range 2000 {
		k := newKey(t)
		p := alg.Point(&k.PublicKey)
		if p[1] != 0 && p[33] != 0 {
			continue
		}
		pub, err := alg.PublicKey(p)
		if err != nil || len(p) != alg.PointSize || !pub.Equal(&k.PublicKey) {
			t.Errorf("%x: %v", p, err)
		}
		return
	}
	t.Fatal("no coordinate began with zeros")
}

// SM3 of "abc", GB/T 32905 annex A.
func TestDigestIsSM3OverTheParts(t *testing.T) {
	const want = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
	if got := hex.EncodeToString(alg.Digest([]byte("a"), nil, []byte("bc"))); got != want {
		t.Error(got)
	}
}

func FuzzPointOf(f *testing.F) {
	point := alg.Point(&newKey(f).PublicKey)
	f.Add(alg.SPKI(point))
	f.Add(spki(point, alg.SM2, nil))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := alg.PointOf(der)
		if err != nil {
			return
		}
		if again, err := alg.PointOf(alg.SPKI(p)); err != nil || !bytes.Equal(again, p) {
			t.Errorf("%x is not read again: %v", p, err)
		}
	})
}
