package ldappush_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldappush"
	"github.com/hufu-pki/hufu/pki/directory/ldaptest"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// town is a ledger, the directory that follows it, and an OpenLDAP server that
// is to have the same.
type town struct {
	*vatest.World
	*ldaptest.Slapd
	t     testing.TB
	model *directory.Directory
	file  string
	pub   *ldappush.Publisher
}

func build(t testing.TB) *town {
	t.Helper()
	v := &town{World: vatest.New(t, time.Now), Slapd: ldaptest.Start(t), t: t, file: filepath.Join(t.TempDir(), "position")}
	var err error
	if v.model, err = directory.Open(t.TempDir(), time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.model.Close() })
	v.reopen()
	return v
}

func (v *town) server() ldappush.Server {
	return ldappush.Server{URL: v.Slapd.URL, Bind: ldaptest.Bind, PassFile: v.PassFile}
}

// reopen is what a new process does.
func (v *town) reopen() {
	v.t.Helper()
	v.pub = &ldappush.Publisher{Model: v.model, Ledger: *v.Follower(), Server: v.server(), File: v.file, Now: time.Now}
	if err := v.pub.Start(); err != nil {
		v.t.Fatal(err)
	}
}

// read has the directory read the ledger.
func (v *town) read() {
	v.t.Helper()
	v.Seal()
	f := v.Follower()
	f.At = v.model.At()
	run, err := f.Next(v.t.Context())
	if err == nil {
		err = v.model.Apply(v.t.Context(), f.Source, run)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *town) publish() {
	v.t.Helper()
	v.read()
	if err := v.pub.Publish(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
}

func person(cn string) dn.Name {
	return dn.Name{C: "CN", ST: "北京市", L: "北京市", O: "某某局", OU: dn.Units{"办公室", "办公室"}, E: "zs@example.cn", CN: cn}
}

// all asks the server as a stranger would.
func (v *town) all(base, filter string, attrs ...string) []*ldap.Entry {
	v.t.Helper()
	conn, err := ldap.DialURL(v.Slapd.URL)
	if err != nil {
		v.t.Fatal(err)
	}
	defer conn.Close()
	res, err := conn.SearchWithPaging(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, attrs, nil), 200)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.Entries
}

// status is what the server says of each certificate, by serial.
func (v *town) status() map[string]string {
	says := map[string]string{}
	for _, e := range v.all("C=CN", "(objectClass=pkiUser)", "hufuCertificateStatus") {
		for _, line := range e.GetAttributeValues("hufuCertificateStatus") {
			serial, what, _ := strings.Cut(line, " ")
			if says[serial] != "" {
				v.t.Errorf("%s stands there twice", serial)
			}
			says[serial], _, _ = strings.Cut(what, " ")
		}
	}
	return says
}

// same fails unless server and directory are the same, entry by entry.
func (v *town) same() {
	v.t.Helper()
	r, err := v.pub.Check(v.t.Context(), false)
	if err != nil || r.Found != 0 {
		v.t.Errorf("%v; %d disagree: %+v", err, r.Found, r.Findings)
	}
}

func (v *town) check(repair bool) ldappush.Report {
	v.t.Helper()
	r, err := v.pub.Check(v.t.Context(), repair)
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

func TestEverythingPublicComesToTheServer(t *testing.T) {
	v := build(t)
	var pairs [][2]*cert.Certificate
	for i := range 90 {
		sign, enc := v.Pair(person(fmt.Sprintf("样例 %d, 某+某", i)), true)
		pairs = append(pairs, [2]*cert.Certificate{sign, enc})
	}
	for i := range 20 {
		v.Issue(fmt.Sprint("网关 #", i), true)
	}
	hidden, _ := v.Pair(person("隐名"), false)
	full, shard, arl := v.CRL("full", 1), v.CRL("shard-3", 2), v.CRL("arl", 3)
	began := time.Now()
	v.publish()
	t.Logf("200 certificates on %d entries in %v", v.pub.Stats.Written.Load(), time.Since(began))
	v.Revoke(pairs[7][0], 1)
	v.Revoke(pairs[8][1], 6)
	newer, delta := v.CRL("full", 4), v.CRL("delta-shard-3", 5)
	began = time.Now()
	v.publish()
	t.Logf("a revocation and a list in %v", time.Since(began))

	says := v.status()
	if len(says) != 200 || says[pairs[7][0].SerialHex()] != "revoked" || says[pairs[7][1].SerialHex()] != "good" || says[pairs[8][1].SerialHex()] != "revoked" {
		t.Errorf("%d certificates; %s", len(says), says[pairs[7][0].SerialHex()])
	}
	if says[hidden.SerialHex()] != "" || len(v.all("C=CN", "(cn=隐名)")) != 0 {
		t.Error("what is published as a digest is there")
	}
	e := v.all("C=CN", "(serialNumber="+pairs[3][1].SerialHex()+")")
	if len(e) != 1 {
		t.Fatalf("%d entries of a pair", len(e))
	}
	both := e[0].GetAttributeValues("userCertificate;binary")
	if len(both) != 2 || !slices.Contains(both, string(pairs[3][0].Raw)) || !slices.Contains(both, string(pairs[3][1].Raw)) {
		t.Errorf("%d certificates of a pair", len(both))
	}
	for _, x := range []struct{ name, attr, want string }{
		{"CN=crl,OU=CRL,O=虎符,C=CN", "certificateRevocationList;binary", string(newer)}, {"CN=crl3,OU=CRL,O=虎符,C=CN", "certificateRevocationList;binary", string(shard)},
		{"CN=crl3,OU=CRL,O=虎符,C=CN", "deltaRevocationList;binary", string(delta)}, {"CN=arl,OU=ARL,O=虎符,C=CN", "authorityRevocationList;binary", string(arl)},
		{"CN=测试 CA,OU=CA,O=虎符,C=CN", "cACertificate;binary", string(v.CA.Raw)},
	} {
		if e := v.all(x.name, "(objectClass=*)"); len(e) != 1 || string(e[0].GetRawAttributeValue(x.attr)) != x.want || string(full) == x.want {
			t.Errorf("%s of %s is another", x.attr, x.name)
		}
	}
	v.same()
}

// The queue is the ledger: what happens while the server is away arrives when
// it is back, also when the publisher was restarted in between.
func TestAServerThatWasAwayGetsEverything(t *testing.T) {
	v := build(t)
	first, _ := v.Pair(person("张三"), true)
	v.publish()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { v.pub.Run(ctx); close(ended) }()
	v.Stop()
	for i := range 30 {
		v.Pair(person(fmt.Sprint("李四", i)), true)
		v.CRL("full", int64(i+1))
		v.read()
	}
	v.Revoke(first, 4)
	v.read()
	v.pub.Wake()
	waitFor(t, "the failure", func() bool { return v.pub.Stats.Failures.Load() > 0 && v.pub.Queue() > 0 && v.pub.Lag() > 0 })
	v.Again()
	began := time.Now()
	waitFor(t, "the rest", func() bool { return v.pub.Queue() == 0 && v.pub.Lag() == 0 })
	t.Logf("caught up %v after the server was back", time.Since(began))
	cancel()
	<-ended
	if says := v.status(); len(says) != 62 || says[first.SerialHex()] != "revoked" {
		t.Errorf("%d certificates, the first %s", len(says), says[first.SerialHex()])
	}
	v.reopen()
	v.same()
	if n := v.pub.Stats.Written.Load(); n != 0 {
		t.Errorf("a restart wrote %d entries again", n)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("waiting for %s", what)
}

// Killed after the server acknowledged and before the position was kept, the
// publisher writes the same again: nothing changes and nothing is there twice.
func TestAKillBetweenWriteAndPositionDoublesNothing(t *testing.T) {
	v := build(t)
	v.Pair(person("张三"), true)
	v.publish()
	old, err := os.ReadFile(v.file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		sign, _ := v.Pair(person(fmt.Sprint("王五", i)), true)
		v.Revoke(sign, 1)
	}
	v.publish()
	before := v.all("C=CN", "(objectClass=*)")
	if err := os.WriteFile(v.file, old, 0o600); err != nil { // the kill
		t.Fatal(err)
	}
	v.reopen()
	if v.pub.Queue() == 0 {
		t.Fatal("there is nothing to do again")
	}
	if err := v.pub.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := v.pub.Stats.Written.Load(); n != 0 {
		t.Errorf("%d entries were written again", n)
	}
	if after := v.all("C=CN", "(objectClass=*)"); len(after) != len(before) {
		t.Errorf("%d entries, before %d", len(after), len(before))
	}
	v.same()
}

// Entries altered, deleted or invented on the server are named, and restored
// from the ledger; what belongs to others stays.
func TestWhatOthersDidIsFoundAndRestored(t *testing.T) {
	v := build(t)
	sign, enc := v.Pair(person("张三"), true)
	gone, _ := v.Pair(person("李四"), true)
	shaped, _ := v.Pair(person("王五"), true)
	v.Revoke(sign, 1)
	v.CRL("full", 1)
	v.publish()
	users := ",OU=Users,O=虎符,C=CN"
	name := func(cn string, c *cert.Certificate) string {
		return "CN=" + cn + "+serialNumber=" + c.SerialHex() + users
	}
	v.run("ldapmodify", "dn: "+name("张三", sign)+"\nchangetype: modify\nreplace: hufuCertificateStatus\nhufuCertificateStatus: "+sign.SerialHex()+" good\n-\nadd: description\ndescription: x\n-\ndelete: userCertificate;binary\n")
	v.run("ldapdelete", "", name("李四", gone), "CN=crl,OU=CRL,O=虎符,C=CN")
	v.run("ldapdelete", "", name("王五", shaped))
	v.run("ldapadd", "dn: "+name("王五", shaped)+"\nobjectClass: device\nobjectClass: hufuCertificateHolder\ncn: 王五\nserialNumber: "+shaped.SerialHex()+"\n")
	v.run("ldapadd", "dn: cn=冒名"+users+"\nobjectClass: person\ncn: 冒名\nsn: 冒名\n\ndn: ou=Staff,O=虎符,C=CN\nobjectClass: organizationalUnit\nou: Staff\n")

	r := v.check(false)
	kinds := map[string]ldappush.Kind{}
	for _, f := range r.Findings {
		kinds[strings.Replace(f.DN, "ou=Users,o=虎符,c=CN", "OU=Users,O=虎符,C=CN", 1)] = f.Kind
		if f.Repaired || f.Kind == ldappush.Altered && (f.Want == f.Have || len(f.Differ) == 0) {
			t.Errorf("%+v", f)
		}
	}
	want := map[string]ldappush.Kind{
		name("张三", sign): ldappush.Altered, name("李四", gone): ldappush.Missing, name("王五", shaped): ldappush.Altered,
		"CN=crl,OU=CRL,O=虎符,C=CN": ldappush.Missing, "cn=冒名" + users: ldappush.Foreign,
	}
	if len(kinds) != len(want) || r.Found != len(want) || r.Repaired != 0 {
		t.Errorf("found %+v", r)
	}
	for n, k := range want {
		if kinds[n] != k {
			t.Errorf("%s: %q, want %s", n, kinds[n], k)
		}
	}
	if r := v.check(true); r.Found != len(want) || r.Repaired != len(want) {
		t.Errorf("repaired %d of %d: %+v", r.Repaired, r.Found, r.Findings)
	}
	v.same()
	if says := v.status(); says[sign.SerialHex()] != "revoked" || says[enc.SerialHex()] != "good" || says[gone.SerialHex()] != "good" {
		t.Errorf("%v", says)
	}
	if len(v.all("C=CN", "(ou=Staff)")) != 1 {
		t.Error("what belongs to others was deleted")
	}
	if n := v.pub.Stats.Repaired.Load(); n != int64(len(want)) {
		t.Errorf("the figure says %d", n)
	}
}

func (v *town) run(tool, stdin string, args ...string) {
	v.t.Helper()
	if out, err := v.Run(tool, stdin, args...); err != nil {
		v.t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// Neither a stranger nor an administrator of something else changes or deletes
// what is published; who holds the publisher's account can, and Check shows it.
func TestOnlyThePublisherWrites(t *testing.T) {
	v := build(t)
	c, _ := v.Pair(person("张三"), true)
	v.publish()
	v.run("ldapadd", "dn: cn=other,C=CN\nobjectClass: person\ncn: other\nsn: other\nuserPassword: theirs\n")
	name := "CN=张三+serialNumber=" + c.SerialHex() + ",OU=Users,O=虎符,C=CN"
	change := "dn: " + name + "\nchangetype: modify\nreplace: hufuCertificateStatus\nhufuCertificateStatus: x\n"
	other := []string{"-D", "cn=other,C=CN", "-w", "theirs"}
	if out, err := v.RunAs("ldapsearch", "", append(other, "-b", name, "-s", "base")...); err != nil {
		t.Fatalf("the other administrator cannot even read: %s", out)
	}
	for _, who := range [][]string{nil, other} {
		if out, err := v.RunAs("ldapmodify", change, who...); err == nil {
			t.Errorf("%q changed an entry: %s", who, out)
		}
		if out, err := v.RunAs("ldapdelete", "", append(who, name)...); err == nil {
			t.Errorf("%q deleted an entry: %s", who, out)
		}
	}
	v.same()
	v.run("ldapmodify", change)
	if r := v.check(true); r.Found != 1 || r.Repaired != 1 {
		t.Errorf("%+v", r)
	}
	v.same()
}

// An entry with another CA's certificate in our container is named and left.
func TestAnotherCAsEntryIsLeftAlone(t *testing.T) {
	v := build(t)
	v.Pair(person("张三"), true)
	v.publish()
	other := vatest.New(t, time.Now)
	theirs, _ := other.Certify("别家")
	mine, _ := v.Certify("没有上账的")
	neighbour, err := ldap.DialURL(v.Slapd.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer neighbour.Close()
	if err := neighbour.Bind(ldaptest.Bind, ldaptest.Password); err != nil {
		t.Fatal(err)
	}
	for cn, c := range map[string]*cert.Certificate{"没有上账的": mine, "别家": theirs} {
		raw := c.Raw
		if cn == "别家" { // under another name than our test CA's
			raw = rename(raw)
		}
		req := ldap.NewAddRequest("cn="+cn+",OU=Users,O=虎符,C=CN", nil)
		req.Attribute("objectClass", []string{"inetOrgPerson"})
		req.Attribute("cn", []string{cn})
		req.Attribute("sn", []string{cn})
		req.Attribute("userCertificate;binary", []string{string(raw)})
		if err := neighbour.Add(req); err != nil {
			t.Fatal(err)
		}
	}
	r := v.check(true)
	if r.Found != 2 || r.Repaired != 1 {
		t.Errorf("%+v", r)
	}
	if len(v.all("C=CN", "(cn=别家)")) != 1 || len(v.all("C=CN", "(cn=没有上账的)")) != 0 {
		t.Error("the wrong one was deleted")
	}
}

func rename(der []byte) []byte {
	return []byte(strings.ReplaceAll(string(der), "测试 CA", "别家 CA"))
}

// A server emptied behind our back, or another one, is filled from the ledger.
func TestAnEmptiedServerIsFilledAgain(t *testing.T) {
	v := build(t)
	for i := range 20 {
		v.Pair(person(fmt.Sprint("张", i)), true)
	}
	v.publish()
	v.run("ldapdelete", "", "-r", "C=CN")
	if r := v.check(true); r.Found != int(v.model.Len()) || r.Repaired != r.Found {
		t.Errorf("%d found, %d repaired of %d", r.Found, r.Repaired, v.model.Len())
	}
	v.same()
	v.Slapd = ldaptest.Start(t) // the position is another server's
	v.reopen()
	v.publish()
	v.same()
}

// A password does not cross a network in the clear; a server without our
// schema and a wrong password are named before anything is written.
func TestWhatIsWrongWithAServerIsSaid(t *testing.T) {
	v := build(t)
	v.Pair(person("张三"), true)
	v.read()
	for _, x := range []struct {
		change func(*ldappush.Server)
		want   func(error) bool
	}{
		{func(s *ldappush.Server) { s.URL = "ldap://192.0.2.1:389" }, func(err error) bool { return errors.Is(err, ldappush.ErrClear) }},
		{func(s *ldappush.Server) { s.PassFile = filepath.Join(t.TempDir(), "none") }, func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
		{func(s *ldappush.Server) { s.Bind = "cn=nobody,C=CN" }, func(err error) bool { return ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) }},
		{func(s *ldappush.Server) { s.Base = "dc=example" }, func(err error) bool { return err != nil }},
	} {
		s := v.server()
		x.change(&s)
		v.pub.Server = s
		if err := v.pub.Publish(t.Context()); !x.want(err) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// An entry the server's schema has no room for is set aside and named by every
// check; those after it arrive.
func TestARefusedEntryHoldsUpNobody(t *testing.T) {
	v := build(t)
	odd := person("张三")
	odd.E = "张三@example.cn" // mail is ASCII
	bad, _ := v.Pair(odd, true)
	good, _ := v.Pair(person("李四"), true)
	v.publish()
	if says := v.status(); says[good.SerialHex()] != "good" || says[bad.SerialHex()] != "" || v.pub.Stats.Refused.Load() != 1 {
		t.Errorf("%d refused, %v", v.pub.Stats.Refused.Load(), says)
	}
	if r := v.check(true); r.Found != 1 || r.Repaired != 0 || r.Findings[0].Note == "" {
		t.Errorf("%+v", r)
	}
}

// Over TLS from the first octet or from StartTLS on, and to nobody who cannot
// show a certificate that is trusted.
func TestPublishingOverTLS(t *testing.T) {
	v := build(t)
	secure, start, stranger := v.server(), v.server(), v.server()
	secure.URL, secure.TLS = v.Secure, v.TLS
	start.StartTLS, start.TLS = true, v.TLS
	stranger.URL = v.Secure
	for i, s := range []ldappush.Server{secure, start} {
		v.Pair(person(fmt.Sprint("张", i)), true)
		v.pub.Server = s
		v.publish()
	}
	if n := len(v.status()); n != 4 {
		t.Errorf("%d certificates", n)
	}
	v.Pair(person("李四"), true)
	v.read()
	v.reopen()
	v.pub.Server = stranger
	if err := v.pub.Publish(t.Context()); err == nil {
		t.Error("a server nobody vouches for was told")
	}
}

// The publisher and its directory read one ledger; another is refused.
func TestAForkIsNotPublished(t *testing.T) {
	v := build(t)
	v.Pair(person("张三"), true)
	v.publish()
	other := vatest.New(t, time.Now)
	other.Pair(person("李四"), true)
	other.Pair(person("王五"), true)
	other.Seal()
	v.pub.Ledger.Source, v.pub.Ledger.Key = other.Follower().Source, other.Follower().Key
	v.Pair(person("赵六"), true)
	v.read()
	if err := v.pub.Publish(t.Context()); !errors.Is(err, ledger.ErrFork) {
		t.Errorf("%v", err)
	}
}

// What comes due is brought to the server although the ledger has not grown,
// also after a crash between the directory's showing it and the server's word.
func TestWhatComesDueIsBrought(t *testing.T) {
	v := build(t)
	now := time.Now()
	v.model.Now = func() time.Time { return now }
	v.pub.Now = v.model.Now
	v.Due = now.Add(time.Hour)
	sign, enc := v.Pair(person("张三"), true)
	early, _ := v.Pair(person("李四"), true)
	v.publish()
	v.Revoke(enc, 4)
	v.publish()
	if n := len(v.status()); n != 0 {
		t.Fatalf("%d certificates before they are due", n)
	}
	v.same()
	v.Early(early)
	v.publish()
	if says := v.status(); len(says) != 1 || says[early.SerialHex()] != "good" {
		t.Errorf("released early: %v", says)
	}
	now = now.Add(time.Hour)
	if n, err := v.model.Due(); err != nil || n != 3 {
		t.Fatalf("%d came due: %v", n, err)
	}
	v.reopen() // a crash: the directory shows it, the server was not told
	v.publish()
	says := v.status()
	if len(says) != 4 || says[sign.SerialHex()] != "good" || says[enc.SerialHex()] != "revoked" {
		t.Errorf("due: %v", says)
	}
	written := v.pub.Stats.Written.Load()
	v.reopen()
	v.publish()
	if got := v.pub.Stats.Written.Load(); got != 0 || written == 0 {
		t.Errorf("%d entries written again", got)
	}
	v.same()
}
