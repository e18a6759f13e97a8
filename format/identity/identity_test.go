package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/identity"
)

var today = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// The numbers are those the standards work out themselves, and public ones.
func TestNumbersAreCheckedByTheirStandard(t *testing.T) {
	for _, tt := range []struct {
		what, kind, number string
		want               error
	}{
		{"the sample of GB 11643", "resident-id", "11010519491231002X", nil},
		{"a small x", "resident-id", "11010519491231002x", nil},
		{"a digit changed", "resident-id", "110105194912310021", identity.ErrCheck},
		{"two digits swapped", "resident-id", "11010519491213002X", identity.ErrCheck},
		{"17 digits", "resident-id", "1101051949123100X", identity.ErrForm},
		{"a letter inside", "resident-id", "1101051949123100AX", identity.ErrForm},
		{"wide digits", "resident-id", "１１０１０５", identity.ErrForm},
		{"the thirtieth of February", "resident-id", "110105194902300020", identity.ErrPeriod},
		{"born tomorrow", "resident-id", "110105202611250024", identity.ErrPeriod},
		{"a region there is not", "resident-id", "999999194912310025", identity.ErrPlace},
		{"markup", "passport", "<script>", identity.ErrForm},
		{"Han in a passport", "passport", "护照12345", identity.ErrForm},
		{"markup on a device", "device-number", "<b>SN1</b>", identity.ErrForm},
		{"a public credit code", "credit-code", "91350100M000100Y43", nil},
		{"a digit of it changed", "credit-code", "91350100M000100Y44", identity.ErrCheck},
		{"a letter no code has", "credit-code", "9135O100M000100Y43", identity.ErrForm},
		{"in small letters", "credit-code", "91350100m000100y43", identity.ErrForm},
		{"the sample of GB 11714", "organisation-code", "D2143569X", nil},
		{"with its hyphen", "organisation-code", "D2143569-X", nil},
		{"a digit of it changed", "organisation-code", "D2143568X", identity.ErrCheck},
		{"a passport", "passport", "E12345678", nil},
		{"three characters", "passport", "E12", identity.ErrForm},
		{"a blank inside", "passport", "E1234 5678", identity.ErrForm},
		{"an officer's", "military-id", "军字第2001988号", nil},
		{"a device", "device-number", "SN-0001/2026", nil},
		{"no such document", "library-card", "1234", identity.ErrKind},
	} {
		if err := identity.Check(tt.kind, tt.number, today); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, err, tt.want)
		}
	}
}

func TestEveryKindHasANameAndACheck(t *testing.T) {
	for kind, name := range identity.Kinds {
		if err := identity.Check(kind, "", today); errors.Is(err, identity.ErrKind) || err == nil || name == "" {
			t.Errorf("%s %q: %v", kind, name, err)
		}
	}
}

func TestAMaskHidesTheMiddle(t *testing.T) {
	for number, want := range map[string]string{
		"11010519491231002X": "110*************2X", "E12345678": "E*******8", "军字第2001988号": "军字第******8号", "1234": "1**4", "123": "***", "": "",
	} {
		if got := identity.Mask(number); got != want {
			t.Errorf("%s: %s, want %s", number, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("resident-id", "11010519491231002X")
	f.Add("credit-code", "91350100M000100Y43")
	f.Add("organisation-code", "D2143569-X")
	f.Fuzz(func(t *testing.T, kind, number string) {
		_ = identity.Check(kind, number, today)
		if m := identity.Mask(number); len([]rune(m)) != len([]rune(number)) {
			t.Errorf("%q is masked as %q", number, m)
		}
	})
}
