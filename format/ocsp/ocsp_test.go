package ocsp_test

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/openssltest"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func certificate(t testing.TB, name string) *cert.Certificate {
	t.Helper()
	c, err := cert.FromPEM(vector(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// issue makes a certificate; without an issuer it signs itself.
func issue(t testing.TB, cn string, issuer *cert.Certificate, by *sm2.PrivateKey, ext ...cert.Extension) (*cert.Certificate, *sm2.PrivateKey) {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := make([]byte, 16)
	_, _ = rand.Read(serial)
	d := cert.Draft{Serial: serial, Subject: dn.Name{C: "CN", O: "测试", CN: cn}.Bytes(), Point: alg.Point(&key.PublicKey),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Extensions: append(ext, cert.SKI(alg.Point(&key.PublicKey)))}
	d.Issuer = d.Subject
	if issuer != nil {
		d.Issuer = issuer.Subject
	} else {
		by = key
	}
	der, err := cert.Seal(d.TBS(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestQuestionsOfOtherToolsNameTheCertificateAsWeDo(t *testing.T) {
	for _, tt := range []struct {
		file, issuer string
		hash         asn1.ObjectIdentifier
		null, nonce  bool
		about        []string
	}{
		{"gmssl/req.der", "gmssl/sub.pem", alg.SM3, false, false, []string{"gmssl/sign.pem"}},
		{"tongsuo/req-g.der", "tongsuo/sub.pem", alg.SM3, false, false, []string{"tongsuo/sign.pem"}},
		{"tongsuo/req-sha1.der", "tongsuo/sub.pem", alg.SHA1, true, true, []string{"tongsuo/sign.pem", "tongsuo/client.pem"}},
		{"tongsuo/req-sha256.der", "tongsuo/sub.pem", alg.SHA256, true, true, []string{"tongsuo/sign.pem", "tongsuo/client.pem"}},
		{"tongsuo/req-sm3.der", "tongsuo/sub.pem", alg.SM3, true, true, []string{"tongsuo/sign.pem", "tongsuo/client.pem"}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			der := vector(t, tt.file)
			r, err := ocsp.ParseRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.IDs) != len(tt.about) || (r.Nonce != nil) != tt.nonce || r.Signed {
				t.Fatalf("%d certificates, nonce %x, signed %v", len(r.IDs), r.Nonce, r.Signed)
			}
			for i, name := range tt.about {
				want := ocsp.Ask(tt.hash, tt.null, certificate(t, tt.issuer), certificate(t, name).Serial.Bytes())
				if !bytes.Equal(r.IDs[i].Raw, want.Raw) || !bytes.Equal(r.IDs[i].Serial, want.Serial) {
					t.Errorf("asks for\n%x, we would ask\n%x", r.IDs[i].Raw, want.Raw)
				}
			}
			id, sole := ocsp.Sole(der)
			if sole != (len(tt.about) == 1 && !tt.nonce) || sole && !bytes.Equal(id, r.IDs[0].Raw) {
				t.Errorf("Sole: %v %x", sole, id)
			}
		})
	}
}

func TestAnswersOfOtherToolsVerify(t *testing.T) {
	for _, tt := range []struct {
		file, issuer string
		states       []ocsp.State
	}{
		{"gmssl/resp.der", "gmssl/sub.pem", []ocsp.State{ocsp.Good}},
		{"gmssl/resp-rev.der", "gmssl/sub.pem", []ocsp.State{ocsp.Revoked}},
		{"tongsuo/resp-t.der", "tongsuo/sub.pem", []ocsp.State{ocsp.Good}},
		{"tongsuo/resp-sha1.der", "tongsuo/sub.pem", []ocsp.State{ocsp.Good, ocsp.Revoked}},
		{"tongsuo/resp-sha256.der", "tongsuo/sub.pem", []ocsp.State{ocsp.Good, ocsp.Revoked}},
		{"tongsuo/resp-sm3.der", "tongsuo/sub.pem", []ocsp.State{ocsp.Good, ocsp.Revoked}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			r, err := ocsp.Parse(vector(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			issuer := certificate(t, tt.issuer)
			if err := r.Verify(issuer, r.ProducedAt); err != nil {
				t.Error(err)
			}
			if err := r.Verify(issuer, r.ProducedAt.AddDate(20, 0, 0)); !errors.Is(err, ocsp.ErrResponder) {
				t.Errorf("twenty years on: %v", err)
			}
			for i, s := range r.Singles {
				if s.State != tt.states[i] || s.State == ocsp.Revoked && s.Reason != 1 {
					t.Errorf("answer %d: %v, reason %d", i, s.State, s.Reason)
				}
			}
			stranger, _ := issue(t, "Stranger", nil, nil)
			if err := r.Verify(stranger, r.ProducedAt); !errors.Is(err, ocsp.ErrResponder) {
				t.Errorf("a stranger's answer: %v", err)
			}
			r.RawTBS = append(bytes.Clone(r.RawTBS[:len(r.RawTBS)-1]), r.RawTBS[len(r.RawTBS)-1]^1)
			if err := r.Verify(issuer, r.ProducedAt); !errors.Is(err, ocsp.ErrResponder) {
				t.Errorf("a changed answer: %v", err)
			}
		})
	}
}

func TestOpenSSLReadsOurAnswer(t *testing.T) {
	ca, caKey := issue(t, "CA", nil, nil, cert.CA(0))
	responder, key := issue(t, "OCSP", ca, caKey, cert.ExtKeyUsage(false, cert.UsageOCSPSigning), cert.NoCheck())
	now := time.Date(2026, 11, 24, 8, 0, 0, 999e6, time.UTC)
	single := func(serial byte, state ocsp.State, reason int) ocsp.Single {
		return ocsp.Single{ID: ocsp.Ask(alg.SHA1, true, ca, []byte{serial}).Raw, State: state, RevokedAt: now.Add(-time.Hour), Reason: reason,
			ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	}
	nonce := []byte{4, 2, 7, 7}
	d := ocsp.Draft{Responder: responder.Subject, ProducedAt: now, Nonce: nonce, Singles: []ocsp.Single{
		single(0x81, ocsp.Good, 0), single(2, ocsp.Revoked, 6), single(3, ocsp.Revoked, 0), single(4, ocsp.Unknown, 0), ocsp.NeverIssued(ocsp.Ask(alg.SHA1, true, ca, []byte{5}).Raw)}, Extended: true}
	d.Singles[0].Cutoff = now.AddDate(-3, 0, 0)
	d.Singles[4].ThisUpdate = now
	der, err := ocsp.Seal(d.TBS(), responder.Raw, key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ocsp.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(ca, time.Now()); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(r.Nonce, nonce) || len(r.Singles) != 5 || r.Singles[1].Reason != 6 || !r.Extended || !r.Singles[0].Cutoff.Equal(now.Truncate(time.Second).AddDate(-3, 0, 0)) || !r.Singles[1].Cutoff.IsZero() {
		t.Errorf("read back %+v", r)
	}

	file := filepath.Join(t.TempDir(), "resp.der")
	if err := os.WriteFile(file, der, 0o600); err != nil {
		t.Fatal(err)
	}
	out := openssltest.Must(t, nil, "ocsp", "-respin", file, "-noverify", "-resp_text")
	for _, want := range []string{"Responder Id: C = CN, O = ", "Produced At: Nov 24 08:00:00 2026 GMT", "Serial Number: 81\n    Cert Status: good",
		"Serial Number: 02\n    Cert Status: revoked", "Revocation Time: Nov 24 07:00:00 2026 GMT\n    Revocation Reason: certificateHold (0x6)",
		"Revocation Time: Nov 24 07:00:00 2026 GMT\n    This Update", "Cert Status: unknown", "Next Update: Nov 24 09:00:00 2026 GMT",
		"OCSP Nonce", "OCSP Archive Cutoff", "Nov 24 08:00:00 2023 GMT", "Serial Number: 05\n    Cert Status: revoked", "Jan  1 00:00:00 1970 GMT", "valid: ", "Signature Algorithm: SM2-with-SM3", "OCSP No Check"} {
		if !strings.Contains(out, want) {
			t.Errorf("openssl does not show %q:\n%s", want, out)
		}
	}
	if !bytes.Contains(der, append([]byte{0x30, 0x0A, 6, 8}, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 1, 0x83, 0x75)) {
		t.Error("SM2-with-SM3 is written with parameters")
	}
}

// GmSSL reads byKey in a form of its own, so we name the responder by name;
// what others name by key, in either form, is read.
func TestResponderIsNamedByName(t *testing.T) {
	ca, key := issue(t, "CA", nil, nil, cert.CA(0))
	tbs := ocsp.Draft{Responder: ca.Subject, ProducedAt: time.Now()}.TBS()
	der, err := ocsp.Seal(tbs, ca.Raw, key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ocsp.Parse(der)
	if err != nil || !bytes.Equal(r.Responder, ca.Subject) || r.KeyHash != nil {
		t.Fatalf("%+v %v", r, err)
	}
	id := cert.KeyID(ca.Point)
	named := append([]byte{0xA1, byte(len(ca.Subject))}, ca.Subject...)
	for name, by := range map[string][]byte{
		"RFC 6960": append([]byte{0xA2, 22, 4, 20}, id...),
		"GmSSL":    append([]byte{0x82, 20}, id...),
	} {
		changed := append([]byte{0x30, byte(len(tbs) - 2 - len(named) + len(by))}, bytes.Replace(tbs[2:], named, by, 1)...)
		der, err := ocsp.Seal(changed, ca.Raw, key)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ocsp.Parse(der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := r.Verify(ca, time.Now()); err != nil || !bytes.Equal(r.KeyHash, id) || r.Responder != nil {
			t.Errorf("%s: %v, named %x", name, err, r.KeyHash)
		}
	}
}

func TestOnlyADelegatedCertificateOfTheIssuerMaySign(t *testing.T) {
	ca, caKey := issue(t, "CA", nil, nil, cert.CA(0))
	other, otherKey := issue(t, "Other", nil, nil, cert.CA(0))
	user, userKey := issue(t, "User", ca, caKey, cert.ExtKeyUsage(false, cert.UsageClientAuth))
	foreign, foreignKey := issue(t, "OCSP", other, otherKey, cert.ExtKeyUsage(false, cert.UsageOCSPSigning))
	for _, tt := range []struct {
		name string
		by   *cert.Certificate
		key  *sm2.PrivateKey
		ok   bool
	}{{"the CA itself", ca, caKey, true}, {"a user", user, userKey, false}, {"another CA's responder", foreign, foreignKey, false}} {
		der, err := ocsp.Seal(ocsp.Draft{Responder: tt.by.Subject, ProducedAt: time.Now()}.TBS(), tt.by.Raw, tt.key)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ocsp.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(ca, time.Now()); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestFailuresAreCodes(t *testing.T) {
	for _, code := range []ocsp.Code{ocsp.MalformedRequest, ocsp.InternalError, ocsp.TryLater, ocsp.SigRequired, ocsp.Unauthorized} {
		r, err := ocsp.Parse(ocsp.Failure(code))
		if err != nil || r.Code != code {
			t.Errorf("%v: %v %v", code, r, err)
		}
		if err := r.Verify(certificate(t, "tongsuo/sub.pem"), time.Now()); !errors.Is(err, ocsp.ErrResponder) {
			t.Errorf("%v verifies", code)
		}
	}
}

// question builds requests that NewRequest never would.
type question struct {
	before     []byte // within TBSRequest, before the list
	ids        []ocsp.CertID
	extensions []cert.Extension
	after      []byte // after TBSRequest
}

func (q question) bytes() []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(q.before)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, id := range q.ids {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(id.Raw) })
				}
			})
			if q.extensions == nil {
				return
			}
			b.AddASN1(cbasn1.Tag(2).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, e := range q.extensions {
						cert.AddExtension(b, e)
					}
				})
			})
		})
		b.AddBytes(q.after)
	})
	return b.BytesOrPanic()
}

