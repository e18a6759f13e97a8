package dn_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/openssltest"
)

var full = dn.Name{C: "CN", ST: "北京市", L: "海淀区", O: "某某局", OU: dn.Units{"办公厅", "信息处"}, E: "zhang@example.cn", CN: "张三𠮷"}

func TestTheOrderInDERIsCountryFirstAndCommonNameLast(t *testing.T) {
	attrs, err := dn.Attributes(full.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, a := range attrs {
		order = append(order, a.Type)
	}
	if got := strings.Join(order, " "); got != "C ST L O OU OU E CN" {
		t.Error(got)
	}
}

func TestStringTypesAreFixed(t *testing.T) {
	attrs, err := dn.Attributes(dn.Name{C: "CN", O: "ascii", OU: dn.Units{"x"}, E: "a@b.cn", CN: "ascii"}.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attrs {
		want := cbasn1.UTF8String
		switch a.Type {
		case "C":
			want = cbasn1.PrintableString
		case "E":
			want = cbasn1.IA5String
		}
		if a.Tag != want {
			t.Errorf("%s has tag %d", a.Type, a.Tag)
		}
	}
}

// A name that another encoder would write otherwise: DER by hand.
func TestASmallNameIsTheseBytes(t *testing.T) {
	const want = "301d310b300906035504061302434e310e300c06035504030c05e5bca06133"
	if got := hex.EncodeToString(dn.Name{C: "CN", CN: "张a3"}.Bytes()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := dn.Name.Bytes(dn.Name{}); !bytes.Equal(got, []byte{0x30, 0}) {
		t.Errorf("the empty name is %x", got)
	}
}

func TestOpenSSLShowsTheSameName(t *testing.T) {
	out := openssltest.Must(t, full.Bytes(), "asn1parse", "-inform", "DER")
	var got []string
	for line := range strings.Lines(out) {
		for _, name := range []string{"countryName", "stateOrProvinceName", "localityName", "organizationName", "organizationalUnitName", "emailAddress", "commonName"} {
			if strings.Contains(line, ":"+name) {
				got = append(got, name)
			}
		}
	}
	if want := "countryName stateOrProvinceName localityName organizationName organizationalUnitName organizationalUnitName emailAddress commonName"; strings.Join(got, " ") != want {
		t.Errorf("%v\n%s", got, out)
	}
}

func TestANameIsReadAsItWasWritten(t *testing.T) {
	for _, n := range []dn.Name{full, {}, {C: "CN"}, {OU: dn.Units{"a", "b", "c"}}, {CN: "䶮㐂"}} {
		got, err := dn.Parse(n.Bytes())
		if err != nil || !reflect.DeepEqual(got, n) {
			t.Errorf("%v became %v: %v", n, got, err)
		}
	}
	if got, want := full.String(), "C=CN, ST=北京市, L=海淀区, O=某某局, OU=办公厅, OU=信息处, E=zhang@example.cn, CN=张三𠮷"; got != want || dn.Text(full.Bytes()) != want {
		t.Errorf("%s", got)
	}
}

type value struct {
	oid, tag string // hex; the tag of the string
	text     []byte
}

// name writes RDNs no writer of ours would.
func name(rdns ...[]value) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range rdns {
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				for _, v := range rdn {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						head, _ := hex.DecodeString(v.oid)
						tag, _ := hex.DecodeString(v.tag)
						b.AddBytes(head)
						b.AddASN1(cbasn1.Tag(tag[0]), func(b *cryptobyte.Builder) { b.AddBytes(v.text) })
					})
				}
			})
		}
	})
	return b.BytesOrPanic()
}

const cn, ou, title = "0603550403", "060355040b", "060355040c"

func TestStringTypesOfOtherWritersAreRead(t *testing.T) {
	for what, tt := range map[string]struct {
		v    value
		want string
	}{
		"PrintableString":           {value{cn, "13", []byte("Zhang")}, "Zhang"},
		"IA5String":                 {value{cn, "16", []byte("Zhang")}, "Zhang"},
		"T61String of ASCII":        {value{cn, "14", []byte("Zhang")}, "Zhang"},
		"BMPString":                 {value{cn, "1e", []byte{0x5f, 0x20, 0x4e, 0x09}}, "张三"},
		"BMPString with surrogates": {value{cn, "1e", []byte{0xd8, 0x42, 0xdf, 0xb7}}, "𠮷"},
	} {
		attrs, err := dn.Attributes(name([]value{tt.v}))
		if err != nil || len(attrs) != 1 || attrs[0].Value != tt.want {
			t.Errorf("%s: %v %v", what, attrs, err)
		}
	}
}

// Nothing is dropped and nothing is guessed.
func TestWhatIsNoNameIsRefused(t *testing.T) {
	ok := value{cn, "0c", []byte("x")}
	many := make([][]value, 33)
	for i := range many {
		many[i] = []value{{ou, "0c", []byte("x")}}
	}
	for what, der := range map[string][]byte{
		"nothing":                  nil,
		"bytes after it":           append(name([]value{ok}), 0),
		"an empty RDN":             name([]value{}),
		"a number for a string":    name([]value{{cn, "02", []byte{1}}}),
		"not UTF-8":                name([]value{{cn, "0c", []byte{0xff}}}),
		"half a character":         name([]value{{cn, "1e", []byte{0x5f}}}),
		"half a surrogate pair":    name([]value{{cn, "1e", []byte{0xd8, 0x42}}}),
		"a surrogate out of order": name([]value{{cn, "1e", []byte{0xdf, 0xb7, 0xd8, 0x42}}}),
		"33 attributes":            name(many...),
	} {
		if got, err := dn.Attributes(der); !errors.Is(err, dn.ErrSyntax) {
			t.Errorf("%s: %v %v", what, got, err)
		}
		if dn.Text(der) != "?" {
			t.Errorf("%s is shown as %q", what, dn.Text(der))
		}
	}
	for what, der := range map[string][]byte{
		"two common names":     name([]value{ok}, []value{ok}),
		"an unknown attribute": name([]value{{title, "0c", []byte("处长")}}),
	} {
		if got, err := dn.Parse(der); !errors.Is(err, dn.ErrSyntax) {
			t.Errorf("%s: %v %v", what, got, err)
		}
		if _, err := dn.Attributes(der); err != nil {
			t.Errorf("%s: its attributes: %v", what, err)
		}
	}
}

func TestOneUnitIsAStringAndSeveralAreAList(t *testing.T) {
	for text, want := range map[string]dn.Units{`"a"`: {"a"}, `""`: nil, `["a","b"]`: {"a", "b"}} {
		var got dn.Units
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v %v", text, got, err)
		}
	}
	var u dn.Units
	if err := json.Unmarshal([]byte("7"), &u); err == nil {
		t.Error("a number is a unit")
	}
	data, err := json.Marshal(dn.Name{C: "CN", OU: dn.Units{"a"}})
	if err != nil || string(data) != `{"C":"CN","OU":"a"}` {
		t.Errorf("%s %v", data, err)
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(full.Bytes())
	f.Add(name([]value{{cn, "1e", []byte{0x5f, 0x20, 0xd8, 0x42, 0xdf, 0xb7}}, {ou, "14", []byte("T61")}}))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := dn.Attributes(der); err != nil {
			return
		}
		n, err := dn.Parse(der)
		if err != nil {
			return
		}
		again, err := dn.Parse(n.Bytes())
		if err != nil || again.String() != n.String() {
			t.Errorf("%v became %v: %v", n, again, err)
		}
	})
}
