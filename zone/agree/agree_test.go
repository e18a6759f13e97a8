package agree_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldapserver"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vahttp"
	"github.com/hufu-pki/hufu/pki/va/vatest"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/zone/agree"
)

// town is a small institution: a CA with its ledger, and the services that
// read it, each on a port. What goes over HTTP passes a hand that may tamper.
type town struct {
	*vatest.World
	resp   *va.Responder
	follow *ledger.Follower
	dir    *directory.Directory
	now    func() time.Time // of who checks
	frozen bool             // the directory reads no more
	url    string
	ldap   string
	db     *shelf
	listed []crl.Entry
	number int64

	mu     sync.Mutex
	tamper func(r *http.Request, status int, body []byte) (int, []byte)
}

// shelf is the CA's database.
type shelf map[string]ca.Issued

func (s shelf) Certificate(_ context.Context, serial []byte) (ca.Issued, error) {
	if c, ok := s[string(serial)]; ok {
		return c, nil
	}
	return ca.Issued{}, ca.NoCert
}

func build(t *testing.T) *town {
	t.Helper()
	v := &town{World: vatest.New(t, time.Now), db: &shelf{}, now: time.Now}
	v.resp, v.follow = v.Responder(), v.Follower()
	var err error
	if v.dir, err = directory.Open(t.TempDir(), time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.dir.Close() })
	pub := &vahttp.Public{Responder: v.resp, Dir: v.Dir, OCSPPath: "/ocsp", Now: time.Now}
	if err := pub.Open(); err != nil {
		t.Fatal(err)
	}
	inner := listen(t)
	srv := pub.Server()
	go func() { _ = srv.Serve(inner) }()
	t.Cleanup(func() { _ = srv.Shutdown(); _ = pub.Close() })
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.pass(w, r, "http://"+inner.Addr().String()) }))
	t.Cleanup(outer.Close)
	v.url = outer.URL
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = (&ldapserver.Server{Directory: v.dir, Now: time.Now}).Serve(ctx, l); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	v.ldap = "ldap://" + l.Addr().String()
	return v
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (v *town) pass(w http.ResponseWriter, r *http.Request, to string) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.Path, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	status := resp.StatusCode
	v.mu.Lock()
	if v.tamper != nil {
		status, body = v.tamper(r, status, body)
	}
	v.mu.Unlock()
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (v *town) tampering(f func(r *http.Request, status int, body []byte) (int, []byte)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tamper = f
}

// certificate issues one that names the list of its shard.
func (v *town) certificate(cn string, public bool) *cert.Certificate {
	c, _ := v.Certify(cn, cert.CRLDistribution(v.url+"/crl/shard-0.crl"))
	v.Record(c, public)
	(*v.db)[string(c.Serial.Bytes())] = ca.Issued{DER: c.Raw}
	return c
}

// revoke ends, or with reason 6 holds, a certificate in ledger and database.
func (v *town) revoke(c *cert.Certificate, reason int) {
	v.Revoke(c, reason)
	at := v.Now().Truncate(time.Second)
	(*v.db)[string(c.Serial.Bytes())] = ca.Issued{DER: c.Raw, Revoked: true, Reason: reason, RevokedAt: at}
	v.listed = append(v.listed, crl.Entry{Serial: c.Serial.Bytes(), At: at, Reason: reason})
}

// publish signs lists and has every service read the ledger.
func (v *town) publish() {
	v.T.Helper()
	v.number += 2
	v.CRL("full", v.number, v.listed...)
	v.CRL("shard-0", v.number+1, v.listed...)
	v.Seal()
	v.read()
}

func (v *town) read() {
	v.T.Helper()
	if err := v.resp.Follow(v.T.Context(), v.follow); err != nil {
		v.T.Fatal(err)
	}
	if v.frozen {
		return
	}
	f := v.Follower()
	f.At = v.dir.At()
	run, err := f.Next(v.T.Context())
	if err == nil {
		err = v.dir.Apply(v.T.Context(), f.Source, run)
	}
	if err != nil {
		v.T.Fatal(err)
	}
}

const bound = 400 * time.Millisecond

func (v *town) job(file string) *agree.Job {
	v.T.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	f := v.Follower()
	f.Source = ledger.Web{URL: v.url + "/tiles", Client: client}
	j := &agree.Job{
		Ledger: *f, OCSP: v.url + "/ocsp", List: func(scope string) string { return v.url + "/crl/" + scope + ".crl" },
		Directories: []agree.Directory{{Name: "ldap", Title: "目录", URL: v.ldap}}, View: v.db, HTTP: client, Now: v.now, File: file, Pace: time.Millisecond, Bound: bound,
	}
	if err := j.Start(); err != nil {
		v.T.Fatal(err)
	}
	return j
}

