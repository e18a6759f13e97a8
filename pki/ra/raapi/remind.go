package raapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// ReminderPage is one page of reminders; Next is what to pass as after.
type ReminderPage struct {
	Reminders []ra.Reminder `json:"reminders"`
	Next      string        `json:"next,omitempty"`
}

// Reminders lists those on record, newest first, people by the first character
// of their name.
func (a *API) Reminders(ctx context.Context, after string, limit int) (ReminderPage, error) {
	p := ReminderPage{Reminders: []ra.Reminder{}}
	if limit <= 0 || limit > ra.PageMax {
		limit = 50
	}
	q := ra.ReminderQuery{Limit: limit}
	if after != "" {
		id, days, _ := strings.Cut(after, "/")
		list, err := a.Desk.Reminders(ctx, ra.ReminderQuery{Case: id})
		if err != nil {
			return p, err
		}
		for _, r := range list {
			if strconv.Itoa(r.Days) == days {
				q.After = &r
			}
		}
		if q.After == nil {
			return p, ra.NoCase.At("after", ra.NoCase.Clause)
		}
	}
	list, err := a.Desk.Reminders(ctx, q)
	p.Reminders = append(p.Reminders, list...)
	if n := len(list); n == limit {
		p.Next = fmt.Sprintf("%s/%d", list[n-1].Case, list[n-1].Days)
	}
	return p, err
}

func (a *API) reminders(s *api.Site) {
	type pageIn struct {
		After string `query:"after"`
		Limit int    `query:"limit" maximum:"200"`
	}
	handle(a, s, api.Op{ID: "reminders", Method: http.MethodGet, Path: "/api/v1/reminders", Summary: "到期提醒清单"},
		func(ctx context.Context, a *API, in *pageIn) (*api.Body[ReminderPage], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			p, err := a.Reminders(ctx, in.After, in.Limit)
			return &api.Body[ReminderPage]{Body: p}, err
		})
	type exportIn struct {
		Personal bool   `query:"personal" doc:"含姓名；须写明事由"`
		Reason   string `query:"reason" doc:"事由，记入审计"`
	}
	handle(a, s, api.Op{ID: "reminders-csv", Method: http.MethodGet, Path: "/api/v1/reminders.csv", Summary: "导出到期提醒（CSV；姓名遮盖，含姓名须写明事由；记入审计）"},
		func(ctx context.Context, a *API, in *exportIn) (*api.File, error) {
			who, err := a.Reader(ctx, api.Person(ctx), "ra.export", api.Source(ctx))
			if err != nil {
				return nil, err
			}
			list, err := a.Desk.ExportReminders(ctx, in.Personal, in.Reason, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.export", "", api.Source(ctx), err)
			}
			rows := [][]string{{"案件编号", "名称", "证书模板", "签名证书序列号", "有效期至", "提前天数", "记录时间", "已写入待发目录"}}
			for _, r := range list {
				rows = append(rows, []string{r.Case, r.Title, r.Profile, r.Serial, r.NotAfter.Format(time.RFC3339), strconv.Itoa(r.Days), r.At.Format(time.RFC3339), map[bool]string{true: "是", false: "否"}[r.Dropped]})
			}
			return table("reminders.csv", rows)
		})
}
