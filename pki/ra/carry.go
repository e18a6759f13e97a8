package ra

import (
	"context"
	"fmt"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// carriers are the roles that take files to the CA and bring its answers.
var carriers = []access.Role{access.RAAdmin}

// CarryOut writes approved applications of profiles that are issued offline into a
// file for the CA. The same applications may be written again: the CA gives the
// same answer. (离线签发)
func (r *Registrar) CarryOut(ctx context.Context, who access.Person, source string) (data []byte, n int, err error) {
	if !slices.ContainsFunc(carriers, who.Holds) {
		return nil, 0, casework.NotYours.At("role", casework.NotYours.Clause).Because("离线签发文件由注册业务管理员导出和导入")
	}
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return nil, 0, err
	}
	out := enroll.Requests{At: r.Now().UTC()}
	for _, kind := range IssuingKinds {
		for after := ""; len(out.Requests) < enroll.FileRequests; {
			list, err := r.Store.Waiting(ctx, kind, Approved, after, PageMax)
			if err != nil {
				return nil, 0, err
			}
			list = slices.DeleteFunc(list, func(rec Record) bool { return rec.ID <= after }) // it came round
			if len(list) == 0 {
				break
			}
			after = list[len(list)-1].ID
			list = slices.DeleteFunc(list, func(rec Record) bool { return !t.Offline(rec.Profile) })
			list = list[:min(len(list), enroll.FileRequests-len(out.Requests))]
			if list, err = r.asking(ctx, list); err != nil {
				return nil, 0, err
			}
			for _, rec := range list {
				out.Requests = append(out.Requests, requestOf(rec))
			}
		}
	}
	if len(out.Requests) == 0 {
		return nil, 0, NotIssued.At("state", NotIssued.Clause).Because("没有待离线签发的申请").ToFix("请先核准申请；签发方式由变更 issue.way 设定")
	}
	if data, err = r.Seal(out); err != nil {
		return nil, 0, fmt.Errorf("sealing requests: %w", err)
	}
	return data, len(out.Requests), r.Note(ctx, who, "ra.offline.export", fmt.Sprintf("%d 件", len(out.Requests)), source)
}

// CarryIn takes the CA's answers to a file, each by itself: one that is settled
// already is passed over, however often the file comes.
func (r *Registrar) CarryIn(ctx context.Context, data []byte, who access.Person, source string) ([]Row, error) {
	if !slices.ContainsFunc(carriers, who.Holds) {
		return nil, casework.NotYours.At("role", casework.NotYours.Clause).Because("离线签发文件由注册业务管理员导出和导入")
	}
	var in enroll.Answers
	if _, err := r.Open(data, &in); err != nil {
		return nil, err
	}
	rows := make([]Row, len(in.Answers))
	for i, a := range in.Answers {
		rows[i] = Row{Line: i + 1, ID: a.ID}
		err := r.carryIn(ctx, a, who, source)
		if no := refusal.Of(err); no != nil {
			report := no.Report()
			rows[i].Refusal = &report
		} else if err != nil {
			return rows, err
		}
	}
	return rows, r.Note(ctx, who, "ra.offline.import", fmt.Sprintf("%d 件", len(rows)), source)
}

func (r *Registrar) carryIn(ctx context.Context, a enroll.Answered, who access.Person, source string) error {
	rec, err := r.Store.Case(ctx, a.ID)
	if err != nil {
		return err
	}
	sign, _ := a.Reply.Serials()
	switch {
	case rec.State != Approved && sign != "" && rec.SignSerial == sign:
		return nil // it was brought before
	case rec.State != Approved:
		return casework.Stale.At("id", casework.Stale.Clause).Because("%s 当前为“%s”", rec.ID, Kinds[rec.Kind].StateTitle(rec.State))
	}
	answer := Answer{Reply: a.Reply}
	if a.Refusal != nil {
		answer.Refusal = refusal.FromReport(a.Kind, *a.Refusal)
	}
	var saves []Save
	var lines []audit.Entry
	done, err := r.answered(ctx, rec, answer, &saves, &lines)
	if err != nil || !done {
		return err
	}
	line := r.line(who, "ra.offline.import", rec.ID, source)
	line.Serial = saves[0].Record.SignSerial
	if err := r.Store.Save(ctx, machine, saves, append(lines, line)); err != nil {
		return err
	}
	if answer.Refusal != nil {
		return answer.Refusal
	}
	return nil
}
