package link_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/wire/link"
)

var (
	start   = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	ra, ca  = newKey(), newKey()
	another = newKey()
	tooBad  = &refusal.Reason{Kind: refusal.Conflict, Code: "test.bad", Text: "不行", Clause: "§1", Fix: "改正"}
)

func newKey() *sm2.PrivateKey {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

type word struct {
	Word string `json:"word"`
}

// place is a server that repeats words, and a client of it.
type place struct {
	*link.Client
	server  *link.Server
	said    []string // words the server acted on
	refused []string
	now     time.Time
}

func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{now: start}
	now := func() time.Time { return p.now }
	p.server = &link.Server{Key: ca, Peers: map[string]*ecdsa.PublicKey{"ra": &ra.PublicKey, "va": &another.PublicKey}, Now: now,
		Refused: func(_ context.Context, from, _, path, why string) {
			p.refused = append(p.refused, from+" "+path+" "+why)
		}}
	link.Handle(p.server, "/say", 1<<10, func(_ context.Context, peer string, in word) (word, error) {
		p.said = append(p.said, in.Word)
		switch in.Word {
		case "refuse":
			return word{}, tooBad.At("word", "§2").Because("因为")
		case "fail":
			return word{}, errors.New("disk /dev/sdb is full")
		}
		return word{peer + " said " + in.Word}, nil
	}, "ra")
	link.Handle(p.server, "/open", 1<<10, func(_ context.Context, _ string, in word) (word, error) { return in, nil })
	s := httptest.NewServer(p.server)
	t.Cleanup(s.Close)
	p.Client = &link.Client{URL: s.URL, Name: "ra", Key: ra, Peer: &ca.PublicKey, HTTP: s.Client(), Now: now}
	return p
}

func (p *place) say(t testing.TB, w string) (string, error) {
	t.Helper()
	var out word
	err := p.Call(t.Context(), "/say", word{w}, &out)
	return out.Word, err
}

func TestAPeerIsAnswered(t *testing.T) {
	p := newPlace(t)
	if got, err := p.say(t, "早"); err != nil || got != "ra said 早" {
		t.Errorf("%q %v", got, err)
	}
}

func TestARefusalArrivesAsARefusalAndAFailureTellsNothing(t *testing.T) {
	p := newPlace(t)
	_, err := p.say(t, "refuse")
	f := refusal.Of(err)
	if f == nil || f.Reason.Kind != refusal.Conflict || f.Report() != (refusal.Report{Code: "test.bad", Field: "word", Clause: "§2", Fix: "改正", Text: "不行：因为"}) {
		t.Errorf("%v %+v", err, f)
	}
	if _, err := p.say(t, "fail"); err == nil || refusal.Of(err) != nil || strings.Contains(err.Error(), "disk") {
		t.Errorf("%v", err)
	}
}

func TestOnlyThePeerItselfIsHeard(t *testing.T) {
	for name, change := range map[string]func(p *place){
		"a stranger":                 func(p *place) { p.Name = "nobody" },
		"another's key":              func(p *place) { p.Key = another },
		"a peer of another path":     func(p *place) { p.Name, p.Key = "va", another },
		"a clock six minutes behind": func(p *place) { p.Now = func() time.Time { return start.Add(-6 * time.Minute) } },
		"a clock six minutes ahead":  func(p *place) { p.Now = func() time.Time { return start.Add(6 * time.Minute) } },
	} {
		p := newPlace(t)
		change(p)
		if got, err := p.say(t, "x"); err == nil || len(p.said) > 0 || len(p.refused) != 1 {
			t.Errorf("%s: %q %v, refused %v", name, got, err, p.refused)
		}
	}
	p := newPlace(t)
	p.Name, p.Key = "va", another
	if err := p.Call(t.Context(), "/open", word{"x"}, &word{}); err != nil {
		t.Errorf("a path for every peer: %v", err)
	}
}

func TestAnAnswerOfSomebodyElseIsNoAnswer(t *testing.T) {
	p := newPlace(t)
	p.Peer = &another.PublicKey
	if got, err := p.say(t, "x"); err == nil {
		t.Errorf("%q", got)
	}
	// An answer belongs to one question: replayed to the next, it is refused.
	p = newPlace(t)
	inner := p.HTTP.Transport
	var first *http.Response
	var body []byte
	p.HTTP.Transport = trip(func(r *http.Request) (*http.Response, error) {
		if first == nil {
			resp, err := inner.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			first = resp
			if body, err = io.ReadAll(resp.Body); err != nil {
				return nil, err
			}
		}
		again := *first
		again.Body = io.NopCloser(bytes.NewReader(body))
		return &again, nil
	})
	if _, err := p.say(t, "x"); err != nil {
		t.Fatal(err)
	}
	if got, err := p.say(t, "y"); err == nil {
		t.Errorf("an old answer was taken: %q", got)
	}
}

