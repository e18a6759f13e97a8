package raapi_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
)

// The number of a person's card is refused as a text, since a query is part of an
// address; the key made of it finds the person's cases and nobody else's.
func TestANumberIsSearchedByItsKeyOnly(t *testing.T) {
	const number, other = "11010519491231002X", "91350100M000100Y43"
	a := raapi.API{Desk: &ra.Registrar{Store: new(ratest.Memory), BlindKey: []byte("k")}}
	for i, n := range []string{number, other} {
		rec := ratest.Sample(i)
		rec.Identity.Blind = a.Desk.Blind(n)
		if err := a.Desk.Store.Draft(t.Context(), []ra.Record{rec}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []string{number, "11010519491231002x", " " + number + " ", "110105194912310029"} {
		_, err := a.Find(t.Context(), ra.Query{Text: q})
		if f := refusal.Of(err); !errors.Is(err, ra.NumberInURL) || f.Field != "q" || f.Fix == "" || f.Detail != "" {
			t.Errorf("%q: %v", q, err)
		}
	}
	find := func(q ra.Query) (ids []string) {
		t.Helper()
		p, err := a.Find(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Cases {
			ids = append(ids, c.ID)
		}
		return ids
	}
	key := base64.RawURLEncoding.EncodeToString(a.Desk.Blind("11010519491231002x"))
	for name, q := range map[string]ra.Query{"by key": {Blind: raapi.Unkey(key)}, "an institution's": {Text: other}} {
		if ids := find(q); len(ids) != 1 || (ids[0] == ratest.Sample(0).ID) != (name == "by key") {
			t.Errorf("%s: %v", name, ids)
		}
	}
	for _, junk := range []string{"!", "AAAA", number} {
		if ids := find(ra.Query{Blind: raapi.Unkey(junk)}); len(ids) != 0 {
			t.Errorf("%q found %v", junk, ids)
		}
	}
	if raapi.Unkey("") != nil || !bytes.Equal(raapi.Unkey(key), a.Desk.Blind(number)) {
		t.Error("keys are not read as they are made")
	}
}
