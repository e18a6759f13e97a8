package raapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Tally counts on both sides since a day; people of a body see their own.
func (a *API) Tally(ctx context.Context, from string) (ra.Tally, error) {
	since := time.Unix(0, 0)
	if from != "" {
		day, err := time.ParseInLocation(time.DateOnly, from, time.FixedZone("", 8*60*60))
		if err != nil {
			return ra.Tally{}, ra.BadField.At("from", "GM/T 0034 §5.3.4").Because("%.20q 不是日期", from).ToFix("请写成 2026-01-01")
		}
		since = day
	}
	t, err := a.Books.Look(ctx, since)
	if err != nil || !a.Desk.Scoped() {
		return t, err
	}
	own, err := a.Desk.BodyList(ctx)
	t.Rows = slices.DeleteFunc(t.Rows, func(r ra.FigureRow) bool {
		return !slices.ContainsFunc(own, func(b ra.BodyView) bool { return b.ID == r.Body })
	})
	t.Total, t.Alarm = enroll.Figure{}, []string{}
	for _, r := range t.Rows {
		t.Total.Issued, t.Total.Expired, t.Total.Revoked, t.Total.Valid = t.Total.Issued+r.Issued, t.Total.Expired+r.Expired, t.Total.Revoked+r.Revoked, t.Total.Valid+r.Valid
	}
	return t, err
}

func (a *API) tally(s *api.Site) {
	type fromIn struct {
		From string `query:"from" doc:"起始日（含），如 2026-01-01；不填为全部"`
	}
	read := func(ctx context.Context, a *API, from string) (ra.Tally, error) {
		if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
			return ra.Tally{}, err
		}
		return a.Tally(ctx, from)
	}
	handle(a, s, api.Op{ID: "tally", Method: http.MethodGet, Path: "/api/v1/statistics", Summary: "业务量统计：按模板、注册机构、签发日，与 CA 逐项对账"},
		func(ctx context.Context, a *API, in *fromIn) (*api.Body[ra.Tally], error) {
			t, err := read(ctx, a, in.From)
			return &api.Body[ra.Tally]{Body: t}, err
		})
	handle(a, s, api.Op{ID: "tally-csv", Method: http.MethodGet, Path: "/api/v1/statistics.csv", Summary: "业务量统计（CSV）"},
		func(ctx context.Context, a *API, in *fromIn) (*api.File, error) {
			t, err := read(ctx, a, in.From)
			if err != nil {
				return nil, err
			}
			rows := [][]string{{"签发日", "证书模板", "注册机构", "签发", "过期", "撤销（含冻结）", "有效", "CA 签发", "CA 过期", "CA 撤销", "CA 有效", "相符"}}
			for _, r := range t.Rows {
				row := []string{r.Date, r.Profile, r.Body}
				for _, n := range []int64{r.Issued, r.Expired, r.Revoked, r.Valid, r.CA.Issued, r.CA.Expired, r.CA.Revoked, r.CA.Valid} {
					row = append(row, strconv.FormatInt(n, 10))
				}
				rows = append(rows, append(row, map[bool]string{true: "是", false: "否"}[r.Agree]))
			}
			return table("statistics.csv", rows)
		})
}