// found is what a check from outside finds: "channel subject: want / says".
func (v *town) found() (list []string) {
	v.T.Helper()
	r, err := v.job("").Once(v.T.Context(), 10)
	if err != nil {
		v.T.Fatal(err)
	}
	for _, c := range r.Channels {
		if len(c.Disagreements) == 0 && c.Checked == 0 && c.Name != "crl-other" && c.Name != "crl-delta" && c.Down == "" {
			v.T.Errorf("%s was asked about nothing", c.Name)
		}
		if c.Down != "" {
			list = append(list, c.Name+" down")
		}
		for _, d := range c.Disagreements {
			list = append(list, fmt.Sprintf("%s %s: %s / %s", d.Channel, d.Subject, d.Want, d.Says))
		}
	}
	if r.Agrees() != (len(list) == 0) {
		v.T.Errorf("agrees: %t, with %q", r.Agrees(), list)
	}
	return list
}

func TestEverythingAgreesAfterIssuingAndRevoking(t *testing.T) {
	v := build(t)
	var all []*cert.Certificate
	for i := range 12 {
		all = append(all, v.certificate(fmt.Sprint("张", i), i%4 != 0))
	}
	v.Pair(dn.Name{C: "CN", O: "某某局", CN: "李四"}, true)
	v.CRL("arl", 1)
	v.publish()
	v.enter()
	v.revoke(all[1], 1)
	v.revoke(all[4], 5)
	v.revoke(all[2], 6) // a hold
	v.revoke(all[3], 6)
	v.publish()
	v.release(all[3])
	at := v.Now().Truncate(time.Second)
	back := crl.Entry{Serial: all[3].Serial.Bytes(), At: at, Reason: 8} // removeFromCRL
	v.CRL("delta", 100, append(v.listed[2:], back)...)
	v.publish()
	if list := v.found(); len(list) != 0 {
		t.Errorf("%q", list)
	}
}

// enter puts every certificate on record in the database.
func (v *town) enter() {
	run, err := v.Follower().Next(v.T.Context())
	if err != nil {
		v.T.Fatal(err)
	}
	for _, leaf := range run.Leaves {
		e, err := record.Parse(leaf)
		if err != nil || e.Kind != record.KindCertificate {
			continue
		}
		c, err := record.ParseCertificate(e.Body)
		if err != nil {
			v.T.Fatal(err)
		}
		der, err := ledger.Body(v.T.Context(), ledger.Dir(v.Dir), c.Digest)
		if err != nil {
			v.T.Fatal(err)
		}
		(*v.db)[string(c.Serial)] = ca.Issued{DER: der}
	}
}

// release ends a hold everywhere.
func (v *town) release(c *cert.Certificate) {
	v.Release(c)
	(*v.db)[string(c.Serial.Bytes())] = ca.Issued{DER: c.Raw}
	v.listed = slicesDelete(v.listed, c.Serial.Bytes())
}

func slicesDelete(list []crl.Entry, serial []byte) (rest []crl.Entry) {
	for _, e := range list {
		if string(e.Serial) != string(serial) {
			rest = append(rest, e)
		}
	}
	return rest
}

