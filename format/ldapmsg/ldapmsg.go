// Package ldapmsg reads and writes the LDAP messages of a read-only server.
// (目录协议消息)
//
// Requests are read within bounds; what would write is told apart only to be
// refused (RFC 4511).
package ldapmsg

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Op is what a message asks.
type Op byte

// Operations, by their application tags.
const (
	Bind     Op = 0x60
	Unbind   Op = 0x42
	Search   Op = 0x63
	Modify   Op = 0x66
	Add      Op = 0x68
	Delete   Op = 0x4A
	Rename   Op = 0x6C
	Compare  Op = 0x6E
	Abandon  Op = 0x50
	Extended Op = 0x77
)

// Code is a result code of RFC 4511 §4.1.9.
type Code int

// Result codes a read-only server gives.
const (
	Success              Code = 0
	OperationsError      Code = 1
	ProtocolError        Code = 2
	TimeLimit            Code = 3
	SizeLimit            Code = 4
	CompareFalse         Code = 5
	CompareTrue          Code = 6
	AuthNotSupported     Code = 7
	AdminLimit           Code = 11
	UnavailableExtension Code = 12
	NoSuchObject         Code = 32
	InvalidDN            Code = 34
	InvalidCredentials   Code = 49
	Busy                 Code = 51
	Unwilling            Code = 53
)

// Scope is how far below its base a search looks.
type Scope int

// Scopes.
const (
	Base Scope = iota
	One
	Sub
)

// Message is one request.
type Message struct {
	ID       int
	Op       Op
	Body     []byte // of the operation
	Controls []Control
}

// Control extends a request.
type Control struct {
	OID      string
	Critical bool
	Value    []byte
}

// Query is a search request.
type Query struct {
	Base      string
	Scope     Scope
	Size      int // limit asked for; 0 is none
	Time      int // seconds; 0 is none
	TypesOnly bool
	Filter    Filter
	Attrs     []string
}

// Read takes one message off a connection.
func Read(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0] != tagSeq {
		return nil, ErrSyntax
	}
	if head[1] >= 0x80 {
		if head, err = r.Peek(2 + int(head[1]&0x7F)); err != nil {
			return nil, err
		}
	}
	n, size, err := length(head, SizeMax)
	if err != nil || n+size > SizeMax {
		return nil, ErrSyntax
	}
	b := make([]byte, n+size)
	_, err = io.ReadFull(r, b)
	return b, err
}

// Parse reads a message's envelope.
func Parse(b []byte) (m Message, err error) {
	outer, rest, err := next(b)
	if err != nil || outer.tag != tagSeq || len(rest) > 0 {
		return m, ErrSyntax
	}
	id, body, err := next(outer.body)
	if err != nil || id.tag != tagInt {
		return m, ErrSyntax
	}
	if m.ID, err = integer(id.body); err != nil || m.ID < 0 || m.ID > 1<<31-1 {
		return m, ErrSyntax
	}
	op, body, err := next(body)
	if err != nil {
		return m, err
	}
	m.Op, m.Body = Op(op.tag), op.body
	if len(body) == 0 {
		return m, nil
	}
	controls, body, err := next(body)
	if err != nil || controls.tag != 0xA0 || len(body) > 0 {
		return m, ErrSyntax
	}
	for list := controls.body; len(list) > 0; {
		var one element
		if one, list, err = next(list); err != nil || one.tag != tagSeq || len(m.Controls) == controlMax {
			return m, ErrSyntax
		}
		c, err := control(one.body)
		if err != nil {
			return m, err
		}
		m.Controls = append(m.Controls, c)
	}
	return m, nil
}

func control(b []byte) (c Control, err error) {
	for i := 0; len(b) > 0; i++ {
		var e element
		if e, b, err = next(b); err != nil {
			return c, err
		}
		switch {
		case i == 0 && e.tag == tagOctet:
			c.OID = string(e.body)
		case e.tag == tagBool && len(e.body) == 1:
			c.Critical = e.body[0] != 0
		case i > 0 && e.tag == tagOctet:
			c.Value = e.body
		default:
			return c, ErrSyntax
		}
	}
	return c, nil
}

// ParseBind reads a bind request: who, and whether it is a simple bind with
// which password.
func ParseBind(body []byte) (version int, name string, simple bool, password []byte, err error) {
	v, body, err := next(body)
	if err != nil || v.tag != tagInt {
		return 0, "", false, nil, ErrSyntax
	}
	if version, err = integer(v.body); err != nil {
		return 0, "", false, nil, err
	}
	n, body, err := next(body)
	if err != nil || n.tag != tagOctet {
		return 0, "", false, nil, ErrSyntax
	}
	a, _, err := next(body)
	if err != nil {
		return 0, "", false, nil, err
	}
	return version, string(n.body), a.tag == 0x80, a.body, nil
}

