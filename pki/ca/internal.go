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
	p, ok := is.Profiles[profileName]
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

// SignARL signs the list of revoked CA certificates with the root's key: empty
// at first, it tells relying parties that none is revoked (GM/T 0034 §5.1).
// One that was only intended is finished first, and is the answer.
func (is *Issuer) SignARL(ctx context.Context, root *Issuer, url string) error {
	have, err := is.Store.Lists(ctx)
	if err != nil {
		return err
	}
	if l, ok := have[arl]; ok && !l.Signed {
		_, err = root.signList(ctx, l)
		return err
	}
	now := is.Now().UTC().Truncate(time.Second)
	l := List{Scope: arl, ThisUpdate: now, NextUpdate: now.AddDate(1, 0, 0)}
	d := crl.Draft{Issuer: root.Cert.Subject, Point: root.Cert.Point, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, OnlyCA: true, Shard: url}
	l, err = is.Store.IntendList(ctx, l, noShard, func(number int64, _ []byte) []byte {
		d.Number = number
		return d.TBS()
	})
	if err != nil {
		return fmt.Errorf("recording intent: %w", err)
	}
	_, err = root.signList(ctx, l)
	return err
}

// arl is the scope of the root's list.
const arl = "arl"

// noShard has no entries: no certificate of ours lies in it.
const noShard = Shards

// Authority is the ledger entry of a CA certificate of this institution.
func Authority(der []byte, at time.Time) (leaf []byte, line audit.Entry) {
	return record.Entry{Kind: record.KindAuthority, At: at, Body: der}.Bytes(),
		audit.Entry{Start: at, End: at, Who: "system:ceremony", Role: "machine", Item: "ca.authority", Object: "SM3 " + fmt.Sprintf("%x", alg.Digest(der)), Result: audit.Done}
}
