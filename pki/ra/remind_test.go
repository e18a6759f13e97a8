package ra_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
)

// A certificate gets each reminder once, at its day, the nearest only; the
// trail has a line for each; whatever does not stand any more gets none.
func TestRemindersComeAtTheirDays(t *testing.T) {
	s := new(ratest.Memory)
	rec := ratest.Sample(1)
	rec.State, rec.Reply = ra.Delivered, ratest.Reply(t, "张三", ratest.Now)
	rec.SignSerial, rec.EncSerial = rec.Reply.Serials()
	gone := ratest.Sample(2)
	gone.State, gone.Reply = ra.Revoked, ratest.Reply(t, "李四", ratest.Now)
	if err := s.Draft(t.Context(), []ra.Record{rec, gone}, nil, nil); err != nil {
		t.Fatal(err)
	}
	now, end := ratest.Now, ratest.Now.AddDate(1, 0, 0)
	desk := &ra.Registrar{Store: s, Now: func() time.Time { return now }}
	for _, c := range []struct {
		before int // days
		want   []int
	}{
		{70, nil}, {61, nil}, {60, []int{60}}, {59, []int{60}}, {29, []int{30, 60}}, {3, []int{7, 30, 60}}, {1, []int{7, 30, 60}}, {0, []int{7, 30, 60}}, {-5, []int{7, 30, 60}},
	} {
		now = end.AddDate(0, 0, -c.before)
		if _, err := desk.Remind(t.Context(), []int{7, 30, 60}); err != nil {
			t.Fatal(err)
		}
		list, err := s.Reminders(t.Context(), ra.ReminderQuery{})
		var got []int
		for _, r := range list {
			got = append(got, r.Days)
			if r.Case != rec.ID {
				t.Errorf("%s is reminded", r.Case)
			}
		}
		if slices.Sort(got); err != nil || !slices.Equal(got, c.want) || len(s.Lines()) != len(got) {
			t.Errorf("%d days before: %v, %d lines, %v", c.before, got, len(s.Lines()), err)
		}
	}
	late := new(ratest.Memory)
	if err := late.Draft(t.Context(), []ra.Record{rec}, nil, nil); err != nil {
		t.Fatal(err)
	}
	desk.Store, now = late, end.AddDate(0, 0, -5)
	if n, err := desk.Remind(t.Context(), []int{7, 30, 60}); n != 1 || err != nil {
		t.Errorf("one seen late is reminded %d times: %v", n, err)
	}
}

func TestDaysOfRemindersRise(t *testing.T) {
	for _, days := range [][]int{nil, {0}, {-1}, {30, 7}, {7, 7}, {401}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}} {
		if ra.RemindDays(days) == nil {
			t.Errorf("%v is taken", days)
		}
	}
	if err := ra.RemindDays([]int{7, 30, 60}); err != nil {
		t.Error(err)
	}
}

// A name cannot forge a header of the letter.
func TestALetterHasItsHeadersOnly(t *testing.T) {
	r := ra.Reminder{Case: "A1", Days: 7, Serial: "41", Title: "张三\n收件人: 李四", NotAfter: ratest.Now}
	text := string(r.Letter("https://ra.example/self/"))
	if head, _, _ := strings.Cut(text, "\n\n"); strings.Count(head, "\n") != 4 || !strings.Contains(text, "2026年11月24日 16时00分") || r.File() != "A1-7.txt" {
		t.Errorf("%q", text)
	}
}
