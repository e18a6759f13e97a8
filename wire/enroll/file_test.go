package enroll_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/wire/enroll"
)

// A file says what its maker signed, whole, as the sort of file it is.
func TestAFileIsReadAsItWasSigned(t *testing.T) {
	key, err1 := sm2.GenerateKey(rand.Reader)
	other, err2 := sm2.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	sent := enroll.Requests{At: time.Unix(1, 0).UTC(), Requests: []enroll.Request{{ID: "A1", Content: []byte("x")}}}
	data, err := enroll.SealFile(key, enroll.RequestFile, sent)
	if err != nil {
		t.Fatal(err)
	}
	var got enroll.Requests
	if digest, err := enroll.OpenFile(data, enroll.RequestFile, &key.PublicKey, &got); err != nil || len(digest) != 32 || len(got.Requests) != 1 || got.Requests[0].ID != "A1" {
		t.Fatalf("%+v %v", got, err)
	}
	edit := func(f func(m map[string]any)) []byte {
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		data   []byte
		format string
		key    *sm2.PrivateKey
	}{
		"another's":            {data, enroll.RequestFile, other},
		"of another sort":      {data, enroll.AnswerFile, key},
		"called another":       {edit(func(m map[string]any) { m["format"] = enroll.AnswerFile }), enroll.AnswerFile, key},
		"without signature":    {edit(func(m map[string]any) { delete(m, "signature") }), enroll.RequestFile, key},
		"with another body":    {edit(func(m map[string]any) { m["body"] = "H4sI" }), enroll.RequestFile, key},
		"with more in it":      {edit(func(m map[string]any) { m["more"] = 1 }), enroll.RequestFile, key},
		"with something after": {append(bytes.Clone(data), '{'), enroll.RequestFile, key},
		"nothing":              {nil, enroll.RequestFile, key},
	} {
		if _, err := enroll.OpenFile(c.data, c.format, &c.key.PublicKey, new(enroll.Requests)); !errors.Is(err, enroll.BadFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
