package caservice

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/web/api"
)

// published tells how far the public ledger is and which lists it names.
func (c Config) published(ctx context.Context, resp *va.Responder, r *ra.Registrar, checks ...api.Check) (raapi.Published, error) {
	p := raapi.Published{Public: c.PublicURL, Lists: []raapi.List{}, Checks: checks}
	p.Edition, p.Synced = r.Synced()
	if why := r.Barred(); why != "" {
		p.Checks = append(p.Checks, api.Check{Name: "受理", Value: "CA 已停止受理本注册系统的请求：" + why, State: "bad", Advice: ra.UntilResumed})
	}
	note, err := ledger.Dir(c.ledger()).Get(ctx, ledger.CheckpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	cp, err := ledger.OpenCheckpoint(note, c.LedgerKey, c.Origin)
	if err != nil {
		return p, err
	}
	p.Origin, p.Size, p.Root, p.At, p.Note = cp.Origin, cp.Size, base64.StdEncoding.EncodeToString(cp.Root), cp.At, string(note)
	for _, list := range ca.Everywhere(max(len(c.keys(resp))-1, 0), ca.ShardsMax) {
		s := ca.ScopeOf(list)
		if ca.Kind(list) == ca.Delta {
			continue
		}
		if l, ok := resp.CRL(s); ok {
			p.Lists = append(p.Lists, raapi.List{Scope: s, Number: l.Number, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate})
		}
	}
	for _, s := range slices.Sorted(maps.Keys(wards(resp))) {
		if l, ok := resp.CRL(s); ok {
			p.Lists = append(p.Lists, raapi.List{Scope: s, Number: l.Number, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate})
		}
	}
	return p, nil
}
