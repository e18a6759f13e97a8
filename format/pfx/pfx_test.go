package pfx_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/pfx"
)

// A file with both keys of a pair opens in OpenSSL, and only with its password.
func TestOpenSSLReadsBothKeys(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
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
		if out, err := exec.Command("openssl", "req", "-new", "-x509", "-sm3", "-key", k, "-subj", "/CN="+name, "-outform", "DER", "-out", der).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
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
	out, err := exec.Command("openssl", "pkcs12", "-in", file, "-passin", "pass:"+password, "-nodes").CombinedOutput()
	if err != nil || strings.Count(string(out), "BEGIN PRIVATE KEY") != 2 || strings.Count(string(out), "BEGIN CERTIFICATE") != 2 {
		t.Errorf("%v: %s", err, out)
	}
	again, _, err := pfx.Decode(data, password)
	if err != nil || len(again) != 2 || again[1].Key.D.Cmp(entries[1].Key.D) != 0 || string(again[0].Cert) != string(entries[0].Cert) {
		t.Errorf("read back: %v", err)
	}
	if _, _, err := pfx.Decode(data, "other"); !errors.Is(err, pfx.ErrPassword) {
		t.Errorf("a wrong password: %v", err)
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
