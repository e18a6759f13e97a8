package directory_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// shelf is a directory and the ledger it reads.
type shelf struct {
	*vatest.World
	*directory.Directory
	dir string
}

func stand(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{World: vatest.New(t, time.Now), dir: t.TempDir()}
	s.reopen()
	return s
}

func (s *shelf) reopen() {
	s.T.Helper()
	if s.Directory != nil {
		if err := s.Close(); err != nil {
			s.T.Fatal(err)
		}
	}
	d, err := directory.Open(s.dir)
	if err != nil {
		s.T.Fatal(err)
	}
	s.Directory = d
	s.T.Cleanup(func() { _ = d.Close() })
}

// publish seals what was said and has the directory read it.
func (s *shelf) publish() {
	s.T.Helper()
	s.Seal()
	f := s.Follower()
	f.At = s.At()
	run, err := f.Next(s.T.Context())
	if err == nil {
		err = s.Apply(s.T.Context(), f.Source, run)
	}
	if err != nil {
		s.T.Fatal(err)
	}
}

// found is an entry as a search gives it.
type found struct {
	name  string
	attrs map[string][]string
}

func (s *shelf) search(q ldapmsg.Query) (list []found, res directory.Result) {
	s.T.Helper()
	res, err := s.Search(s.T.Context(), q, 0, directory.SizeMax, func(body []byte) error {
		name, attrs, err := ldapmsg.ReadEntry(body)
		f := found{name, map[string][]string{}}
		for _, a := range attrs {
			for _, v := range a.Values {
				f.attrs[a.Type] = append(f.attrs[a.Type], string(v))
			}
		}
		list = append(list, f)
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return list, res
}

// under searches the whole tree.
func (s *shelf) under(f ldapmsg.Filter) []found {
	s.T.Helper()
	list, res := s.search(ldapmsg.Query{Base: directory.Suffix, Scope: ldapmsg.Sub, Filter: f})
	if res.Code != ldapmsg.Success {
		s.T.Fatalf("%s: %+v", f, res)
	}
	return list
}

func is(attr, value string) ldapmsg.Filter {
	return ldapmsg.Filter{Kind: ldapmsg.Equal, Attr: attr, Value: value}
}

func has(attr string) ldapmsg.Filter { return ldapmsg.Filter{Kind: ldapmsg.Present, Attr: attr} }

func not(f ldapmsg.Filter) ldapmsg.Filter {
	return ldapmsg.Filter{Kind: ldapmsg.Not, Of: []ldapmsg.Filter{f}}
}

func zhang() dn.Name {
	return dn.Name{C: "CN", ST: "北京市", L: "北京市", O: "某某局", OU: dn.Units{"办公室"}, CN: "张三"}
}

func TestAPairSharesOneEntry(t *testing.T) {
	s := stand(t)
	sign, enc := s.Pair(zhang(), true)
	s.publish()
	list := s.under(is("cn", "张三"))
	if len(list) != 1 {
		t.Fatalf("%d entries", len(list))
	}
	e := list[0]
	for attr, want := range map[string][]string{
		"userCertificate;binary": {string(sign.Raw), string(enc.Raw)}, "serialNumber": {sign.SerialHex(), enc.SerialHex()},
		"hufuCertificateStatus": {sign.SerialHex() + " good", enc.SerialHex() + " good"},
	} {
		slices.Sort(want)
		if slices.Sort(e.attrs[attr]); !slices.Equal(e.attrs[attr], want) {
			t.Errorf("%s: %q", attr, e.attrs[attr])
		}
	}
	if !strings.HasSuffix(strings.ToUpper(e.name), ",OU=USERS,O=虎符,C=CN") || !strings.Contains(e.name, sign.SerialHex()) {
		t.Errorf("its name is %s", e.name)
	}
	for _, c := range []*cert.Certificate{sign, enc} {
		if by := s.under(is("serialNumber", strings.ToLower(c.SerialHex()))); len(by) != 1 || by[0].name != e.name {
			t.Errorf("by serial %s: %v", c.SerialHex(), by)
		}
	}
}

// Certificates that a profile publishes as digests are nowhere in the file.
func TestWhatIsPublishedAsDigestIsNotInTheDirectory(t *testing.T) {
	s := stand(t)
	sign, enc := s.Pair(zhang(), false)
	s.Revoke(sign, 1)
	s.publish()
	if list := s.under(is("cn", "张三")); len(list) != 0 {
		t.Errorf("%v", list)
	}
	data := s.bytes()
	for _, c := range []*cert.Certificate{sign, enc} {
		if bytes.Contains(data, c.Raw) || bytes.Contains(data, []byte(c.SerialHex())) {
			t.Error("the file has it")
		}
	}
}

func TestStatusFollowsRevocationAndRelease(t *testing.T) {
	s := stand(t)
	sign, enc := s.Pair(zhang(), true)
	s.Revoke(sign, 6)
	s.publish()
	status := func(c *cert.Certificate) string {
		for _, v := range s.under(is("serialNumber", c.SerialHex()))[0].attrs["hufuCertificateStatus"] {
			if rest, ok := strings.CutPrefix(v, c.SerialHex()+" "); ok {
				return rest
			}
		}
		return ""
	}
	if got := status(sign); !strings.HasPrefix(got, "revoked 6 2") || !strings.HasSuffix(got, "Z") {
		t.Error(got)
	}
	if got := status(enc); got != "good" {
		t.Error(got)
	}
	s.Release(sign)
	s.publish()
	if got := status(sign); got != "good" {
		t.Error(got)
	}
}

// A revocation is to be seen within a second of its checkpoint.
func TestARunningDirectoryShowsARevocationAtOnce(t *testing.T) {
	s := stand(t)
	sign, _ := s.Pair(zhang(), true)
	s.publish()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f := s.Follower()
		f.At = s.At()
		s.Run(ctx, f, time.Hour)
	}()
	defer func() { cancel(); <-ended }()
	s.Revoke(sign, 1)
	s.Seal()
	s.Wake()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(strings.Join(s.under(is("serialNumber", sign.SerialHex()))[0].attrs["hufuCertificateStatus"], " "), "revoked 1") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still good")
		}
	}
}

