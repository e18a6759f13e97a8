package directory_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ldapmsg"
)

// clock is one that is moved by hand.
type clock struct{ now time.Time }

func later(t *testing.T) (*shelf, *clock) {
	t.Helper()
	s, c := stand(t), &clock{time.Now()}
	s.Directory.Now = func() time.Time { return c.now }
	s.World.Due = c.now.Add(6 * time.Hour).Truncate(time.Second)
	return s, c
}

func named(cn string) dn.Name {
	n := zhang()
	n.CN = cn
	return n
}

func (s *shelf) due(want int) {
	s.T.Helper()
	if n, err := s.Directory.Due(); err != nil || n != want {
		s.T.Fatalf("%d came due, want %d: %v", n, want, err)
	}
}

func (s *shelf) holders(cn string) int { return len(s.under(is("cn", cn))) }

// Nothing of a certificate is to be found before it is due, by any question; then
// both of a pair are there, with what became of them meanwhile.
func TestACertificateIsShownWhenItIsDue(t *testing.T) {
	s, c := later(t)
	sign, enc := s.Pair(zhang(), true)
	ended, _ := s.Pair(named("李四"), true)
	freed, _ := s.Pair(named("王五"), true)
	s.World.Due = time.Time{}
	s.Pair(named("赵六"), true)
	s.publish()
	s.Revoke(ended, 1)
	s.Revoke(freed, 6)
	s.publish()
	s.Release(freed)
	s.publish()
	if n := len(s.under(has("userCertificate"))); n != 1 || s.holders("赵六") != 1 || len(s.under(is("serialNumber", sign.SerialHex()))) != 0 {
		t.Errorf("%d entries before anything is due", n)
	}
	if at, ok := s.Waits(strings.ToLower(enc.SerialHex())); !ok || !at.Equal(c.now.Add(6*time.Hour).Truncate(time.Second)) {
		t.Errorf("due %v %v", at, ok)
	}
	c.now = c.now.Add(6*time.Hour - time.Second)
	s.due(0)
	c.now = c.now.Add(time.Second)
	s.due(6)
	s.due(0)
	for cn, want := range map[string]string{"张三": " good", "李四": " revoked 1 ", "王五": " good"} {
		e := s.under(is("cn", cn))
		if len(e) != 1 || len(e[0].attrs["userCertificate;binary"]) != 2 || !strings.Contains(strings.Join(e[0].attrs["hufuCertificateStatus"], "\n"), want) {
			t.Errorf("%s: %+v", cn, e)
		}
	}
	if _, ok := s.Waits(sign.SerialHex()); ok || len(s.Waiting()) != 0 {
		t.Error("what is shown still waits")
	}
}

// Whenever the process ends, what waits goes on waiting, with its status, and
// what was shown stays: also when nothing but the ledger is left, and when the
// machine was off at the time.
func TestWhatWaitsSurvivesEveryEnd(t *testing.T) {
	s, c := later(t)
	now := func() time.Time { return c.now }
	sign, _ := s.Pair(zhang(), true)
	s.publish()
	s.Revoke(sign, 4)
	s.publish()
	whole := s.bytes()
	again := func(what string, b []byte) {
		t.Helper()
		if err := s.damage(b); err != nil {
			t.Fatal(err)
		}
		s.Directory.Now = now
		if _, err := s.Directory.Due(); err != nil {
			t.Fatal(err)
		}
		if e := s.under(is("cn", "张三")); len(e) != 1 || len(e[0].attrs["userCertificate;binary"]) != 2 || len(s.Waiting()) != 0 || !strings.Contains(strings.Join(e[0].attrs["hufuCertificateStatus"], ""), " revoked 4 ") {
			t.Errorf("%s: %+v", what, e)
		}
	}
	c.now = c.now.Add(7 * time.Hour)
	for n := 0; n < len(whole); n += 97 { // wherever the file was cut off
		again("cut", whole[:n])
	}
	again("whole", whole)
	shown := s.bytes()
	for n := len(whole); n < len(shown); n += 41 { // in the middle of showing
		again("half shown", shown[:n])
	}
	s.reopen()
	s.Directory.Now = now
	s.due(0)
	again("off meanwhile, ledger only", nil)
}

// Replacing the file keeps what waits.
func TestWhatWaitsSurvivesCompaction(t *testing.T) {
	s, c := later(t)
	sign, _ := s.Pair(zhang(), true)
	s.publish()
	entries := slices.Repeat([]crl.Entry{{Serial: sign.Serial.Bytes(), At: c.now}}, 300_000)
	biggest := 0
	for i := range 12 { // each list replaces the one before
		s.CRL("full", int64(i+1), entries...)
		s.publish()
		n := len(s.bytes())
		if n < biggest {
			biggest = 0
			break
		}
		biggest = n
	}
	if biggest > 0 {
		t.Fatalf("%d bytes: never compacted", biggest)
	}
	s.reopen()
	s.Directory.Now = func() time.Time { return c.now }
	if _, ok := s.Waits(sign.SerialHex()); !ok {
		t.Fatal("it does not wait")
	}
	c.now = c.now.Add(7 * time.Hour)
	s.due(2)
	if s.holders("张三") != 1 {
		t.Error("it is not shown")
	}
}

// What people ask to be shown at once is shown at once, once.
func TestAnEarlyReleaseShowsItAtOnce(t *testing.T) {
	s, c := later(t)
	sign, enc := s.Pair(zhang(), true)
	other, _ := s.Pair(named("李四"), true)
	s.publish()
	s.Early(sign)
	s.Early(enc)
	s.publish()
	if s.holders("张三") != 1 || s.holders("李四") != 0 {
		t.Error("not the one that was released")
	}
	if err := s.damage(nil); err != nil { // rebuilt from the ledger, before it is due
		t.Fatal(err)
	}
	s.Directory.Now = func() time.Time { return c.now }
	if s.holders("张三") != 1 || s.holders("李四") != 0 {
		t.Error("rebuilt from the ledger it is another directory")
	}
	s.Early(sign) // long since there
	s.publish()
	if _, ok := s.Waits(other.SerialHex()); !ok || len(s.under(ldapmsg.Filter{Kind: ldapmsg.Present, Attr: "userCertificate"})) != 1 {
		t.Error("the other is shown too")
	}
}
