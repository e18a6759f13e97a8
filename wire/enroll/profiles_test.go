package enroll_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// What the CA signed is read back whole; another's signature, a changed octet or
// a profile that is none opens nothing.
func TestAnEditionOpensForTheKeyThatSignedIt(t *testing.T) {
	key, err1 := sm2.GenerateKey(rand.Reader)
	other, err2 := sm2.GenerateKey(rand.Reader)
	set, err3 := profile.Builtin()
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	p, err := enroll.SignProfiles(profile.EditionOf(set, 7, time.Unix(1, 0).UTC()), key)
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Open(&key.PublicKey)
	if err != nil || e.Number != 7 || len(e.Set()) != len(set) || string(e.Set()["person-dual"].Digest()) != string(set["person-dual"].Digest()) {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := p.Open(&other.PublicKey); err == nil {
		t.Error("another key opens it")
	}
	changed := enroll.Profiles{Body: append([]byte(" "), p.Body...), Signature: p.Signature}
	if _, err := changed.Open(&key.PublicKey); err == nil {
		t.Error("a changed body opens")
	}
	bad := set["person-dual"]
	bad.Usage = "x"
	for _, set := range []profile.Set{{}, {"person-dual": bad}} {
		p, err := enroll.SignProfiles(profile.EditionOf(set, 8, time.Unix(1, 0)), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Open(&key.PublicKey); err == nil {
			t.Errorf("an edition of %d profiles that is none opens", len(set))
		}
	}
}

func TestABookIsReplacedWhole(t *testing.T) {
	var b profile.Book
	if set, number, _ := b.Held(); set != nil || number != 0 {
		t.Error("a new book holds something")
	}
	b.Put(profile.Edition{Number: 2, Profiles: []profile.Profile{{Name: "a", Version: 3}}}, time.Unix(5, 0))
	b.Heard(time.Unix(9, 0))
	if set, number, at := b.Held(); number != 2 || set["a"].Version != 3 || at.Unix() != 9 {
		t.Errorf("%v %d %v", set, number, at)
	}
}