// Whoever lies is named, with the channel and the serial, whatever the lie.
func TestWhoeverLiesIsNamed(t *testing.T) {
	v := build(t)
	good, gone, hidden := v.certificate("张三", true), v.certificate("李四", true), v.certificate("隐名", false)
	v.publish()
	old := v.list("full")
	v.revoke(gone, 1)
	v.publish()
	if list := v.found(); len(list) != 0 {
		t.Fatalf("before any lie: %q", list)
	}
	only := func(path string, answer func([]byte) []byte) func(*http.Request, int, []byte) (int, []byte) {
		return func(r *http.Request, status int, body []byte) (int, []byte) {
			if r.URL.Path == path && status == http.StatusOK {
				return status, answer(body)
			}
			return status, body
		}
	}
	serial := gone.SerialHex()
	lies := []struct {
		name string
		lie  func(r *http.Request, status int, body []byte) (int, []byte)
		want []string
	}{
		{"a responder that says good", v.lyingOCSP(gone), []string{"ocsp 证书 " + serial + ": 已撤销 / 有效", "ocsp-nonce 证书 " + serial}},
		{"an answer with a broken signature", only("/ocsp", breakLast), []string{"ocsp 证书 " + serial + ": 可信的答复 / ", "ocsp 证书 " + good.SerialHex()}},
		{"last year's list", only("/crl/full.crl", func([]byte) []byte { return old }), []string{"crl-full 证书 " + serial + ": 已撤销 / 有效", "crl-full 列表 full: 第 4 号"}},
		{"a list with a broken signature", only("/crl/shard-0.crl", breakLast), []string{"crl-shard 证书 " + serial, "crl-shard 列表 shard-0: 可信的答复 / 列表签名无效"}},
		{"a list by another CA", only("/crl/full.crl", func([]byte) []byte { return vatest.New(t, time.Now).CRL("full", 9) }), []string{"crl-full 证书 " + serial + ": 可信的答复"}},
		{"a body that was altered", only("/tiles/"+ledger.BodyPath(alg.Digest(good.Raw)), breakLast), []string{"tiles 证书 " + good.SerialHex() + ": 可信的答复 / 正文不是账本所记的"}},
		{"a list that is gone", func(r *http.Request, status int, body []byte) (int, []byte) {
			if r.URL.Path == "/crl/shard-0.crl" {
				return http.StatusNotFound, nil
			}
			return status, body
		}, []string{"crl-shard 列表 shard-0"}},
		{"a private certificate given away", func(r *http.Request, status int, body []byte) (int, []byte) {
			if r.URL.Path == "/tiles/"+ledger.BodyPath(alg.Digest(hidden.Raw)) {
				return http.StatusOK, hidden.Raw
			}
			return status, body
		}, []string{"tiles 证书 " + hidden.SerialHex() + ": 没有 / 有效"}},
		{"no answer at all", func(r *http.Request, status int, body []byte) (int, []byte) {
			if r.URL.Path == "/ocsp" {
				return http.StatusServiceUnavailable, nil
			}
			return status, body
		}, []string{"ocsp down", "ocsp-nonce down"}},
	}
	for _, x := range lies {
		v.tampering(x.lie)
		v.expect(x.name, x.want)
	}
	v.tampering(nil)
	if list := v.found(); len(list) != 0 {
		t.Errorf("afterwards: %q", list)
	}
}

func breakLast(body []byte) []byte {
	body = append([]byte{}, body...)
	body[len(body)-1] ^= 1
	return body
}

// expect checks that every finding of a lie is found, and none of another channel.
func (v *town) expect(name string, want []string) {
	v.T.Helper()
	list := v.found()
	for _, w := range want {
		ok := false
		for _, l := range list {
			ok = ok || strings.HasPrefix(l, w)
		}
		if !ok {
			v.T.Errorf("%s: no %q among %q", name, w, list)
		}
	}
	for _, l := range list {
		channel, _, _ := strings.Cut(l, " ")
		ok := false
		for _, w := range want {
			c, _, _ := strings.Cut(w, " ")
			ok = ok || c == channel || strings.HasPrefix(c, "ocsp") && strings.HasPrefix(channel, "ocsp")
		}
		if !ok {
			v.T.Errorf("%s: and %q", name, l)
		}
	}
}

