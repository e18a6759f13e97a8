package desk

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

const unitUsage = "ra unit add|amend FILE.json；ra unit suspend|resume 信用代码 --note 原因；ra unit import FILE.xlsx|FILE.csv；ra unit show 信用代码；ra unit agent 信用代码 --note 事由；ra unit list（--q --state good|suspended|expired --after）；ra unit export --out 文件（--personal --note 事由）"

// unit carries out a verb about the register of units. Changes are submitted at
// once; another person's approve decides.
func (p *Person) unit(ctx context.Context, a Args) (any, error) {
	if len(a.Words) == 1 {
		switch a.Words[0] {
		case "list":
			var v raapi.UnitPage
			return &v, p.Call(ctx, http.MethodGet, query("/api/v1/units", "q", a.Query, "status", a.State, "after", a.After), nil, &v)
		case "export":
			personal := ""
			if a.Personal {
				personal = "true"
			}
			return p.rows(ctx, query("/api/v1/units.csv", "q", a.Query, "status", a.State, "personal", personal, "reason", a.Note), a.Out)
		}
	}
	if len(a.Words) != 2 {
		return nil, &Usage{Text: unitUsage}
	}
	switch verb, word := a.Words[0], a.Words[1]; verb {
	case "add", "amend":
		data, err := os.ReadFile(word)
		if err != nil {
			return nil, Unreadable(err)
		}
		f, err := ra.ParseUnit(data)
		if err != nil {
			return nil, err
		}
		f.Do = verb
		return p.changeUnit(ctx, f, a.Note)
	case "suspend", "resume":
		return p.changeUnit(ctx, ra.UnitForm{Do: verb, Code: word, Reason: a.Note}, a.Note)
	case "import":
		return p.importUnits(ctx, word, a)
	case "show":
		var v raapi.UnitView
		return &v, p.Call(ctx, http.MethodGet, "/api/v1/units/"+escape(word), nil, &v)
	case "agent":
		var v raapi.AgentView
		return &v, p.Call(ctx, http.MethodPost, "/api/v1/units/"+escape(word)+"/agent", map[string]string{"reason": a.Note}, &v)
	}
	return nil, &Usage{Text: unitUsage}
}

func (p *Person) changeUnit(ctx context.Context, f ra.UnitForm, note string) (any, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	var line raapi.CaseLine
	if err := p.Call(ctx, http.MethodPost, "/api/v1/units/drafts", data, &line); err != nil {
		return nil, err
	}
	return p.act(ctx, ra.Order{Act: "ra.submit", IDs: []string{line.ID}, Note: note})
}

func (p *Person) importUnits(ctx context.Context, name string, a Args) (any, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, Unreadable(err)
	}
	return p.upload(ctx, "/api/v1/units/sheets", "submit", filepath.Base(name), data, a)
}
