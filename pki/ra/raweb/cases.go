package raweb

import (
	"net/http"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/web/page"
)

// pageSize is how many lines a list shows at once.
const pageSize = 50

// home is what waits for this person, and where things stand.
func (p *Pages) home(r *http.Request, who access.Person) (string, any, error) {
	type tile struct {
		Title, Path string
		N           int
		Todo        bool
	}
	var d struct {
		Tiles []tile
		Mine  []raapi.CaseLine
		Asked []raapi.CaseLine
		Soon  []ra.Reminder
		Last  []raapi.CaseLine
		raapi.Published
	}
	n, err := p.counts(r.Context())
	if err != nil {
		return "", nil, err
	}
	q := ra.Query{Limit: 10}
	for _, s := range []casework.State{ra.Asked, ra.Drafted, ra.Submitted, ra.Approved, ra.Issued, ra.Delivered, ra.Revoked} {
		todo := s == ra.Asked && who.Holds(access.RAClerk) || slices.ContainsFunc(who.Roles, func(role access.Role) bool { return roleOf[role] == s })
		d.Tiles = append(d.Tiles, tile{ra.IssueKind.StateTitle(s), "/cases?state=" + string(s), n[string(s)], todo})
		if todo && s != ra.Asked {
			q.States = append(q.States, s)
		}
	}
	if len(q.States) > 0 {
		if who.Holds(access.RAClerk) {
			q.By = who.ID
		}
		found, err := p.API.Find(r.Context(), q)
		if err != nil {
			return "", nil, err
		}
		d.Mine = found.Cases
	}
	asked, err := p.API.Find(r.Context(), ra.Query{State: ra.Asked, Limit: 10})
	if err != nil {
		return "", nil, err
	}
	d.Asked = asked.Cases
	if d.Soon, err = p.API.Desk.Reminders(r.Context(), ra.ReminderQuery{Limit: 10}); err != nil {
		return "", nil, err
	}
	last, err := p.API.Find(r.Context(), ra.Query{Limit: 10})
	if err != nil {
		return "", nil, err
	}
	d.Last = last.Cases
	d.Published, err = p.API.Published(r.Context())
	return "工作台", d, err
}

func query(r *http.Request) ra.Query {
	v := r.URL.Query()
	q := ra.Query{
		State: casework.State(v.Get("state")), Kind: v.Get("kind"), Profile: v.Get("profile"), Batch: v.Get("batch"), Text: strings.TrimSpace(v.Get("q")), Blind: raapi.Unkey(v.Get("number")),
		From: page.Day(v.Get("from")), To: page.Day(v.Get("to")), After: v.Get("after"), Limit: pageSize,
	}
	if !q.To.IsZero() {
		q.To = q.To.AddDate(0, 0, 1)
	}
	if v.Get("mine") != "" {
		q.By = access.PersonID(v.Get("mine"))
	}
	return q
}

func (p *Pages) cases(r *http.Request, who access.Person) (string, any, error) {
	type act struct{ Act, Title, Class string }
	var d struct {
		raapi.Page
		States   []choice
		Kinds    []choice
		Profiles []choice
		Acts     []act
	}
	q := query(r)
	found, err := p.API.Find(r.Context(), q)
	if err != nil {
		return "", nil, err
	}
	d.Page, d.Profiles = found, p.open()
	for _, s := range []casework.State{ra.Asked, ra.Drafted, ra.Submitted, ra.Seconded, ra.Thirded, ra.Reviewed, ra.Approved, ra.Issued, ra.Delivered, ra.Done, ra.Rejected, ra.IssuedHeld, ra.DeliveredHeld, ra.Revoked, ra.Superseded, ra.Discarded} {
		d.States = append(d.States, choice{string(s), ra.IssueKind.StateTitle(s)})
	}
	for _, k := range []casework.Kind{ra.IssueKind, ra.Issue2Kind, ra.Issue3Kind, ra.RecoverKind, ra.RevokeKind, ra.FreezeKind, ra.UnfreezeKind, ra.UnitKind} {
		d.Kinds = append(d.Kinds, choice{k.Name, k.Title})
	}
	switch { // bulk acts are offered where every line of the list could take them
	case (q.State == ra.Submitted || q.State == ra.Seconded || q.State == ra.Thirded) && who.Holds(access.RAReviewer):
		d.Acts = []act{{"ra.approve", "核准所选", "primary"}, {"ra.return", "退回所选", ""}, {"ra.reject", "不予通过", "danger"}}
	case q.State == ra.Drafted && who.Holds(access.RAClerk):
		d.Acts = []act{{"ra.submit", "提交所选", "primary"}, {"ra.discard", "作废所选", "danger"}}
	case q.State == ra.Issued && who.Holds(access.RAProducer):
		d.Acts = []act{{"ra.produce", "制证交付所选", "primary"}}
	}
	return "案件", d, nil
}

