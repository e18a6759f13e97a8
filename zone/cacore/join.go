package cacore

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/web/api"
)

// joining is what a proposal to ask another root says.
type joining struct {
	To string `json:"to"` // name of the root or its institution
}

// joined is what a proposal to take its answer says.
type joined struct {
	Certificate string `json:"certificate"` // PEM
	Chain       string `json:"chain"`       // PEM: what stands above it, the root last
}

const joinClause = "GM/T 0034 §5.1"

// join are the changes to which roots stand above this CA.
func (a *authorities) join() []proposal.Matter {
	return []proposal.Matter{
		{
			Name: "authority.request", Title: "向上级根申请证书", Clause: joinClause, Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{{Name: "to", Title: "上级根的名称", Kind: "text", Need: true, Hint: "执行后在“结果”中下载证书请求：运营 CA 现有的密钥和名称"}},
			Read:   a.readJoining, Do: a.request,
		},
		{
			Name: "authority.import", Title: "导入并启用上级根签发的证书", Clause: joinClause, Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{
				{Name: "certificate", Title: "上级根签发的运营 CA 证书", Kind: "pem", Need: true},
				{Name: "chain", Title: "其上各级证书，根在最后", Kind: "pem", Need: true, Hint: "批准前请按另一渠道核对根证书的 SM3"},
			},
			Read: a.readJoined(false), Do: a.activate,
		},
		{
			Name: "authority.request-new", Title: "以新密钥向上级根申请证书", Clause: joinClause, Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{{Name: "to", Title: "上级根的名称", Kind: "text", Need: true, Hint: "执行时生成新密钥，在“结果”中下载证书请求；新密钥在导入证书之前不使用"}},
			Read:   a.readJoiningNew, Do: a.requestNew,
		},
		{
			Name: "authority.import-new", Title: "导入上级根为新密钥签发的证书并启用新密钥", Clause: joinClause, Propose: access.CAAdmin, Confirm: access.CASuper, Quorum: quorum, Release: access.CAOperator,
			Fields: []proposal.Field{
				{Name: "certificate", Title: "上级根为新密钥签发的证书", Kind: "pem", Need: true},
				{Name: "chain", Title: "其上各级证书，根在最后", Kind: "pem", Need: true, Hint: "批准前请按另一渠道核对根证书的 SM3"},
			},
			Read: a.readJoined(true), Do: a.activateNew,
		},
		{
			Name: "authority.forgo", Title: "放弃待启用的新密钥", Clause: joinClause, Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{{Name: "reason", Title: "原因", Kind: "long", Need: true}}, Read: a.readForgo, Do: a.forgo,
		},
	}
}

func (a *authorities) readJoining(_ context.Context, content []byte) (proposal.Shown, error) {
	var j joining
	if err := strict.JSON(content, &j); err != nil {
		return proposal.Shown{}, BadAuthority.At("content", joinClause).Because("字段为 to")
	}
	if err := text("to", j.To, 100); err != nil {
		return proposal.Shown{}, BadAuthority.At("to", joinClause).Because("应为 1 至 100 字，首尾无空白")
	}
	canonical, err := json.Marshal(j)
	is := a.issuers["operating"].Current()
	return proposal.Shown{Content: canonical, Title: j.To, Lines: []proposal.Line{
		{Name: "上级根", Value: j.To}, {Name: "主体", Value: dn.Text(is.Cert.Subject)}, {Name: "公钥标识", Value: strings.ToUpper(hex.EncodeToString(cert.KeyID(is.Cert.Point)))},
	}}, err
}

// request writes the request. Made again it says the same under another signature.
func (a *authorities) request(context.Context, proposal.Record) ([]byte, error) {
	der, err := a.issuers["operating"].JoinRequest()
	if err != nil {
		return nil, err
	}
	return csr.PEM(der), nil
}

