// Package raweb is the registration console in a browser. (注册页面)
//
// One page and its modules, all from this server: they call the programming
// interface and sign in the page. The key lives in module memory only.
package raweb

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed static
var static embed.FS

// policy lets the page load nothing and talk to nobody but this server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// Mount serves the console at the root of a site.
func Mount(mux *http.ServeMux) error {
	files, err := fs.Sub(static, "static")
	if err != nil {
		return err
	}
	server := http.FileServerFS(files)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		server.ServeHTTP(w, r)
	})
	return nil
}
