package soft_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/hsm/soft"
)

func open(t testing.TB, dir, passphrase string) *soft.Device {
	t.Helper()
	d, err := soft.Open(dir, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// device has a wrapping key "m" and a signing key "s".
func device(t testing.TB) (d *soft.Device, dir string) {
	t.Helper()
	dir = t.TempDir()
	d = open(t, dir, "p")
	if _, err := d.Generate("s"); err != nil {
		t.Fatal(err)
	}
	if err := d.NewMaster("m"); err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func TestItSaysThatItIsForEvaluationOnly(t *testing.T) {
	if d, _ := device(t); !strings.Contains(d.Name(), "仅供评估") {
		t.Error(d.Name())
	}
}

func TestKeysOutliveTheProcess(t *testing.T) {
	d, dir := device(t)
	wrapped, err := d.Wrap("m", []byte("secret"), []byte("bound"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := d.Signer("s")
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, "p")
	after, err := again.Signer("s")
	if err != nil || !after.Public().(*ecdsa.PublicKey).Equal(before.Public()) {
		t.Errorf("another key came back: %v", err)
	}
	if got, err := again.Unwrap("m", wrapped, []byte("bound")); err != nil || string(got) != "secret" {
		t.Errorf("%q %v", got, err)
	}
	sig, err := alg.Sign(after, []byte("message"))
	if err != nil || alg.Verify(before.Public().(*ecdsa.PublicKey), []byte("message"), sig) != nil {
		t.Errorf("it signs otherwise: %v", err)
	}
}

func TestAnotherPassphraseOpensNothing(t *testing.T) {
	_, dir := device(t)
	d := open(t, dir, "q")
	if _, err := d.Signer("s"); err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("signer: %v", err)
	}
	if _, err := d.Wrap("m", nil, nil); err == nil {
		t.Error("the wrapping key opened")
	}
}

// A key is not replaced: what it signed must stay verifiable.
func TestALabelIsUsedOnce(t *testing.T) {
	d, dir := device(t)
	was, err := d.Signer("s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Generate("s"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("generated again: %v", err)
	}
	if err := d.NewMaster("s"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("wrapping key over a signing key: %v", err)
	}
	if _, err := d.Generate("m"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("signing key over a wrapping key: %v", err)
	}
	now, err := open(t, dir, "p").Signer("s")
	if err != nil || !now.Public().(*ecdsa.PublicKey).Equal(was.Public()) {
		t.Errorf("the key changed: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestALabelIsNoPath(t *testing.T) {
	d, _ := device(t)
	for _, label := range []string{"", "../s", "a/b", `a\b`, "s.key", "."} {
		if _, err := d.Generate(label); err == nil {
			t.Errorf("%q: generated", label)
		}
		if _, err := d.Signer(label); err == nil {
			t.Errorf("%q: found", label)
		}
	}
	if _, err := d.Signer("nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a label never used: %v", err)
	}
}

func TestKeysOfOneKindAreNotTakenForTheOther(t *testing.T) {
	d, dir := device(t)
	if _, err := d.Signer("m"); err == nil {
		t.Error("a wrapping key signs")
	}
	if _, err := d.Wrap("s", nil, nil); err == nil {
		t.Error("a signing key wraps")
	}
	// Renaming a file on disk does not rename the key in it.
	data, err := os.ReadFile(filepath.Join(dir, "s.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.key"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Signer("other"); err == nil {
		t.Error("a key answers to another label")
	}
}

func TestADamagedFileIsNoticed(t *testing.T) {
	_, dir := device(t)
	name := filepath.Join(dir, "s.key")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, dir, "p")
	for what, bad := range map[string][]byte{
		"nothing": nil, "half": good[:len(good)/2], "another kind": bytes.Replace(good, []byte("sm2"), []byte("sm4"), 1),
		"a version to come": bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
		"a changed blob":    append(append(bytes.Clone(good[:len(good)/2]), good[len(good)/2]^3), good[len(good)/2+1:]...),
	} {
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Signer("s"); err == nil {
			t.Errorf("%s: it signs", what)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "salt"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := soft.Open(dir, []byte("p")); err == nil {
		t.Error("a damaged salt was accepted")
	}
}

func TestNoKeyLiesInTheClear(t *testing.T) {
	d, dir := device(t)
	k, err := d.Signer("s")
	if err != nil {
		t.Fatal(err)
	}
	secret := k.(*sm2.PrivateKey).D.FillBytes(make([]byte, 32))
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(data, secret) {
			t.Errorf("%s has the key", path)
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrappedIsBoundToItsOwner(t *testing.T) {
	d, _ := device(t)
	if err := d.NewMaster("m2"); err != nil {
		t.Fatal(err)
	}
	w, err := d.Wrap("m", []byte("secret"), []byte("张三"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.Wrap("m", []byte("secret"), []byte("张三")); err != nil || bytes.Equal(again.Blob, w.Blob) {
		t.Errorf("wrapped alike twice: %v", err)
	}
	flipped, newer, empty, other := w, w, w, w
	flipped.Blob = bytes.Clone(w.Blob)
	flipped.Blob[len(w.Blob)-1] ^= 1
	newer.Version, empty.Blob, other.Master = 2, nil, "m2"
	for name, try := range map[string]func() ([]byte, error){
		"for another":          func() ([]byte, error) { return d.Unwrap("m", w, []byte("李四")) },
		"by another key":       func() ([]byte, error) { return d.Unwrap("m2", w, []byte("张三")) },
		"relabelled":           func() ([]byte, error) { return d.Unwrap("m2", other, []byte("张三")) },
		"changed":              func() ([]byte, error) { return d.Unwrap("m", flipped, []byte("张三")) },
		"of a version to come": func() ([]byte, error) { return d.Unwrap("m", newer, []byte("张三")) },
		"empty":                func() ([]byte, error) { return d.Unwrap("m", empty, []byte("张三")) },
	} {
		if got, err := try(); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// GM/T 0009: 32 zeros and the key under SM4-ECB, the session key to the
// owner's signing key, the signature of the centre over the plain content.
func TestAnEnvelopeOpensForItsOwnerOnly(t *testing.T) {
	d, _ := device(t)
	owner, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := d.NewPair("m")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Envelope("m", pair, alg.Point(&owner.PublicKey), "s")
	if err != nil {
		t.Fatal(err)
	}
	session, err := owner.Decrypt(nil, s.SessionKey, nil)
	if err != nil || len(session) != 16 || len(s.Content) != 64 {
		t.Fatalf("%d octets of session key, %d of content: %v", len(session), len(s.Content), err)
	}
	block, err := sm4.NewCipher(session)
	if err != nil {
		t.Fatal(err)
	}
	plain := make([]byte, 64)
	for i := 0; i < 64; i += 16 {
		block.Decrypt(plain[i:], s.Content[i:i+16])
	}
	k, err := sm2.NewPrivateKey(plain[32:])
	if err != nil || !bytes.Equal(plain[:32], make([]byte, 32)) || !bytes.Equal(alg.Point(&k.PublicKey), pair.Point) {
		t.Errorf("%x: %v", plain[:32], err)
	}
	signer, err := d.Signer("s")
	if err != nil || alg.Verify(signer.Public().(*ecdsa.PublicKey), plain, s.Signature) != nil {
		t.Errorf("not signed over the plain content: %v", err)
	}
	stranger, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Decrypt(nil, s.SessionKey, nil); err == nil {
		t.Error("a stranger opens it")
	}
	again, err := d.Envelope("m", pair, alg.Point(&owner.PublicKey), "s")
	if err != nil || bytes.Equal(again.Content, s.Content) {
		t.Errorf("a session key was used twice: %v", err)
	}
}

func TestNoEnvelopeForAPointOffTheCurveOrAnotherPair(t *testing.T) {
	d, _ := device(t)
	a, errA := d.NewPair("m")
	b, errB := d.NewPair("m")
	if err := errors.Join(errA, errB); err != nil || bytes.Equal(a.Point, b.Point) {
		t.Fatalf("two pairs alike, or %v", err)
	}
	off := bytes.Clone(a.Point)
	off[64] ^= 1
	if _, err := d.Envelope("m", a, off, "s"); !errors.Is(err, alg.ErrPoint) {
		t.Errorf("to a point off the curve: %v", err)
	}
	if _, err := d.Envelope("m", hsm.Pair{Point: a.Point, Private: b.Private}, b.Point, "s"); err == nil {
		t.Error("another pair's private key went out under this point")
	}
	if _, err := d.Envelope("m", a, b.Point, "nobody"); err == nil {
		t.Error("signed by nobody")
	}
}

func TestManyMayUseItAtOnce(t *testing.T) {
	_, dir := device(t)
	d := open(t, dir, "p") // which has loaded nothing yet
	var wg sync.WaitGroup
	made := make(chan error, 16)
	for range 16 {
		wg.Go(func() {
			if _, err := d.Generate("same"); err == nil {
				made <- nil
			}
			if _, err := d.Signer("s"); err != nil {
				t.Error(err)
			}
			if _, err := d.NewPair("m"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 {
		t.Errorf("one label was given %d times", len(made))
	}
}