// ParseSearch reads a search request.
func ParseSearch(body []byte) (q Query, err error) {
	var parts [6]element
	for i := range parts {
		if parts[i], body, err = next(body); err != nil {
			return q, err
		}
	}
	for i, tag := range [6]byte{tagOctet, tagEnum, tagEnum, tagInt, tagInt, tagBool} {
		if parts[i].tag != tag {
			return q, ErrSyntax
		}
	}
	q.Base = string(parts[0].body)
	scope, err1 := integer(parts[1].body)
	size, err2 := integer(parts[3].body)
	seconds, err3 := integer(parts[4].body)
	if err1 != nil || err2 != nil || err3 != nil || scope < 0 || scope > 2 || size < 0 || seconds < 0 || len(parts[5].body) != 1 {
		return q, ErrSyntax
	}
	q.Scope, q.Size, q.Time, q.TypesOnly = Scope(scope), size, seconds, parts[5].body[0] != 0
	items := 0
	if q.Filter, body, err = filter(body, 0, &items); err != nil {
		return q, err
	}
	list, body, err := next(body)
	if err != nil || list.tag != tagSeq || len(body) > 0 {
		return q, ErrSyntax
	}
	for b := list.body; len(b) > 0; {
		var e element
		if e, b, err = next(b); err != nil || e.tag != tagOctet || len(q.Attrs) == attrsMax {
			return q, ErrSyntax
		}
		q.Attrs = append(q.Attrs, string(e.body))
	}
	return q, nil
}

// Kind is a sort of filter, by its tag.
type Kind byte

// Kinds of filters.
const (
	And     Kind = 0xA0
	Or      Kind = 0xA1
	Not     Kind = 0xA2
	Equal   Kind = 0xA3
	Substr  Kind = 0xA4
	Greater Kind = 0xA5
	Less    Kind = 0xA6
	Present Kind = 0x87
	Approx  Kind = 0xA8
	Match   Kind = 0xA9
)

// Filter is a search filter.
type Filter struct {
	Kind  Kind
	Of    []Filter // And, Or, Not
	Attr  string
	Value string
	Parts []Part // Substr
	Rule  string // Match
}

// Part is one piece of a substring filter, by its tag.
type Part struct {
	At    byte // 0x80 initial, 0x81 any, 0x82 final
	Value string
}

func filter(b []byte, depth int, items *int) (f Filter, rest []byte, err error) {
	e, rest, err := next(b)
	if *items++; err != nil || depth > depthMax || *items > itemsMax {
		return f, nil, ErrSyntax
	}
	f.Kind = Kind(e.tag)
	switch f.Kind {
	case And, Or, Not:
		for list := e.body; len(list) > 0; {
			var one Filter
			if one, list, err = filter(list, depth+1, items); err != nil {
				return f, nil, err
			}
			f.Of = append(f.Of, one)
		}
		if f.Kind == Not && len(f.Of) != 1 {
			return f, nil, ErrSyntax
		}
	case Present:
		f.Attr = string(e.body)
	case Equal, Greater, Less, Approx:
		f.Attr, f.Value, err = pair(e.body)
	case Substr:
		err = f.substrings(e.body)
	case Match:
		err = f.match(e.body)
	default:
		err = ErrSyntax
	}
	return f, rest, err
}

func pair(b []byte) (attr, value string, err error) {
	a, b, err := next(b)
	if err != nil || a.tag != tagOctet {
		return "", "", ErrSyntax
	}
	v, b, err := next(b)
	if err != nil || v.tag != tagOctet || len(b) > 0 {
		return "", "", ErrSyntax
	}
	return string(a.body), string(v.body), nil
}

func (f *Filter) substrings(b []byte) error {
	a, b, err := next(b)
	if err != nil || a.tag != tagOctet {
		return ErrSyntax
	}
	list, b, err := next(b)
	if err != nil || list.tag != tagSeq || len(b) > 0 || len(list.body) == 0 {
		return ErrSyntax
	}
	f.Attr = string(a.body)
	for b := list.body; len(b) > 0; {
		var e element
		if e, b, err = next(b); err != nil || e.tag < 0x80 || e.tag > 0x82 || len(f.Parts) == itemsMax {
			return ErrSyntax
		}
		f.Parts = append(f.Parts, Part{e.tag, string(e.body)})
	}
	return nil
}

func (f *Filter) match(b []byte) (err error) {
	for len(b) > 0 {
		var e element
		if e, b, err = next(b); err != nil {
			return err
		}
		switch e.tag {
		case 0x81:
			f.Rule = string(e.body)
		case 0x82:
			f.Attr = string(e.body)
		case 0x83:
			f.Value = string(e.body)
		case 0x84:
		default:
			return ErrSyntax
		}
	}
	return nil
}

// PagedResults is the control of RFC 2696.
const PagedResults = "1.2.840.113556.1.4.319"

// ParsePage reads the value of a paging control.
func ParsePage(value []byte) (size int, cookie []byte, err error) {
	seq, rest, err := next(value)
	if err != nil || seq.tag != tagSeq || len(rest) > 0 {
		return 0, nil, ErrSyntax
	}
	n, body, err := next(seq.body)
	if err != nil || n.tag != tagInt {
		return 0, nil, ErrSyntax
	}
	c, body, err := next(body)
	if err != nil || c.tag != tagOctet || len(body) > 0 {
		return 0, nil, ErrSyntax
	}
	size, err = integer(n.body)
	if err != nil || size < 0 {
		return 0, nil, ErrSyntax
	}
	return size, c.body, nil
}

