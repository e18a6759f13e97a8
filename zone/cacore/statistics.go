package cacore

import (
	"context"
	"encoding/csv"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/web/api"
)

// Statistics are the counts of a period and whether they agree with the ledger.
type Statistics struct {
	From        string         `json:"from"`
	To          string         `json:"to"`
	Rows        []ca.Statistic `json:"rows"`
	Total       ca.Statistic   `json:"total"`
	Balanced    bool           `json:"balanced"`    // issued − expired − revoked = valid in every row
	Differences []string       `json:"differences"` // between records and ledger
}

// period is what a query names; both ends may be left open.
type period struct {
	From string `query:"from" doc:"起始日（含），如 2026-01-01"`
	To   string `query:"to" doc:"截止日（含），如 2026-12-31"`
}

func (p period) bounds(now time.Time) (from, to time.Time, err error) {
	from, to = time.Unix(0, 0), now.AddDate(1, 0, 0)
	for _, day := range []struct {
		field, text string
		at          *time.Time
		add         int
	}{{"from", p.From, &from, 0}, {"to", p.To, &to, 1}} {
		if day.text == "" {
			continue
		}
		t, err := time.ParseInLocation("2006-01-02", day.text, ca.Beijing)
		if err != nil {
			return from, to, BadPeriod.At(day.field, BadPeriod.Clause).Because("%.20q 不是日期", day.text)
		}
		*day.at = t.AddDate(0, 0, day.add)
	}
	if !from.Before(to) {
		return from, to, BadPeriod.At("to", BadPeriod.Clause).Because("截止日早于起始日")
	}
	return from, to, nil
}

// statistics offers the counts to everybody on the register.
func statistics(site *api.Site, r *ca.Reconciler) {
	read := func(ctx context.Context, p period) (Statistics, error) {
		from, to, err := p.bounds(r.Now())
		if err != nil {
			return Statistics{}, err
		}
		out := Statistics{From: p.From, To: p.To, Balanced: true, Total: ca.Statistic{Profile: "合计"}}
		if out.Rows, err = r.Store.Statistics(ctx, from, to, r.Now()); err != nil {
			return out, err
		}
		for _, s := range out.Rows {
			t := &out.Total
			t.Issued, t.Expired, t.Revoked, t.Held, t.Valid = t.Issued+s.Issued, t.Expired+s.Expired, t.Revoked+s.Revoked, t.Held+s.Held, t.Valid+s.Valid
			out.Balanced = out.Balanced && s.Balanced()
		}
		out.Differences, err = r.Check(ctx)
		return out, err
	}
	api.Handle(site, api.Op{ID: "statistics", Method: http.MethodGet, Path: "/api/v1/statistics", Summary: "证书统计（按模板与签发月份）"},
		func(ctx context.Context, in *period) (*api.Body[Statistics], error) {
			s, err := read(ctx, *in)
			return &api.Body[Statistics]{Body: s}, err
		})
	api.Handle(site, api.Op{ID: "statistics-csv", Method: http.MethodGet, Path: "/api/v1/statistics.csv", Summary: "证书统计（CSV）"},
		func(ctx context.Context, in *period) (*api.File, error) {
			s, err := read(ctx, *in)
			if err != nil {
				return nil, err
			}
			return api.Attachment("statistics.csv", "text/csv; charset=utf-8", []byte(s.CSV())), nil
		})
}

// CSV is the table for a spreadsheet.
func (s Statistics) CSV() string {
	var b strings.Builder
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"月份", "模板", "签发", "过期", "撤销", "其中冻结", "有效"}) // a Builder does not fail
	for _, r := range append(s.Rows, s.Total) {
		_ = w.Write([]string{r.Month, r.Profile, fmt.Sprint(r.Issued), fmt.Sprint(r.Expired), fmt.Sprint(r.Revoked), fmt.Sprint(r.Held), fmt.Sprint(r.Valid)})
	}
	w.Flush()
	return b.String()
}

// reconciled is the overview's line about records and ledger.
func reconciled(ctx context.Context, r *ca.Reconciler) (api.Check, error) {
	c := api.Check{Name: "统计对账", Value: "签发 − 过期 − 撤销 = 有效，证书库与账本一致", State: "good"}
	differences, err := r.Check(ctx)
	if err != nil || len(differences) == 0 {
		return c, err
	}
	slog.Error("records and ledger differ", "differences", differences)
	c.State, c.Value, c.Advice = "bad", strings.Join(differences, "；"), "证书库与账本不一致：请停止签发，保全现场，按恢复手册核对"
	return c, nil
}
