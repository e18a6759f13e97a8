package link_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/wire/link"
)

func key(t *testing.T) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type (
	ask struct {
		N int `json:"n"`
	}
	told struct {
		N      int    `json:"n"`
		From   string `json:"from"`
		Source string `json:"source"`
	}
)

// wire is two zones and whoever sits between them.
type wire struct {
	t              *testing.T
	server         *link.Server
	ours, theirs   *sm2.PrivateKey
	client         *link.Client
	between        func(*http.Request) // alters what is sent
	after          func(*http.Response)
	calls          int
	turned         []string
	last           *http.Request
	lastBody, body []byte
}

var busy = &refusal.Reason{Kind: refusal.Limit, Code: "test.busy", Text: "忙", Clause: "§3", Fix: "稍后再来"}

func strung(t *testing.T) *wire {
	t.Helper()
	w := &wire{t: t, ours: key(t), theirs: key(t)}
	w.server = &link.Server{Key: w.theirs, Peers: map[string]*ecdsa.PublicKey{"ra": &w.ours.PublicKey}, Now: time.Now,
		Refused: func(_ context.Context, from, source, path, why string) {
			w.turned = append(w.turned, strings.Join([]string{from, path, why}, " "))
			if source == "" {
				t.Error("turned away without an address")
			}
		}}
	link.Handle(w.server, "/double", 100, func(ctx context.Context, from string, in ask) (told, error) {
		w.calls++
		switch in.N {
		case 13:
			return told{}, busy.At("n", "§4").Because("十三")
		case 14:
			return told{}, errors.New("disk /dev/sdb is full")
		}
		return told{2 * in.N, from, link.Source(ctx)}, nil
	})
	link.Handle(w.server, "/others", 100, func(context.Context, string, ask) (told, error) { w.calls++; return told{}, nil }, "office")
	s := httptest.NewServer(w.server)
	t.Cleanup(s.Close)
	w.client = &link.Client{URL: s.URL, Name: "ra", Key: w.ours, Peer: &w.theirs.PublicKey, HTTP: &http.Client{Transport: w}, Now: time.Now}
	return w
}

// RoundTrip carries a request, altered if somebody is in between.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.lastBody, w.body = body, body
	if w.between != nil {
		w.between(r)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(w.body)), int64(len(w.body))
	w.last = r.Clone(r.Context())
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && w.after != nil {
		w.after(resp)
	}
	return resp, err
}

func (w *wire) double(n int) (told, error) {
	var out told
	err := w.client.Call(w.t.Context(), "/double", ask{n}, &out)
	return out, err
}

// Whatever is changed on the way, or signed by another, is turned away before
// anybody acts on it.
func TestWhatIsAlteredOnTheWayIsTurnedAway(t *testing.T) {
	stranger := key(t)
	for what, alter := range map[string]func(w *wire){
		"the body":   func(w *wire) { w.between = func(*http.Request) { w.body = []byte(`{"n":22}`) } },
		"the path":   func(w *wire) { w.between = func(r *http.Request) { r.URL.Path = "/others" } },
		"the sender": func(w *wire) { w.between = func(r *http.Request) { r.Header.Set("Hufu-From", "office") } },
		"the nonce": func(w *wire) {
			w.between = func(r *http.Request) { r.Header.Set("Hufu-Nonce", strings.Repeat("0", 32)) }
		},
		"a short nonce":     func(w *wire) { w.between = func(r *http.Request) { r.Header.Set("Hufu-Nonce", "") } },
		"the time":          func(w *wire) { w.between = func(r *http.Request) { r.Header.Set("Hufu-Time", in(time.Second)) } },
		"no time":           func(w *wire) { w.between = func(r *http.Request) { r.Header.Del("Hufu-Time") } },
		"no signature":      func(w *wire) { w.between = func(r *http.Request) { r.Header.Del("Hufu-Signature") } },
		"no base64":         func(w *wire) { w.between = func(r *http.Request) { r.Header.Set("Hufu-Signature", "?") } },
		"another key":       func(w *wire) { w.client.Key = stranger },
		"an unknown name":   func(w *wire) { w.client.Name = "stranger" },
		"no name":           func(w *wire) { w.client.Name = "" },
		"an old request":    func(w *wire) { w.client.Now = func() time.Time { return time.Now().Add(-5*time.Minute - time.Second) } },
		"one of tomorrow":   func(w *wire) { w.client.Now = func() time.Time { return time.Now().Add(5*time.Minute + time.Second) } },
		"meant for another": func(w *wire) { w.client.Peer = &stranger.PublicKey },
	} {
		w := strung(t)
		alter(w)
		if out, err := w.double(21); err == nil || refusal.Of(err) != nil {
			t.Errorf("%s: %+v %v", what, out, err)
		}
		if w.calls != 0 || len(w.turned) != 1 {
			t.Errorf("%s: %d calls, turned away: %q", what, w.calls, w.turned)
		}
	}
}

