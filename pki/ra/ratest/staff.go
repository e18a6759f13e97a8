package ratest

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Staff is a register of people who really sign.
type Staff struct {
	Who  map[string]access.Person
	Keys map[string]*sm2.PrivateKey
}

// Hire makes people with the roles given, their certificates good for a year
// before and after now.
func Hire(t testing.TB, now time.Time, roles map[string][]access.Role) Staff {
	t.Helper()
	s := Staff{map[string]access.Person{}, map[string]*sm2.PrivateKey{}}
	for name, list := range roles {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p, err := access.PersonOf(access.PersonID(name), name, Certificate(t, name, key, now), list...)
		if err != nil {
			t.Fatal(err)
		}
		s.Who[name], s.Keys[name] = p, key
	}
	return s
}

// Certificate is self-signed and good enough to be somebody.
func Certificate(t testing.TB, cn string, key *sm2.PrivateKey, now time.Time) []byte {
	t.Helper()
	point, subject := alg.Point(&key.PublicKey), dn.Name{C: "CN", CN: cn}.Bytes()
	serial := append([]byte{0x41}, alg.Digest(point)[:15]...)
	der, err := cert.Seal(cert.Draft{Serial: serial, Issuer: subject, Subject: subject, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
		Point: point, Extensions: []cert.Extension{cert.SKI(point)}}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Reply is what a CA answers: a pair of certificates and the encryption key
// sealed to the signing key.
func Reply(t testing.TB, cn string, now time.Time) enroll.Reply {
	t.Helper()
	owner, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sm2.MarshalEnvelopedPrivateKey(rand.Reader, &owner.PublicKey, pair)
	if err != nil {
		t.Fatal(err)
	}
	return enroll.Reply{Sign: Certificate(t, cn, owner, now), Enc: Certificate(t, cn, pair, now), Sealed: sealed}
}

// PersonByCert finds a person by the SM3 of their certificate.
func (s Staff) PersonByCert(_ context.Context, digest []byte) (access.Person, error) {
	for _, p := range s.Who {
		if bytes.Equal(alg.Digest(p.Cert), digest) {
			return p, nil
		}
	}
	return access.Person{}, access.NoSuchPerson.At("certificate", access.NoSuchPerson.Clause)
}

// Claim signs a statement, on the person's side.
func (s Staff) Claim(t testing.TB, who string, st access.Statement) access.Claim {
	t.Helper()
	signed, err := st.Sign(s.Keys[who], s.Who[who].Cert)
	if err != nil {
		t.Fatal(err)
	}
	return access.Claim{Cert: signed.Cert, At: st.At, Nonce: st.Nonce, Signature: signed.Signature}
}
