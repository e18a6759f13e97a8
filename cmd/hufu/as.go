package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/zone/desk"
)

type asCmd struct {
	Dir      string `help:"数据目录。" default:"./hufu-data"`
	JSON     bool   `help:"输出 JSON。"`
	Note     string `help:"意见。"`
	State    string `help:"按状态查询。"`
	Kind     string `help:"按案件种类查询。"`
	Q        string `help:"按姓名、编号、序列号等查询。"`
	After    string `help:"上一页最后一件的编号。"`
	Limit    int    `help:"每页件数。"`
	Reason   string `help:"撤销原因，如 keyCompromise。"`
	Ground   string `help:"撤销依据：holder untrue breach unsafe law loss court。"`
	Asker    string `help:"申请方：holder（默认）unit authority court institution。"`
	CSR      string `help:"新的证书请求文件（更新、补办、密钥恢复）。"`
	Out      string `help:"输出目录或文件。"`
	From     string `help:"统计起始日，如 2026-01-01。"`
	To       string `help:"统计截止日（含）。"`
	CSV      bool   `help:"输出 CSV（统计）。"`
	Personal bool   `help:"导出含姓名和证件号码；须以 --note 写明事由。"`
	bulkFlags
	Person  string   `arg:"" help:"人员，如 ra-clerk。"`
	Room    string   `arg:"" help:"系统：ra、ca、km。"`
	Verb    string   `arg:"" help:"动作，如 submit。"`
	Objects []string `arg:"" optional:"" help:"对象：文件、案件编号或序列号。"`
}

// bulkFlags are what many certificates are found by.
type bulkFlags struct {
	Profile       string   `help:"批量：证书模板。"`
	Unit          string   `help:"批量：单位，主体的 O 全称。"`
	Policy        string   `help:"批量：证书策略 OID。"`
	Algorithm     string   `help:"批量：密钥算法，SM2。"`
	Batch         string   `help:"批量：申请批次。"`
	IssuedFrom    string   `help:"批量：签发不早于（日期或 RFC 3339）。"`
	IssuedTo      string   `help:"批量：签发早于。"`
	ExpiresBefore string   `help:"批量：到期早于。"`
	Evidence      []string `help:"批量：材料文件的 SM3（十六进制）。"`
	Count         int      `help:"批量核准：重复输入件数。"`
}

func (f bulkFlags) args() desk.BulkArgs {
	return desk.BulkArgs{Profile: f.Profile, Unit: f.Unit, Policy: f.Policy, Algorithm: f.Algorithm, Batch: f.Batch, From: f.IssuedFrom, To: f.IssuedTo, Expires: f.ExpiresBefore, Count: f.Count, Evidence: f.Evidence}
}

// actWithin bounds one command: a server that hangs is a failure.
const actWithin = 5 * time.Minute

func (c *asCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	if slices.Contains(c.Objects, "") {
		return &desk.Usage{Text: "参数不能是空的：请核对脚本里的变量"}
	}
	if c.Limit < 0 {
		return &desk.Usage{Text: fmt.Sprintf("选项 --limit 应为 1 至 %d 的整数，却是 %d", ra.PageMax, c.Limit)}
	}
	if err := spare(c.Out, append(c.Objects[:len(c.Objects):len(c.Objects)], c.CSR)...); err != nil {
		return err
	}
	var e desk.Endpoints
	if err := e.Read(c.Dir); err != nil {
		return err
	}
	p, err := desk.Open(e.People, c.Person)
	if err != nil {
		return err
	}
	switch c.Room {
	case "ra":
		p.URL = e.RA
	case "ca":
		p.URL = e.CAConsole
	case "km":
		p.URL = e.KMConsole
	default:
		return &desk.Usage{Text: fmt.Sprintf("没有系统 %q；可用：ra ca km", c.Room)}
	}
	if err := p.SignIn(ctx); err != nil {
		return err
	}
	defer p.SignOut(context.WithoutCancel(ctx))
	a := desk.Args{Words: c.Objects, Note: c.Note, State: c.State, Query: c.Q, Out: c.Out, Reason: c.Reason, After: c.After, Kind: c.Kind, Limit: c.Limit, Ground: c.Ground, Asker: c.Asker, CSR: c.CSR, Personal: c.Personal, Bulk: c.args()}
	out, err := c.do(ctx, p, a)
	if out != nil && (err == nil || c.JSON && fmt.Sprintf("%T", out) == "desk.BatchLine") {
		c.print(out)
	}
	return err
}

