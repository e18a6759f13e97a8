package ldapserver_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory/ldapserver"
)

// tlv writes one BER element.
func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	if len(body) < 128 {
		return append([]byte{tag, byte(len(body))}, body...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{tag, 0x84}, uint32(len(body))), body...)
}

func message(id byte, op []byte, controls ...[]byte) []byte {
	parts := [][]byte{tlv(2, []byte{id}), op}
	if len(controls) > 0 {
		parts = append(parts, tlv(0xA0, controls...))
	}
	return tlv(0x30, parts...)
}

// lookup searches the tree for a cn; an empty one is everything.
func lookup(id byte, cn string, seconds byte, controls ...[]byte) []byte {
	filter := tlv(0x87, []byte("objectClass"))
	if cn != "" {
		filter = tlv(0xA3, tlv(4, []byte("cn")), tlv(4, []byte(cn)))
	}
	return message(id, tlv(0x63, tlv(4, []byte("C=CN")), tlv(0x0A, []byte{2}), tlv(0x0A, []byte{0}), tlv(2, []byte{0}), tlv(2, []byte{seconds}), tlv(1, []byte{0}), filter, tlv(0x30)), controls...)
}

func page(size byte, cookie []byte) []byte {
	return tlv(0x30, tlv(4, []byte(ldapmsg.PagedResults)), tlv(4, tlv(0x30, tlv(2, []byte{size}), tlv(4, cookie))))
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, bufio.NewReader(c)}
}

func (c *client) send(t testing.TB, b ...[]byte) {
	t.Helper()
	if _, err := c.Write(bytes.Join(b, nil)); err != nil {
		t.Fatal(err)
	}
}

// reply is an answer that ends an operation, and how many entries came before.
type reply struct {
	id      int
	op      ldapmsg.Op
	code    byte
	cookie  []byte
	body    string
	entries int
}

func (c *client) read() (r reply, err error) {
	for {
		raw, err := ldapmsg.Read(c.r)
		if err != nil {
			return r, err
		}
		m, err := ldapmsg.Parse(raw)
		if err != nil {
			return r, err
		}
		if m.Op == 0x64 {
			r.entries++
			continue
		}
		r.id, r.op, r.code, r.body = m.ID, m.Op, m.Body[2], string(m.Body)
		for _, k := range m.Controls {
			if _, r.cookie, err = ldapmsg.ParsePage(k.Value); err != nil {
				return r, err
			}
		}
		return r, nil
	}
}

func (c *client) want(t testing.TB, id int, code ldapmsg.Code, entries int) reply {
	t.Helper()
	r, err := c.read()
	if err != nil || r.id != id || r.code != byte(code) || r.entries != entries {
		t.Errorf("%+v %v, want %d: result %d, %d entries", r, err, id, code, entries)
	}
	return r
}

// gone reports that the server closed the connection.
func (c *client) gone(t testing.TB) {
	t.Helper()
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("still there: %v", err)
	}
}

func TestRequestsInOneSegmentAreAnsweredInOrder(t *testing.T) {
	v := build(t)
	c := dial(t, v.addr)
	c.send(t, message(1, tlv(0x60, tlv(2, []byte{3}), tlv(4), tlv(0x80))), lookup(2, "张三", 0), message(3, tlv(0x50, []byte{2})), lookup(4, "没有", 0), lookup(5, "", 0))
	c.want(t, 1, ldapmsg.Success, 0)
	c.want(t, 2, ldapmsg.Success, 1)
	c.want(t, 4, ldapmsg.Success, 0) // an abandon has no answer
	c.want(t, 5, ldapmsg.Success, 14)
	c.send(t, message(6, tlv(0x42)))
	c.gone(t)
}

