package sealedkey_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/sealedkey"
)

// whole is a sealed key with all 64 octets at hand, as the key centre sends it.
func whole(t testing.TB) sealedkey.Envelope {
	t.Helper()
	owner := newKey(t)
	session, content, point := device(t, owner)
	return sealedkey.Envelope{SessionKey: session, Content: content, Point: point}
}

// The blob of GM/T 0016 §6.4.10: packed, little-endian, numbers on the right.
func TestATokensBlobIsPackedLittleEndianAndRightAligned(t *testing.T) {
	e := whole(t)
	for name, wide := range map[string]bool{"32 octets encrypted": false, "64 octets encrypted": true} {
		b, err := e.SKF(wide)
		if err != nil || len(b) != 388 {
			t.Fatalf("%s: %d bytes: %v", name, len(b), err)
		}
		for at, want := range map[int]uint32{0: 1, 4: 0x401, 8: 256, 76: 256, 368: 16} {
			if got := binary.LittleEndian.Uint32(b[at:]); got != want {
				t.Errorf("%s: word at %d is %d, want %d", name, at, got, want)
			}
		}
		for _, at := range []int{80, 144, 208, 272} {
			if !bytes.Equal(b[at:at+32], make([]byte, 32)) {
				t.Errorf("%s: the number at %d is not on the right", name, at)
			}
		}
		if !bytes.Equal(b[112:144], e.Point[1:33]) || !bytes.Equal(b[176:208], e.Point[33:]) || !bytes.Equal(b[44:76], e.Content[32:]) {
			t.Errorf("%s: point or key lie elsewhere", name)
		}
		if want := map[bool][]byte{false: make([]byte, 32), true: e.Content[:32]}[wide]; !bytes.Equal(b[12:44], want) {
			t.Errorf("%s: the left half of the key's field is %x", name, b[12:44])
		}
	}
}

func TestATokensBlobReadsBackAndOpens(t *testing.T) {
	owner := newKey(t)
	session, content, point := device(t, owner)
	e := sealedkey.Envelope{SessionKey: session, Content: content, Point: point}
	for _, wide := range []bool{false, true} {
		b, err := e.SKF(wide)
		if err != nil {
			t.Fatal(err)
		}
		got, err := sealedkey.ParseSKF(b)
		if err != nil || !bytes.Equal(got.SessionKey, session) || !bytes.Equal(got.Narrow().Bytes(), e.Narrow().Bytes()) {
			t.Errorf("wide %v: %+v %v", wide, got, err)
		}
		if _, err := got.Open(owner); err != nil {
			t.Errorf("wide %v: %v", wide, err)
		}
	}
}

// Short coordinates are padded in the blob and minimal in DER (top 40, 14 and 15).
func TestShortCoordinatesSurviveTheWayThere(t *testing.T) {
	owner := newKey(t)
	_, content, point := device(t, owner)
	for range 20000 {
		session, err := sm2.EncryptASN1(rand.Reader, &owner.PublicKey, make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		if session[1] >= 0x70 && session[3] >= 0x20 { // 02 20 … 02 20 … 04 20 … 04 10 …
			continue
		}
		b, err := (sealedkey.Envelope{SessionKey: session, Content: content, Point: point}).SKF(false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sealedkey.ParseSKF(b); err != nil || !bytes.Equal(got.SessionKey, session) {
			t.Errorf("%x came back as %x: %v", session, got.SessionKey, err)
		}
		return
	}
	t.Fatal("no short coordinate in many tries")
}

func TestSixtyFourOctetsAreNotMadeUp(t *testing.T) {
	e := whole(t)
	if _, err := e.Narrow().SKF(true); !errors.Is(err, sealedkey.ErrNarrow) {
		t.Errorf("from 32: %v", err)
	}
	e.Content = append(make([]byte, 32), e.Content[32:]...)
	if _, err := e.SKF(true); !errors.Is(err, sealedkey.ErrNarrow) {
		t.Errorf("from zeros and 32: %v", err)
	}
	e.SessionKey = e.SessionKey[1:]
	if _, err := e.SKF(false); !errors.Is(err, sealedkey.ErrSyntax) {
		t.Errorf("from a broken session key: %v", err)
	}
}

func TestABlobThatIsNotToTheLetterIsRefused(t *testing.T) {
	b, err := whole(t).SKF(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 4, 8, 76, 80, 144, 208, 272, 368} {
		bad := bytes.Clone(b)
		bad[at] ^= 0xff
		if _, err := sealedkey.ParseSKF(bad); !errors.Is(err, sealedkey.ErrSyntax) {
			t.Errorf("changed at %d: %v", at, err)
		}
	}
	for _, bad := range [][]byte{nil, b[1:], append(bytes.Clone(b), 0)} {
		if _, err := sealedkey.ParseSKF(bad); !errors.Is(err, sealedkey.ErrSyntax) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func FuzzParseSKF(f *testing.F) {
	owner := newKey(f)
	session, content, point := device(f, owner)
	for _, wide := range []bool{false, true} {
		b, err := (sealedkey.Envelope{SessionKey: session, Content: content, Point: point}).SKF(wide)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := sealedkey.ParseSKF(b)
		if err != nil {
			return
		}
		again, err := e.SKF(len(e.Content) == 64)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("written again it differs: %v", err)
		}
		_, _ = e.Open(owner)
	})
}
