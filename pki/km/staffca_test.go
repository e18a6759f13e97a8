package km_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
)

var staffNow = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// witness is a key that remembers what it signed.
type witness struct {
	*sm2.PrivateKey
	signed [][]byte
}

func (w *witness) Sign(r io.Reader, data []byte, o crypto.SignerOpts) ([]byte, error) {
	w.signed = append(w.signed, bytes.Clone(data))
	return w.PrivateKey.Sign(r, data, o)
}

// faltering is a store that fails once, at call number at, before or after the
// call took effect.
type faltering struct {
	km.StaffStore
	failing
}

func (f *faltering) StaffCert(ctx context.Context, request string) (tbs, der []byte, err error) {
	err = f.call(func() (err error) { tbs, der, err = f.StaffStore.StaffCert(ctx, request); return err })
	return tbs, der, err
}

func (f *faltering) IntendStaff(ctx context.Context, request string, serial, tbs []byte, at time.Time) error {
	return f.call(func() error { return f.StaffStore.IntendStaff(ctx, request, serial, tbs, at) })
}

func (f *faltering) RecordStaff(ctx context.Context, request string, der []byte, line audit.Entry) error {
	return f.call(func() error { return f.StaffStore.RecordStaff(ctx, request, der, line) })
}

type staffWorld struct {
	*km.StaffCA
	store *kmstore.Store
	key   *witness
}

func staffCA(t *testing.T) staffWorld {
	t.Helper()
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "km.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := kmstore.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	key := &witness{PrivateKey: newKey(t)}
	wish := profile.Wish{Serial: []byte{0x41, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, NotBefore: staffNow.AddDate(-1, 0, 0), NotAfter: staffNow.AddDate(20, 0, 0),
		Subject: dn.Name{C: "CN", O: "某机构", CN: "密钥管理 CA"}.Bytes(), Point: alg.Point(&key.PublicKey)}
	der, err := cert.Seal(set["root-ca"].Draft(profile.Sign, wish, nil, profile.Place{}), key.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	own, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	place := profile.Place{CRL: "http://127.0.0.1:1/crl/full.crl", OCSP: "http://127.0.0.1:1/ocsp", Issuer: "http://127.0.0.1:1/aia/ca.cer"}
	return staffWorld{&km.StaffCA{Store: store, Key: key, Cert: own, Profile: set["staff"], Place: place, Now: func() time.Time { return staffNow }}, store, key}
}

func newKey(t *testing.T) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestStaffCertificatesAreTheCentresOwn(t *testing.T) {
	w := staffCA(t)
	point := alg.Point(&newKey(t).PublicKey)
	der, err := w.Issue(t.Context(), "P1", "甲", point)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil || !bytes.Equal(c.Point, point) || !bytes.Equal(c.Issuer, w.Cert.Subject) || c.NotAfter.Before(staffNow) {
		t.Fatalf("%+v %v", c, err)
	}
	if err := alg.Verify(&w.key.PublicKey, c.RawTBS, c.Signature); err != nil {
		t.Error(err)
	}
	name, err := dn.Parse(c.Subject)
	if err != nil || name.CN != "甲" || name.O != "某机构" {
		t.Errorf("%+v %v", name, err)
	}
	trail := &audit.Trail{DB: w.store.DB, Now: w.Now}
	lines, err := trail.List(t.Context(), audit.Query{Object: "P1"})
	if err != nil || len(lines) != 1 || lines[0].Entry.Item != "km.staff" || lines[0].Entry.Serial != c.SerialHex() {
		t.Errorf("%+v %v", lines, err)
	}
}

// Wherever the store fails, asking again finishes the work: the key signs only
// what is on record, and one thing for a request.
func TestStaffCertificatesAfterACrash(t *testing.T) {
	for at := 1; at <= 3; at++ {
		for _, after := range []bool{false, true} {
			w := staffCA(t)
			f := &faltering{StaffStore: w.store, failing: failing{at: at, after: after}}
			w.Store = f
			point := alg.Point(&newKey(t).PublicKey)
			if _, err := w.Issue(t.Context(), "P1", "甲", point); !errors.Is(err, errCrash) {
				t.Fatalf("call %d: %v", at, err)
			}
			tbs, _, err := w.store.StaffCert(t.Context(), "P1")
			if err != nil {
				t.Fatal(err)
			}
			if len(w.key.signed) > 0 && tbs == nil {
				t.Errorf("call %d: signed before it was on record", at)
			}
			staffLater := staffNow.Add(time.Hour)
			w.Now = func() time.Time { return staffLater }
			one, err := w.Issue(t.Context(), "P1", "甲", point)
			if err != nil {
				t.Fatalf("call %d, after %v: %v", at, after, err)
			}
			two, err := w.Issue(t.Context(), "P1", "甲", point)
			if err != nil || !bytes.Equal(one, two) {
				t.Errorf("call %d: asked again it is another certificate: %v", at, err)
			}
			c, err := cert.Parse(one)
			if err != nil || tbs != nil && !bytes.Equal(c.RawTBS, tbs) {
				t.Errorf("call %d: not what was on record: %v", at, err)
			}
			for _, s := range w.key.signed {
				if !bytes.Equal(s, w.key.signed[0]) {
					t.Errorf("call %d: the key signed two things", at)
				}
			}
			trail := &audit.Trail{DB: w.store.DB, Now: w.Now}
			if lines, err := trail.List(t.Context(), audit.Query{Item: "km.staff"}); err != nil || len(lines) != 1 {
				t.Errorf("call %d: %d lines, %v", at, len(lines), err)
			}
		}
	}
}

// What does not pass the lint is neither put on record nor signed.
func TestNothingUnlintedIsSignedForStaff(t *testing.T) {
	w := staffCA(t)
	for name, c := range map[string]struct {
		cn    string
		point []byte
	}{"no point on the curve": {"甲", make([]byte, 65)}, "no name": {"", alg.Point(&newKey(t).PublicKey)}} {
		_, err := w.Issue(t.Context(), "P1", c.cn, c.point)
		if err == nil {
			t.Errorf("%s: issued", name)
		}
		if tbs, _, err := w.store.StaffCert(t.Context(), "P1"); err != nil || tbs != nil {
			t.Errorf("%s: on record, %v", name, err)
		}
	}
	if len(w.key.signed) != 0 {
		t.Error("signed")
	}
}

// Two drafts for one request: the first stands. A serial is used once.
func TestOneDraftForARequest(t *testing.T) {
	w := staffCA(t)
	ctx := t.Context()
	if err := w.store.IntendStaff(ctx, "P1", []byte{1}, []byte("a"), staffNow); err != nil {
		t.Fatal(err)
	}
	if err := w.store.IntendStaff(ctx, "P1", []byte{1}, []byte("a"), staffNow); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := w.store.IntendStaff(ctx, "P1", []byte{2}, []byte("b"), staffNow); err == nil {
		t.Error("a second draft is taken")
	}
	if err := w.store.IntendStaff(ctx, "P2", []byte{1}, []byte("c"), staffNow); err == nil {
		t.Error("a serial is used twice")
	}
	if err := w.store.RecordStaff(ctx, "P3", []byte("d"), audit.Entry{}); err == nil {
		t.Error("something is recorded that was never intended")
	}
}
