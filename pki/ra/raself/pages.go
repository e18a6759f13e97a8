package raself

import (
	"embed"
	"io/fs"
	"net/http"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/page"
)

//go:embed pages/*.html
var files embed.FS

// shown is what the pages show.
type shown struct {
	Status
	Wish    ra.WishKind
	Open    bool
	Notices []ra.Notice
	Accord  string
	CPS     string
}

func (s *Service) pages() error {
	set, err := fs.Sub(files, "pages")
	if err != nil {
		return err
	}
	c := &page.Console{
		Title: "证书自助服务", Base: Under, Mark: s.Mark, Problem: api.Problem,
		Who: func(r *http.Request) (page.User, error) {
			who, ok := s.site.SignedIn(r)
			if !ok {
				return page.User{}, access.NotSignedIn.At("", access.NotSignedIn.Clause)
			}
			return page.User{ID: string(who.ID), Name: who.Name, Serial: who.Serial, Titles: []string{access.Holder.Title()}}, nil
		},
		Nav: []page.Link{
			{Path: "/", Title: "我的证书", Icon: "cert"}, {Path: "/renew", Title: "申请更新", Icon: "new", Group: "申请"},
			{Path: "/freeze", Title: "申请冻结", Icon: "key"}, {Path: "/revoke", Title: "申请撤销", Icon: "stop"},
		},
	}
	if err := c.Parse(set, nil); err != nil {
		return err
	}
	show := func(name, title string) http.HandlerFunc {
		return c.Handler(name, func(r *http.Request, _ page.User) (string, any, error) {
			who, _ := s.site.SignedIn(r) // the handler has asked already
			d := shown{Notices: ra.Notices, Accord: s.Desk.Accord, CPS: s.Desk.CPS}
			var err error
			d.Status, err = s.Status(r.Context(), who)
			for i, w := range ra.Wishes {
				if w.Code == name && err == nil {
					d.Wish, d.Open = w, d.May[i].Open
				}
			}
			return title, d, err
		})
	}
	for name, title := range map[string]string{"renew": "申请更新", "freeze": "申请冻结", "revoke": "申请撤销"} {
		s.site.Mux.HandleFunc("GET /"+name, show(name, title))
	}
	s.site.Mux.HandleFunc("GET /{$}", show("mine", "我的证书"))
	s.site.Mux.HandleFunc("GET /", c.Handler("refused", func(*http.Request, page.User) (string, any, error) {
		return "", nil, ra.NoPage.At("", ra.NoPage.Clause)
	}))
	return nil
}
