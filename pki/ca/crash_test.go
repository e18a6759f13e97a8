package ca_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/catest"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// everywhere runs a test with the store failing before and after each call it
// makes, then with the key centre failing likewise, until no call fails.
func everywhere(t *testing.T, test func(t *testing.T, p *place)) {
	for _, what := range []string{"store", "key centre"} {
		for _, after := range []bool{false, true} {
			for at, more := 1, true; more && at < 200; at++ {
				t.Run(fmt.Sprintf("%s, call %d, after %v", what, at, after), func(t *testing.T) {
					p := newPlace(t)
					f := &catest.Failing{Store: p.memory, At: at, After: after}
					if what == "store" {
						p.Store = f
					} else {
						p.keys.at, p.keys.after = at, after
					}
					test(t, p)
					more = f.Failed() && what == "store" || p.keys.calls >= at && what != "store"
				})
			}
		}
	}
}

// persist asks until the answer is whole, as the registration desk does.
func (p *place) persist(t *testing.T, requests []enroll.Request) []ca.Result {
	t.Helper()
	for range 4 {
		results, err := p.Issue(t.Context(), requests)
		if err != nil && !errors.Is(err, catest.ErrCrash) {
			t.Fatal(err)
		}
		whole := err == nil
		for _, r := range results {
			whole = whole && (r.Err == nil || refusal.Of(r.Err) != nil)
		}
		if whole {
			return results
		}
	}
	t.Fatal("asking again does not finish the work")
	return nil
}

// Wherever the store or the key centre fails, asking again finishes the work,
// and the key has signed one thing only: the thing on record.
func TestIssueAfterCrash(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		busy := newKey(t)
		requests := []enroll.Request{
			p.fresh(t, "A1"), p.request(t, device(t, "A2", busy), "clerk", "reviewer"), p.fresh(t, "A3"),
			p.request(t, application(t, "A4", busy), "clerk", "reviewer"), // its key is A2's
			p.request(t, device(t, "A5", newKey(t)), "clerk", "reviewer"),
		}
		results := p.persist(t, requests)
		serials := map[string]bool{}
		for i, r := range results {
			if i == 3 {
				if !errors.Is(r.Err, ca.KeyInUse) {
					t.Errorf("a key in use: %v", r.Err)
				}
				continue
			}
			if r.Err != nil {
				t.Fatalf("%s: %v", requests[i].ID, r.Err)
			}
			ders := [][]byte{r.Reply.Sign, r.Reply.Enc}
			if i == 1 || i == 4 {
				ders = ders[:1]
			}
			for _, der := range ders {
				serials[p.certificate(t, der).SerialHex()] = true
			}
		}
		if len(serials) != 6 {
			t.Errorf("%d serials in six certificates", len(serials))
		}
		if n := len(p.keys.given); n != 2 {
			t.Errorf("the key centre gave %d keys for two requests", n)
		}
		p.sameAgain(t, requests, results)
	})
}

// sameAgain checks that what is finished is repeated, not done again.
func (p *place) sameAgain(t *testing.T, requests []enroll.Request, results []ca.Result) {
	t.Helper()
	signed := len(p.key.messages)
	p.Store, p.keys.at = p.memory, 0
	again, err := p.Issue(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if !bytes.Equal(again[i].Reply.Sign, r.Reply.Sign) || !bytes.Equal(again[i].Reply.Enc, r.Reply.Enc) || !bytes.Equal(again[i].Reply.Sealed, r.Reply.Sealed) {
			t.Errorf("%s is answered differently", requests[i].ID)
		}
	}
	if n := len(p.key.messages); n != signed {
		t.Errorf("%d more signatures", n-signed)
	}
	if lines, leaves := len(p.memory.Lines()), len(p.memory.Leaves()); lines != 4 || leaves != 8 {
		t.Errorf("%d audit lines and %d leaves, want 4 and 8", lines, leaves)
	}
	p.key.check(t)
}

// late is a store as a second caller saw it that looked a moment too early.
type late struct{ ca.Store }

func (l late) Jobs(context.Context, []string) (map[string]ca.Job, error) {
	return map[string]ca.Job{}, nil
}

// Two callers ask for one request at once: neither is refused, for a refusal
// would send the case back while its certificate is being signed.
func TestARequestAskedTwiceAtOnceIsNotRefused(t *testing.T) {
	p := newPlace(t)
	for _, id := range []string{"A1", "A2"} {
		r := p.fresh(t, id)
		first, err := p.Issue(t.Context(), []enroll.Request{r})
		if err != nil || first[0].Err != nil {
			t.Fatal(err, first)
		}
		second := *p.Issuer
		second.Store = late{p.memory}
		if results, err := second.Issue(t.Context(), []enroll.Request{r}); err == nil {
			t.Errorf("answered %v", results[0].Err)
		}
		if again, err := p.Issue(t.Context(), []enroll.Request{r}); err != nil || !bytes.Equal(again[0].Reply.Sign, first[0].Reply.Sign) {
			t.Errorf("asked once more: %v", err)
		}
	}
	p.key.check(t)
}

