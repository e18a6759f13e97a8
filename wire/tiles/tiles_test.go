package tiles_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/wire/link"
	"github.com/hufu-pki/hufu/wire/tiles"
)

const origin = "test.hufu/ca"

// zones is a core with a ledger and a service zone that receives it.
type zones struct {
	t             *testing.T
	dir           string
	key           *sm2.PrivateKey // of the ledger
	core, other   tiles.Client
	sealed        int
	sent          []*http.Request
	bodies        [][]byte
	server        *httptest.Server
	first, second ledger.Batch
}

func keys(t *testing.T, n int) (list []*sm2.PrivateKey) {
	t.Helper()
	for range n {
		k, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, k)
	}
	return list
}

func build(t *testing.T) *zones {
	t.Helper()
	k := keys(t, 4)
	z := &zones{t: t, dir: t.TempDir(), key: k[0]}
	s := &link.Server{Key: k[1], Peers: map[string]*ecdsa.PublicKey{"core": &k[2].PublicKey, "ra": &k[3].PublicKey}, Now: time.Now}
	tiles.Mount(s, &ledger.Folder{Dir: z.dir, Key: &k[0].PublicKey, Origin: origin}, func() { z.sealed++ }, "core")
	z.server = httptest.NewServer(s)
	t.Cleanup(z.server.Close)
	as := func(name string, key *sm2.PrivateKey) tiles.Client {
		return tiles.Client{Link: &link.Client{URL: z.server.URL, Name: name, Key: key, Peer: &k[1].PublicKey, HTTP: &http.Client{Transport: z}, Now: time.Now}}
	}
	z.core, z.other = as("core", k[2]), as("ra", k[3])
	body := []byte("a certificate")
	z.first = ledger.Batch{Leaves: [][]byte{leaf("1"), leaf("2")}, Bodies: [][]byte{body}}
	z.second = ledger.Batch{First: 2, Leaves: [][]byte{leaf("3")}}
	return z
}

func leaf(text string) []byte {
	return record.Entry{Kind: "test", At: time.Unix(1, 0), Body: []byte(text)}.Bytes()
}

// RoundTrip keeps what crosses.
func (z *zones) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	z.sent, z.bodies = append(z.sent, r.Clone(context.Background())), append(z.bodies, body)
	return http.DefaultTransport.RoundTrip(r)
}

// checkpoint signs over leaves, with any key.
func (z *zones) checkpoint(key *sm2.PrivateKey, leaves ...[]byte) []byte {
	z.t.Helper()
	var hashes [][]byte
	for _, l := range leaves {
		hashes = append(hashes, ledger.LeafHash(l))
	}
	f, err := ledger.Frontier{}.Append(hashes...)
	if err != nil {
		z.t.Fatal(err)
	}
	note, err := ledger.Checkpoint{Origin: origin, Size: f.Size(), Root: f.Root(), At: time.Unix(2, 0).UTC()}.Sign(key)
	if err != nil {
		z.t.Fatal(err)
	}
	return note
}

func (z *zones) put(b ledger.Batch) {
	z.t.Helper()
	if err := z.core.Put(z.t.Context(), b); err != nil {
		z.t.Fatal(err)
	}
}

