package cacore

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ca"
)

const listClause = "GM/T 0034 §5.3.4"

// publication is what an order to sign the lists now says.
type publication struct {
	Reason string `json:"reason"`
}

// listMatters are the orders about revocation lists. One operator's signature
// is enough: signing lists early harms nobody.
func listMatters(p *ca.Publisher) []proposal.Matter {
	return []proposal.Matter{{
		Name: "crl.publish", Title: "立即签发证书撤销列表", Clause: listClause, Propose: access.CAOperator,
		Fields: []proposal.Field{{Name: "reason", Title: "原因", Kind: "long", Need: true}},
		Read:   readPublication,
		Do: func(ctx context.Context, r proposal.Record) ([]byte, error) {
			numbers, err := p.PublishAll(ctx, r.CreatedAt)
			if err != nil {
				return nil, err
			}
			return json.Marshal(numbers)
		},
	}}
}

const releaseClause = "GM/T 0034 §5.3.5"

// release is what an order to publish a certificate at once says.
type release struct {
	Serial string `json:"serial"`
	Reason string `json:"reason"`
}

// releaseMatters are the orders about certificates that wait for their scheduled
// publication. One operator's signature is enough: the profile has decided that
// they are published.
func releaseMatters(is *ca.Issuer) []proposal.Matter {
	return []proposal.Matter{{
		Name: "certificate.publish", Title: "立即发布证书", Clause: releaseClause, Propose: access.CAOperator,
		Fields: []proposal.Field{
			{Name: "serial", Title: "证书序列号", Kind: "text", Need: true, Hint: "十六进制；成对的两张证书一起发布"}, {Name: "reason", Title: "原因", Kind: "long", Need: true},
		},
		Read: func(ctx context.Context, content []byte) (proposal.Shown, error) {
			var o release
			if err := strict.JSON(content, &o); err != nil {
				return proposal.Shown{}, BadRelease.At("content", releaseClause).Because("字段为 serial、reason")
			}
			if reasonOf(o.Reason) != nil {
				return proposal.Shown{}, BadRelease.At("reason", releaseClause).Because("应为 1 至 200 字，首尾无空白")
			}
			list, err := is.Waiting(ctx, o.Serial)
			if err != nil {
				return proposal.Shown{}, err
			}
			o.Serial = cert.SerialHex(list[0].Serial)
			shown := proposal.Shown{Title: o.Serial}
			for _, c := range list {
				shown.Lines = append(shown.Lines, proposal.Line{Name: "证书", Value: cert.SerialHex(c.Serial) + "，原定 " + c.Due.In(time.FixedZone("", 8*60*60)).Format("2006-01-02 15:04") + " 发布"})
			}
			shown.Lines = append(shown.Lines, proposal.Line{Name: "原因", Value: o.Reason})
			shown.Content, err = json.Marshal(o)
			return shown, err
		},
		Do: func(ctx context.Context, r proposal.Record) ([]byte, error) {
			var o release
			if err := json.Unmarshal(r.Content, &o); err != nil {
				return nil, err
			}
			return nil, is.Release(ctx, r.ID, o.Serial)
		},
	}}
}

func readPublication(_ context.Context, content []byte) (proposal.Shown, error) {
	var o publication
	if err := strict.JSON(content, &o); err != nil {
		return proposal.Shown{}, BadOrder.At("content", listClause).Because("字段为 reason")
	}
	if n := utf8.RuneCountInString(o.Reason); n == 0 || n > 200 || strings.TrimSpace(o.Reason) != o.Reason {
		return proposal.Shown{}, BadOrder.At("reason", listClause).Because("应为 1 至 200 字，首尾无空白")
	}
	canonical, err := json.Marshal(o)
	return proposal.Shown{Content: canonical, Title: "全量、增量与各分片", Lines: []proposal.Line{{Name: "原因", Value: o.Reason}}}, err
}
