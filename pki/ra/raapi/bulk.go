package raapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// samplesMax is how many rows a bulk shows at once; all are in the file of rows.
const samplesMax = 20

// BulkView is a bulk with how far it has come.
type BulkView struct {
	ra.Bulk
	State      string                 `json:"state"` // tried, proposed, running, paused, done
	StateTitle string                 `json:"state_title"`
	Counts     map[casework.State]int `json:"counts"`
	Held       bool                   `json:"paused"`   // what is confirmed waits
	Finished   int                    `json:"finished"` // done, refused or cancelled
	Samples    []ra.BulkRow           `json:"samples"`  // the first of those to be changed
	Turned     []ra.BulkRow           `json:"turned"`   // the first of those that cannot be
}

var bulkStates = map[string]string{"tried": "已试算", "proposed": "待核准", "running": "执行中", "paused": "已暂停", "done": "已办结"}

// Bulk returns a bulk as it stands.
func (a *API) Bulk(ctx context.Context, id string) (BulkView, error) {
	b, err := a.Desk.Store.Bulk(ctx, id)
	if err != nil {
		return BulkView{}, err
	}
	v := BulkView{Bulk: b, Samples: []ra.BulkRow{}, Turned: []ra.BulkRow{}}
	for _, row := range b.Rows {
		if row.ID != "" && len(v.Samples) < samplesMax {
			v.Samples = append(v.Samples, row)
		} else if row.ID == "" && len(v.Turned) < samplesMax {
			v.Turned = append(v.Turned, row)
		}
	}
	v.Rows = nil
	p, err := a.Desk.Progress(ctx, id)
	v.Counts, v.Held = p.Counts, p.Held
	all := 0
	for _, n := range p.Counts {
		all += n
	}
	v.Finished = all - p.Counts[ra.Submitted] - p.Counts[ra.Approved]
	switch {
	case all == 0:
		v.State = "tried"
	case p.Counts[ra.Submitted] > 0:
		v.State = "proposed"
	case p.Counts[ra.Approved] == 0:
		v.State = "done"
	case p.Held:
		v.State = "paused"
	default:
		v.State = "running"
	}
	v.StateTitle = bulkStates[v.State]
	return v, err
}

func (a *API) bulks(s *api.Site) {
	type tryIn struct {
		Body struct {
			Act      string       `json:"act" doc:"ra.revoke、ra.freeze、ra.unfreeze，或 ra.renew（集中更新）、ra.extend（集中延期）"`
			Query    ra.BulkQuery `json:"query"`
			Reason   string       `json:"reason,omitempty"`
			Ground   string       `json:"ground,omitempty"`
			Asker    string       `json:"asker,omitempty"`
			Note     string       `json:"note,omitempty"`
			Evidence []string     `json:"evidence,omitempty"`
		}
	}
	handle(a, s, api.Op{ID: "bulk-try", Method: http.MethodPost, Path: "/api/v1/bulks", Summary: "批量变更试算（不改变任何证书）：件数、样例、不能办理的原因和预计负荷"},
		func(ctx context.Context, a *API, in *tryIn) (*api.Body[BulkView], error) {
			who, t := api.Person(ctx), in.Body
			b, err := a.Desk.TryBulk(ctx, ra.Bulk{Act: t.Act, Query: t.Query, Reason: t.Reason, Ground: t.Ground, Asker: t.Asker, Note: t.Note, Evidence: t.Evidence}, who, api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, who, "ra.bulk.try", "", api.Source(ctx), err)
			}
			v, err := a.Bulk(ctx, b.ID)
			return &api.Body[BulkView]{Body: v}, err
		})
	type idIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "bulk", Method: http.MethodGet, Path: "/api/v1/bulks/{id}", Summary: "批量变更的试算与进度（提出、核准、暂停、恢复、取消见 /api/v1/acts，以 bulk 指明）"},
		func(ctx context.Context, a *API, in *idIn) (*api.Body[BulkView], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.bulk", api.Source(ctx)); err != nil {
				return nil, err
			}
			v, err := a.Bulk(ctx, in.ID)
			return &api.Body[BulkView]{Body: v}, err
		})
	type pageIn struct {
		After string `query:"after"`
		Limit int    `query:"limit" maximum:"200"`
	}
	handle(a, s, api.Op{ID: "bulks", Method: http.MethodGet, Path: "/api/v1/bulks", Summary: "批量变更清单"},
		func(ctx context.Context, a *API, in *pageIn) (*api.Body[[]ra.Bulk], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.bulk", api.Source(ctx)); err != nil {
				return nil, err
			}
			if in.Limit <= 0 {
				in.Limit = 50
			}
			list, err := a.Desk.Store.Bulks(ctx, nil, in.After, in.Limit)
			if list == nil {
				list = []ra.Bulk{}
			}
			return &api.Body[[]ra.Bulk]{Body: list}, err
		})
	a.bulkRows(s)
}

func (a *API) bulkRows(s *api.Site) {
	type idIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "bulk-csv", Method: http.MethodGet, Path: "/api/v1/bulks/{id}/rows.csv", Summary: "批量变更逐行结果（CSV）"},
		func(ctx context.Context, a *API, in *idIn) (*api.File, error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.bulk", api.Source(ctx)); err != nil {
				return nil, err
			}
			list, err := a.Desk.Results(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			rows := [][]string{{"行", "签名证书序列号", "原案件", "变更案件", "结果", "代码", "说明", "处理"}}
			for i, r := range list {
				row := []string{strconv.Itoa(i + 1), r.Serial, r.Case, r.ID, "已试算", "", "", ""}
				no := r.Refusal
				if r.State != "" {
					row[4], no = ra.RevokeKind.StateTitle(r.State), r.Answer
				}
				if no != nil {
					row[5], row[6], row[7] = no.Code, no.Text, no.Fix
				}
				if r.Refusal != nil {
					row[4] = "不能办理"
				}
				rows = append(rows, row)
			}
			return table(in.ID+".csv", rows)
		})
}
