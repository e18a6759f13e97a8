package raweb

import (
	"net/http"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

var bulkActs = []choice{{"ra.freeze", "批量冻结"}, {"ra.revoke", "批量撤销"}, {"ra.unfreeze", "批量解冻"}, {"ra.renew", "集中更新（邀请并收齐证书请求）"}, {"ra.extend", "集中延期"}}

// bulks is the form of a trial, and those made before.
func (p *Pages) bulks(r *http.Request, who access.Person) (string, any, error) {
	type line struct {
		ra.Bulk
		Title string
	}
	var d struct {
		List     []line
		Next     string
		May      bool
		Acts     []choice
		Profiles []choice
		Grounds  []ra.Ground
		Askers   []choice
	}
	list, err := p.API.Desk.Store.Bulks(r.Context(), nil, r.URL.Query().Get("after"), pageSize+1)
	if len(list) > pageSize {
		list = list[:pageSize]
		d.Next = list[pageSize-1].ID
	}
	for _, b := range list {
		d.List = append(d.List, line{b, bulkTitle(b.Act)})
	}
	d.May, d.Acts, d.Profiles, d.Grounds = who.Holds(access.RAClerk), bulkActs, p.open(), ra.Grounds
	d.Askers = choices(ra.Askers, "institution", "unit", "authority", "court", "holder")
	return "批量变更", d, err
}

func bulkTitle(act string) string {
	for _, c := range bulkActs {
		if c.Value == act {
			return c.Title
		}
	}
	return act
}

// bulk is one as it stands; a part of it refreshes while work goes on.
func (p *Pages) bulk(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		raapi.BulkView
		Title                                    string
		All                                      int
		Words                                    string
		Draft, Invite                            bool // of a campaign
		Propose, Confirm, Withdraw, Hold, Cancel bool
		States                                   []stateCount
	}
	v, err := p.API.Bulk(r.Context(), r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	d.BulkView, d.Title, d.Words = v, bulkTitle(v.Act), v.Query.String()
	for _, s := range []casework.State{ra.Submitted, ra.Approved, ra.Done, ra.Rejected, ra.Discarded} {
		if n := v.Counts[s]; n > 0 {
			d.States = append(d.States, stateCount{string(s), ra.RevokeKind.StateTitle(s), n})
			d.All += n
		}
	}
	clerk, reviewer := who.Holds(access.RAClerk), who.Holds(access.RAReviewer)
	mine := v.State == "tried" && v.By == who.ID && clerk && v.Targets > 0
	d.Propose, d.Draft, d.Invite = mine && !ra.Campaign(v.Act), mine && v.Act == "ra.extend", mine && v.Act == "ra.renew"
	d.Confirm = v.State == "proposed" && reviewer && v.By != who.ID
	d.Withdraw = v.State == "proposed" && v.By == who.ID
	d.Hold = v.State != "tried" && v.State != "done" && (clerk || reviewer || who.Holds(access.RAAdmin))
	d.Cancel = v.State == "paused" && reviewer
	return "批量变更 " + v.ID, d, nil
}
