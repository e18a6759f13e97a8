package staff

import (
	"bytes"
	"context"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
)

// Step is what one person signed of a change.
type Step struct {
	Signed access.Signed
	Item   access.Item
	Proof  access.Proof
}

// Order is a change that the people of another system decided there and this
// one, whose register counts, is to carry out.
type Order struct {
	From    string // the other system; its ids are its own
	ID      string
	Matter  string
	Content []byte
	Steps   []Step
}

// Obey carries an order out, once, after checking against its own register
// what the other system's people signed: its word alone moves nobody. desk
// verifies statements of that system.
func (k *Keeper) Obey(ctx context.Context, desk access.Desk, chain []Grant, o Order) ([]byte, error) {
	matters := k.Matters(chain)
	i := slices.IndexFunc(matters, func(m proposal.Matter) bool { return m.Name == o.Matter })
	if i < 0 {
		return nil, proposal.NoMatter.At("matter", proposal.NoMatter.Clause).Because("%.60q", o.Matter)
	}
	m := matters[i]
	r := proposal.Record{Case: casework.Case{ID: o.From + ":" + o.ID, Kind: m.Name, State: proposal.Begun}, Content: o.Content}
	digest, result, done, err := k.People.Settled(ctx, r.ID)
	if err != nil || done && bytes.Equal(digest, digestOf(r)) {
		return result, err
	}
	for _, act := range []casework.Action{proposal.Propose, proposal.Confirm} {
		if act == proposal.Confirm && m.Confirm == "" {
			break
		}
		if r.Case, err = k.agreed(ctx, desk, m, r.Case, act, o); err != nil {
			return nil, err
		}
	}
	r.CreatedBy = r.Events[0].Who
	if shown, err := m.Read(ctx, o.Content); err != nil {
		return nil, err
	} else if !bytes.Equal(shown.Content, o.Content) {
		return nil, BadChange.At("content", BadChange.Clause).Because("内容不是规范形式")
	}
	return m.Do(ctx, r)
}

// agreed takes one step of the matter's own table with what somebody signed.
func (k *Keeper) agreed(ctx context.Context, desk access.Desk, m proposal.Matter, c casework.Case, act casework.Action, o Order) (casework.Case, error) {
	want := access.Item{Kind: m.Name, ID: o.ID, Seq: len(c.Events), Digest: alg.Digest(o.Content)}
	for _, s := range o.Steps {
		if s.Signed.Act != m.Name+"/"+string(act) {
			continue
		}
		covers := s.Item.Kind == want.Kind && s.Item.ID == want.ID && s.Item.Seq == want.Seq && bytes.Equal(s.Item.Digest, want.Digest)
		if !covers || s.Proof.Count != s.Signed.Count || !s.Proof.Covers(s.Signed.Digest, want) {
			continue
		}
		by, err := desk.Recheck(ctx, s.Signed)
		if err != nil {
			return c, err
		}
		move, err := m.Kind().Next(c, by, act, want, s.Proof, k.Now().UTC())
		return move.Case, err
	}
	return c, NotAgreed.At("evidence", NotAgreed.Clause).Because("没有覆盖此内容的“%s”签名", m.Kind().ActTitle(act))
}