// chain reads the certificates of a proposal, its own first.
func (j joined) chain() (list []*cert.Certificate, err error) {
	for _, f := range []struct{ name, text string }{{"certificate", j.Certificate}, {"chain", j.Chain}} {
		rest := []byte(f.text)
		for n := 0; len(bytes.TrimSpace(rest)) > 0 || n == 0; n++ {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || n > 0 && f.name == "certificate" || len(list) > 8 {
				return nil, BadAuthority.At(f.name, "RFC 7468").Because("应为 PEM 格式的 SM2 证书")
			}
			c, err := cert.Parse(block.Bytes)
			if err != nil {
				return nil, BadAuthority.At(f.name, "GM/T 0015 §5.2").Because("%v", err)
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func (a *authorities) readJoined(fresh bool) func(ctx context.Context, content []byte) (proposal.Shown, error) {
	return func(ctx context.Context, content []byte) (proposal.Shown, error) {
		var next []byte
		if fresh {
			order, point, err := a.rollover().Waiting(ctx)
			if err != nil {
				return proposal.Shown{}, err
			}
			if point == nil {
				return proposal.Shown{}, BadKeyChange.At("certificate", joinClause).Because("没有待启用的新密钥").ToFix("请先提议“以新密钥向上级根申请证书”")
			}
			roll, err := a.given(content)
			if err != nil {
				return proposal.Shown{}, err
			}
			if err := roll.Check(ctx, order); err != nil {
				return proposal.Shown{}, err
			}
			next = point
		}
		return a.readAnswer(ctx, content, next)
	}
}

// readAnswer checks what another root returned for the CA's key, or for the next
// one where it is given.
func (a *authorities) readAnswer(ctx context.Context, content, next []byte) (proposal.Shown, error) {
	var j joined
	if err := strict.JSON(content, &j); err != nil {
		return proposal.Shown{}, BadAuthority.At("content", joinClause).Because("字段为 certificate、chain")
	}
	chain, err := j.chain()
	if err != nil {
		return proposal.Shown{}, err
	}
	if err := a.issuers["operating"].CheckJoined(chain, next); err != nil {
		return proposal.Shown{}, err
	}
	root := chain[len(chain)-1]
	shown := proposal.Shown{Title: dn.Text(root.Subject), Lines: []proposal.Line{
		{Name: "运营 CA 证书", Value: "序列号 " + chain[0].SerialHex() + "，至 " + chain[0].NotAfter.Format("2006-01-02")},
		{Name: "签发者", Value: dn.Text(chain[0].Issuer)}, {Name: "根", Value: dn.Text(root.Subject)}, {Name: "根证书 SM3", Value: hex.EncodeToString(alg.Digest(root.Raw))},
	}}
	if shown.Content, err = json.Marshal(j); err != nil {
		return shown, err
	}
	known, err := a.store.Authorities(ctx)
	if slices.ContainsFunc(known, func(der []byte) bool { return bytes.Equal(der, chain[0].Raw) }) {
		return shown, BadAuthority.At("certificate", joinClause).Because("此证书已经导入")
	}
	return shown, err
}

// activate puts the chain on the ledger, the root first, from which the service
// zone hands it out. Each certificate is put there once.
func (a *authorities) activate(ctx context.Context, r proposal.Record) ([]byte, error) {
	var j joined
	if err := json.Unmarshal(r.Content, &j); err != nil {
		return nil, err
	}
	chain, err := j.chain()
	if err != nil {
		return nil, err
	}
	is := a.issuers["operating"]
	if err := is.CheckJoined(chain, nil); err != nil {
		return nil, err
	}
	slices.Reverse(chain)
	return nil, a.put(ctx, r.ID, chain...)
}

// put has the ledger name certificates, each once.
func (a *authorities) put(ctx context.Context, order string, list ...*cert.Certificate) error {
	is := a.issuers["operating"]
	known, err := a.store.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if slices.ContainsFunc(known, func(der []byte) bool { return bytes.Equal(der, c.Raw) }) {
			continue
		}
		leaf, line := ca.Authority(c.Raw, is.Now())
		line.Who, line.Item, line.Detail = "system:ca", "authority.import", order
		if err := a.store.Authority(ctx, leaf, c.Raw, line); err != nil {
			return err
		}
	}
	if is.Wake != nil {
		is.Wake()
	}
	return nil
}

func (a *authorities) readJoiningNew(ctx context.Context, content []byte) (proposal.Shown, error) {
	shown, err := a.readJoining(ctx, content)
	if err != nil {
		return shown, err
	}
	shown.Lines[len(shown.Lines)-1] = proposal.Line{Name: "密钥", Value: "执行时在密码设备中生成"}
	return shown, a.rollover().Free(ctx)
}

// given is the change of the key that an answer finishes: with the certificate
// of the institution's own root where that is what came back.
func (a *authorities) given(content []byte) (*ca.Rollover, error) {
	roll := a.rollover()
	var j joined
	if err := strict.JSON(content, &j); err != nil {
		return nil, BadAuthority.At("content", joinClause).Because("字段为 certificate、chain")
	}
	chain, err := j.chain()
	if err == nil && bytes.Equal(chain[len(chain)-1].Raw, roll.Issuer.Root.Raw) {
		roll.Given = chain[0]
	}
	return roll, err
}

// requestNew makes the next key, once, and writes the request for it.
func (a *authorities) requestNew(ctx context.Context, r proposal.Record) ([]byte, error) {
	der, err := a.rollover().Prepare(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return csr.PEM(der), nil
}

// activateNew has the next key sign from now on, and then takes the answer as
// for the key that signs. Interrupted between the two it finds the key signing.
func (a *authorities) activateNew(ctx context.Context, r proposal.Record) ([]byte, error) {
	roll, err := a.given(r.Content)
	if err != nil {
		return nil, err
	}
	order, point, err := roll.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	if order != "" {
		if _, err := a.readAnswer(ctx, r.Content, point); err != nil {
			return nil, err
		}
		if roll.Given != nil { // everybody who reads the ledger knows it before it signs
			if err := a.put(ctx, r.ID, roll.Given); err != nil {
				return nil, err
			}
		}
		if _, err := roll.Do(ctx, order); err != nil {
			return nil, err
		}
	}
	if roll.Given == nil {
		if _, err := a.activate(ctx, r); err != nil {
			return nil, err
		}
	}
	if a.changed != nil {
		a.changed()
	}
	return nil, nil
}

func (a *authorities) readForgo(ctx context.Context, content []byte) (proposal.Shown, error) {
	var w why
	if err := strict.JSON(content, &w); err != nil {
		return proposal.Shown{}, BadKeyChange.At("content", joinClause).Because("字段为 reason")
	}
	if err := reasonOf(w.Reason); err != nil {
		return proposal.Shown{}, err
	}
	order, _, err := a.rollover().Waiting(ctx)
	if err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(w)
	if err == nil && order == "" {
		err = BadKeyChange.At("reason", joinClause).Because("没有待启用的新密钥")
	}
	return proposal.Shown{Content: canonical, Title: order, Lines: []proposal.Line{{Name: "生成它的变更", Value: order}, {Name: "原因", Value: w.Reason}}}, err
}

func (a *authorities) forgo(ctx context.Context, r proposal.Record) ([]byte, error) {
	order, _, err := a.rollover().Waiting(ctx)
	if err != nil || order == "" {
		return nil, err
	}
	now := a.issuers["operating"].Now()
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.rollover.forgo", Object: order, Result: audit.Done, Detail: r.ID}
	return nil, a.store.Forgo(ctx, order, line)
}

// above are the operator's lines about what other roots issued.
func (a *authorities) above(ctx context.Context, now time.Time) ([]api.Check, error) {
	known, err := a.store.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	var list []api.Check
	is := a.issuers["operating"]
	_, waits, err := a.rollover().Waiting(ctx)
	if err != nil {
		return nil, err
	}
	for _, der := range known {
		c, err := cert.Parse(der)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(c.Subject, is.Cert.Subject) && bytes.Equal(c.Issuer, is.Root.Subject) && !bytes.Equal(c.Point, waits) && !slices.ContainsFunc(is.Generations(), func(g *ca.Issuer) bool { return bytes.Equal(g.Cert.Point, c.Point) }) {
			list = append(list, api.Check{Name: "CA 密钥", State: "bad", Value: fmt.Sprintf("账本中密钥标识 %X 的 CA 证书不在本系统的密钥之列", cert.KeyID(c.Point)), Advice: "恢复所用的备份早于密钥更新：请从更新之后的备份恢复密钥，或更新 CA 密钥并撤销那把密钥的证书"})
		}
		if bytes.Equal(c.Point, is.Current().Cert.Point) && !bytes.Equal(der, is.Current().Cert.Raw) && !bytes.Equal(c.Issuer, c.Subject) {
			list = append(list, api.Expiry("上级根证书 "+dn.Text(c.Issuer), c.NotAfter, now, 365*24*time.Hour, "请向上级根续签并导入"))
		}
	}
	return list, nil
}
