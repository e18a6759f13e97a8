package up_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/zone/describe"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/up"
)

// recorder carries links between zones and keeps every byte that crossed.
type recorder struct {
	mu  sync.Mutex
	all []crossing
}

type crossing struct {
	url    string
	header http.Header
	body   []byte
	status int
	answer []byte
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, crossing{req.URL.String(), req.Header.Clone(), body, resp.StatusCode, answer})
	return resp, nil
}

func (r *recorder) on(path string) (list []crossing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		if strings.HasSuffix(c.url, path) {
			list = append(list, c)
		}
	}
	return list
}

const identityNumber = "11010519491231002X"

// Every crossing between zones is bytes on a wire: recorded, they carry no
// identity number, and replayed, they change nothing and answer the same.
func TestZonesTalkOnlyInBytesThatCanBeReplayed(t *testing.T) {
	rec := &recorder{}
	dir := filepath.Join(t.TempDir(), "D")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- up.Run(ctx, up.Config{Dir: dir, Addr: "127.0.0.1", BasePort: 30500, Now: time.Now, Out: io.Discard, Links: rec})
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
	issued(t, e)
	for _, path := range []string{"/ca/v1/issue", "/km/v1/escrow", "/tiles/v1/put", "/tiles/v1/seal"} {
		if len(rec.on(path)) == 0 {
			t.Errorf("nothing crossed on %s", path)
		}
	}
	for _, c := range slices.Clone(rec.all) {
		if bytes.Contains(c.body, []byte(identityNumber)) || bytes.Contains(c.answer, []byte(identityNumber)) {
			t.Errorf("%s carries an identity number", c.url)
		}
	}
	replay(t, rec)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ending: %v", err)
	}
	everyKeyIsListed(t, dir)
}

// everyKeyIsListed compares the keys that lie in the folder with the inventory
// an applicant hands in (材料3, 密钥管理机制).
func everyKeyIsListed(t *testing.T, dir string) {
	t.Helper()
	listed := map[string]bool{}
	for _, k := range describe.Keys {
		listed[k.Label+".key"] = k.Label != ""
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "keys", "*.key"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if !listed[filepath.Base(f)] {
			t.Errorf("%s is not in the inventory of keys", f)
		}
		delete(listed, filepath.Base(f))
	}
	for name, real := range listed {
		if real {
			t.Errorf("%s is in the inventory and not in the folder", name)
		}
	}
}

// replay sends every recorded message again, byte for byte.
func replay(t *testing.T, rec *recorder) {
	t.Helper()
	for _, c := range slices.Clone(rec.all) {
		req, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = c.header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(c.url, "/seal"), strings.HasSuffix(c.url, "/size"), strings.HasSuffix(c.url, "/figures"), strings.HasSuffix(c.url, "/profiles"):
			// an old checkpoint is turned away; a size or a figure may have grown, and an
			// edition is signed anew: questions change nothing
		case resp.StatusCode != c.status, !bytes.Equal(answer, c.answer):
			t.Errorf("%s answers a replay with %d %.200s, before with %d %.200s", c.url, resp.StatusCode, answer, c.status, c.answer)
		}
	}
}

// issued takes one application to certificates.
func issued(t *testing.T, e desk.Endpoints) {
	t.Helper()
	ctx := t.Context()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := csr.New(dn.Name{}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	form, err := json.Marshal(map[string]any{
		"profile": "person-dual", "csr": string(csr.PEM(der)), "identity": map[string]string{"kind": "resident-id", "number": identityNumber},
		"subject": map[string]string{"C": "CN", "O": "某某局（样例）", "CN": "张三"},
	})
	if err != nil {
		t.Fatal(err)
	}
	people := map[string]*desk.Person{}
	for _, name := range []string{"ra-clerk", "ra-reviewer"} {
		p, err := desk.Open(e.People, name)
		if err != nil {
			t.Fatal(err)
		}
		p.URL = e.RA
		if err := p.SignIn(ctx); err != nil {
			t.Fatal(err)
		}
		people[name] = p
	}
	var line raapi.CaseLine
	if err := people["ra-clerk"].Call(ctx, http.MethodPost, "/api/v1/drafts", form, &line); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{{"ra-clerk", "submit"}, {"ra-reviewer", "approve"}} {
		if _, err := people[step[0]].RA(ctx, step[1], desk.Args{Words: []string{line.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		var v raapi.CaseView
		if err := people["ra-clerk"].Call(ctx, http.MethodGet, "/api/v1/cases/"+line.ID, nil, &v); err != nil {
			t.Fatal(err)
		}
		if v.State == "issued" {
			time.Sleep(300 * time.Millisecond) // the ledger follows
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("not issued")
}
