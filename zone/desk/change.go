package desk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/proposals"
)

// Change carries out a verb about changes and people, the same in every system;
// ok is false for a verb that is none of them.
func (p *Person) Change(ctx context.Context, verb string, a Args) (out any, ok bool, err error) {
	switch verb {
	case "propose":
		if len(a.Words) != 2 {
			return nil, true, &Usage{Text: "需要两个参数：事项（见 matters）和内容文件 FILE.json"}
		}
		content, err := os.ReadFile(a.Words[1])
		if err != nil {
			return nil, true, Unreadable(err)
		}
		content = bytes.TrimPrefix(content, []byte("\xEF\xBB\xBF"))
		if !json.Valid(content) {
			return nil, true, api.Malformed.At("file", api.Malformed.Clause).Because("%s 不是 JSON", filepath.Base(a.Words[1])).ToFix("请按手册中的样例填写")
		}
		out, err = p.propose(ctx, proposal.Order{Act: proposal.Propose, Matter: a.Words[0], Content: content, Note: a.Note})
		return out, true, err
	case "confirm", "decline", "retract":
		id, err := a.one("变更编号")
		if err != nil {
			return nil, true, err
		}
		act := map[string]casework.Action{"confirm": proposal.Confirm, "decline": proposal.Reject, "retract": proposal.Withdraw}[verb]
		out, err = p.propose(ctx, proposal.Order{Act: act, ID: id, Note: a.Note})
		return out, true, err
	case "release":
		id, err := a.one("变更编号")
		if err != nil {
			return nil, true, err
		}
		var v proposals.ChangeView
		if err := p.Call(ctx, http.MethodGet, "/api/v1/proposals/"+escape(id), nil, &v); err != nil {
			return nil, true, err
		}
		var share []byte
		if v.Shares {
			if share, err = p.share(ctx); err != nil {
				return nil, true, err
			}
		}
		out, err = p.propose(ctx, proposal.Order{Act: proposal.Release, ID: id, Note: a.Note, Share: share})
		return out, true, err
	}
	return p.read(ctx, verb, a)
}

// read looks changes, people and the overview up.
func (p *Person) read(ctx context.Context, verb string, a Args) (out any, ok bool, err error) {
	switch verb {
	case "result":
		id, err := a.one("变更编号")
		if err != nil {
			return nil, true, err
		}
		if a.Out == "" {
			return nil, true, &Usage{Text: "需要 --out 文件"}
		}
		var v proposals.ChangeView
		if err := p.Call(ctx, http.MethodGet, "/api/v1/proposals/"+escape(id), nil, &v); err != nil {
			return nil, true, err
		}
		if len(v.Result) == 0 {
			return nil, true, proposal.NoResult.At("id", proposal.NoResult.Clause).Because("变更 %s 现为“%s”", id, v.StateTitle)
		}
		return map[string]string{"out": a.Out}, true, os.WriteFile(a.Out, v.Result, 0o600)
	case "matters":
		var v []proposals.MatterLine
		return &v, true, p.Call(ctx, http.MethodGet, "/api/v1/matters", nil, &v)
	case "changes":
		var v proposals.ChangePage
		return &v, true, p.Call(ctx, http.MethodGet, query("/api/v1/proposals", "state", a.State, "after", a.After), nil, &v)
	case "change":
		id, err := a.one("变更编号")
		if err != nil {
			return nil, true, err
		}
		var v proposals.ChangeView
		return &v, true, p.Call(ctx, http.MethodGet, "/api/v1/proposals/"+escape(id), nil, &v)
	case "people":
		var v []proposals.PersonLine
		return &v, true, p.Call(ctx, http.MethodGet, "/api/v1/people", nil, &v)
	case "overview":
		var v []api.Check
		return &v, true, p.Call(ctx, http.MethodGet, "/api/v1/overview", nil, &v)
	case "cert":
		id, err := a.one("人员编号")
		if err != nil {
			return nil, true, err
		}
		if a.Out == "" {
			return nil, true, &Usage{Text: "需要 --out 文件"}
		}
		var data []byte
		if err := p.Call(ctx, http.MethodGet, "/api/v1/people/"+escape(id)+"/cert", nil, &data); err != nil {
			return nil, true, err
		}
		return map[string]string{"out": a.Out}, true, os.WriteFile(a.Out, data, 0o644)
	}
	return nil, false, nil
}

// ChangeVerbs names them for a usage line.
const ChangeVerbs = "matters propose confirm decline retract release result changes change people cert overview audit"

func (p *Person) propose(ctx context.Context, o proposal.Order) (any, error) {
	var st api.Prepared
	if err := p.Call(ctx, http.MethodPost, "/api/v1/proposals/prepare", o, &st); err != nil {
		return nil, err
	}
	o.ID = st.ID
	claim, err := p.Claim(st)
	if err != nil {
		return nil, err
	}
	var line proposals.ChangeLine
	in := struct {
		Order proposal.Order `json:"order"`
		Claim access.Claim   `json:"claim"`
	}{o, claim}
	if err := p.Call(ctx, http.MethodPost, "/api/v1/proposals", in, &line); err != nil {
		return nil, err
	}
	return ID{line.ID}, nil
}

// Due lists archived keys, or what identified holders, whose time has come: what
// a destruction would take.
func (p *Person) Due(ctx context.Context, before, after string) (any, error) {
	var v json.RawMessage
	return &v, p.Call(ctx, http.MethodGet, query("/api/v1/due", "before", before, "after", after), nil, &v)
}

// Print shows lists of changes, people and checks as lines.
func Print(v any) bool {
	switch v := v.(type) {
	case *[]proposals.MatterLine:
		for _, m := range *v {
			who := "签名即执行"
			if m.Confirm != "" {
				who = "须另一名" + m.Confirm + "批准"
			}
			fmt.Printf("%-32s %s（%s）\n", m.Name, m.Title, who)
		}
	case *proposals.ChangePage:
		for _, l := range v.Proposals {
			fmt.Printf("%s  %-6s  %s  %s  %s\n", l.ID, l.StateTitle, l.MatterName, l.Title, l.By)
		}
		if v.Next != "" {
			fmt.Printf("还有更多：--after %s\n", v.Next)
		}
	case *[]proposals.PersonLine:
		for _, l := range *v {
			fmt.Printf("%-16s %-8s %-10s %s  至 %s  %s\n", l.ID, l.State, l.RoleTitle, l.Serial, l.NotAfter.Format("2006-01-02"), l.Name)
		}
	case *[]api.Check:
		for _, c := range *v {
			fmt.Printf("%-5s %s：%s %s\n", c.State, c.Name, c.Value, c.Advice)
		}
	default:
		return false
	}
	return true
}

// share opens the person's own share with their key and seals it to the key
// centre.
func (p *Person) share(ctx context.Context) ([]byte, error) {
	var own struct {
		Sealed []byte `json:"sealed"`
		Centre []byte `json:"centre"`
	}
	if err := p.Call(ctx, http.MethodGet, "/api/v1/custody", nil, &own); err != nil {
		return nil, err
	}
	key, ok := p.Key.(*sm2.PrivateKey)
	if !ok {
		return nil, &Usage{Text: "私钥不在文件中，不能打开份额"}
	}
	plain, err := sm2.Decrypt(key, own.Sealed)
	if err != nil {
		return nil, fmt.Errorf("打开本人份额: %w", err)
	}
	defer clear(plain)
	to, err := alg.PublicKey(own.Centre)
	if err != nil {
		return nil, err
	}
	return sm2.EncryptASN1(rand.Reader, to, plain)
}
