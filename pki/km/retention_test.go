package km_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/km"
)

// Before ten years have passed nobody destroys an archived key; afterwards
// exactly those agreed on go, however often it is begun, and the minutes say so.
func TestArchivedKeysAreDestroyedAfterTheirTime(t *testing.T) {
	k := newKept(t, 3)
	r := &km.Retention{Vault: k.place.Vault, Store: k.store.Memory}
	m := r.Matter()
	from := k.now
	k.now = from.AddDate(1, 6, 0) // their certificates have ended
	if err := k.place.Vault.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	content := func(day time.Time, reason string) []byte {
		data, err := json.Marshal(map[string]string{"before": day.Format("2006-01-02"), "reason": reason})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	retired := k.now
	for _, c := range []struct {
		name  string
		at    time.Time
		day   time.Time
		why   string
		field string
	}{
		{"before ten years", retired.AddDate(9, 11, 0), retired.AddDate(0, 0, 1), "到期", "before"},
		{"a day too young", retired.AddDate(10, 0, 0), retired.AddDate(0, 0, 1), "到期", "before"},
		{"nothing is due", retired.AddDate(11, 0, 0), retired.AddDate(0, 0, -9), "到期", "before"},
		{"no reason", retired.AddDate(11, 0, 0), retired.AddDate(0, 0, 1), " ", "reason"},
	} {
		k.now = c.at
		_, err := m.Read(t.Context(), content(c.day, c.why))
		if no := refusal.Of(err); !errors.Is(err, km.NotDue) || no == nil || no.Field != c.field {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	k.now = retired.AddDate(10, 0, 2)
	shown, err := m.Read(t.Context(), content(retired.AddDate(0, 0, 1), "保存期满"))
	if err != nil || !strings.Contains(shown.Title, "3 个密钥") {
		t.Fatalf("%+v %v", shown, err)
	}
	dry, err := r.Dry(t.Context(), "", 0)
	if err != nil || dry.Total != 3 || len(dry.Keys) != 3 || !strings.Contains(string(shown.Content), dry.Digest) {
		t.Fatalf("%+v %v", dry, err)
	}
	rec := proposal.Record{Case: casework.Case{ID: "P1"}, Content: shown.Content}
	r.Store = &stops{RetentionStore: k.store.Memory}
	if _, err := m.Do(t.Context(), rec); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		out, err := m.Do(t.Context(), rec)
		if err != nil {
			t.Fatal(err)
		}
		first = out
	}
	var minutes km.DestroyMinutes
	if err := json.Unmarshal(first, &minutes); err != nil || minutes.Count != 3 || minutes.Digest != dry.Digest {
		t.Errorf("%+v %v", minutes, err)
	}
	centre, err := cert.Parse(k.place.Vault.Cert)
	if err != nil || minutes.Verify(centre) != nil {
		t.Error("minutes", err)
	}
	minutes.Count = 2
	if minutes.Verify(centre) == nil {
		t.Error("other minutes verify")
	}
	if _, err := m.Do(t.Context(), proposal.Record{Case: casework.Case{ID: "P2"}, Content: shown.Content}); !errors.Is(err, km.NotDue) {
		t.Errorf("another proposal destroys what is gone: %v", err)
	}
}

// stops is a store that fails once after it destroyed one key.
type stops struct {
	km.RetentionStore
	once bool
}

func (s *stops) Destroy(ctx context.Context, proposal string, before, at time.Time, _ int, line audit.Entry) (int, error) {
	n, err := s.RetentionStore.Destroy(ctx, proposal, before, at, 1, line)
	if !s.once {
		s.once = true
		return 0, errCrash
	}
	return n, err
}
