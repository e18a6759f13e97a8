package up_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/up"
)

// Responders' certificates, the root's too, are renewed by themselves in the last
// third of their time, before anybody is refused an answer.
func TestRespondersAreRenewedBeforeTheyEnd(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	dir := filepath.Join(t.TempDir(), "D")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- up.Run(ctx, up.Config{Dir: dir, Addr: "127.0.0.1", BasePort: 30600, Now: now, Out: io.Discard})
	}()
	var e desk.Endpoints
	for e.RA == "" {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
		if err := e.Read(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	read := func(name string) *cert.Certificate {
		data, err := os.ReadFile(filepath.Join(dir, "certificates", name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := cert.FromPEM(data)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	asked := func(of, about *cert.Certificate) []byte {
		resp, err := http.Post(e.OCSP, "application/ocsp-request", bytes.NewReader(ocsp.NewRequest([]byte("0123456789abcdef"), ocsp.Ask(alg.SM3, true, of, about.Serial.Bytes()))))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		der, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ocsp.Parse(der)
		if err != nil || a.Code != ocsp.Successful || a.Verify(of, now()) != nil {
			t.Fatalf("%v %v", a, err)
		}
		return der
	}
	cases := []struct{ of, about, first *cert.Certificate }{
		{read("operating-ca"), read("ra-server"), read("ocsp")}, {read("root-ca"), read("ocsp-root"), read("ocsp-root")},
	}
	for _, c := range cases {
		if !bytes.Contains(asked(c.of, c.about), c.first.Raw) {
			t.Error("another responder answers at first")
		}
	}
	ahead.Store(int64(250 * 24 * time.Hour))
	deadline := time.Now().Add(20 * time.Second)
	for _, c := range cases {
		for bytes.Contains(asked(c.of, c.about), c.first.Raw) {
			if time.Now().After(deadline) {
				t.Fatal("not renewed")
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	ahead.Store(int64(400 * 24 * time.Hour)) // the first ones have ended
	for _, c := range cases {
		asked(c.of, c.about)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
