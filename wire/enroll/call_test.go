package enroll_test

import (
	"bytes"
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
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/wire/link"
)

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
	sent := []enroll.Request{{ID: "a1", Content: application.Bytes(), Evidence: []enroll.Evidence{{Signed: access.Signed{
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

// A change to the desk's people arrives as it was signed, and the roster comes
// back as it stands, or as the word that nothing changed.
func TestPeopleCrossTheWire(t *testing.T) {
	now := time.Now
	staff := accesstest.Open(accesstest.Database(t), now)
	for _, id := range []access.PersonID{"ra-clerk", "ra-admin", "ra-left"} {
		staff.Hire(t, id, access.RAClerk, access.RAReviewer)
	}
	err := staff.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err1 := staff.Freeze(tx, "ra-clerk", true)
		_, err2 := staff.End(tx, "ra-left", now())
		return errors.Join(err1, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	there, err := staff.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got enroll.Staff
	ra, stranger := core(t, enroll.Service{
		Staff: func(_ context.Context, s enroll.Staff) ([]byte, error) { got = s; return []byte{1, 2}, nil },
		Roster: func(_ context.Context, digest []byte) (enroll.Roster, error) {
			if bytes.Equal(digest, access.Digest(there)) {
				return enroll.Roster{Same: true}, nil
			}
			return enroll.RosterOf(there), nil
		},
	})
	sent := enroll.Staff{ID: "P1", Matter: "people.add:ra.clerk", Content: []byte(`{"id":"ra-x"}`), Evidence: []enroll.Evidence{{Item: access.Item{ID: "P1", Digest: []byte{7}}, Proof: access.Proof{Count: 1}}}}
	if der, err := ra.Staff(t.Context(), sent); err != nil || len(der) != 2 || !reflect.DeepEqual(got, sent) {
		t.Errorf("%+v %v", got, err)
	}
	r, err := ra.Roster(t.Context(), []byte("old"))
	if err != nil || r.Same {
		t.Fatalf("%+v %v", r, err)
	}
	here, err := r.People()
	if err != nil || !bytes.Equal(access.Digest(here), access.Digest(there)) || len(here) != 3 {
		t.Errorf("%+v %v", here, err)
	}
	if r, err := ra.Roster(t.Context(), access.Digest(here)); err != nil || !r.Same || len(r.Members) != 0 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := stranger.Staff(t.Context(), sent); err == nil {
		t.Error("a peer that is no registration system changes people")
	}
	if _, err := stranger.Roster(t.Context(), nil); err == nil {
		t.Error("a peer that is no registration system reads the roster")
	}
	if _, err := (enroll.Roster{Members: []enroll.Member{{ID: "ra-x", Cert: []byte{1}}}}).People(); err == nil {
		t.Error("a roster with no certificate in it")
	}
}
