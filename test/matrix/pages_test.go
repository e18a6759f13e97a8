package matrix

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/zone/desk"
)

// cookie is a browser as far as a session goes.
type cookie struct{ value string }

func (c *cookie) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.value != "" {
		r.Header.Set("Cookie", c.value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		for _, k := range resp.Cookies() {
			c.value = k.Name + "=" + k.Value
		}
	}
	return resp, err
}

// Every page about many certificates and about personal data is shown to who
// may see it, and to nobody else.
func TestPagesOfMany(t *testing.T) {
	w := open(t)
	var batch, bulk struct{ ID string }
	form := func() map[string]any {
		return map[string]any{"profile": "person-dual", "identity": map[string]string{"kind": "resident-id", "number": "11010519491231002X"}, "csr": request(t, "张三")}
	}
	bulk.ID = w.paused("freeze", form)
	w.must("ra-clerk", "POST", "/api/v1/sheets?name=a.json", []byte(`[{"profile":7}]`), &batch)
	var cases struct{ Cases []struct{ ID string } }
	w.must("ra-clerk", "GET", "/api/v1/cases?kind=ra.issue", nil, &cases)
	var kept struct{ Digest string }
	w.must("ra-clerk", "POST", "/api/v1/evidence?name=a.txt", []byte("授权书"), &kept)
	w.unit("91350100M000100Y43", kept.Digest)
	w.done("ra-admin", w.agree("body.open", map[string]any{"id": "hz", "name": "受托中心", "unit": "91350100M000100Y43", "head": "某", "address": "某路", "agreement": kept.Digest, "from": "2026-01-01", "to": "2099-12-31", "profiles": []string{"person-dual"}}, "ra-admin", "ra-super"))
	w.done("ra-admin", w.agree("body.assign", map[string]string{"person": "ra-clerk2", "id": "hz"}, "ra-admin", "ra-super"))
	var units struct{ Cases []struct{ ID string } }
	w.must("ra-clerk", "GET", "/api/v1/cases?kind=ra.unit", nil, &units)
	unit, of := "/units/91350100M000100Y43", "/cases/"+units.Cases[0].ID
	for who, pages := range map[string]map[string]int{
		"ra-clerk": {"/bulks": 200, "/bulks/" + bulk.ID: 200, "/bulks/M0": 404, "/sheets/" + batch.ID: 200, "/cases/" + cases.Cases[0].ID: 200, "/cases": 200, "/readings": 403,
			"/units": 200, unit: 200, "/units/new": 200, unit + "/edit": 200, "/apply?unit=91350100M000100Y43": 200, of: 200, of + "/form": 200, of + "/receipt": 200, "/units/none": 404, "/bodies": 200, "/statistics": 200},
		"ra-clerk2":   {"/cases": 200, "/cases/" + cases.Cases[0].ID: 404, "/bulks/" + bulk.ID: 404, "/sheets/" + batch.ID: 404, unit: 404, of: 404, "/bodies": 200, "/statistics": 200, "/units": 200, "/": 200},
		"ra-admin":    {"/bodies": 200, "/units/new": 403},
		"ra-reviewer": {"/bulks": 200, "/bulks/" + bulk.ID: 200, "/sheets/" + batch.ID: 200, "/cases/" + cases.Cases[0].ID: 200, "/readings": 403},
		"ra-auditor":  {"/bulks": 200, "/bulks/" + bulk.ID: 200, "/sheets/" + batch.ID: 200, "/readings": 200},
	} {
		p, err := desk.Open(w.e.People, who)
		if err != nil {
			t.Fatal(err)
		}
		p.URL, p.HTTP = w.e.RA, &http.Client{Transport: new(cookie)}
		if err := p.SignIn(t.Context()); err != nil {
			t.Fatal(err)
		}
		for path, want := range pages {
			resp, err := p.HTTP.Get(strings.TrimSuffix(w.e.RA, "/") + path)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != want {
				t.Errorf("%s, %s: %d, want %d", who, path, resp.StatusCode, want)
			}
		}
	}
}

// The page of profiles and settings shows everybody at the CA what is in force
// and how it came to be, and the form fills in what is set.
func TestThePageOfRules(t *testing.T) {
	w := open(t)
	w.done("ca-admin", w.agree("profile.change", map[string]any{"profile": "device-dual", "days_max": 700, "reason": "例行"}, "ca-admin", "ca-super"))
	w.done("ca-admin", w.agree("setting.change", map[string]any{"crl_days": 5, "reason": "例行"}, "ca-admin", "ca-super"))
	for who, pages := range map[string]map[string][]string{
		"ca-auditor": {"/rules": {"第 2 版模板库", "device-dual", ">700<", "profile:device-dual", "5 天", "第 1 版", "16 个", `&#34;max&#34;:700`}},
		"ca-admin":   {"/propose?matter=profile.change": {"有效期上限", "只发布摘要", "device-dual"}, "/propose?matter=setting.change": {`value="5"`, `value="16"`}},
	} {
		p, err := desk.Open(w.e.People, who)
		if err != nil {
			t.Fatal(err)
		}
		p.URL, p.HTTP = w.e.CAConsole, &http.Client{Transport: new(cookie)}
		if err := p.SignIn(t.Context()); err != nil {
			t.Fatal(err)
		}
		for path, want := range pages {
			resp, err := p.HTTP.Get(strings.TrimSuffix(w.e.CAConsole, "/") + path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s, %s: %d %v", who, path, resp.StatusCode, err)
			}
			for _, s := range want {
				if !strings.Contains(string(text), s) {
					t.Errorf("%s, %s: no %q", who, path, s)
				}
			}
		}
	}
}
