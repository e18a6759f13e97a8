package cacore

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
)

// authorities are the changes to which CAs there are below this one. A new one
// is proposed by an administrator, agreed by a super administrator and released
// by operators; one is revoked by two signatures, for that cannot wait.
type authorities struct {
	issuers map[string]*ca.Issuer // "root" and "operating"; the root's only where its key is
	store   *castore.Store
	device  hsm.Device
	changed func() // a status changed; may be nil
}

// rootOf finds out whether the root's key is in the core's device. Where it is
// offline the root signs elsewhere.
func rootOf(is *ca.Issuer, store *castore.Store, device hsm.Device) (*authorities, error) {
	a := &authorities{issuers: map[string]*ca.Issuer{"operating": is}, store: store, device: device}
	key, err := device.Signer(KeyRoot)
	switch {
	case err == nil:
		a.issuers["root"] = is.AsRoot(key)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return a, nil
}

// quorum is how many operators release the key that signs a CA certificate,
// beside the two who agreed to it (GM/T 0034 §8.2.4).
const quorum = 2

const authorityClause = "GM/T 0034 §8.2.4"

// subordinate is what a proposal to sign says.
type subordinate struct {
	CSR       string   `json:"csr"` // PEM
	Issuer    string   `json:"issuer"`
	PathLen   int      `json:"path_len"`
	Days      int      `json:"days"`
	Policies  []string `json:"policies"`
	Permitted []string `json:"permitted,omitempty"`
}

// ending is what a proposal to revoke says.
type ending struct {
	Serial string `json:"serial"`
	Reason string `json:"reason"`
}

func (a *authorities) matters() []proposal.Matter {
	reasons := proposal.Field{Name: "reason", Title: "撤销原因", Kind: "choice", Need: true}
	for _, name := range endings {
		reasons.Choices = append(reasons.Choices, proposal.Choice{Value: name, Title: name})
	}
	return append([]proposal.Matter{
		{
			Name: "authority.sign", Title: "签发下级 CA 证书", Clause: authorityClause, Propose: access.CAAdmin, Confirm: access.CASuper, Quorum: quorum, Release: access.CAOperator,
			Fields: []proposal.Field{
				{Name: "csr", Title: "下级 CA 的证书请求（PKCS#10）", Kind: "pem", Need: true},
				{Name: "issuer", Title: "签发者", Kind: "choice", Need: true, Choices: []proposal.Choice{{Value: "root", Title: "根 CA"}, {Value: "operating", Title: "运营 CA"}}},
				{Name: "path_len", Title: "路径长度", Kind: "number", Need: true, Hint: "其下还可有几级 CA；0 表示只签发用户证书"},
				{Name: "days", Title: "有效期（天）", Kind: "number", Need: true},
				{Name: "policies", Title: "许可的证书策略（每行一个对象标识符）", Kind: "lines", Need: true},
				{Name: "permitted", Title: "许可的名称（每行一项）", Kind: "lines", Hint: "dns:gov.cn、email:gov.cn 或 dn:C=CN,O=某某局；不填则不限"},
			},
			Read: a.readSign, Do: a.sign,
		},
		{
			Name: "authority.revoke", Title: "撤销下级 CA 证书", Clause: "GM/T 0034 §12.3", Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{{Name: "serial", Title: "证书序列号", Kind: "text", Need: true}, reasons},
			Read:   a.readEnding, Do: a.end,
		},
	}, slices.Concat(a.join(), a.keys(), a.taking())...)
}

// endings are the reasons for which a CA's certificate ends (RFC 5280 §5.3.1).
var endings = []string{"cACompromise", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"}

func (a *authorities) issuer(name string) (*ca.Issuer, error) {
	if name != "root" && name != "operating" {
		return nil, BadAuthority.At("issuer", authorityClause).Because("%.40q 不是 root 或 operating", name)
	}
	is := a.issuers[name]
	if is == nil {
		return nil, BadAuthority.At("issuer", authorityClause).Because("根密钥不在本系统").ToFix("请在离线根上签发")
	}
	return is.Current(), nil
}

func (a *authorities) order(content []byte) (o ca.AuthorityOrder, err error) {
	var s subordinate
	if err := strict.JSON(content, &s); err != nil {
		return o, BadAuthority.At("content", authorityClause).Because("字段为 csr、issuer、path_len、days、policies、permitted")
	}
	req, err := csr.Parse([]byte(s.CSR))
	if err != nil {
		return o, ca.BadRequest.At("csr", ca.BadRequest.Clause).Because("%v", err)
	}
	return ca.AuthorityOrder{
		Profile: ca.SubordinateProfile, Issuer: s.Issuer, CSR: req.Raw, Days: s.Days, PathLen: s.PathLen, Policies: s.Policies, Permitted: s.Permitted,
	}, nil
}

func (a *authorities) readSign(_ context.Context, content []byte) (proposal.Shown, error) {
	o, err := a.order(content)
	if err != nil {
		return proposal.Shown{}, err
	}
	is, err := a.issuer(o.Issuer)
	if err != nil {
		return proposal.Shown{}, err
	}
	s, err := is.ReadAuthority(o)
	if err != nil {
		return proposal.Shown{}, err
	}
	for _, other := range a.issuers { // no name or key of any CA of ours
		own, err := dn.Parse(other.Cert.Subject)
		if err != nil {
			return proposal.Shown{}, err
		}
		if own.CN == s.Name.CN || bytes.Equal(other.Cert.Point, s.Point) {
			return proposal.Shown{}, BadAuthority.At("subject.CN", authorityClause).Because("“%s”的名称或密钥是本机构 CA 的", own.CN)
		}
	}
	canonical, err := json.Marshal(subordinate{string(csr.PEM(o.CSR)), o.Issuer, o.PathLen, o.Days, o.Policies, o.Permitted})
	permitted := "不限"
	if len(o.Permitted) > 0 {
		permitted = strings.Join(o.Permitted, "；")
	}
	return proposal.Shown{Content: canonical, Title: s.Name.CN, Lines: []proposal.Line{
		{Name: "主体", Value: s.Name.String()}, {Name: "公钥标识", Value: strings.ToUpper(hex.EncodeToString(cert.KeyID(s.Point)))}, {Name: "签发者", Value: dn.Text(is.Cert.Subject)},
		{Name: "路径长度", Value: fmt.Sprint(o.PathLen)}, {Name: "有效期", Value: fmt.Sprintf("%d 天", o.Days)},
		{Name: "许可的策略", Value: strings.Join(o.Policies, "；")}, {Name: "许可的名称", Value: permitted},
	}}, err
}

// sign carries an agreed order out. What comes of it is the certificate and the
// chain above it, in PEM.
func (a *authorities) sign(ctx context.Context, r proposal.Record) ([]byte, error) {
	o, err := a.order(r.Content)
	if err != nil {
		return nil, err
	}
	is, err := a.issuer(o.Issuer)
	if err != nil {
		return nil, err
	}
	der, err := is.SignAuthority(ctx, "authority-"+r.ID, o)
	if err != nil {
		return nil, err
	}
	chain := append(cert.PEM(der), cert.PEM(is.Cert.Raw)...)
	if o.Issuer != "root" {
		chain = append(chain, cert.PEM(is.Root.Raw)...)
	}
	return chain, nil
}

// find finds the certificate a proposal names and who issued it.
func (a *authorities) find(ctx context.Context, e ending) (c ca.Issued, by *ca.Issuer, err error) {
	serial, err := hex.DecodeString(strings.ToLower(e.Serial))
	if err != nil {
		return c, nil, ca.NoCert.At("serial", ca.NoCert.Clause)
	}
	if c, err = a.issuers["operating"].Authority(ctx, serial); err != nil {
		return c, nil, err
	}
	name := "operating"
	if c.Shard == ca.Authorities {
		name = "root"
	}
	by, err = a.issuer(name)
	return c, by, err
}

func (a *authorities) readEnding(ctx context.Context, content []byte) (proposal.Shown, error) {
	var e ending
	if err := strict.JSON(content, &e); err != nil {
		return proposal.Shown{}, BadAuthority.At("content", authorityClause).Because("字段为 serial、reason")
	}
	if !slices.Contains(endings, e.Reason) {
		return proposal.Shown{}, ca.BadReason.At("reason", ca.BadReason.Clause).Because("%.40q", e.Reason).ToFix("请使用 " + strings.Join(endings, "、"))
	}
	c, _, err := a.find(ctx, e)
	if err != nil {
		return proposal.Shown{}, err
	}
	read, err := cert.Parse(c.DER)
	if err != nil {
		return proposal.Shown{}, err
	}
	e.Serial = cert.SerialHex(c.Serial)
	canonical, err := json.Marshal(e)
	if err == nil && c.Revoked {
		err = ca.Revoked.At("serial", ca.Revoked.Clause) // what it said is still to be read
	}
	return proposal.Shown{Content: canonical, Title: dn.Text(read.Subject), Lines: []proposal.Line{
		{Name: "主体", Value: dn.Text(read.Subject)}, {Name: "序列号", Value: e.Serial}, {Name: "原因", Value: e.Reason},
	}}, err
}

func (a *authorities) end(ctx context.Context, r proposal.Record) ([]byte, error) {
	var e ending
	if err := json.Unmarshal(r.Content, &e); err != nil {
		return nil, err
	}
	c, is, err := a.find(ctx, e)
	if err != nil {
		return nil, err
	}
	if err := is.EndInternal(ctx, "authority-"+r.ID, c.Serial, crl.Reasons[e.Reason]); err != nil {
		return nil, err
	}
	if a.changed != nil {
		a.changed()
	}
	return nil, nil
}