func TestListsLieWhereTheirDistributionPointsSay(t *testing.T) {
	s := stand(t)
	lists := map[string][]byte{}
	for i, scope := range []string{"full", "shard-3", "arl"} {
		lists[scope] = s.CRL(scope, int64(i+1))
	}
	s.publish()
	for _, x := range []struct{ scope, name, attr string }{
		{"full", "CN=crl,OU=CRL,O=虎符,C=CN", "certificateRevocationList;binary"},
		{"shard-3", "CN=crl3,OU=CRL,O=虎符,C=CN", "certificateRevocationList;binary"},
		{"arl", "CN=arl,OU=ARL,O=虎符,C=CN", "authorityRevocationList;binary"},
	} {
		list, _ := s.search(ldapmsg.Query{Base: x.name, Filter: has(x.attr)})
		if len(list) != 1 || list[0].attrs[x.attr][0] != string(lists[x.scope]) {
			t.Errorf("%s: %v", x.scope, list)
		}
	}
	newer := s.CRL("full", 9)
	s.publish()
	list := s.under(has("certificateRevocationList"))
	if len(list) != 2 || list[0].attrs["certificateRevocationList;binary"][0] != string(newer) {
		t.Error("the newer list did not take the older one's place")
	}
}

// A revocation list of a large authority is far larger than any request.
func TestALargeListIsPublishedAndSurvivesReopening(t *testing.T) {
	s := stand(t)
	src := bodies{}
	big := bytes.Repeat([]byte{0x30}, 1<<20)
	src[ledger.BodyPath(alg.Digest(big))] = big
	s.Say(record.KindCRL, record.CRL{Issuer: alg.Digest(s.CA.Raw), Scope: "full", Number: 1, ThisUpdate: s.Now(), NextUpdate: s.Now(), Digest: alg.Digest(big)}.Bytes())
	if err := s.Apply(t.Context(), src, s.Take()); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if list := s.under(has("certificateRevocationList")); len(list) != 1 || list[0].attrs["certificateRevocationList;binary"][0] != string(big) {
		t.Errorf("%d entries", len(list))
	}
}

