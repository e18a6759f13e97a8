package certlint

import (
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
)

func point(t *testing.T) []byte {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return alg.Point(&key.PublicKey)
}

// good is a draft that passes, and what it is held against.
func good(t *testing.T) (cert.Draft, Context) {
	t.Helper()
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	x := Context{
		Profile: set["person-dual"], Use: profile.Sign,
		Issuer: &cert.Certificate{Subject: dn.Name{C: "CN", O: "机构", CN: "CA"}.Bytes(), Point: point(t), NotBefore: from.AddDate(-1, 0, 0), NotAfter: from.AddDate(30, 0, 0)},
		Place:  profile.Place{CRL: "http://x/crl/shard-3.crl", OCSP: "http://x/ocsp", Issuer: "http://x/aia/ca.cer"},
		Wish: profile.Wish{
			Serial: []byte{0x41, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, NotBefore: from, NotAfter: from.AddDate(1, 0, 0),
			Subject: dn.Name{C: "CN", ST: "北京市", O: "某某局", OU: dn.Units{"办公室"}, CN: "张三"}.Bytes(), Point: point(t),
		},
	}
	c, err := cert.ParseTBS(x.Profile.Draft(x.Use, x.Wish, x.Issuer, x.Place))
	if err != nil {
		t.Fatal(err)
	}
	return cert.Draft{Serial: c.Serial.Bytes(), Issuer: c.Issuer, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Subject: c.Subject, Point: c.Point, Extensions: c.Extensions}, x
}

// authority is the draft of a subordinate CA that passes.
func authority(t *testing.T) (cert.Draft, Context) {
	t.Helper()
	_, x := good(t)
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	x.Profile = set["subordinate-ca"]
	x.Issuer.Extensions = []cert.Extension{cert.CA(-1)}
	x.Wish.Policies, x.Wish.PathLen = []asn1.ObjectIdentifier{{2, 999, 1}}, 1
	c, err := cert.ParseTBS(x.Profile.Draft(x.Use, x.Wish, x.Issuer, x.Place))
	if err != nil {
		t.Fatal(err)
	}
	return cert.Draft{Serial: c.Serial.Bytes(), Issuer: c.Issuer, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Subject: c.Subject, Point: c.Point, Extensions: c.Extensions}, x
}

// A subordinate CA's chain is one that validators accept, or it is not signed.
func TestAnAuthorityIsBoundedByItsIssuer(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		do         func(x *Context)
	}{
		{"within", "", func(*Context) {}},
		{"names permitted", "", func(x *Context) { x.Wish.Permitted = []cert.Subtree{{Kind: "dns", Value: []byte("gov.cn")}} }},
		{"an issuer of its own length", "path-length", func(x *Context) { x.Issuer.Extensions = []cert.Extension{cert.CA(1)} }},
		{"an issuer that is no CA", "path-length", func(x *Context) { x.Issuer.Extensions = nil }},
		{"longer than the profile", "path-length", func(x *Context) { x.Wish.PathLen = 9 }},
		{"a policy its issuer does not have", "any-policy", func(x *Context) {
			x.Issuer.Extensions = append(x.Issuer.Extensions, cert.Policy(asn1.ObjectIdentifier{2, 999, 2}, ""))
		}},
		{"the issuer's name", "own-key", func(x *Context) { x.Wish.Subject = x.Issuer.Subject }},
	} {
		_, x := authority(t)
		tt.do(&x)
		_, err := Check(x.Profile.Draft(x.Use, x.Wish, x.Issuer, x.Place), x)
		var f *Failed
		if tt.rule == "" && err != nil || tt.rule != "" && (!errors.As(err, &f) || f.Rule.ID != tt.rule) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// set replaces an extension, or adds it.
func set(d *cert.Draft, e cert.Extension) {
	for i := range d.Extensions {
		if d.Extensions[i].ID.Equal(e.ID) {
			d.Extensions[i] = e
			return
		}
	}
	d.Extensions = append(d.Extensions, e)
}

func drop(d *cert.Draft, id asn1.ObjectIdentifier) {
	for i := range d.Extensions {
		if d.Extensions[i].ID.Equal(id) {
			d.Extensions = append(d.Extensions[:i:i], d.Extensions[i+1:]...)
			return
		}
	}
}

type attr struct {
	oid   asn1.ObjectIdentifier
	tag   cbasn1.Tag
	value string
}

// name builds a subject as no profile would: any order, types and grouping.
func name(rdns ...[]attr) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range rdns {
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				for _, a := range rdn {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(a.oid)
						b.AddASN1(a.tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.value)) })
					})
				}
			})
		}
	})
	return b.BytesOrPanic()
}

var (
	country = attr{asn1.ObjectIdentifier{2, 5, 4, 6}, cbasn1.PrintableString, "CN"}
	org     = attr{asn1.ObjectIdentifier{2, 5, 4, 10}, cbasn1.UTF8String, "某某局"}
	common  = attr{asn1.ObjectIdentifier{2, 5, 4, 3}, cbasn1.UTF8String, "zhang"}
)

