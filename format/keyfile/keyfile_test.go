package keyfile_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/pbkdf2"

	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/openssltest"
)

// Files of GmSSL (HMAC-SM3, SM4) and Tongsuo (AES, SM4, plain) open.
func TestReadsWhatOtherToolsWrite(t *testing.T) {
	names, err := filepath.Glob("testdata/*.key")
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keyfile.Read(data, []byte("P@ssw0rd")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenSSLReadsWhatWeWrite(t *testing.T) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keyfile.Encrypt(key, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "k.pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	openssltest.Must(t, nil, "pkey", "-in", name, "-passin", "pass:correct horse", "-noout", "-check")
	if _, err := keyfile.Read(text, []byte("wrong")); !errors.Is(err, keyfile.ErrPassphrase) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	again, err := keyfile.Read(text, []byte("correct horse"))
	if err != nil || again.D.Cmp(key.D) != 0 {
		t.Errorf("read back: %v", err)
	}
}

// HMAC-SM3 has two object identifiers, and each is written with NULL or without.
func TestHMACSM3IsReadUnderAllFourNames(t *testing.T) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	salt, iv, pass := []byte("0123456789abcdef"), make([]byte, 16), []byte("P@ssw0rd")
	block, err := sm4.NewCipher(pbkdf2.Key(pass, salt, 1000, 16, sm3.New))
	if err != nil {
		t.Fatal(err)
	}
	text := keyfile.Info(key)
	text = append(text, bytes.Repeat([]byte{byte(16 - len(text)%16)}, 16-len(text)%16)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	for _, prf := range []asn1.ObjectIdentifier{{1, 2, 156, 10197, 1, 401, 2}, {1, 2, 156, 10197, 1, 401, 3, 1}} {
		for _, null := range []bool{false, true} {
			var params asn1.RawValue
			if null {
				params = asn1.NullRawValue
			}
			der := marshal(t, encrypted{
				pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, Parameters: raw(t, pbes2{
					pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12},
						Parameters: raw(t, pbkdf{salt, 1000, pkix.AlgorithmIdentifier{Algorithm: prf, Parameters: params}})},
					pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2}, Parameters: raw(t, iv)}})}, text})
			again, err := keyfile.Read(der, pass)
			if err != nil || again.D.Cmp(key.D) != 0 {
				t.Errorf("%v, NULL %v: %v", prf, null, err)
			}
		}
	}
}

type (
	encrypted struct {
		ID   pkix.AlgorithmIdentifier
		Text []byte
	}
	pbes2 struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	pbkdf struct {
		Salt   []byte
		Rounds int
		PRF    pkix.AlgorithmIdentifier
	}
)

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func raw(t testing.TB, v any) asn1.RawValue {
	t.Helper()
	return asn1.RawValue{FullBytes: marshal(t, v)}
}

// A file may ask for any work; we do not do any amount of it.
func TestAFileMayNotAskForEndlessWork(t *testing.T) {
	for _, rounds := range []int{0, -1, 10_000_001, 1 << 40} {
		der := marshal(t, encrypted{
			pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, Parameters: raw(t, pbes2{
				pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12},
					Parameters: raw(t, pbkdf{[]byte("salt"), rounds, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}})},
				pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2}, Parameters: raw(t, make([]byte, 16))}})}, make([]byte, 16)})
		if _, err := keyfile.Open(der, nil); !errors.Is(err, keyfile.ErrSyntax) {
			t.Errorf("%d rounds: %v", rounds, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.key")
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 200 { // enough for every branch, not for ten million rounds
			_, _ = keyfile.Read(data, []byte("P@ssw0rd"))
		}
	})
}
