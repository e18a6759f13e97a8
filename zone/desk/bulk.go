package desk

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

// BulkArgs is what a bulk is tried with.
type BulkArgs struct {
	Profile, Unit, Policy, Algorithm, Batch string
	From, To, Expires                       string // RFC 3339, or a date
	Count                                   int
	Evidence                                []string
}

const bulkUsage = "ra bulk try revoke|freeze|unfreeze|renew|extend（--profile --unit --policy --issued-from --issued-to --expires-before --algorithm --batch）；ra bulk propose|confirm|reject|withdraw|pause|resume|cancel|show|rows 编号；集中延期 ra bulk draft 编号；集中更新 ra bulk invite 编号、ra bulk sheet 编号 --out 表格、ra bulk renewals 表格；ra bulk list"

// bulk carries out a verb about many certificates at once.
func (p *Person) bulk(ctx context.Context, a Args) (any, error) {
	if len(a.Words) == 1 && a.Words[0] == "list" {
		var v json.RawMessage
		return &v, p.Call(ctx, http.MethodGet, query("/api/v1/bulks", "after", a.After), nil, &v)
	}
	if len(a.Words) != 2 {
		return nil, &Usage{Text: bulkUsage}
	}
	verb, id := a.Words[0], a.Words[1]
	switch verb {
	case "try":
		return p.tryBulk(ctx, id, a)
	case "show":
		var v raapi.BulkView
		return &v, p.Call(ctx, http.MethodGet, "/api/v1/bulks/"+escape(id), nil, &v)
	case "rows":
		return p.rows(ctx, "/api/v1/bulks/"+escape(id)+"/rows.csv", a.Out)
	case "draft", "invite", "sheet", "renewals":
		return p.campaign(ctx, verb, id, a)
	case "propose":
		var v raapi.BulkView
		if err := p.Call(ctx, http.MethodGet, "/api/v1/bulks/"+escape(id), nil, &v); err != nil {
			return nil, err
		}
		return p.whole(ctx, ra.Order{Act: v.Act, Bulk: id})
	case "confirm":
		return p.whole(ctx, ra.Order{Act: "ra.approve", Bulk: id, Count: a.Bulk.Count, Note: a.Note})
	case "reject", "withdraw", "pause", "resume", "cancel":
		return p.whole(ctx, ra.Order{Act: "ra." + verb, Bulk: id, Note: a.Note})
	}
	return nil, &Usage{Text: bulkUsage}
}

// whole is an act on all of a batch; the answer is how many cases it moved.
func (p *Person) whole(ctx context.Context, o ra.Order) (any, error) {
	done, err := p.order(ctx, o)
	if err != nil {
		return nil, err
	}
	return struct {
		ID    string `json:"id"`
		Cases int    `json:"cases"`
	}{o.Bulk, len(done.Cases)}, nil
}

func (p *Person) tryBulk(ctx context.Context, act string, a Args) (any, error) {
	if !slices.Contains([]string{"revoke", "freeze", "unfreeze", "renew", "extend"}, act) {
		return nil, &Usage{Text: bulkUsage}
	}
	b := a.Bulk
	q := ra.BulkQuery{Profile: b.Profile, Unit: b.Unit, Policy: b.Policy, Algorithm: b.Algorithm, Batch: b.Batch}
	for _, f := range []struct {
		name, text string
		to         *time.Time
	}{{"--issued-from", b.From, &q.From}, {"--issued-to", b.To, &q.To}, {"--expires-before", b.Expires, &q.Expires}} {
		if f.text == "" {
			continue
		}
		t, err := instant(f.text)
		if err != nil {
			return nil, &Usage{Text: f.name + " 应为日期（2026-11-24）或 RFC 3339 时间"}
		}
		*f.to = t
	}
	in := map[string]any{"act": "ra." + act, "query": q, "reason": a.Reason, "ground": a.Ground, "asker": a.Asker, "note": a.Note, "evidence": b.Evidence}
	for k, v := range in {
		if s, ok := v.(string); ok && s == "" {
			delete(in, k)
		}
	}
	if len(b.Evidence) == 0 {
		delete(in, "evidence")
	}
	var v raapi.BulkView
	return &v, p.Call(ctx, http.MethodPost, "/api/v1/bulks", in, &v)
}

// instant reads a time; a date is its beginning in Beijing.
func instant(text string) (time.Time, error) {
	if t, err := time.ParseInLocation("2006-01-02", text, time.FixedZone("北京时间", 8*60*60)); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}

func (p *Person) rows(ctx context.Context, path, out string) (any, error) {
	if out == "" {
		return nil, &Usage{Text: "需要 --out 文件"}
	}
	var data []byte
	if err := p.Call(ctx, http.MethodGet, path, nil, &data); err != nil {
		return nil, err
	}
	return map[string]string{"out": out}, os.WriteFile(out, data, 0o600)
}

// batch shows a sheet's batch, takes its rows, or holds it back.
func (p *Person) batch(ctx context.Context, a Args) (any, error) {
	if len(a.Words) == 2 {
		switch verb, id := a.Words[0], a.Words[1]; verb {
		case "pause", "resume":
			return p.whole(ctx, ra.Order{Act: "ra." + verb, Bulk: id, Note: a.Note})
		case "rows":
			return p.rows(ctx, "/api/v1/batches/"+escape(id)+"/rows.csv", a.Out)
		}
	}
	id, err := a.one("批次编号，或 pause|resume|rows 批次编号")
	if err != nil {
		return nil, err
	}
	var v json.RawMessage
	return &v, p.Call(ctx, http.MethodGet, "/api/v1/batches/"+escape(strings.TrimSpace(id)), nil, &v)
}

// campaign drafts extensions, invites holders to renew, or brings their requests;
// what is drafted is submitted at once.
func (p *Person) campaign(ctx context.Context, verb, word string, a Args) (any, error) {
	path := "/api/v1/bulks/" + escape(word)
	switch verb {
	case "invite":
		var v raapi.Invitations
		return &v, p.Call(ctx, http.MethodPost, path+"/invitations", nil, &v)
	case "sheet":
		return p.rows(ctx, path+"/requests.csv", a.Out)
	case "renewals":
		data, err := os.ReadFile(word)
		if err != nil {
			return nil, Unreadable(err)
		}
		return p.upload(ctx, query("/api/v1/renewals/sheets", "evidence", strings.Join(a.Bulk.Evidence, ","), "name", filepath.Base(word)), "submit", "", data, a)
	}
	return p.upload(ctx, path+"/drafts", "submit", "", nil, a)
}
