package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/web/api"
)

// Audit carries out an auditor's verb, the same in every system.
func (p *Person) Audit(ctx context.Context, a Args) (any, error) {
	verb := "list"
	if len(a.Words) > 0 {
		verb = a.Words[0]
	}
	switch verb {
	case "list":
		var lines []api.AuditLine
		limit := ""
		if a.Limit > 0 {
			limit = fmt.Sprint(a.Limit)
		}
		return &lines, p.Call(ctx, http.MethodGet, query("/api/v1/audit", "object", a.Query, "before", a.After, "limit", limit), nil, &lines)
	case "mark":
		var upTo struct {
			Last int64 `json:"last,omitempty"`
		}
		if len(a.Words) > 1 {
			n, err := strconv.ParseInt(a.Words[1], 10, 64)
			if err != nil || n < 1 || len(a.Words) > 2 {
				return nil, &Usage{Text: "audit mark 之后可写一个序号：审计到哪一条为止；不写为全部"}
			}
			upTo.Last = n
		}
		var st api.Prepared
		if err := p.Call(ctx, http.MethodPost, "/api/v1/audit/mark/prepare", upTo, &st); err != nil {
			return nil, err
		}
		claim, err := p.Claim(st)
		if err != nil {
			return nil, err
		}
		var out map[string]any
		in := struct {
			Last  int64        `json:"last"`
			Claim access.Claim `json:"claim"`
		}{st.Last, claim}
		return &out, p.Call(ctx, http.MethodPost, "/api/v1/audit/mark", in, &out)
	case "export":
		if a.Out == "" {
			return nil, &Usage{Text: "需要 --out 文件"}
		}
		var data []byte
		if err := p.Call(ctx, http.MethodGet, "/api/v1/audit/export", nil, &data); err != nil {
			return nil, err
		}
		return map[string]string{"out": a.Out}, os.WriteFile(a.Out, data, 0o600)
	}
	return p.archives(ctx, verb, a)
}

// archives carries out the verbs about closed periods, statistics and the
// system's log.
func (p *Person) archives(ctx context.Context, verb string, a Args) (any, error) {
	n := ""
	if len(a.Words) > 1 {
		n = a.Words[1]
	}
	var out json.RawMessage
	switch verb {
	case "archive":
		return p.closePeriod(ctx)
	case "archives":
		return &out, p.Call(ctx, http.MethodGet, "/api/v1/audit/archives", nil, &out)
	case "archived":
		if n == "" {
			return nil, &Usage{Text: "需要期数，见 audit archives"}
		}
		if a.Out != "" {
			var data []byte
			if err := p.Call(ctx, http.MethodGet, "/api/v1/audit/archives/"+escape(n)+"/file", nil, &data); err != nil {
				return nil, err
			}
			return map[string]string{"out": a.Out}, os.WriteFile(a.Out, data, 0o600)
		}
		var lines []api.AuditLine
		return &lines, p.Call(ctx, http.MethodGet, query("/api/v1/audit/archives/"+escape(n), "object", a.Query, "before", a.After), nil, &lines)
	case "figures":
		return &out, p.Call(ctx, http.MethodGet, "/api/v1/audit/figures", nil, &out)
	case "log":
		return &out, p.Call(ctx, http.MethodGet, query("/api/v1/system-log", "q", a.Query, "level", a.State), nil, &out)
	}
	return nil, &Usage{Text: "没有 audit " + verb + "；可用：list mark export archive archives archived figures log"}
}

// closePeriod closes what was marked since the period before.
func (p *Person) closePeriod(ctx context.Context) (any, error) {
	var st api.Prepared
	if err := p.Call(ctx, http.MethodPost, "/api/v1/audit/archive/prepare", struct{}{}, &st); err != nil {
		return nil, err
	}
	claim, err := p.Claim(st)
	if err != nil {
		return nil, err
	}
	in := struct {
		Last  int64        `json:"last"`
		Claim access.Claim `json:"claim"`
	}{st.Last, claim}
	var out api.ArchiveLine
	return &out, p.Call(ctx, http.MethodPost, "/api/v1/audit/archive", in, &out)
}
