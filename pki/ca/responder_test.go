package ca_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

func ask(t *testing.T, key *sm2.PrivateKey, duty string, of *cert.Certificate) enroll.Responder {
	t.Helper()
	req, err := csr.New(dn.Name{C: "CN", CN: "x"}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	return enroll.Responder{Duty: duty, Issuer: cert.KeyID(of.Point), CSR: req}
}

// A responder's key is certified where people decided it, by the very key of the
// CA it is to answer for; and again when its time is two thirds over.
func TestAResponderHasACertificateFromEachKeyInTime(t *testing.T) {
	p, roll, _ := aged(t)
	r := &ca.Responders{Issuer: p.Issuer, Root: roll.Root, Store: p.memory}
	key, other := newKey(t), newKey(t)
	if _, err := r.Certify(t.Context(), ask(t, key, "", p.Cert)); !errors.Is(err, ca.NoResponder) {
		t.Errorf("a key nobody decided: %v", err)
	}
	for _, d := range []enroll.Duty{{ID: "P1"}, {ID: "P2", Root: true}} {
		if err := p.memory.Resolve(t.Context(), d, catest.Line("duty")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Certify(t.Context(), ask(t, key, "P1", r.Root.Cert)); !errors.Is(err, ca.NoResponder) {
		t.Errorf("decided of another CA: %v", err)
	}
	give := func(key *sm2.PrivateKey, duty string, of *cert.Certificate) *cert.Certificate {
		t.Helper()
		der, err := r.Certify(t.Context(), ask(t, key, duty, of))
		if err != nil {
			t.Fatal(err)
		}
		c := parse(t, der)
		if c.SignedBy(of) != nil {
			t.Error("another key certified it")
		}
		return c
	}
	first := give(key, "P1", p.Cert)
	if _, err := r.Certify(t.Context(), ask(t, other, "P1", p.Cert)); !errors.Is(err, ca.NoResponder) {
		t.Errorf("a second key for one decision: %v", err)
	}
	root := give(other, "P2", r.Root.Cert)
	made, err := roll.Do(t.Context(), "P3")
	if err != nil {
		t.Fatal(err)
	}
	next := parse(t, made.New)
	second := give(key, "", next)
	if held, err := r.Held(t.Context(), next); err != nil || !bytes.Equal(held.Raw, second.Raw) {
		t.Errorf("%v", err)
	}
	p.now = ca.Renewable(first).Add(-time.Hour)
	if !bytes.Equal(give(key, "", p.Cert).Raw, first.Raw) {
		t.Error("renewed before its time")
	}
	p.now = ca.Renewable(root).Add(time.Hour)
	for _, of := range []*cert.Certificate{p.Cert, next} {
		again := give(key, "", of)
		if !again.NotAfter.After(first.NotAfter) {
			t.Error("not renewed")
		}
		if !bytes.Equal(give(key, "", of).Raw, again.Raw) {
			t.Error("renewed twice")
		}
	}
	if !give(other, "", r.Root.Cert).NotAfter.After(root.NotAfter) {
		t.Error("the root's is not renewed")
	}
	r.Root = nil
	if _, err := r.Certify(t.Context(), ask(t, other, "", p.Root)); !errors.Is(err, ca.NoResponder) {
		t.Errorf("without the root's key: %v", err)
	}
	if _, err := r.Certify(t.Context(), enroll.Responder{Issuer: cert.KeyID(p.Cert.Point), CSR: []byte{1}}); !errors.Is(err, ca.BadRequest) {
		t.Errorf("no request: %v", err)
	}
	if _, err := r.Certify(t.Context(), ask(t, key, "", parse(t, p.issue(t, "A1").Sign))); !errors.Is(err, ca.NoResponder) {
		t.Errorf("for no CA: %v", err)
	}
}
