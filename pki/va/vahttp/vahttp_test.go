package vahttp_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/openssltest"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vahttp"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

// service is a world with its public listener.
type service struct {
	*vatest.World
	r   *va.Responder
	p   *vahttp.Public
	f   *ledger.Follower
	url string
}

func serve(t testing.TB) *service {
	t.Helper()
	w := vatest.New(t, time.Now)
	s := &service{World: w, r: w.Responder(), f: w.Follower()}
	s.p = &vahttp.Public{Responder: s.r, Dir: w.Dir, AIA: map[string][]byte{"ca.cer": w.CA.Raw}, Now: time.Now}
	if err := s.p.Open(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := s.p.Server()
	server.CloseOnShutdown = true
	done := make(chan struct{})
	go func() { _ = server.Serve(l); close(done) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = server.Shutdown()
		<-done
		_ = s.p.Close()
	})
	s.url = "http://" + l.Addr().String()
	return s
}

// publish seals what was said and lets the responder read it.
func (s *service) publish() {
	s.T.Helper()
	s.Seal()
	if err := s.r.Follow(s.T.Context(), s.f); err != nil {
		s.T.Fatal(err)
	}
}

type reply struct {
	*http.Response
	body []byte
}

// do asks for a raw target, which http.NewRequest would clean.
func (s *service) do(method, target string, body []byte, head ...string) reply {
	s.T.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.T.Fatal(err)
	}
	u.Opaque = target
	req := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}}
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.T.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		s.T.Fatalf("%s %s: %v", method, target, err)
	}
	return reply{resp, got}
}

func (s *service) status(r reply) ocsp.State {
	s.T.Helper()
	got, err := ocsp.Parse(r.body)
	if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/ocsp-response" {
		s.T.Fatalf("%s %v: %v", r.Status, r.Header, err)
	}
	if err := got.Verify(s.CA, time.Now()); err != nil {
		s.T.Fatal(err)
	}
	return got.Singles[0].State
}

func (s *service) question(c *cert.Certificate) []byte {
	return ocsp.NewRequest(nil, ocsp.Ask(alg.SHA1, true, s.CA, c.Serial.Bytes()))
}

