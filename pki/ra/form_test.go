package ra_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/pki/ra"
)

const form = `{"profile":"person-dual","subject":{"C":"CN","OU":["办公厅","信息处"],"CN":"张三"},"identity":{"kind":"resident-id","number":"11010519491231002X"},` +
	`"csr":"MAA=","san":["a@x.cn",{"kind":"dns","value":"x.cn"}],"validity_days":365}`

func TestAFormIsReadStrictly(t *testing.T) {
	if f, err := ra.ParseForm([]byte(form)); err != nil || f.Subject.OU[1] != "信息处" || f.SAN[0].Kind != "email" || f.Days != 365 {
		t.Fatalf("%+v %v", f, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "a list": "[" + form + "]", "two": form + form, "a brace too many": form + "}", "a bracket too many": form + "]",
		"an unknown field": strings.Replace(form, `"profile"`, `"is_ca":true,"profile"`, 1), "a number for a name": strings.Replace(form, `"张三"`, `7`, 1),
		"too long": form + strings.Repeat(" ", ra.FormMax),
	} {
		f, err := ra.ParseForm([]byte(text))
		if !errors.Is(err, ra.BadForm) {
			t.Errorf("%s: %+v %v", name, f, err)
		}
		if r := refusal.Of(err); name == "an unknown field" && (r == nil || r.Field != "is_ca") {
			t.Errorf("%s: the field at fault is not named: %+v", name, r)
		}
	}
}

func FuzzParseForm(f *testing.F) {
	f.Add([]byte(form))
	f.Add([]byte(`{"subject":{"OU":"x"},"san":["192.0.2.7","dns:x.cn"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ra.ParseForm(data); err != nil && !errors.Is(err, ra.BadForm) {
			t.Error(err)
		}
	})
}
