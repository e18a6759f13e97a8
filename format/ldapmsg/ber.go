package ldapmsg

import "errors"

// ErrSyntax is returned for bytes that are not a message of RFC 4511 within
// our bounds.
var ErrSyntax = errors.New("not an LDAP message")

// Bounds of what is read from outside, and of entries of our own: a full
// revocation list is one value.
const (
	SizeMax    = 256 << 10
	EntryMax   = 32 << 20
	depthMax   = 16  // of a filter
	itemsMax   = 256 // of a filter
	attrsMax   = 64
	controlMax = 8
)

// Tags of RFC 4511 and BER.
const (
	tagBool  = 0x01
	tagInt   = 0x02
	tagOctet = 0x04
	tagEnum  = 0x0A
	tagSeq   = 0x30
	tagSet   = 0x31
)

// element is one BER value: its tag byte and content.
type element struct {
	tag  byte
	body []byte
}

// next takes an element off b. Lengths may be longer than need be, as some
// clients write them; indefinite lengths are not allowed (RFC 4511 §5.1).
func next(b []byte) (e element, rest []byte, err error) { return nextOf(b, SizeMax) }

// nextOf is next with a bound of its own.
func nextOf(b []byte, bound int) (e element, rest []byte, err error) {
	if len(b) < 2 || b[0]&0x1F == 0x1F {
		return e, nil, ErrSyntax
	}
	n, head, err := length(b, bound)
	if err != nil || len(b)-head < n {
		return e, nil, ErrSyntax
	}
	return element{b[0], b[head : head+n]}, b[head+n:], nil
}

// length reads the length after a tag byte: its value, and the bytes of tag
// and length together.
func length(b []byte, bound int) (n, head int, err error) {
	if len(b) < 2 {
		return 0, 0, ErrSyntax
	}
	if b[1] < 0x80 {
		return int(b[1]), 2, nil
	}
	size := int(b[1] & 0x7F)
	if size == 0 || size > 8 || len(b) < 2+size {
		return 0, 0, ErrSyntax
	}
	for _, c := range b[2 : 2+size] {
		if n = n<<8 | int(c); n > bound {
			return 0, 0, ErrSyntax
		}
	}
	return n, 2 + size, nil
}

func integer(body []byte) (n int, err error) {
	if len(body) == 0 || len(body) > 8 {
		return 0, ErrSyntax
	}
	if body[0]&0x80 != 0 {
		n = -1
	}
	for _, c := range body {
		n = n<<8 | int(c)
	}
	return n, nil
}

// appendElement writes a definite, minimal length.
func appendElement(b []byte, tag byte, body []byte) []byte {
	return append(appendHead(b, tag, len(body)), body...)
}

func appendHead(b []byte, tag byte, n int) []byte {
	b = append(b, tag)
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x100:
		return append(b, 0x81, byte(n))
	case n < 0x10000:
		return append(b, 0x82, byte(n>>8), byte(n))
	}
	return append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendInt(b []byte, tag byte, n int) []byte {
	body := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	for len(body) > 1 && (body[0] == 0 && body[1] < 0x80 || body[0] == 0xFF && body[1] >= 0x80) {
		body = body[1:]
	}
	return appendElement(b, tag, body)
}
