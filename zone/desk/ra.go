package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/web/api"
)

// Args are a command's words and options.
type Args struct {
	Words                                    []string
	Note, State, Query, Out, Reason, Invalid string
	After, Kind, Ground, Asker, CSR          string
	Limit                                    int
	Personal                                 bool
	Bulk                                     BulkArgs
}

// one returns the only word, or a usage error naming what is wanted.
func (a Args) one(what string) (string, error) {
	if len(a.Words) != 1 {
		return "", &Usage{Text: "需要一个参数：" + what}
	}
	return a.Words[0], nil
}

// RA carries out a verb of the registration desk and returns what to print.
func (p *Person) RA(ctx context.Context, verb string, a Args) (any, error) {
	switch verb {
	case "draft", "submit":
		return p.submit(ctx, verb, a)
	case "approve", "authorise", "return", "reject", "withdraw", "discard":
		if len(a.Words) == 0 {
			return nil, &Usage{Text: "需要案件编号"}
		}
		return p.act(ctx, ra.Order{Act: "ra." + verb, IDs: a.Words, Note: a.Note})
	case "revoke", "freeze", "unfreeze":
		serial, err := a.one("证书序列号")
		if err != nil {
			return nil, err
		}
		if verb == "revoke" && a.Reason == "" && a.Ground == "" {
			return nil, &Usage{Text: "需要 --reason 或 --ground"}
		}
		return p.act(ctx, ra.Order{Act: "ra." + verb, Serial: serial, Reason: a.Reason, Ground: a.Ground, Asker: a.Asker, Note: a.Note})
	case "renew", "extend", "amend", "reissue", "recover":
		return p.follow(ctx, verb, a)
	case "accept":
		return p.accept(ctx, a)
	case "produce":
		return p.produce(ctx, a)
	case "show":
		id, err := a.one("案件编号")
		if err != nil {
			return nil, err
		}
		var v raapi.CaseView
		return &v, p.Call(ctx, http.MethodGet, "/api/v1/cases/"+escape(id), nil, &v)
	case "list":
		return p.list(ctx, a)
	case "batch":
		return p.batch(ctx, a)
	case "bulk":
		return p.bulk(ctx, a)
	case "unit":
		return p.unit(ctx, a)
	case "guide":
		return p.guide(ctx, a)
	case "reminders":
		return p.reminders(ctx, a)
	case "evidence":
		return p.evidence(ctx, a)
	case "identity", "export", "readings":
		return p.personal(ctx, verb, a)
	case "evidence-file":
		return p.evidenceFile(ctx, a)
	case "statistics":
		return p.tally(ctx, a)
	case "offline":
		return p.offline(ctx, a)
	case "profiles", "bodies", "levels":
		return p.look(ctx, verb)
	}
	return nil, &Usage{Text: fmt.Sprintf("没有 ra %s；可用：draft submit accept withdraw discard approve authorise return reject revoke freeze unfreeze renew extend amend reissue recover produce evidence evidence-file identity export readings show list batch bulk profiles reminders guide unit bodies levels statistics offline %s", verb, strings.Replace(ChangeVerbs, "overview ", "", 1))}
}

// evidence brings a file to be kept.
func (p *Person) evidence(ctx context.Context, a Args) (any, error) {
	name, err := a.one("文件")
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, Unreadable(err)
	}
	var v raapi.EvidenceLine
	return &v, p.Call(ctx, http.MethodPost, query("/api/v1/evidence", "name", filepath.Base(name)), data, &v)
}

// look reads one list whole.
func (p *Person) look(ctx context.Context, what string) (any, error) {
	var v json.RawMessage
	return &v, p.Call(ctx, http.MethodGet, "/api/v1/"+what, nil, &v)
}

func (p *Person) list(ctx context.Context, a Args) (any, error) {
	if len(a.Words) > 0 {
		return nil, &Usage{Text: fmt.Sprintf("ra list 没有参数 %q；请用 --q、--state、--kind 查询", a.Words[0])}
	}
	limit := ""
	if a.Limit > 0 {
		limit = fmt.Sprint(a.Limit)
	}
	q, number, err := p.sought(ctx, a.Query)
	if err != nil {
		return nil, err
	}
	var page raapi.Page
	return &page, p.Call(ctx, http.MethodGet, query("/api/v1/cases", "state", a.State, "q", q, "number", number, "kind", a.Kind, "after", a.After, "limit", limit), nil, &page)
}

// escape keeps an id one segment of a path.
func escape(id string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F", "#", "%23", " ", "%20").Replace(id)
}

// ID is the answer to an act on one case.
type ID struct {
	ID string `json:"id"`
}

type cases struct {
	Cases []raapi.CaseLine `json:"cases"`
}

