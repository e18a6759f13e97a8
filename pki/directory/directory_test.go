package directory_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ldapmsg"
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
	d, err := directory.Open(s.dir, time.Now)
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

// bodies are a ledger's bodies in memory.
type bodies map[string][]byte

func (m bodies) Get(_ context.Context, path string) ([]byte, error) {
	if b, ok := m[path]; ok {
		return b, nil
	}
	return nil, os.ErrNotExist
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
