package keyfile_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/keyfile"
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
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
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
	if out, err := exec.Command("openssl", "pkey", "-in", name, "-passin", "pass:correct horse", "-noout", "-check").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := keyfile.Read(text, []byte("wrong")); !errors.Is(err, keyfile.ErrPassphrase) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	again, err := keyfile.Read(text, []byte("correct horse"))
	if err != nil || again.D.Cmp(key.D) != 0 {
		t.Errorf("read back: %v", err)
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
