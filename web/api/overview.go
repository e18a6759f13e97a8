package api

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"
)

// Check is one line of a system's overview: how something stands, and what to
// do about it. (运行总览)
type Check struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	State  string `json:"state"` // good, warn or bad
	Advice string `json:"advice,omitempty"`
}

// Overview offers a system's checks to everybody on its register.
func (s *Site) Overview(checks func(ctx context.Context) ([]Check, error)) {
	Handle(s, Op{ID: "overview", Method: http.MethodGet, Path: "/api/v1/overview", Summary: "运行总览"},
		func(ctx context.Context, _ *struct{}) (*Body[[]Check], error) {
			list, err := checks(ctx)
			return &Body[[]Check]{list}, err
		})
}

// Expiry is the check of something that ends: bad when it has, a warning within
// the time given.
func Expiry(name string, end, now time.Time, warn time.Duration, advice string) Check {
	left := end.Sub(now)
	c := Check{Name: name, Value: fmt.Sprintf("至 %s（剩 %d 天）", end.In(beijing).Format("2006-01-02 15:04"), int(left.Hours()/24)), State: "good"}
	switch {
	case left <= 0:
		c.State, c.Value, c.Advice = "bad", "已于 "+end.In(beijing).Format("2006-01-02 15:04")+" 到期", advice
	case left < warn:
		c.State, c.Advice = "warn", advice
	}
	return c
}

// beijing is the time zone people here live by, as on every page.
var beijing = time.FixedZone("北京时间", 8*60*60)

// Clock is the check of what time the system takes it to be.
func Clock(now time.Time) Check {
	return Check{Name: "时钟", Value: now.In(beijing).Format("2006-01-02 15:04:05") + "（北京时间）", State: "good"}
}

// Disk is the check of the room left where a system writes.
func Disk(dir string) Check {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return Check{"磁盘", err.Error(), "bad", "请检查数据目录是否可用"}
	}
	free := st.Bavail * uint64(st.Bsize) >> 20
	c := Check{Name: "磁盘", Value: fmt.Sprintf("可用 %d MB", free), State: "good"}
	if free < 5<<10 {
		c.State, c.Advice = "warn", "请扩容或清理；写不进审计时系统停止办理"
	}
	if free < 512 {
		c.State = "bad"
	}
	return c
}
