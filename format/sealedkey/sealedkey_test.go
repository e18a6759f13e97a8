package sealedkey_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm/soft"
)

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// device seals a fresh pair to owner in the 64-byte form.
func device(t testing.TB, owner *sm2.PrivateKey) (session, content, point []byte) {
	t.Helper()
	d, err := soft.Open(t.TempDir(), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.NewMaster("m"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Generate("s"); err != nil {
		t.Fatal(err)
	}
	p, err := d.NewPair("m")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Envelope("m", p, alg.Point(&owner.PublicKey), "s")
	if err != nil {
		t.Fatal(err)
	}
	return s.SessionKey, s.Content, p.Point
}

func TestGmsmReadsWhatWeWrite(t *testing.T) {
	owner := newKey(t)
	e, err := sealedkey.FromEnveloped(device(t, owner))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := sm2.ParseEnvelopedPrivateKey(owner, e.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(alg.Point(&pair.PublicKey), e.Point) {
		t.Error("gmsm opened another pair")
	}
}

func TestWeReadWhatGmsmWrites(t *testing.T) {
	owner, pair := newKey(t), newKey(t)
	der, err := sm2.MarshalEnvelopedPrivateKey(rand.Reader, &owner.PublicKey, pair)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sealedkey.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Bytes(), der) {
		t.Error("written again it differs")
	}
	got, err := e.Open(owner)
	if err != nil {
		t.Fatal(err)
	}
	if got.D.Cmp(pair.D) != 0 {
		t.Error("another private key came out")
	}
}

func TestTheSixtyFourByteFieldOpensInBothLayouts(t *testing.T) {
	owner := newKey(t)
	session, content, point := device(t, owner)
	for name, field := range map[string][]byte{
		"zeros encrypted too":  content,
		"zeros in cipher text": append(make([]byte, 32), content[32:]...),
	} {
		e, err := sealedkey.Parse(sealedkey.Envelope{SessionKey: session, Point: point, Content: field}.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := e.Open(owner); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStrangersKeyOpensNothing(t *testing.T) {
	e, err := sealedkey.FromEnveloped(device(t, newKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(newKey(t)); !errors.Is(err, sealedkey.ErrOpen) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherPairsPointIsNoticed(t *testing.T) {
	owner := newKey(t)
	e, err := sealedkey.FromEnveloped(device(t, owner))
	if err != nil {
		t.Fatal(err)
	}
	e.Point = alg.Point(&newKey(t).PublicKey)
	if _, err := e.Open(owner); !errors.Is(err, sealedkey.ErrOpen) {
		t.Errorf("got %v", err)
	}
}

func TestTheCipherMayBeNamedSM4WithoutParameters(t *testing.T) {
	owner := newKey(t)
	e, err := sealedkey.FromEnveloped(device(t, owner))
	if err != nil {
		t.Fatal(err)
	}
	der := e.Bytes()
	long := []byte{0x30, 0x0c, 0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x68, 0x01, 0x05, 0x00}
	bare := []byte{0x30, 0x09, 0x06, 0x07, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x68}
	at := bytes.Index(der, long)
	if at < 0 {
		t.Fatal("identifier not found")
	}
	head := 2 + int(der[1]&0x7f)
	if der[1] < 0x80 {
		head = 2
	}
	body := append(append(append([]byte{}, der[head:at]...), bare...), der[at+len(long):]...)
	short := append([]byte{0x30, 0x81, byte(len(body))}, body...)
	if len(body) > 255 || len(body) < 128 {
		t.Fatalf("body of %d bytes", len(body))
	}
	got, err := sealedkey.Parse(short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Open(owner); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	owner, pair := newKey(f), newKey(f)
	der, err := sm2.MarshalEnvelopedPrivateKey(rand.Reader, &owner.PublicKey, pair)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		e, err := sealedkey.Parse(der)
		if err != nil {
			return
		}
		if _, err := sealedkey.Parse(e.Bytes()); err != nil {
			t.Errorf("written again it is refused: %v", err)
		}
		_, _ = e.Open(owner)
	})
}
