package ca

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// IssueInternal certifies a key of the institution itself: its servers and its
// people (GM/T 0034 §8.1.5 c–f). It takes the same road as every certificate:
// on record, linted, signed, recorded, published. Only a ceremony calls it.
func (is *Issuer) IssueInternal(ctx context.Context, id, profileName string, subject dn.Name, point []byte) ([]byte, error) {
	is = is.Current()
	p, ok := is.profiles()[profileName]
	if !ok || !p.Internal || p.Usage != "sign" {
		return nil, NoProfile.At("profile", NoProfile.Clause).Because("%q", profileName)
	}
	known, err := is.Store.Jobs(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	app := enroll.Application{ID: id, Profile: profileName, Version: p.Version, Subject: subject, Days: p.Days.Default}
	j := &job{Job: known[id], app: app, profile: p, subject: subject.Bytes(), point: point}
	if j.State == None {
		now := is.Now().UTC().Truncate(time.Second)
		j.ID, j.Content, j.KeyHash = id, app.Bytes(), alg.Digest(point)
		j.From, j.To = now.Add(-backdate), now.Add(-backdate).AddDate(0, 0, app.Days)
	}
	return is.single(ctx, j)
}

// single takes one certificate of the institution's own from where it stands.
func (is *Issuer) single(ctx context.Context, j *job) ([]byte, error) {
	w := &work{is: is, jobs: []*job{j}, results: make([]Result, 1)}
	for _, step := range []func(context.Context) error{w.open, w.record} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return j.DER.Sign, w.results[0].Err
}

// EndInternal revokes a certificate of the institution's own, once for a
// request: a person who left, a server that was replaced. Whoever decided it is
// on record where it was decided.
func (is *Issuer) EndInternal(ctx context.Context, request string, serial []byte, reason int) error {
	if _, ok, err := is.Store.Revocation(ctx, request); err != nil || ok {
		return err
	}
	_, err := is.revoke(ctx, request, serial, reason, 0)
	if errors.Is(err, Revoked) {
		return nil // under another request; it stays so
	}
	return err
}

// HoldInternal puts a certificate of the institution's own on hold, or takes it
// off, once for a request. One that is there already, or ended, stays as it is.
func (is *Issuer) HoldInternal(ctx context.Context, request string, serial []byte, on bool) error {
	if _, ok, err := is.Store.Revocation(ctx, request); err != nil || ok {
		return err
	}
	_, err := is.change(ctx, request, serial, change{revoked: on, reason: hold})
	if errors.Is(err, Revoked) || errors.Is(err, Held) || errors.Is(err, NotHeld) {
		return nil
	}
	return err
}

// SignARL signs the list of revoked certificates of the root: empty at first, it
// tells relying parties that none is revoked (GM/T 0034 §5.1). One that was only
// intended is finished first, and is the answer. Only the root's issuer has one.
func (is *Issuer) SignARL(ctx context.Context) (List, error) {
	if !is.top {
		return List{}, errors.New("the ARL is the root's to sign")
	}
	have, err := is.Store.Lists(ctx)
	if err != nil {
		return List{}, err
	}
	if l, ok := have[arl]; ok && !l.Signed {
		return is.signList(ctx, l)
	}
	now := is.Now().UTC().Truncate(time.Second)
	l := List{Scope: arl, ThisUpdate: now, NextUpdate: now.AddDate(1, 0, 0)}
	d := crl.Draft{Issuer: is.Cert.Subject, Point: is.Cert.Point, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, OnlyCA: true, Shard: is.place(Authorities).CRL}
	l, err = is.Store.IntendList(ctx, l, Authorities, func(number int64, entries []byte) []byte {
		d.Number, d.Entries = number, entries
		return d.TBS()
	})
	if err != nil {
		return l, fmt.Errorf("recording intent: %w", err)
	}
	return is.signList(ctx, l)
}

// arl is the scope of the root's list.
const arl = "arl"

// Authority is the ledger entry of a CA certificate of this institution.
func Authority(der []byte, at time.Time) (leaf []byte, line audit.Entry) {
	return record.Entry{Kind: record.KindAuthority, At: at, Body: der}.Bytes(),
		audit.Entry{Start: at, End: at, Who: "system:ceremony", Role: "machine", Item: "ca.authority", Object: "SM3 " + fmt.Sprintf("%x", alg.Digest(der)), Result: audit.Done}
}
