package agree_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/zone/agree"
)

// moving is a clock that is moved by hand while others read it.
type moving struct{ ahead atomic.Int64 }

func (m *moving) now() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }

// What is not due is no disagreement; what was due and is not there is one, also
// for a job that was started anew in between; and so is what is there too early.
func TestWhatIsNotDueIsNoDisagreement(t *testing.T) {
	v := build(t)
	clock := new(moving)
	v.dir.Now, v.now = clock.now, clock.now
	v.Due = time.Now().Add(10 * time.Second)
	waits := v.certificate("张三", true)
	ended := v.certificate("李四", true)
	early := v.certificate("王五", true)
	v.publish()
	v.revoke(ended, 1)
	v.publish()
	file := filepath.Join(t.TempDir(), "position")
	check := func() agree.Report {
		t.Helper()
		j := v.job(file)
		r, err := j.Once(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ldap := func(r agree.Report) agree.ChannelReport {
		t.Helper()
		for _, c := range r.Channels {
			if c.Name == "ldap" {
				return c
			}
		}
		t.Fatal("no such channel")
		return agree.ChannelReport{}
	}
	if r := check(); !r.Agrees() || ldap(r).Waiting != 3 {
		t.Fatalf("before it is due: %+v", ldap(r))
	}
	v.Early(early)
	v.publish()
	if r := check(); !r.Agrees() || ldap(r).Waiting != 2 {
		t.Fatalf("one released: %+v", ldap(r))
	}
	clock.ahead.Store(int64(11 * time.Second)) // and the directory does not show it
	r := check()
	if d := ldap(r).Disagreements; len(d) != 2 || d[0].Want == string(agree.Absent) || d[0].Says != string(agree.Absent) {
		t.Fatalf("overdue: %+v", d)
	}
	if _, err := v.dir.Due(); err != nil {
		t.Fatal(err)
	}
	if r := check(); !r.Agrees() || ldap(r).Waiting != 0 {
		t.Errorf("shown: %+v", ldap(r))
	}
	clock.ahead.Store(0) // for whoever asks now it is there before its time
	if d := ldap(check()).Disagreements; len(d) != 2 || d[0].Want != string(agree.Absent) {
		t.Errorf("too early: %+v", d)
	}
	_ = waits
}

// A job that runs asks again when the time has come, measures from then, and
// raises the alarm by itself.
func TestTheJobAsksWhenItIsDue(t *testing.T) {
	v := build(t)
	clock := new(moving)
	v.dir.Now, v.now = clock.now, clock.now
	v.publish()
	file := filepath.Join(t.TempDir(), "position")
	j := v.job(file)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { j.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	until := func(what string, ok func(c agree.ChannelReport) bool) {
		t.Helper()
		var last agree.ChannelReport
		for range 500 {
			for _, c := range j.Report().Channels {
				if last = c; c.Name == "ldap" && ok(c) {
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: %+v", what, last)
	}
	until("history", func(c agree.ChannelReport) bool { return c.Waiting == 0 && c.Checked > 0 })
	v.Due = time.Now().Add(time.Hour)
	c := v.certificate("张三", true)
	v.publish()
	until("waits", func(c agree.ChannelReport) bool { return c.Waiting == 1 && len(c.Disagreements) == 0 })
	v.revoke(c, 4) // spoken of again while it waits
	v.publish()
	clock.ahead.Store(int64(time.Hour + time.Second))
	until("overdue", func(c agree.ChannelReport) bool { return len(c.Disagreements) == 1 })
	var said string
	for _, k := range j.Checks() {
		if k.State == "bad" {
			said += k.Advice
		}
	}
	if !strings.Contains(said, "账本为“已撤销”，此处为“没有”") {
		t.Errorf("the overview says %q", said)
	}
}
