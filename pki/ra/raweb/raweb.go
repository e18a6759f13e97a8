// Package raweb is the registration console in a browser. (注册页面)
//
// Pages are read here; whatever changes something goes through the programming
// interface with the person's signature.
package raweb

import (
	"context"
	"embed"
	"io/fs"
	"net"
	"net/http"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/console"
	"github.com/hufu-pki/hufu/web/page"
)

//go:embed pages/*.html
var pages embed.FS

// Pages are the console's pages over the desk's interface.
type Pages struct {
	API  *raapi.API
	Site *api.Site
	Mark string // a standing warning; may be empty
}

var clerk, auditor = []string{string(access.RAClerk)}, []string{string(access.RAAuditor), string(access.RAAuditAdmin)}

// nav is the menu, as far as each role may use it.
var nav = []page.Link{
	{Path: "/", Title: "工作台", Icon: "home"},
	{Path: "/cases", Title: "案件", Icon: "list", Group: "办理"},
	{Path: "/apply", Title: "新申请", Icon: "new", Roles: clerk},
	{Path: "/sheets", Title: "批量录入", Icon: "sheet", Roles: clerk},
	{Path: "/revoke", Title: "撤销证书", Icon: "stop", Roles: clerk},
	{Path: "/guide/reissue", Title: "补办", Icon: "key"},
	{Path: "/guide/amend", Title: "更正", Icon: "doc"},
	{Path: "/bulks", Title: "批量变更", Icon: "stop"},
	{Path: "/production", Title: "制证清单", Icon: "list"},
	{Path: "/units", Title: "单位", Icon: "people"},
	{Path: "/bodies", Title: "注册机构", Icon: "list"},
	{Path: "/statistics", Title: "业务量统计", Icon: "doc"},
	{Path: "/certificates", Title: "证书", Icon: "cert", Group: "查询"},
	{Path: "/profiles", Title: "证书模板", Icon: "doc"},
	{Path: "/reminders", Title: "到期提醒", Icon: "doc"},
	{Path: "/ledger", Title: "账本与状态", Icon: "ledger"},
	{Path: "/changes", Title: "变更", Icon: "check", Group: "管理"},
	{Path: "/people", Title: "人员", Icon: "people"},
	{Path: "/audit", Title: "审计", Icon: "eye", Roles: auditor},
	{Path: "/readings", Title: "个人信息查阅", Icon: "eye", Roles: auditor},
	{Path: "/help", Title: "帮助", Icon: "help"},
}

// Mount serves the console at the root of the site.
func (p *Pages) Mount() error {
	files, err := fs.Sub(pages, "pages")
	if err != nil {
		return err
	}
	c := &page.Console{
		Title: "注册系统", Mark: p.Mark, Who: p.who, Problem: console.Problem,
		Nav: nav,
	}
	shared, common, err := console.Common()
	if err != nil {
		return err
	}
	if err := c.Parse(page.Union(shared, files), funcs); err != nil {
		return err
	}
	mux := p.Site.Mux
	self := console.Within(mux)
	for path, own := range common {
		mux.HandleFunc(path, c.Handler(own.Page, func(r *http.Request, _ page.User) (string, any, error) { return own.Read(r, self) }))
	}
	for path, h := range p.table() {
		mux.HandleFunc(path, c.Handler(h.page, func(r *http.Request, _ page.User) (string, any, error) {
			who, _ := p.Site.SignedIn(r) // the handler has asked already
			if _, err := p.API.Reader(r.Context(), who, "ra.page", source(r)); err != nil {
				return "", nil, err
			}
			own, err := p.of(r.Context(), who)
			if err != nil {
				return "", nil, err
			}
			return own.table()[path].read(r, who)
		}))
	}
	mux.HandleFunc("GET /scanned", p.scanned)
	return page.Assets(mux)
}

// view is one of the console's pages.
type view struct {
	page string
	read func(r *http.Request, who access.Person) (string, any, error)
}

// of are the pages as somebody sees them: over the desk of their body.
func (p *Pages) of(ctx context.Context, who access.Person) (*Pages, error) {
	own, err := p.API.For(ctx, who)
	if err != nil {
		return nil, err
	}
	c := *p
	c.API = own
	return &c, nil
}

func (p *Pages) table() map[string]view {
	return map[string]view{
		"GET /{$}":                   {"home", p.home},
		"GET /cases":                 {"cases", p.cases},
		"GET /cases/{id}":            {"case", p.one},
		"GET /cases/{id}/edit":       {"apply", p.apply},
		"GET /cases/{id}/form":       {"form", p.form},
		"GET /cases/{id}/receipt":    {"receipt", p.receipt},
		"GET /production":            {"production", p.production},
		"GET /apply":                 {"apply", p.apply},
		"GET /sheets":                {"sheets", p.sheets},
		"GET /sheets/{id}":           {"sheet", p.sheet},
		"GET /certificates":          {"certificates", p.certificates},
		"GET /certificates/{serial}": {"certificate", p.certificate},
		"GET /revoke":                {"revoke", p.status("revoke", "撤销证书")},
		"GET /freeze":                {"revoke", p.status("freeze", "冻结证书")},
		"GET /unfreeze":              {"revoke", p.status("unfreeze", "解冻证书")},
		"GET /profiles":              {"profiles", p.profiles},
		"GET /guide/reissue":         {"guide", p.guide("reissue")},
		"GET /guide/amend":           {"guide", p.guide("amend")},
		"GET /reminders":             {"reminders", p.reminders},
		"GET /ledger":                {"ledger", p.ledger},
		"GET /audit":                 {"audit", p.audit},
		"GET /audit/archives":        {"archives", p.archives},
		"GET /bulks":                 {"bulks", p.bulks},
		"GET /bulks/{id}":            {"bulk", p.bulk},
		"GET /units":                 {"units", p.units},
		"GET /units/new":             {"unitform", p.unitForm},
		"GET /units/{code}":          {"unit", p.unit},
		"GET /units/{code}/edit":     {"unitform", p.unitForm},
		"GET /bodies":                {"bodies", p.bodies},
		"GET /statistics":            {"statistics", p.statistics},
		"GET /readings":              {"readings", p.readings},
		"GET /help":                  {"help", p.help},
		"GET /":                      {"refused", p.nowhere},
	}
}

func (p *Pages) nowhere(*http.Request, access.Person) (string, any, error) {
	return "", nil, ra.NoPage.At("", ra.NoPage.Clause)
}

func source(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

func (p *Pages) who(r *http.Request) (page.User, error) {
	who, ok := p.Site.SignedIn(r)
	u := page.User{ID: string(who.ID), Name: who.Name, Serial: who.Serial}
	for _, role := range who.Roles {
		u.Roles, u.Titles = append(u.Roles, string(role)), append(u.Titles, role.Title())
	}
	if b, err := p.API.Desk.BodyOf(r.Context(), who); err == nil && b.ID != "" {
		u.Titles = append(u.Titles, ra.Taker(b)) // in whose name everything here is done
	}
	if !ok {
		return u, access.NotSignedIn.At("", access.NotSignedIn.Clause)
	}
	return u, nil
}

// names are the people of the desk by id, for lists.
func (p *Pages) counts(ctx context.Context) (map[string]int, error) {
	all, err := p.API.Desk.Store.Counts(ctx, nil)
	sum := map[string]int{}
	for kind, states := range all {
		for s, n := range states {
			sum[string(s)] += n
			sum[kind+" "+string(s)] = n
		}
	}
	return sum, err
}
