package pfx_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/openssltest"
	"github.com/hufu-pki/hufu/format/pfx"
)

// A file with both keys of a pair opens in OpenSSL, and only with its password.
func TestOpenSSLReadsBothKeys(t *testing.T) {
	dir := t.TempDir()
	var entries []pfx.Entry
	for _, name := range []string{"sign", "enc"} {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k := filepath.Join(dir, name+".key")
		if err := os.WriteFile(k, keyfile.Plain(key), 0o600); err != nil {
			t.Fatal(err)
		}
		der := filepath.Join(dir, name+".der")
		openssltest.Must(t, nil, "req", "-new", "-x509", "-sm3", "-key", k, "-subj", "/CN="+name, "-outform", "DER", "-out", der)
		data, err := os.ReadFile(der)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, pfx.Entry{Name: name, Key: key, Cert: data})
	}
	const password = "口令𠮷-pass"
	data, err := pfx.Encode(entries, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.p12")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := openssltest.Must(t, nil, "pkcs12", "-in", file, "-passin", "pass:"+password, "-nodes")
	if strings.Count(out, "BEGIN PRIVATE KEY") != 2 || strings.Count(out, "BEGIN CERTIFICATE") != 2 {
		t.Error(out)
	}
	again, _, err := pfx.Decode(data, password)
	if err != nil || len(again) != 2 || again[1].Key.D.Cmp(entries[1].Key.D) != 0 || string(again[0].Cert) != string(entries[0].Cert) {
		t.Errorf("read back: %v", err)
	}
	if _, _, err := pfx.Decode(data, "other"); !errors.Is(err, pfx.ErrPassword) {
		t.Errorf("a wrong password: %v", err)
	}
}

// Tongsuo's files, by default and with SM4 and SM3 throughout, open.
func TestReadsWhatTongsuoWrites(t *testing.T) {
	for _, name := range []string{"tongsuo-aes.p12", "tongsuo-sm.p12"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		entries, chain, err := pfx.Decode(data, "P@ssw0rd")
		if err != nil || len(entries) != 1 || len(chain) != 1 {
			t.Fatalf("%s: %d entries, %d in the chain: %v", name, len(entries), len(chain), err)
		}
		c, err := cert.Parse(entries[0].Cert)
		if err != nil || !c.PublicKey().Equal(&entries[0].Key.PublicKey) || entries[0].Name != "sign" {
			t.Errorf("%s: key and certificate of %q are no pair: %v", name, entries[0].Name, err)
		}
		issuer, err := cert.Parse(chain[0])
		if err != nil || c.SignedBy(issuer) != nil {
			t.Errorf("%s: the chain is not the issuer's: %v", name, err)
		}
		if _, _, err := pfx.Decode(data, "p@ssw0rd"); !errors.Is(err, pfx.ErrPassword) {
			t.Errorf("%s: a wrong password: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x03})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 64 {
			_, _, _ = pfx.Decode(data, "x")
		}
	})
}
