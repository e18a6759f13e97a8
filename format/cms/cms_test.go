package cms_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/emmansun/gmsm/pkcs7"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/hsm/soft"
)

func pemFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	return block.Bytes
}

func keyFile(t testing.TB, name string) *sm2.PrivateKey {
	t.Helper()
	k, err := smx509.ParsePKCS8PrivateKey(pemFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k.(*sm2.PrivateKey)
}

// sealed makes an envelope with the software device: its owner's key, the
// pair's point and the signer's certificate.
func sealed(t testing.TB) (cms.Envelope, *sm2.PrivateKey, []byte, *cert.Certificate) {
	t.Helper()
	owner, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d, err := soft.Open(t.TempDir(), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.Generate("km")
	if err := errors.Join(err, d.NewMaster("m")); err != nil {
		t.Fatal(err)
	}
	template := &smx509.Certificate{
		SerialNumber: big.NewInt(0x4711), Subject: pkix.Name{CommonName: "KM"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := smx509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := d.NewPair("m")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Envelope("m", pair, alg.Point(&owner.PublicKey), "km")
	if err != nil {
		t.Fatal(err)
	}
	return cms.Envelope{
		Recipient: cms.Ref{Serial: []byte{0x7f, 1}}, SessionKey: s.SessionKey, Content: s.Content,
		Signer: cms.RefOf(c), Cert: der, Signature: s.Signature,
	}, owner, pair.Point, c
}

func TestGmsmOpensAndVerifiesWhatWeWrite(t *testing.T) {
	e, owner, point, _ := sealed(t)
	p7, err := pkcs7.Parse(cms.Wrap(e.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := p7.DecryptAndVerifyOnlyOne(owner, func() error { return p7.Verify() })
	if err != nil {
		t.Fatal(err)
	}
	if len(plain) != 64 || !bytes.Equal(plain[:32], make([]byte, 32)) {
		t.Fatalf("plain content of %d bytes is not 32 zeros and a key", len(plain))
	}
	k, err := sm2.NewPrivateKey(plain[32:])
	if err != nil || !bytes.Equal(alg.Point(&k.PublicKey), point) {
		t.Errorf("not the pair: %v", err)
	}
}

func TestBareAndWrappedReadTheSame(t *testing.T) {
	e, owner, _, signer := sealed(t)
	for name, der := range map[string][]byte{"bare": e.Bytes(), "wrapped": cms.Wrap(e.Bytes())} {
		got, err := cms.Parse(der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(got.Bytes(), e.Bytes()) {
			t.Errorf("%s: written again it differs", name)
		}
		if _, err := got.Open(owner, signer.PublicKey()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSampleOfGmcertOpens(t *testing.T) {
	e, err := cms.Parse(pemFile(t, "gmcert.p7"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cert.Parse(e.Cert)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := e.Open(keyFile(t, "gmcert-owner.key"), signer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if want := keyFile(t, "gmcert-pair.key"); new(big.Int).SetBytes(plain).Cmp(want.D) != 0 {
		t.Error("another key came out")
	}
}

func TestSixtyFourRawBytesAreASignatureToo(t *testing.T) {
	e, owner, _, signer := sealed(t)
	e.Signature = raw(t, e.Signature)
	got, err := cms.Parse(e.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Open(owner, signer.PublicKey()); err != nil {
		t.Error(err)
	}
}

// swap puts another AlgorithmIdentifier of the same meaning in place of ours
// and mends the lengths around it.
func swap(t testing.TB, der, old, put []byte) []byte {
	t.Helper()
	at := bytes.LastIndex(der, old)
	if at < 0 {
		t.Fatalf("no %x", old)
	}
	return graft(der, at, at+len(old), put)
}

// graft replaces der[from:to], descending into the elements that hold it.
func graft(der []byte, from, to int, put []byte) []byte {
	var out []byte
	for i := 0; i < len(der); {
		head, size := header(der[i:])
		switch end := i + head + size; {
		case i == from && end == to:
			out = append(out, put...)
		case from >= i+head && to <= end:
			inner := graft(der[i+head:end], from-i-head, to-i-head, put)
			out = append(append(append(out, der[i]), length(len(inner))...), inner...)
		default:
			out = append(out, der[i:end]...)
		}
		i += head + size
	}
	return out
}

func header(der []byte) (head, size int) {
	if size = int(der[1]); size < 0x80 {
		return 2, size
	}
	n := size - 0x80
	size = 0
	for _, b := range der[2 : 2+n] {
		size = size<<8 | int(b)
	}
	return 2 + n, size
}

func length(n int) []byte {
	switch {
	case n < 0x80:
		return []byte{byte(n)}
	case n < 0x100:
		return []byte{0x81, byte(n)}
	}
	return []byte{0x82, byte(n >> 8), byte(n)}
}

// identifier is an AlgorithmIdentifier under 1.2.156.10197.1, with NULL or without.
func identifier(null bool, arcs ...byte) []byte {
	oid := append([]byte{0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01}, arcs...)
	der := append([]byte{0x06, byte(len(oid))}, oid...)
	if null {
		der = append(der, 5, 0)
	}
	return append([]byte{0x30, byte(len(der))}, der...)
}

// GM/T 0006 has 301.3 for encryption, GmSSL writes 301.2, older writers 301.
func TestTheKeyAlgorithmIsReadUnderItsThreeNames(t *testing.T) {
	e, owner, _, signer := sealed(t)
	ours := identifier(false, 0x82, 0x2d, 3)
	if bytes.Count(e.Bytes(), ours) != 1 {
		t.Fatal("we do not write 301.3")
	}
	for _, null := range []bool{false, true} {
		for name, id := range map[string][]byte{"301.3": identifier(null, 0x82, 0x2d, 3), "301.2": identifier(null, 0x82, 0x2d, 2), "301": identifier(null, 0x82, 0x2d)} {
			got, err := cms.Parse(swap(t, e.Bytes(), ours, id))
			if err != nil {
				t.Errorf("%s, NULL %v: %v", name, null, err)
				continue
			}
			if _, err := got.Open(owner, signer.PublicKey()); err != nil {
				t.Errorf("%s, NULL %v: %v", name, null, err)
			}
		}
	}
	if _, err := cms.Parse(swap(t, e.Bytes(), ours, identifier(false, 0x82, 0x2d, 1))); !errors.Is(err, cms.ErrSyntax) {
		t.Errorf("a signature algorithm for encryption: %v", err)
	}
}

// gmsm writes 301.1, GmSSL and Tongsuo 501, GM/T 0010's own sample 301.
func TestTheSignatureAlgorithmIsReadUnderItsThreeNames(t *testing.T) {
	e, owner, _, signer := sealed(t)
	ours := identifier(false, 0x82, 0x2d, 1)
	for _, null := range []bool{false, true} {
		for name, id := range map[string][]byte{"301.1": identifier(null, 0x82, 0x2d, 1), "301": identifier(null, 0x82, 0x2d), "501": identifier(null, 0x83, 0x75)} {
			got, err := cms.Parse(swap(t, e.Bytes(), ours, id))
			if err != nil {
				t.Errorf("%s, NULL %v: %v", name, null, err)
				continue
			}
			if _, err := got.Open(owner, signer.PublicKey()); err != nil {
				t.Errorf("%s, NULL %v: %v", name, null, err)
			}
		}
	}
}

// A half of r ‖ s that begins with zeros becomes a shorter INTEGER, and one
// that begins with a high bit a longer one.
func TestShortAndHighHalvesOfASignatureAreRead(t *testing.T) {
	e, _, _, _ := sealed(t)
	for name, half := range map[string]byte{"short": 0x00, "high": 0xff, "plain": 0x11} {
		both := append(append([]byte{half}, bytes.Repeat([]byte{0x22}, 31)...), append([]byte{half}, bytes.Repeat([]byte{0x33}, 31)...)...)
		e.Signature = both
		got, err := cms.Parse(e.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw(t, got.Signature), both) {
			t.Errorf("%s: %x became %x", name, both, got.Signature)
		}
	}
}

func TestAnotherSignerIsNoticed(t *testing.T) {
	e, owner, _, _ := sealed(t)
	if plain, err := e.Open(owner, &owner.PublicKey); !errors.Is(err, alg.ErrSignature) || plain != nil {
		t.Errorf("got %v", err)
	}
}

func TestPKCS7IdentifiersAreRefused(t *testing.T) {
	e, _, _, _ := sealed(t)
	der := bytes.Replace(cms.Wrap(e.Bytes()),
		[]byte{0x06, 0x0a, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x06, 0x01, 0x04, 0x02, 0x04},
		[]byte{0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x04, 0x00}, 1)
	if _, err := cms.Parse(der); !errors.Is(err, cms.ErrSyntax) {
		t.Errorf("got %v", err)
	}
}

// Who sealed a key must be known: data that is only enveloped is something else.
func TestAnEnvelopeWithoutASignerIsRefused(t *testing.T) {
	if _, err := cms.Parse(pemFile(t, "gmssl-env.cms")); !errors.Is(err, cms.ErrSyntax) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	e, owner, _, signer := sealed(f)
	f.Add(e.Bytes())
	f.Add(cms.Wrap(e.Bytes()))
	f.Add(pemFile(f, "gmcert.p7"))
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := cms.Parse(der)
		if err != nil {
			return
		}
		if _, err := cms.Parse(got.Bytes()); err != nil {
			t.Errorf("written again it is refused: %v", err)
		}
		_, _ = got.Open(owner, signer.PublicKey())
	})
}

func raw(t testing.TB, der []byte) []byte {
	t.Helper()
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out
}
