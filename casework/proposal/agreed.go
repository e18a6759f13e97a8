package proposal

import (
	"bytes"
	"context"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
)

// Step is what one person signed of a proposal decided elsewhere.
type Step struct {
	Signed access.Signed
	Item   access.Item
	Proof  access.Proof
}

// Agreed takes a proposal that the people of another system decided there through
// the matter's own table, with what they signed: that system's word alone decides
// nothing. desk verifies statements of that system. missing is returned for a
// step that no signature covers.
func (m Matter) Agreed(ctx context.Context, desk access.Desk, id string, content []byte, steps []Step, missing func(title string) error, now time.Time) (Record, error) {
	r := Record{Case: casework.Case{ID: id, Kind: m.Name, State: Begun}, Content: content}
	for _, act := range []casework.Action{Propose, Confirm} {
		if act == Confirm && m.Confirm == "" {
			break
		}
		want := access.Item{Kind: m.Name, ID: id, Seq: len(r.Events), Digest: alg.Digest(content)}
		i := -1
		for n, s := range steps {
			covers := s.Item.Kind == want.Kind && s.Item.ID == want.ID && s.Item.Seq == want.Seq && bytes.Equal(s.Item.Digest, want.Digest)
			if s.Signed.Act == m.Name+"/"+string(act) && covers && s.Proof.Count == s.Signed.Count && s.Proof.Covers(s.Signed.Digest, want) {
				i = n
			}
		}
		if i < 0 {
			return r, missing(m.Kind().ActTitle(act))
		}
		by, err := desk.Recheck(ctx, steps[i].Signed)
		if err != nil {
			return r, err
		}
		move, err := m.Kind().Next(r.Case, by, act, want, steps[i].Proof, now)
		if err != nil {
			return r, err
		}
		r.Case = move.Case
	}
	r.CreatedBy, r.CreatedAt, r.UpdatedAt = r.Events[0].Who, r.Events[0].At, now
	return r, nil
}
