package envelope

import (
	"fmt"
	"strings"
)

// element is one DER element.
type element struct {
	tag  byte
	body []byte
	raw  []byte
}

// Tags as they lie in the bytes.
const (
	tagInteger  = 0x02
	tagBits     = 0x03
	tagOctets   = 0x04
	tagNull     = 0x05
	tagOID      = 0x06
	tagSequence = 0x30
	tagSet      = 0x31
)

// next takes one element off; tags have one octet and lengths at most three.
func next(b []byte) (e element, rest []byte, err error) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return e, nil, fmt.Errorf("不是 DER")
	}
	size, head := int(b[1]), 2
	if size == 0x80 {
		return e, nil, fmt.Errorf("不定长编码，不是 DER")
	}
	if size > 0x80 {
		n := size - 0x80
		if n > 3 || len(b) < 2+n {
			return e, nil, fmt.Errorf("长度编码不是 DER")
		}
		size, head = 0, 2+n
		for _, c := range b[2:head] {
			size = size<<8 | int(c)
		}
		if size < 0x80 || n > 1 && size>>(8*(n-1)) == 0 {
			return e, nil, fmt.Errorf("长度不是最短编码，不是 DER")
		}
	}
	if len(b) < head+size {
		return e, nil, fmt.Errorf("内容不完整：应有 %d 字节，实有 %d", head+size, len(b))
	}
	return element{b[0], b[head : head+size], b[:head+size]}, b[head+size:], nil
}

// all splits a body into its elements.
func all(b []byte) (list []element, err error) {
	for len(b) > 0 {
		var e element
		if e, b, err = next(b); err != nil {
			return list, err
		}
		if list = append(list, e); len(list) > 64 {
			return list, fmt.Errorf("元素过多")
		}
	}
	return list, nil
}

// oid writes an object identifier as people do; "" when it is none.
func (e element) oid() string {
	if e.tag != tagOID || len(e.body) == 0 || e.body[len(e.body)-1]&0x80 != 0 {
		return ""
	}
	var numbers []string
	n := uint64(0)
	for _, c := range e.body {
		if n > 1<<56 {
			return ""
		}
		n = n<<7 | uint64(c&0x7f)
		if c&0x80 != 0 {
			continue
		}
		if len(numbers) == 0 {
			first := min(n/40, 2)
			numbers = append(numbers, fmt.Sprint(first))
			n -= first * 40
		}
		numbers = append(numbers, fmt.Sprint(n))
		n = 0
	}
	return strings.Join(numbers, ".")
}

// algorithm reads an AlgorithmIdentifier.
func (e element) algorithm() (id string, parameters *element, ok bool) {
	list, err := all(e.body)
	if e.tag != tagSequence || err != nil || len(list) == 0 || len(list) > 2 {
		return "", nil, false
	}
	if len(list) == 2 {
		parameters = &list[1]
	}
	id = list[0].oid()
	return id, parameters, id != ""
}

func isNull(e *element) bool { return e != nil && e.tag == tagNull && len(e.body) == 0 }

// number is a small INTEGER; -1 when it is none.
func (e element) number() int {
	if e.tag != tagInteger || len(e.body) != 1 || e.body[0] > 127 {
		return -1
	}
	return int(e.body[0])
}

// names are what the identifiers met here stand for.
var names = map[string]string{
	"1.2.156.10197.1.301": "SM2", "1.2.156.10197.1.301.1": "SM2 签名", "1.2.156.10197.1.301.2": "SM2 密钥交换", "1.2.156.10197.1.301.3": "SM2 加密",
	"1.2.156.10197.1.104": "SM4", "1.2.156.10197.1.104.1": "SM4-ECB", "1.2.156.10197.1.104.2": "SM4-CBC",
	"1.2.156.10197.1.401": "SM3", "1.2.156.10197.1.501": "SM2 签名（SM3）", "1.2.156.10197.1.102": "SM1", "1.2.156.10197.1.102.1": "SM1-ECB",
	"1.2.156.10197.6.1.4.2.1": "数据类型 data", "1.2.156.10197.6.1.4.2.2": "签名数据类型", "1.2.156.10197.6.1.4.2.3": "数字信封数据类型", "1.2.156.10197.6.1.4.2.4": "签名及数字信封数据类型",
	"1.2.840.113549.1.7.1": "PKCS#7 data", "1.2.840.113549.1.7.3": "PKCS#7 envelopedData", "1.2.840.113549.1.7.4": "PKCS#7 signedAndEnvelopedData",
	"1.2.840.10045.2.1": "EC 公钥", "1.2.840.113549.1.1.1": "RSA",
}

func named(oid string) string {
	if n := names[oid]; n != "" {
		return n + " " + oid
	}
	return oid
}
