package ra_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Whoever has the database alone cannot try numbers against the commitment:
// the salt is sealed with the number.
func TestACommitmentCannotBeGuessedFromTheDatabase(t *testing.T) {
	p := newPlace(t)
	rec := p.draft("张三")
	var app enroll.Application
	if err := enroll.Decode(rec.Content, &app); err != nil {
		t.Fatal(err)
	}
	if rec.Identity.Salt != nil || !rec.Identity.Salted {
		t.Error("the salt lies in the clear")
	}
	secret, err := p.Device.Unwrap(p.Master, rec.Identity.Number, []byte("identity-salted:"+rec.ID))
	if err != nil || !bytes.Equal(alg.Digest(secret[:16], []byte(number)), app.Identity.Commitment) {
		t.Errorf("the sealed salt does not open the commitment: %v", err)
	}
	old := rec // as earlier versions sealed it
	old.ID = "A0"
	old.Identity = ra.Sealed{Salt: []byte{1}}
	if old.Identity.Number, err = p.Device.Wrap(p.Master, []byte(number), []byte("identity:A0")); err != nil {
		t.Fatal(err)
	}
	if err := p.memory.Draft(t.Context(), []ra.Record{old}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, got, err := p.Number(t.Context(), "A0", "核对", p.Who["reviewer"], ""); err != nil || got != number {
		t.Error(got, err)
	}
}

// No personal data is handed out unless the reading is on the trail.
func TestNothingIsReadUnrecorded(t *testing.T) {
	for _, after := range []bool{false, true} {
		p := newPlace(t)
		rec := p.draft("张三")
		told := 0
		p.Read = func(string, int) { told++ }
		for at := 1; at <= 2; at++ {
			f := &ratest.Failing{Store: p.memory, At: at, After: after}
			p.Store = f
			if _, got, err := p.Number(t.Context(), rec.ID, "核对", p.Who["clerk"], ""); !errors.Is(err, ratest.ErrCrash) || got != "" {
				t.Errorf("call %d: %q %v", at, got, err)
			}
			p.Store = &ratest.Failing{Store: p.memory, At: 1, After: after}
			if list, err := p.Export(t.Context(), ra.Query{}, true, "核对", p.Who["clerk"], ""); !errors.Is(err, ratest.ErrCrash) || list != nil {
				t.Errorf("an export: %d cases, %v", len(list), err)
			}
		}
		if told != 0 {
			t.Errorf("%d readings are counted that did not happen", told)
		}
	}
}

func TestPersonalDataIsRefused(t *testing.T) {
	p := newPlace(t)
	rec := p.issued("张三")
	order := p.must("clerk", ra.Order{Act: "ra.revoke", Serial: rec.SignSerial, Reason: "superseded"})
	p.same(t, func() {
		for _, c := range []struct{ id, who, why string }{{rec.ID, "producer", "核对"}, {rec.ID, "auditor", "核对"}} {
			_, _, err := p.Number(t.Context(), c.id, c.why, p.Who[c.who], "")
			refused(t, err, casework.NotYours, "role")
		}
		for _, why := range []string{"", "  ", "无", strings.Repeat("长", ra.NoteMax+1)} {
			_, _, err := p.Number(t.Context(), rec.ID, why, p.Who["clerk"], "")
			refused(t, err, ra.NoWhy, "reason")
			_, err = p.Export(t.Context(), ra.Query{}, true, why, p.Who["clerk"], "")
			refused(t, err, ra.NoWhy, "reason")
		}
		_, _, err := p.Number(t.Context(), order.ID, "核对", p.Who["clerk"], "")
		refused(t, err, ra.NoCase, "id")
		_, err = p.Export(t.Context(), ra.Query{}, true, "核对", p.Who["auditor"], "")
		refused(t, err, casework.NotYours, "role")
	})
}

// Lists call people by their first character, everybody else by their name.
func TestListsMaskPeopleOnly(t *testing.T) {
	p := newPlace(t)
	for _, c := range []struct{ profile, title, want string }{
		{"person-dual", "张三", "张＊"}, {"person-dual", "欧阳娜娜", "欧＊"}, {"person-dual", "𠮷田", "𠮷＊"}, {"person-dual", "", ""},
		{"organisation-dual", "某某局", "某某局"}, {"device-dual", "门禁一号", "门禁一号"}, {"no-such", "张三", "张三"},
	} {
		if got := p.Called(ra.Record{Title: c.title, Profile: c.profile}); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.profile, c.title, got, c.want)
		}
	}
}
