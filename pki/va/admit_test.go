package va_test

import (
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// signed puts a signature (RFC 6960 §4.1.1) over what an unsigned request says.
func signed(t *testing.T, der []byte, c *cert.Certificate, key *sm2.PrivateKey) []byte {
	t.Helper()
	s := cryptobyte.String(der)
	var tbs cryptobyte.String
	if !s.ReadASN1(&tbs, cbasn1.SEQUENCE) {
		t.Fatal("not a request")
	}
	sig, err := alg.Sign(key, tbs)
	if err != nil {
		t.Fatal(err)
	}
	explicit := cbasn1.Tag(0).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				alg.AddID(b, alg.SM2WithSM3)
				b.AddASN1BitString(sig)
				b.AddASN1(explicit, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(c.Raw) })
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func TestWhereOnlySignedQuestionsAreAnsweredTheSignerIsAValidHolder(t *testing.T) {
	k := newClock()
	w, stranger := vatest.New(t, k.Now), vatest.New(t, k.Now)
	r := w.Responder()
	r.SignedOnly = true
	holder, key := w.Certify("holder")
	w.Record(holder, true)
	gone, goneKey := w.Certify("gone")
	w.Record(gone, true)
	w.Revoke(gone, 1)
	unrecorded, unrecordedKey := w.Certify("unrecorded")
	// Same serial and issuer name as the holder, signed by another CA's key.
	forged, forgedKey := stranger.CertifyAs(holder.Serial.Bytes(), "holder")
	apply(t, w, r)
	q := question(w, alg.SM3, false, nil, holder)
	for _, tt := range []struct {
		name string
		c    *cert.Certificate
		key  *sm2.PrivateKey
		want ocsp.Code
	}{
		{"a holder", holder, key, ocsp.Successful},
		{"a holder's certificate with another key", holder, goneKey, ocsp.Unauthorized},
		{"a revoked one", gone, goneKey, ocsp.Unauthorized},
		{"one not on record", unrecorded, unrecordedKey, ocsp.Unauthorized},
		{"a forged one", forged, forgedKey, ocsp.Unauthorized},
	} {
		if a := r.Respond(t.Context(), signed(t, q, tt.c, tt.key)); a.Code != tt.want {
			t.Errorf("%s: %v %v", tt.name, a.Code, a.Err)
		}
	}
	if a := r.Respond(t.Context(), q); a.Code != ocsp.SigRequired {
		t.Errorf("unsigned: %v", a.Code)
	}
	k.add(2 * 365 * 24 * time.Hour)
	if a := r.Respond(t.Context(), signed(t, q, holder, key)); a.Code != ocsp.Unauthorized {
		t.Errorf("an expired holder: %v", a.Code)
	}
}