func subject(d *cert.Draft, x *Context, der []byte) { d.Subject, x.Wish.Subject = der, der }

// breaks is, for every rule, a way to break it and no other.
var breaks = map[string]func(t *testing.T, d *cert.Draft, x *Context){
	"serial.form":       func(_ *testing.T, d *cert.Draft, x *Context) { d.Serial, x.Wish.Serial = []byte{7}, []byte{7} },
	"serial.reserved":   func(_ *testing.T, d *cert.Draft, _ *Context) { d.Serial = append([]byte{0x42}, d.Serial[1:]...) },
	"issuer.identical":  func(_ *testing.T, d *cert.Draft, _ *Context) { d.Issuer = dn.Name{C: "CN", CN: "CA"}.Bytes() },
	"validity.order":    func(_ *testing.T, d *cert.Draft, _ *Context) { d.NotAfter = d.NotBefore },
	"validity.profile":  func(_ *testing.T, d *cert.Draft, _ *Context) { d.NotAfter = d.NotBefore.AddDate(0, 0, 1827) },
	"validity.issuer":   func(_ *testing.T, d *cert.Draft, x *Context) { x.Issuer.NotAfter = d.NotAfter.Add(-time.Second) },
	"subject.identical": func(_ *testing.T, d *cert.Draft, _ *Context) { d.Subject = dn.Name{C: "CN", CN: "李四"}.Bytes() },
	"subject.order": func(_ *testing.T, d *cert.Draft, x *Context) {
		subject(d, x, name([]attr{country}, []attr{common}, []attr{org}))
	},
	"subject.strings": func(_ *testing.T, d *cert.Draft, x *Context) {
		subject(d, x, name([]attr{country}, []attr{{common.oid, cbasn1.PrintableString, "zhang"}}))
	},
	"subject.single": func(_ *testing.T, d *cert.Draft, x *Context) {
		subject(d, x, name([]attr{country}, []attr{org, common}))
	},
	"subject.profile": func(_ *testing.T, d *cert.Draft, x *Context) { subject(d, x, dn.Name{C: "US", CN: "zhang"}.Bytes()) },
	"key.requested": func(t *testing.T, d *cert.Draft, x *Context) {
		d.Point = point(t)
		set(d, cert.SKI(d.Point))
	},
	"extensions.once": func(_ *testing.T, d *cert.Draft, _ *Context) { d.Extensions = append(d.Extensions, d.Extensions[0]) },
	"extensions.known": func(_ *testing.T, d *cert.Draft, _ *Context) {
		set(d, cert.Extension{ID: asn1.ObjectIdentifier{2, 5, 29, 16}, Value: []byte{0x30, 0}})
	},
	"extensions.criticality": func(_ *testing.T, d *cert.Draft, _ *Context) { d.Extensions[0].Critical = true },
	"ski":                    func(t *testing.T, d *cert.Draft, _ *Context) { set(d, cert.SKI(point(t))) },
	"aki":                    func(t *testing.T, d *cert.Draft, _ *Context) { set(d, cert.AKI(point(t))) },
	"key-usage":              func(_ *testing.T, d *cert.Draft, _ *Context) { set(d, cert.KeyUsage(cert.UsageEnc)) },
	"ext-key-usage":          func(_ *testing.T, d *cert.Draft, _ *Context) { set(d, cert.ExtKeyUsage(false, cert.UsageServerAuth)) },
	"basic-constraints": func(_ *testing.T, d *cert.Draft, _ *Context) {
		set(d, cert.Extension{ID: cert.BasicConstraints, Critical: true, Value: []byte{0x30, 0}})
	},
	"path-length": func(t *testing.T, d *cert.Draft, x *Context) {
		*d, *x = authority(t)
		x.Issuer.Extensions = []cert.Extension{cert.CA(1)}
	},
	"name-constraints": func(_ *testing.T, d *cert.Draft, _ *Context) {
		set(d, cert.Permitted([]cert.Subtree{{Kind: "dns", Value: []byte("x.cn")}}))
	},
	"own-key": func(t *testing.T, d *cert.Draft, x *Context) {
		*d, *x = authority(t)
		x.Issuer.Point = d.Point
		set(d, cert.AKI(d.Point))
	},
	"any-policy": func(t *testing.T, d *cert.Draft, x *Context) {
		*d, *x = authority(t)
		x.Wish.Policies = []asn1.ObjectIdentifier{cert.AnyPolicy}
		set(d, cert.PolicyList(x.Wish.Policies))
	},
	"policy": func(_ *testing.T, d *cert.Draft, _ *Context) { drop(d, cert.Policies) },
	"crl-point": func(_ *testing.T, d *cert.Draft, _ *Context) {
		set(d, cert.CRLDistribution("http://x/crl/shard-4.crl"))
	},
	"uri": func(_ *testing.T, d *cert.Draft, x *Context) { // as the place says, and nobody can fetch it
		x.Place.CRL = "http://中文.cn/crl/shard-3.crl"
		set(d, cert.CRLDistribution(x.Place.CRL))
	},
	"authority-info": func(_ *testing.T, d *cert.Draft, _ *Context) { drop(d, cert.AuthorityInfo) },
	"alt-names": func(_ *testing.T, d *cert.Draft, _ *Context) {
		set(d, cert.AltNames([]cert.AltName{{Kind: "dns", Value: "x.cn"}}))
	},
	"alt-names.own": func(t *testing.T, d *cert.Draft, x *Context) {
		set, err := profile.Builtin()
		if err != nil {
			t.Fatal(err)
		}
		x.Profile, x.Wish.SAN = set["device-sign"], []cert.AltName{{Kind: "dns", Value: "*.com.cn"}}
		c, err := cert.ParseTBS(x.Profile.Draft(x.Use, x.Wish, x.Issuer, x.Place))
		if err != nil {
			t.Fatal(err)
		}
		d.Extensions = c.Extensions
	},
	"identity-code": func(_ *testing.T, d *cert.Draft, x *Context) { // the profile knows it, the wish has none
		x.Profile.Codes = []profile.CodeRule{{Kind: "credit-code", OID: "1.2.156.10260.4.1.4", Tag: -1}}
		set(d, cert.IdentityCode(asn1.ObjectIdentifier{1, 2, 156, 10260, 4, 1, 4}, -1, false, "91350100M000100Y43"))
	},
	"no-check": func(_ *testing.T, d *cert.Draft, _ *Context) { set(d, cert.NoCheck()) },
	"validity.encoding": func(_ *testing.T, d *cert.Draft, _ *Context) {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1GeneralizedTime(d.NotBefore)
			b.AddASN1GeneralizedTime(d.NotAfter)
		})
		d.Validity = b.BytesOrPanic()
	},
}

