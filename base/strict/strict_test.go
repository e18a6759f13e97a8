package strict

import (
	"errors"
	"strings"
	"testing"
)

// A person who typed the text must find the place from the error alone.
func TestErrorsNameTheFieldAndThePlace(t *testing.T) {
	type inner struct {
		Number string `json:"number"`
	}
	type form struct {
		Name  string   `json:"name"`
		Years int      `json:"years"`
		On    bool     `json:"on"`
		List  []string `json:"list"`
		In    inner    `json:"in"`
	}
	for _, c := range []struct{ text, field, says string }{
		{"", "", "内容为空"},
		{"  \n", "", "内容为空"},
		{"{\n \"name\": 张三}", "", "第 2 行第"},
		{"{", "", "不是完整的 JSON"},
		{`{"nmae":"x"}`, "nmae", "没有这个字段"},
		{`{"in":{"numbr":"x"}}`, "numbr", "没有这个字段"},
		{`{"in":{"number":7}}`, "in.number", "应为文字，却是数字"},
		{`{"years":"three"}`, "years", "应为整数，却是文字"},
		{`{"years":1.5}`, "years", "应为整数，却是数字"},
		{`{"on":"yes"}`, "on", "应为 true 或 false，却是文字"},
		{`{"list":{}}`, "list", "应为列表，却是对象"},
		{`{"in":[]}`, "in", "应为对象，却是列表"},
		{`{"name":"x"} {}`, "", "多于一个"},
		{`{"name":"x"}}`, "", "多于一个"},
		{`{"name":"x","name":"y"}`, "name", "不止一次"},
		{`{"in":{"number":"1","Number":"2"}}`, "in.Number", "不止一次"},
	} {
		var f form
		var e *Error
		if err := JSON([]byte(c.text), &f); !errors.As(err, &e) || e.Field != c.field || !strings.Contains(e.Text, c.says) {
			t.Errorf("%q: %v, want field %q and %q", c.text, err, c.field, c.says)
		}
	}
	var f form
	if err := JSON([]byte("\xEF\xBB\xBF"+` {"name":"䶮","years":3,"in":{"number":"1"}} `+"\n"), &f); err != nil || f.Name != "䶮" || f.In.Number != "1" {
		t.Fatal(f, err)
	}
}