// Lists are replaced often: what was replaced does not fill the disk, and who
// was turning pages finds the same entries in the same order.
func TestReplacedListsDoNotFillTheDisk(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.publish()
	order := names(s.under(has("objectClass")))
	src := bodies{}
	for i := range 12 {
		big := bytes.Repeat([]byte{byte(i)}, 8<<20)
		clear(src)
		src[ledger.BodyPath(alg.Digest(big))] = big
		s.Say(record.KindCRL, record.CRL{Issuer: alg.Digest(s.CA.Raw), Scope: "full", Number: int64(i + 1), ThisUpdate: s.Now(), NextUpdate: s.Now(), Digest: alg.Digest(big)}.Bytes())
		if err := s.Apply(t.Context(), src, s.Take()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(s.dir, "entries.dat"))
	if err != nil || info.Size() > 40<<20 {
		t.Errorf("the file grew to %d bytes, %v", info.Size(), err)
	}
	at := s.At().Size()
	for _, when := range []string{"running", "reopened"} {
		list := s.under(has("certificateRevocationList"))
		if len(list) != 1 || list[0].attrs["certificateRevocationList;binary"][0][0] != 11 || s.At().Size() != at {
			t.Errorf("%s: the newest list is not there", when)
		}
		if now := names(s.under(has("objectClass"))); !slices.Equal(now[:len(order)], order) {
			t.Errorf("%s: %v\nwas %v", when, now, order)
		}
		s.reopen()
	}
}

func names(list []found) (names []string) {
	for _, f := range list {
		names = append(names, f.name)
	}
	return names
}

// bodies are a ledger's bodies in memory.
type bodies map[string][]byte

func (m bodies) Get(_ context.Context, path string) ([]byte, error) {
	if b, ok := m[path]; ok {
		return b, nil
	}
	return nil, os.ErrNotExist
}

func TestReopenedItGoesOnWhereItWas(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.publish()
	at := s.At().Size()
	s.reopen()
	if s.At().Size() != at || len(s.under(is("cn", "张三"))) != 1 {
		t.Errorf("at %d, was at %d", s.At().Size(), at)
	}
	other := zhang()
	other.CN = "李四"
	s.Pair(other, true)
	s.publish()
	if len(s.under(has("userCertificate"))) != 2 {
		t.Error("the second pair is not there")
	}
}

// However the end of the file was lost, what is left is true and the ledger
// fills it up again.
func TestATornTailIsReadAgainFromTheLedger(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.publish()
	whole := s.bytes()
	for what, damaged := range map[string][]byte{
		"cut":     whole[:len(whole)-len(whole)/4],
		"flipped": slices.Concat(whole[:len(whole)/2], []byte{whole[len(whole)/2] ^ 1}, whole[len(whole)/2+1:]),
		"zeroed":  slices.Concat(whole[:len(whole)/2], make([]byte, len(whole)-len(whole)/2)),
	} {
		if err := s.damage(damaged); err != nil || len(s.under(has("userCertificate"))) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A power cut may leave zeros in the middle of what was written and keep the
// mark that follows. Zeros of nine octets look like an empty record.
func TestAHoleIsNotTakenForTheEndOfAnEntry(t *testing.T) {
	s := stand(t)
	s.publish()
	before := len(s.bytes())
	for n := zhang(); ; n.CN += "a" {
		c, _ := s.Certify(n.CN)
		s.Record(c, true)
		s.publish()
		whole := s.bytes()
		size := 9 + int(binary.BigEndian.Uint32(whole[before:]))
		if size%9 == 0 {
			clear(whole[before : before+size])
			if err := s.damage(whole); err != nil || len(s.under(is("cn", n.CN))) != 1 {
				t.Errorf("the entry is lost: %v", err)
			}
			return
		}
		before = len(whole)
	}
}

func (s *shelf) bytes() []byte {
	s.T.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "entries.dat"))
	if err != nil {
		s.T.Fatal(err)
	}
	return data
}

// damage opens the directory on other bytes and lets it read the ledger.
func (s *shelf) damage(b []byte) error {
	s.T.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "entries.dat"), b, 0o600); err != nil {
		s.T.Fatal(err)
	}
	s.reopen()
	f := s.Follower()
	f.At = s.At()
	run, err := f.Next(s.T.Context())
	if err == nil {
		err = s.Apply(s.T.Context(), f.Source, run)
	}
	return err
}

// A certificate of an authority the ledger has not named has no place; it is
// passed over and does no harm when the file is read again.
func TestAnEntryWithoutAPlaceIsNotWritten(t *testing.T) {
	w := vatest.New(t, time.Now)
	w.Take() // the authority is never told
	s := &shelf{World: w, dir: t.TempDir()}
	s.reopen()
	c, _ := s.Certify("早")
	src := bodies{ledger.BodyPath(alg.Digest(c.Raw)): c.Raw}
	s.Record(c, true)
	if err := s.Apply(t.Context(), src, s.Take()); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if list := s.under(has("objectClass")); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

// A body that has not arrived yet is asked for again; a body that is not a
// certificate is passed over.
func TestBodiesThatAreLateOrWrong(t *testing.T) {
	s := stand(t)
	c, _ := s.Certify("迟")
	s.Record(c, true)
	run := s.Take()
	src := bodies{}
	if err := s.Apply(t.Context(), src, run); err == nil || s.At().Size() != 0 {
		t.Errorf("went on without the body: %v", err)
	}
	src[ledger.BodyPath(alg.Digest(c.Raw))] = []byte("another")
	if err := s.Apply(t.Context(), src, run); err != nil {
		t.Fatal(err)
	}
	if len(s.under(is("cn", "迟"))) != 0 {
		t.Error("took a body with another digest")
	}
	src[ledger.BodyPath(alg.Digest(c.Raw))] = c.Raw
	for range 2 {
		if err := s.Apply(t.Context(), src, run); err != nil {
			t.Fatal(err)
		}
	}
	list := s.under(is("cn", "迟"))
	if len(list) != 1 || len(list[0].attrs["userCertificate;binary"]) != 1 {
		t.Errorf("applied twice: %v", list)
	}
}

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