// What the key centre does not give to one it does not take from the others.
func TestTheKeyCentreFailsOneAndNotTheOthers(t *testing.T) {
	p := newPlace(t)
	p.keys.deny, p.keys.spoil = "张三A1", "张三A2"
	requests := []enroll.Request{p.fresh(t, "A1"), p.fresh(t, "A2"), p.fresh(t, "A3")}
	results, err := p.Issue(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(results[0].Err, ca.NoKey) || results[1].Err == nil || errors.Is(results[1].Err, ca.NoKey) || results[2].Err != nil {
		t.Errorf("%v, %v, %v", results[0].Err, results[1].Err, results[2].Err)
	}
	p.keys.deny, p.keys.spoil = "", ""
	if jobs, err := p.memory.Jobs(t.Context(), []string{"A1"}); err != nil || len(jobs) != 0 {
		t.Errorf("a request refused for good stays open: %v %v", jobs, err)
	}
	again, err := p.Issue(t.Context(), requests)
	if err != nil || again[0].Err != nil || again[1].Err != nil || !bytes.Equal(again[2].Reply.Sign, results[2].Reply.Sign) {
		t.Errorf("once it is well again: %v %+v", err, again)
	}
	p.key.check(t)
}

// A key centre out of reach holds up the requests that need it, and only those.
func TestAKeyCentreOutOfReachHoldsUpOnlyPairs(t *testing.T) {
	p := newPlace(t)
	requests := []enroll.Request{p.fresh(t, "A1"), p.request(t, device(t, "A2", newKey(t)), "clerk", "reviewer")}
	p.keys.at = 2 // writing the message is the first call
	results, err := p.Issue(t.Context(), requests)
	if err != nil || results[0].Err == nil || refusal.Of(results[0].Err) != nil || results[1].Err != nil || results[1].Reply.Sign == nil {
		t.Fatalf("%v %+v", err, results)
	}
	if again, err := p.Issue(t.Context(), requests); err != nil || again[0].Err != nil || !bytes.Equal(again[1].Reply.Sign, results[1].Reply.Sign) {
		t.Errorf("once it answers: %v %+v", err, again)
	}
	p.key.check(t)
}

// tampered is a store whose drafts somebody has altered.
type tampered struct{ ca.Store }

func (s tampered) Jobs(ctx context.Context, ids []string) (map[string]ca.Job, error) {
	jobs, err := s.Store.Jobs(ctx, ids)
	if j, ok := jobs["A1"]; ok {
		j.TBS.Sign = bytes.Replace(j.TBS.Sign, []byte("张三"), []byte("李四"), 1)
		jobs["A1"] = j
	}
	return jobs, err
}

// What comes back from a database is checked like what goes in: an altered
// draft is not signed, and its neighbours are not held up.
func TestAnAlteredDraftIsNotSigned(t *testing.T) {
	p := newPlace(t)
	requests := []enroll.Request{p.fresh(t, "A1"), p.request(t, device(t, "A2", newKey(t)), "clerk", "reviewer")}
	p.Store = &catest.Failing{Store: p.memory, At: 5} // Record: both are intended
	if _, err := p.Issue(t.Context(), requests); !errors.Is(err, catest.ErrCrash) {
		t.Fatal(err)
	}
	p.Store = tampered{p.memory}
	results, err := p.Issue(t.Context(), requests)
	if err != nil || results[0].Err == nil || refusal.Of(results[0].Err) != nil || results[1].Err != nil {
		t.Fatalf("%v %+v", err, results)
	}
	p.Store = p.memory
	if results, err = p.Issue(t.Context(), requests); err != nil || results[0].Err != nil {
		t.Errorf("the draft on record: %v %v", err, results[0].Err)
	}
	p.key.check(t) // it signed what is on record, and so not the other
}

// Many callers ask for the same request at once; one certificate comes of it,
// and all get that one.
func TestManyCallersGetOneCertificate(t *testing.T) {
	p := newPlace(t)
	requests := []enroll.Request{p.fresh(t, "A1"), p.request(t, device(t, "A2", newKey(t)), "clerk", "reviewer")}
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[string]bool{}
	for range 6 {
		wg.Go(func() {
			for range 20 { // a caller that lost a race hears a failure and asks again
				results, err := p.Issue(t.Context(), requests)
				if err != nil || results[0].Err != nil || results[1].Err != nil {
					if err == nil {
						t.Error(results[0].Err, results[1].Err)
					}
					continue
				}
				mu.Lock()
				answers[fmt.Sprintf("%x %x", results[0].Reply, results[1].Reply)] = true
				mu.Unlock()
				return
			}
			t.Error("never answered")
		})
	}
	wg.Wait()
	if len(answers) != 1 || len(p.memory.Lines()) != 2 || len(p.keys.given) != 1 {
		t.Errorf("%d answers, %d audit lines, %d keys given", len(answers), len(p.memory.Lines()), len(p.keys.given))
	}
	p.key.check(t)
}
