package escrow_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/wire/escrow"
)

func centre(t *testing.T, answer func(context.Context, []byte) ([]byte, error)) escrow.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(escrow.Path, escrow.Handler{Answer: answer})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return escrow.Client{URL: s.URL, HTTP: s.Client()}
}

func TestBytesArriveAsTheyWereSent(t *testing.T) {
	message := bytes.Repeat([]byte{0, 0x30, 0xff, '\r', '\n'}, 1000)
	var source string
	c := centre(t, func(ctx context.Context, request []byte) ([]byte, error) {
		source = escrow.Source(ctx)
		return append([]byte("re:"), request...), nil
	})
	got, err := c.Ask(t.Context(), message)
	if err != nil || !bytes.Equal(got, append([]byte("re:"), message...)) {
		t.Errorf("%v, %d bytes", err, len(got))
	}
	if !strings.HasPrefix(source, "127.0.0.1:") {
		t.Errorf("source %q", source)
	}
}

func TestARefusalArrivesAsARefusal(t *testing.T) {
	for _, kind := range []refusal.Kind{refusal.Invalid, refusal.Forbidden, refusal.NotFound, refusal.Conflict, refusal.Limit} {
		no := &refusal.Reason{Kind: kind, Code: "km.x", Text: "不行", Clause: "§1", Fix: "改正"}
		c := centre(t, func(context.Context, []byte) ([]byte, error) { return nil, no.At("caName", "§2").Because("因为") })
		_, err := c.Ask(t.Context(), []byte{1})
		f := refusal.Of(err)
		if f == nil {
			t.Fatalf("kind %d: %v", kind, err)
		}
		want := refusal.Report{Code: "km.x", Field: "caName", Clause: "§2", Fix: "改正", Text: "不行：因为"}
		if f.Reason.Kind != kind || f.Report() != want {
			t.Errorf("kind %d: %+v", f.Reason.Kind, f.Report())
		}
	}
}

func TestAFailureTellsTheCANothing(t *testing.T) {
	c := centre(t, func(context.Context, []byte) ([]byte, error) { return nil, errors.New("disk /dev/sdb is full") })
	_, err := c.Ask(t.Context(), []byte{1})
	if err == nil || refusal.Of(err) != nil || strings.Contains(err.Error(), "disk") {
		t.Errorf("got %v", err)
	}
}

func TestALongMessageIsRefused(t *testing.T) {
	c := centre(t, func(context.Context, []byte) ([]byte, error) {
		t.Error("it was answered")
		return nil, nil
	})
	_, err := c.Ask(t.Context(), make([]byte, escrow.BodyMax+1))
	if f := refusal.Of(err); f == nil || f.Reason.Code != escrow.TooLong.Code {
		t.Errorf("got %v", err)
	}
}

func TestOnlyPostIsAnswered(t *testing.T) {
	w := httptest.NewRecorder()
	escrow.Handler{}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, escrow.Path, nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestAPageInBetweenIsNoAnswer(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a login page":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"a gateway's 403": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
	} {
		s := httptest.NewServer(h)
		_, err := escrow.Client{URL: s.URL, HTTP: s.Client()}.Ask(t.Context(), []byte{1})
		s.Close()
		if err == nil || refusal.Of(err) != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
