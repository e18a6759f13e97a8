package ra_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
)

const code = "91350100M000100Y43"

// registered puts a unit on the register, its letter good for a month.
func (p *place) registered() {
	p.t.Helper()
	e, err := p.AddEvidence(p.t.Context(), "letter.pdf", []byte("授权书"), p.Who["clerk"], "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.enter(ra.UnitForm{Code: code, Name: "某某局", ST: "北京市", Letter: ra.Letter{Evidence: hex.EncodeToString(e.Digest), From: "2026-11-01", To: "2026-12-01"},
		Agent: ra.Agent{Legal: "李大明", Name: "王小明", Phone: "13800001234", Email: "w@example.cn", Kind: "resident-id", Number: "11010519491231002X"}})
}

// enter takes a change through both hands.
func (p *place) enter(f ra.UnitForm) {
	p.t.Helper()
	rec, err := p.DraftUnit(p.t.Context(), f, p.Who["clerk"], "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{rec.ID}})
}

// An application takes its unit's fields from the register, and rests on it until
// it is approved: a letter that runs out meanwhile stops it.
func TestAnApplicationRestsOnItsUnit(t *testing.T) {
	p := newPlace(t)
	p.registered()
	f := brought(t, "某某局")
	f.Profile, f.Unit, f.Identity = "organisation-dual", code, ra.IdentityForm{}
	f.Subject.O = ""
	rec, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(rec.Content, []byte(`"O":"某某局"`)) || !bytes.Contains(rec.Content, []byte(`"kind":"credit-code"`)) {
		t.Errorf("%s", rec.Content)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	p.now = p.now.AddDate(0, 0, 8) // past the letter's last day
	if _, err := p.act("reviewer", ra.Order{Act: "ra.approve", IDs: []string{rec.ID}}); !errors.Is(err, ra.LetterExpired) || refusal.Of(err).Field != "unit" {
		t.Errorf("approved on a letter that is over: %v", err)
	}
	f.CSR = brought(t, "某某局").CSR
	if _, err := p.Draft(t.Context(), f, p.Who["clerk"], ""); !errors.Is(err, ra.LetterExpired) {
		t.Errorf("drafted on a letter that is over: %v", err)
	}
	p.enter(ra.UnitForm{Do: ra.UnitAmend, Code: code, Letter: ra.Letter{To: "2027-12-01"}})
	if _, err := p.act("reviewer", ra.Order{Act: "ra.approve", IDs: []string{rec.ID}}); err != nil {
		t.Error(err)
	}
	s, err := p.UnitAgent(t.Context(), code, "核对", p.Who["clerk"], "")
	if err != nil || s.Name != "王小明" || s.Number != "11010519491231002X" {
		t.Errorf("what an amendment left out is gone: %+v %v", s, err)
	}
}

// Of two changes that were drafted on the same register the second is decided on
// nothing that stands any more.
func TestAChangeFollowsTheRegisterItWasMadeOn(t *testing.T) {
	p := newPlace(t)
	p.registered()
	first, err1 := p.DraftUnit(t.Context(), ra.UnitForm{Do: ra.UnitAmend, Code: code, Name: "甲局"}, p.Who["clerk"], "")
	second, err2 := p.DraftUnit(t.Context(), ra.UnitForm{Do: ra.UnitAmend, Code: code, Name: "乙局"}, p.Who["clerk2"], "")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{first.ID}})
	p.must("clerk2", ra.Order{Act: "ra.submit", IDs: []string{second.ID}})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{first.ID}})
	if _, err := p.act("reviewer", ra.Order{Act: "ra.approve", IDs: []string{second.ID}}); !errors.Is(err, casework.Stale) {
		t.Errorf("%v", err)
	}
	if u, err := p.Store.Unit(t.Context(), code); err != nil || u.Name != "甲局" {
		t.Errorf("%+v %v", u, err)
	}
}
