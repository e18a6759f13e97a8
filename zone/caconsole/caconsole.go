// Package caconsole runs the CA management zone: pages of administrators,
// operators and auditors, who hold their own keys. (管理区)
package caconsole

import (
	"context"
	"net/http"

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
		Title: "证书认证系统", Mark: c.Mark, Core: console.Remote{URL: c.Core, HTTP: c.HTTP}, Audits: []string{string(access.CAAuditor), string(access.CAAuditAdmin)},
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
