package ldapserver_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory"
)

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
attributetype ( 2.999.1.3.1 NAME 'hufuCertificateStatus' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 2.999.1.3.2 NAME 'hufuProfile' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 2.999.1.3.3 NAME 'hufuCertificateHolder' SUP top AUXILIARY MAY ( serialNumber $ hufuCertificateStatus $ hufuProfile $ c $ o ) )
loglevel 0
pidfile %[1]s/slapd.pid
database mdb
suffix "C=CN"
directory %[1]s/db
`

// slapd loads everything the directory has into OpenLDAP, which checks it
// against its own schema, and serves it.
func (d *desk) slapd() string {
	t := d.T
	t.Helper()
	tool := func(name string) string {
		for _, p := range []string{name, "/usr/sbin/" + name} {
			if p, err := exec.LookPath(p); err == nil {
				return p
			}
		}
		t.Skipf("%s is not here; ./test.sh installs it", name)
		return ""
	}
	slapd, slapadd, dir := tool("slapd"), tool("slapadd"), t.TempDir()
	conf, ldif := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "all.ldif")
	for name, data := range map[string]string{conf: fmt.Sprintf(slapdConf, dir), ldif: d.ldif()} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(slapadd, "-f", conf, "-l", ldif).CombinedOutput(); err != nil {
		t.Fatalf("OpenLDAP does not take our entries: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(slapd, "-f", conf, "-h", "ldap://"+addr, "-d", "0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return "ldap://" + addr
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("slapd does not answer")
	return ""
}

func (d *desk) ldif() string {
	d.T.Helper()
	var b strings.Builder
	everything := ldapmsg.Query{Base: "C=CN", Scope: ldapmsg.Sub, Filter: ldapmsg.Filter{Kind: ldapmsg.Present, Attr: "objectClass"}}
	_, err := d.dir.Search(d.T.Context(), everything, 0, directory.SizeMax, func(body []byte) error {
		name, attrs, err := ldapmsg.ReadEntry(body)
		fmt.Fprintf(&b, "dn:: %s\n", base64.StdEncoding.EncodeToString([]byte(name)))
		for _, a := range attrs {
			for _, v := range a.Values {
				fmt.Fprintf(&b, "%s:: %s\n", a.Type, base64.StdEncoding.EncodeToString(v))
			}
		}
		b.WriteString("\n")
		return err
	})
	if err != nil {
		d.T.Fatal(err)
	}
	return b.String()
}

// picture brings an answer into a form in which order does not count.
func picture(list []entry) string {
	var lines []string
	for _, e := range list {
		dn := strings.Split(strings.ReplaceAll(strings.ToLower(e.dn), `\2c`, `\,`), ",")
		rdn := strings.Split(dn[0], "+")
		slices.Sort(rdn)
		line := strings.Join(rdn, "+") + "," + strings.Join(dn[1:], ",")
		for _, a := range slices.Sorted(maps.Keys(e.attrs)) {
			values := slices.Clone(e.attrs[a])
			slices.Sort(values)
			line += fmt.Sprintf(" %s=%x", a, values)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// OpenLDAP, given the same entries, gives the same answers. (It finds none of
// these certificates by certificateExactMatch, so that is left to ldapsearch alone.)
func TestOpenLDAPAnswersTheSame(t *testing.T) {
	v := build(t)
	v.Revoke(v.sign, 1)
	v.publish()
	theirs := v.slapd()
	sn := v.sign.SerialHex()
	name := "CN=张三+serialNumber=" + sn + ",OU=Users,O=虎符,C=CN"
	searches := [][]string{
		{"-s", "base", "-b", name}, {"-s", "base", "-b", strings.ToLower(name)}, {"-s", "base", "-b", name, "(cn=李四)"},
		{"-s", "base", "-b", "serialNumber=" + sn + "+cn=张三, ou=users, o=虎符, c=cn"}, {"-s", "base", "-b", `CN=\e5\bc\a0\E4\B8\89+serialNumber=` + sn + ",OU=Users,O=虎符,C=CN"},
		{"-s", "one", "-b", "C=CN"}, {"-s", "one", "-b", "O=虎符,C=CN"}, {"-s", "sub", "-b", "C=CN"}, {"-s", "sub", "-b", "OU=Users,O=虎符,C=CN"},
		{"-s", "base", "-b", "CN=crl3,OU=CRL,O=虎符,C=CN", "(objectClass=cRLDistributionPoint)", "certificateRevocationList"},
		{"-b", "O=别处,C=CN"}, {"-b", "C=US"}, {"-b", "nonsense"}, {"-s", "base", "-b", "CN=没有,OU=Users,O=虎符,C=CN"},
		{"-b", "C=CN", "(cn=张三)", "cn"}, {"-b", "C=CN", "(cn=张三)", "userCertificate"}, {"-b", "C=CN", "(cn=张三)", "userCertificate;binary"}, {"-b", "C=CN", "(cn=张三)", "1.1"},
		{"-b", "C=CN", "(cn=张三)", "1.1", "cn"}, {"-b", "C=CN", "(cn=张三)", "shoeSize"}, {"-b", "C=CN", "(cn=张三)", "*"}, {"-A", "-b", "C=CN", "(cn=张三)", "cn", "serialNumber"},
		{"-b", "C=CN", "-E", "pr=3/noprompt", "(objectClass=*)", "cn"}, {"-b", "C=CN", "-E", "!sss=cn", "(cn=张三)"}, {"-D", "cn=admin,C=CN", "-b", "C=CN"},
		{"-D", "cn=admin,C=CN", "-w", "secret", "-b", "C=CN"}, {"-s", "base", "-b", "", "(objectClass=*)", "supportedLDAPVersion"},
	}
	for _, f := range []string{
		"(cn=䶮䶮)", "(cn=㐂子)", "(cn=𠮷野)", "(cn=隐名)", "(cn=  网关,   一号 )", "(serialNumber=" + sn + ")", "(serialNumber=" + strings.ToLower(sn) + ")", "(2.5.4.5=" + sn + ")",
		"(userCertificate;binary=*)", "(userCertificate=*)", "(userCertificate;binary={ serialNumber 1, issuer rdnSequence:\"C=CN\" })", "(userCertificate;binary=x)", "(!(userCertificate;binary=x))",
		"(cACertificate;binary=*)", "(certificateRevocationList;binary=*)", "(authorityRevocationList;binary=*)",
		"(objectClass=pkiUser)", "(objectClass=PKICA)", "(objectClass=nothing)", "(!(objectClass=pkiUser))", "(objectClass=pki*)",
		"(&(objectClass=pkiUser)(cn=张三))", "(|(cn=张三)(cn=㐂子))", "(|(cn=张三)(ou=users))", "(&(cn=*)(!(cn=张三)))", "(&)", "(|)",
		"(cn=张*)", "(cn=*三)", "(cn=网*号)", "(cn=*a*)", "(serialNumber=" + strings.ToLower(sn[:8]) + "*)", "(mail=ZS@EXAMPLE.CN)", "(mail=*@example.cn)",
		"(cn>=张三)", "(cn<=张三)", "(!(cn>=张三))", "(shoeSize=43)", "(!(shoeSize=43))", "(|(shoeSize=43)(cn=张三))", "(!(&(shoeSize=43)(cn=没有)))",
		"(cn:caseIgnoreMatch:=张三)", "(cn:1.2.3:=张三)", "(!(cn:1.2.3:=张三))", "(hufuCertificateStatus=" + sn + " revoked*)", "(commonName=张三)", "(userCertificate=a*)",
	} {
		searches = append(searches, []string{"-b", "C=CN", f})
	}
	for _, args := range searches {
		want, wantCode := ldapsearch(t, theirs, args...)
		got, code := ldapsearch(t, v.url, args...)
		if code != wantCode {
			t.Errorf("%q: result %d, OpenLDAP says %d", args, code, wantCode)
		}
		if g, w := picture(got), picture(want); g != w {
			t.Errorf("%q:\nours: %.600s\nOpenLDAP: %.600s", args, g, w)
		}
	}
	for _, args := range [][]string{{"-z", "3"}, {"-z", "3", "-E", "pr=2/noprompt"}, {"-z", "2", "-E", "pr=5/noprompt"}} {
		args = append(args, "-b", "C=CN", "1.1")
		want, wantCode := ldapsearch(t, theirs, args...)
		if got, code := ldapsearch(t, v.url, args...); len(got) != len(want) || code != wantCode {
			t.Errorf("%q: %d entries and result %d, OpenLDAP has %d and %d", args, len(got), code, len(want), wantCode)
		}
	}
}
