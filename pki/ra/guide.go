package ra

import (
	"context"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Guide is a path the desk walks with somebody who comes to the counter: the
// cases it takes, one after another. Where a path stands is read from the cases
// alone, so it can be taken up at any time, by anybody. (办理引导)
type Guide struct {
	Code, Title string
	Text        string // when it is the right one
	purpose     string
}

// Guides are all of them.
var Guides = []Guide{
	{"reissue", "补办", "证书载体丢失、损坏，或密钥可能失控：先停用原证书，重新查验身份后补发。", enroll.Reissue},
	{"amend", "更正", "证书所载信息有误或发生变化：认定原因、查验证明材料后换发，原证书随新证书的签发撤销。", enroll.Amend},
}

// Causes are why the details of a certificate are put right. (更正原因)
var Causes = map[string]string{"fault": "本机构录入或签发有误", "change": "持有人的信息发生变化"}

// Stage is where one step of a guide stands.
type Stage string

// Stages of a guide's step.
const (
	Past    Stage = "past"    // done
	Present Stage = "present" // the next to be done
	Ahead   Stage = "ahead"   // not yet
	Passed  Stage = "passed"  // not needed here
)

// GuideStep is one step of a path as it stands.
type GuideStep struct {
	Title, Clause, Text string
	Stage               Stage
	Case                string // that did it, or is under way
	StateTitle          string
	At                  time.Time // of that case's last move
	Open                []string  // what the desk may begin now: "freeze", "revoke", "apply"
}

// Way is a path with one certificate.
type Way struct {
	Guide Guide
	Old   Record // the case of the certificate it is about
	Steps []GuideStep
	Done  bool
}

// GuideOf finds one by its code.
func GuideOf(code string) (Guide, error) {
	i := slices.IndexFunc(Guides, func(g Guide) bool { return g.Code == code })
	if i < 0 {
		return Guide{}, NoPage.At("code", NoPage.Clause).Because("%.40q", code)
	}
	return Guides[i], nil
}

// Way reads where a path stands with a certificate; the serial of the one it
// led to finds the same path.
func (r *Registrar) Way(ctx context.Context, code, serial string) (Way, error) {
	g, err := GuideOf(code)
	if err != nil {
		return Way{}, err
	}
	own, err := r.subject(ctx, &Order{Serial: serial})
	if err != nil {
		return Way{}, err
	}
	next, err := r.leads(ctx, own, g.purpose)
	if err != nil {
		return Way{}, err
	}
	if next == nil && own.Follows != "" && purposeOf(own) == g.purpose {
		led := own
		if own, err = r.Store.Case(ctx, own.Follows); err != nil {
			return Way{}, err
		}
		next = &led
	}
	stop, err := r.stopped(ctx, own)
	if err != nil {
		return Way{}, err
	}
	w := Way{Guide: g, Old: own}
	if g.purpose == enroll.Reissue {
		w.Steps = append(w.Steps, halt(own, stop, next != nil))
	}
	w.Steps = append(w.Steps, along(g, own, next, len(w.Steps) == 0 || w.Steps[0].Stage != Present)...)
	w.Done = w.Steps[len(w.Steps)-1].Stage == Past
	return w, nil
}

func purposeOf(rec Record) string {
	if !Issues(rec.Kind) {
		return ""
	}
	a, err := applicationOf(rec.Content)
	if err != nil {
		return ""
	}
	return a.For
}

// leads is the newest case that goes on from a certificate for a purpose; nil if
// there is none, or it came to nothing.
func (r *Registrar) leads(ctx context.Context, own Record, purpose string) (*Record, error) {
	list, err := r.Store.Find(ctx, Query{Follows: own.ID, Limit: mineMax})
	if err != nil {
		return nil, err
	}
	for _, rec := range list {
		if rec.State == Rejected || rec.State == Discarded {
			continue
		}
		if whole, err := r.Store.Case(ctx, rec.ID); err != nil || purposeOf(whole) == purpose {
			return &whole, err
		}
	}
	return nil, nil
}

// stopped is the newest freezing or revocation of a certificate that came to
// something or is under way.
func (r *Registrar) stopped(ctx context.Context, own Record) (*Record, error) {
	list, err := r.Store.Find(ctx, Query{Text: own.SignSerial, Limit: historyMax})
	if err != nil {
		return nil, err
	}
	for _, rec := range list {
		if (rec.Kind == RevokeKind.Name || rec.Kind == FreezeKind.Name) && rec.SignSerial == own.SignSerial && rec.State != Rejected && rec.State != Discarded {
			return &rec, nil
		}
	}
	return nil, nil
}

// of names the case of a step.
func (s GuideStep) of(rec *Record) GuideStep {
	if rec != nil {
		s.Case, s.StateTitle, s.At = rec.ID, Kinds[rec.Kind].StateTitle(rec.State), rec.UpdatedAt
	}
	return s
}

// halt is the step that stops the old certificate. What is only broken is in
// nobody's hands: then the new certificate ends the old one.
func halt(own Record, stop *Record, going bool) GuideStep {
	s := GuideStep{Title: "停用原证书", Clause: "电子政务电子认证服务管理办法（试行） 第三十一条", Stage: Present,
		Text: "载体丢失或密钥失控的，持有人应立即报告，由机构撤销（或先冻结待查）；只是损坏、确认在本人手中的，可不停用，补发时原证书自动撤销。"}.of(stop)
	switch {
	case stop != nil && stop.State != Done && !going && own.State != Revoked: // under way: it comes first
	case slices.Contains([]casework.State{IssuedHeld, DeliveredHeld, Revoked}, own.State):
		s.Stage = Past
	case own.State == Superseded && stop != nil:
		s.Stage = Past
	case going || own.State == Superseded:
		s.Stage = Passed
	case stop == nil || stop.State == Done: // one that was released again stops nothing
		s.Case, s.StateTitle, s.At, s.Open = "", "", time.Time{}, []string{"revoke", "freeze"}
	}
	return s
}

// along are the steps of the case that leads to the new certificate. first says
// that nothing before it is waited for.
func along(g Guide, own Record, next *Record, first bool) []GuideStep {
	road := []struct {
		title, clause, text string
		past                []casework.State
	}{
		{"查验身份、录入补办申请", "电子政务电子认证服务管理办法 第二十一条", "持有人本人（或受托人）到场，按新申请同样查验身份，材料收存；由持有人生成新的密钥和证书请求。", nil},
		{"另一人审核", "GM/T 0034 §12.1", "审核员核对身份查验记录与材料；不得是录入的人。", []casework.State{Approved, Issued, Delivered, IssuedHeld, DeliveredHeld, Superseded, Revoked}},
		{"签发，原证书终止", "GM/T 0034 §12.1", "自动办理：签发新的一对证书；原证书尚未撤销的以“已被替代”撤销，原加密密钥在密钥管理系统中转入历史库，仍可依法恢复。", []casework.State{Issued, Delivered, IssuedHeld, DeliveredHeld, Superseded, Revoked}},
		{"制证交付", "GM/T 0034 §12.1", "制证员把证书与密封的加密私钥交付持有人。", []casework.State{Delivered, DeliveredHeld}},
	}
	road[0].past = append([]casework.State{Submitted}, road[1].past...)
	if g.purpose == enroll.Amend {
		road[0].title, road[0].clause = "认定原因、查验材料、录入更正申请", "电子政务电子认证服务管理办法 第二十条"
		road[0].text = "证书内容应在有效期内完整、准确。先认定原因：本机构有误的，附原始材料；持有人信息变化的，附变化证明。由持有人生成新的密钥和证书请求。"
	}
	var steps []GuideStep
	now := true
	for i, s := range road {
		step := GuideStep{Title: s.title, Clause: s.clause, Text: s.text, Stage: Ahead}
		if next != nil {
			step = step.of(next)
			if slices.Contains(s.past, next.State) {
				step.Stage = Past
			} else {
				step.Case, step.StateTitle, step.At = "", "", time.Time{}
			}
		}
		if step.Stage != Past && now {
			now = false
			if next != nil || first {
				step.Stage = Present
			}
			if step = step.of(next); i == 0 && next == nil && first {
				if p, _ := PurposeOf(g.purpose); slices.Contains(p.From, own.State) {
					step.Open = []string{"apply"}
				}
			}
		}
		steps = append(steps, step)
	}
	return steps
}

// OnTheWay lists the certificates a path was begun with and not ended: cases
// under way for its purpose, and for lost carriers the reports of their loss.
func (r *Registrar) OnTheWay(ctx context.Context, code string) ([]Record, error) {
	g, err := GuideOf(code)
	if err != nil {
		return nil, err
	}
	var list []Record
	for _, k := range IssueKinds {
		part, err := r.Store.Find(ctx, Query{Kind: k.Name, States: []casework.State{Drafted, Submitted, Seconded, Thirded, Approved, Issued}, Limit: PageMax})
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	var found []Record
	seen := map[string]bool{}
	for _, rec := range list {
		if purposeOf(rec) != g.purpose || seen[rec.Follows] {
			continue
		}
		old, err := r.Store.Case(ctx, rec.Follows)
		if err != nil {
			return nil, err
		}
		seen[old.ID], found = true, append(found, old)
	}
	if g.purpose != enroll.Reissue {
		return found, nil
	}
	reports, err := r.Store.Find(ctx, Query{Kind: RevokeKind.Name, States: []casework.State{Asked, Submitted, Approved, Done}, Limit: PageMax})
	if err != nil {
		return nil, err
	}
	for _, rec := range reports {
		var c enroll.Revocation
		if err := enroll.Decode(rec.Content, &c); err != nil {
			return nil, err
		}
		if c.Ground != "loss" {
			continue
		}
		old, err := r.Store.BySerial(ctx, rec.SignSerial)
		if err != nil {
			return nil, err
		}
		if next, err := r.leads(ctx, old, g.purpose); err != nil {
			return nil, err
		} else if next == nil && !seen[old.ID] {
			seen[old.ID], found = true, append(found, old)
		}
	}
	return found, nil
}
