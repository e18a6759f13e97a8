package ca

import (
	"context"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// levelKinds are the kinds of applications by the reviews they need, from one, as
// people signed them.
var levelKinds = []string{IssueKind, "ra.issue2", "ra.issue3"}

// InForce are the profiles people apply under now.
func (is *Issuer) InForce() profile.Set { return is.profiles() }

func (is *Issuer) tree(ctx context.Context) (*body.Tree, error) {
	if is.Bodies == nil {
		return nil, nil
	}
	return is.Bodies.Tree(ctx)
}

// reviewed refuses an application that fewer people reviewed than this CA has on
// record for its profile, or that a body took which may not have.
func (is *Issuer) reviewed(ctx context.Context, t *body.Tree, r enroll.Request, a enroll.Application) error {
	n := max(1, a.Levels)
	if n > len(levelKinds) || a.Levels == 1 {
		return BadContent.At("levels", BadContent.Clause)
	}
	if t != nil && n < t.Levels(a.Profile) {
		return NoEvidence.At("levels", NoEvidence.Clause).Because("模板 %s 须 %d 级审核，申请只经 %d 级", a.Profile, t.Levels(a.Profile), n).ToFix("请退回，由录入员重新提交，按现行级数审核")
	}
	kind := levelKinds[n-1]
	if err := is.twoPeople(ctx, kind, r, "ra.submit", "ra.approve"); err != nil {
		return err
	}
	if n > 1 {
		if err := is.several(ctx, kind, r, n); err != nil {
			return err
		}
	}
	return is.taken(t, kind, r, a)
}

// several wants that many reviewers, each another person, none of them the clerk.
func (is *Issuer) several(ctx context.Context, kind string, r enroll.Request, n int) error {
	clerk, err := is.signer(ctx, kind, r, "ra.submit")
	if err != nil {
		return err
	}
	seen := []access.PersonID{clerk.ID}
	for _, e := range r.Evidence {
		if e.Signed.Act != "ra.approve" || !e.Covers(kind, r.ID, r.Content) {
			continue
		}
		by, err := is.Desk.Recheck(ctx, e.Signed)
		if err != nil {
			return err
		}
		if p := by.Who(); p.Holds(access.RAReviewer) && !slices.Contains(seen, p.ID) {
			seen = append(seen, p.ID)
		}
	}
	if len(seen)-1 < n {
		return NoEvidence.At("evidence", NoEvidence.Clause).Because("须由 %d 名审核员各自审核，只有 %d 名", n, len(seen)-1)
	}
	return nil
}

// taken holds an application against the CA's own register of bodies: who took it
// stands, in the institution's name, within what was delegated, and whoever signed
// works there or above.
func (is *Issuer) taken(t *body.Tree, kind string, r enroll.Request, a enroll.Application) error {
	if t == nil {
		return nil
	}
	today := is.Now().In(time.FixedZone("", 8*60*60)).Format(time.DateOnly)
	if err := t.Stands(a.Body, today); err != nil {
		return err
	}
	if a.Body != "" {
		org, err := dn.Parse(is.Cert.Subject)
		if err != nil {
			return err
		}
		if a.Principal != org.O {
			return body.Outside.At("principal", body.Outside.Clause).Because("应以“%s”的名义受理", org.O)
		}
		if err := t.Allows(a.Body, is.profiles()[a.Profile]); err != nil {
			return err
		}
	}
	for _, e := range r.Evidence {
		if e.Signed.Act != "ra.submit" && e.Signed.Act != "ra.approve" || !e.Covers(kind, r.ID, r.Content) {
			continue
		}
		if at := t.Of(e.Signed.Person); !t.Over(at, a.Body) { // whose signature it is was checked before
			return body.NotTheirs.At("body", body.NotTheirs.Clause).Because("%s 属于 %s", e.Signed.Person, at)
		}
	}
	return nil
}
