// Package kmconsole runs the KM management zone: pages of administrators,
// operators and auditors, who hold their own keys. (密钥管理管理区)
package kmconsole

import (
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/web/console"
	"github.com/hufu-pki/hufu/zone/plant"
)

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
	h, err := console.Console{
		Title: "密钥管理系统", Mark: c.Mark, Core: console.Remote{URL: c.Core, HTTP: c.HTTP}, Audits: []string{string(access.KMAuditor), string(access.KMAuditAdmin)},
	}.Handler()
	var all *http.ServeMux
	if err == nil {
		all, err = c.public(h)
	}
	if err == nil {
		err = g.Serve("密钥管理系统控制台", c.Addr, all)
	}
	if err != nil {
		g.Fail(err)
		return g.Wait()
	}
	ready()
	return g.Wait()
}

// public passes what the centre's own CA publishes beside the pages.
func (c Config) public(pages http.Handler) (*http.ServeMux, error) {
	to, err := url.Parse(c.Core)
	if err != nil {
		return nil, err
	}
	core := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }, Transport: c.HTTP.Transport}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("GET /crl/", core)
	mux.Handle("GET /aia/", core)
	return mux, nil
}
