package enroll

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/wire/link"
)

// Paths of the CA core's service to registration systems.
const (
	pathIssue  = "/ca/v1/issue"
	pathRevoke = "/ca/v1/revoke"
	pathStaff  = "/ca/v1/staff"
	pathRoster = "/ca/v1/roster"
	pathDuties = "/ca/v1/duties"
	pathStatus = "/ca/v1/responder"
	pathBody   = "/ca/v1/body"

	pathFigures = "/ca/v1/figures"
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

// Staff asks for a change to the registration system's people and returns the
// certificate that came of it, if any.
func (c Client) Staff(ctx context.Context, s Staff) ([]byte, error) {
	var out changed
	err := c.Link.Call(ctx, pathStaff, s, &out)
	return out.Cert, err
}

// Roster asks who works at the registration system; digest is of what is known.
func (c Client) Roster(ctx context.Context, digest []byte) (Roster, error) {
	var out Roster
	return out, c.Link.Call(ctx, pathRoster, known{digest}, &out)
}

// Body asks for a change to the register of registration bodies, as the people of
// the registration system decided it.
func (c Client) Body(ctx context.Context, s Staff) error {
	return c.Link.Call(ctx, pathBody, s, &changed{})
}

// Figures asks what the CA issued since a time and how it stands, and at what time
// it looked.
func (c Client) Figures(ctx context.Context, from time.Time) ([]Figure, time.Time, error) {
	var out figures
	err := c.Link.Call(ctx, pathFigures, since{from.Unix()}, &out)
	return out.Figures, time.Unix(out.At, 0).UTC(), err
}

// Duties asks which new keys people decided that the status service is to have.
func (c Client) Duties(ctx context.Context) ([]Duty, error) {
	var out duties
	err := c.Link.Call(ctx, pathDuties, struct{}{}, &out)
	return out.Duties, err
}

// Responder asks for a certificate for signing OCSP, DER.
func (c Client) Responder(ctx context.Context, r Responder) ([]byte, error) {
	var out changed
	err := c.Link.Call(ctx, pathStatus, r, &out)
	return out.Cert, err
}

// Service is what the CA core does for registration systems.
type Service struct {
	Issue  func(ctx context.Context, requests []Request) ([]Answer, error)
	Revoke func(ctx context.Context, r Request) (Revoked, error)
	Staff  func(ctx context.Context, s Staff) (cert []byte, err error)
	Roster func(ctx context.Context, digest []byte) (Roster, error)
	Body   func(ctx context.Context, s Staff) error
	// Figures counts what was issued since a time, as of the time it returns.
	Figures func(ctx context.Context, since time.Time) ([]Figure, time.Time, error)
	Duties  func(ctx context.Context) ([]Duty, error)
	Bars    func(ctx context.Context) ([]Bar, error)
	// Profiles tells the edition of profiles in force.
	Profiles func(ctx context.Context, digest []byte) (Profiles, error)
	// Responder certifies a key of the status service.
	Responder func(ctx context.Context, r Responder) (cert []byte, err error)
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
	link.Handle(s, pathStaff, 1<<20, func(ctx context.Context, _ string, in Staff) (changed, error) {
		der, err := v.Staff(ctx, in)
		return changed{der}, err
	}, peers...)
	link.Handle(s, pathBody, 1<<20, func(ctx context.Context, _ string, in Staff) (changed, error) {
		return changed{}, v.Body(ctx, in)
	}, peers...)
	link.Handle(s, pathFigures, 1<<10, func(ctx context.Context, _ string, in since) (figures, error) {
		list, at, err := v.Figures(ctx, time.Unix(in.Since, 0))
		return figures{at.Unix(), list}, err
	}, peers...)
	link.Handle(s, pathRoster, 1<<10, func(ctx context.Context, _ string, in known) (Roster, error) {
		return v.Roster(ctx, in.Digest)
	}, peers...)
	v.mountProfiles(s, peers)
	link.Handle(s, pathDuties, 1<<10, func(ctx context.Context, _ string, _ struct{}) (duties, error) {
		list, err := v.Duties(ctx)
		return duties{list}, err
	}, peers...)
	link.Handle(s, pathBars, 1<<10, func(ctx context.Context, _ string, _ struct{}) (bars, error) {
		list, err := v.Bars(ctx)
		return bars{list}, err
	}, peers...)
	link.Handle(s, pathStatus, 16<<10, func(ctx context.Context, _ string, in Responder) (changed, error) {
		der, err := v.Responder(ctx, in)
		return changed{der}, err
	}, peers...)
}
