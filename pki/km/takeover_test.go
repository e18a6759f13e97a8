package km_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/pki/km"
)

func freshKey(t *testing.T) *sm2.PrivateKey {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sealTo seals a private key as SM2EnvelopedKey.
func sealTo(t *testing.T, key *sm2.PrivateKey, to *cert.Certificate) []byte {
	t.Helper()
	session := []byte("0123456789abcdef")
	block, err := sm4.NewCipher(session)
	if err != nil {
		t.Fatal(err)
	}
	plain, out := key.D.FillBytes(make([]byte, 32)), make([]byte, 32)
	block.Encrypt(out, plain[:16])
	block.Encrypt(out[16:], plain[16:])
	cipher, err := sm2.EncryptASN1(rand.Reader, to.PublicKey(), session)
	if err != nil {
		t.Fatal(err)
	}
	return sealedkey.Envelope{Point: alg.Point(&key.PublicKey), Content: out, SessionKey: cipher}.Bytes()
}

// oldCA is one whose keys are handed over.
type oldCA struct {
	key  *sm2.PrivateKey
	cert *cert.Certificate
}

func newOldCA(t *testing.T) oldCA {
	c := oldCA{key: freshKey(t)}
	c.cert = c.issue(t, 0, alg.Point(&c.key.PublicKey), cert.KeyUsage(cert.UsageCA), cert.CA(-1))
	return c
}

func (c oldCA) issue(t *testing.T, serial byte, point []byte, ext ...cert.Extension) *cert.Certificate {
	t.Helper()
	name := dn.Name{C: "CN", O: "旧机构", CN: "旧机构 CA"}.Bytes()
	subject := name
	if serial > 0 {
		subject = dn.Name{C: "CN", O: "旧机构", CN: "张三"}.Bytes()
	}
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x10, serial}, Issuer: name, Subject: subject, Point: point, NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(2, 0, 0), Extensions: ext}.TBS(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	read, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func (c oldCA) content(t *testing.T, keys ...handover.Key) []byte {
	t.Helper()
	var lines []string
	for _, k := range keys {
		lines = append(lines, k.String())
	}
	body, err := json.Marshal(map[string]any{"ca": string(cert.PEM(c.cert.Raw)), "manifest": strings.Repeat("ab", 32), "keys": lines})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Keys taken over are in store under the master key, each proven to be its
// certificate's, once however often the order is carried out.
func TestKeysAreTakenOver(t *testing.T) {
	for name, store := range map[string]km.Store{"memory": nil, "sqlite": sqlite(t)} {
		t.Run(name, func(t *testing.T) {
			p, old, ctx := newPlace(t, store), newOldCA(t), t.Context()
			m := (&km.Archive{Vault: p.Vault}).Matter()
			var keys []handover.Key
			for n := range byte(2) {
				k := freshKey(t)
				c := old.issue(t, n+1, alg.Point(&k.PublicKey))
				keys = append(keys, handover.Key{Cert: c.Raw, Sealed: sealTo(t, k, p.km.cert), Retired: n == 1})
			}
			shown, err := m.Read(ctx, old.content(t, keys...))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := p.Store.Count(ctx); err != nil || n[km.InUse] != 0 {
				t.Errorf("looking has kept something: %v %v", n, err)
			}
			r := proposal.Record{Case: casework.Case{ID: "P1"}, Content: shown.Content}
			for range 2 {
				if out, err := m.Do(ctx, r); err != nil || string(out) != "2" {
					t.Fatalf("%s %v", out, err)
				}
			}
			home := km.Authority(p.ca.cert)
			for n, state := range []km.State{km.InUse, km.History} {
				rec, ok, err := p.Store.Record(ctx, home, []byte{0x10, byte(n + 1)})
				if err != nil || !ok || rec.State != state || rec.UserName != "张三" {
					t.Errorf("%+v %v %v", rec, ok, err)
				}
				if err := p.Device.Prove(rec.Pair); err != nil {
					t.Errorf("key %d: %v", n, err)
				}
			}
			if n, err := p.Store.Count(ctx); err != nil || n[km.InUse] != 1 || n[km.History] != 1 {
				t.Errorf("%v %v", n, err)
			}
			if _, err := m.Read(ctx, shown.Content); !errors.Is(err, km.Duplicate) {
				t.Errorf("a second time: %v", err)
			}
			for range 2 {
				if _, err := m.Do(ctx, proposal.Record{Case: casework.Case{ID: "P2"}, Content: shown.Content}); !errors.Is(err, km.Duplicate) {
					t.Errorf("under another order: %v", err)
				}
			}
		})
	}
}

// A key that is not its certificate's, not the CA's or not sealed to the centre
// is refused before anybody signs.
func TestKeysThatDoNotFitAreNotTakenOver(t *testing.T) {
	p, old := newPlace(t, nil), newOldCA(t)
	m := (&km.Archive{Vault: p.Vault}).Matter()
	one, two := freshKey(t), freshKey(t)
	c := old.issue(t, 1, alg.Point(&one.PublicKey)).Raw
	good := handover.Key{Cert: c, Sealed: sealTo(t, one, p.km.cert)}
	foreign := newOldCA(t).issue(t, 1, alg.Point(&one.PublicKey)).Raw
	wrong, err := sealedkey.Parse(sealTo(t, two, p.km.cert))
	if err != nil {
		t.Fatal(err)
	}
	wrong.Point = alg.Point(&one.PublicKey)
	for name, content := range map[string][]byte{
		"no keys":              old.content(t),
		"twice the same":       old.content(t, good, good),
		"of another CA":        old.content(t, handover.Key{Cert: foreign, Sealed: good.Sealed}),
		"of another point":     old.content(t, handover.Key{Cert: c, Sealed: sealTo(t, two, p.km.cert)}),
		"under a false point":  old.content(t, handover.Key{Cert: c, Sealed: wrong.Bytes()}),
		"sealed to a stranger": old.content(t, handover.Key{Cert: c, Sealed: sealTo(t, one, p.ca.cert)}),
		"no JSON":              []byte("x"),
	} {
		if _, err := m.Read(t.Context(), content); !errors.Is(err, km.BadArchive) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
