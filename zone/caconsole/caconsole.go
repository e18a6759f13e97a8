// Package caconsole runs the CA management zone: pages of administrators,
// operators and auditors, who hold their own keys. (管理区)
package caconsole

import (
	"context"
	"embed"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/web/console"
	"github.com/hufu-pki/hufu/web/page"
	"github.com/hufu-pki/hufu/zone/plant"
)

//go:embed pages/*.html
var pages embed.FS

// statistics is the page of counts; a bad period is refused by the core.
func statistics(r *http.Request, m console.Remote) (string, any, error) {
	var d struct {
		From, To    string
		Rows        []count
		Total       count
		Balanced    bool
		Differences []string
	}
	q := url.Values{}
	for _, k := range []string{"from", "to"} {
		if v := r.URL.Query().Get(k); v != "" {
			q.Set(k, v)
		}
	}
	return "证书统计", &d, m.Get(r, "/api/v1/statistics?"+q.Encode(), &d)
}

// rules is the page of profiles and settings, in force and before.
func rules(r *http.Request, m console.Remote) (string, any, error) {
	var d struct {
		Edition  int
		Profiles []profile.Profile
		Settings struct {
			CRLDays  int `json:"crl_days"`
			CRLHours int `json:"crl_hours"`
			Shards   int
		}
		SettingsVersion int `json:"settings_version"`
		History         []struct {
			Kind, Order string
			Version     int
			At          time.Time
			Changes     []struct{ Name, Old, New string }
		}
	}
	return "模板与设置", &d, m.Get(r, "/api/v1/rules", &d)
}

// count is one row of the statistics as the core tells it.
type count struct {
	Month, Profile                        string
	Issued, Expired, Revoked, Held, Valid int64
}

// Config is where the console runs and which core it speaks for.
type Config struct {
	Addr string
	Mark string
	Core string // URL of the core's management interface
	HTTP *http.Client
}

// Run serves until ctx ends. ready is called once it answers.
func Run(ctx context.Context, c Config, ready func()) error {
	g := plant.NewGroup(ctx)
	files, err := fs.Sub(pages, "pages")
	if err != nil {
		return err
	}
	h, err := console.Console{
		Title: "证书认证系统", Mark: c.Mark, Core: console.Remote{URL: c.Core, HTTP: c.HTTP}, Audits: []string{string(access.CAAuditor), string(access.CAAuditAdmin)},
		Nav: []page.Link{{Path: "/rules", Title: "模板与设置", Icon: "list"}, {Path: "/statistics", Title: "证书统计", Icon: "list"}}, Files: files,
		Pages: map[string]console.Own{"GET /statistics": {Page: "statistics", Read: statistics}, "GET /rules": {Page: "rules", Read: rules}},
	}.Handler()
	if err == nil {
		err = g.Serve("证书认证系统控制台", c.Addr, h)
	}
	if err != nil {
		g.Fail(err)
		return g.Wait()
	}
	ready()
	return g.Wait()
}
