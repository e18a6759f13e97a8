package ldapserver_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// entry is one that ldapsearch printed.
type entry struct {
	dn    string
	attrs map[string][]string
}

func (e entry) one(attr string) string {
	if len(e.attrs[attr]) != 1 {
		return fmt.Sprintf("%d values of %s", len(e.attrs[attr]), attr)
	}
	return e.attrs[attr][0]
}

// ldapsearch runs Debian's client and returns what it printed and its result
// code, which is its exit status.
func ldapsearch(t testing.TB, url string, args ...string) ([]entry, int) {
	t.Helper()
	if _, err := exec.LookPath("ldapsearch"); err != nil {
		t.Skip("ldapsearch is not here; ./test.sh installs it")
	}
	cmd := exec.Command("ldapsearch", append([]string{"-x", "-LLL", "-o", "ldif-wrap=no", "-o", "nettimeout=5", "-H", url}, args...)...)
	cmd.Env = []string{"LDAPNOINIT=1", "LC_ALL=C.UTF-8"}
	out, err := cmd.Output()
	var code *exec.ExitError
	if err != nil && !errors.As(err, &code) {
		t.Fatal(err)
	}
	if code != nil {
		return ldif(t, string(out)), code.ExitCode()
	}
	return ldif(t, string(out)), 0
}

func ldif(t testing.TB, text string) (list []entry) {
	t.Helper()
	for _, block := range strings.Split(text, "\n\n") {
		e := entry{attrs: map[string][]string{}}
		for _, line := range strings.Split(block, "\n") {
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.HasPrefix(line, "#") {
				continue
			}
			if b64, ok := strings.CutPrefix(value, ":"); ok {
				raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(b64))
				if err != nil {
					t.Fatal(err)
				}
				value = string(raw)
			} else {
				value = strings.TrimPrefix(value, " ")
			}
			if name == "dn" {
				e.dn = value
			} else {
				e.attrs[name] = append(e.attrs[name], value)
			}
		}
		if e.dn != "" || len(e.attrs) > 0 {
			list = append(list, e)
		}
	}
	return list
}

func names(list []entry) (names []string) {
	for _, e := range list {
		names = append(names, e.dn)
	}
	slices.Sort(names)
	return names
}

func TestLdapsearchFindsByEveryFilter(t *testing.T) {
	v := build(t)
	sn := v.sign.SerialHex()
	exact := `{ serialNumber ` + v.sign.Serial.String() + `, issuer rdnSequence:"CN=测试 CA,O=虎符,C=CN" }`
	const total = 14
	for _, x := range []struct {
		filter string
		want   int
	}{
		{"(cn=张三)", 1}, {"(cn=䶮䶮)", 1}, {"(cn=㐂子)", 1}, {"(cn=𠮷野)", 1}, {"(cn=隐名)", 0},
		{"(serialNumber=" + sn + ")", 1}, {"(serialNumber=" + strings.ToLower(sn) + ")", 1}, {"(serialNumber=00)", 0},
		{"(userCertificate;binary=*)", 5}, {"(userCertificate=*)", 5}, {"(userCertificate;binary=" + exact + ")", 1}, {"(userCertificate:certificateExactMatch:=" + exact + ")", 1},
		{"(userCertificate;binary=" + escaped(v.enc.Raw) + ")", 1},
		{"(cACertificate;binary=*)", 1}, {"(certificateRevocationList;binary=*)", 1}, {"(authorityRevocationList;binary=*)", 1},
		{"(objectClass=*)", total}, {"(objectClass=pkiUser)", 5}, {"(objectClass=cRLDistributionPoint)", 2}, {"(objectClass=pkiCA)", 1},
		{"(&(objectClass=pkiUser)(cn=张三))", 1}, {"(|(cn=张三)(cn=㐂子))", 2}, {"(!(objectClass=pkiUser))", total - 5}, {"(&(cn=*)(!(cn=张三)))", 7},
		{"(cn=张*)", 1}, {"(cn=*三)", 1}, {"(cn=网*号)", 1}, {"(cn=*,*)", 1}, {"(mail=ZS@example.cn)", 4},
		{"(cn>=张三)", 0}, {"(cn<=张三)", 0}, {"(cn~=张三)", 1}, {"(!(shoeSize=43))", 0}, {"(hufuCertificateStatus=" + sn + " good)", 1},
	} {
		list, code := ldapsearch(t, v.url, "-b", "C=CN", x.filter, "1.1")
		if len(list) != x.want || code != 0 {
			t.Errorf("%s: %d entries, want %d, result %d", x.filter, len(list), x.want, code)
		}
	}
}

