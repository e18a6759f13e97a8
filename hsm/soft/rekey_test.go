package soft

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/sm2"
)

func filled(t *testing.T) (dir string, d *sm2.PrivateKey) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	dev, err := Open(dir, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := dev.Generate("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.NewMaster("m"); err != nil {
		t.Fatal(err)
	}
	return dir, key.(*sm2.PrivateKey)
}

func opens(t *testing.T, dir, pass string) error {
	t.Helper()
	d, err := Open(dir, []byte(pass))
	if err != nil {
		t.Fatal(err)
	}
	return d.Check()
}

// The keys stay the same, the old passphrase opens none of them.
func TestRekeyKeepsKeys(t *testing.T) {
	dir, key := filled(t)
	before, err := os.ReadFile(filepath.Join(dir, "a.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Rekey(dir, []byte("wrong"), []byte("new"), func(string) error { return nil }); err == nil {
		t.Fatal("a wrong passphrase re-encrypted keys")
	}
	if err := Rekey(dir, []byte("old"), []byte("new"), func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if opens(t, dir, "old") == nil {
		t.Error("the old passphrase still opens")
	}
	d, err := Open(dir, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Signer("a")
	if err != nil || !got.(*sm2.PrivateKey).Equal(key) {
		t.Fatalf("another key: %v", err)
	}
	if _, err := d.Wrap("m", []byte("x"), nil); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "a.key"))
	if err != nil || bytes.Equal(before, after) {
		t.Error("the file is the same", err)
	}
	for _, left := range []string{".next", ".old"} {
		if _, err := os.Stat(dir + left); err == nil {
			t.Error(left, "is left")
		}
	}
}

// Interrupted at any step, the old store is whole or the new one is.
func TestSettleAfterACrash(t *testing.T) {
	for _, c := range []struct {
		name, pass string
		crash      func(t *testing.T, dir string)
	}{
		{"while the new folder is written", "old", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir+".next", complete)); err != nil {
				t.Fatal(err)
			}
		}},
		{"before the old one is moved", "old", func(*testing.T, string) {}},
		{"between the two moves", "new", func(t *testing.T, dir string) {
			if err := os.Rename(dir, dir+".old"); err != nil {
				t.Fatal(err)
			}
		}},
		{"before the old one is gone", "new", func(t *testing.T, dir string) {
			if err := errors.Join(os.Rename(dir, dir+".old"), os.Rename(dir+".next", dir)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := filled(t)
			from, err := Open(dir, []byte("old"))
			if err != nil {
				t.Fatal(err)
			}
			to, err := Open(dir+".next", []byte("new"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(from.copyTo(to), create(filepath.Join(dir+".next", complete), nil)); err != nil {
				t.Fatal(err)
			}
			c.crash(t, dir)
			if err := Settle(dir); err != nil {
				t.Fatal(err)
			}
			if err := opens(t, dir, c.pass); err != nil {
				t.Error(c.pass, err)
			}
			for _, left := range []string{".next", ".old"} {
				if _, err := os.Stat(dir + left); err == nil {
					t.Error(left, "is left")
				}
			}
		})
	}
}

// A destroyed key says so for ever, through a change of passphrase as well.
func TestDestroyLeavesAWord(t *testing.T) {
	dir, _ := filled(t)
	if _, err := Destroy(dir, "a", "纪要 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.key")); err == nil {
		t.Error("the file is there")
	}
	if err := Rekey(dir, []byte("old"), []byte("new"), func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Signer("a"); !errors.Is(err, ErrDestroyed) {
		t.Error(err)
	}
	if _, err := d.Generate("a"); err == nil {
		t.Error("a destroyed label is used again")
	}
}
