package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hufu-pki/hufu/base/durable"
)

func TestAFileIsReplacedWholeWithItsMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("old and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".new", []byte("left by a power cut"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(name, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	info, err2 := os.Stat(name)
	if err != nil || err2 != nil || string(data) != "new" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q %v %v %v", data, info.Mode(), err, err2)
	}
	if _, err := os.Stat(name + ".new"); !os.IsNotExist(err) {
		t.Errorf("what it was written beside is left: %v", err)
	}
	if durable.Write(filepath.Join(t.TempDir(), "no", "f"), nil, 0o600) == nil {
		t.Error("a folder that is not there was written to")
	}
}
