package ldapmsg_test

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/hufu-pki/hufu/format/ldapmsg"
)

// search is (cn=a) under C=CN, as ldapsearch sends it.
var search = []byte{0x30, 0x27, 2, 1, 2, 0x63, 0x22, 4, 4, 'C', '=', 'C', 'N', 0x0A, 1, 2, 0x0A, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0,
	0xA3, 7, 4, 2, 'c', 'n', 4, 1, 'a', 0x30, 2, 4, 0}

func TestASearchIsRead(t *testing.T) {
	raw, err := ldapmsg.Read(bufio.NewReader(bytes.NewReader(search)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ldapmsg.Parse(raw)
	if err != nil || m.Op != ldapmsg.Search || m.ID != 2 {
		t.Fatalf("%+v %v", m, err)
	}
	q, err := ldapmsg.ParseSearch(m.Body)
	if err != nil || q.Base != "C=CN" || q.Scope != ldapmsg.Sub || q.Filter.Kind != ldapmsg.Equal || q.Filter.Attr != "cn" || q.Filter.Value != "a" {
		t.Errorf("%+v %v", q, err)
	}
}

// Lengths longer than need be are lawful BER.
func TestLongLengthsAreRead(t *testing.T) {
	long := append([]byte{0x30, 0x84, 0, 0, 0, byte(len(search) - 2)}, search[2:]...)
	raw, err := ldapmsg.Read(bufio.NewReader(bytes.NewReader(long)))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ldapmsg.Parse(raw); err != nil || m.ID != 2 {
		t.Errorf("%+v %v", m, err)
	}
}

// A filter nested beyond reason is refused, not followed.
func TestDeepFiltersAreRefused(t *testing.T) {
	f := []byte{0x87, 2, 'c', 'n'}
	for range 30 {
		f = append([]byte{0xA2, byte(len(f))}, f...)
	}
	body := append([]byte{4, 0, 0x0A, 1, 2, 0x0A, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0}, f...)
	if _, err := ldapmsg.ParseSearch(append(body, 0x30, 0)); err == nil {
		t.Error("accepted")
	}
}

func TestAnEntryIsReadBack(t *testing.T) {
	body := ldapmsg.EntryBody("CN=张三", []ldapmsg.Attribute{{Type: "cn", Values: [][]byte{[]byte("张三")}}, {Type: "userCertificate;binary", Values: [][]byte{make([]byte, 800)}}})
	dn, attrs, err := ldapmsg.ReadEntry(body)
	if err != nil || dn != "CN=张三" || len(attrs) != 2 || len(attrs[1].Values[0]) != 800 {
		t.Error(dn, len(attrs), err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(search)
	f.Add([]byte{0x30, 0x0C, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		raw, err := ldapmsg.Read(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		m, err := ldapmsg.Parse(raw)
		if err != nil {
			return
		}
		_, _ = ldapmsg.ParseSearch(m.Body)
		_, _, _, _, _ = ldapmsg.ParseBind(m.Body)
		for _, c := range m.Controls {
			_, _, _ = ldapmsg.ParsePage(c.Value)
		}
		_, _, _ = ldapmsg.ReadEntry(m.Body)
	})
}

// A revocation list is one value, larger than any request may be.
func TestAnEntryMayBeLargerThanARequest(t *testing.T) {
	list := make([]byte, 3*ldapmsg.SizeMax)
	_, attrs, err := ldapmsg.ReadEntry(ldapmsg.EntryBody("CN=crl", []ldapmsg.Attribute{{Type: "certificateRevocationList;binary", Values: [][]byte{list}}}))
	if err != nil || len(attrs) != 1 || len(attrs[0].Values[0]) != len(list) {
		t.Error(len(attrs), err)
	}
}