func (c *asCmd) do(ctx context.Context, p *desk.Person, a desk.Args) (any, error) {
	if c.Room == "ra" && c.Verb == "overview" {
		return nil, &desk.Usage{Text: "注册系统没有运行总览；可用：ca overview、km overview"}
	}
	if out, ok, err := p.Change(ctx, c.Verb, a); ok {
		return out, err
	}
	switch {
	case c.Verb == "audit":
		return p.Audit(ctx, a)
	case c.Room == "ra" && c.Verb == "due":
		return p.Due(ctx, "", "")
	case c.Room == "ra":
		return p.RA(ctx, c.Verb, a)
	case c.Room == "ca" && c.Verb == "statistics":
		return c.statistics(ctx, p)
	case c.Room == "ca" && c.Verb == "handover":
		return handoverPack(ctx, p, a.Words)
	case c.Room == "km" && c.Verb == "due":
		return p.Due(ctx, c.To, c.After)
	case c.Room == "ca" && c.Verb == "registrars":
		var v json.RawMessage
		return &v, p.Call(ctx, "GET", "/api/v1/registrars", nil, &v)
	case c.Room == "ca" && (c.Verb == "profile" || c.Verb == "setting"):
		return c.rules(ctx, p)
	case c.Room == "km" && c.Verb == "pool":
		var v json.RawMessage
		return &v, p.Call(ctx, "GET", "/api/v1/pool", nil, &v)
	}
	return nil, &desk.Usage{Text: fmt.Sprintf("没有 %s %s；可用：%s，ca 另有 profile setting statistics registrars handover，km 另有 pool due", c.Room, c.Verb, desk.ChangeVerbs)}
}

// print shows a result: JSON for programs, lines for people.
func (c *asCmd) print(v any) {
	if !c.JSON {
		if desk.Print(v) {
			return
		}
		switch v := v.(type) {
		case desk.ID:
			fmt.Println(v.ID)
			return
		case *raapi.CaseView:
			printCase(v)
			return
		case *raapi.Page:
			for _, l := range v.Cases {
				fmt.Printf("%s  %-8s  %-6s  %s  %s\n", l.ID, l.KindTitle, l.StateTitle, l.UpdatedAt.Local().Format("2006-01-02 15:04"), l.Title)
			}
			if v.Next != "" {
				fmt.Printf("还有更多：--after %s\n", v.Next)
			}
			return
		case *[]api.AuditLine:
			for _, l := range *v {
				mark := "未审计"
				if l.Marked {
					mark = "已审计"
				}
				fmt.Printf("%6d  %s  %-14s %-18s %-24s %-16s %s\n", l.Index, l.End.Local().Format("2006-01-02 15:04:05"), l.Who, l.Item, l.Object, l.Result, mark)
			}
			return
		}
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	if !c.JSON {
		enc.SetIndent("", "  ")
	}
	_ = enc.Encode(v) // a closed pipe has nobody to tell
}

// printCase shows a case to people; --json has all of it.
func printCase(v *raapi.CaseView) {
	fmt.Printf("%s  %s  %s  %s\n", v.ID, v.KindTitle, v.StateTitle, v.Title)
	line := func(name, value string) {
		if value != "" {
			fmt.Printf("  %s：%s\n", name, value)
		}
	}
	line("证书模板", v.Profile)
	line("起草", v.CreatedBy+"  "+v.CreatedAt.Local().Format("2006-01-02 15:04"))
	line("批次", v.Batch)
	line("签名证书序列号", v.SignSerial)
	line("加密证书序列号", v.EncSerial)
	if t := v.Trouble; t != nil {
		line("未办成", t.Text+"；"+t.Fix)
	}
	for _, e := range v.Events {
		fmt.Printf("  %s  %-6s %s", e.At.Local().Format("2006-01-02 15:04:05"), e.Title, e.Who)
		if e.Note != "" {
			fmt.Printf("  %s", e.Note)
		}
		fmt.Println()
	}
	if len(v.May) > 0 {
		line("本人可以", strings.ReplaceAll(strings.Join(v.May, " "), "ra.", ""))
	}
}
