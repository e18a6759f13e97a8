package profile

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// beijing is the time zone in which schedules are written.
var beijing = time.FixedZone("北京时间", 8*60*60)

// schedule is when certificates of a profile come into the directory: at a time
// of day, every so many minutes from there.
type schedule struct {
	first time.Duration // after midnight
	every time.Duration // divides the day
}

// schedules are the spellings: "02:30" once a day, "every 6h" from midnight on.
func parseSchedule(text string) (s schedule, err error) {
	if hours, ok := strings.CutPrefix(text, "every "); ok {
		n, err := strconv.Atoi(strings.TrimSuffix(hours, "h"))
		if err != nil || n < 1 || 24%n != 0 || hours != strconv.Itoa(n)+"h" {
			return s, fmt.Errorf("publish_at %q: hours that divide the day, as in \"every 6h\"", text)
		}
		return schedule{every: time.Duration(n) * time.Hour}, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil || at.Format("15:04") != text {
		return s, fmt.Errorf("publish_at %q: neither a time of day nor \"every 6h\"", text)
	}
	return schedule{first: time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, every: 24 * time.Hour}, nil
}

// Due is when a certificate recorded at a time is to come into the directory: the
// next scheduled time after it, or zero where a profile publishes at once.
// (定时发布)
func (p Profile) Due(recorded time.Time) time.Time {
	if p.PublishAt == "" {
		return time.Time{}
	}
	s, err := parseSchedule(p.PublishAt) // checked when the profile was read
	if err != nil {
		return time.Time{}
	}
	at := recorded.In(beijing)
	due := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, beijing).Add(s.first)
	for !due.After(at) {
		due = due.Add(s.every)
	}
	return due.UTC()
}

// Schedule says in words when certificates of a profile come into the directory.
func (p Profile) Schedule() string {
	hours, every := strings.CutPrefix(p.PublishAt, "every ")
	switch {
	case p.Publish == PublishDigest:
		return "不进入目录"
	case p.PublishAt == "":
		return "立即"
	case every:
		return "每 " + strings.TrimSuffix(hours, "h") + " 小时（自北京时间零点起）"
	}
	return "每日 " + p.PublishAt + "（北京时间）"
}
