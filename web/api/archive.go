package api

import (
	"context"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/journal"
)

// ArchiveLine is a closed period of the trail.
type ArchiveLine struct {
	audit.Archive
	File string `json:"file"`
}

// reads lets audit roles through; others are refused, on the trail.
func (s *Site) reads(ctx context.Context, item string) error {
	if s.Trail.Readable(Person(ctx)) {
		return nil
	}
	return s.turned(ctx, string(Person(ctx).ID), item, access.WrongRole.At("role", access.WrongRole.Clause).Because("审计记录由%s查看", s.Trail.Auditor.Title()))
}

// archives are the closed periods, statistics and the system's log: for audit
// roles only. (日志归档、归档查询、审计统计、系统日志)
func (s *Site) archives() {
	s.archiveClose()
	Handle(s, Op{ID: "audit-archives", Method: http.MethodGet, Path: "/api/v1/audit/archives", Summary: "日志归档清单"},
		func(ctx context.Context, _ *struct{}) (*Body[[]ArchiveLine], error) {
			if err := s.reads(ctx, "audit.archives"); err != nil {
				return nil, err
			}
			list, err := s.Trail.Archives(ctx)
			out := make([]ArchiveLine, len(list))
			for i, a := range list {
				out[i] = ArchiveLine{a, a.File()}
			}
			return &Body[[]ArchiveLine]{out}, err
		})
	type one struct {
		N int64 `path:"n" doc:"期数"`
	}
	Handle(s, Op{ID: "audit-archive-file", Method: http.MethodGet, Path: "/api/v1/audit/archives/{n}/file", Summary: "下载归档文件（ZIP，可用 hufu verify 离线核验）"},
		func(ctx context.Context, in *one) (*File, error) {
			if err := s.reads(ctx, "audit.archives"); err != nil {
				return nil, err
			}
			a, data, err := s.Trail.Read(ctx, s.Archive, in.N)
			return Attachment(a.File(), "application/zip", data), err
		})
	type query struct {
		N      int64     `path:"n" doc:"期数"`
		Who    string    `query:"who"`
		Item   string    `query:"item"`
		Object string    `query:"object"`
		Serial string    `query:"serial"`
		Result string    `query:"result"`
		From   time.Time `query:"from"`
		To     time.Time `query:"to"`
		Before int64     `query:"before"`
		Limit  int       `query:"limit" maximum:"500"`
	}
	Handle(s, Op{ID: "audit-archived", Method: http.MethodGet, Path: "/api/v1/audit/archives/{n}", Summary: "查询归档日志（读归档文件）"},
		func(ctx context.Context, in *query) (*Body[[]AuditLine], error) {
			if err := s.reads(ctx, "audit.archives"); err != nil {
				return nil, err
			}
			list, err := s.Trail.Archived(ctx, s.Archive, in.N, audit.Query{
				Who: in.Who, Item: in.Item, Object: in.Object, Serial: in.Serial, Result: in.Result, From: in.From, To: in.To, Before: in.Before, Limit: in.Limit,
			})
			return &Body[[]AuditLine]{linesOf(list)}, err
		})
	s.figures()
	if s.Log != "" {
		s.systemLog()
	}
}

func linesOf(list []audit.Line) []AuditLine {
	out := make([]AuditLine, len(list))
	for i, l := range list {
		e := l.Entry
		out[i] = AuditLine{l.Index, e.Start, e.End, e.Who, e.Role, e.Item, e.Object, e.Serial, e.Result, e.Source, e.Detail, l.Marked}
	}
	return out
}

func (s *Site) archiveClose() {
	Handle(s, Op{ID: "audit-archive-prepare", Method: http.MethodPost, Path: "/api/v1/audit/archive/prepare", Summary: "日志归档声明"},
		func(ctx context.Context, _ *struct{}) (*Body[Prepared], error) {
			p, err := s.Trail.ArchivePlan(ctx, Person(ctx))
			if err != nil {
				return nil, s.turned(ctx, string(Person(ctx).ID), audit.ActArchive, err)
			}
			out := PreparedOf(s.Desk.Draft(Person(ctx), audit.ActArchive, p.Title, p.Object, "", p.Items))
			out.Last = p.Last
			return &Body[Prepared]{out}, nil
		})
	type order struct {
		Body struct {
			Last  int64        `json:"last"`
			Claim access.Claim `json:"claim"`
		}
	}
	Handle(s, Op{ID: "audit-archive", Method: http.MethodPost, Path: "/api/v1/audit/archive", Summary: "日志归档：关闭一个期间"},
		func(ctx context.Context, in *order) (*Body[ArchiveLine], error) {
			who := Person(ctx)
			p, err := s.Trail.ArchivePlan(ctx, who)
			if err != nil {
				return nil, s.turned(ctx, string(who.ID), audit.ActArchive, err)
			}
			cmd, err := s.Desk.Verify(ctx, in.Body.Claim, audit.ActArchive, p.Title, p.Object, "", p.Items)
			if err != nil {
				return nil, s.turned(ctx, string(who.ID), audit.ActArchive, err)
			}
			file, err := s.Files(ctx)
			if err != nil {
				return nil, err
			}
			a, err := s.Trail.Close(ctx, s.Archive, p, cmd, file)
			return &Body[ArchiveLine]{ArchiveLine{a, a.File()}}, err
		})
}

func (s *Site) figures() {
	type span struct {
		From time.Time `query:"from"`
		To   time.Time `query:"to"`
	}
	Handle(s, Op{ID: "audit-figures", Method: http.MethodGet, Path: "/api/v1/audit/figures", Summary: "审计统计：按操作、按人员"},
		func(ctx context.Context, in *span) (*Body[audit.TrailFigures], error) {
			if err := s.reads(ctx, "audit.figures"); err != nil {
				return nil, err
			}
			f, err := s.Trail.Count(ctx, in.From, in.To)
			return &Body[audit.TrailFigures]{f}, err
		})
}

func (s *Site) systemLog() {
	type query struct {
		Level string    `query:"level" enum:"DEBUG,INFO,WARN,ERROR" doc:"此级别及以上"`
		Text  string    `query:"q" maxLength:"200"`
		From  time.Time `query:"from"`
		To    time.Time `query:"to"`
		Limit int       `query:"limit" maximum:"500"`
	}
	Handle(s, Op{ID: "system-log", Method: http.MethodGet, Path: "/api/v1/system-log", Summary: "查询系统日志"},
		func(ctx context.Context, in *query) (*Body[[]journal.LogLine], error) {
			if err := s.reads(ctx, "audit.system-log"); err != nil {
				return nil, err
			}
			lines, err := journal.Find(s.Log, journal.Query{Level: in.Level, Text: in.Text, From: in.From, To: in.To, Limit: in.Limit})
			return &Body[[]journal.LogLine]{lines}, err
		})
}