func TestOperationsOtherThanSearchHaveTheirOwnAnswers(t *testing.T) {
	v := build(t)
	c := dial(t, v.addr)
	for _, x := range []struct {
		op     byte
		answer ldapmsg.Op
		code   ldapmsg.Code
	}{
		{0x68, 0x69, ldapmsg.Unwilling}, {0x66, 0x67, ldapmsg.Unwilling}, {0x4A, 0x6B, ldapmsg.Unwilling}, {0x6C, 0x6D, ldapmsg.Unwilling},
		{0x6E, 0x6F, ldapmsg.Unwilling}, {0x77, 0x78, ldapmsg.ProtocolError}, {0x63, 0x65, ldapmsg.ProtocolError}, {0x60, 0x61, ldapmsg.ProtocolError},
	} {
		c.send(t, message(9, tlv(x.op, []byte("?"))))
		if r, err := c.read(); err != nil || r.op != x.answer || r.code != byte(x.code) || r.id != 9 {
			t.Errorf("%x: %+v %v", x.op, r, err)
		}
	}
	c.send(t, message(10, tlv(0x60, tlv(2, []byte{3}), tlv(4), tlv(0xA3, tlv(4, []byte("EXTERNAL"))))))
	c.want(t, 10, ldapmsg.AuthNotSupported, 0)
}

func TestCookies(t *testing.T) {
	v := build(t)
	c := dial(t, v.addr)
	c.send(t, lookup(1, "", 0, page(10, nil)))
	first := c.want(t, 1, ldapmsg.Success, 10)
	if len(first.cookie) == 0 {
		t.Fatal("no cookie")
	}
	c.send(t, lookup(2, "", 0, page(10, first.cookie)))
	if last := c.want(t, 2, ldapmsg.Success, 4); len(last.cookie) != 0 {
		t.Error("a cookie after the last page")
	}
	c.send(t, lookup(3, "", 0, page(0, first.cookie)))
	if r := c.want(t, 3, ldapmsg.Success, 0); len(r.cookie) != 0 {
		t.Error("an abandoned search goes on")
	}
	c.send(t, lookup(4, "", 0, page(10, []byte("?"))))
	c.want(t, 4, ldapmsg.ProtocolError, 0)
	c.send(t, lookup(5, "", 0, page(10, bytes.Repeat([]byte{0xFF}, 8))))
	c.want(t, 5, ldapmsg.Unwilling, 0)
	c.send(t, lookup(6, "", 0, tlv(0x30, tlv(4, []byte(ldapmsg.PagedResults)), tlv(4, []byte("no value")))))
	c.want(t, 6, ldapmsg.ProtocolError, 0)
	again := dial(t, v.addr) // a cookie is good on another connection, as after a restart
	again.send(t, lookup(7, "", 0, page(10, first.cookie)))
	again.want(t, 7, ldapmsg.Success, 4)
}

