package cacore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/web/api"
)

const takeoverClause = "电子政务电子认证服务管理办法 第二十九条"

// takeover is what a proposal to take a CA over says.
type takeover struct {
	Manifest string `json:"manifest"` // SM3, hexadecimal
	Key      string `json:"key"`      // "yes": its private key is in the device and signs its lists
	Reason   string `json:"reason"`
}

// guard takes up the CAs taken over, as they are on record.
func guard(ctx context.Context, is *ca.Issuer, store *castore.Store, device hsm.Device) error {
	all, err := store.Wards(ctx)
	if err != nil {
		return err
	}
	for _, w := range all {
		if !w.Done {
			continue // the order that began it goes on with it
		}
		c, err := cert.Parse(w.DER)
		if err != nil {
			return fmt.Errorf("CA taken over by %s: %w", w.Order, err)
		}
		if w.Label == "" {
			is.Guard(w, nil, c)
			continue
		}
		key, err := device.Signer(w.Label)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("key of the CA taken over by %s: %w", w.Order, err)
		}
		if err != nil {
			return err
		}
		is.Guard(w, key, c)
	}
	return nil
}

func (a *authorities) takeover() *ca.Takeover {
	return &ca.Takeover{Issuer: a.issuers["operating"], Store: a.store, Device: a.device}
}

func (a *authorities) taking() []proposal.Matter {
	return []proposal.Matter{{
		Name: "authority.takeover", Title: "承接另一机构的 CA", Clause: takeoverClause, Propose: access.CAAdmin, Confirm: access.CASuper,
		Fields: []proposal.Field{
			{Name: "manifest", Title: "移交清单的 SM3", Kind: "text", Need: true, Hint: "hufu takeover check 所示；移交包须已上传"},
			{Name: "key", Title: "被承接 CA 的私钥", Kind: "choice", Need: true, Choices: []proposal.Choice{{Value: "yes", Title: "已在密码设备中，用于续签其撤销列表和响应证书"}, {Value: "no", Title: "没有移交：只提供最后的撤销列表"}}},
			{Name: "reason", Title: "依据", Kind: "long", Need: true},
		},
		Read: a.readTakeover, Do: a.takeOver,
	}, {
		Name: "taken.status", Title: "改变承接证书的状态", Clause: "GM/T 0034 §12.3", Propose: access.CAAdmin, Confirm: access.CASuper,
		Fields: []proposal.Field{
			{Name: "serial", Title: "证书序列号", Kind: "text", Need: true},
			{Name: "do", Title: "办理", Kind: "choice", Need: true, Choices: []proposal.Choice{{Value: "revoke", Title: "撤销"}, {Value: "freeze", Title: "冻结"}, {Value: "unfreeze", Title: "解冻"}}},
			{Name: "code", Title: "撤销原因", Kind: "text", Hint: "如 superseded；撤销时填写"}, {Name: "reason", Title: "依据", Kind: "long", Need: true},
		},
		Read: a.readTaken, Do: a.changeTaken,
	}}
}

// takenChange is what a proposal about a certificate taken over says: its holder
// has no case at the registration desk.
type takenChange struct {
	Serial string `json:"serial"`
	Do     string `json:"do"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason"`
}

// takenDo are the changes and what people call them.
var takenDo = map[string]string{"revoke": "撤销", "freeze": "冻结", "unfreeze": "解冻"}

func (a *authorities) readTaken(ctx context.Context, content []byte) (proposal.Shown, error) {
	var t takenChange
	if err := strict.JSON(content, &t); err != nil {
		return proposal.Shown{}, ca.BadHandover.At("content", takeoverClause).Because("字段为 serial、do、code、reason")
	}
	if err := reasonOf(t.Reason); err != nil {
		return proposal.Shown{}, err
	}
	t.Serial = strings.ToUpper(t.Serial)
	serial, err := hex.DecodeString(t.Serial)
	if err != nil || len(serial) == 0 {
		return proposal.Shown{}, ca.NoCert.At("serial", ca.NoCert.Clause)
	}
	c, err := a.issuers["operating"].Taken(ctx, serial)
	if err != nil {
		return proposal.Shown{}, err
	}
	held := c.Revoked && c.Reason == crl.Reasons["certificateHold"]
	code, known := crl.Reasons[t.Code]
	switch {
	case takenDo[t.Do] == "":
		return proposal.Shown{}, ca.BadReason.At("do", ca.BadReason.Clause).ToFix("请使用 revoke、freeze 或 unfreeze")
	case t.Do == "revoke" && (!known || code == crl.Reasons["certificateHold"]), t.Do != "revoke" && t.Code != "":
		return proposal.Shown{}, ca.BadReason.At("code", ca.BadReason.Clause).Because("%.40q", t.Code)
	case c.Revoked && !held:
		return proposal.Shown{}, ca.Revoked.At("serial", ca.Revoked.Clause)
	case t.Do == "freeze" && held:
		return proposal.Shown{}, ca.Held.At("serial", ca.Held.Clause)
	case t.Do == "unfreeze" && !held:
		return proposal.Shown{}, ca.NotHeld.At("serial", ca.NotHeld.Clause)
	}
	canonical, err := json.Marshal(t)
	return proposal.Shown{Content: canonical, Title: takenDo[t.Do] + " " + t.Serial, Lines: []proposal.Line{
		{Name: "证书序列号", Value: t.Serial}, {Name: "办理", Value: takenDo[t.Do]}, {Name: "撤销原因", Value: t.Code}, {Name: "依据", Value: t.Reason},
	}}, err
}

