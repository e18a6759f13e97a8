package vahttp

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/pki/va"
)

const (
	typeRequest  = "application/ocsp-request"
	typeResponse = "application/ocsp-response"
)

func (p *Public) post(c *fasthttp.RequestCtx) {
	kind := c.Request.Header.ContentType()
	if i := bytes.IndexByte(kind, ';'); i >= 0 {
		kind = kind[:i]
	}
	// Old clients leave the type out; another type is another protocol.
	if len(kind) > 0 && !bytes.EqualFold(bytes.TrimSpace(kind), []byte(typeRequest)) {
		c.Error("want "+typeRequest+"\n", fasthttp.StatusUnsupportedMediaType)
		return
	}
	p.answer(c, p.Responder.Respond(c, c.PostBody()))
}

func (p *Public) getOCSP(c *fasthttp.RequestCtx, rest []byte) {
	if len(bytes.Trim(rest, "/")) == 0 {
		p.notFound(c)
		return
	}
	der, err := decode(string(rest))
	if err != nil {
		p.answer(c, va.Answer{DER: ocsp.Failure(ocsp.MalformedRequest), Code: ocsp.MalformedRequest, Live: true, Err: err})
		return
	}
	p.answer(c, p.Responder.Respond(c, der))
}

// decode reads a question out of a path. Its base64 may be escaped or not, and
// may hold "/", "//" and "+". A DER SEQUENCE begins with "M" in base64, so
// slashes before it are the path's.
func decode(path string) ([]byte, error) {
	path = strings.TrimLeft(path, "/")
	if strings.IndexByte(path, '%') >= 0 {
		plain, err := url.PathUnescape(path)
		if err != nil {
			return nil, err
		}
		path = strings.TrimLeft(plain, "/")
	}
	path = strings.ReplaceAll(path, " ", "+") // some escape "+" the way of forms
	if len(path) > base64.StdEncoding.EncodedLen(ocsp.RequestMax) {
		return nil, errNotBase64
	}
	der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(path, "="))
	if err != nil {
		return nil, errNotBase64
	}
	return der, nil
}

func (p *Public) answer(c *fasthttp.RequestCtx, a va.Answer) {
	h := &c.Response.Header
	h.SetContentType(typeResponse)
	switch {
	case a.Code != ocsp.Successful:
		p.Stats.Refused.Add(1)
		h.Set("Cache-Control", "no-store")
	case a.Live:
		p.Stats.Live.Add(1)
		h.Set("Cache-Control", "no-cache")
	default:
		p.Stats.Presigned.Add(1)
		if p.cacheable(c, a) {
			return
		}
	}
	c.Response.SetBodyRaw(a.DER)
}

// cacheable writes the headers of RFC 5019 §6.2 and reports whether the asker
// has the answer already. Its date says when the status was known; max-age
// ends half way to nextUpdate, when a new answer is signed. What validates a
// stored answer is for GET: nobody stores the answer to a POST (RFC 9110 §9.3.3).
func (p *Public) cacheable(c *fasthttp.RequestCtx, a va.Answer) (notModified bool) {
	h := &c.Response.Header
	var buf [96]byte
	b := strconv.AppendInt(append(buf[:0], "max-age="...), int64(a.Keep/time.Second), 10)
	h.SetCanonical(nameCacheControl, append(b, ", public, no-transform, must-revalidate"...))
	if c.IsPost() {
		return false
	}
	h.SetCanonical(nameETag, a.ETag)
	h.SetCanonical(nameLastModified, p.dates.of(a.ThisUpdate))
	h.SetCanonical(nameExpires, p.dates.of(a.NextUpdate))
	if !matches(c, string(a.ETag)) {
		return false
	}
	p.notModified(c)
	return true
}

// Names of headers as fasthttp writes them, so that it need not put them right.
var (
	nameCacheControl = []byte("Cache-Control")
	nameETag         = []byte("ETag")
	nameLastModified = []byte("Last-Modified")
	nameExpires      = []byte("Expires")
)

// dates keeps HTTP's writing of recent seconds: answers signed together share
// theirs, and writing one costs as much as finding the answer.
type dates [4096]atomic.Pointer[date]

type date struct {
	unix int64
	text []byte // never changed
}

func (d *dates) of(t time.Time) []byte {
	unix := t.Unix()
	slot := &d[uint64(unix)%uint64(len(d))]
	if known := slot.Load(); known != nil && known.unix == unix {
		return known.text
	}
	made := &date{unix, fasthttp.AppendHTTPDate(nil, t)}
	slot.Store(made)
	return made.text
}

func (p *Public) notModified(c *fasthttp.RequestCtx) {
	p.Stats.NotModified.Add(1)
	c.Response.SetStatusCode(fasthttp.StatusNotModified)
}

// matches compares If-None-Match, a list of tags or "*" (RFC 9110 §13.1.2).
func matches(c *fasthttp.RequestCtx, tag string) bool {
	asked := c.Request.Header.Peek("If-None-Match")
	if len(asked) == 0 {
		return false
	}
	for one := range strings.SplitSeq(string(asked), ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}