// list is the one served now.
func (v *town) list(scope string) []byte {
	v.T.Helper()
	resp, err := http.Get(v.url + "/crl/" + scope + ".crl")
	if err != nil {
		v.T.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil {
		v.T.Fatal(err)
	}
	return der
}

// lyingOCSP is a responder with the institution's own key that hides one
// revocation.
func (v *town) lyingOCSP(hide *cert.Certificate) func(*http.Request, int, []byte) (int, []byte) {
	return func(r *http.Request, status int, body []byte) (int, []byte) {
		if r.URL.Path != "/ocsp" {
			return status, body
		}
		a, err := ocsp.Parse(body)
		if err != nil || len(a.Singles) != 1 || a.Singles[0].State != ocsp.Revoked {
			return status, body
		}
		a.Singles[0].State = ocsp.Good
		d := ocsp.Draft{Responder: v.Cert.Subject, ProducedAt: a.ProducedAt, Singles: a.Singles}
		der, err := ocsp.Seal(d.TBS(), v.Cert.Raw, v.Key)
		if err != nil {
			return http.StatusInternalServerError, nil
		}
		return status, der
	}
}

// A list of changes that still holds whoever was released is named.
func TestAStaleListOfChangesIsNamed(t *testing.T) {
	v := build(t)
	c := v.certificate("张三", true)
	v.publish()
	v.revoke(c, 6)
	held := v.listed
	v.publish()
	v.release(c)
	v.CRL("delta", 100, held...)
	v.publish()
	v.expect("a stale list of changes", []string{"crl-delta 证书 " + c.SerialHex() + ": 有效 / 已撤销"})
}

// A large full list is signed at leisure: read together with the changes it is
// true, and when neither has a revocation both are named.
func TestALargeFullListCountsTogetherWithItsChanges(t *testing.T) {
	v := build(t)
	c := v.certificate("张三", true)
	for range 90_000 {
		v.listed = append(v.listed, crl.Entry{Serial: vatest.Serial(), At: v.Now(), Reason: 1})
	}
	v.publish()
	v.revoke(c, 1)
	v.CRL("delta", 100, v.listed[len(v.listed)-1])
	v.CRL("shard-0", 101, v.listed[len(v.listed)-1])
	v.Seal()
	v.read()
	if list := v.found(); len(list) != 0 {
		t.Errorf("%q", list)
	}
	v.CRL("delta", 102)
	v.Seal()
	v.read()
	v.expect("changes left out", []string{"crl-full 证书 " + c.SerialHex() + ": 已撤销 / 有效", "crl-delta 证书 " + c.SerialHex() + ": 已撤销 / 有效"})
}

// A directory that fell behind, and a database that says otherwise.
func TestADirectoryThatStoppedAndADatabaseThatDiffersAreNamed(t *testing.T) {
	v := build(t)
	c, other := v.certificate("张三", true), v.certificate("李四", true)
	v.publish()
	v.frozen = true
	v.revoke(c, 1)
	v.publish()
	v.expect("a frozen directory", []string{"ldap 证书 " + c.SerialHex() + ": 已撤销 / 有效", "ldap 列表 full"})
	v.frozen = false
	v.read()
	at := v.Now()
	(*v.db)[string(other.Serial.Bytes())] = ca.Issued{DER: other.Raw, Revoked: true, Reason: 1, RevokedAt: at}
	(*v.db)[string(c.Serial.Bytes())] = ca.Issued{DER: c.Raw, Revoked: true, Reason: 4, RevokedAt: at}
	v.expect("a database", []string{"database 证书 " + other.SerialHex() + ": 有效 / 已撤销", "database 证书 " + c.SerialHex() + ": 已撤销，原因 1"})
}

// The standing job measures how soon changes show, raises an alarm about what
// does not, and takes it back when it heals.
func TestTheStandingJobMeasuresAndRaisesAlarms(t *testing.T) {
	v := build(t)
	first := v.certificate("张三", true)
	v.publish()
	file := filepath.Join(t.TempDir(), "position")
	j := v.job(file)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { j.Run(ctx); close(ended) }()
	until(t, "the first look", func() bool { return quiet(j.Report(), 1) })
	v.certificate("李四", true)
	v.revoke(first, 1)
	v.publish()
	until(t, "measurements", func() bool {
		for _, c := range j.Report().Channels {
			if c.Name != "crl-other" && c.Name != "crl-delta" && c.Visibility.Measured == 0 {
				return false
			}
		}
		return quiet(j.Report(), 2)
	})
	for _, c := range j.Report().Channels {
		if s := c.Visibility; s.Max > 5 || s.P50 > s.P99 || s.P99 > s.Max {
			t.Errorf("%s: %+v", c.Name, s)
		}
		t.Logf("%s: %+v", c.Name, c.Visibility)
	}
	v.frozen = true
	late := v.certificate("王五", true)
	v.publish()
	until(t, "the alarm", func() bool {
		for _, c := range j.Report().Channels {
			for _, d := range c.Disagreements {
				if c.Name == "ldap" && d.Serial == late.SerialHex() && d.Says == string(agree.Absent) {
					return true
				}
			}
		}
		return false
	})
	if i := slices.IndexFunc(j.Checks(), func(k api.Check) bool { return k.State == "bad" }); i < 0 || j.Checks()[i].Advice == "" {
		t.Error("the overview does not say it")
	}
	for _, k := range j.Checks() {
		if k.State != "good" && k.Name != "一致性：目录" {
			t.Errorf("and %+v", k)
		}
	}
	cancel()
	<-ended
	v.frozen = false
	v.read()
	r, err := v.job(file).Once(t.Context(), 0) // what was not settled is asked about again, and no more
	if err != nil || !r.Agrees() {
		t.Errorf("%v %+v", err, r)
	}
	for _, c := range r.Channels {
		if c.Name == "ldap" && (c.Checked == 0 || c.Checked > 5) {
			t.Errorf("ldap was asked %d times", c.Checked)
		}
	}
}

func quiet(r agree.Report, checked int64) bool {
	for _, c := range r.Channels {
		if c.Name != "crl-other" && c.Name != "crl-delta" && c.Checked < checked || c.Waiting > 0 || c.Down != "" {
			return false
		}
	}
	return true
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("waiting for %s", what)
}

// A ledger that cannot be read is trouble, not agreement.
func TestALedgerThatIsGoneIsNoAgreement(t *testing.T) {
	v := build(t)
	v.certificate("张三", true)
	v.publish()
	v.tampering(func(*http.Request, int, []byte) (int, []byte) { return http.StatusBadGateway, nil })
	if _, err := v.job("").Once(t.Context(), 1); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
