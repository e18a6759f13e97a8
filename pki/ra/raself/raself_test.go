package raself_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raself"
	"github.com/hufu-pki/hufu/pki/ra/rastore"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
	"github.com/hufu-pki/hufu/web/api"
)

// world is the service with one subscriber, who really signs.
type world struct {
	t     *testing.T
	staff ratest.Staff
	url   string
	now   time.Time
	token string
}

func open(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: ratest.Now}
	clock := func() time.Time { return w.now }
	db, err := sqldb.Open(context.Background(), filepath.Join(t.TempDir(), "ra.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := rastore.Open(t.Context(), db, clock)
	if err != nil {
		t.Fatal(err)
	}
	w.staff = ratest.Hire(t, w.now, map[string][]access.Role{"holder": {access.Holder}})
	desk := &ra.Registrar{Store: store, Now: clock, Self: access.Desk{Site: "注册系统", People: w.staff, Now: clock, Secret: make([]byte, 32)}}
	h, err := (&raself.Service{Desk: desk}).Handler(&audit.Trail{DB: db, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	w.url = s.URL + raself.Under
	return w
}

// post returns the code of a refusal and its field, or the answer.
func (w *world) post(path string, in, out any) (code, field string) {
	w.t.Helper()
	data, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, bytes.NewReader(data))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var no struct{ Code, Field string }
	if resp.StatusCode >= 300 {
		if err := json.Unmarshal(body, &no); err != nil || (no.Code == ra.TooOften.Code) != (resp.StatusCode == http.StatusTooManyRequests) {
			w.t.Fatalf("%d %s %v", resp.StatusCode, body, err)
		}
	} else if err := json.Unmarshal(body, out); err != nil {
		w.t.Fatal(err)
	}
	return no.Code, no.Field
}

func (w *world) claim() access.Claim {
	w.t.Helper()
	var st api.Prepared
	cert := w.staff.Who["holder"].Cert
	if code, _ := w.post("/api/v1/session/prepare", map[string][]byte{"cert": cert}, &st); code != "" {
		w.t.Fatal(code)
	}
	sig, err := alg.Sign(w.staff.Keys["holder"], []byte(st.Text))
	if err != nil {
		w.t.Fatal(err)
	}
	return access.Claim{Cert: cert, At: st.At, Nonce: st.Nonce, Signature: sig}
}

// A statement lets its signer in once, within five minutes, and only the one
// that the service drafted.
func TestAStatementLetsInOnce(t *testing.T) {
	w := open(t)
	c := w.claim()
	var me api.Me
	forged := c
	forged.Nonce = access.NonceOf(make([]byte, 32))
	for _, try := range []struct {
		name, code, field string
		claim             access.Claim
	}{
		{"not ours", access.BadSignature.Code, "nonce", forged}, {"ours", "", "", c}, {"again", access.Replayed.Code, "nonce", c},
	} {
		if code, field := w.post("/api/v1/session", try.claim, &me); code != try.code || field != try.field {
			t.Errorf("%s: %q at %q", try.name, code, field)
		}
	}
	late := w.claim()
	w.now = w.now.Add(access.Window + 2*time.Second)
	if code, _ := w.post("/api/v1/session", late, &me); code != access.Stale.Code {
		t.Errorf("late: %q", code)
	}
}

// Whoever asks too often waits, by certificate and by address; the hour over,
// they go on.
func TestWhoeverAsksTooOftenWaits(t *testing.T) {
	w := open(t)
	var me api.Me
	if code, _ := w.post("/api/v1/session", w.claim(), &me); code != "" {
		t.Fatal(code)
	}
	w.token = me.Token
	ask := func() (code, field string) {
		return w.post("/api/v1/requests/prepare", ra.Wish{Do: "nothing"}, new(api.Prepared))
	}
	for i := range 20 {
		if code, _ := ask(); code != ra.NoAct.Code {
			t.Fatalf("%d: %q", i, code)
		}
	}
	if code, field := ask(); code != ra.TooOften.Code || field != "certificate" {
		t.Errorf("%q at %q", code, field)
	}
	w.now = w.now.Add(20 * time.Minute)
	for i := 0; ; i++ {
		code, field := ask()
		if code != ra.TooOften.Code || i > 120 {
			t.Fatalf("%d: %q", i, code)
		}
		if field == "address" {
			break
		}
	}
	for range 3 { // a session that is used lasts
		w.now = w.now.Add(20 * time.Minute)
		if code, field := ask(); code != ra.NoAct.Code && !(code == ra.TooOften.Code && field == "certificate") {
			t.Fatalf("%q at %q", code, field)
		}
	}
	if code, _ := ask(); code != ra.NoAct.Code {
		t.Errorf("the hour is over: %q", code)
	}
}
