package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
)

// rooted is a CA under a root whose key is at hand.
func rooted(t *testing.T) (*place, *ca.Issuer, *signer) {
	t.Helper()
	p := newPlace(t)
	own := newKey(t)
	key, point := &signer{Signer: own, store: p.memory}, alg.Point(&own.PublicKey)
	subject := dn.Name{C: "CN", O: "测试机构", CN: "根 CA"}.Bytes()
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 1, 2, 3, 4, 5, 6, 7}, Issuer: subject, Subject: subject, NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(20, 0, 0), Point: point,
		Extensions: []cert.Extension{cert.SKI(point), cert.CA(-1)}}.TBS(), key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if p.Root, err = cert.Parse(der); err != nil {
		t.Fatal(err)
	}
	return p, p.AsRoot(key), key
}

// below is an order in order for a new subordinate CA.
func below(t *testing.T, ask ...cert.Extension) ca.AuthorityOrder {
	t.Helper()
	req, err := csr.New(dn.Name{C: "CN", O: "某某局", CN: "下级 CA"}.Bytes(), newKey(t), ask...)
	if err != nil {
		t.Fatal(err)
	}
	return ca.AuthorityOrder{Profile: ca.SubordinateProfile, Issuer: "root", CSR: req, Days: 3650, PathLen: 1, Policies: []string{"2.999.1.1.1"}, Permitted: []string{"dns:gov.cn"}}
}

// Wherever the store fails, asking again finishes the work, and the root's key
// has signed one certificate only: the one on record.
func TestAnAuthorityIsSignedOnceAfterCrash(t *testing.T) {
	for n := 1; ; n++ {
		for _, after := range []bool{false, true} {
			p, root, key := rooted(t)
			failing := &catest.Failing{Store: p.memory, At: n, After: after}
			root.Store = failing
			o := below(t)
			first, err := root.SignAuthority(t.Context(), "authority-1", o)
			if err != nil && !errors.Is(err, catest.ErrCrash) {
				t.Fatal(err)
			}
			if !failing.Failed() {
				return
			}
			again, err := root.SignAuthority(t.Context(), "authority-1", o)
			if err != nil || first != nil && !bytes.Equal(first, again) {
				t.Fatalf("call %d after=%v: %v", n, after, err)
			}
			key.check(t)
			c, err := cert.Parse(again)
			if err != nil || c.SignedBy(p.Root) != nil {
				t.Fatal(err)
			}
			if path, ok := c.PathLen(); !ok || path != 1 || len(c.PolicyIDs()) != 1 {
				t.Errorf("path length %d, policies %v", path, c.PolicyIDs())
			}
			named := 0
			for _, leaf := range p.memory.Leaves() {
				if e, err := record.Parse(leaf); err == nil && e.Kind == record.KindAuthority && bytes.Equal(e.Body, again) {
					named++
				}
			}
			if named != 1 {
				t.Errorf("the ledger names it %d times", named)
			}
		}
	}
}

