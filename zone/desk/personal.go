package desk

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

// sought is what a list is asked for: a text, or the key for the number of
// somebody's card, which no address may hold.
func (p *Person) sought(ctx context.Context, text string) (q, number string, err error) {
	if !identity.Looks(text) {
		return text, "", nil
	}
	var v struct {
		Key string `json:"key"`
	}
	err = p.Call(ctx, http.MethodPost, "/api/v1/cases/number", map[string]string{"number": text}, &v)
	return "", v.Key, err
}

// personal carries out the verbs about personal data: each is on the trail
// before the answer comes.
func (p *Person) personal(ctx context.Context, verb string, a Args) (any, error) {
	switch verb {
	case "identity":
		id, err := a.one("案件编号")
		if err != nil {
			return nil, err
		}
		var v raapi.Document
		return &v, p.Call(ctx, http.MethodPost, "/api/v1/cases/"+escape(id)+"/identity", map[string]string{"reason": a.Note}, &v)
	case "readings":
		var v []ra.ReadCount
		return &v, p.Call(ctx, http.MethodGet, "/api/v1/readings", nil, &v)
	}
	if a.Out == "" {
		return nil, &Usage{Text: "需要 --out 文件（.csv 或 .json）"}
	}
	path := "/api/v1/cases.csv"
	if strings.EqualFold(filepath.Ext(a.Out), ".json") {
		path = "/api/v1/cases.json"
	}
	personal := ""
	if a.Personal {
		personal = "true"
	}
	var raw []byte
	q, number, err := p.sought(ctx, a.Query)
	if err != nil {
		return nil, err
	}
	if err := p.Call(ctx, http.MethodGet, query(path, "state", a.State, "q", q, "number", number, "kind", a.Kind, "personal", personal, "reason", a.Note), nil, &raw); err != nil {
		return nil, err
	}
	return map[string]string{"out": a.Out}, os.WriteFile(a.Out, raw, 0o600)
}
