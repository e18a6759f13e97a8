// Package ldapserver answers LDAP: anonymous, read-only. (目录服务接口)
//
// One goroutine a connection; answers are buffered and leave when the client
// has nothing more in the pipe (RFC 4511).
package ldapserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory"
)

// Bounds of the listener.
const (
	idle      = 5 * time.Minute
	writeMax  = 30 * time.Second
	searchMax = 10 * time.Second
	breath    = 50 * time.Millisecond // after a connection could not be accepted
)

// Server serves a directory.
type Server struct {
	Directory *directory.Directory
	Now       func() time.Time
	Seats     int // connections at once; 0 is 4096
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
	room := &room{seats: s.Seats, sat: map[*conn]bool{}}
	if room.seats == 0 {
		room.seats = 4096
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of files, or a client gone before it was greeted
			slog.Warn("directory cannot take a connection", "err", err)
			time.Sleep(breath)
			continue
		}
		c := &conn{s: s, net: nc}
		c.r, c.w = bufio.NewReaderSize(nc, 16<<10), bufio.NewWriterSize(patient{c}, 64<<10)
		c.heard.Store(s.Now().UnixNano())
		room.enter(c)
		wg.Go(func() {
			defer room.leave(c)
			c.serve(ctx)
		})
	}
}

// room knows who is connected. When every seat is taken, whoever has been
// silent longest gives theirs up, so idle clients keep nobody out.
type room struct {
	mu    sync.Mutex
	seats int
	sat   map[*conn]bool
}

func (r *room) enter(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sat) >= r.seats {
		var longest *conn
		for o := range r.sat {
			if longest == nil || o.heard.Load() < longest.heard.Load() {
				longest = o
			}
		}
		_ = longest.net.Close() // its own goroutine sees to the rest
		delete(r.sat, longest)
	}
	r.sat[c] = true
}

func (r *room) leave(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sat, c)
}

type conn struct {
	s     *Server
	net   net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	buf   []byte
	heard atomic.Int64 // when the client last had nothing more in the pipe
}

// patient gives every write its own time: a large answer leaves in many.
type patient struct{ c *conn }

func (p patient) Write(b []byte) (int, error) {
	if err := p.c.net.SetWriteDeadline(p.c.s.Now().Add(writeMax)); err != nil {
		return 0, err
	}
	return p.c.net.Write(b)
}

func (c *conn) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() }) // ends a blocked read
	defer stop()
	defer c.net.Close()
	for ctx.Err() == nil {
		if c.r.Buffered() == 0 {
			now := c.s.Now()
			c.heard.Store(now.UnixNano())
			if c.w.Flush() != nil || c.net.SetReadDeadline(now.Add(idle)) != nil {
				return
			}
		}
		raw, err := ldapmsg.Read(c.r)
		if err != nil {
			if errors.Is(err, ldapmsg.ErrSyntax) {
				c.disconnect()
			}
			return
		}
		m, err := ldapmsg.Parse(raw)
		if err != nil {
			c.disconnect()
			return
		}
		if m.Op == ldapmsg.Unbind || c.answer(ctx, m) != nil {
			_ = c.w.Flush() // the client is gone or going
			return
		}
	}
}

// disconnect is the notice of disconnection.
func (c *conn) disconnect() {
	c.buf = ldapmsg.AppendDisconnection(c.buf[:0], ldapmsg.ProtocolError, "消息无法读取")
	_, _ = c.w.Write(c.buf)
	_ = c.w.Flush() // nothing more can be done for this client
}

func (c *conn) done(id int, tag byte, code ldapmsg.Code, matched, text string) error {
	c.buf = ldapmsg.AppendResult(c.buf[:0], id, tag, code, matched, text, nil, false)
	_, err := c.w.Write(c.buf)
	return err
}

func (c *conn) answer(ctx context.Context, m ldapmsg.Message) error {
	for _, k := range m.Controls {
		if k.Critical && (k.OID != ldapmsg.PagedResults || m.Op != ldapmsg.Search) && m.Op != ldapmsg.Abandon {
			return c.done(m.ID, m.Op.Done(), ldapmsg.UnavailableExtension, "", "不支持的控制 "+k.OID)
		}
	}
	switch m.Op {
	case ldapmsg.Bind:
		return c.bind(m)
	case ldapmsg.Search:
		return c.search(ctx, m)
	case ldapmsg.Abandon:
		return nil // by the time it is read the search has been answered
	case ldapmsg.Extended:
		return c.done(m.ID, m.Op.Done(), ldapmsg.ProtocolError, "", "不支持的扩展操作")
	case ldapmsg.Add, ldapmsg.Modify, ldapmsg.Delete, ldapmsg.Rename:
		return c.done(m.ID, m.Op.Done(), ldapmsg.Unwilling, "", "本目录只读，由公开账本更新")
	case ldapmsg.Compare:
		return c.done(m.ID, m.Op.Done(), ldapmsg.Unwilling, "", "请用查询代替比较")
	}
	c.disconnect()
	return errors.New("unknown operation")
}

