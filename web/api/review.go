package api

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/journal"
)

// Review is the auditor's page beside the trail: closed periods, what one of
// them says, figures of a time, and the system's log. (归档与统计)
type Review struct {
	Archives []ArchiveLine
	N        int64       // the period that is shown; 0 is none
	Lines    []AuditLine // of that period
	Figures  audit.TrailFigures
	Log      []journal.LogLine
}

// ReviewQuery is what the page asks for.
type ReviewQuery struct {
	N        int64
	Who      string // of the period's entries
	Item     string
	From, To time.Time // of figures and log
	Level    string
	Text     string
}

// logLines is how much of the log one page shows.
const logLines = 100

// Review reads the page for audit roles; others are refused, on the trail.
func (s *Site) Review(ctx context.Context, who access.Person, q ReviewQuery) (v Review, err error) {
	if !s.Trail.Readable(who) {
		err := access.WrongRole.At("role", access.WrongRole.Clause).Because("审计记录由%s查看", s.Trail.Auditor.Title())
		return v, s.turned(ctx, string(who.ID), "audit.archives", err)
	}
	list, err := s.Trail.Archives(ctx)
	if err != nil {
		return v, err
	}
	for _, a := range list {
		v.Archives = append(v.Archives, ArchiveLine{a, a.File()})
	}
	if v.N = q.N; q.N > 0 {
		lines, err := s.Trail.Archived(ctx, s.Archive, q.N, audit.Query{Who: q.Who, Item: q.Item})
		if err != nil {
			return v, err
		}
		v.Lines = linesOf(lines)
	}
	if v.Figures, err = s.Trail.Count(ctx, q.From, q.To); err != nil || s.Log == "" {
		return v, err
	}
	v.Log, err = journal.Find(s.Log, journal.Query{Level: q.Level, Text: q.Text, From: q.From, To: q.To, Limit: logLines})
	return v, err
}