func escaped(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%02x`, c)
	}
	return s.String()
}

func TestLdapsearchReadsByNameInEveryScope(t *testing.T) {
	v := build(t)
	name := "CN=张三+serialNumber=" + v.sign.SerialHex() + ",OU=Users,O=虎符,C=CN"
	for _, base := range []string{name, strings.ToLower(name), "serialNumber=" + v.sign.SerialHex() + "+CN=张三, OU=Users, O=虎符, C=CN"} {
		list, code := ldapsearch(t, v.url, "-s", "base", "-b", base)
		if code != 0 || len(list) != 1 || list[0].dn != name {
			t.Fatalf("%s: %v, result %d", base, names(list), code)
		}
		got := list[0].attrs["userCertificate;binary"]
		if len(got) != 2 || !slices.Contains(got, string(v.sign.Raw)) || !slices.Contains(got, string(v.enc.Raw)) {
			t.Errorf("%d certificates", len(got))
		}
	}
	for _, x := range []struct {
		scope, base string
		want, code  int
	}{
		{"base", "C=CN", 1, 0}, {"one", "C=CN", 1, 0}, {"sub", "C=CN", 14, 0}, {"one", "OU=Users,O=虎符,C=CN", 5, 0}, {"sub", "OU=Users,O=虎符,C=CN", 6, 0},
		{"base", "CN=crl3,OU=CRL,O=虎符,C=CN", 1, 0}, {"base", "CN=arl,OU=ARL,O=虎符,C=CN", 1, 0},
		{"sub", "O=别处,C=CN", 0, 32}, {"sub", "C=US", 0, 32}, {"base", "nonsense", 0, 34},
	} {
		if list, code := ldapsearch(t, v.url, "-s", x.scope, "-b", x.base, "1.1"); len(list) != x.want || code != x.code {
			t.Errorf("%s of %s: %d entries, result %d", x.scope, x.base, len(list), code)
		}
	}
	everything, _ := ldapsearch(t, v.url, "-b", "C=CN", "1.1")
	for _, n := range names(everything) {
		if n != "C=CN" && !strings.HasSuffix(n, ",C=CN") {
			t.Errorf("C=CN is no ancestor of %s", n)
		}
	}
}

func TestLdapsearchChoosesAttributes(t *testing.T) {
	v := build(t)
	for _, x := range []struct {
		ask  []string
		want []string // names of the attributes that come
	}{
		{[]string{"cn"}, []string{"cn"}}, {[]string{"CN", "SN"}, []string{"cn", "sn"}}, {[]string{"2.5.4.3"}, []string{"cn"}}, {[]string{"surname"}, []string{"sn"}},
		{[]string{"userCertificate"}, []string{"userCertificate;binary"}}, {[]string{"usercertificate;binary", "cn"}, []string{"cn", "userCertificate;binary"}},
		{[]string{"1.1"}, nil}, {[]string{"+"}, nil}, {[]string{"shoeSize"}, nil}, {[]string{"1.1", "cn"}, []string{"cn"}},
		{[]string{"*"}, []string{"c", "cn", "hufuCertificateStatus", "hufuProfile", "l", "mail", "o", "objectClass", "ou", "serialNumber", "sn", "st", "userCertificate;binary"}},
	} {
		list, _ := ldapsearch(t, v.url, append([]string{"-b", "C=CN", "(cn=张三)"}, x.ask...)...)
		if len(list) != 1 {
			t.Fatalf("%v: %d entries", x.ask, len(list))
		}
		var got []string
		for a := range list[0].attrs {
			got = append(got, a)
		}
		if slices.Sort(got); !slices.Equal(got, x.want) {
			t.Errorf("%v: %v", x.ask, got)
		}
	}
	list, _ := ldapsearch(t, v.url, "-A", "-b", "C=CN", "(cn=张三)", "cn", "serialNumber")
	if len(list) != 1 || list[0].one("cn") != "" || list[0].one("serialNumber") != "" {
		t.Errorf("types only: %v", list)
	}
	list, _ = ldapsearch(t, v.url, "-b", "CN=crl3,OU=CRL,O=虎符,C=CN", "(certificateRevocationList=*)", "certificateRevocationList")
	if len(list) != 1 || list[0].one("certificateRevocationList;binary") != string(v.list) {
		t.Error("the list is not the one that was signed")
	}
	list, _ = ldapsearch(t, v.url, "-b", "C=CN", "(objectClass=pkiCA)", "cACertificate;binary", "serialNumber")
	if len(list) != 1 || list[0].one("cACertificate;binary") != string(v.CA.Raw) || list[0].one("serialNumber") != v.CA.SerialHex() {
		t.Error("the CA's certificate is not the one on record")
	}
}

func TestTheServerSaysWhatItIs(t *testing.T) {
	v := build(t)
	for _, attrs := range [][]string{nil, {"+"}, {"namingContexts", "supportedControl", "supportedLDAPVersion", "subschemaSubentry"}} {
		list, code := ldapsearch(t, v.url, append([]string{"-s", "base", "-b", "", "(objectClass=*)"}, attrs...)...)
		if code != 0 || len(list) != 1 {
			t.Fatalf("%d entries, result %d", len(list), code)
		}
		for attr, want := range map[string]string{"namingContexts": "C=CN", "supportedControl": "1.2.840.113556.1.4.319", "supportedLDAPVersion": "3", "subschemaSubentry": "cn=subschema"} {
			if got := list[0].one(attr); got != want {
				t.Errorf("%v: %s: %s", attrs, attr, got)
			}
		}
	}
	if list, code := ldapsearch(t, v.url, "-s", "base", "-b", "", "(objectClass=person)"); len(list) != 0 || code != 0 {
		t.Errorf("a filter it does not match: %v, result %d", list, code)
	}
	list, code := ldapsearch(t, v.url, "-s", "base", "-b", "cn=Subschema", "(objectClass=subschema)", "attributeTypes", "objectClasses")
	if code != 0 || len(list) != 1 {
		t.Fatalf("schema: %d entries, result %d", len(list), code)
	}
	everything, _ := ldapsearch(t, v.url, "-b", "C=CN")
	schema := strings.Join(slices.Concat(list[0].attrs["attributeTypes"], list[0].attrs["objectClasses"]), "\n")
	for _, e := range everything {
		for a := range e.attrs {
			if name, _, _ := strings.Cut(a, ";"); !strings.Contains(schema, "'"+name+"'") {
				t.Errorf("the schema has no %s", a)
			}
		}
		for _, c := range e.attrs["objectClass"] {
			if !strings.Contains(schema, "NAME '"+c+"'") {
				t.Errorf("the schema has no class %s", c)
			}
		}
	}
}

func TestLdapsearchTurnsPages(t *testing.T) {
	d := serve(t, 0)
	for i := range 7 {
		d.Issue("人"+strconv.Itoa(i), true)
	}
	d.publish()
	for _, page := range []int{1, 2, 3, 7, 100} {
		list, code := ldapsearch(t, d.url, "-b", "C=CN", "-E", fmt.Sprintf("pr=%d/noprompt", page), "(objectClass=pkiUser)", "1.1")
		if code != 0 || len(slices.Compact(names(list))) != 7 {
			t.Errorf("pages of %d: %d entries, result %d", page, len(list), code)
		}
	}
	for _, x := range []struct{ limit, page, want, code int }{{3, 2, 3, 4}, {2, 2, 2, 4}, {2, 5, 2, 4}, {7, 2, 7, 0}, {9, 2, 7, 0}, {6, 3, 6, 4}, {3, 0, 3, 4}, {7, 0, 7, 0}} {
		args := []string{"-b", "C=CN", "-z", strconv.Itoa(x.limit)}
		if x.page > 0 {
			args = append(args, "-E", fmt.Sprintf("pr=%d/noprompt", x.page))
		}
		if list, code := ldapsearch(t, d.url, append(args, "(objectClass=pkiUser)", "1.1")...); len(list) != x.want || code != x.code {
			t.Errorf("at most %d by %d: %d entries, result %d", x.limit, x.page, len(list), code)
		}
	}
}

// A stranger gets a thousand entries at once, and more only page by page.
func TestStrangersGetNoMoreThanAThousandAtOnce(t *testing.T) {
	d := serve(t, 0)
	d.crowd(1200)
	if list, code := ldapsearch(t, d.url, "-b", "C=CN", "1.1"); len(list) != 1000 || code != 4 {
		t.Errorf("%d entries, result %d", len(list), code)
	}
	if list, code := ldapsearch(t, d.url, "-b", "C=CN", "-E", "pr=5000/noprompt", "1.1"); len(list) != 1200+7 || code != 0 {
		t.Errorf("by pages: %d entries, result %d", len(list), code)
	}
}

func TestBindsThatAreNotAnonymousAreRefused(t *testing.T) {
	v := build(t)
	for what, x := range map[string]struct {
		args []string
		code int
	}{
		"anonymous":        {nil, 0},
		"a password":       {[]string{"-D", "cn=admin,C=CN", "-w", "secret"}, 49},
		"without password": {[]string{"-D", "cn=admin,C=CN"}, 53},
		"LDAPv2":           {[]string{"-P", "2"}, 2},
		"StartTLS":         {[]string{"-ZZ"}, 1},
	} {
		if list, code := ldapsearch(t, v.url, append(x.args, "-b", "C=CN", "(cn=张三)", "1.1")...); code != x.code || (code == 0) != (len(list) == 1) {
			t.Errorf("%s: %d entries, result %d, want %d", what, len(list), code, x.code)
		}
	}
}

// Writers are told that this is not the place, and nothing changes.
func TestTheDirectoryIsReadOnly(t *testing.T) {
	v := build(t)
	name := "CN=张三+serialNumber=" + v.sign.SerialHex() + ",OU=Users,O=虎符,C=CN"
	before, _ := ldapsearch(t, v.url, "-b", "C=CN")
	for _, x := range []struct {
		tool, input string
		args        []string
		code        int
	}{
		{"ldapadd", "dn: O=x,C=CN\nobjectClass: organization\no: x\n", nil, 53},
		{"ldapmodify", "dn: C=CN\nchangetype: modify\nreplace: c\nc: US\n", nil, 53},
		{"ldapdelete", "", []string{name}, 53},
		{"ldapmodrdn", "", []string{name, "CN=李四"}, 53},
		{"ldapcompare", "", []string{"C=CN", "c:CN"}, 53},
		{"ldapexop", "", []string{"1.3.6.1.4.1.4203.1.11.3"}, 2}, // who am I
		{"ldappasswd", "", []string{"-s", "new", name}, 2},
	} {
		if _, err := exec.LookPath(x.tool); err != nil {
			t.Skipf("%s is not here; ./test.sh installs it", x.tool)
		}
		cmd := exec.Command(x.tool, append([]string{"-x", "-H", v.url}, x.args...)...)
		cmd.Stdin, cmd.Env = strings.NewReader(x.input), []string{"LDAPNOINIT=1"}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != x.code && !strings.Contains(string(out), fmt.Sprintf("(%d)", x.code)) {
			t.Errorf("%s: %v %s", x.tool, err, out)
		}
	}
	if after, _ := ldapsearch(t, v.url, "-b", "C=CN"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("something changed")
	}
}

func TestCriticalControlsWeDoNotKnowAreRefused(t *testing.T) {
	v := build(t)
	if _, code := ldapsearch(t, v.url, "-E", "!sss=cn", "-b", "C=CN", "(cn=张三)"); code != 12 {
		t.Errorf("critical: result %d", code)
	}
	if list, code := ldapsearch(t, v.url, "-E", "sss=cn", "-b", "C=CN", "(cn=张三)"); code != 0 || len(list) != 1 {
		t.Errorf("not critical: result %d", code)
	}
}

func TestLdapsearchSeesARevocationWithinASecond(t *testing.T) {
	v := build(t)
	v.Revoke(v.sign, 1)
	v.publish()
	told := time.Now()
	list, _ := ldapsearch(t, v.url, "-b", "C=CN", "(serialNumber="+v.sign.SerialHex()+")", "hufuCertificateStatus")
	if len(list) != 1 || !strings.Contains(strings.Join(list[0].attrs["hufuCertificateStatus"], "\n"), v.sign.SerialHex()+" revoked 1 ") {
		t.Errorf("%v", list)
	}
	if d := time.Since(told); d > time.Second {
		t.Error(d)
	}
}
