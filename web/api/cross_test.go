package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
)

// A page of another site can have nothing done here, whatever it sends.
func TestWritesFromOtherSitesAreRefused(t *testing.T) {
	s := open(t)
	own := strings.TrimPrefix(s.url, "http://")
	for _, c := range []struct {
		origin, fetch string
		foreign       bool
	}{
		{"", "", false}, {"http://" + own, "same-origin", false}, {"http://" + own, "", false},
		{"http://evil.example", "cross-site", true}, {"http://evil.example", "", true}, {"null", "", true}, {"", "cross-site", true}, {"http://" + own, "same-site", true},
	} {
		code, r := sent(t, s, `{"cert":""}`, c.origin, c.fetch)
		if got := code == http.StatusForbidden && r.Code == "api.cross_site" && r.Fix != ""; got != c.foreign {
			t.Errorf("%+v: %d %+v", c, code, r)
		}
	}
}

// A file that is empty or too large is the field that is wrong.
func TestAnEmptyOrOversizeBodyIsNamed(t *testing.T) {
	s := open(t)
	for body, says := range map[string]string{"": "请求没有内容", `{"cert":"` + strings.Repeat("A", 2<<20) + `"}`: "超过 1 MB"} {
		if _, r := sent(t, s, body, "", ""); r.Field != "file" || !strings.Contains(r.Text, says) {
			t.Errorf("%d bytes: %+v", len(body), r)
		}
	}
}

func sent(t *testing.T, s *site, body, origin, fetch string) (int, refusal.Report) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/session/prepare", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{"Origin": origin, "Sec-Fetch-Site": fetch} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r refusal.Report
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, r
}
