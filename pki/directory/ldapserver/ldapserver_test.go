package ldapserver_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldapserver"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// desk is a server over a directory over a ledger.
type desk struct {
	*vatest.World
	dir  *directory.Directory
	addr string
	url  string
}

func serve(t testing.TB, seats int) *desk {
	t.Helper()
	d := &desk{World: vatest.New(t, time.Now)}
	var err error
	if d.dir, err = directory.Open(t.TempDir(), time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.dir.Close() })
	d.addr = d.listen(&ldapserver.Server{Directory: d.dir, Now: time.Now, Seats: seats}, nil)
	d.url = "ldap://" + d.addr
	return d
}

// listen serves until the test ends; wrap may put something before the listener.
func (d *desk) listen(s *ldapserver.Server, wrap func(net.Listener) net.Listener) string {
	d.T.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.T.Fatal(err)
	}
	addr := l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	d.T.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			d.T.Error(err)
		}
	})
	return addr
}

func (d *desk) publish() {
	d.T.Helper()
	d.Seal()
	f := d.Follower()
	f.At = d.dir.At()
	run, err := f.Next(d.T.Context())
	if err == nil {
		err = d.dir.Apply(d.T.Context(), f.Source, run)
	}
	if err != nil {
		d.T.Fatal(err)
	}
}

func person(cn string) dn.Name {
	return dn.Name{C: "CN", ST: "北京市", L: "北京市", O: "某某局", OU: dn.Units{"办公室"}, E: "zs@example.cn", CN: cn}
}

// town is the directory that most tests ask.
type town struct {
	*desk
	sign, enc *cert.Certificate // of 张三
	list, arl []byte
}

// build fills a server: 张三 with a pair, three with rare characters, one whose
// certificates are published as digests, a device, lists.
func build(t testing.TB) *town {
	v := &town{desk: serve(t, 0)}
	v.sign, v.enc = v.Pair(person("张三"), true)
	for _, cn := range []string{"䶮䶮", "㐂子", "𠮷野"} {
		v.Pair(person(cn), true)
	}
	v.Pair(person("隐名"), false)
	v.Issue("网关, 一号", true)
	v.list, v.arl = v.CRL("shard-3", 1), v.CRL("arl", 2)
	v.publish()
	return v
}

// crowd puts n people in the directory, all with one certificate's bytes
// but for the serial: what is measured is the directory.
func (d *desk) crowd(n int) {
	d.T.Helper()
	d.publish()
	src := bodies{}
	run := ledger.Run{First: d.dir.At().Size(), Frontier: d.dir.At()}
	c, _ := d.Certify("众人")
	src[ledger.BodyPath(alg.Digest(c.Raw))] = c.Raw
	for range n {
		body := record.Certificate{Issuer: alg.Digest(d.CA.Raw), Serial: vatest.Serial(), Use: "sign", Profile: "person-dual",
			NotBefore: c.NotBefore, NotAfter: c.NotAfter, Digest: alg.Digest(c.Raw), Public: true}.Bytes()
		run.Leaves = append(run.Leaves, record.Entry{Kind: record.KindCertificate, At: d.Now(), Body: body}.Bytes())
	}
	if err := d.dir.Apply(d.T.Context(), src, run); err != nil {
		d.T.Fatal(err)
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
