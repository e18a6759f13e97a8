// Package interop holds this product's bytes against other tools, and keeps the
// bytes that those tools accepted. (互通测试)
package interop

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/pfx"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/sealedkey"
)

var update = flag.Bool("update", false, "write testdata/ours anew; then other tools must be asked again (testdata/README.md)")

const password = "P@ssw0rd"

var (
	begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now   = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	end   = time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
)

// key is a test key, the same every time: nobody's secret.
func key(name string) *sm2.PrivateKey {
	k, err := sm2.NewPrivateKey(alg.Digest([]byte("hufu interop " + name)))
	if err != nil {
		panic(err)
	}
	return k
}

func point(name string) []byte { return alg.Point(&key(name).PublicKey) }

// foreign is a signing key born in GmSSL: it opens what is sealed to it there.
func foreign(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := keyfile.Read(file(t, "../../../format/keyfile/testdata/gmssl.key"), []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func certificate(t testing.TB, name string) *cert.Certificate {
	t.Helper()
	c, err := cert.FromPEM(file(t, "ours/"+name+".pem"))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// made is a certificate to be made: its profile, use, issuer and wish.
type made struct {
	name, profile, issuer string
	use                   profile.Use
	serial                byte
	subject               dn.Name
	point                 []byte
	san                   []cert.AltName
}

const url = "http://pki.example.cn"

// all lists our certificates, issuers first. The person's signing key is
// GmSSL's; the second person is the one that is revoked; the last two persons
// have names that not everybody reads.
func all(t testing.TB) []made {
	person := dn.Name{C: "CN", ST: "北京市", L: "海淀区", O: "某某局", OU: dn.Units{"办公厅", "信息处"}, CN: "张三䶮"}
	email := person
	email.E = "zhang@example.cn"
	long := dn.Name{C: "CN", O: strings.Repeat("单位", 11), CN: strings.Repeat("姓名", 16)} // 66 and 96 octets
	other := dn.Name{C: "CN", O: "某某局", CN: "李四"}
	device := dn.Name{C: "CN", O: "某某局", CN: "www.example.cn"}
	names := []cert.AltName{{Kind: "dns", Value: "www.example.cn"}, {Kind: "ip", Value: "192.0.2.7"}}
	return []made{
		{"root", "root-ca", "", profile.Sign, 1, dn.Name{C: "CN", O: "虎符测试机构", CN: "虎符测试根"}, point("root"), nil},
		{"ca", "operating-ca", "root", profile.Sign, 2, dn.Name{C: "CN", O: "虎符测试机构", CN: "虎符测试运营 CA"}, point("ca"), nil},
		{"ocsp", "ocsp", "ca", profile.Sign, 3, dn.Name{C: "CN", O: "虎符测试机构", CN: "状态查询"}, point("ocsp"), nil},
		{"person-sign", "person-dual", "ca", profile.Sign, 4, person, alg.Point(&foreign(t).PublicKey), nil},
		{"person-enc", "person-dual", "ca", profile.Enc, 5, person, point("person-enc"), nil},
		{"revoked-sign", "person-dual", "ca", profile.Sign, 6, other, point("revoked-sign"), nil},
		{"email-sign", "person-dual", "ca", profile.Sign, 10, email, point("email-sign"), nil},
		{"long-sign", "person-dual", "ca", profile.Sign, 11, long, point("long-sign"), nil},
		{"device-sign", "device-dual", "ca", profile.Sign, 8, device, point("device-sign"), names},
		{"device-enc", "device-dual", "ca", profile.Enc, 9, device, point("device-enc"), names},
	}
}

// serial has 16 octets, as the CA draws them.
func serial(n byte) []byte {
	return append([]byte{0x40 | n}, alg.Digest([]byte("hufu serial"), []byte{n})[:15]...)
}

// draft is the certificate as profile and linter make it.
func (m made) draft(t testing.TB, issuer *cert.Certificate) certlint.Linted {
	t.Helper()
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p := set[m.profile]
	p.Days.Max = 3660 // longer than the built-in limits, or the vectors would age
	x := certlint.Context{Profile: p, Use: m.use, Issuer: issuer,
		Place: profile.Place{CRL: url + "/crl/shard-3.crl", OCSP: url + "/ocsp", Issuer: url + "/aia/ca.cer"},
		Wish:  profile.Wish{Serial: serial(m.serial), NotBefore: begin, NotAfter: end, Subject: m.subject.Bytes(), Point: m.point, SAN: m.san}}
	l, err := certlint.Check(p.Draft(m.use, x.Wish, issuer, x.Place), x)
	if err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	return l
}

// lists are our revocation lists: unsigned bytes by file name.
func lists(ca *cert.Certificate) map[string][]byte {
	d := crl.Draft{Issuer: ca.Subject, Point: ca.Point, ThisUpdate: begin.AddDate(0, 10, 0), NextUpdate: end, Number: 17}
	empty := d.TBS()
	d.Entries = append(crl.Entry{Serial: serial(6), At: begin.AddDate(0, 1, 0), Reason: 1, Invalid: begin.AddDate(0, 0, 3)}.Bytes(),
		crl.Entry{Serial: serial(7), At: begin.AddDate(0, 2, 0), Reason: 6}.Bytes()...)
	full := d.TBS()
	d.Shard = url + "/crl/shard-3.crl"
	shard := d.TBS()
	d.Shard, d.OnlyCA, d.Entries = "", true, nil
	return map[string][]byte{"full.crl": full, "empty.crl": empty, "shard.crl": shard, "arl.crl": d.TBS()}
}

// question asks about the person and the revoked one, as GmSSL asks: SM3, no NULL.
func question(ca *cert.Certificate, n byte) []byte {
	return ocsp.NewRequest(nil, ocsp.Ask(alg.SM3, false, ca, serial(n)))
}

// answers are our OCSP answers, unsigned, by file name.
func answers(ca, responder *cert.Certificate) map[string][]byte {
	one := func(null bool, n byte, state ocsp.State) []byte {
		s := ocsp.Single{ID: ocsp.Ask(alg.SM3, null, ca, serial(n)).Raw, State: state, ThisUpdate: begin.AddDate(0, 10, 0), NextUpdate: end}
		if state == ocsp.Revoked {
			s.RevokedAt, s.Reason = begin.AddDate(0, 1, 0), 1
		}
		return ocsp.Draft{Responder: responder.Subject, ProducedAt: begin.AddDate(0, 10, 0), Singles: []ocsp.Single{s}}.TBS()
	}
	return map[string][]byte{
		"ocsp-good.der": one(false, 4, ocsp.Good), "ocsp-good-null.der": one(true, 4, ocsp.Good), "ocsp-revoked.der": one(false, 6, ocsp.Revoked),
	}
}

// person's request asks for nothing but the certificate.
func request(t testing.TB) []byte {
	t.Helper()
	der, err := csr.New(all(t)[3].subject.Bytes(), foreign(t))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// seal puts the encryption key in an envelope to the person's signing key, as
// the key centre's device does.
func seal(t testing.TB, signer *cert.Certificate) (sealedkey.Envelope, cms.Envelope) {
	t.Helper()
	plain := append(make([]byte, 32), key("person-enc").D.FillBytes(make([]byte, 32))...)
	session := alg.Digest([]byte("hufu session"))[:16]
	block, err := sm4.NewCipher(session)
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, len(plain))
	for i := 0; i < len(plain); i += 16 {
		block.Encrypt(content[i:], plain[i:i+16])
	}
	text, err := sm2.EncryptASN1(rand.Reader, &foreign(t).PublicKey, session)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := alg.Sign(key("ca"), plain)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sealedkey.FromEnveloped(text, content, point("person-enc"))
	if err != nil {
		t.Fatal(err)
	}
	return e, cms.Envelope{Recipient: cms.RefOf(certificate(t, "person-sign")), SessionKey: text, Content: content,
		Signer: cms.RefOf(signer), Cert: signer.Raw, Signature: sig}
}

// TestUpdate writes our bytes when asked with -update; everybody else reads them.
func TestUpdate(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	write := func(name string, data []byte, err error) {
		t.Helper()
		if err := errors.Join(err, os.WriteFile(filepath.Join("testdata/ours", name), data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range all(t) {
		var issuer *cert.Certificate
		signer := key(m.name)
		if m.issuer != "" {
			issuer, signer = certificate(t, m.issuer), key(m.issuer)
		}
		der, err := m.draft(t, issuer).Seal(signer)
		write(m.name+".pem", cert.PEM(der), err)
	}
	ca := certificate(t, "ca")
	for name, tbs := range lists(ca) {
		der, err := crl.Seal(tbs, key("ca"))
		write(name, der, err)
	}
	for name, tbs := range answers(ca, certificate(t, "ocsp")) {
		der, err := ocsp.Seal(tbs, certificate(t, "ocsp").Raw, key("ocsp"))
		write(name, der, err)
	}
	write("ocsp-ask-good.der", question(ca, 4), nil)
	write("ocsp-ask-revoked.der", question(ca, 6), nil)
	write("person.csr", csr.PEM(request(t)), nil)
	envelope, signed := seal(t, ca)
	write("person-enc.sealed", envelope.Bytes(), nil)
	write("person-enc.session.sm2", envelope.SessionKey, nil)
	write("person-enc.p7", pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: cms.Wrap(signed.Bytes())}), nil)
	write("device-sign.key", keyfile.Plain(key("device-sign")), nil)
	text, err := keyfile.Encrypt(key("device-sign"), []byte(password))
	write("device-sign.sm4.key", text, err)
	text, err = keyfile.Seal(keyfile.Info(key("device-sign")), []byte(password), true)
	write("device-sign.aes.key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: text}), err)
	text, err = pfx.Encode([]pfx.Entry{{Name: "sign", Key: key("device-sign"), Cert: certificate(t, "device-sign").Raw},
		{Name: "enc", Key: key("device-enc"), Cert: certificate(t, "device-enc").Raw}}, [][]byte{ca.Raw}, password)
	write("device.p12", text, err)
	text, err = alg.Sign(key("device-sign"), message)
	write("message.sig", text, err)
	text, err = sm2.EncryptASN1(rand.Reader, &foreign(t).PublicKey, message)
	write("message.sm2", text, err)
	write("message", message, nil)
}

var message = []byte("虎符 interop\n")
