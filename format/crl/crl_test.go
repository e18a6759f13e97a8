package crl_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
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

var (
	key    = func() *sm2.PrivateKey { k, _ := sm2.GenerateKey(rand.Reader); return k }()
	issuer = dn.Name{C: "CN", O: "机构", CN: "运营 CA"}.Bytes()
	from   = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
)

func draft(entries ...crl.Entry) crl.Draft {
	d := crl.Draft{Issuer: issuer, Point: alg.Point(&key.PublicKey), ThisUpdate: from, NextUpdate: from.AddDate(0, 0, 7), Number: 300}
	for _, e := range entries {
		d.Entries = append(d.Entries, e.Bytes()...)
	}
	return d
}

func seal(t testing.TB, d crl.Draft) []byte {
	t.Helper()
	der, err := crl.Seal(d.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestListsOfOtherToolsAreReadAndVerify(t *testing.T) {
	for _, tool := range []string{"gmssl", "tongsuo"} {
		l, err := crl.Parse(vector(t, tool+"/sub.crl"))
		if err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		sub, client := certificate(t, tool+"/sub.pem"), certificate(t, tool+"/client.pem")
		if err := alg.Verify(sub.PublicKey(), l.RawTBS, l.Signature); err != nil || !bytes.Equal(l.Issuer, sub.Subject) {
			t.Errorf("%s: %v, issuer %s", tool, err, dn.Text(l.Issuer))
		}
		if len(l.Entries) != 1 || !bytes.Equal(l.Entries[0].Serial, client.Serial.Bytes()) || l.Entries[0].Reason != 1 || l.Number.Int64() != 1 {
			t.Errorf("%s: %+v", tool, l)
		}
		if want := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); tool == "gmssl" && !l.Entries[0].Invalid.Equal(want) {
			t.Errorf("invalid since %v", l.Entries[0].Invalid)
		}
		if l.NextUpdate.Sub(l.ThisUpdate) != 7*24*time.Hour {
			t.Errorf("%s: from %v to %v", tool, l.ThisUpdate, l.NextUpdate)
		}
	}
}

func TestAListIsReadAsItWasWritten(t *testing.T) {
	entries := []crl.Entry{
		{Serial: []byte{0x81}, At: from, Reason: 1, Invalid: from.AddDate(0, -1, 0)}, {Serial: []byte{2}, At: from.Add(time.Hour), Reason: 6},
		{Serial: bytes.Repeat([]byte{0x7f}, 20), At: from},
	}
	der := seal(t, draft(entries...))
	l, err := crl.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := alg.Verify(&key.PublicKey, l.RawTBS, l.Signature); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(l.RawTBS, draft(entries...).TBS()) || !bytes.Equal(l.Issuer, issuer) || l.Number.Int64() != 300 || !l.ThisUpdate.Equal(from) {
		t.Errorf("%+v", l)
	}
	for i, e := range l.Entries {
		if !bytes.Equal(e.Bytes(), entries[i].Bytes()) {
			t.Errorf("entry %d became %+v", i, e)
		}
	}
	other, err := smx509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(other.RevokedCertificateEntries) != 3 || other.RevokedCertificateEntries[1].ReasonCode != 6 || other.Number.Int64() != 300 {
		t.Errorf("gmsm reads %+v", other)
	}
}

// Reason 0 is better left out (RFC 5280 §5.3.1), and then the extensions are too.
func TestAnUnspecifiedReasonIsLeftOut(t *testing.T) {
	const want = "3012020105170d3236313132343038303030305a"
	if got := hex.EncodeToString(crl.Entry{Serial: []byte{5}, At: from}.Bytes()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (crl.Entry{Serial: []byte{5}, At: from, Reason: 6}.Bytes()); !bytes.Contains(got, []byte{0x06, 3, 0x55, 0x1d, 0x15, 0x04, 3, 0x0a, 1, 6}) {
		t.Errorf("%x", got)
	}
}

// A partition says which it is, and critically; the full list does not.
func TestOnlyAPartOfTheListHasADistributionPoint(t *testing.T) {
	idp := []byte{0x06, 3, 0x55, 0x1d, 0x1c}
	critical := append(bytes.Clone(idp), 1, 1, 0xff)
	full, shard, arl := draft(), draft(), draft()
	shard.Shard, arl.OnlyCA = "http://x.cn/crl/shard-3.crl", true
	if bytes.Contains(full.TBS(), idp) {
		t.Error("the full list has a distribution point")
	}
	for name, d := range map[string]crl.Draft{"shard": shard, "arl": arl} {
		if !bytes.Contains(d.TBS(), critical) {
			t.Errorf("%s: no critical distribution point", name)
		}
		if _, err := crl.Parse(seal(t, d)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The name must be, byte for byte, that of the certificate's extension.
	point := cert.CRLDistribution(shard.Shard).Value
	if !bytes.Contains(shard.TBS(), point[4:]) {
		t.Errorf("the list's point is not the certificate's: %x", point)
	}
}

func TestAnEmptyListHasNoListOfEntries(t *testing.T) {
	l, err := crl.Parse(seal(t, draft()))
	if err != nil || len(l.Entries) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := smx509.ParseRevocationList(seal(t, draft())); err != nil {
		t.Error(err)
	}
}

func TestListsAfter2049UseGeneralizedTime(t *testing.T) {
	d := draft(crl.Entry{Serial: []byte{1}, At: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)})
	d.ThisUpdate, d.NextUpdate = time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2050, 1, 7, 0, 0, 0, 0, time.UTC)
	for _, want := range []string{"\x17\x0d491231000000Z\x18\x0f20500107000000Z", "\x18\x0f20500101000000Z"} {
		if !strings.Contains(string(d.TBS()), want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestOpenSSLShowsTheList(t *testing.T) {
	d := draft(crl.Entry{Serial: []byte{0x81}, At: from, Reason: 6})
	d.Shard = "http://x.cn/crl/shard-3.crl"
	out := openssltest.Must(t, seal(t, d), "crl", "-inform", "DER", "-noout", "-text")
	for _, want := range []string{"Version 2", "SM2-with-SM3", "Serial Number: 81", "Certificate Hold", "Issuing Distribution Point: critical", "URI:http://x.cn/crl/shard-3.crl", "X509v3 CRL Number: \n                300"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	good := vector(t, "tongsuo/sub.crl")
	short := good[:len(good)-1]
	v1 := bytes.Replace(bytes.Clone(good), []byte{2, 1, 1}, []byte{2, 1, 0}, 1)
	negative := seal(t, draft(crl.Entry{Serial: []byte{0x41}, At: from}))
	negative[bytes.Index(negative, []byte{2, 1, 0x41})+2] = 0xbf
	after := draft().TBS()
	after = append(after, 5, 0)
	after[2] += 2 // a NULL after the extensions, in a signed part of 128 to 253 octets
	sig, err := alg.Sign(key, after)
	if err != nil || after[1] != 0x81 {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"a NULL after the extensions": cert.Assemble(after, sig),
		"nothing":                     nil, "cut": short, "bytes after it": append(bytes.Clone(good), 0), "version 1": v1,
		"a certificate": certificate(t, "tongsuo/sub.pem").Raw, "a negative serial": negative,
	} {
		if l, err := crl.Parse(der); !errors.Is(err, crl.ErrSyntax) {
			t.Errorf("%s: %+v %v", name, l, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(vector(f, "gmssl/sub.crl"))
	f.Add(vector(f, "tongsuo/sub.crl"))
	d := draft(crl.Entry{Serial: []byte{0x81}, At: from, Reason: 6}, crl.Entry{Serial: []byte{1}, At: from})
	d.Shard, d.OnlyCA = "http://x.cn/crl/shard-3.crl", true
	f.Add(seal(f, d))
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := crl.Parse(der)
		if err != nil {
			if !errors.Is(err, crl.ErrSyntax) {
				t.Error(err)
			}
			return
		}
		for _, e := range l.Entries {
			_ = e.Bytes()
		}
	})
}

func TestEntriesAreLeftOutAndCutWhole(t *testing.T) {
	var list []crl.Entry
	for n := range 300 {
		list = append(list, crl.Entry{Serial: []byte{0x80 | byte(n>>8), byte(n)}, At: from, Reason: n % 2}) // a leading zero in DER
	}
	d := draft(list...)
	head, entries, tail, err := crl.Split(d.TBS())
	if err != nil || !bytes.Equal(entries, d.Entries) || len(head)+len(entries)+len(tail) != len(d.TBS()) {
		t.Fatalf("split: %v", err)
	}
	pieces, err := crl.Cut(entries, 1000)
	if err != nil || len(pieces) < 5 || !bytes.Equal(bytes.Join(pieces, nil), entries) {
		t.Errorf("%d pieces: %v", len(pieces), err)
	}
	for _, p := range pieces {
		if _, err := crl.Without(p, map[string]struct{}{"x": {}}); err != nil {
			t.Error(err)
		}
	}
	gone := map[string]struct{}{string(list[0].Serial): {}, string(list[7].Serial): {}, string(list[299].Serial): {}, "\x01": {}}
	left, err := crl.Without(entries, gone)
	want := draft(append(append([]crl.Entry{}, list[1:7]...), list[8:299]...)...).Entries
	if err != nil || !bytes.Equal(left, want) {
		t.Errorf("left %d octets, want %d: %v", len(left), len(want), err)
	}
	for n := range entries[:40] {
		for _, b := range [][]byte{entries[:n], append([]byte{0x31}, entries...)} {
			_, err1 := crl.Without(b, gone)
			_, err2 := crl.Cut(b, 10)
			if n > 0 && n != len(list[0].Bytes()) && (!errors.Is(err1, crl.ErrSyntax) || !errors.Is(err2, crl.ErrSyntax)) {
				t.Errorf("%d octets: %v, %v", n, err1, err2)
			}
		}
	}
	if _, _, _, err := crl.Split(entries); !errors.Is(err, crl.ErrSyntax) {
		t.Errorf("entries alone: %v", err)
	}
}