// Attribute is one attribute of an entry.
type Attribute struct {
	Type   string
	Values [][]byte
}

// EntryBody is the inside of a search result entry: its name and attributes.
func EntryBody(dn string, attrs []Attribute) []byte {
	var list []byte
	for _, a := range attrs {
		list = append(list, AttributeBytes(a)...)
	}
	b := appendElement(nil, tagOctet, []byte(dn))
	return appendElement(b, tagSeq, list)
}

// AttributeBytes is one attribute as an entry has it.
func AttributeBytes(a Attribute) []byte {
	var values []byte
	for _, v := range a.Values {
		values = appendElement(values, tagOctet, v)
	}
	return appendElement(nil, tagSeq, append(appendElement(nil, tagOctet, []byte(a.Type)), appendElement(nil, tagSet, values)...))
}

// ReadEntry takes the inside of an entry of our own apart.
func ReadEntry(body []byte) (dn string, attrs []Attribute, err error) {
	n, body, err := nextOf(body, EntryMax)
	if err != nil || n.tag != tagOctet {
		return "", nil, ErrSyntax
	}
	list, _, err := nextOf(body, EntryMax)
	if err != nil || list.tag != tagSeq {
		return "", nil, ErrSyntax
	}
	for b := list.body; len(b) > 0; {
		var one element
		if one, b, err = nextOf(b, EntryMax); err != nil {
			return "", nil, err
		}
		t, inner, err := nextOf(one.body, EntryMax)
		if err != nil {
			return "", nil, err
		}
		set, _, err := nextOf(inner, EntryMax)
		if err != nil {
			return "", nil, err
		}
		a := Attribute{Type: string(t.body)}
		for v := set.body; len(v) > 0; {
			var e element
			if e, v, err = nextOf(v, EntryMax); err != nil {
				return "", nil, err
			}
			a.Values = append(a.Values, e.body)
		}
		attrs = append(attrs, a)
	}
	return string(n.body), attrs, nil
}

// AppendEntry writes a search result entry around its inside.
func AppendEntry(b []byte, id int, body []byte) []byte {
	return appendMessage(b, id, 0x64, body, nil)
}

func appendMessage(b []byte, id int, op byte, body, controls []byte) []byte {
	number := appendInt(nil, tagInt, id)
	n := len(number) + headSize(len(body)) + len(body) + len(controls)
	b = appendHead(b, tagSeq, n)
	b = append(b, number...)
	b = appendHead(b, op, len(body))
	b = append(b, body...)
	return append(b, controls...)
}

func headSize(n int) int {
	switch {
	case n < 0x80:
		return 2
	case n < 0x100:
		return 3
	case n < 0x10000:
		return 4
	}
	return 6
}

// Done is the tag of the answer that ends an operation.
func (o Op) Done() byte {
	switch o {
	case Search:
		return 0x65
	case Delete:
		return 0x6B
	case Extended:
		return 0x78
	}
	return byte(o) + 1
}

// AppendResult writes the answer that ends an operation. A page cookie, even
// an empty one, adds the paging control.
func AppendResult(b []byte, id int, tag byte, code Code, matched, text string, page []byte, paged bool) []byte {
	body := appendInt(nil, tagEnum, int(code))
	body = appendElement(body, tagOctet, []byte(matched))
	body = appendElement(body, tagOctet, []byte(text))
	var controls []byte
	if paged {
		value := appendElement(nil, tagSeq, appendElement(appendInt(nil, tagInt, 0), tagOctet, page))
		one := appendElement(appendElement(nil, tagOctet, []byte(PagedResults)), tagOctet, value)
		controls = appendElement(nil, 0xA0, appendElement(nil, tagSeq, one))
	}
	return appendMessage(b, id, tag, body, controls)
}

// AppendDisconnection writes the notice that the connection ends (RFC 4511 §4.4.1).
func AppendDisconnection(b []byte, code Code, text string) []byte {
	body := appendInt(nil, tagEnum, int(code))
	body = appendElement(body, tagOctet, nil)
	body = appendElement(body, tagOctet, []byte(text))
	body = appendElement(body, 0x8A, []byte("1.3.6.1.4.1.1466.20036"))
	return appendMessage(b, 0, Extended.Done(), body, nil)
}

// String is the filter as RFC 4515 writes it, near enough for logs.
func (f Filter) String() string {
	switch f.Kind {
	case And, Or, Not:
		var parts []string
		for _, o := range f.Of {
			parts = append(parts, o.String())
		}
		return "(" + map[Kind]string{And: "&", Or: "|", Not: "!"}[f.Kind] + strings.Join(parts, "") + ")"
	case Present:
		return "(" + f.Attr + "=*)"
	}
	return fmt.Sprintf("(%s=%q)", f.Attr, f.Value)
}