// What cannot be read ends the connection with a notice, and nobody else's.
func TestMalformedMessagesEndOnlyTheirConnection(t *testing.T) {
	v := build(t)
	other := dial(t, v.addr)
	other.send(t, lookup(1, "张三", 0))
	other.want(t, 1, ldapmsg.Success, 1)
	deep := tlv(0x87, []byte("cn"))
	for range 100 {
		deep = tlv(0xA2, deep)
	}
	for what, b := range map[string][]byte{
		"text":                       []byte("GET / HTTP/1.0\r\n\r\n"),
		"ten megabytes":              {0x30, 0x84, 0, 0xA0, 0, 0},
		"a length without end":       {0x30, 0x80, 2, 1, 1},
		"a length of eight octets":   {0x30, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
		"a length of 127 octets":     append([]byte{0x30, 0xFF}, make([]byte, 127)...),
		"nothing inside":             {0x30, 0},
		"an operation that is none":  message(1, tlv(0x79)),
		"a negative number":          tlv(0x30, tlv(2, []byte{0xFF}), tlv(0x42)),
		"more after the message":     tlv(0x30, tlv(2, []byte{1}), tlv(0x42), tlv(0x42)),
		"controls that are not any":  tlv(0x30, tlv(2, []byte{1}), tlv(0x63), tlv(0xA0, []byte("?"))),
		"an element longer than all": {0x30, 5, 2, 1, 1, 0x63, 0x7F},
	} {
		c := dial(t, v.addr)
		c.send(t, b)
		r, err := c.read()
		if err != nil || r.id != 0 || r.op != 0x78 || r.code != byte(ldapmsg.ProtocolError) || !strings.Contains(r.body, "1.3.6.1.4.1.1466.20036") {
			t.Errorf("%s: %+v %v", what, r, err)
		}
		c.gone(t)
	}
	c := dial(t, v.addr)
	c.send(t, message(1, tlv(0x63, tlv(4), tlv(0x0A, []byte{2}), tlv(0x0A, []byte{0}), tlv(2, []byte{0}), tlv(2, []byte{0}), tlv(1, []byte{0}), deep, tlv(0x30))))
	c.want(t, 1, ldapmsg.ProtocolError, 0)
	other.send(t, lookup(2, "张三", 0))
	other.want(t, 2, ldapmsg.Success, 1)
}

// Clients that say little, or nothing, or do not listen, keep nobody waiting;
// and when the seats are taken the most silent loses theirs.
func TestSilentClientsKeepNobodyOut(t *testing.T) {
	const seats = 8
	d := serve(t, seats)
	d.Pair(person("张三"), true)
	d.publish()
	busy := dial(t, d.addr)
	var silent []*client
	for i := range seats - 1 {
		c := dial(t, d.addr)
		silent = append(silent, c)
		c.send(t, lookup(1, "张三", 0)[:i]) // a message that never ends
	}
	for i := range 3 * seats {
		busy.send(t, lookup(byte(i+1), "张三", 0))
		busy.want(t, i+1, ldapmsg.Success, 1)
		c := dial(t, d.addr)
		c.send(t, lookup(1, "张三", 0))
		c.want(t, 1, ldapmsg.Success, 1)
	}
	for _, c := range silent {
		c.gone(t)
	}
}

// A client that sends a message octet by octet has as long as one that sends
// nothing, and no longer.
func TestAMessageThatNeverEndsRunsOutOfTime(t *testing.T) {
	d := serve(t, 0)
	now := func() time.Time { return time.Now().Add(-5*time.Minute + 300*time.Millisecond) } // deadlines come soon
	addr := d.listen(&ldapserver.Server{Directory: d.dir, Now: now}, nil)
	c := dial(t, addr)
	began := time.Now()
	for _, b := range lookup(1, "张三", 0) {
		if _, err := c.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.gone(t)
	if d := time.Since(began); d > 2*time.Second {
		t.Error(d)
	}
}

// Every part of a large answer has its own time to leave: how long the
// connection has been open does not count.
func TestALargeAnswerLeavesOnAnOldConnection(t *testing.T) {
	d := serve(t, 0)
	d.crowd(900) // some 800 KiB
	var back atomic.Int64
	back.Store(int64(30*time.Second - 100*time.Millisecond))
	now := func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	c := dial(t, d.listen(&ldapserver.Server{Directory: d.dir, Now: now}, nil))
	c.send(t, lookup(1, "没有", 0))
	c.want(t, 1, ldapmsg.Success, 0)
	back.Store(0)
	time.Sleep(200 * time.Millisecond) // the first answer's time is over
	c.send(t, lookup(2, "", 0))
	c.want(t, 2, ldapmsg.Success, 907)
}

// moody is a listener that sometimes has no file to spare.
type moody struct {
	net.Listener
	n atomic.Int32
}

func (m *moody) Accept() (net.Conn, error) {
	if m.n.Add(1)%2 == 1 {
		return nil, errors.New("accept: too many open files")
	}
	return m.Listener.Accept()
}

func TestFailingToAcceptOnceDoesNotEndTheService(t *testing.T) {
	v := build(t)
	addr := v.listen(&ldapserver.Server{Directory: v.dir, Now: time.Now}, func(l net.Listener) net.Listener { return &moody{Listener: l} })
	for range 3 {
		c := dial(t, addr)
		c.send(t, lookup(1, "张三", 0))
		c.want(t, 1, ldapmsg.Success, 1)
	}
}

func TestManyConnectionsAreServedAtOnce(t *testing.T) {
	v := build(t)
	var all []*client
	for range 300 {
		all = append(all, dial(t, v.addr))
	}
	for range 2 {
		for _, c := range all {
			c.send(t, lookup(1, "张三", 1))
		}
		for _, c := range all {
			c.want(t, 1, ldapmsg.Success, 1)
		}
	}
}
