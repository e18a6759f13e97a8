package ra_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Every class of certificate has a period, none shorter than the law's five
// years, and nothing of a user's is without one.
func TestEveryClassHasItsPeriod(t *testing.T) {
	list, err := ra.Periods()
	if err != nil {
		t.Fatal(err)
	}
	years := map[string]int{}
	for _, p := range list {
		if years[p.Audience] = p.Years; p.Years < 5 || p.Title == "" || p.Clause == "" {
			t.Errorf("%+v", p)
		}
	}
	if years["government"] != 10 {
		t.Error("the older text gives government users ten years")
	}
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range set {
		if years[p.Audience] == 0 {
			t.Errorf("%s (%s) has no period", name, p.Audience)
		}
	}
}

// After its time, exactly what was agreed on goes: the number, and each file that
// no case still kept names. However often it is begun, it is done once.
func TestIdentityIsForgottenAfterItsTime(t *testing.T) {
	set, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	store, key := new(ratest.Memory), newKey(t)
	now := ratest.Now
	desk := &ra.Registrar{Store: store, Profiles: set, Now: func() time.Time { return now }}
	r := &ra.Retention{Desk: desk, Key: key}
	file := func(n byte) []byte { return alg.Digest([]byte{n}) }
	put := func(id, profile string, ended time.Time, files ...[]byte) {
		t.Helper()
		app := enroll.Application{Profile: profile, Check: enroll.IdentityCheck{Method: "in-person"}}
		for _, f := range files {
			app.Check.Evidence = append(app.Check.Evidence, hex.EncodeToString(f))
		}
		name := dn.Name{C: "CN", CN: "甲"}.Bytes()
		k := newKey(t)
		der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 7}, Issuer: name, Subject: name, NotBefore: ended.AddDate(-1, 0, 0), NotAfter: ended, Point: alg.Point(&k.PublicKey)}.TBS(), k)
		if err != nil {
			t.Fatal(err)
		}
		rec := ra.Record{Case: casework.Case{ID: id, Kind: ra.IssueKind.Name, State: ra.Issued}, Content: app.Bytes(), Profile: profile,
			Identity: ra.Sealed{Number: hsm.Wrapped{Version: 1, Master: "m", Blob: []byte{1}}}, CreatedBy: "c", CreatedAt: now, UpdatedAt: now, Reply: enroll.Reply{Sign: der}, SignSerial: "4107"}
		if err := store.Draft(t.Context(), []ra.Record{rec}, nil, ratest.Line("x")); err != nil {
			t.Fatal(err)
		}
	}
	for n := byte(1); n <= 3; n++ {
		if err := store.KeepEvidence(t.Context(), ra.Evidence{Digest: file(n), Name: "a", Size: 1, By: "c", At: now}, ratest.Line("x")[0]); err != nil {
			t.Fatal(err)
		}
	}
	ended := now.Truncate(24 * time.Hour)
	put("A1", "person-dual", ended, file(1), file(2))
	put("A2", "person-dual", ended.AddDate(3, 0, 0), file(2)) // still kept: so is its file
	put("A3", "person-public-dual", ended, file(3))           // another class, another period
	content := func(audience string, day time.Time) []byte {
		data, err := json.Marshal(map[string]string{"audience": audience, "before": day.Format("2006-01-02"), "reason": "期满"})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	m, day := r.Matter(), ended.AddDate(0, 0, 2)
	now = ended.AddDate(6, 0, 0)
	if _, err := m.Read(t.Context(), content("government", day)); !errors.Is(err, ra.NotDue) || refusal.Of(err).Field != "before" {
		t.Errorf("government after six years: %v", err)
	}
	if shown, err := m.Read(t.Context(), content("public", day)); err != nil || !strings.Contains(shown.Title, "1 件") {
		t.Errorf("public after six years: %+v %v", shown, err)
	}
	now = ended.AddDate(10, 0, 3)
	shown, err := m.Read(t.Context(), content("government", day))
	if err != nil {
		t.Fatal(err)
	}
	rec := proposal.Record{Case: casework.Case{ID: "P1"}, Content: shown.Content}
	var out []byte
	for range 2 {
		if out, err = m.Do(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	var minutes ra.ForgetMinutes
	if err := json.Unmarshal(out, &minutes); err != nil || minutes.Count != 1 || minutes.Proposal != "P1" {
		t.Errorf("%+v %v", minutes, err)
	}
	for id, want := range map[string]bool{"A1": false, "A2": true, "A3": true} {
		if got, err := store.Case(t.Context(), id); err != nil || (got.Identity.Number.Blob != nil) != want {
			t.Errorf("%s keeps its number: %v, want %v", id, !want, want)
		}
	}
	for n, want := range map[byte]bool{1: false, 2: true, 3: true} {
		if _, err := store.Evidence(t.Context(), file(n)); (err == nil) != want {
			t.Errorf("file %d: %v, want kept %v", n, err, want)
		}
	}
	if _, err := m.Do(t.Context(), proposal.Record{Case: casework.Case{ID: "P2"}, Content: shown.Content}); !errors.Is(err, ra.NotDue) {
		t.Errorf("again under another: %v", err)
	}
	dry, err := r.Dry(t.Context())
	if err != nil || len(dry) != 3 || dry[0].Total != 0 || dry[1].Total != 1 {
		t.Errorf("%+v %v", dry, err)
	}
}