func nonceOf(n int) cert.Extension {
	var b cryptobyte.Builder
	b.AddASN1OctetString(make([]byte, n))
	return cert.Extension{ID: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, Value: b.BytesOrPanic()}
}

func TestWhatIsOutOfBoundsIsMalformed(t *testing.T) {
	ca := certificate(t, "tongsuo/sub.pem")
	one := []ocsp.CertID{ocsp.Ask(alg.SM3, false, ca, []byte{1})}
	ext := func(list ...cert.Extension) question { return question{ids: one, extensions: list} }
	odd := func(critical bool) cert.Extension {
		return cert.Extension{ID: asn1.ObjectIdentifier{1, 2, 3}, Critical: critical, Value: []byte{5, 0}}
	}
	raw := func(hexed string) question {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			t.Fatal(err)
		}
		return question{ids: []ocsp.CertID{{Raw: b}}}
	}
	long := new(big.Int).Lsh(big.NewInt(1), 8*20).Bytes()
	for _, tt := range []struct {
		name string
		q    question
		ok   bool
	}{
		{"one certificate", question{ids: one}, true},
		{"a hundred", question{ids: bytesRepeat(one[0], 100)}, true},
		{"a hundred and one", question{ids: bytesRepeat(one[0], 101)}, false},
		{"none", question{}, false},
		{"version 1 written out", question{ids: one, before: []byte{0xA0, 3, 2, 1, 0}}, true},
		{"version 2", question{ids: one, before: []byte{0xA0, 3, 2, 1, 1}}, false},
		{"a nonce of 128 octets", ext(nonceOf(128)), true},
		{"a nonce of 129 octets", ext(nonceOf(129)), false},
		{"an empty nonce", ext(nonceOf(0)), false},
		{"a bare nonce as RFC 2560 clients send it", ext(cert.Extension{ID: nonceOf(1).ID, Value: []byte{1, 2, 3}}), true},
		{"two nonces", ext(nonceOf(8), nonceOf(8)), false},
		{"an unknown extension", ext(odd(false)), true},
		{"an unknown critical extension", ext(odd(true)), false},
		{"a serial of 20 octets", question{ids: []ocsp.CertID{ocsp.Ask(alg.SHA1, true, ca, bytes.Repeat([]byte{0xFF}, 20))}}, true},
		{"a serial of 21 octets", question{ids: []ocsp.CertID{ocsp.Ask(alg.SHA1, true, ca, long)}}, false},
		{"serial 0", question{ids: []ocsp.CertID{ocsp.Ask(alg.SHA1, true, ca, nil)}}, true},
		{"a negative serial", raw("300d30050603550403" + "0400" + "0400" + "0201ff"), false},
		{"a hash of another length", raw("301430" + "0706052b0e03021a" + "04020000" + "04020000" + "020101"), false},
		{"a hash we do not know", raw("301430" + "0706052b0e03021b" + "04020000" + "04020000" + "020101"), true},
		{"bytes after the request", question{ids: one, after: []byte{5, 0}}, false},
		{"an empty signature", question{ids: one, after: []byte{0xA0, 0}}, false},
	} {
		r, err := ocsp.ParseRequest(tt.q.bytes())
		if tt.ok != (err == nil) || err != nil && !errors.Is(err, ocsp.ErrMalformed) {
			t.Errorf("%s: %v %v", tt.name, r, err)
		}
	}
	if _, err := ocsp.ParseRequest(make([]byte, ocsp.RequestMax+1)); !errors.Is(err, ocsp.ErrMalformed) {
		t.Errorf("64 KiB and one: %v", err)
	}
}

