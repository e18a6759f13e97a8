package csr_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/openssltest"
)

func request(t testing.TB) []byte {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := csr.New(dn.Name{C: "CN", O: "某某局", CN: "张三"}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Requests of GmSSL, Tongsuo and OpenSSL are read and proven.
func TestReadsWhatOtherToolsWrite(t *testing.T) {
	names, err := filepath.Glob("testdata/*.csr")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	if openssltest.Here() {
		dir := t.TempDir()
		key, out := filepath.Join(dir, "k.pem"), filepath.Join(dir, "openssl.csr")
		for _, args := range [][]string{
			{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-pkeyopt", "ec_param_enc:named_curve", "-out", key},
			{"req", "-new", "-sm3", "-key", key, "-sigopt", "distid:1234567812345678", "-subj", "/C=CN/CN=openssl", "-out", out},
		} {
			openssltest.Must(t, nil, args...)
		}
		names = append(names, out)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := csr.Parse(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenSSLVerifiesOurs(t *testing.T) {
	if out := openssltest.Must(t, csr.PEM(request(t)), "req", "-verify", "-noout", "-vfyopt", "distid:1234567812345678"); !strings.Contains(out, "OK") {
		t.Error(out)
	}
}

// DER whose last byte looks like a blank is whole (found by kill -9: one
// request in forty was cut).
func TestARequestMayEndInABlank(t *testing.T) {
	for range 2000 {
		der := request(t)
		if last := der[len(der)-1]; last != ' ' && last != '\n' {
			continue
		}
		if _, err := csr.Parse(der); err != nil {
			t.Error(err)
		}
		return
	}
	t.Fatal("no request ended in a blank")
}

func TestBadRequestsAreRefusedForWhatTheyAre(t *testing.T) {
	good := request(t)
	flipped := bytes.Clone(good)
	flipped[60] ^= 1
	other := request(t)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, csr.ErrSyntax}, {"text", []byte("hello"), csr.ErrSyntax}, {"cut", good[:len(good)-3], csr.ErrSyntax},
		{"trailing data", append(bytes.Clone(good), 0), csr.ErrSyntax}, {"another PEM", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good}), csr.ErrSyntax},
		{"ten megabytes", make([]byte, 10<<20), csr.ErrSize}, {"a changed subject", flipped, nil},
		{"another's signature", append(bytes.Clone(good[:len(good)-64]), other[len(other)-64:]...), nil},
	} {
		_, err := csr.Parse(c.data)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for name, data := range map[string][]byte{"PEM": csr.PEM(good), "base64": []byte(base64.StdEncoding.EncodeToString(good)), "DER": good} {
		if _, err := csr.Parse(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.csr")
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	f.Add(request(f))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = csr.Parse(data) })
}
