package km_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/km"
)

func (w staffWorld) listed(t *testing.T) *crl.List {
	t.Helper()
	der, err := w.store.SignedStaffList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l, err := crl.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if alg.Verify(&w.key.PublicKey, l.RawTBS, l.Signature) != nil {
		t.Fatal("signature")
	}
	return l
}

// A hold is on the list and off it again; what was revoked stays, whatever is
// asked afterwards; a request asked twice changes nothing.
func TestTheListOfStaffCertificates(t *testing.T) {
	w := staffCA(t)
	r := &km.StaffRegister{CA: w.StaffCA, Store: w.store}
	if err := r.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := w.listed(t)
	if len(first.Entries) != 0 {
		t.Errorf("%+v", first.Entries)
	}
	serial := []byte{0x41, 9}
	for i, step := range []struct {
		request string
		reason  int
		want    int // entries
		code    int
	}{{"a", 6, 1, 6}, {"a", 6, 1, 6}, {"b", km.StaffGood, 0, 0}, {"c", 6, 1, 6}, {"d", 9, 1, 9}, {"e", km.StaffGood, 1, 9}, {"f", 6, 1, 9}} {
		before := w.listed(t).Number
		if err := r.Set(t.Context(), step.request, serial, step.reason); err != nil {
			t.Fatal(err)
		}
		l := w.listed(t)
		if len(l.Entries) != step.want || step.want > 0 && l.Entries[0].Reason != step.code {
			t.Errorf("step %d: %+v", i, l.Entries)
		}
		if i != 1 && l.Number.Cmp(before) <= 0 {
			t.Errorf("step %d: number %v after %v", i, l.Number, before)
		}
	}
	signed := len(w.key.signed)
	if err := r.Sign(t.Context()); err != nil || len(w.key.signed) != signed {
		t.Errorf("a list that is not due was signed: %v", err)
	}
	w.StaffCA.Now = func() time.Time { return staffNow.Add(25 * time.Hour) }
	if err := r.Sign(t.Context()); err != nil || len(w.key.signed) != signed+1 {
		t.Errorf("a day later it is not signed anew: %v", err)
	}
}

// faltered is a store whose recording fails once.
type faltered struct {
	km.StaffListStore
	left int
}

var errBroken = errors.New("broken")

func (b *faltered) RecordStaffList(ctx context.Context, number int64, der []byte, line audit.Entry) error {
	if b.left--; b.left == 0 {
		return errBroken
	}
	return b.StaffListStore.RecordStaffList(ctx, number, der, line)
}

// After a crash the very bytes on record are signed, and then what came since.
func TestTheListAfterACrash(t *testing.T) {
	w := staffCA(t)
	r := &km.StaffRegister{CA: w.StaffCA, Store: &faltered{w.store, 1}}
	if err := r.Set(t.Context(), "a", []byte{0x41, 1}, 6); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	l, ok, err := w.store.StaffList(t.Context())
	if err != nil || !ok || l.DER != nil {
		t.Fatalf("%+v %v", l, err)
	}
	if err := r.Set(t.Context(), "b", []byte{0x41, 2}, 9); err != nil {
		t.Fatal(err)
	}
	got := w.listed(t)
	if len(got.Entries) != 2 || string(w.key.signed[1]) != string(l.TBS) {
		t.Errorf("%+v", got.Entries)
	}
}
