// Package vahttp lets the public ask for status and fetch what is published. (状态服务接口)
//
// OCSP by POST and GET (RFC 6960 annex A, cached as RFC 5019 §6 says),
// revocation lists, CA certificates, and the ledger's files. Everything served
// comes from the responder's memory or the ledger's folder; nothing here can
// reach the CA.
package vahttp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/pki/va"
)

// Public answers strangers. Set the fields, then call Open.
type Public struct {
	Responder *va.Responder
	Dir       string                   // folder of the ledger's files
	OCSPPath  string                   // "/ocsp" when empty
	AIA       map[string][]byte        // "ca.cer" → DER certificate, under /aia/
	Newer     func(name string) []byte // in place of AIA's, nil for none; may be nil
	Now       func() time.Time

	Stats Stats

	ocsp  string
	root  *os.Root
	aia   map[string]file
	dates dates
}

// file is a small file served from memory.
type file struct {
	body []byte
	etag string
}

// Stats counts what was served since the start.
type Stats struct {
	Presigned, Live, Refused atomic.Int64 // OCSP answers; refused ones are only a code
	CRL, AIA, Tiles, Bodies  atomic.Int64
	NotModified, NotFound    atomic.Int64
	Failed                   atomic.Int64 // files that could not be read
}

// Bounds of the listener.
const (
	// headerMax holds a request line with a question of 4 KB in base64, far above
	// the 255 octets RFC 5019 §5 allows a GET.
	headerMax = 8 << 10
	// concurrency bounds connections, and with them memory.
	concurrency = 16 << 10
	readTimeout = 10 * time.Second
	idleTimeout = 60 * time.Second
	// writeTimeout lets a slow line fetch a revocation list of a million entries.
	writeTimeout = 5 * time.Minute
	// crlAge bounds how long a revocation list may be kept without asking again.
	crlAge = 60 * time.Second
)

// Open prepares to serve. The folder must exist; files may come later.
func (p *Public) Open() error {
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return fmt.Errorf("ledger's folder: %w", err)
	}
	p.root = root
	p.ocsp = "/" + strings.Trim(p.OCSPPath, "/")
	if p.ocsp == "/" {
		p.ocsp = "/ocsp"
	}
	p.aia = map[string]file{}
	for name, der := range p.AIA {
		p.aia[name] = file{der, etag(alg.Digest(der))}
	}
	return nil
}

// Close gives the folder back.
func (p *Public) Close() error { return p.root.Close() }

// Server is a server with this handler and bounds on size and time.
func (p *Public) Server() *fasthttp.Server {
	return &fasthttp.Server{
		Handler: p.Handle, Name: "hufu", NoDefaultContentType: true,
		Concurrency: concurrency, ReadBufferSize: headerMax, MaxRequestBodySize: ocsp.RequestMax,
		ReadTimeout: readTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout,
		SecureErrorLogMessage: true, Logger: quiet{}, ErrorHandler: unread,
	}
}

// unread answers a request that could not be read.
func unread(c *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		c.Error("request too large\n", fasthttp.StatusRequestEntityTooLarge)
	case errors.As(err, &small):
		c.Error("request header too large\n", fasthttp.StatusRequestHeaderFieldsTooLarge)
	case errors.As(err, &network) && network.Timeout():
		c.Error("request timeout\n", fasthttp.StatusRequestTimeout)
	default:
		c.Error("bad request\n", fasthttp.StatusBadRequest)
	}
}

// quiet drops what fasthttp says of strangers' broken connections.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// Handle answers one request. Paths are taken as they were sent: fasthttp's
// own would join the "//" that base64 may contain.
func (p *Public) Handle(c *fasthttp.RequestCtx) {
	path := rawPath(c.RequestURI())
	switch {
	case c.IsPost():
		if bytes.HasPrefix(path, []byte(p.ocsp)) && len(bytes.Trim(path[len(p.ocsp):], "/")) == 0 {
			p.post(c)
			return
		}
		if p.known(path) {
			p.notAllowed(c, "GET, HEAD")
			return
		}
		p.notFound(c)
	case c.IsGet(), c.IsHead():
		p.get(c, path)
	default:
		p.notAllowed(c, "GET, HEAD, POST")
	}
}

// rawPath is the path of a request target, in origin or absolute form.
func rawPath(uri []byte) []byte {
	if i := bytes.Index(uri, []byte("://")); i > 0 && uri[0] != '/' {
		if uri = uri[i+3:]; bytes.IndexByte(uri, '/') < 0 {
			return []byte("/")
		}
		uri = uri[bytes.IndexByte(uri, '/'):]
	}
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		uri = uri[:i]
	}
	return uri
}

var (
	crlPath   = []byte("/crl/")
	aiaPath   = []byte("/aia/")
	tilesPath = []byte("/tiles/")
)

func (p *Public) known(path []byte) bool {
	return bytes.HasPrefix(path, crlPath) || bytes.HasPrefix(path, aiaPath) || bytes.HasPrefix(path, tilesPath)
}

func (p *Public) get(c *fasthttp.RequestCtx, path []byte) {
	switch {
	case len(path) > len(p.ocsp) && path[len(p.ocsp)] == '/' && string(path[:len(p.ocsp)]) == p.ocsp:
		p.getOCSP(c, path[len(p.ocsp):])
	case bytes.HasPrefix(path, crlPath):
		p.crl(c, string(path[len(crlPath):]))
	case bytes.HasPrefix(path, aiaPath):
		p.certificate(c, string(path[len(aiaPath):]))
	case bytes.HasPrefix(path, tilesPath):
		p.tile(c, string(path[len(tilesPath):]))
	default:
		p.notFound(c)
	}
}

func (p *Public) notAllowed(c *fasthttp.RequestCtx, allow string) {
	c.Error("method not allowed\n", fasthttp.StatusMethodNotAllowed)
	c.Response.Header.Set("Allow", allow)
}

func (p *Public) notFound(c *fasthttp.RequestCtx) {
	p.Stats.NotFound.Add(1)
	c.Error("not found\n", fasthttp.StatusNotFound)
}

func (p *Public) failed(c *fasthttp.RequestCtx) {
	p.Stats.Failed.Add(1)
	c.Error("not available now\n", fasthttp.StatusServiceUnavailable)
}

var errNotBase64 = errors.New("not base64")

func etag(digest []byte) string { return fmt.Sprintf("%q", fmt.Sprintf("%x", digest)) }