// changeTaken changes the status of both certificates of a pair, once.
func (a *authorities) changeTaken(ctx context.Context, r proposal.Record) ([]byte, error) {
	var t takenChange
	if err := json.Unmarshal(r.Content, &t); err != nil {
		return nil, err
	}
	serial, err := hex.DecodeString(t.Serial)
	if err != nil {
		return nil, err
	}
	is := a.issuers["operating"]
	if t.Do == "revoke" {
		return nil, is.EndInternal(ctx, "taken-"+r.ID, serial, crl.Reasons[t.Code])
	}
	return nil, is.HoldInternal(ctx, "taken-"+r.ID, serial, t.Do == "freeze")
}

func (a *authorities) readTakeover(ctx context.Context, content []byte) (proposal.Shown, error) {
	var t takeover
	if err := strict.JSON(content, &t); err != nil {
		return proposal.Shown{}, ca.BadHandover.At("content", takeoverClause).Because("字段为 manifest、key、reason")
	}
	if err := reasonOf(t.Reason); err != nil {
		return proposal.Shown{}, err
	}
	t.Manifest = strings.ToLower(strings.TrimSpace(t.Manifest))
	if t.Key != "yes" && t.Key != "no" {
		return proposal.Shown{}, ca.BadHandover.At("key", takeoverClause).Because("应为 yes 或 no")
	}
	p, err := a.takeover().Plan(ctx, t.Manifest)
	if err != nil {
		return proposal.Shown{}, err
	}
	if t.Key == "yes" && !p.Key {
		return proposal.Shown{}, ca.BadHandover.At("key", takeoverClause).Because("被承接 CA 的私钥不在密码设备中").ToFix("请先把它导入密码设备（hufu takeover key），标签为 " + ca.WardLabel(p.CA.Point))
	}
	serves := "续签其撤销列表，编号大于 " + fmt.Sprint(p.List.Number) + "；为其证书提供 OCSP"
	if t.Key == "no" {
		serves = "只提供第 " + fmt.Sprint(p.List.Number) + " 号列表，至 " + p.List.NextUpdate.Format("2006-01-02 15:04") + "；不提供 OCSP；不能再撤销"
	}
	canonical, err := json.Marshal(t)
	return proposal.Shown{Content: canonical, Title: dn.Text(p.CA.Subject), Lines: []proposal.Line{
		{Name: "被承接的 CA", Value: dn.Text(p.CA.Subject)}, {Name: "密钥标识", Value: fmt.Sprintf("%X", cert.KeyID(p.CA.Point))},
		{Name: "移交清单 SM3", Value: t.Manifest}, {Name: "证书", Value: fmt.Sprintf("%d 张，其中已撤销 %d 张", p.Certificates, p.Revoked)},
		{Name: "将要做的", Value: "证书和状态记入证书库与账本，公布到目录；" + serves}, {Name: "依据", Value: t.Reason},
	}}, err
}

func (a *authorities) takeOver(ctx context.Context, r proposal.Record) ([]byte, error) {
	var t takeover
	if err := json.Unmarshal(r.Content, &t); err != nil {
		return nil, err
	}
	return nil, a.takeover().Do(ctx, r.ID, t.Manifest, t.Key == "yes")
}

// Handover is how far a package has come.
type Handover struct {
	Manifest string `json:"manifest"`
	Have     []int  `json:"have"`
}

// receive takes packages part by part from CA administrators.
func (a *authorities) receive(site *api.Site) {
	type asked struct {
		Manifest string `path:"manifest" minLength:"64" maxLength:"64"`
	}
	type sent struct {
		Manifest string `path:"manifest" minLength:"64" maxLength:"64"`
		No       int    `path:"no" minimum:"0" maximum:"4096"`
		RawBody  []byte
	}
	have := func(ctx context.Context, manifest string) (*api.Body[Handover], error) {
		list, err := a.store.Pieces(ctx, manifest)
		if list == nil {
			list = []int{}
		}
		return &api.Body[Handover]{Body: Handover{manifest, list}}, err
	}
	api.Handle(site, api.Op{ID: "handover", Method: http.MethodGet, Path: "/api/v1/handover/{manifest}", Summary: "移交包已收到的各段"},
		func(ctx context.Context, in *asked) (*api.Body[Handover], error) { return have(ctx, in.Manifest) })
	api.Handle(site, api.Op{ID: "handover-piece", Method: http.MethodPost, Path: "/api/v1/handover/{manifest}/{no}", Summary: "上传移交包的一段", MaxBody: handover.ManifestMax},
		func(ctx context.Context, in *sent) (*api.Body[Handover], error) {
			now, who := a.issuers["operating"].Now(), api.Person(ctx)
			line := audit.Entry{Start: now, End: now, Who: string(who.ID), Role: string(access.CAAdmin), Item: "handover.piece", Object: in.Manifest, Result: audit.Done, Source: api.Source(ctx), Detail: fmt.Sprint(in.No), Serial: who.Serial}
			if !who.Holds(access.CAAdmin) {
				no := casework.NotYours.At("role", casework.NotYours.Clause).Because("移交包须由%s上传", access.CAAdmin.Title())
				line.Role, line.Result = "", no.Reason.Code
				if len(who.Roles) > 0 {
					line.Role = string(who.Roles[0])
				}
				if err := a.store.Refuse(ctx, line); err != nil {
					return nil, err
				}
				return nil, no
			}
			if err := a.takeover().Upload(ctx, in.Manifest, in.No, in.RawBody, line); err != nil {
				return nil, err
			}
			return have(ctx, in.Manifest)
		})
}