func bytesRepeat(id ocsp.CertID, n int) (ids []ocsp.CertID) {
	for range n {
		ids = append(ids, id)
	}
	return ids
}

// sign puts a signature over what an unsigned request says.
func sign(t testing.TB, der []byte, key *sm2.PrivateKey, certs ...[]byte) []byte {
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
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						for _, c := range certs {
							b.AddBytes(c)
						}
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func TestASignedRequestIsAcceptedOnlyFromItsSigner(t *testing.T) {
	ca, caKey := issue(t, "CA", nil, nil, cert.CA(0))
	asker, key := issue(t, "Asker", ca, caKey)
	id := []ocsp.CertID{ocsp.Ask(alg.SM3, false, ca, []byte{1})}
	named := func(c *cert.Certificate) []byte {
		name := append([]byte{0xA4, byte(len(c.Subject))}, c.Subject...)
		return append([]byte{0xA1, byte(len(name))}, name...)
	}
	good := sign(t, question{ids: id, before: named(asker)}.bytes(), key, asker.Raw)
	for _, tt := range []struct {
		name string
		der  []byte
		ok   bool
	}{
		{"signed", good, true},
		{"without a name", sign(t, question{ids: id}.bytes(), key, asker.Raw), true},
		{"in another's name", sign(t, question{ids: id, before: named(ca)}.bytes(), key, asker.Raw), false},
		{"with another's key", sign(t, question{ids: id}.bytes(), caKey, asker.Raw), false},
		{"without a certificate", sign(t, question{ids: id}.bytes(), key), false},
		{"with something else for a certificate", sign(t, question{ids: id}.bytes(), key, []byte{0x30, 0}), false},
		{"unsigned", question{ids: id}.bytes(), false},
	} {
		r, err := ocsp.ParseRequest(tt.der)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		signer, err := r.Verify()
		if tt.ok != (err == nil) || err != nil && !errors.Is(err, ocsp.ErrRequestor) || tt.ok && !bytes.Equal(signer.Raw, asker.Raw) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, name := range []string{"gmssl/req.der", "tongsuo/req-g.der", "tongsuo/req-sha1.der", "tongsuo/req-sha256.der", "tongsuo/req-sm3.der"} {
		f.Add(vector(f, name))
	}
	ca := certificate(f, "tongsuo/sub.pem")
	f.Add(question{ids: []ocsp.CertID{ocsp.Ask(alg.SM3, false, ca, []byte{1})}, extensions: []cert.Extension{nonceOf(8)}}.bytes())
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ocsp.ParseRequest(der)
		if err != nil {
			if !errors.Is(err, ocsp.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(r.IDs) < 1 || len(r.IDs) > ocsp.RequestsMax {
			t.Fatalf("%d certificates", len(r.IDs))
		}
		if id, ok := ocsp.Sole(der); ok && (len(r.IDs) != 1 || !bytes.Equal(id, r.IDs[0].Raw) || r.Nonce != nil || r.Signed || r.Requestor != nil) {
			t.Fatalf("Sole and ParseRequest disagree about %x", der)
		}
		if !r.Signed && r.Requestor == nil && r.Nonce == nil {
			if again, err := ocsp.ParseRequest(ocsp.NewRequest(nil, r.IDs...)); err != nil || len(again.IDs) != len(r.IDs) {
				t.Fatalf("what was read is not read again: %v", err)
			}
		}
		_, _ = r.Verify()
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"gmssl/resp.der", "gmssl/resp-rev.der", "tongsuo/resp-t.der", "tongsuo/resp-sha1.der", "tongsuo/resp-sm3.der"} {
		f.Add(vector(f, name))
	}
	f.Add(ocsp.Failure(ocsp.TryLater))
	ca := certificate(f, "tongsuo/sub.pem")
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ocsp.Parse(der)
		if err != nil {
			return
		}
		_ = r.Verify(ca, r.ProducedAt)
		for _, s := range r.Singles {
			_ = s.State.String()
		}
	})
}
