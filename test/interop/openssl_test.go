package interop

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/openssltest"
	"github.com/hufu-pki/hufu/format/sealedkey"
)

// Debian's OpenSSL 3.0 is on every build machine, so it is asked each time.
func openssl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return openssltest.Run(t, nil, args...)
}

func must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := openssl(t, args...)
	if err != nil {
		t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

const distid = "distid:1234567812345678"

func ours(name string) string { return "testdata/ours/" + name }

// The signer ID reaches the leaf only, so a chain is verified level by level.
func TestOpenSSLVerifiesOurChainALevelAtATime(t *testing.T) {
	at := strconv.FormatInt(now.Unix(), 10)
	for _, m := range all(t) {
		issuer := m.issuer
		if issuer == "" {
			issuer = m.name
		}
		out := must(t, "verify", "-partial_chain", "-x509_strict", "-attime", at, "-vfyopt", distid, "-CAfile", ours(issuer+".pem"), ours(m.name+".pem"))
		contains(t, m.name, out, ": OK")
	}
	if out, err := openssl(t, "verify", "-partial_chain", "-attime", at, "-CAfile", ours("ca.pem"), ours("device-sign.pem")); err == nil {
		t.Errorf("without the default signer ID it verifies too: %s", out)
	}
}

// What openssl cannot verify by name, for want of an option for the signer ID,
// it verifies by its bytes.
func TestOpenSSLVerifiesEverySignature(t *testing.T) {
	for name, der := range map[string][]byte{
		"full.crl": file(t, "ours/full.crl"), "empty.crl": file(t, "ours/empty.crl"),
		"shard.crl": file(t, "ours/shard.crl"), "arl.crl": file(t, "ours/arl.crl"),
	} {
		signed, sig := part(t, der)
		verify(t, name, "ca.pem", signed, sig)
	}
	signed, sig := part(t, certificate(t, "root").Raw) // verify trusts a root without looking
	verify(t, "root.pem", "root.pem", signed, sig)
	for _, name := range []string{"ocsp-good.der", "ocsp-good-null.der", "ocsp-revoked.der"} {
		r, err := ocsp.Parse(file(t, "ours/"+name))
		if err != nil {
			t.Fatal(err)
		}
		verify(t, name, "ocsp.pem", r.RawTBS, r.Signature)
	}
	verify(t, "message", "device-sign.pem", file(t, "ours/message"), file(t, "ours/message.sig"))
	contains(t, "request", must(t, "req", "-verify", "-noout", "-vfyopt", distid, "-in", ours("person.csr")), "verify OK")
}

func verify(t *testing.T, name, by string, signed, sig []byte) {
	t.Helper()
	out := must(t, "pkeyutl", "-verify", "-certin", "-inkey", ours(by), "-rawin", "-digest", "sm3", "-pkeyopt", distid,
		"-in", temp(t, "tbs", signed), "-sigfile", temp(t, "sig", sig))
	contains(t, name, out, "Verified Successfully")
}

func TestOpenSSLShowsOurCertificates(t *testing.T) {
	show := func(name string) string {
		return must(t, "x509", "-noout", "-text", "-nameopt", "utf8,sep_comma_plus_space,show_type", "-in", ours(name+".pem"))
	}
	contains(t, "person-sign", show("person-sign"),
		"C=PRINTABLESTRING:CN, ST=UTF8STRING:北京市, L=UTF8STRING:海淀区, O=UTF8STRING:某某局, OU=UTF8STRING:办公厅, OU=UTF8STRING:信息处, CN=UTF8STRING:张三䶮",
		"X509v3 Key Usage: critical\n                Digital Signature, Non Repudiation\n",
		"Policy: 2.999.1.1.1", "URI:http://pki.example.cn/crl/shard-3.crl", "OCSP - URI:http://pki.example.cn/ocsp", "Signature Algorithm: SM2-with-SM3", "ASN1 OID: SM2")
	contains(t, "person-enc", show("person-enc"), "X509v3 Key Usage: critical\n                Key Encipherment, Data Encipherment, Key Agreement\n")
	contains(t, "email-sign", show("email-sign"), "emailAddress=IA5STRING:zhang@example.cn")
	contains(t, "device-sign", show("device-sign"), "DNS:www.example.cn, IP Address:192.0.2.7", "TLS Web Server Authentication, TLS Web Client Authentication")
	contains(t, "ocsp", show("ocsp"), "X509v3 Extended Key Usage: \n                OCSP Signing\n", "OCSP No Check")
	contains(t, "ca", show("ca"), "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0", "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n")
	for _, leaf := range []string{"person-sign", "person-enc", "device-sign", "ocsp"} {
		if strings.Contains(show(leaf), "Basic Constraints") {
			t.Errorf("%s has basic constraints", leaf)
		}
	}
}

func TestOpenSSLShowsOurLists(t *testing.T) {
	show := func(name string) string {
		return must(t, "crl", "-inform", "DER", "-noout", "-text", "-in", ours(name))
	}
	full, shard := show("full.crl"), show("shard.crl")
	contains(t, "full", full, "Version 2", "X509v3 CRL Number: \n                17", "Serial Number: "+strings.ToUpper(hex.EncodeToString(serial(6))),
		"Revocation Date: Feb  1 00:00:00 2026 GMT", "Key Compromise", "Invalidity Date: \n                Jan  4 00:00:00 2026 GMT", "Certificate Hold", "Next Update: Jan  1 00:00:00 2036 GMT")
	if strings.Contains(full, "Issuing Distribution Point") {
		t.Error("the full list has a distribution point")
	}
	contains(t, "shard", shard, "X509v3 Issuing Distribution Point: critical\n", "URI:http://pki.example.cn/crl/shard-3.crl")
	contains(t, "arl", show("arl.crl"), "X509v3 Issuing Distribution Point: critical\n", "Only CA Certificates", "No Revoked Certificates")
}

func TestOpenSSLReadsOurAnswersAndKeys(t *testing.T) {
	for name, state := range map[string]string{"good": "good", "good-null": "good", "revoked": "revoked"} {
		contains(t, name, must(t, "ocsp", "-respin", ours("ocsp-"+name+".der"), "-noverify", "-resp_text"), "Responder Id: C = CN, O = ", "Cert Status: "+state)
	}
	contains(t, "question", must(t, "ocsp", "-reqin", ours("ocsp-ask-good.der"), "-noverify", "-req_text"), "Hash Algorithm: sm3")
	for _, name := range []string{"device-sign.key", "device-sign.sm4.key", "device-sign.aes.key"} {
		contains(t, name, must(t, "pkey", "-in", ours(name), "-passin", "pass:"+password, "-noout", "-check"), "Key is valid")
	}
	p12 := must(t, "pkcs12", "-in", ours("device.p12"), "-passin", "pass:"+password, "-nodes")
	if strings.Count(p12, "BEGIN PRIVATE KEY") != 2 || strings.Count(p12, "BEGIN CERTIFICATE") != 3 {
		t.Error(p12)
	}
}

// The sealed key opens step by step without any code of ours: session key with
// SM2, private key with SM4-ECB.
func TestOpenSSLOpensTheSealedKey(t *testing.T) {
	e, err := sealedkey.Parse(file(t, "ours/person-enc.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	owner := temp(t, "owner.key", keyfile.Plain(foreign(t)))
	out := must(t, "pkeyutl", "-decrypt", "-inkey", owner, "-in", temp(t, "session", e.SessionKey), "-hexdump")
	session := strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(strings.SplitN(strings.SplitN(out, " - ", 2)[1], "   ", 2)[0]))
	plain := must(t, "enc", "-d", "-sm4-ecb", "-nopad", "-K", session, "-in", temp(t, "content", e.Content))
	if want := key("person-enc").D.FillBytes(make([]byte, 32)); !bytes.Equal([]byte(plain), want) {
		t.Errorf("%x came out, sealed was %x", plain, want)
	}
}
