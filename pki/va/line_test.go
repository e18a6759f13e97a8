package va_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// by asks about a certificate and returns who signed the answer.
func by(t *testing.T, w *vatest.World, r *va.Responder, c *cert.Certificate, of *cert.Certificate) error {
	t.Helper()
	a := r.Respond(t.Context(), ocsp.NewRequest(nil, ocsp.Ask(alg.SM3, true, of, c.Serial.Bytes())))
	got, err := ocsp.Parse(a.DER)
	if err != nil || a.Code != ocsp.Successful {
		t.Fatal(a.Code, a.Err, err)
	}
	if got.Singles[0].State != ocsp.Good {
		return errors.New("not good")
	}
	return got.Verify(of, w.Now())
}

// next gives the CA another key under the same name, certified by a root whose
// name is the first key's own, and a responder's certificate from it.
func next(t *testing.T, w *vatest.World) (own, responder, crossed *cert.Certificate, key *sm2.PrivateKey) {
	t.Helper()
	point := func(k *sm2.PrivateKey) []byte { return alg.Point(&k.PublicKey) }
	_, key = w.Certify("x")
	seal := func(subject, at []byte, issuer *cert.Certificate, signer *sm2.PrivateKey, ext ...cert.Extension) *cert.Certificate {
		der, err := cert.Seal(cert.Draft{
			Serial: vatest.Serial(), Issuer: issuer.Subject, Subject: subject, Point: at, NotBefore: w.CA.NotBefore, NotAfter: w.CA.NotAfter,
			Extensions: append(ext, cert.AKI(issuer.Point), cert.SKI(at)),
		}.TBS(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := cert.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	own = seal(w.CA.Subject, point(key), w.CA, w.CAKey, cert.CA(0), cert.KeyUsage(cert.UsageCA))
	responder = seal(w.Cert.Subject, point(w.Key), own, key, cert.ExtKeyUsage(false, cert.UsageOCSPSigning), cert.NoCheck())
	crossed = seal(w.CA.Subject, w.CA.Point, own, key, cert.CA(0), cert.KeyUsage(cert.UsageCA))
	return own, responder, crossed, key
}

// The key hash of a question chooses the key that answers: each key's
// certificates are answered for under a certificate from that very key, and a
// renewed one takes the place of the one before.
func TestEachKeyOfTheCAHasAResponderOfItsOwn(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := &va.Responder{Issuers: [][]byte{w.CA.Raw}, Signer: w.Key, Cert: w.Cert.Raw, Now: w.Now}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	old := w.Issue("旧", true)
	own, responder, crossed, key := next(t, w)
	w.Say(record.KindAuthority, own.Raw)
	w.Say(record.KindAuthority, crossed.Raw)
	first, firstKey := w.CA, w.CAKey
	w.CA, w.CAKey = own, key
	fresh := w.Issue("新", true)
	w.CA, w.CAKey = first, firstKey
	apply(t, w, r)
	if err := by(t, w, r, old, first); err != nil {
		t.Errorf("before: %v", err)
	}
	if r.Delegated(own) != nil {
		t.Error("the new key has certified no responder yet")
	}
	for _, asked := range [][]ocsp.CertID{ // never signed by the old key's responder: strict clients refuse that
		{ocsp.Ask(alg.SM3, true, own, fresh.Serial.Bytes())}, {ocsp.Ask(alg.SM3, true, own, vatest.Serial())},
		{ocsp.Ask(alg.SM3, true, own, fresh.Serial.Bytes()), ocsp.Ask(alg.SM3, true, first, old.Serial.Bytes())},
	} {
		if a := r.Respond(t.Context(), ocsp.NewRequest(nil, asked...)); a.Code != ocsp.TryLater || a.Err == nil || !a.Live {
			t.Errorf("before the new key has certified a responder: %v %v", a.Code, a.Err)
		}
	}
	both := ocsp.NewRequest(nil, ocsp.Ask(alg.SM3, true, first, old.Serial.Bytes()), ocsp.Ask(alg.SM3, true, own, fresh.Serial.Bytes()))
	if got, err := ocsp.Parse(r.Respond(t.Context(), both).DER); err != nil || got.Singles[0].State != ocsp.Good || got.Singles[1].State != ocsp.Unknown || got.Verify(first, w.Now()) != nil {
		t.Errorf("asked with one of the old key's: %+v %v", got, err)
	}
	if err := r.Renew(w.Key, responder.Raw); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ asked, of *cert.Certificate }{{old, first}, {fresh, own}, {old, first}} {
		if err := by(t, w, r, c.asked, c.of); err != nil {
			t.Error(err)
		}
	}
	if got := r.Delegated(own); got == nil || !bytes.Equal(got.Raw, responder.Raw) {
		t.Error("the new key's responder is not known")
	}
	again, renewed := w.Certify("OCSP", cert.ExtKeyUsage(false, cert.UsageOCSPSigning), cert.NoCheck(), cert.AKI(first.Point))
	if err := r.Renew(renewed, again.Raw); err != nil {
		t.Fatal(err)
	}
	if err := by(t, w, r, old, first); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}

// The institution's own certificates of a CA's keys are told from the cross
// certificates, which are no chain to another root.
func TestCrossCertificatesAreNoOtherRoots(t *testing.T) {
	w := vatest.New(t, newClock().Now)
	r := &va.Responder{Issuers: [][]byte{w.CA.Raw}, Signer: w.Key, Cert: w.Cert.Raw, Now: w.Now}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	own, _, crossed, _ := next(t, w)
	w.Say(record.KindAuthority, own.Raw)
	w.Say(record.KindAuthority, crossed.Raw)
	apply(t, w, r)
	if r.Joined(w.CA.Raw) != nil || r.Joined(own.Raw) != nil {
		t.Error("a cross certificate passes for one of another root")
	}
	found := false
	for _, c := range r.Cross(w.CA.Subject) {
		found = found || bytes.Equal(c.Raw, crossed.Raw)
	}
	if !found {
		t.Error("the cross certificate is not found")
	}
}
