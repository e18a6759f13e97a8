package caconsole

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/web/console"
)

// The page shows the core's numbers and passes the period on.
func TestThePageOfStatistics(t *testing.T) {
	core := http.NewServeMux()
	core.HandleFunc("GET /api/v1/me", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"id":"ca-auditor","name":"审计员"}`))
	})
	core.HandleFunc("GET /api/v1/statistics", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("from") != "2026-01-01" {
			t.Errorf("asked for %q", r.URL.RawQuery)
		}
		_, _ = w.Write([]byte(`{"from":"2026-01-01","rows":[{"month":"2026-01","profile":"person-dual","issued":41,"expired":1,"revoked":2,"held":0,"valid":38}],"total":{"issued":41},"balanced":true,"differences":["证书库有证书 3 张，账本有 2 张"]}`))
	})
	server := httptest.NewServer(core)
	defer server.Close()
	files, err := fs.Sub(pages, "pages")
	if err != nil {
		t.Fatal(err)
	}
	h, err := console.Console{
		Title: "证书认证系统", Core: console.Remote{URL: server.URL, HTTP: server.Client()}, Files: files,
		Pages: map[string]console.Own{"GET /statistics": {Page: "statistics", Read: statistics}},
	}.Handler()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/statistics?from=2026-01-01", nil)
	r.AddCookie(&http.Cookie{Name: api.CookieName, Value: "x"})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, want := range []string{"证书统计", "person-dual", ">41<", ">38<", "账本有 2 张", "不符", "/api/v1/statistics.csv?from=2026-01-01"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d: no %q in %s", w.Code, want, w.Body.String()[:min(800, w.Body.Len())])
		}
	}
}
