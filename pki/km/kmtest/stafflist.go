package kmtest

import (
	"testing"
	"time"

	"github.com/hufu-pki/hufu/pki/km"
)

// StaffList is the suite of a store of the list of staff certificates.
func StaffList(t *testing.T, s km.StaffListStore) {
	serial := []byte{0x41, 1}
	intend := func(want int) (number int64) {
		t.Helper()
		err := s.IntendStaffList(t.Context(), 100, at.AddDate(0, 0, 7), func(n int64, all []km.StaffStatus) []byte {
			if number = n; len(all) != want {
				t.Errorf("%d entries, want %d", len(all), want)
			}
			return []byte{byte(n)}
		})
		if err != nil {
			t.Fatal(err)
		}
		return number
	}
	sign := func(n int64) {
		t.Helper()
		if err := s.RecordStaffList(t.Context(), n, []byte{byte(n), 's'}, line("km.staff.list")); err != nil {
			t.Fatal(err)
		}
	}
	set := func(request string, reason int) {
		t.Helper()
		if err := s.SetStaffStatus(t.Context(), request, km.StaffStatus{Serial: serial, Reason: reason, At: at}, line("km.staff.status")); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := s.StaffList(t.Context()); ok || err != nil {
		t.Errorf("a list before any: %v %v", ok, err)
	}
	if der, err := s.SignedStaffList(t.Context()); der != nil || err != nil {
		t.Errorf("%x %v", der, err)
	}
	if n := intend(0); n != 100 {
		t.Errorf("the first is %d, want the least", n)
	}
	set("a", 6)
	if n := intend(1); n != 0 {
		t.Error("a list that is not signed was replaced")
	}
	sign(100)
	if l, _, err := s.StaffList(t.Context()); err != nil || !l.Due || l.DER == nil || !l.Next.Equal(at.AddDate(0, 0, 7).Truncate(time.Millisecond)) {
		t.Errorf("%+v %v", l, err)
	}
	if n := intend(1); n != 101 {
		t.Errorf("next is %d", n)
	}
	if der, err := s.SignedStaffList(t.Context()); string(der) != "ds" || err != nil {
		t.Errorf("while the next is not signed the last stands: %q %v", der, err)
	}
	sign(101)
	sign(101) // again changes nothing
	set("a", km.StaffGood)
	if l, _, _ := s.StaffList(t.Context()); l.Due {
		t.Error("a request was carried out twice")
	}
	set("b", km.StaffGood)
	intend(0)
	sign(102)
	set("c", 9)
	set("d", km.StaffGood)
	intend(1)
}
