package ca

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// ResponderProfile is the profile of certificates for signing OCSP.
const ResponderProfile = "ocsp"

// ResponderStore keeps which keys may sign OCSP.
type ResponderStore interface {
	// Responders are the certificates for signing OCSP, newest first.
	Responders(ctx context.Context) ([]Issued, error)
	// Duties are the decisions that wait for a key, oldest first.
	Duties(ctx context.Context) ([]enroll.Duty, error)
	// Resolve puts a decision on record, once.
	Resolve(ctx context.Context, d enroll.Duty, line audit.Entry) error
	// Fulfil gives a decision its key: one key, whoever asks again
	// (NoResponder).
	Fulfil(ctx context.Context, duty string, root bool, point []byte, line audit.Entry) error
}

// Responders certifies the keys of the status service, for each key of the CA
// and of the root a certificate of its own (RFC 6960 §4.2.2.2).
type Responders struct {
	Issuer *Issuer
	Root   *Issuer // nil where the root's key is elsewhere
	Store  ResponderStore
}

// Renewable is when a certificate is to be followed by another: the last third
// of its time.
func Renewable(c *cert.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// issuer finds who has a key identifier.
func (r *Responders) issuer(id []byte) (by *Issuer, root bool, err error) {
	for _, g := range r.Issuer.signers() {
		if bytes.Equal(cert.KeyID(g.Cert.Point), id) {
			return g, false, nil
		}
	}
	if c := r.Issuer.Root; c != nil && bytes.Equal(cert.KeyID(c.Point), id) {
		if r.Root == nil {
			return nil, true, NoResponder.At("issuer", NoResponder.Clause).Because("根密钥不在本系统").ToFix("请在根密钥接入密码设备时更新，或在离线根上办理")
		}
		return r.Root, true, nil
	}
	return nil, false, NoResponder.At("issuer", NoResponder.Clause).Because("没有密钥标识为 %X 的 CA", id)
}

// Certify gives a key of the status service its certificate: to a key that had
// one before, when that is due, and to one new key for each decision. Asked
// again before it is due it gives the same.
func (r *Responders) Certify(ctx context.Context, ask enroll.Responder) ([]byte, error) {
	by, root, err := r.issuer(ask.Issuer)
	if err != nil {
		return nil, err
	}
	req, err := csr.Parse(ask.CSR)
	if err != nil {
		return nil, BadRequest.At("csr", BadRequest.Clause).Because("%v", err)
	}
	all, err := r.Store.Responders(ctx)
	if err != nil {
		return nil, err
	}
	now, known := r.Issuer.Now().UTC().Truncate(time.Second), false
	for _, i := range all {
		c, err := cert.Parse(i.DER)
		if err != nil {
			return nil, err
		}
		if i.Revoked || !bytes.Equal(c.Point, req.Point) {
			continue
		}
		known = true
		if c.SignedBy(by.Cert) == nil && now.Before(Renewable(c)) {
			return i.DER, nil
		}
	}
	if !known {
		line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ocsp.key", Object: ask.Duty, Result: audit.Done, Detail: fmt.Sprintf("SM3 %x", alg.Digest(req.Point))}
		if err := r.Store.Fulfil(ctx, ask.Duty, root, req.Point, line); err != nil {
			return nil, err
		}
	}
	p, ok := by.profiles()[ResponderProfile]
	if !ok {
		return nil, NoProfile.At("profile", NoProfile.Clause).Because("%q", ResponderProfile)
	}
	org, err := dn.Parse(by.Cert.Subject)
	if err != nil {
		return nil, err
	}
	cn := "状态查询服务器"
	if root {
		cn = "根状态查询服务器"
	}
	from := later(now.Add(-backdate), by.Cert.NotBefore)
	id := fmt.Sprintf("responder-%s-%s", hex.EncodeToString(alg.Digest(ask.Issuer, req.Point))[:16], now.Format("20060102"))
	return by.own(ctx, id, p, dn.Name{C: "CN", O: org.O, CN: cn}.Bytes(), req.Point, from, earlier(from.AddDate(0, 0, p.Days.Default), by.Cert.NotAfter))
}

// Held is the responder's certificate that holds longest for an issuer; nil if
// there is none.
func (r *Responders) Held(ctx context.Context, by *cert.Certificate) (held *cert.Certificate, err error) {
	all, err := r.Store.Responders(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		c, err := cert.Parse(i.DER)
		if err != nil {
			return nil, err
		}
		if !i.Revoked && c.SignedBy(by) == nil && (held == nil || c.NotAfter.After(held.NotAfter)) {
			held = c
		}
	}
	return held, nil
}
