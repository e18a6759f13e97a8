package vahttp

import (
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/va"
)

const (
	typeCertificate = "application/pkix-cert"
	typeCRL         = "application/pkix-crl"
	immutable       = "public, max-age=31536000, immutable"
)

// crl serves the newest list of a scope: "/crl/full.crl".
func (p *Public) crl(c *fasthttp.RequestCtx, name string) {
	scope, ok := strings.CutSuffix(name, ".crl")
	list, known := p.Responder.CRL(scope)
	if !ok || !known {
		p.notFound(c)
		return
	}
	h := &c.Response.Header
	age := min(max(list.NextUpdate.Sub(p.Now()), 0), crlAge)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(age/time.Second)))
	h.Set("ETag", etag(list.Digest))
	h.Set("Last-Modified", string(fasthttp.AppendHTTPDate(nil, list.ThisUpdate)))
	if matches(c, etag(list.Digest)) {
		p.notModified(c)
		return
	}
	if p.send(c, ledger.BodyPath(list.Digest), typeCRL) {
		p.Stats.CRL.Add(1)
	}
}

// certificate serves a CA's certificate: "/aia/ca.cer".
func (p *Public) certificate(c *fasthttp.RequestCtx, name string) {
	f, ok := p.aia[name]
	if p.Newer != nil {
		if der := p.Newer(name); der != nil {
			f, ok = file{der, etag(alg.Digest(der))}, true
		}
	}
	if !ok {
		p.notFound(c)
		return
	}
	p.Stats.AIA.Add(1)
	h := &c.Response.Header
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("ETag", f.etag)
	if matches(c, f.etag) {
		p.notModified(c)
		return
	}
	h.SetContentType(typeCertificate)
	c.Response.SetBodyRaw(f.body)
}

// tile serves the ledger's files by the names ledger gives them and no others.
func (p *Public) tile(c *fasthttp.RequestCtx, path string) {
	h := &c.Response.Header
	switch {
	case path == ledger.CheckpointPath:
		h.Set("Cache-Control", "no-cache")
		if p.send(c, path, "text/plain; charset=utf-8") {
			p.Stats.Tiles.Add(1)
		}
	case tilePath(path):
		// A partial tile goes away when it has grown; a full one is for ever.
		if strings.Contains(path, ".p/") {
			h.Set("Cache-Control", "public, max-age=60")
		} else {
			h.Set("Cache-Control", immutable)
		}
		if p.send(c, path, "application/octet-stream") {
			p.Stats.Tiles.Add(1)
		}
	case bodyPath(path):
		p.body(c, path)
	default:
		p.notFound(c)
	}
}

// tilePath accepts tile/ and elements of digits, "x" and ".p", or "entries".
func tilePath(path string) bool {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || !fs.ValidPath(rest) {
		return false
	}
	for i, part := range strings.Split(rest, "/") {
		part = strings.TrimSuffix(strings.TrimPrefix(part, "x"), ".p")
		if i == 0 && part == "entries" {
			continue
		}
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

// bodyPath accepts exactly what ledger.BodyPath writes.
func bodyPath(path string) bool {
	part := strings.Split(path, "/")
	if len(part) != 3 || part[0] != "body" {
		return false
	}
	digest, err := hex.DecodeString(part[1] + part[2])
	return err == nil && len(digest) == ledger.HashSize && path == ledger.BodyPath(digest)
}

// body serves a body that is public. A private certificate lies in the same
// folder, so each is looked at before it goes out; that the answer is the same
// 404 as for one that does not exist is on purpose.
func (p *Public) body(c *fasthttp.RequestCtx, path string) {
	f, size, err := p.open(path)
	if err != nil {
		p.refuse(c, err)
		return
	}
	head := make([]byte, min(size, va.PublicHead))
	if _, err := io.ReadFull(f, head); err != nil {
		_ = f.Close()
		p.failed(c)
		return
	}
	if !p.Responder.Public(head) {
		_ = f.Close()
		p.notFound(c)
		return
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		_ = f.Close()
		p.failed(c)
		return
	}
	p.Stats.Bodies.Add(1)
	c.Response.Header.Set("Cache-Control", immutable)
	c.Response.Header.SetContentType("application/octet-stream")
	c.Response.SetBodyStream(f, int(size)) // which closes it
}

// send streams a file of the folder.
func (p *Public) send(c *fasthttp.RequestCtx, path, kind string) bool {
	f, size, err := p.open(path)
	if err != nil {
		p.refuse(c, err)
		return false
	}
	c.Response.Header.SetContentType(kind)
	c.Response.SetBodyStream(f, int(size)) // which closes it
	return true
}

// open opens a plain file inside the folder; os.Root lets no path out of it.
func (p *Public) open(path string) (*os.File, int64, error) {
	f, err := p.root.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// refuse says that there is no such file, unless the machine could not look:
// only then may a cache in front of us ask again.
func (p *Public) refuse(c *fasthttp.RequestCtx, err error) {
	for _, ours := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EIO, fs.ErrPermission, fs.ErrClosed} {
		if errors.Is(err, ours) {
			p.failed(c)
			return
		}
	}
	p.notFound(c)
}
