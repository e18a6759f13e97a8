package ca

import (
	"context"
	"time"
)

// Gate is what must be on record for a certificate policy before anything is
// issued under it. (签发条件)
type Gate struct {
	Policy        string    `json:"policy"`        // OID
	Qualification string    `json:"qualification"` // number of the institution's qualification
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	CPS           string    `json:"cps"` // version of the practice statement published for it
	Suspended     bool      `json:"suspended"`
	Note          string    `json:"note,omitempty"` // why it is suspended
}

// Gates tells the gate of a policy as it stands now; ok is false if there is none.
type Gates interface {
	Gate(ctx context.Context, policy string) (g Gate, ok bool, err error)
}

// passes refuses to issue under a policy whose gate is shut. Nothing else asks:
// a suspension leaves status, lists and revocation as they are (Order No. 4
// art. 4, 16).
func (is *Issuer) passes(ctx context.Context, policy string, at time.Time) error {
	g, ok, err := is.Gates.Gate(ctx, policy)
	switch {
	case err != nil:
		return err
	case !ok || g.Qualification == "" || g.CPS == "":
		return NoGate.At("policy", NoGate.Clause).Because("%s", policy)
	case at.Before(g.From) || at.After(g.To):
		return NoGate.At("policy", NoGate.Clause).Because("%s 的资质 %s 有效期为 %s 至 %s", policy, g.Qualification, g.From.Format("2006-01-02"), g.To.Format("2006-01-02"))
	case g.Suspended:
		return Suspended.At("policy", Suspended.Clause).Because("%s：%s", policy, g.Note)
	}
	return nil
}
