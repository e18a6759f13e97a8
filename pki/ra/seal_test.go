package ra_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/envelope"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// centre seals a pair as the key centre's device does: what the CA passes on
// for a profile that needs all of it, the owner and the pair's point.
func centre(t testing.TB) (original []byte, owner *sm2.PrivateKey, point []byte) {
	t.Helper()
	d, err := soft.Open(t.TempDir(), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.Generate("km")
	if err := errors.Join(err, d.NewMaster("m")); err != nil {
		t.Fatal(err)
	}
	owner = newKey(t)
	pair, err := d.NewPair("m")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Envelope("m", pair, alg.Point(&owner.PublicKey), "km")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cert.Parse(ratest.Certificate(t, "KM", key.(*sm2.PrivateKey), ratest.Now))
	if err != nil {
		t.Fatal(err)
	}
	return cms.Envelope{Recipient: cms.Ref{Serial: []byte{9}}, SessionKey: s.SessionKey, Content: s.Content, Signer: cms.RefOf(signer), Cert: signer.Raw, Signature: s.Signature}.Bytes(), owner, pair.Point
}

// certified is a certificate on a point whose private key nobody here has.
func certified(t testing.TB, point []byte) []byte {
	t.Helper()
	name := []byte{0x30, 0}
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 7}, Issuer: name, Subject: name, NotBefore: ratest.Now, NotAfter: ratest.Now.AddDate(1, 0, 0), Point: point}.TBS(), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// chose is a desk whose person-dual profile wants a form, and a case issued
// under it with what the key centre sent.
func chose(t *testing.T, form string) (*place, ra.Record, *sm2.PrivateKey) {
	t.Helper()
	p := newPlace(t)
	f := p.Profiles["person-dual"]
	f.Envelope = form
	p.Profiles["person-dual"] = f
	rec := p.approved("张三")
	original, owner, point := centre(t)
	reply := enroll.Reply{Sign: ratest.Certificate(t, "张三", owner, ratest.Now), Enc: certified(t, point), Sealed: original}
	if !f.NeedsOriginal() { // as the CA passes it on
		o, err := cms.Parse(original)
		if err != nil {
			t.Fatal(err)
		}
		e, err := sealedkey.FromEnveloped(o.SessionKey, o.Content, point)
		if err != nil {
			t.Fatal(err)
		}
		reply.Sealed = e.Bytes()
	}
	p.ca.issued[rec.ID] = reply
	p.fulfil(1)
	return p, p.stands(rec.ID, ra.Issued), owner
}

// Whatever form the profile chose, the package has SM2EnvelopedKey too, and the
// owner opens both to the key of the encryption certificate.
func TestAPackageCarriesTheFormItsProfileChose(t *testing.T) {
	for form, name := range map[string]string{profile.SealedKey: "", profile.SKF32: "key.skf", profile.SKF64: "key.skf", profile.P7: "key.p7"} {
		p, rec, owner := chose(t, form)
		if rec.Trouble != nil {
			t.Fatalf("%s: %+v", form, rec.Trouble)
		}
		p.must("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}})
		rec, err := p.Delivery(t.Context(), rec.ID, p.Who["producer"])
		if err != nil {
			t.Fatal(err)
		}
		pack, err := p.Package(rec, [][]byte{p.Who["clerk"].Cert})
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		enc, err := cert.Parse(rec.Reply.Enc)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, f := range pack.Files() {
			if !slices.Contains([]string{"sealed-key.der", "key.skf", "key.p7"}, f.Name) {
				continue
			}
			found++
			r := envelope.Inspect(f.Data)
			if want := map[string]string{"sealed-key.der": profile.SealedKey, name: form}[f.Name]; r.Format != want {
				t.Errorf("%s: %s is %s", form, f.Name, r.Format)
			}
			if r.Open(owner, enc.Point) == nil || r.Err() != nil {
				t.Errorf("%s: %s does not open: %v", form, f.Name, r.Err())
			}
		}
		if want := 1 + min(len(name), 1); found != want {
			t.Errorf("%s: %d envelopes in the package, want %d", form, found, want)
		}
		again, err := p.Package(rec, [][]byte{p.Who["clerk"].Cert})
		one, err1 := pack.Zip()
		two, err2 := again.Zip()
		if err := errors.Join(err, err1, err2); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: written again it differs: %v", form, err)
		}
	}
}

// What would not open at the token is not handed out; the case says why from
// the moment the CA has answered.
func TestASpoiltEnvelopeIsNotDeliveredAndTheCaseSaysWhy(t *testing.T) {
	other := ratest.Reply(t, "别人", ratest.Now)
	for name, spoil := range map[string]func(r *enroll.Reply){
		"another pair's key": func(r *enroll.Reply) { r.Sealed = other.Sealed },
		"cut short":          func(r *enroll.Reply) { r.Sealed = r.Sealed[:len(r.Sealed)-1] },
		"nothing at all":     func(r *enroll.Reply) { r.Sealed = nil },
		"a chained cipher": func(r *enroll.Reply) {
			r.Sealed = bytes.Replace(r.Sealed, []byte{0x55, 1, 0x68, 1}, []byte{0x55, 1, 0x68, 2}, 1)
		},
		"another certificate": func(r *enroll.Reply) { r.Enc = other.Enc },
	} {
		p := newPlace(t)
		rec := p.approved("张三")
		reply := ratest.Reply(t, "张三", ratest.Now)
		spoil(&reply)
		p.ca.issued[rec.ID] = reply
		p.fulfil(1)
		rec = p.stands(rec.ID, ra.Issued) // the certificates stand and can be revoked
		if rec.Trouble == nil || rec.Trouble.Code != "ra.envelope" || rec.Trouble.Fix == "" {
			t.Errorf("%s: the case says %+v", name, rec.Trouble)
		}
		p.same(t, func() {
			_, err := p.act("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}})
			refused(t, err, ra.BadEnvelope, rec.Trouble.Field)
		})
	}
}

// The forms that need the key centre's own envelope are not made up from less.
func TestAFormThatCannotBeReEncodedIsRefusedWithTheReason(t *testing.T) {
	for _, form := range []string{profile.SKF64, profile.P7} {
		p := newPlace(t)
		f := p.Profiles["person-dual"]
		f.Envelope = form
		p.Profiles["person-dual"] = f
		rec := p.issued("张三") // the CA sent SM2EnvelopedKey only
		if rec.Trouble == nil || rec.Trouble.Field != form {
			t.Errorf("%s: the case says %+v", form, rec.Trouble)
		}
		f.Version++ // what was issued under an older profile is delivered as it was then
		p.Profiles["person-dual"] = f
		if _, err := p.act("producer", ra.Order{Act: "ra.produce", IDs: []string{rec.ID}}); err != nil {
			t.Errorf("%s: after a change of the profile: %v", form, err)
		}
	}
}
