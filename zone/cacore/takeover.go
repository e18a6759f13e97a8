package cacore

import (
	"context"
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
	}}
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
