package directory_test

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

func TestNamesAreFoundHoweverTheyAreWritten(t *testing.T) {
	s := stand(t)
	n := zhang()
	n.CN = `王, 五+"六" #七`
	sign, _ := s.Pair(n, true)
	for _, rare := range []string{"䶮䶮", "㐂子", "𠮷野"} {
		n.CN = rare
		s.Pair(n, true)
	}
	s.publish()
	name := s.under(is("serialNumber", sign.SerialHex()))[0].name
	serial := sign.SerialHex()
	for _, as := range []string{
		name, strings.ToLower(name), strings.ReplaceAll(name, ",O", " ,  O"),
		`serialNumber=` + strings.ToLower(serial) + `+CN=王\2c 五\2B\"六\" \#七;ou=users;O=虎符;c=cn`,
		`2.5.4.3=王\,  五\+\"六\" #七+2.5.4.5=` + serial + `,2.5.4.11=Users,organizationName=\E8\99\8E\E7\AC\A6,countryName=CN`,
	} {
		if list, res := s.search(ldapmsg.Query{Base: as, Filter: has("objectClass")}); len(list) != 1 || list[0].name != name {
			t.Errorf("%s: %+v", as, res)
		}
	}
	for _, rare := range []string{"䶮䶮", "㐂子", "𠮷野"} {
		if list := s.under(is("cn", rare)); len(list) != 1 || list[0].attrs["cn"][0] != rare {
			t.Errorf("%s: %v", rare, list)
		}
	}
	for _, bad := range []string{"x", "=x", "CN=a,", "CN=a+", `CN=a\`, strings.Repeat("OU=a,", 40) + "C=CN"} {
		if _, res := s.search(ldapmsg.Query{Base: bad, Filter: has("objectClass")}); res.Code != ldapmsg.InvalidDN {
			t.Errorf("%.20s: %+v", bad, res)
		}
	}
	if _, res := s.search(ldapmsg.Query{Base: "CN=none,OU=Users,O=虎符,C=CN", Filter: has("objectClass")}); res.Code != ldapmsg.NoSuchObject || res.Matched != "OU=Users,O=虎符,C=CN" {
		t.Errorf("%+v", res)
	}
}

func TestScopes(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.CRL("full", 1)
	s.publish()
	for _, x := range []struct {
		base  string
		scope ldapmsg.Scope
		want  int
	}{
		{"C=CN", ldapmsg.Base, 1}, {"C=CN", ldapmsg.One, 1}, {"C=CN", ldapmsg.Sub, 9},
		{"O=虎符,C=CN", ldapmsg.Base, 1}, {"O=虎符,C=CN", ldapmsg.One, 4}, {"O=虎符,C=CN", ldapmsg.Sub, 8},
		{"OU=Users,O=虎符,C=CN", ldapmsg.One, 1}, {"OU=Users,O=虎符,C=CN", ldapmsg.Sub, 2}, {"OU=ARL,O=虎符,C=CN", ldapmsg.One, 0},
		{"", ldapmsg.One, 1}, {"", ldapmsg.Sub, 9},
	} {
		if list, res := s.search(ldapmsg.Query{Base: x.base, Scope: x.scope, Filter: has("objectClass")}); len(list) != x.want || res.Code != ldapmsg.Success {
			t.Errorf("%q, scope %d: %d entries, want %d", x.base, x.scope, len(list), x.want)
		}
	}
}

func TestFiltersAreDecidedInThreeValues(t *testing.T) {
	s := stand(t)
	sign, enc := s.Pair(zhang(), true)
	s.publish()
	serial, issuer := sign.Serial.String(), `CN=测试 CA,O=虎符,C=CN`
	colons := strings.Join(slices.Collect(pairs(sign.SerialHex())), ":")
	sub := func(attr string, parts ...ldapmsg.Part) ldapmsg.Filter {
		return ldapmsg.Filter{Kind: ldapmsg.Substr, Attr: attr, Parts: parts}
	}
	rule := func(rule, attr, value string) ldapmsg.Filter {
		return ldapmsg.Filter{Kind: ldapmsg.Match, Rule: rule, Attr: attr, Value: value}
	}
	order := func(k ldapmsg.Kind) ldapmsg.Filter { return ldapmsg.Filter{Kind: k, Attr: "cn", Value: "张"} }
	and := func(of ...ldapmsg.Filter) ldapmsg.Filter { return ldapmsg.Filter{Kind: ldapmsg.And, Of: of} }
	or := func(of ...ldapmsg.Filter) ldapmsg.Filter { return ldapmsg.Filter{Kind: ldapmsg.Or, Of: of} }
	const all = 8
	for what, x := range map[string]struct {
		f    ldapmsg.Filter
		want int
	}{
		"serial with colons":               {is("serialNumber", colons), 1},
		"serial by OID":                    {is("2.5.4.5", sign.SerialHex()), 1},
		"another serial":                   {is("serialNumber", hex.EncodeToString(vatest.Serial())), 0},
		"exact":                            {is("userCertificate;binary", `{ serialNumber `+serial+`, issuer rdnSequence:"`+issuer+`" }`), 1},
		"exact, the issuer first":          {is("userCertificate", `{issuer rdnSequence:"`+issuer+`",serialNumber `+serial+`}`), 1},
		"exact, as older clients write it": {is("userCertificate", enc.Serial.String()+"$"+issuer), 1},
		"exact, the certificate itself":    {is("userCertificate;binary", string(enc.Raw)), 1},
		"exact by rule":                    {rule("certificateExactMatch", "userCertificate", serial+"$"+issuer), 1},
		"exact, another issuer":            {is("userCertificate", `{ serialNumber `+serial+`, issuer rdnSequence:"CN=其他,C=CN" }`), 0},
		"exact of a CA":                    {is("cACertificate;binary", s.CA.Serial.String()+"$"+issuer), 1},
		"a CA's is not a user's":           {is("userCertificate", s.CA.Serial.String()+"$"+issuer), 0},
		"exact that cannot be read":        {not(is("userCertificate", "x")), 0},
		"certificates":                     {has("userCertificate;binary"), 1},
		"CA certificates":                  {has("cacertificate"), 1},
		"lists":                            {has("certificateRevocationList;binary"), 0},
		"class":                            {is("objectClass", "PKIUser"), 1},
		"not a class":                      {not(is("objectClass", "pkiUser")), all - 1},
		"both":                             {and(is("cn", "张三"), is("ou", "办公室")), 1},
		"one of two":                       {and(is("cn", "张三"), is("ou", "财务")), 0},
		"either":                           {or(is("cn", "张三"), is("cn", "测试 CA")), 2},
		"either, one without an index":     {or(is("cn", "张三"), is("ou", "users")), 2},
		"nothing asked":                    {and(), all},
		"none allowed":                     {or(), 0},
		"blanks and case":                  {is("CN", "  测试   ca "), 1},
		"begins":                           {sub("cn", ldapmsg.Part{At: 0x80, Value: "张"}), 1},
		"contains and ends":                {sub("cn", ldapmsg.Part{At: 0x81, Value: "试"}, ldapmsg.Part{At: 0x82, Value: "ca"}), 1},
		"ends with what it begins":         {sub("cn", ldapmsg.Part{At: 0x80, Value: "张三"}, ldapmsg.Part{At: 0x82, Value: "三"}), 0},
		"part of a serial":                 {sub("serialNumber", ldapmsg.Part{At: 0x80, Value: strings.ToLower(sign.SerialHex()[:9])}), 1},
		"part of a certificate":            {not(sub("userCertificate", ldapmsg.Part{At: 0x80, Value: "0"})), 0},
		"greater":                          {order(ldapmsg.Greater), 0},
		"not less":                         {not(order(ldapmsg.Less)), 0},
		"like":                             {ldapmsg.Filter{Kind: ldapmsg.Approx, Attr: "cn", Value: "张三"}, 1},
		"by rule":                          {rule("caseIgnoreMatch", "cn", "张三"), 1},
		"by a rule cn does not have":       {rule("1.2.3", "cn", "张三"), 0},
		"not by a rule cn does not have":   {not(rule("1.2.3", "cn", "张三")), 0},
		"not an unknown attribute":         {not(is("shoeSize", "43")), 0},
		"unknown or true":                  {or(is("shoeSize", "43"), is("cn", "张三")), 1},
		"not (unknown and false)":          {not(and(is("shoeSize", "43"), is("cn", "没有"))), all},
		"not one of a known attribute":     {not(is("mail", "a@b")), all},
	} {
		if list := s.under(x.f); len(list) != x.want {
			t.Errorf("%s %s: %d entries, want %d", what, x.f, len(list), x.want)
		}
	}
}

func pairs(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 2 && yield(s[:2]) {
			s = s[2:]
		}
		yield(s)
	}
}

// Whoever shares a name with many others is found page by page, and an answer
// ends when its time is over.
func TestBoundsOfASearch(t *testing.T) {
	s := stand(t)
	for range 5 {
		s.Pair(zhang(), true)
	}
	s.publish()
	for _, f := range []ldapmsg.Filter{is("cn", "张三"), is("ou", "办公室")} {
		q := ldapmsg.Query{Base: "C=CN", Scope: ldapmsg.Sub, Filter: f}
		var from uint32
		given, pages := 0, 0
		for {
			res, err := s.Search(t.Context(), q, from, 2, func([]byte) error { given++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if pages++; res.Code == ldapmsg.Success {
				break
			}
			if res.Code != ldapmsg.SizeLimit || res.Next <= from {
				t.Fatalf("%+v", res)
			}
			from = res.Next
		}
		if given != 5 || pages != 3 {
			t.Errorf("%s: %d entries on %d pages", f, given, pages)
		}
		late, cancel := context.WithCancel(t.Context())
		cancel()
		if res, err := s.Search(late, q, 0, 10, func([]byte) error { return nil }); err != nil || res.Code != ldapmsg.TimeLimit {
			t.Errorf("%s, late: %+v %v", f, res, err)
		}
	}
	if res, err := s.Search(t.Context(), ldapmsg.Query{Base: "C=CN", Scope: ldapmsg.Sub, Filter: has("cn")}, 1<<31, 10, func([]byte) error { return nil }); err != nil || res.Code != ldapmsg.Unwilling {
		t.Errorf("from a place there is none: %+v %v", res, err)
	}
}