// Every rule has a certificate that only it refuses.
func TestEveryRuleRefusesACertificateNoOtherDoes(t *testing.T) {
	d, x := good(t)
	if _, err := Check(d.TBS(), x); err != nil {
		t.Fatalf("the good draft: %v", err)
	}
	for _, r := range Rules {
		t.Run(r.ID, func(t *testing.T) {
			d, x := good(t)
			tbs := cert.TBS(nil)
			if r.ID == "canonical" {
				tbs = explicitFalse(d)
			} else {
				if breaks[r.ID] == nil {
					t.Fatal("no certificate breaks this rule")
				}
				breaks[r.ID](t, &d, &x)
				tbs = d.TBS()
			}
			if r.Clause == "" || r.Text == "" {
				t.Error("a rule states its clause and what it asks")
			}
			failed := failures(t, tbs, x)
			if len(failed) != 1 || failed[0] != r.ID {
				t.Errorf("refused by %v", failed)
			}
			if _, err := Check(tbs, x); err == nil {
				t.Error("Check let it pass")
			}
		})
	}
}

// failures lists every rule a draft breaks.
func failures(t *testing.T, tbs cert.TBS, x Context) (ids []string) {
	t.Helper()
	c, err := cert.ParseTBS(tbs)
	if err != nil {
		t.Fatal(err)
	}
	if x.want, err = cert.ParseTBS(x.Profile.Draft(x.Use, x.Wish, x.Issuer, x.Place)); err != nil {
		t.Fatal(err)
	}
	for _, r := range Rules {
		if !r.check(c, x) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// explicitFalse writes a critical FALSE that DER leaves out.
func explicitFalse(d cert.Draft) cert.TBS {
	plain := cryptobyte.String(d.TBS())
	var body, keep, outer, list cryptobyte.String
	plain.ReadASN1(&body, cbasn1.SEQUENCE)
	rest := body
	for rest.PeekASN1Tag(cbasn1.Tag(3).ContextSpecific().Constructed()) == false {
		var e cryptobyte.String
		var tag cbasn1.Tag
		rest.ReadAnyASN1Element(&e, &tag)
		keep = append(keep, e...)
	}
	rest.ReadASN1(&outer, cbasn1.Tag(3).ContextSpecific().Constructed())
	outer.ReadASN1(&list, cbasn1.SEQUENCE)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(keep)
		b.AddASN1(cbasn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for i, e := range d.Extensions {
					if i > 0 {
						cert.AddExtension(b, e)
						continue
					}
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(e.ID)
						b.AddASN1Boolean(false)
						b.AddASN1OctetString(e.Value)
					})
				}
			})
		})
	})
	return b.BytesOrPanic()
}

// Nothing but a draft that passed can be signed.
func TestAnEmptyLintedSignsNothing(t *testing.T) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Linted{}).Seal(key); err == nil {
		t.Error("signed")
	}
}
