package enroll_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/wire/link"
)

func application() enroll.Application {
	return enroll.Application{ID: "a1", Profile: "person-dual", Version: 1, Subject: dn.Name{C: "CN", O: "某某局", OU: dn.Units{"办公室"}, CN: "张三<&>䶮"}, Days: 365,
		CSR: []byte{0x30, 0}, Identity: enroll.Identity{Kind: "resident-id", Masked: "1101**********002X", Commitment: []byte{1}},
		Check: enroll.IdentityCheck{Method: "in-person", By: "li", At: "2026-01-01T00:00:00Z"}, Notices: []string{"n"}, Accord: "1", CPS: "1"}
}

// What people sign has one spelling: any other is refused, even if it says the same.
func TestAContentHasOneSpelling(t *testing.T) {
	a := application()
	b := a.Bytes()
	var back enroll.Application
	if err := enroll.Decode(b, &back); err != nil || !reflect.DeepEqual(back, a) || !strings.Contains(string(b), "张三<&>䶮") {
		t.Fatalf("%v\n%s", err, b)
	}
	text := string(b)
	for what, other := range map[string]string{
		"blanks":           strings.Replace(text, ":", ": ", 1),
		"a line end":       text + "\n",
		"escapes":          strings.Replace(text, "<", `\u003c`, 1),
		"an unknown field": strings.Replace(text, "{", `{"role":"ca",`, 1),
		"a field twice":    strings.Replace(text, `"days":365`, `"days":1,"days":365`, 1),
		"another case":     strings.Replace(text, `"days"`, `"Days"`, 1),
		"more after it":    text + "{}",
		"half of it":       text[:len(text)/2],
		"an empty field":   strings.Replace(text, `"csr"`, `"san":[],"csr"`, 1),
		"nothing":          "",
	} {
		if err := enroll.Decode([]byte(other), new(enroll.Application)); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	r := enroll.Revocation{ID: "r1", Serial: "0A", Reason: "keyCompromise"}
	if err := enroll.Decode(r.Bytes(), new(enroll.Revocation)); err != nil {
		t.Error(err)
	}
	if err := enroll.Decode(b, new(enroll.Revocation)); err == nil {
		t.Error("an application passes for a revocation")
	}
}

// A statement covers one content of one case, and no other.
func TestEvidenceCoversOneContent(t *testing.T) {
	content := application().Bytes()
	item := access.Item{Kind: "ra.issue", ID: "a1", Seq: 2, Digest: alg.Digest(content)}
	other := access.Item{Kind: "ra.issue", ID: "a2", Digest: alg.Digest([]byte("x"))}
	items := []access.Item{other, item}
	good := func() enroll.Evidence {
		return enroll.Evidence{Signed: access.Signed{Statement: access.Statement{Digest: access.Root(items), Count: 2}}, Item: item, Proof: access.ProofOf(items, 1)}
	}
	if !good().Covers("ra.issue", "a1", content) {
		t.Fatal("does not cover what was signed")
	}
	for what, e := range map[string]func() bool{
		"another kind":    func() bool { return good().Covers("ra.revoke", "a1", content) },
		"another case":    func() bool { return good().Covers("ra.issue", "a2", content) },
		"another content": func() bool { return good().Covers("ra.issue", "a1", append(content, ' ')) },
		"another place":   func() bool { e := good(); e.Proof.Index = 0; return e.Covers("ra.issue", "a1", content) },
		"another count":   func() bool { e := good(); e.Signed.Count = 3; return e.Covers("ra.issue", "a1", content) },
		"another root": func() bool {
			e := good()
			e.Signed.Digest = access.Root(items[:1])
			return e.Covers("ra.issue", "a1", content)
		},
		"another step": func() bool { e := good(); e.Item.Seq = 3; return e.Covers("ra.issue", "a1", content) },
		"no path":      func() bool { e := good(); e.Proof.Path = nil; return e.Covers("ra.issue", "a1", content) },
	} {
		if e() {
			t.Errorf("covers %s", what)
		}
	}
}

// core is a CA core with an RA at the other end of the wire.
func core(t *testing.T, v enroll.Service) (ra, stranger enroll.Client) {
	t.Helper()
	var keys [3]*sm2.PrivateKey
	for i := range keys {
		k, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	s := &link.Server{Key: keys[0], Peers: map[string]*ecdsa.PublicKey{"ra": &keys[1].PublicKey, "office": &keys[2].PublicKey}, Now: time.Now}
	v.Mount(s, "ra")
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	as := func(name string, k *sm2.PrivateKey) enroll.Client {
		return enroll.Client{Link: &link.Client{URL: srv.URL, Name: name, Key: k, Peer: &keys[0].PublicKey, HTTP: http.DefaultClient, Now: time.Now}}
	}
	return as("ra", keys[1]), as("office", keys[2])
}

func TestRequestsArriveAsTheyWereSigned(t *testing.T) {
	full := &refusal.Reason{Kind: refusal.Conflict, Code: "ca.full", Text: "满", Clause: "§1", Fix: "等"}
	report := full.At("profile", "§2").Report()
	var got []enroll.Request
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ra, stranger := core(t, enroll.Service{
		Issue: func(_ context.Context, list []enroll.Request) ([]enroll.Answer, error) {
			got = list
			return []enroll.Answer{{Reply: enroll.Reply{Sign: []byte{1}, Enc: []byte{2}, Sealed: []byte{3}}}, {Kind: full.Kind, Refusal: &report}, {}}, nil
		},
		Revoke: func(_ context.Context, r enroll.Request) (enroll.Revoked, error) {
			if r.ID == "no" {
				return enroll.Revoked{}, full.At("serial", "§3")
			}
			return enroll.Revoked{Serials: []string{"0A", "0B"}, At: at}, nil
		},
	})
	sent := []enroll.Request{{ID: "a1", Content: application().Bytes(), Evidence: []enroll.Evidence{{Signed: access.Signed{
		Statement: access.Statement{Site: "注册系统", Act: "ra.approve", Person: "li", At: at, Nonce: "n"}, Text: []byte("虎符操作声明"), Signature: []byte{9}, Cert: []byte{8}},
		Item: access.Item{Kind: "ra.issue", ID: "a1", Digest: []byte{7}}, Proof: access.Proof{Count: 1}}}}, {ID: "a2"}, {ID: "a3"}}
	answers, err := ra.Issue(t.Context(), sent)
	if err != nil || len(answers) != 3 || answers[0].Reply.Sign[0] != 1 || answers[1].Kind != full.Kind || *answers[1].Refusal != report || answers[2].Reply.Sign != nil || answers[2].Refusal != nil {
		t.Errorf("%+v %v", answers, err)
	}
	if !reflect.DeepEqual(got[0], sent[0]) {
		t.Errorf("sent %+v\ngot %+v", sent[0], got[0])
	}
	done, err := ra.Revoke(t.Context(), enroll.Request{ID: "r1"})
	if err != nil || len(done.Serials) != 2 || !done.At.Equal(at) {
		t.Errorf("%+v %v", done, err)
	}
	if _, err = ra.Revoke(t.Context(), enroll.Request{ID: "no"}); refusal.Of(err) == nil || refusal.Of(err).Reason.Code != "ca.full" || refusal.Of(err).Field != "serial" {
		t.Error(err)
	}
	got = nil
	if _, err := stranger.Issue(t.Context(), sent); err == nil || got != nil {
		t.Errorf("a peer that is no registration system was served: %v", err)
	}
	if _, err := stranger.Revoke(t.Context(), sent[0]); err == nil {
		t.Error("a peer that is no registration system revokes")
	}
}

func TestWhatTheCoreDoesNotTake(t *testing.T) {
	calls := 0
	ra, _ := core(t, enroll.Service{
		Issue: func(context.Context, []enroll.Request) ([]enroll.Answer, error) {
			calls++
			return nil, errors.New("disk /dev/sdb is full")
		},
		Revoke: func(context.Context, enroll.Request) (enroll.Revoked, error) { calls++; return enroll.Revoked{}, nil },
	})
	big := make([]byte, enroll.MessageMax)
	if _, err := ra.Issue(t.Context(), []enroll.Request{{ID: "a", Content: big}}); err == nil || calls != 0 {
		t.Errorf("too large: %v", err)
	}
	if _, err := ra.Revoke(t.Context(), enroll.Request{ID: "a", Content: big[:1<<20]}); err == nil || calls != 0 {
		t.Errorf("too large: %v", err)
	}
	if _, err := ra.Issue(t.Context(), nil); err == nil || refusal.Of(err) != nil || strings.Contains(err.Error(), "disk") || calls != 1 {
		t.Errorf("a failure: %v", err)
	}
	ra.Link.Peer = &ra.Link.Key.(*sm2.PrivateKey).PublicKey
	if _, err := ra.Issue(t.Context(), nil); err == nil || calls != 1 {
		t.Errorf("meant for another: %v", err)
	}
}
