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
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory"
)

// Bounds of the listener.
const (
	connMax   = 4096
	idle      = 5 * time.Minute
	writeMax  = 30 * time.Second
	searchMax = 10 * time.Second
)

// Server serves a directory.
type Server struct {
	Directory *directory.Directory
	Now       func() time.Time
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
	seats := make(chan struct{}, connMax)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case seats <- struct{}{}:
			wg.Go(func() {
				defer func() { <-seats }()
				s.connection(ctx, c)
			})
		default:
			_ = c.Close() // full: better refuse than slow everybody down
		}
	}
}

type conn struct {
	s   *Server
	net net.Conn
	r   *bufio.Reader
	w   *bufio.Writer
	buf []byte
}

func (s *Server) connection(ctx context.Context, nc net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() }) // ends a blocked read
	defer stop()
	defer nc.Close()
	c := &conn{s: s, net: nc, r: bufio.NewReaderSize(nc, 16<<10), w: bufio.NewWriterSize(nc, 64<<10)}
	for ctx.Err() == nil {
		if c.r.Buffered() == 0 {
			if c.flush() != nil || nc.SetReadDeadline(s.Now().Add(idle)) != nil {
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
			_ = c.flush() // the client is gone or going
			return
		}
	}
}

func (c *conn) flush() error {
	if c.w.Buffered() == 0 {
		return nil
	}
	if err := c.net.SetWriteDeadline(c.s.Now().Add(writeMax)); err != nil {
		return err
	}
	return c.w.Flush()
}

// disconnect is the notice of disconnection (RFC 4511 §4.4.1).
func (c *conn) disconnect() {
	_ = c.done(0, 0x78, ldapmsg.ProtocolError, "", "消息无法读取")
	_ = c.flush() // nothing more can be done for this client
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
	limit, from, paged, code := window(m, q)
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
	res, err := c.s.Directory.Search(ctx, q, from, limit, func(body []byte) error { return c.entry(m.ID, body, want, q.TypesOnly) })
	if err != nil {
		return c.done(m.ID, m.Op.Done(), ldapmsg.OperationsError, "", "目录出错")
	}
	var cookie []byte
	if paged && res.Code == ldapmsg.SizeLimit && res.Next > 0 {
		res.Code, res.Text = ldapmsg.Success, ""
		cookie = binary.BigEndian.AppendUint32(nil, res.Next)
	}
	c.buf = ldapmsg.AppendResult(c.buf[:0], m.ID, m.Op.Done(), res.Code, res.Matched, res.Text, cookie, paged)
	_, err = c.w.Write(c.buf)
	return err
}

// window is how many entries to give, from which on, and whether by pages. The
// cookie is a place in the directory, so a server restarted goes on with it.
func window(m ldapmsg.Message, q ldapmsg.Query) (limit int, from uint32, paged bool, code ldapmsg.Code) {
	limit = directory.SizeMax
	if q.Size > 0 && q.Size < limit {
		limit = q.Size
	}
	for _, k := range m.Controls {
		if k.OID != ldapmsg.PagedResults {
			continue
		}
		size, cookie, err := ldapmsg.ParsePage(k.Value)
		if err != nil || len(cookie) != 0 && len(cookie) != 4 {
			return 0, 0, false, ldapmsg.ProtocolError
		}
		if paged = true; size > 0 && size < limit {
			limit = size
		}
		if len(cookie) == 4 {
			from = binary.BigEndian.Uint32(cookie)
		}
	}
	return limit, from, paged, ldapmsg.Success
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
		if want != nil && !want[fold(a.Type)] {
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
		want[fold(a)] = true
	}
	return want
}

// fold brings an attribute name, with or without ;binary, to one form.
func fold(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ";binary")
}
