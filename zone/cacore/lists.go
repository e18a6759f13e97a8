package cacore

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
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