// What the root revokes is on the ARL at once, and on no list of the CA's.
func TestARevokedAuthorityIsOnTheARL(t *testing.T) {
	p, root, key := rooted(t)
	der, err := root.SignAuthority(t.Context(), "authority-1", below(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	publisher := (&ca.Publisher{Issuer: p.Issuer, Root: root}).Start()
	if err := publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // carried out again it changes nothing
		if err := root.EndInternal(t.Context(), "authority-2", c.Serial.Bytes(), 2); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := publisher.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if key.early > 0 {
		t.Error("the root signed what was not on record")
	}
	arls := 0
	for _, l := range p.memory.History() {
		list, err := crl.Parse(l.DER())
		if err != nil {
			t.Fatal(err)
		}
		if l.Scope != "arl" {
			if len(list.Entries) > 0 {
				t.Errorf("%s has %d entries", l.Scope, len(list.Entries))
			}
			continue
		}
		if arls++; len(list.Entries) != arls-1 || alg.Verify(p.Root.PublicKey(), list.RawTBS, list.Signature) != nil {
			t.Errorf("ARL %d has %d entries", arls, len(list.Entries))
		}
	}
	if arls != 2 {
		t.Errorf("%d ARLs: one at first and one with the change", arls)
	}
}

func TestAnAuthoritysRequestIsHeldToItsBounds(t *testing.T) {
	_, root, _ := rooted(t)
	for _, tt := range []struct {
		name, field string
		do          func(o *ca.AuthorityOrder)
	}{
		{"in order", "", func(*ca.AuthorityOrder) {}},
		{"no policy", "policies", func(o *ca.AuthorityOrder) { o.Policies = nil }},
		{"a policy twice", "policies", func(o *ca.AuthorityOrder) { o.Policies = append(o.Policies, o.Policies[0]) }},
		{"longer than the profile", "path_len", func(o *ca.AuthorityOrder) { o.PathLen = 4 }},
		{"below nothing", "path_len", func(o *ca.AuthorityOrder) { o.PathLen = -1 }},
		{"no day", "days", func(o *ca.AuthorityOrder) { o.Days = 0 }},
		{"beyond the root", "days", func(o *ca.AuthorityOrder) { o.Days = 7305 }},
		{"a domain that is none", "permitted", func(o *ca.AuthorityOrder) { o.Permitted = []string{"dns:*.gov.cn"} }},
		{"another profile", "profile", func(o *ca.AuthorityOrder) { o.Profile = "root-ca" }},
		{"another path length in the request", "csr", func(o *ca.AuthorityOrder) { o.CSR = below(t, cert.CA(0)).CSR }},
		{"the same in the request", "", func(o *ca.AuthorityOrder) { o.CSR = below(t, cert.CA(1), cert.KeyUsage(cert.UsageCA)).CSR }},
		{"any usage", "csr", func(o *ca.AuthorityOrder) { o.CSR = below(t, cert.KeyUsage(cert.UsageSign)).CSR }},
		{"a broken signature", "csr", func(o *ca.AuthorityOrder) { o.CSR[len(o.CSR)-1] ^= 1 }},
	} {
		if tt.name == "beyond the root" {
			root.Cert.NotAfter = start.AddDate(10, 0, 0)
		}
		o := below(t)
		tt.do(&o)
		_, err := root.ReadAuthority(o)
		f := refusal.Of(err)
		if tt.field == "" && err != nil || tt.field != "" && (f == nil || f.Field != tt.field) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What another root returns is taken only if validators would accept the chain.
func TestAJoinedChainIsOneThatValidatorsAccept(t *testing.T) {
	p, _, _ := rooted(t)
	own := p.key.Signer
	seal := func(subject, issuer string, point []byte, by crypto.Signer, from, to int, exts ...cert.Extension) *cert.Certificate {
		n := func(cn string) []byte { return dn.Name{C: "CN", O: "测试机构", CN: cn}.Bytes() }
		der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 1, 2, 3, 4, 5, 6, 7}, Issuer: n(issuer), Subject: n(subject), NotBefore: start.AddDate(from, 0, 0), NotAfter: start.AddDate(to, 0, 0), Point: point, Extensions: exts}.TBS(), by)
		if err != nil {
			t.Fatal(err)
		}
		c, err := cert.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	point := func(k crypto.Signer) []byte { return alg.Point(k.Public().(*ecdsa.PublicKey)) }
	usage := cert.KeyUsage(cert.UsageCA)
	top, middle := newKey(t), newKey(t)
	mine := func(by crypto.Signer, issuer string) *cert.Certificate {
		return seal("运营 CA", issuer, point(own), by, -1, 5, cert.CA(0), usage)
	}
	root := seal("国家根", "国家根", point(top), top, -1, 9, cert.CA(-1), usage)
	between := func(path int) *cert.Certificate {
		return seal("省级 CA", "国家根", point(middle), top, -1, 9, cert.CA(path), usage)
	}
	p.Cert.Extensions = append(p.Cert.Extensions, cert.CA(0))
	for _, tt := range []struct {
		name, field string
		chain       []*cert.Certificate
	}{
		{"right below", "", []*cert.Certificate{mine(top, "国家根"), root}},
		{"with one between", "", []*cert.Certificate{mine(middle, "省级 CA"), between(1), root}},
		{"the one between may have no CA below", "chain", []*cert.Certificate{mine(middle, "省级 CA"), between(0), root}},
		{"the one between is left out", "certificate", []*cert.Certificate{mine(middle, "省级 CA"), root}},
		{"alone", "chain", []*cert.Certificate{mine(top, "国家根")}},
		{"no root at the end", "chain", []*cert.Certificate{mine(middle, "省级 CA"), between(1)}},
		{"a root that has ended", "chain", []*cert.Certificate{mine(top, "国家根"), seal("国家根", "国家根", point(top), top, -3, -1, cert.CA(-1), usage)}},
		{"a root that may not sign lists", "chain", []*cert.Certificate{mine(top, "国家根"), seal("国家根", "国家根", point(top), top, -1, 9, cert.CA(-1), cert.KeyUsage(cert.UsageSign))}},
		{"not yet valid", "certificate", []*cert.Certificate{seal("运营 CA", "国家根", point(own), top, 1, 5, cert.CA(0), usage), root}},
		{"another's key", "certificate", []*cert.Certificate{seal("运营 CA", "国家根", point(middle), top, -1, 5, cert.CA(0), usage), root}},
		{"another's name", "certificate", []*cert.Certificate{seal("运营", "国家根", point(own), top, -1, 5, cert.CA(0), usage), root}},
		{"names bounded", "certificate", []*cert.Certificate{seal("运营 CA", "国家根", point(own), top, -1, 5, cert.CA(0), usage, cert.Permitted([]cert.Subtree{{Kind: "dns", Value: []byte("x.cn")}})), root}},
		{"signed by a stranger", "certificate", []*cert.Certificate{mine(middle, "国家根"), root}},
	} {
		err := p.CheckJoined(tt.chain, nil)
		f := refusal.Of(err)
		if tt.field == "" && err != nil || tt.field != "" && (f == nil || f.Field != tt.field) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