// picture is every file the service zone has.
func (z *zones) picture() map[string]string {
	z.t.Helper()
	files := map[string]string{}
	err := filepath.Walk(z.dir, func(path string, i os.FileInfo, err error) error {
		if err != nil || i.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		z.t.Fatal(err)
	}
	return files
}

func TestALedgerArrivesAndVerifies(t *testing.T) {
	z := build(t)
	z.put(z.first)
	if n, err := z.core.Size(t.Context()); err != nil || z.sealed != 0 {
		t.Errorf("%d %v: something is to be seen before its checkpoint", n, err)
	}
	for i, note := range [][]byte{z.checkpoint(z.key, z.first.Leaves...), z.checkpoint(z.key, append(z.first.Leaves, z.second.Leaves...)...)} {
		if err := z.core.Seal(t.Context(), note); err != nil || z.sealed != i+1 {
			t.Fatal(err)
		}
		r, err := ledger.Verify(t.Context(), ledger.Dir(z.dir), &z.key.PublicKey)
		if err != nil || r.Entries != int64(i+2) {
			t.Errorf("%+v %v", r, err)
		}
		z.put(z.second)
	}
	if n, err := z.core.Size(t.Context()); err != nil || n != 3 {
		t.Errorf("%d %v", n, err)
	}
	if b, err := ledger.Body(t.Context(), ledger.Dir(z.dir), alg.Digest(z.first.Bodies[0])); err != nil || string(b) != "a certificate" {
		t.Errorf("%s %v", b, err)
	}
}

// The service zone believes no checkpoint it cannot check itself, not even the core's.
func TestCheckpointsThatAreFalseAreNotTaken(t *testing.T) {
	z := build(t)
	z.put(z.first)
	if err := z.core.Seal(t.Context(), z.checkpoint(z.key, z.first.Leaves...)); err != nil {
		t.Fatal(err)
	}
	before := z.picture()
	altered := z.checkpoint(z.key, z.first.Leaves...)
	altered[len(origin)+1]++
	for what, note := range map[string][]byte{
		"by another key":         z.checkpoint(keys(t, 1)[0], z.first.Leaves...),
		"altered":                altered,
		"over other entries":     z.checkpoint(z.key, leaf("1"), leaf("x")),
		"over entries not put":   z.checkpoint(z.key, leaf("1"), leaf("2"), leaf("3")),
		"over fewer than before": z.checkpoint(z.key, leaf("1")),
		"nothing":                nil,
	} {
		if err := z.core.Seal(t.Context(), note); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if err := z.core.Put(t.Context(), ledger.Batch{First: 9, Leaves: [][]byte{leaf("9")}}); err == nil {
		t.Error("a gap was taken")
	}
	if z.sealed != 1 {
		t.Errorf("told of %d checkpoints", z.sealed)
	}
	after := z.picture()
	for path, was := range before {
		if after[path] != was {
			t.Errorf("%s changed", path)
		}
	}
}

func TestOnlyTheCorePushes(t *testing.T) {
	z := build(t)
	if err := z.other.Put(t.Context(), z.first); err == nil {
		t.Error("put")
	}
	if err := z.other.Seal(t.Context(), z.checkpoint(z.key, z.first.Leaves...)); err == nil || z.sealed != 0 {
		t.Error("sealed")
	}
	if _, err := z.other.Size(t.Context()); err == nil {
		t.Error("asked the size")
	}
	z.core.Link.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	if err := z.core.Put(t.Context(), z.first); err == nil {
		t.Error("an hour late")
	}
	if len(z.picture()) != 0 {
		t.Error("something was written")
	}
}

// Everything that crossed may cross again, in any order, and changes nothing.
func TestReplaysChangeNothing(t *testing.T) {
	z := build(t)
	z.put(z.first)
	if err := z.core.Seal(t.Context(), z.checkpoint(z.key, z.first.Leaves...)); err != nil {
		t.Fatal(err)
	}
	z.put(z.second)
	if err := z.core.Seal(t.Context(), z.checkpoint(z.key, append(z.first.Leaves, z.second.Leaves...)...)); err != nil {
		t.Fatal(err)
	}
	before := z.picture()
	for i := len(z.sent) - 1; i >= 0; i-- {
		r := z.sent[i].Clone(t.Context())
		r.Body = io.NopCloser(bytes.NewReader(z.bodies[i]))
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	after := z.picture()
	for path, was := range before {
		if after[path] != was {
			t.Errorf("%s changed", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
	if r, err := ledger.Verify(t.Context(), ledger.Dir(z.dir), &z.key.PublicKey); err != nil || r.Entries != 3 {
		t.Errorf("%+v %v", r, err)
	}
}

// full is a target that cannot write.
type full struct{ ledger.Target }

func (full) Put(context.Context, ledger.Batch) error { return errors.New("disk full") }

func TestATargetThatFailsIsAskedAgain(t *testing.T) {
	k := keys(t, 2)
	s := &link.Server{Key: k[0], Peers: map[string]*ecdsa.PublicKey{"core": &k[1].PublicKey}, Now: time.Now}
	tiles.Mount(s, full{}, func() {}, "core")
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	c := tiles.Client{Link: &link.Client{URL: srv.URL, Name: "core", Key: k[1], Peer: &k[0].PublicKey, HTTP: http.DefaultClient, Now: time.Now}}
	if err := c.Put(t.Context(), ledger.Batch{}); err == nil {
		t.Error("taken")
	}
}