// open lists the profiles that can be applied for.
func (p *Pages) open() (list []choice) {
	for _, f := range p.API.Profiles() {
		list = append(list, choice{f.Name, f.Title})
	}
	return list
}

// button is an act open to the person on a case.
type button struct{ Act, Title, Class, Hint string }

var buttons = map[string]button{
	"ra.submit":    {"ra.submit", "提交审核", "primary", "签名即声明：已按所记方式查验申请人身份，已告知第二十一条四项事项，申请人已接受服务协议。单位登记：已核对授权书和经办人证件。"},
	"ra.revoke":    {"ra.revoke", "受理并提交审核", "primary", "签名即声明：已核对持有人签名的撤销申请，提交另一名人员审核。"},
	"ra.freeze":    {"ra.freeze", "受理并提交审核", "primary", "签名即声明：已核对持有人签名的冻结申请，提交另一名人员审核。"},
	"ra.approve":   {"ra.approve", "审核通过", "primary", "签名即声明：已核对身份查验记录、申请材料、告知事项和服务协议。通过后随即签发。"},
	"ra.authorise": {"ra.authorise", "批准恢复", "primary", "签名即声明：已核对申请人身份与恢复理由，同意由密钥管理系统恢复其加密密钥。"},
	"ra.return":    {"ra.return", "退回修改", "", "退回录入员修改，请写明原因。"},
	"ra.reject":    {"ra.reject", "不予通过", "danger", "结束本案件，不可恢复，请写明原因。"},
	"ra.produce":   {"ra.produce", "制证交付", "primary", "交付证书与密封的加密私钥；交付后可再次下载同一交付包。"},
	"ra.withdraw":  {"ra.withdraw", "撤回", "", "审核前可撤回。"},
	"ra.discard":   {"ra.discard", "作废草稿", "danger", "结束本案件，不可恢复。"},
}

// one is a case whole.
func (p *Pages) one(r *http.Request, who access.Person) (string, any, error) {
	var d struct {
		raapi.CaseView
		Steps   []step
		Buttons []button
		Edit    bool
		Package bool
		Related []raapi.CaseLine
		Kept    []kept
		Number  bool // the number of the document may be asked for
	}
	rec, err := p.API.Desk.Store.Case(r.Context(), r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	if d.CaseView, err = p.API.View(r.Context(), rec, who, source(r)); err != nil {
		return "", nil, err
	}
	d.Steps = steps(rec)
	for _, a := range d.May {
		if b, ok := buttons[a]; ok && (a != "ra.produce" || rec.State == ra.Issued) {
			d.Buttons = append(d.Buttons, b)
		}
	}
	d.Edit = ra.Issues(rec.Kind) && rec.State == ra.Drafted && rec.CreatedBy == who.ID && who.Holds(access.RAClerk)
	d.Number = ra.Issues(rec.Kind) && (who.Holds(access.RAClerk) || who.Holds(access.RAReviewer))
	d.Package = rec.State == ra.Delivered && who.Holds(access.RAProducer)
	if rec.SignSerial != "" {
		found, err := p.API.Find(r.Context(), ra.Query{Text: rec.SignSerial, Limit: 20})
		if err != nil {
			return "", nil, err
		}
		for _, c := range found.Cases {
			if c.ID != rec.ID {
				d.Related = append(d.Related, c)
			}
		}
	}
	if d.Application != nil {
		if d.Kept, err = p.kept(r.Context(), d.Application.Check.Evidence); err != nil {
			return "", nil, err
		}
	}
	return d.KindTitle + " " + d.ID, d, nil
}
