// Package strict reads JSON that somebody else wrote (严格解码): one value, known fields,
// nothing after it, and an error a person can act on.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Error says what is wrong with a text, in Chinese.
type Error struct {
	Field string // dotted path of the field; empty for the text as a whole
	Text  string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Text
	}
	return e.Field + "：" + e.Text
}

// JSON decodes one value into v. Its errors are *Error.
func JSON(data []byte, v any) error {
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")) // as editors on Windows write it
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return explain(data, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // More would let a stray brace pass
		return &Error{Text: "有多于一个 JSON 值，" + place(data, d.InputOffset())}
	}
	if name := twice(json.NewDecoder(bytes.NewReader(data))); name != "" {
		return &Error{Field: name, Text: "这个字段写了不止一次"}
	}
	return nil
}

// twice names the first field that an object of a value has more than once, by
// its dotted path; a decoder would keep the last and drop the others. The value
// has been decoded, so it is well-formed and no deeper than a decoder goes.
func twice(d *json.Decoder) string {
	t, _ := d.Token()
	switch t {
	case json.Delim('['):
		for d.More() {
			if name := twice(d); name != "" {
				return name
			}
		}
		_, _ = d.Token()
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			key, _ := d.Token()
			name, _ := key.(string)
			same := strings.ToLower(name) // the decoder does not tell them apart
			if seen[same] {
				return name
			}
			seen[same] = true
			if in := twice(d); in != "" {
				return name + "." + in
			}
		}
		_, _ = d.Token()
	}
	return ""
}

// explain turns the decoder's error into ours.
func explain(data []byte, err error) *Error {
	var form *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return &Error{Text: "内容为空"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Text: "不是完整的 JSON，" + place(data, int64(len(data))) + "已经结束"}
	case errors.As(err, &form):
		return &Error{Text: "不是 JSON，错在" + place(data, form.Offset)}
	case errors.As(err, &kind):
		return &Error{Field: kind.Field, Text: fmt.Sprintf("应为%s，却是%s", wanted(kind.Type.Kind().String()), found(kind.Value))}
	}
	if _, name, ok := strings.Cut(err.Error(), `unknown field "`); ok {
		return &Error{Field: strings.TrimSuffix(name, `"`), Text: "没有这个字段"}
	}
	return &Error{Text: err.Error()} // a type's own words
}

// place says where a byte is as an editor does, from 1.
func place(data []byte, offset int64) string {
	before := data[:min(max(offset, 0), int64(len(data)))]
	last := bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("第 %d 行第 %d 个字符", bytes.Count(before, []byte("\n"))+1, len([]rune(string(before[last+1:]))))
}

func wanted(kind string) string {
	switch {
	case kind == "string":
		return "文字"
	case kind == "bool":
		return " true 或 false"
	case kind == "slice" || kind == "array":
		return "列表"
	case kind == "struct" || kind == "map":
		return "对象"
	}
	return "整数"
}

func found(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	switch kind {
	case "string":
		return "文字"
	case "bool":
		return " true 或 false"
	case "array":
		return "列表"
	case "object":
		return "对象"
	}
	return "数字"
}
