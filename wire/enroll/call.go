package enroll

import (
	"context"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/wire/link"
)

// Paths of the CA core's service to registration systems.
const (
	pathIssue  = "/ca/v1/issue"
	pathRevoke = "/ca/v1/revoke"
)

// Answer is what became of one request: a reply, a refusal, or neither when
// the CA failed and will be asked again.
type Answer struct {
	Reply   Reply           `json:"reply"`
	Kind    refusal.Kind    `json:"kind,omitempty"`
	Refusal *refusal.Report `json:"refusal,omitempty"`
}

type batch struct {
	Requests []Request `json:"requests"`
}

type answers struct {
	Answers []Answer `json:"answers"`
}

// Client asks the CA core.
type Client struct{ Link *link.Client }

// Issue asks for certificates, each request under its own ID.
func (c Client) Issue(ctx context.Context, requests []Request) ([]Answer, error) {
	var out answers
	err := c.Link.Call(ctx, pathIssue, batch{requests}, &out)
	return out.Answers, err
}

// Revoke asks for a revocation.
func (c Client) Revoke(ctx context.Context, r Request) (Revoked, error) {
	var out Revoked
	return out, c.Link.Call(ctx, pathRevoke, r, &out)
}

// Service is what the CA core does for registration systems.
type Service struct {
	Issue  func(ctx context.Context, requests []Request) ([]Answer, error)
	Revoke func(ctx context.Context, r Request) (Revoked, error)
}

// Mount answers registration systems named in peers.
func (v Service) Mount(s *link.Server, peers ...string) {
	link.Handle(s, pathIssue, MessageMax, func(ctx context.Context, _ string, in batch) (answers, error) {
		list, err := v.Issue(ctx, in.Requests)
		return answers{list}, err
	}, peers...)
	link.Handle(s, pathRevoke, 1<<20, func(ctx context.Context, _ string, in Request) (Revoked, error) {
		return v.Revoke(ctx, in)
	}, peers...)
}
