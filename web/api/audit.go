package api

import (
	"context"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
)

// AuditLine is one line of the trail as programs receive it.
type AuditLine struct {
	Index  int64     `json:"index"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Who    string    `json:"who"`
	Role   string    `json:"role"`
	Item   string    `json:"item"`
	Object string    `json:"object"`
	Serial string    `json:"serial"`
	Result string    `json:"result"`
	Source string    `json:"source"`
	Detail string    `json:"detail"`
	Marked bool      `json:"marked"`
}

// Lines lists the trail for its auditor, or who makes auditors.
func (s *Site) Lines(ctx context.Context, who access.Person, q audit.Query) ([]AuditLine, error) {
	if !s.Trail.Readable(who) {
		err := access.WrongRole.At("role", access.WrongRole.Clause).Because("审计记录由%s查看", s.Trail.Auditor.Title())
		return nil, s.turned(ctx, string(who.ID), "audit.list", err)
	}
	list, err := s.Trail.List(ctx, q)
	if err != nil {
		return nil, err
	}
	return linesOf(list), nil
}

func (s *Site) audit() {
	type query struct {
		Who    string    `query:"who" doc:"人员编号"`
		Item   string    `query:"item" doc:"操作，如 ra.approve"`
		Object string    `query:"object" doc:"案件编号"`
		Serial string    `query:"serial" doc:"证书序列号"`
		Result string    `query:"result" doc:"done 或拒绝代码"`
		From   time.Time `query:"from"`
		To     time.Time `query:"to"`
		Before int64     `query:"before" doc:"上一页最后一条的序号"`
		Limit  int       `query:"limit" maximum:"500"`
	}
	Handle(s, Op{ID: "audit-list", Method: http.MethodGet, Path: "/api/v1/audit", Summary: "查询审计记录"},
		func(ctx context.Context, in *query) (*Body[[]AuditLine], error) {
			list, err := s.Lines(ctx, Person(ctx), audit.Query{
				Who: in.Who, Item: in.Item, Object: in.Object, Serial: in.Serial, Result: in.Result, From: in.From, To: in.To, Before: in.Before, Limit: in.Limit,
			})
			return &Body[[]AuditLine]{list}, err
		})
	s.auditMark()
	s.auditExport()
	if s.Archive != "" {
		s.archives()
	}
}

func (s *Site) auditMark() {
	type upTo struct {
		Body struct {
			Last int64 `json:"last,omitempty"`
		}
	}
	Handle(s, Op{ID: "audit-mark-prepare", Method: http.MethodPost, Path: "/api/v1/audit/mark/prepare", Summary: "审计标记声明"},
		func(ctx context.Context, in *upTo) (*Body[Prepared], error) {
			p, err := s.Trail.Plan(ctx, Person(ctx), in.Body.Last)
			if err != nil {
				return nil, s.turned(ctx, string(Person(ctx).ID), audit.ActMark, err)
			}
			out := PreparedOf(s.Desk.Draft(Person(ctx), audit.ActMark, p.Title, p.Object, "", p.Items))
			out.Last = p.Last
			return &Body[Prepared]{out}, nil
		})
	type mark struct {
		Body struct {
			Last  int64        `json:"last"`
			Claim access.Claim `json:"claim"`
		}
	}
	type marked struct {
		Object string `json:"object"`
	}
	Handle(s, Op{ID: "audit-mark", Method: http.MethodPost, Path: "/api/v1/audit/mark", Summary: "标记已审计"},
		func(ctx context.Context, in *mark) (*Body[marked], error) {
			who := Person(ctx)
			p, err := s.Trail.Plan(ctx, who, in.Body.Last)
			if err != nil {
				return nil, s.turned(ctx, string(who.ID), audit.ActMark, err)
			}
			cmd, err := s.Desk.Verify(ctx, in.Body.Claim, audit.ActMark, p.Title, p.Object, "", p.Items)
			if err != nil {
				return nil, s.turned(ctx, string(who.ID), audit.ActMark, err)
			}
			return &Body[marked]{marked{p.Object}}, s.Trail.Mark(ctx, p, cmd)
		})
}

func (s *Site) auditExport() {
	Handle(s, Op{ID: "audit-export", Method: http.MethodGet, Path: "/api/v1/audit/export", Summary: "导出审计账本（ZIP，可用 hufu verify 离线核验）"},
		func(ctx context.Context, _ *struct{}) (*File, error) {
			if !s.Trail.Readable(Person(ctx)) {
				return nil, s.turned(ctx, string(Person(ctx).ID), "audit.export", access.WrongRole.At("role", access.WrongRole.Clause))
			}
			if err := s.note(ctx, Person(ctx), "audit.export", audit.Done, ""); err != nil {
				return nil, err
			}
			data, err := s.Files(ctx)
			return Attachment("audit.zip", "application/zip", data), err
		})
}
