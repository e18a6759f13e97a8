package interop

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/pfx"
	"github.com/hufu-pki/hufu/format/sealedkey"
)

// What other tools accepted is, signature apart, what the code writes today.
func TestTheAcceptedBytesAreWhatWeWriteToday(t *testing.T) {
	same := func(name string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: written today\n%x, accepted was\n%x", name, got, want)
		}
	}
	for _, m := range all(t) {
		var issuer *cert.Certificate
		if m.issuer != "" {
			issuer = certificate(t, m.issuer)
		}
		same(m.name, m.draft(t, issuer).TBS(), certificate(t, m.name).RawTBS)
	}
	ca, responder := certificate(t, "ca"), certificate(t, "ocsp")
	for name, tbs := range lists(ca) {
		l, err := crl.Parse(file(t, "ours/"+name))
		if err != nil {
			t.Fatal(name, err)
		}
		same(name, tbs, l.RawTBS)
	}
	for name, tbs := range answers(ca, responder) {
		r, err := ocsp.Parse(file(t, "ours/"+name))
		if err != nil {
			t.Fatal(name, err)
		}
		same(name, tbs, r.RawTBS)
	}
	same("ocsp-ask-good.der", question(ca, 4), file(t, "ours/ocsp-ask-good.der"))
	same("ocsp-ask-revoked.der", question(ca, 6), file(t, "ours/ocsp-ask-revoked.der"))
	same("device-sign.key", keyfile.Plain(key("device-sign")), file(t, "ours/device-sign.key"))
	signed, _ := part(t, request(t))
	accepted, _ := part(t, block(t, "person.csr"))
	same("person.csr", signed, accepted)

	e, err := sealedkey.Parse(file(t, "ours/person-enc.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	same("person-enc.sealed", e.Bytes(), file(t, "ours/person-enc.sealed"))
	p7, err := cms.Parse(block(t, "person-enc.p7"))
	if err != nil {
		t.Fatal(err)
	}
	same("person-enc.p7", cms.Wrap(p7.Bytes()), block(t, "person-enc.p7"))
}

func block(t testing.TB, name string) []byte {
	t.Helper()
	b, _ := pem.Decode(file(t, "ours/"+name))
	if b == nil {
		t.Fatal(name, "is not PEM")
	}
	return b.Bytes
}

func TestWeReadOurOwn(t *testing.T) {
	for _, m := range all(t) {
		issuer := m.issuer
		if issuer == "" {
			issuer = m.name
		}
		if err := certificate(t, m.name).SignedBy(certificate(t, issuer)); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	ca := certificate(t, "ca")
	for _, name := range []string{"ocsp-good.der", "ocsp-good-null.der", "ocsp-revoked.der"} {
		r, err := ocsp.Parse(file(t, "ours/"+name))
		if err != nil {
			t.Fatal(name, err)
		}
		if err := r.Verify(ca, now); err != nil || r.KeyHash != nil || !bytes.Equal(r.Responder, certificate(t, "ocsp").Subject) {
			t.Errorf("%s: %v, responder %x", name, err, r.Responder)
		}
	}
	if _, err := csr.Parse(file(t, "ours/person.csr")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"device-sign.key", "device-sign.sm4.key", "device-sign.aes.key"} {
		if k, err := keyfile.Read(file(t, "ours/"+name), []byte(password)); err != nil || k.D.Cmp(key("device-sign").D) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, chain, err := pfx.Decode(file(t, "ours/device.p12"), password)
	if err != nil || len(entries) != 2 || len(chain) != 1 || entries[1].Key.D.Cmp(key("device-enc").D) != 0 {
		t.Errorf("%d entries, %d in the chain: %v", len(entries), len(chain), err)
	}
	e, err := sealedkey.Parse(file(t, "ours/person-enc.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	if pair, err := e.Open(foreign(t)); err != nil || pair.D.Cmp(key("person-enc").D) != 0 {
		t.Errorf("sealed key: %v", err)
	}
	p7, err := cms.Parse(block(t, "person-enc.p7"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := p7.Open(foreign(t), ca.PublicKey()); err != nil || len(plain) != 64 {
		t.Errorf("envelope: %v", err)
	}
	if err := alg.Verify(certificate(t, "device-sign").PublicKey(), message, file(t, "ours/message.sig")); err != nil {
		t.Error(err)
	}
	if plain, err := foreign(t).Decrypt(nil, file(t, "ours/message.sm2"), nil); err != nil || !bytes.Equal(plain, message) {
		t.Errorf("message: %v", err)
	}
}

var row = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([0-9a-f]{8})` \\|")

// The table of acceptance is about these bytes and no others.
func TestTheTableIsAboutTheseBytes(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(file(t, "README.md")), -1) {
		listed[m[1]] = true
		if got := hex.EncodeToString(alg.Digest(file(t, "ours/"+m[1]))[:4]); got != m[2] {
			t.Errorf("%s is %s, the table is about %s: ask the other tools again", m[1], got, m[2])
		}
	}
	names, err := filepath.Glob("testdata/ours/*")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if !listed[filepath.Base(name)] {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// part splits SIGNED { … } into the bytes signed and the signature.
func part(t testing.TB, der []byte) (signed, sig []byte) {
	t.Helper()
	signed, sig, err := split(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, sig
}

func split(der []byte) (signed, sig []byte, err error) {
	_, body, _, ok := element(der)
	if !ok {
		return nil, nil, fmt.Errorf("not a SEQUENCE")
	}
	signed, _, rest, ok := element(body)
	_, _, rest, ok2 := element(rest)
	_, sig, _, ok3 := element(rest)
	if !ok || !ok2 || !ok3 || len(sig) < 2 {
		return nil, nil, fmt.Errorf("not signed")
	}
	return signed, sig[1:], nil
}

// element takes one DER element off: whole, its content, and what follows.
func element(der []byte) (whole, content, rest []byte, ok bool) {
	if len(der) < 2 {
		return nil, nil, nil, false
	}
	n, head := int(der[1]), 2
	if n > 0x80 {
		head += n - 0x80
		if head > 4 || len(der) < head {
			return nil, nil, nil, false
		}
		size, err := strconv.ParseInt(hex.EncodeToString(der[2:head]), 16, 32)
		if err != nil {
			return nil, nil, nil, false
		}
		n = int(size)
	}
	if len(der) < head+n {
		return nil, nil, nil, false
	}
	return der[:head+n], der[head : head+n], der[head+n:], true
}

func temp(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func contains(t testing.TB, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s: no %q in\n%s", what, want, text)
		}
	}
}
