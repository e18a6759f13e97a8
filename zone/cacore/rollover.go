package cacore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/zone/plant"
)

const rolloverClause = "GM/T 0034 §8.2.4.3"

// selfTest tries what the core cannot do without: every key the CA signs with
// among it.
func (c Config) selfTest(ctx context.Context, db *sqldb.DB, store *castore.Store) error {
	all, err := store.Successions(ctx)
	if err != nil {
		return err
	}
	test := plant.SelfTest{
		Zone: "核心区", Device: c.Device, Signers: []string{KeyCA, KeyServer, KeyLedger, KeyAudit}, DB: db, Logs: []string{audit.Log, castore.Log}, Now: c.Now,
	}
	for _, s := range all {
		if s.DER != nil {
			test.Signers = append(test.Signers, s.Label)
		}
	}
	return test.Run(ctx)
}

// inherit takes up the keys the CA has had since its first, and the CAs it has
// taken over, as they are on record.
func inherit(ctx context.Context, is *ca.Issuer, store *castore.Store, device hsm.Device) error {
	all, err := store.Successions(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.DER == nil {
			continue // the order that began it goes on with it
		}
		key, err := device.Signer(s.Label)
		if err != nil {
			return fmt.Errorf("CA key %d: %w", s.Generation, err)
		}
		c, err := cert.Parse(s.DER)
		if err != nil {
			return fmt.Errorf("CA certificate %d: %w", s.Generation, err)
		}
		is.Succeed(is.Heir(key, c))
	}
	return guard(ctx, is, store, device)
}

// why is what a proposal to change a key says: why.
type why struct {
	Reason string `json:"reason"`
}

// newKey is what a proposal to change a responder's key says.
type newKey struct {
	Issuer string `json:"issuer"` // "root" or "operating"
	Reason string `json:"reason"`
}

// keys are the changes of the CA's key and of those that sign OCSP. The CA's is
// proposed by an administrator, agreed by a super administrator and released by
// operators, as whatever the root signs.
func (a *authorities) keys() []proposal.Matter {
	reason := proposal.Field{Name: "reason", Title: "原因", Kind: "long", Need: true}
	return []proposal.Matter{
		{
			Name: "authority.rollover", Title: "更新 CA 密钥", Clause: rolloverClause, Propose: access.CAAdmin, Confirm: access.CASuper, Quorum: quorum, Release: access.CAOperator,
			Fields: []proposal.Field{reason}, Read: a.readRollover, Do: a.roll,
		},
		{
			Name: "responder.key", Title: "更换状态查询响应密钥", Clause: "RFC 6960 §4.2.2.2", Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{
				{Name: "issuer", Title: "答复谁签发的证书", Kind: "choice", Need: true, Choices: []proposal.Choice{{Value: "operating", Title: "运营 CA"}, {Value: "root", Title: "根 CA"}}}, reason,
			},
			Read: a.readNewKey, Do: a.resolve,
		},
	}
}

func reasonOf(text string) error {
	if n := utf8.RuneCountInString(text); n == 0 || n > 200 || strings.TrimSpace(text) != text {
		return BadKeyChange.At("reason", rolloverClause).Because("应为 1 至 200 字，首尾无空白")
	}
	return nil
}

func (a *authorities) rollover() *ca.Rollover {
	return &ca.Rollover{Issuer: a.issuers["operating"], Root: a.issuers["root"], Store: a.store, Device: a.device}
}

func (a *authorities) readRollover(ctx context.Context, content []byte) (proposal.Shown, error) {
	var w why
	if err := strict.JSON(content, &w); err != nil {
		return proposal.Shown{}, BadKeyChange.At("content", rolloverClause).Because("字段为 reason")
	}
	if err := reasonOf(w.Reason); err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(w)
	if err != nil {
		return proposal.Shown{}, err
	}
	now := a.issuers["operating"].Current()
	return proposal.Shown{Content: canonical, Title: dn.Text(now.Cert.Subject), Lines: []proposal.Line{
		{Name: "CA", Value: dn.Text(now.Cert.Subject)},
		{Name: "现有密钥", Value: fmt.Sprintf("第 %d 代，密钥标识 %X，证书至 %s", now.Generation()+1, cert.KeyID(now.Cert.Point), now.Cert.NotAfter.Format("2006-01-02"))},
		{Name: "将要做的", Value: "在密码设备中生成新密钥；根 CA 签发新证书；新旧密钥互签交叉证书；此后的证书由新密钥签发，旧密钥只续签其撤销列表"}, {Name: "原因", Value: w.Reason},
	}}, a.rollover().Check(ctx, "")
}

