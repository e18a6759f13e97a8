package profile_test

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
)

func newKey(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func builtin(t testing.TB) profile.Set {
	t.Helper()
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var at = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// draft is a certificate of a profile, as the CA would sign it.
func draft(t testing.TB, p profile.Profile, use profile.Use, issuer *cert.Certificate) *cert.Certificate {
	t.Helper()
	w := profile.Wish{Serial: []byte{0x41, 2, 3}, NotBefore: at, NotAfter: at.AddDate(1, 0, 0), Subject: dn.Name{C: "CN", O: "某某局", CN: "x.cn"}.Bytes(),
		Point: alg.Point(&newKey(t).PublicKey)}
	if p.NeedSAN {
		w.SAN = []cert.AltName{{Kind: "dns", Value: "x.cn"}}
	}
	c, err := cert.ParseTBS(p.Draft(use, w, issuer, profile.Place{CRL: "http://x/crl/shard-3.crl", OCSP: "http://x/ocsp", Issuer: "http://x/ca.cer"}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// every calls f with each certificate each profile makes.
func every(t *testing.T, f func(name string, p profile.Profile, use profile.Use, c, issuer *cert.Certificate)) {
	set := builtin(t)
	root := draft(t, set["root-ca"], profile.Sign, nil)
	for name, p := range set {
		for _, use := range []profile.Use{profile.Sign, profile.Enc} {
			switch {
			case p.Usage == "root":
				f(name, p, profile.Sign, root, root)
			case use == profile.Sign || p.Dual:
				f(name, p, use, draft(t, p, use, root), root)
			}
		}
	}
}

// An empty BasicConstraints is correct DER, but makes GmSSL refuse the leaf.
func TestLeavesCarryNoBasicConstraints(t *testing.T) {
	every(t, func(name string, p profile.Profile, use profile.Use, c, _ *cert.Certificate) {
		e, there := c.Extension(cert.BasicConstraints)
		if leaf := p.Usage == "sign"; there == leaf || there && (!e.Critical || !bytes.HasPrefix(e.Value, []byte{0x30, e.Value[1], 1, 1, 0xff})) {
			t.Errorf("%s %s: %v %x", name, use, there, e.Value)
		}
	})
}

func TestKeyUsageIsCriticalAndExact(t *testing.T) {
	every(t, func(name string, p profile.Profile, use profile.Use, c, _ *cert.Certificate) {
		want := []byte{3, 2, 6, 0xC0}
		switch {
		case p.Usage != "sign":
			want = []byte{3, 2, 1, 6}
		case use == profile.Enc:
			want = []byte{3, 2, 3, 0x38}
		}
		if e, ok := c.Extension(cert.KeyUsageID); !ok || !e.Critical || !bytes.Equal(e.Value, want) {
			t.Errorf("%s %s: %x", name, use, e.Value)
		}
	})
}

func TestKeyIdentifiersLinkToTheIssuer(t *testing.T) {
	every(t, func(name string, _ profile.Profile, use profile.Use, c, issuer *cert.Certificate) {
		aki, ok := c.Extension(cert.AuthorityKeyID)
		ski, ok2 := c.Extension(cert.SubjectKeyID)
		up, ok3 := issuer.Extension(cert.SubjectKeyID)
		if !ok || !ok2 || !ok3 || !bytes.Equal(aki.Value[4:], up.Value[2:]) || !bytes.Equal(ski.Value[2:], cert.KeyID(c.Point)) || !bytes.Equal(c.Issuer, issuer.Subject) {
			t.Errorf("%s %s: %x above %x", name, use, aki.Value, up.Value)
		}
	})
}

// Order No. 4 of 2024, article 19(5); and 0043 wants a list that can be fetched.
func TestEveryCertificateNamesItsPolicyAndItsList(t *testing.T) {
	every(t, func(name string, p profile.Profile, use profile.Use, c, _ *cert.Certificate) {
		if p.Plain {
			return // a root answers to nobody
		}
		if _, ok := c.Extension(cert.Policies); !ok {
			t.Errorf("%s %s: no policy", name, use)
		}
		urls := c.URLs()
		if !p.NoCheck && (len(urls["crl"]) == 0 || !strings.HasPrefix(urls["crl"][0], "http://")) || len(urls["ocsp"]) != 1 || len(urls["issuer"]) != 1 {
			t.Errorf("%s %s: %v", name, use, urls)
		}
	})
}

// The two certificates of a pair say the same of their subject and differ in
// key usage; what they may be used for does not contradict it.
func TestAPairDiffersInKeyAndUsageOnly(t *testing.T) {
	set := builtin(t)
	root := draft(t, set["root-ca"], profile.Sign, nil)
	for name, p := range set {
		if !p.Dual {
			continue
		}
		sign, enc := draft(t, p, profile.Sign, root), draft(t, p, profile.Enc, root)
		if !bytes.Equal(sign.Subject, enc.Subject) || !bytes.Equal(sign.Validity, enc.Validity) {
			t.Errorf("%s: two subjects or terms", name)
		}
		for _, id := range []asn1.ObjectIdentifier{cert.Policies, cert.SubjectAltName, cert.CRLPoints, cert.AuthorityKeyID} {
			a, _ := sign.Extension(id)
			b, _ := enc.Extension(id)
			if !bytes.Equal(a.Value, b.Value) {
				t.Errorf("%s: %v differs", name, id)
			}
		}
		if strings.Contains(strings.Join(p.EncEKU, " "), "Signing") || strings.Contains(strings.Join(p.EncEKU, " "), "timeStamping") {
			t.Errorf("%s: an encryption certificate may sign", name)
		}
	}
}

// RFC 6960 §4.2.2.2.1: a responder says so, alone, and is not asked about itself.
func TestAResponderMayOnlyAnswer(t *testing.T) {
	c := draft(t, builtin(t)["ocsp"], profile.Sign, draft(t, builtin(t)["root-ca"], profile.Sign, nil))
	e, _ := c.Extension(cert.ExtKeyUsageID)
	if _, ok := c.Extension(cert.OCSPNoCheck); !ok || !bytes.Equal(e.Value, cert.ExtKeyUsage(false, cert.UsageOCSPSigning).Value) {
		t.Errorf("%x", e.Value)
	}
	if _, ok := c.Extension(cert.CRLPoints); ok {
		t.Error("it has a list of its own")
	}
}

func TestATimeStamperMayOnlyStampAndCritically(t *testing.T) {
	p := builtin(t)["staff"]
	p.SignEKU = []string{"timeStamping"}
	if e, _ := draft(t, p, profile.Sign, nil).Extension(cert.ExtKeyUsageID); !e.Critical {
		t.Error("not critical")
	}
	p.SignEKU = []string{"timeStamping", "clientAuth"}
	if e, _ := draft(t, p, profile.Sign, nil).Extension(cert.ExtKeyUsageID); e.Critical {
		t.Error("critical though not alone")
	}
}

func TestAProfileIsReadStrictly(t *testing.T) {
	const good = `{"name":"x","policy":"2.999.1","usage":"sign","subject":[],"days":{"default":1,"max":2}}`
	if p, err := profile.Parse([]byte(good)); err != nil || p.Name != "x" {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"nothing":                      ``,
		"an unknown field":             strings.Replace(good, `"name"`, `"basic_constraints":true,"name"`, 1),
		"no policy":                    strings.Replace(good, `"policy":"2.999.1",`, ``, 1),
		"a policy that is no OID":      strings.Replace(good, "2.999.1", "2.999.x", 1),
		"a policy with a sign":         strings.Replace(good, "2.999.1", "2.999.+1", 1),
		"a policy with zeros in front": strings.Replace(good, "2.999.1", "2.999.01", 1),
		"a policy no reader takes":     strings.Replace(good, "2.999.1", "2.999.99999999999", 1),
		"an unknown purpose":           strings.Replace(good, `"usage"`, `"sign_eku":["codeSigning"],"usage"`, 1),
		"a misspelt usage":             strings.Replace(good, `"usage":"sign"`, `"usage":"Sign"`, 1),
		"an unknown envelope":          strings.Replace(good, `"usage"`, `"dual":true,"envelope":"skf","usage"`, 1),
		"an envelope for nothing":      strings.Replace(good, `"usage"`, `"envelope":"p7","usage"`, 1),
		"no usage":                     strings.Replace(good, `"usage":"sign",`, ``, 1),
		"a second profile":             good + good,
		"a brace too many":             good + "}",
	} {
		if p, err := profile.Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v, key usage %x", what, p, p.KeyUsage(profile.Sign))
		}
	}
}

func TestObjectIdentifiersAreReadAsTheyAreWritten(t *testing.T) {
	for text, ok := range map[string]bool{"1.2.156.10197.1.501": true, "2.999": true, "0.39": true, "0.40": false, "3.1": false, "1": false, "": false, "1..2": false,
		"1.-2": false, "1.2.": false, "2.2147483567.1": true, "2.2147483568": false, "1.2.2147483647": true, "1.2.2147483648": false} {
		id, err := profile.OID(text)
		if (err == nil) != ok || ok && id.String() != text {
			t.Errorf("%q: %v %v", text, id, err)
		}
		if !ok {
			continue
		}
		e := cert.Policy(id, "")
		var read []struct{ ID asn1.ObjectIdentifier }
		if _, err := asn1.Unmarshal(e.Value, &read); err != nil || read[0].ID.String() != text {
			t.Errorf("%q is written as %x: %v", text, e.Value, err)
		}
	}
}

// Both sides hold the same profile when its digest says so.
func TestADigestIsOfEverythingInAProfile(t *testing.T) {
	p := builtin(t)["person-dual"]
	other := p
	other.Days.Max++
	if !bytes.Equal(p.Digest(), builtin(t)["person-dual"].Digest()) || bytes.Equal(p.Digest(), other.Digest()) {
		t.Error("the digest does not follow the profile")
	}
}

func TestASubjectIsCheckedFieldByField(t *testing.T) {
	p := builtin(t)["person-dual"]
	good := dn.Name{C: "CN", ST: "北京市", O: "某某局", OU: dn.Units{"办公厅", "信息处"}, E: "zhang@example.cn", CN: "张三䶮㐂𠮷·Li Si"}
	if f := p.CheckSubject(good); f != nil {
		t.Fatalf("%+v", f)
	}
	for what, tt := range map[string]struct {
		change func(*dn.Name)
		field  string
	}{
		"no name":                  {func(n *dn.Name) { n.CN = "" }, "subject.CN"},
		"another country":          {func(n *dn.Name) { n.C = "US" }, "subject.C"},
		"65 characters":            {func(n *dn.Name) { n.CN = strings.Repeat("张", 65) }, "subject.CN"},
		"five units":               {func(n *dn.Name) { n.OU = dn.Units{"a", "b", "c", "d", "e"} }, "subject.OU"},
		"a blank before":           {func(n *dn.Name) { n.O = " 某某局" }, "subject.O"},
		"a line break":             {func(n *dn.Name) { n.O = "某\n局" }, "subject.O"},
		"a bidirectional override": {func(n *dn.Name) { n.CN = "a\u202eb" }, "subject.CN"},
		"nothing to see":           {func(n *dn.Name) { n.CN = "张\u200b三" }, "subject.CN"},
		"a private character":      {func(n *dn.Name) { n.CN = "张\ue000" }, "subject.CN"},
		"not UTF-8":                {func(n *dn.Name) { n.CN = "张\xff" }, "subject.CN"},
		"an address with a name":   {func(n *dn.Name) { n.E = "Zhang <zhang@example.cn>" }, "subject.E"},
		"a Chinese address":        {func(n *dn.Name) { n.E = "张@example.cn" }, "subject.E"},
	} {
		n := good
		tt.change(&n)
		if f := p.CheckSubject(n); f == nil || f.Field != tt.field || f.Why == "" || f.Fix == "" || f.Clause == "" {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if f := builtin(t)["ocsp"].CheckSubject(dn.Name{C: "CN", O: "某某局", CN: "x", E: "a@b.cn"}); f == nil || f.Field != "subject.E" {
		t.Errorf("an item the profile has not: %+v", f)
	}
}

func TestAlternativeNamesAreCheckedOneByOne(t *testing.T) {
	device, person := builtin(t)["device-dual"], builtin(t)["person-dual"]
	needy := device
	needy.NeedSAN = true
	dns := func(v string) cert.AltName { return cert.AltName{Kind: "dns", Value: v} }
	for what, tt := range map[string]struct {
		p     profile.Profile
		names []cert.AltName
		field string
	}{
		"a host and an address":        {device, []cert.AltName{dns("www.example.cn"), dns("*.example.cn"), {Kind: "ip", Value: "2001:db8::1"}}, ""},
		"none where one is needed":     {needy, nil, "san"},
		"a kind the profile has not":   {person, []cert.AltName{dns("x.cn")}, "san[0]"},
		"the same twice":               {device, []cert.AltName{dns("x.cn"), dns("x.cn")}, "san[1]"},
		"capitals":                     {device, []cert.AltName{dns("X.cn")}, "san[0]"},
		"Chinese":                      {device, []cert.AltName{dns("虎符.cn")}, "san[0]"},
		"a star inside":                {device, []cert.AltName{dns("a.*.cn")}, "san[0]"},
		"an address written otherwise": {device, []cert.AltName{{Kind: "ip", Value: "2001:DB8::1"}}, "san[0]"},
		"a network":                    {device, []cert.AltName{{Kind: "ip", Value: "192.0.2.0/24"}}, "san[0]"},
		"a zone":                       {device, []cert.AltName{{Kind: "ip", Value: "fe80::1%eth0"}}, "san[0]"},
		"twenty-one":                   {device, make([]cert.AltName, 21), "san"},
	} {
		f := tt.p.CheckSAN("网关", tt.names)
		if (f == nil) != (tt.field == "") || f != nil && f.Field != tt.field {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

// A name is the applicant's own, and a device named after a host has it among its names.
func TestNamesAreTheApplicantsOwn(t *testing.T) {
	p := builtin(t)["device-dual"]
	for _, tt := range []struct{ cn, kind, value, field string }{
		{"网关", "dns", "www.example.cn", ""}, {"网关", "dns", "*.example.com.cn", ""}, {"网关", "dns", "bj.example.cn", ""}, {"网关", "ip", "10.0.0.1", ""},
		{"网关", "dns", "com", "san[0]"}, {"网关", "dns", "*.cn", "san[0]"}, {"网关", "dns", "*.com.cn", "san[0]"}, {"网关", "dns", "gov.cn", "san[0]"}, {"网关", "dns", "*.bj.cn", "san[0]"},
		{"网关", "dns", "1.2.3", "san[0]"}, {"网关", "dns", "localhost", "san[0]"}, {"网关", "dns", "a.localhost", "san[0]"},
		{"网关", "ip", "0.0.0.0", "san[0]"}, {"网关", "ip", "127.0.0.1", "san[0]"}, {"网关", "ip", "::", "san[0]"}, {"网关", "ip", "::1", "san[0]"}, {"网关", "ip", "224.0.0.1", "san[0]"},
		{"www.example.cn", "dns", "other.cn", "san"}, {"www.example.cn", "", "", ""}, {"10.0.0.1", "dns", "other.cn", "san"}, {"WWW.example.cn", "dns", "www.example.cn", ""}, {"10.0.0.1", "ip", "10.0.0.1", ""},
		{"网关", "", "", ""}, {"server-1", "", "", ""}, {"网关 v1.2", "", "", ""}, {"V1.2", "", "", ""},
	} {
		var names []cert.AltName
		if tt.kind != "" {
			names = []cert.AltName{{Kind: tt.kind, Value: tt.value}}
		}
		f := p.CheckSAN(tt.cn, names)
		if (f == nil) != (tt.field == "") || f != nil && (f.Field != tt.field || f.Fix == "") {
			t.Errorf("%+v: %+v", tt, f)
		}
	}
}

func TestARequestMayAskForLessNeverForMore(t *testing.T) {
	p := builtin(t)["device-dual"]
	n := dn.Name{C: "CN", O: "某某局", CN: "www.example.cn"}
	san := []cert.AltName{{Kind: "dns", Value: "www.example.cn"}}
	for what, tt := range map[string]struct {
		subject dn.Name
		ask     []cert.Extension
		ok      bool
	}{
		"nothing":                  {dn.Name{}, nil, true},
		"the same":                 {n, []cert.Extension{cert.KeyUsage(cert.UsageSign), cert.AltNames(san), cert.ExtKeyUsage(false, cert.UsageServerAuth, cert.UsageClientAuth)}, true},
		"no CA, in words":          {n, []cert.Extension{{ID: cert.BasicConstraints, Value: []byte{0x30, 0}}}, true},
		"a CA":                     {n, []cert.Extension{cert.CA(0)}, false},
		"another name":             {dn.Name{C: "CN", CN: "other.example.cn"}, nil, false},
		"another host":             {n, []cert.Extension{cert.AltNames([]cert.AltName{{Kind: "dns", Value: "evil.cn"}})}, false},
		"the usage of another key": {n, []cert.Extension{cert.KeyUsage(cert.UsageEnc)}, false},
		"to answer for the CA":     {n, []cert.Extension{cert.ExtKeyUsage(false, cert.UsageOCSPSigning)}, false},
		"a policy of its own":      {n, []cert.Extension{cert.Policy(asn1.ObjectIdentifier{2, 5, 29, 32, 0}, "")}, false},
	} {
		der, err := csr.New(tt.subject.Bytes(), newKey(t), tt.ask...)
		if err != nil {
			t.Fatal(err)
		}
		r, err := csr.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		if f := p.CheckRequest(r, n, san); (f == nil) != tt.ok {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

func TestDaysAreBoundedByTheProfile(t *testing.T) {
	p := builtin(t)["person-dual"]
	for days, ok := range map[int]bool{0: true, 1: true, p.Days.Max: true, p.Days.Max + 1: false, -1: false} {
		if f := p.CheckDays(days); (f == nil) != ok {
			t.Errorf("%d days: %+v", days, f)
		}
	}
}

// Whatever profile is read, drafting from it gives something that is read.
func FuzzParseProfile(f *testing.F) {
	names, _ := filepath.Glob("data/*.json")
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	point := alg.Point(&newKey(f).PublicKey)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := profile.Parse(text)
		if err != nil {
			return
		}
		_ = p.Digest()
		_ = p.CheckSubject(dn.Name{C: "CN", OU: dn.Units{"a", "b"}, E: "a@b.cn", CN: "x"})
		_ = p.CheckSAN("网关", []cert.AltName{{Kind: "dns", Value: "x.cn"}})
		w := profile.Wish{Serial: []byte{1}, NotBefore: at, NotAfter: at, Subject: dn.Name{CN: "x"}.Bytes(), Point: point}
		for _, use := range []profile.Use{profile.Sign, profile.Enc} {
			if _, err := cert.ParseTBS(p.Draft(use, w, nil, profile.Place{CRL: "http://x"})); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
}
