package console

import (
	"bytes"
	"io"
	"net"
	"net/http"

	"github.com/hufu-pki/hufu/web/api"
)

// Within is the interface of a system that runs in this very process: the same
// requests and answers, without a network between.
func Within(h http.Handler) Remote {
	return Remote{URL: "http://within", HTTP: &http.Client{Transport: within{h}}}
}

type within struct{ h http.Handler }

func (t within) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), net.JoinHostPort(r.Header.Get(api.SourceHeader), "0")
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &kept{head: http.Header{}, status: http.StatusOK}
	t.h.ServeHTTP(w, in)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.head, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// kept is an answer kept in memory.
type kept struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.head }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }
