package caservice

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// responders keep the status service able to sign: for each key of the CA and of
// the root a certificate of its own, renewed in the last third of its time, and
// under a new key where people decided so. (状态查询响应证书)
type responders struct {
	Config
	resp *va.Responder
	core enroll.Client
	db   *sqldb.DB
	file string

	held []delegation
	rest map[string]time.Time // an issuer that refused is asked again after
}

// delegation is one certificate and the key it is for, as kept for the next start.
type delegation struct {
	Label string `json:"label"`
	Cert  []byte `json:"cert"`
}

// How often what is due is looked at, how often people's decisions are asked
// for, and how long an issuer that refused is left alone.
const (
	dueEvery    = time.Second
	dutiesEvery = 3 * time.Second
	refusedFor  = time.Hour
)

// load takes up what was given before.
func (r *responders) load() error {
	r.rest = map[string]time.Time{}
	r.held = []delegation{{KeyOCSP, r.OCSPCert}}
	if r.OCSPRoot != nil {
		r.held = append(r.held, delegation{KeyOCSPRoot, r.OCSPRoot})
	}
	data, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []delegation
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, d := range list {
		key, err := r.Device.Signer(d.Label)
		if err != nil {
			return err
		}
		if err := r.resp.Renew(key, d.Cert); err != nil {
			return err
		}
	}
	r.held = append(r.held, list...)
	return nil
}

func (r *responders) run(ctx context.Context) {
	var asked time.Time
	fails := 0
	for ctx.Err() == nil {
		err := r.renew(ctx)
		if now := r.Now(); err == nil && now.Sub(asked) >= dutiesEvery {
			asked, err = now, r.duties(ctx)
		}
		if fails++; err == nil {
			fails = 0
		}
		if fails == patience && ctx.Err() == nil {
			slog.Warn("status service's certificates", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(dueEvery):
		}
	}
}

// issuers are the CA certificates answered for: of the operating CA's keys, or
// the root.
func (r *responders) issuers(root bool) []*cert.Certificate {
	if !root {
		return r.keys(r.resp)
	}
	c, err := cert.Parse(r.Chain[len(r.Chain)-1])
	if err != nil {
		return nil
	}
	return []*cert.Certificate{c}
}

// label is that of the newest key which signs for a CA of that name; empty if
// none does.
func (r *responders) label(subject []byte) string {
	for _, d := range slices.Backward(r.held) {
		if c, err := cert.Parse(d.Cert); err == nil && bytes.Equal(c.Issuer, subject) {
			return d.Label
		}
	}
	return ""
}

// renew asks for what is due.
func (r *responders) renew(ctx context.Context) error {
	now := r.Now()
	own := r.issuers(false)
	taken := slices.SortedFunc(maps.Values(wards(r.resp)), func(a, b *cert.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
	for _, by := range slices.Concat(own, r.issuers(true), taken) {
		held, label := r.resp.Delegated(by), r.label(by.Subject)
		if label == "" && len(own) > 0 && slices.Contains(taken, by) { // the key that answers for the CA's own
			label = r.label(own[0].Subject)
		}
		if now.After(by.NotAfter) || label == "" || now.Before(r.rest[string(by.Point)]) || held != nil && now.Before(ca.Renewable(held)) {
			continue
		}
		if err := r.take(ctx, by, label, ""); err != nil {
			return err
		}
	}
	return nil
}

// duties makes the keys people decided on.
func (r *responders) duties(ctx context.Context) error {
	list, err := r.core.Duties(ctx)
	if err != nil {
		return fmt.Errorf("asking for decisions about responders: %w", err)
	}
	for _, d := range list {
		label := "ocsp-" + strings.ToLower(d.ID)
		_, err := r.Device.Signer(label)
		if errors.Is(err, fs.ErrNotExist) {
			_, err = r.Device.Generate(label)
		}
		if err != nil {
			return fmt.Errorf("responder's key: %w", err)
		}
		for _, by := range r.issuers(d.Root) {
			if r.Now().After(by.NotAfter) || r.Now().Before(r.rest[string(by.Point)]) {
				continue
			}
			if err := r.take(ctx, by, label, d.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// patience is how long an issuer that refused is left alone: not long where it is a
// new key of the CA, which the ledger may name a moment before the core signs with
// it, for until it has certified a responder nobody answers about what it issued.
func (r *responders) patience(by *cert.Certificate) time.Duration {
	root := r.issuers(true)
	if r.resp.Delegated(by) == nil && !slices.ContainsFunc(root, func(c *cert.Certificate) bool { return bytes.Equal(c.Point, by.Point) }) {
		return dutiesEvery
	}
	return refusedFor
}

// take asks for one certificate and answers under it from then on.
func (r *responders) take(ctx context.Context, by *cert.Certificate, label, duty string) error {
	key, err := r.Device.Signer(label)
	if err != nil {
		return err
	}
	request, err := request(key)
	if err != nil {
		return err
	}
	der, err := r.core.Responder(ctx, enroll.Responder{Duty: duty, Issuer: cert.KeyID(by.Point), CSR: request})
	if refusal.Of(err) != nil {
		r.rest[string(by.Point)] = r.Now().Add(r.patience(by))
	}
	if err != nil {
		return fmt.Errorf("asking for a responder's certificate: %w", err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		return err
	}
	if err := c.SignedBy(by); err != nil {
		return fmt.Errorf("responder's certificate: %w", err)
	}
	if err := r.resp.Renew(key, der); err != nil {
		return err
	}
	return r.keep(ctx, delegation{label, der}, c)
}

func request(key crypto.Signer) ([]byte, error) {
	return csr.New(dn.Name{C: "CN", CN: "状态查询服务器"}.Bytes(), key)
}

// keep writes what was given for the next start, and the act to the trail. Of
// each issuer's key the newest stays.
func (r *responders) keep(ctx context.Context, d delegation, c *cert.Certificate) error {
	same := func(o delegation) bool {
		old, err := cert.Parse(o.Cert)
		if err != nil {
			return true
		}
		a, _ := old.Extension(cert.AuthorityKeyID)
		b, _ := c.Extension(cert.AuthorityKeyID)
		return bytes.Equal(old.Issuer, c.Issuer) && bytes.Equal(a.Value, b.Value)
	}
	r.held = append(slices.DeleteFunc(r.held, same), d)
	data, err := json.MarshalIndent(r.held, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.Write(r.file, data, 0o640); err != nil {
		return err
	}
	now := r.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:ra", Role: "machine", Item: "ocsp.certificate", Object: d.Label, Serial: c.SerialHex(), Result: audit.Done, Detail: "至 " + c.NotAfter.Format("2006-01-02")}
	return r.db.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}