type trip func(r *http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// envelope is a request as it lies on the wire.
type envelope struct{ path, from, at, nonce, signature, body string }

func (e envelope) send(p *place) int {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(e.body))
	r.URL.Path = e.path
	r.Header = http.Header{"Hufu-From": {e.from}, "Hufu-Time": {e.at}, "Hufu-Nonce": {e.nonce}, "Hufu-Signature": {e.signature}}
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, r)
	return w.Code
}

// signed is an envelope whose signature is written out here once more, as a
// second opinion on what is signed.
func signed(t testing.TB, body string) envelope {
	t.Helper()
	e := envelope{path: "/say", from: "ra", at: strconv.FormatInt(start.UnixMilli(), 10), nonce: strings.Repeat("ab", 16), body: body}
	text := fmt.Sprintf("hufu-link 2\n%x\n%s\n%s\n%s\n%s\n%x\n", alg.Digest(alg.Point(&ca.PublicKey)), e.path, e.from, e.at, e.nonce, alg.Digest([]byte(body)))
	sig, err := alg.Sign(ra, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e.signature = base64.StdEncoding.EncodeToString(sig)
	return e
}

func TestAnyChangeOnTheWayIsNoticed(t *testing.T) {
	p := newPlace(t)
	good := signed(t, `{"word":"x"}`)
	if code := good.send(p); code != http.StatusOK || len(p.said) != 1 {
		t.Fatalf("the good one: %d %v", code, p.refused)
	}
	for name, change := range map[string]func(e *envelope){
		"body": func(e *envelope) { e.body = `{"word":"y"}` }, "a blank in the body": func(e *envelope) { e.body += " " },
		"path": func(e *envelope) { e.path = "/open" }, "time": func(e *envelope) { e.at += "0" }, "time by a millisecond": func(e *envelope) { e.at = e.at[:len(e.at)-1] + "1" },
		"nonce": func(e *envelope) { e.nonce = strings.Repeat("ac", 16) }, "no nonce": func(e *envelope) { e.nonce = "" },
		"sender": func(e *envelope) { e.from = "va" }, "no signature": func(e *envelope) { e.signature = "" }, "signature that is no base64": func(e *envelope) { e.signature = "%" },
		"too long": func(e *envelope) { e.body = strings.Repeat(" ", 1<<10) + e.body },
	} {
		e := good
		change(&e)
		if code := e.send(p); code != http.StatusForbidden || len(p.said) != 1 {
			t.Errorf("%s: %d, heard %v", name, code, p.said)
		}
	}
}

func TestASignedBodyIsStillReadStrictly(t *testing.T) {
	for _, body := range []string{`{"word":"x","more":1}`, `{"word":7}`, ``, `[`, `{"word":"x"}{}`, `{"word":"x"}}`} {
		p := newPlace(t)
		if code := signed(t, body).send(p); code != http.StatusUnprocessableEntity || len(p.said) > 0 {
			t.Errorf("%q: %d, heard %v", body, code, p.said)
		}
	}
}

func TestOnlyPostIsAnswered(t *testing.T) {
	p := newPlace(t)
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/say", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
}

// Nothing unsigned is acted on, whatever it looks like.
func FuzzServer(f *testing.F) {
	good := signed(f, `{"word":"x"}`)
	f.Add(good.path, good.from, good.at, good.nonce, good.signature, good.body)
	f.Add("/open", "va", "9223372036854775807", "", "MAA=", "{}")
	f.Fuzz(func(t *testing.T, path, from, at, nonce, signature, body string) {
		p := newServer()
		e := envelope{path, from, at, nonce, signature, body}
		e.send(p)
		if len(p.said) > 0 && e != good {
			// Base64 has spellings, and r ‖ s has one; the rest is signed.
			if e.signature = good.signature; e != good {
				t.Errorf("acted on %+v", e)
			}
		}
	})
}

func newServer() *place {
	p := &place{}
	p.server = &link.Server{Key: ca, Peers: map[string]*ecdsa.PublicKey{"ra": &ra.PublicKey, "va": &another.PublicKey}, Now: func() time.Time { return start }}
	act := func(_ context.Context, _ string, in word) (word, error) {
		p.said = append(p.said, in.Word)
		return in, nil
	}
	link.Handle(p.server, "/say", 1<<10, act, "ra")
	link.Handle(p.server, "/open", 1<<10, act)
	return p
}

// Nothing unsigned is taken for an answer.
func FuzzClient(f *testing.F) {
	f.Add(200, "MAA=", []byte(`{"word":"x"}`))
	f.Add(422, "", []byte(`{"kind":1,"report":{"code":"x"}}`))
	f.Fuzz(func(t *testing.T, status int, signature string, body []byte) {
		c := link.Client{URL: "http://x", Name: "ra", Key: ra, Peer: &ca.PublicKey, Now: func() time.Time { return start },
			HTTP: &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 100 + max(0, status)%500, Header: http.Header{"Hufu-Signature": {signature}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
			})}}
		var out word
		if err := c.Call(t.Context(), "/say", word{"x"}, &out); err == nil || refusal.Of(err) != nil {
			t.Errorf("taken for an answer: %d %q %q", status, signature, body)
		}
	})
}