// act prepares, signs and sends one order.
func (p *Person) act(ctx context.Context, o ra.Order) (any, error) {
	done, err := p.order(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(done.Cases) == 1 {
		return ID{done.Cases[0].ID}, nil
	}
	return done, nil
}

func (p *Person) order(ctx context.Context, o ra.Order) (cases, error) {
	var st api.Prepared
	var done cases
	if err := p.Call(ctx, http.MethodPost, "/api/v1/acts/prepare", o, &st); err != nil {
		return done, err
	}
	o.ID = st.ID
	claim, err := p.Claim(st)
	if err != nil {
		return done, err
	}
	in := struct {
		Order ra.Order     `json:"order"`
		Claim access.Claim `json:"claim"`
	}{o, claim}
	return done, p.Call(ctx, http.MethodPost, "/api/v1/acts", in, &done)
}

func (p *Person) submit(ctx context.Context, verb string, a Args) (any, error) {
	id := ""
	if verb == "draft" && len(a.Words) == 2 { // a draft, or what was returned, is corrected
		id, a.Words = a.Words[0], a.Words[1:]
	}
	name, err := a.one("FILE.json、FILE.xlsx 或 FILE.csv，或草稿编号")
	if err != nil {
		return nil, err
	}
	ext := strings.ToLower(filepath.Ext(name))
	if verb == "submit" && !slices.Contains([]string{".json", ".xlsx", ".csv"}, ext) {
		if _, err := os.Stat(name); err != nil {
			return p.act(ctx, ra.Order{Act: "ra.submit", IDs: []string{name}, Note: a.Note})
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, Unreadable(err)
	}
	if ext == ".xlsx" || ext == ".csv" || bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		return p.upload(ctx, "/api/v1/sheets", verb, filepath.Base(name), data, a)
	}
	if id != "" {
		f, err := ra.ParseForm(data)
		if err != nil {
			return nil, err
		}
		f.ID = id
		if data, err = json.Marshal(f); err != nil {
			return nil, err
		}
	}
	var line raapi.CaseLine
	if err := p.Call(ctx, http.MethodPost, "/api/v1/drafts", data, &line); err != nil {
		return nil, err
	}
	if verb == "draft" {
		return ID{line.ID}, nil
	}
	return p.act(ctx, ra.Order{Act: "ra.submit", IDs: []string{line.ID}, Note: a.Note})
}

// follow submits an application for a certificate that follows another: its
// serial, a new request where the key changes, and for an amendment the form
// with what is different.
func (p *Person) follow(ctx context.Context, purpose string, a Args) (any, error) {
	var f ra.Form
	switch {
	case purpose == "amend" && len(a.Words) == 2:
		data, err := os.ReadFile(a.Words[1])
		if err != nil {
			return nil, Unreadable(err)
		}
		if f, err = ra.ParseForm(data); err != nil {
			return nil, &Usage{Text: err.Error()}
		}
	case len(a.Words) != 1 || purpose == "amend":
		return nil, &Usage{Text: "需要证书序列号；amend 另需 FILE.json"}
	}
	f.For, f.Replaces = purpose, a.Words[0]
	if a.CSR != "" {
		data, err := os.ReadFile(a.CSR)
		if err != nil {
			return nil, Unreadable(err)
		}
		f.CSR = string(data)
	}
	if f.CSR == "" && purpose != "extend" {
		return nil, &Usage{Text: "需要 --csr 新的证书请求文件"}
	}
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	var line raapi.CaseLine
	if err := p.Call(ctx, http.MethodPost, "/api/v1/drafts", data, &line); err != nil {
		return nil, err
	}
	return p.act(ctx, ra.Order{Act: "ra.submit", IDs: []string{line.ID}, Note: a.Note})
}

// guide tells how far a path at the counter has come with a certificate.
func (p *Person) guide(ctx context.Context, a Args) (any, error) {
	if len(a.Words) != 2 {
		return nil, &Usage{Text: "需要 reissue 或 amend，和证书序列号"}
	}
	var v raapi.WayView
	return &v, p.Call(ctx, http.MethodGet, query("/api/v1/guides/"+escape(a.Words[0]), "serial", a.Words[1]), nil, &v)
}

// reminders lists certificates that run out, or saves the list as a sheet.
func (p *Person) reminders(ctx context.Context, a Args) (any, error) {
	if a.Out == "" {
		var v raapi.ReminderPage
		return &v, p.Call(ctx, http.MethodGet, query("/api/v1/reminders", "after", a.After), nil, &v)
	}
	var data []byte
	personal := ""
	if a.Personal {
		personal = "true"
	}
	if err := p.Call(ctx, http.MethodGet, query("/api/v1/reminders.csv", "personal", personal, "reason", a.Note), nil, &data); err != nil {
		return nil, err
	}
	return map[string]string{"out": a.Out}, os.WriteFile(a.Out, data, 0o600)
}

// accept takes up what a subscriber asked for and hands it to a reviewer.
func (p *Person) accept(ctx context.Context, a Args) (any, error) {
	id, err := a.one("案件编号")
	if err != nil {
		return nil, err
	}
	var v raapi.CaseView
	if err := p.Call(ctx, http.MethodGet, "/api/v1/cases/"+escape(id), nil, &v); err != nil {
		return nil, err
	}
	act := "ra.submit"
	if v.Revocation != nil {
		act = v.Kind
	}
	return p.act(ctx, ra.Order{Act: act, IDs: []string{id}, Note: a.Note})
}

// RowLine is one row of a sheet as printed.
type RowLine struct {
	Row   int    `json:"row"`
	ID    string `json:"id,omitempty"`
	Code  string `json:"code,omitempty"`
	Field string `json:"field,omitempty"`
	Text  string `json:"text,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

// BatchLine is a sheet as printed.
type BatchLine struct {
	Batch string    `json:"batch"`
	Rows  []RowLine `json:"rows"`
}

// upload brings a sheet and submits what it drafts.
func (p *Person) upload(ctx context.Context, path, verb, name string, data []byte, a Args) (any, error) {
	var b ra.Batch
	if err := p.Call(ctx, http.MethodPost, query(path, "name", name), data, &b); err != nil {
		return nil, err
	}
	out := BatchLine{Batch: b.ID}
	var first *refusal.Report
	taken := false
	for _, row := range b.Rows {
		l := RowLine{Row: row.Line, ID: row.ID}
		if r := row.Refusal; r != nil {
			l.Code, l.Field, l.Text, l.Fix = r.Code, r.Field, r.Text, r.Fix
			if first == nil {
				first = r
			}
		}
		taken = taken || row.ID != ""
		out.Rows = append(out.Rows, l)
	}
	if !taken && first != nil {
		return out, &Refused{*first}
	}
	if verb == "draft" {
		return out, nil
	}
	var rest struct {
		Waiting []string `json:"waiting"`
	}
	if err := p.Call(ctx, http.MethodGet, "/api/v1/batches/"+escape(b.ID), nil, &rest); err != nil {
		return out, err
	}
	if len(rest.Waiting) > 0 {
		if _, err := p.order(ctx, ra.Order{Act: "ra.submit", IDs: rest.Waiting, Note: a.Note}); err != nil {
			return out, err
		}
	}
	return out, nil
}

// produce hands out a package into a new folder, or the same files again.
func (p *Person) produce(ctx context.Context, a Args) (any, error) {
	id, err := a.one("案件编号")
	if err != nil {
		return nil, err
	}
	if a.Out == "" {
		return nil, &Usage{Text: "需要 --out 目录"}
	}
	var pack ra.Package
	err = p.Call(ctx, http.MethodGet, "/api/v1/cases/"+escape(id)+"/package", nil, &pack)
	var no *Refused
	if asRefused(err, &no) && no.Report.Code == ra.NotIssued.Code {
		if _, err = p.order(ctx, ra.Order{Act: "ra.produce", IDs: []string{id}, Note: a.Note}); err == nil {
			err = p.Call(ctx, http.MethodGet, "/api/v1/cases/"+escape(id)+"/package", nil, &pack)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.Out, 0o755); err != nil {
		return nil, err
	}
	for _, f := range pack.Files() {
		if err := os.WriteFile(filepath.Join(a.Out, f.Name), f.Data, 0o644); err != nil {
			return nil, err
		}
	}
	return map[string]string{"id": id, "out": a.Out}, nil
}

// evidenceFile takes the evidence file of a case's certificates.
func (p *Person) evidenceFile(ctx context.Context, a Args) (any, error) {
	id, err := a.one("案件编号")
	if err != nil {
		return nil, err
	}
	if a.Out == "" {
		return nil, &Usage{Text: "需要 --out 文件"}
	}
	var data []byte
	if err := p.Call(ctx, http.MethodGet, "/api/v1/cases/"+escape(id)+"/evidence.zip", nil, &data); err != nil {
		return nil, err
	}
	return map[string]string{"id": id, "out": a.Out}, os.WriteFile(a.Out, data, 0o600)
}

// tally shows what was issued and how it stands, held against the CA's figures.
func (p *Person) tally(ctx context.Context, a Args) (any, error) {
	if a.Out != "" {
		return p.rows(ctx, query("/api/v1/statistics.csv", "from", a.Bulk.From), a.Out)
	}
	var v json.RawMessage
	return &v, p.Call(ctx, http.MethodGet, query("/api/v1/statistics", "from", a.Bulk.From), nil, &v)
}

// offline takes approved applications out in a file, or brings the CA's answers.
func (p *Person) offline(ctx context.Context, a Args) (any, error) {
	switch {
	case len(a.Words) == 1 && a.Words[0] == "export" && a.Out != "":
		var data []byte
		if err := p.Call(ctx, http.MethodGet, "/api/v1/offline/requests", nil, &data); err != nil {
			return nil, err
		}
		return map[string]string{"out": a.Out}, os.WriteFile(a.Out, data, 0o600)
	case len(a.Words) == 2 && a.Words[0] == "import":
		data, err := os.ReadFile(a.Words[1])
		if err != nil {
			return nil, Unreadable(err)
		}
		var v raapi.Carried
		return &v, p.Call(ctx, http.MethodPost, "/api/v1/offline/answers", data, &v)
	}
	return nil, &Usage{Text: "ra offline export --out 文件；ra offline import 文件"}
}

func asRefused(err error, to **Refused) bool {
	r, ok := err.(*Refused)
	if ok {
		*to = r
	}
	return ok
}
