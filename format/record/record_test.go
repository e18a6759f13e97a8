package record_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/record"
)

var at = time.Date(2026, 11, 24, 8, 0, 0, 123e6, time.UTC)

var (
	second = at.Truncate(time.Second)
	issued = record.Certificate{Issuer: bytes.Repeat([]byte{7}, 32), Serial: []byte{0x41, 1}, Pair: []byte{0x41, 2}, Use: "sign", Profile: "person-dual",
		NotBefore: second, NotAfter: second.AddDate(1, 0, 0), Shard: 3, Digest: bytes.Repeat([]byte{9}, 32), Public: true}
	revoked = record.Status{Issuer: issued.Issuer, Serial: []byte{0x41, 1}, Revoked: true, Reason: 6, At: second, Invalid: second.Add(-time.Hour)}
	list    = record.CRL{Issuer: issued.Issuer, Scope: "shard-3", Number: 17, ThisUpdate: second, NextUpdate: second.AddDate(0, 0, 7), Digest: issued.Digest}
)

func TestBodiesAreReadAsTheyWereWritten(t *testing.T) {
	single, released := issued, revoked
	single.Pair, single.Public = []byte{}, false
	released.Revoked, released.Reason, released.Invalid = false, 0, time.Time{}
	later := issued
	later.Due = second.Add(6 * time.Hour)
	for _, want := range []record.Certificate{issued, single, later} {
		if got, err := record.ParseCertificate(want.Bytes()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v: %v", want, got, err)
		}
	}
	for _, want := range []record.Status{revoked, released} {
		if got, err := record.ParseStatus(want.Bytes()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v: %v", want, got, err)
		}
	}
	early := record.Release{Issuer: issued.Issuer, Serial: issued.Serial, At: second}
	if got, err := record.ParseRelease(early.Bytes()); err != nil || !reflect.DeepEqual(got, early) {
		t.Errorf("%+v became %+v: %v", early, got, err)
	}
	if got, err := record.ParseCRL(list.Bytes()); err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v became %+v: %v", list, got, err)
	}
}

// A leaf is what everybody's proof is about: these are its bytes for good.
func TestALeafIsTheseBytes(t *testing.T) {
	for want, e := range map[string]record.Entry{
		"\x30\x12\x0c\x03crl\x02\x06\x01\x9a\xb4\x10\xec\x7b\x80\x03abc": {Kind: record.KindCRL, At: time.UnixMilli(0x019ab410ec7b), Body: []byte("abc")},
		"\x30\x0d\x0c\x06escrow\x02\x01\x01\x81\x00":                     {Kind: record.KindEscrow, At: time.UnixMilli(1), Digest: []byte{}},
	} {
		got := e.Bytes()
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
		back, err := record.Parse(got)
		if err != nil || back.Kind != e.Kind || !back.At.Equal(e.At) || !bytes.Equal(back.Body, e.Body) || !bytes.Equal(back.Digest, e.Digest) {
			t.Errorf("%+v became %+v: %v", e, back, err)
		}
	}
}

// A digest stands in for a body that stays private; a reader tells them apart.
func TestADigestIsNoBody(t *testing.T) {
	e, err := record.Parse(record.Entry{Kind: record.KindEscrow, At: at, Digest: []byte("d")}.Bytes())
	if err != nil || e.Body != nil || string(e.Digest) != "d" {
		t.Errorf("%+v %v", e, err)
	}
	if e, err = record.Parse(record.Entry{Kind: record.KindStatus, At: at, Body: []byte("b")}.Bytes()); err != nil || e.Digest != nil || string(e.Body) != "b" {
		t.Errorf("%+v %v", e, err)
	}
}

func TestWhatIsNoEntryIsRefused(t *testing.T) {
	good := record.Entry{Kind: record.KindCertificate, At: at, Body: issued.Bytes()}.Bytes()
	long := record.Entry{Kind: "x", At: at, Body: make([]byte, record.SizeMax)}.Bytes()
	for name, leaf := range map[string][]byte{
		"nothing": nil, "cut": good[:len(good)-1], "bytes after it": append(bytes.Clone(good), 0), "too long for a bundle": long,
		"another tag":      []byte("\x30\x0b\x0c\x03crl\x02\x01\x01\x82\x01a"),
		"a long-form zero": []byte("\x30\x0c\x0c\x03crl\x02\x02\x00\x01\x80\x01a"),
		"body and digest":  []byte("\x30\x0e\x0c\x03crl\x02\x01\x01\x80\x01a\x81\x01b"),
	} {
		if e, err := record.Parse(leaf); !errors.Is(err, record.ErrSyntax) {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
	for name, body := range map[string][]byte{"nothing": nil, "an empty one": {0x30, 0}, "the wrong kind": list.Bytes(), "bytes after it": append(revoked.Bytes(), 0)} {
		_, err1 := record.ParseCertificate(body)
		_, err2 := record.ParseStatus(body)
		if !errors.Is(err1, record.ErrSyntax) || !errors.Is(err2, record.ErrSyntax) {
			t.Errorf("%s: %v, %v", name, err1, err2)
		}
	}
	if _, err := record.ParseCRL(revoked.Bytes()); !errors.Is(err, record.ErrSyntax) {
		t.Errorf("a status for a list: %v", err)
	}
}

// An entry that is read has one encoding: a second one would be another leaf
// that says the same.
func FuzzParse(f *testing.F) {
	for _, body := range [][]byte{issued.Bytes(), revoked.Bytes(), list.Bytes()} {
		f.Add(record.Entry{Kind: record.KindCertificate, At: at, Body: body}.Bytes())
	}
	f.Add(record.Entry{Kind: record.KindEscrow, At: at, Digest: []byte("d")}.Bytes())
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := record.Parse(leaf)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Bytes(), leaf) {
			t.Errorf("%x is written again as %x", leaf, e.Bytes())
		}
	})
}

func FuzzBodies(f *testing.F) {
	f.Add(issued.Bytes())
	f.Add(revoked.Bytes())
	f.Add(list.Bytes())
	scheduled := issued
	scheduled.Due = second
	f.Add(scheduled.Bytes())
	f.Add(record.Release{Issuer: issued.Issuer, Serial: issued.Serial, At: second}.Bytes())
	f.Fuzz(func(t *testing.T, body []byte) {
		var again []byte
		if c, err := record.ParseCertificate(body); err == nil {
			again = c.Bytes()
		} else if c, err := record.ParseStatus(body); err == nil {
			again = c.Bytes()
		} else if c, err := record.ParseCRL(body); err == nil {
			again = c.Bytes()
		} else if c, err := record.ParseRelease(body); err == nil {
			again = c.Bytes()
		} else {
			return
		}
		if !bytes.Equal(again, body) {
			t.Errorf("%x is written again as %x", body, again)
		}
	})
}