func TestOpenSSLAsksByEveryHash(t *testing.T) {
	s := serve(t)
	good, bad, never := s.Issue("good", true), s.Issue("bad", true), func() *cert.Certificate { c, _ := s.Certify("never"); return c }()
	s.publish()
	dir := t.TempDir()
	write := func(name string, c *cert.Certificate) string {
		file := filepath.Join(dir, name+".pem")
		if err := os.WriteFile(file, cert.PEM(c.Raw), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	files := []string{write("good", good), write("bad", bad), write("never", never)}
	ca := write("ca", s.CA)
	run := func(args ...string) string {
		t.Helper()
		args = append([]string{"ocsp", "-issuer", ca, "-url", s.url + "/ocsp", "-noverify"}, args...)
		out := openssltest.Must(t, nil, args...)
		if strings.Contains(out, "WARNING") {
			t.Errorf("openssl %v warns:\n%s", args, out)
		}
		return out
	}
	for _, hash := range []string{"-sha1", "-sha256", "-sm3"} {
		for file, want := range map[string]string{files[0]: "good", files[1]: "good", files[2]: "unknown"} {
			if out := run(hash, "-no_nonce", "-cert", file); !strings.Contains(out, file+": "+want) {
				t.Errorf("%s without a nonce: want %s\n%s", hash, want, out)
			}
		}
	}
	s.Revoke(bad, 1)
	s.publish()
	for _, hash := range []string{"-sha1", "-sha256", "-sm3"} {
		if out := run(hash, "-no_nonce", "-cert", files[1]); !strings.Contains(out, "revoked") || !strings.Contains(out, "Reason: keyCompromise") {
			t.Errorf("%s after the revocation:\n%s", hash, out)
		}
		out := run(hash, "-cert", files[0], hash, "-cert", files[1], hash, "-cert", files[2]) // with a nonce, which openssl compares
		for i, want := range []string{"good", "revoked", "unknown"} {
			if !strings.Contains(out, files[i]+": "+want) {
				t.Errorf("%s, three in one question: want %s\n%s", hash, want, out)
			}
		}
	}
}

func TestAGetFindsTheQuestionInAnyEscaping(t *testing.T) {
	s := serve(t)
	s.publish()
	seen := map[string]bool{}
	for range 400 {
		c, _ := s.CertifyAs(vatest.Serial(), "x")
		der := s.question(c)
		text := base64.StdEncoding.EncodeToString(der)
		interesting := strings.Contains(text, "//") || strings.Contains(text, "+") || strings.Contains(text, "/")
		if !interesting || seen["//"] && seen["+"] && seen["/"] {
			continue
		}
		for _, x := range []string{"//", "+", "/"} {
			seen[x] = seen[x] || strings.Contains(text, x)
		}
		for _, target := range []string{
			"/ocsp/" + text, "/ocsp//" + text, "/ocsp/" + url.PathEscape(text), "/ocsp/" + url.QueryEscape(text),
			"/ocsp/" + strings.TrimRight(text, "="), "/ocsp/" + strings.ReplaceAll(text, "+", "%2b"),
		} {
			if got := s.status(s.do("GET", target, nil)); got != ocsp.Unknown {
				t.Errorf("%s: %v", target, got)
			}
		}
	}
	if !seen["/"] || !seen["+"] {
		t.Errorf("the samples had only %v", seen)
	}
	// A made-up serial with "//" in its base64.
	id := ocsp.Ask(alg.SHA1, true, s.CA, bytes.Repeat([]byte{0x7F, 0xFF, 0xFF}, 5))
	text := base64.StdEncoding.EncodeToString(ocsp.NewRequest(nil, id))
	if !strings.Contains(text, "//") {
		t.Fatalf("no // in %s", text)
	}
	if got := s.status(s.do("GET", "/ocsp/"+text, nil)); got != ocsp.Unknown {
		t.Errorf("with //: %v", got)
	}
	for _, target := range []string{"/ocsp/!!!", "/ocsp/MAA=", "/ocsp/%zz"} {
		if got := s.do("GET", target, nil); !bytes.Equal(got.body, ocsp.Failure(ocsp.MalformedRequest)) {
			t.Errorf("%s: %x", target, got.body)
		}
	}
}

func TestAPresignedAnswerMayBeCachedAndALiveOneNot(t *testing.T) {
	s := serve(t)
	c := s.Issue("a", true)
	s.publish()
	target := "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(s.question(c)))
	got := s.do("GET", target, nil)
	if s.status(got) != ocsp.Good {
		t.Fatal("not good")
	}
	tag := got.Header.Get("ETag")
	if want := fmt.Sprintf("\"%x\"", alg.Digest(got.body)); tag != want {
		t.Errorf("ETag %s, want %s", tag, want)
	}
	parsed, err := ocsp.Parse(got.body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]time.Time{"Last-Modified": parsed.Singles[0].ThisUpdate, "Expires": parsed.Singles[0].NextUpdate} {
		if at, err := http.ParseTime(got.Header.Get(name)); err != nil || !at.Equal(want) {
			t.Errorf("%s %q, want %v", name, got.Header.Get(name), want)
		}
	}
	var age int
	if _, err := fmt.Sscanf(got.Header.Get("Cache-Control"), "max-age=%d, public, no-transform, must-revalidate", &age); err != nil || age < 60 || age > 3600 {
		t.Errorf("Cache-Control %q", got.Header.Get("Cache-Control"))
	}
	if again := s.do("GET", target, nil, "If-None-Match", `"x", `+tag); again.StatusCode != 304 || len(again.body) != 0 || again.Header.Get("ETag") != tag {
		t.Errorf("asked with its tag: %s", again.Status)
	}
	if head := s.do("HEAD", target, nil); head.StatusCode != 200 || head.ContentLength != int64(len(got.body)) || len(head.body) != 0 {
		t.Errorf("HEAD: %s, %d", head.Status, head.ContentLength)
	}
	if post := s.do("POST", "/ocsp", s.question(c), "Content-Type", "application/ocsp-request"); !bytes.Equal(post.body, got.body) {
		t.Error("POST gives another answer")
	}
	s.Revoke(c, 1)
	s.publish()
	if again := s.do("GET", target, nil, "If-None-Match", tag); s.status(again) != ocsp.Revoked {
		t.Error("not revoked")
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	live := s.do("POST", "/ocsp/", ocsp.NewRequest(nonce, ocsp.Ask(alg.SM3, false, s.CA, c.Serial.Bytes())))
	if s.status(live) != ocsp.Revoked || live.Header.Get("Cache-Control") != "no-cache" || live.Header.Get("ETag") != "" {
		t.Errorf("live: %v", live.Header)
	}
}

func TestListsCertificatesAndTilesAreServed(t *testing.T) {
	s := serve(t)
	open, closed := s.Issue("a", true), s.Issue("b", false)
	list := s.CRL("full", 1)
	for range 300 {
		s.Say("filler", []byte{1})
	}
	s.publish()
	body := func(der []byte) string { return "/tiles/" + ledger.BodyPath(alg.Digest(der)) }
	for _, tt := range []struct {
		target, kind, cache string
		want                []byte // nil: any
	}{
		{"/crl/full.crl", "application/pkix-crl", "public, max-age=", list},
		{"/aia/ca.cer", "application/pkix-cert", "public, max-age=3600", s.CA.Raw},
		{"/tiles/checkpoint", "text/plain; charset=utf-8", "no-cache", nil},
		{"/tiles/tile/0/000", "application/octet-stream", "public, max-age=31536000, immutable", nil},
		{"/tiles/tile/0/001.p/48", "application/octet-stream", "public, max-age=60", nil},
		{"/tiles/tile/entries/000", "application/octet-stream", "public, max-age=31536000, immutable", nil},
		{body(open.Raw), "application/octet-stream", "public, max-age=31536000, immutable", open.Raw},
		{body(list), "application/octet-stream", "public, max-age=31536000, immutable", list},
	} {
		got := s.do("GET", tt.target, nil)
		if got.StatusCode != 200 || got.Header.Get("Content-Type") != tt.kind || !strings.HasPrefix(got.Header.Get("Cache-Control"), tt.cache) ||
			tt.want != nil && !bytes.Equal(got.body, tt.want) || len(got.body) == 0 {
			t.Errorf("%s: %s %v, %d octets", tt.target, got.Status, got.Header, len(got.body))
		}
		if head := s.do("HEAD", tt.target, nil); head.StatusCode != 200 || head.ContentLength != int64(len(got.body)) || len(head.body) != 0 {
			t.Errorf("HEAD %s: %s, %d", tt.target, head.Status, head.ContentLength)
		}
		if tag := got.Header.Get("ETag"); tag != "" {
			if again := s.do("GET", tt.target, nil, "If-None-Match", tag); again.StatusCode != 304 {
				t.Errorf("%s asked with its tag: %s", tt.target, again.Status)
			}
		}
	}
	f := &ledger.Follower{Source: ledger.Web{URL: s.url + "/tiles", Client: http.DefaultClient}, Key: s.f.Key, Origin: s.f.Origin}
	if run, err := f.Next(t.Context()); err != nil || run.Frontier.Size() != s.r.Size().Entries {
		t.Errorf("a stranger follows the ledger: %v", err)
	}
	secret := filepath.Join(s.Dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(s.Dir, "tile", "9")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{
		body(closed.Raw), body([]byte("nothing")), "/", "/ocsp", "/crl/arl.crl", "/crl/full", "/crl/", "/aia/root.cer", "/tiles/", "/tiles/secret",
		"/tiles/tile/0", "/tiles/tile/9", "/tiles/tile/../secret", "/tiles/tile/%2e%2e/secret", "/tiles//etc/passwd", "/tiles/tile//0/000",
		"/tiles/body/../secret", "/tiles/.checkpoint.new", "/crl/../secret.crl", "/metrics", "http://x", "/tiles/tile/0/..",
		strings.ToUpper(body(open.Raw)),
	} {
		if got := s.do("GET", target, nil); got.StatusCode != 404 || bytes.Contains(got.body, []byte("secret")) {
			t.Errorf("%s: %s", target, got.Status)
		}
	}
}

func TestOtherMethodsTypesAndSizesAreRefused(t *testing.T) {
	s := serve(t)
	s.publish()
	for _, tt := range []struct {
		method, target string
		body           []byte
		kind           string
		want           int
	}{
		{"PUT", "/ocsp", []byte("x"), "", 405},
		{"DELETE", "/tiles/checkpoint", nil, "", 405},
		{"OPTIONS", "/ocsp", nil, "", 405},
		{"POST", "/tiles/checkpoint", []byte("x"), "", 405},
		{"POST", "/elsewhere", []byte("x"), "", 404},
		{"POST", "/ocsp", []byte("{}"), "application/json", 415},
		{"POST", "/ocsp", make([]byte, ocsp.RequestMax+1), "application/ocsp-request", 413},
		{"POST", "/ocsp", []byte("junk"), "application/ocsp-request", 200},
	} {
		got := s.do(tt.method, tt.target, tt.body, "Content-Type", tt.kind)
		if got.StatusCode != tt.want || tt.want == 405 && got.Header.Get("Allow") == "" {
			t.Errorf("%s %s: %s", tt.method, tt.target, got.Status)
		}
	}
	if n := s.p.Stats.Refused.Load(); n != 1 {
		t.Errorf("%d refused answers counted", n)
	}
}

func FuzzPath(f *testing.F) {
	s := serve(f)
	c := s.Issue("a", false)
	s.publish()
	secret := alg.Digest(c.Raw)
	for _, seed := range []string{"/ocsp/MAA=", "/crl/full.crl", "/tiles/checkpoint", "/tiles/" + ledger.BodyPath(secret), "/tiles/tile/../checkpoint", "/aia/ca.cer"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		var ctx fasthttpCtx
		ctx.Request.Header.SetMethod("GET")
		ctx.Request.Header.SetRequestURI(path)
		s.p.Handle(&ctx)
		if body := ctx.Response.Body(); bytes.Equal(alg.Digest(body), secret) {
			t.Fatalf("%q gives away a private certificate", path)
		}
	})
}