func (c *conn) bind(m ldapmsg.Message) error {
	version, name, simple, password, err := ldapmsg.ParseBind(m.Body)
	code, text := ldapmsg.Success, ""
	switch {
	case err != nil || version != 3:
		code, text = ldapmsg.ProtocolError, "只支持 LDAPv3"
	case !simple:
		code, text = ldapmsg.AuthNotSupported, "只支持匿名访问"
	case name != "" && len(password) == 0: // RFC 4513 §5.1.2
		code, text = ldapmsg.Unwilling, "不接受没有口令的认证"
	case name != "" || len(password) > 0:
		code, text = ldapmsg.InvalidCredentials, "本目录只接受匿名访问"
	}
	return c.done(m.ID, m.Op.Done(), code, "", text)
}

func (c *conn) search(ctx context.Context, m ldapmsg.Message) error {
	q, err := ldapmsg.ParseSearch(m.Body)
	if err != nil {
		return c.done(m.ID, m.Op.Done(), ldapmsg.ProtocolError, "", "查询无法读取")
	}
	if q.Scope == ldapmsg.Base && (q.Base == "" || strings.EqualFold(q.Base, schemaName)) {
		return c.own(m, q)
	}
	w, code := windowOf(m, q)
	if code != ldapmsg.Success {
		return c.done(m.ID, m.Op.Done(), code, "", "分页控制无法读取")
	}
	within := searchMax
	if t := time.Duration(q.Time) * time.Second; t > 0 && t < within {
		within = t
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	want := selection(q)
	var res directory.Result
	if !w.over {
		res, err = c.s.Directory.Search(ctx, q, w.from, w.limit, func(body []byte) error { return c.entry(m.ID, body, want, q.TypesOnly) })
	}
	if err != nil {
		slog.Error("directory search failed", "err", err)
		return c.done(m.ID, m.Op.Done(), ldapmsg.OperationsError, "", "目录出错")
	}
	var cookie []byte
	if w.paged && res.Code == ldapmsg.SizeLimit && !w.last {
		cookie = w.cookie(res)
		res.Code, res.Text = ldapmsg.Success, ""
	}
	c.buf = ldapmsg.AppendResult(c.buf[:0], m.ID, m.Op.Done(), res.Code, res.Matched, res.Text, cookie, w.paged)
	_, err = c.w.Write(c.buf)
	return err
}

// window is the part of an answer to give. The cookie of a page is a place in
// the directory and how much was given before it, so a server restarted goes
// on with it.
type window struct {
	limit int
	from  uint32
	given uint32 // on pages before
	paged bool
	last  bool // the size limit ends on this page, if not before
	over  bool // the client has seen enough
}

func windowOf(m ldapmsg.Message, q ldapmsg.Query) (window, ldapmsg.Code) {
	w := window{limit: directory.SizeMax}
	page := 0
	for _, k := range m.Controls {
		if k.OID != ldapmsg.PagedResults {
			continue
		}
		size, cookie, err := ldapmsg.ParsePage(k.Value)
		if err != nil || len(cookie) != 0 && len(cookie) != 8 {
			return w, ldapmsg.ProtocolError
		}
		if w.paged, page = true, size; len(cookie) == 8 {
			w.from, w.given = binary.BigEndian.Uint32(cookie), binary.BigEndian.Uint32(cookie[4:])
			w.over = size == 0 // RFC 2696 §3
		}
	}
	if page > 0 {
		w.limit = min(w.limit, page)
	}
	if left := q.Size - int(w.given); q.Size > 0 && left <= w.limit {
		w.limit, w.last = max(left, 0), true
	}
	return w, ldapmsg.Success
}

func (w window) cookie(r directory.Result) []byte {
	b := binary.BigEndian.AppendUint32(nil, r.Next)
	return binary.BigEndian.AppendUint32(b, w.given+uint32(w.limit))
}

// entry writes one entry: as it lies when everything is wanted, else the
// attributes asked for.
func (c *conn) entry(id int, body []byte, want map[string]bool, typesOnly bool) error {
	if want == nil && !typesOnly {
		c.buf = ldapmsg.AppendEntry(c.buf[:0], id, body)
		_, err := c.w.Write(c.buf)
		return err
	}
	name, attrs, err := ldapmsg.ReadEntry(body)
	if err != nil {
		return err
	}
	var some []ldapmsg.Attribute
	for _, a := range attrs {
		if want != nil && !want[directory.AttributeKey(a.Type)] {
			continue
		}
		if typesOnly {
			a.Values = nil
		}
		some = append(some, a)
	}
	c.buf = ldapmsg.AppendEntry(c.buf[:0], id, ldapmsg.EntryBody(name, some))
	_, err = c.w.Write(c.buf)
	return err
}

// selection is the set of attributes asked for; nil is all.
func selection(q ldapmsg.Query) map[string]bool {
	if len(q.Attrs) == 0 {
		return nil
	}
	want := map[string]bool{}
	for _, a := range q.Attrs {
		if a == "*" {
			return nil
		}
		want[directory.AttributeKey(a)] = true
	}
	return want
}
