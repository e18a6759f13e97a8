package cacore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// courier issues what a registration system asks for in files, where no line leads
// to the core. What people signed is checked as if it had come over the line; the
// registration system's own signature tells whose file it is.
type courier struct {
	issue func(ctx context.Context, requests []enroll.Request) ([]enroll.Answer, error)
	key   crypto.Signer
	ra    *ecdsa.PublicKey
	now   func() time.Time
}

// matters is one change, on one operator's signature: who decided are the people
// whose signatures are in the file.
func (c *courier) matters() []proposal.Matter {
	return []proposal.Matter{{
		Name: "offline.issue", Title: "离线签发", Clause: "GM/T 0034 §5.3.4", Propose: access.CAOperator,
		Fields: []proposal.Field{{Name: "format", Title: "文件格式", Kind: "text", Need: true}, {Name: "body", Title: "内容", Kind: "long", Need: true}, {Name: "signature", Title: "注册系统的签名", Kind: "text", Need: true}},
		Read:   c.read, Do: c.do,
	}}
}

func (c *courier) open(content []byte) (in enroll.Requests, digest []byte, err error) {
	digest, err = enroll.OpenFile(content, enroll.RequestFile, c.ra, &in)
	if err == nil && (len(in.Requests) == 0 || len(in.Requests) > enroll.FileRequests) {
		err = enroll.BadFile.At("content", enroll.BadFile.Clause).Because("应有 1 至 %d 件申请", enroll.FileRequests)
	}
	return in, digest, err
}

func (c *courier) read(_ context.Context, content []byte) (proposal.Shown, error) {
	in, digest, err := c.open(content)
	if err != nil {
		return proposal.Shown{}, err
	}
	var canonical bytes.Buffer
	if err := json.Compact(&canonical, content); err != nil {
		return proposal.Shown{}, err
	}
	return proposal.Shown{Content: canonical.Bytes(), Title: fmt.Sprintf("%d 件", len(in.Requests)), Lines: []proposal.Line{
		{Name: "导出时间", Value: in.At.UTC().Format(time.RFC3339)}, {Name: "件数", Value: fmt.Sprint(len(in.Requests))}, {Name: "文件内容 SM3", Value: fmt.Sprintf("%x", digest)},
		{Name: "首件", Value: in.Requests[0].ID}, {Name: "末件", Value: in.Requests[len(in.Requests)-1].ID},
	}}, nil
}

// do issues every request, or finds what was issued for it before, and signs the
// answers. One that failed for want of another system has the whole begun again:
// the others are found done.
func (c *courier) do(ctx context.Context, r proposal.Record) ([]byte, error) {
	in, digest, err := c.open(r.Content)
	if err != nil {
		return nil, err
	}
	out := enroll.Answers{At: c.now().UTC(), Of: digest}
	for at := 0; at < len(in.Requests); at += enroll.BatchMax {
		part := in.Requests[at:min(at+enroll.BatchMax, len(in.Requests))]
		answers, err := c.issue(ctx, part)
		if err != nil {
			return nil, err
		}
		for i, a := range answers {
			if a.Refusal == nil && a.Reply.Sign == nil {
				return nil, fmt.Errorf("request %s is not answered yet", part[i].ID)
			}
			out.Answers = append(out.Answers, enroll.Answered{ID: part[i].ID, Answer: a})
		}
	}
	return enroll.SealFile(c.key, enroll.AnswerFile, out)
}