func in(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).UnixMilli(), 10) }

// An answer counts only if the peer signed it, for this request.
func TestAnAnswerThatIsNotThePeersIsNotBelieved(t *testing.T) {
	var recorded *http.Response
	var recordedBody []byte
	keep := func(r *http.Response) []byte {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		return b
	}
	for what, alter := range map[string]func(w *wire){
		"altered": func(w *wire) {
			w.after = func(r *http.Response) { r.Body = io.NopCloser(strings.NewReader(`{"n":43,"from":"ra"}`)) }
		},
		"another status":  func(w *wire) { w.after = func(r *http.Response) { r.StatusCode = 422 } },
		"unsigned":        func(w *wire) { w.after = func(r *http.Response) { r.Header.Del("Hufu-Signature") } },
		"of another peer": func(w *wire) { w.server.Key = &wrong{w.theirs, key(t)} },
		"too long":        func(w *wire) { w.after = func(r *http.Response) { r.Body = io.NopCloser(endless{}) } },
		"to an older call": func(w *wire) {
			w.after = func(r *http.Response) { recorded, recordedBody = r, keep(r) }
			if _, err := w.double(20); err != nil {
				t.Fatal(err)
			}
			w.after = func(r *http.Response) { *r = *recorded; r.Body = io.NopCloser(bytes.NewReader(recordedBody)) }
		},
	} {
		w := strung(t)
		alter(w)
		if out, err := w.double(21); err == nil || refusal.Of(err) != nil {
			t.Errorf("%s: %+v %v", what, out, err)
		}
	}
}

// endless is an answer that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// wrong is known by one key and signs with another.
type wrong struct {
	*sm2.PrivateKey
	with *sm2.PrivateKey
}

func (w *wrong) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return w.with.Sign(r, digest, opts)
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	w := strung(t)
	if err := w.client.Call(t.Context(), "/nowhere", ask{1}, new(told)); err == nil || refusal.Of(err) != nil {
		t.Errorf("an unknown path: %v", err)
	}
	if err := w.client.Call(t.Context(), "/double", map[string]string{"n": strings.Repeat("1", 200)}, new(told)); err == nil || len(w.turned) != 1 {
		t.Errorf("too long: %v", err)
	}
	for _, in := range []any{map[string]any{"n": 1, "m": 2}, map[string]any{"n": "1"}, []int{1}} {
		if err := w.client.Call(t.Context(), "/double", in, new(told)); !errors.Is(err, link.Malformed) && (refusal.Of(err) == nil || refusal.Of(err).Reason.Code != "link.malformed") {
			t.Errorf("%v: %v", in, err)
		}
	}
	if resp, err := http.Get(w.client.URL + "/double"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v %v", resp, err)
	}
	if w.calls != 0 {
		t.Errorf("%d calls", w.calls)
	}
}

// A recorded request may be sent again while its time lasts; it asks the same
// and is answered the same. Later it is turned away.
func TestAReplayAsksTheSame(t *testing.T) {
	w := strung(t)
	if _, err := w.double(21); err != nil {
		t.Fatal(err)
	}
	recorded, body := w.last, w.lastBody
	send := func() (int, string) {
		r := recorded.Clone(t.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, answer := send(); status != 200 || !strings.HasPrefix(answer, `{"n":42,`) {
		t.Errorf("%d %s", status, answer)
	}
	w.server.Now = func() time.Time { return time.Now().Add(6 * time.Minute) }
	if status, _ := send(); status != http.StatusForbidden {
		t.Errorf("after its time: %d", status)
	}
}