// roll carries a change of the key out. What comes of it is the certificates, in
// PEM: the new one, the new key by the old, the old key by the new.
func (a *authorities) roll(ctx context.Context, r proposal.Record) ([]byte, error) {
	made, err := a.rollover().Do(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if a.changed != nil {
		a.changed()
	}
	return append(append(cert.PEM(made.New), cert.PEM(made.NewWithOld)...), cert.PEM(made.OldWithNew)...), nil
}

func (a *authorities) readNewKey(_ context.Context, content []byte) (proposal.Shown, error) {
	var k newKey
	if err := strict.JSON(content, &k); err != nil {
		return proposal.Shown{}, BadKeyChange.At("content", rolloverClause).Because("字段为 issuer、reason")
	}
	is, err := a.issuer(k.Issuer)
	if err != nil {
		return proposal.Shown{}, err
	}
	if err := reasonOf(k.Reason); err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(k)
	name := dn.Text(is.Current().Cert.Subject)
	return proposal.Shown{Content: canonical, Title: name, Lines: []proposal.Line{{Name: "答复其签发的证书", Value: name}, {Name: "原因", Value: k.Reason}}}, err
}

// resolve tells the status service to make a key: it asks for the certificate.
func (a *authorities) resolve(ctx context.Context, r proposal.Record) ([]byte, error) {
	var k newKey
	if err := json.Unmarshal(r.Content, &k); err != nil {
		return nil, err
	}
	now := a.issuers["operating"].Now()
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ocsp.duty", Object: r.ID, Result: audit.Done, Detail: k.Issuer}
	return nil, a.store.Resolve(ctx, enroll.Duty{ID: r.ID, Root: k.Issuer == "root"}, line)
}

func (a *authorities) responders() *ca.Responders {
	return &ca.Responders{Issuer: a.issuers["operating"], Root: a.issuers["root"], Store: a.store}
}

// certify gives the status service a certificate it asks for.
func (a *authorities) certify(ctx context.Context, r enroll.Responder) ([]byte, error) {
	der, err := a.responders().Certify(ctx, r)
	if err != nil {
		return nil, refuser(a.issuers["operating"], a.store)(ctx, "ca.responder", r.Duty, err)
	}
	return der, nil
}

// answering are the operator's lines about who may sign OCSP.
func (a *authorities) answering(ctx context.Context, now time.Time) (list []api.Check, err error) {
	r := a.responders()
	all := r.Issuer.Generations()
	for _, g := range all {
		name := "状态查询响应证书"
		if len(all) > 1 {
			name += fmt.Sprintf("（第 %d 代 CA 密钥）", g.Generation()+1)
		}
		if now.After(g.Cert.NotAfter) {
			continue
		}
		held, err := r.Held(ctx, g.Cert)
		if err != nil {
			return nil, err
		}
		if held == nil {
			list = append(list, api.Check{Name: name, Value: "还没有", State: "warn", Advice: "服务区会自动申请；若持续如此，请检查服务区与核心区的连接"})
			continue
		}
		list = append(list, api.Expiry(name, held.NotAfter, now, soon, "服务区应已自动续期：请检查服务区与核心区的连接"))
	}
	if order, _, err := a.rollover().Waiting(ctx); err != nil {
		return nil, err
	} else if order != "" {
		list = append(list, api.Check{Name: "待启用的 CA 新密钥", Value: "变更 " + order, State: "warn", Advice: "请导入上级根为它签发的证书，或提议“放弃待启用的新密钥”"})
	}
	held, err := r.Held(ctx, r.Issuer.Root)
	switch {
	case err != nil:
		return nil, err
	case held == nil && r.Root == nil:
		list = append(list, api.Check{Name: "根的状态查询响应证书", Value: "没有，根密钥不在本系统", State: "warn", Advice: "根签发的证书只能查 ARL；如需在线查询，请把根密钥接入密码设备后提议“更换状态查询响应密钥”，签发者选根 CA"})
	case held == nil:
		list = append(list, api.Check{Name: "根的状态查询响应证书", Value: "没有", State: "warn", Advice: "根签发的证书不能在线查询：请由业务管理员提议“更换状态查询响应密钥”，签发者选根 CA"})
	case r.Root == nil:
		list = append(list, api.Expiry("根的状态查询响应证书", held.NotAfter, now, 120*24*time.Hour, "根密钥离线，不能自动续期：请在到期前把根密钥接入密码设备，服务区随即续期"))
	default:
		list = append(list, api.Expiry("根的状态查询响应证书", held.NotAfter, now, soon, "服务区应已自动续期：请检查服务区与核心区的连接"))
	}
	return list, nil
}
