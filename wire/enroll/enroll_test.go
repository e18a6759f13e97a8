package enroll_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/wire/enroll"
)

var application = enroll.Application{
	ID: "01J", Profile: "device-dual", Version: 1, Subject: dn.Name{C: "CN", O: "某某局 <&>", OU: dn.Units{"一处"}, CN: "张三𠮷"},
	SAN: []cert.AltName{{Kind: "dns", Value: "x.cn"}}, Days: 365, CSR: []byte{0x30, 0},
	Identity: enroll.Identity{Kind: "resident-id", Masked: "1101**********002X", Commitment: []byte{1, 2}},
	Check:    enroll.IdentityCheck{Method: "in-person", By: "clerk", At: "2026-11-24T08:00:00Z"}, Notices: []string{"a", "b"}, Accord: "1", CPS: "2",
}

var revocation = enroll.Revocation{ID: "01K", Serial: "4101", Reason: "keyCompromise", Invalid: 1700000000}

func TestAContentIsReadAsItWasWritten(t *testing.T) {
	var a enroll.Application
	if err := enroll.Decode(application.Bytes(), &a); err != nil || !bytes.Equal(a.Bytes(), application.Bytes()) {
		t.Errorf("%+v %v", a, err)
	}
	var r enroll.Revocation
	if err := enroll.Decode(revocation.Bytes(), &r); err != nil || !reflect.DeepEqual(r, revocation) {
		t.Errorf("%+v %v", r, err)
	}
}

// People signed bytes; any other bytes that say the same were signed by nobody.
func TestAContentHasOneSpelling(t *testing.T) {
	good := string(revocation.Bytes())
	for name, text := range map[string]string{
		"nothing":          "",
		"a blank after it": good + " ",
		"a brace after it": good + "}",
		"a second one":     good + good,
		"blanks inside":    strings.Replace(good, ":", ": ", 1),
		"another order":    `{"serial":"4101","id":"01K","reason":"keyCompromise","invalid":1700000000}`,
		"capitals":         strings.Replace(good, `"id"`, `"ID"`, 1),
		"an escape":        strings.Replace(good, "01K", `01\u004b`, 1),
		"an unknown field": strings.Replace(good, `"id"`, `"x":1,"id"`, 1),
		"a field twice":    strings.Replace(good, `"id"`, `"id":"0","id"`, 1),
		"an empty field":   strings.Replace(good, "1700000000", "0", 1),
		"null":             "null",
		"not UTF-8":        strings.Replace(good, "01K", "01\xff", 1),
	} {
		var r enroll.Revocation
		if err := enroll.Decode([]byte(text), &r); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestStrictTakesOneValueAndNothingElse(t *testing.T) {
	for text, ok := range map[string]bool{`{"id":"a"}`: true, ` {"id":"a"} `: true, `{"id":"a"}}`: false, `{"id":"a"}]`: false, `{"id":"a"}{}`: false,
		`{"id":"a"}x`: false, `{"x":1}`: false, ``: false} {
		var r enroll.Revocation
		if err := strict.JSON([]byte(text), &r); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Evidence covers one kind, one case and one content.
func TestEvidenceCoversWhatItSaysOnly(t *testing.T) {
	content := application.Bytes()
	items := []access.Item{{Kind: "ra.issue", ID: "01I", Digest: alg.Digest(nil)}, {Kind: "ra.issue", ID: "01J", Digest: alg.Digest(content)}}
	good := enroll.Evidence{Signed: access.Signed{Statement: access.Statement{Digest: access.Root(items), Count: 2}}, Item: items[1], Proof: access.ProofOf(items, 1)}
	if !good.Covers("ra.issue", "01J", content) {
		t.Fatal("it does not cover its own content")
	}
	changed := func(f func(*enroll.Evidence)) bool {
		e := good
		f(&e)
		return e.Covers("ra.issue", "01J", content)
	}
	for name, covers := range map[string]bool{
		"another kind":           good.Covers("ra.revoke", "01J", content),
		"another case":           good.Covers("ra.issue", "01I", content),
		"another content":        good.Covers("ra.issue", "01J", append(bytes.Clone(content), ' ')),
		"another count shown":    changed(func(e *enroll.Evidence) { e.Signed.Count = 1 }),
		"another step":           changed(func(e *enroll.Evidence) { e.Item.Seq++ }),
		"another place":          changed(func(e *enroll.Evidence) { e.Proof.Index = 0 }),
		"no proof":               changed(func(e *enroll.Evidence) { e.Proof = access.Proof{} }),
		"a proof without an end": changed(func(e *enroll.Evidence) { e.Proof.Count = 1<<63 - 1 }),
	} {
		if covers {
			t.Errorf("%s: covered", name)
		}
	}
}

func TestSerialsOfAReplyAreForPeople(t *testing.T) {
	if sign, enc := (enroll.Reply{Sign: []byte("no certificate")}).Serials(); sign != "" || enc != "" {
		t.Errorf("%q %q", sign, enc)
	}
}

func TestAReplyKeepsItsTimeOnTheWire(t *testing.T) {
	want := enroll.Revoked{Serials: []string{"4101"}, At: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got enroll.Revoked
	if err := strict.JSON(data, &got); err != nil || !got.At.Equal(want.At) {
		t.Errorf("%s: %+v %v", data, got, err)
	}
}

// What is decoded is what was signed, byte for byte.
func FuzzDecode(f *testing.F) {
	f.Add(application.Bytes())
	f.Add(revocation.Bytes())
	f.Add([]byte(`{"id":"a","serial":"1","reason":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a enroll.Application
		if enroll.Decode(data, &a) == nil && !bytes.Equal(a.Bytes(), data) {
			t.Errorf("%q was read as %q", data, a.Bytes())
		}
		var r enroll.Revocation
		if enroll.Decode(data, &r) == nil && !bytes.Equal(r.Bytes(), data) {
			t.Errorf("%q was read as %q", data, r.Bytes())
		}
	})
}
