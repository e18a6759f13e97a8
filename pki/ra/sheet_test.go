package ra_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/format/sheet"
	"github.com/hufu-pki/hufu/pki/ra"
)

// A list of applications in JSON is a sheet like any other: row by row.
func TestAListInJSONIsASheet(t *testing.T) {
	p := newPlace(t)
	good, bad := brought(t, "张三"), brought(t, "李四")
	bad.Profile = "no-such"
	var rows []any
	for _, f := range []ra.Form{good, bad, good, brought(t, "王五")} {
		rows = append(rows, f)
	}
	rows = append(rows, map[string]any{"is_ca": true}, map[string]any{"id": "A1"}, 7)
	data, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.DraftSheet(t.Context(), "名单.json", append([]byte("\ufeff \n"), data...), p.Who["clerk"], "")
	if err != nil || len(b.Rows) != 7 {
		t.Fatalf("%+v %v", b, err)
	}
	for i, want := range []string{"", "ra.no_profile", "ra.key_in_use", "", "ra.form", "ra.form", "ra.form"} {
		row, code := b.Rows[i], ""
		if row.Refusal != nil {
			code = row.Refusal.Code
		}
		if row.Line != i+1 || code != want || (row.ID == "") != (want != "") {
			t.Errorf("row %d: %+v, want %s", i+1, row, want)
		}
	}
	p.stands(b.Rows[3].ID, ra.Drafted)
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"broken": {"[{", sheet.BadFile}, "empty": {"[]", sheet.NoRows}, "too many": {"[" + strings.Repeat("1,", sheet.RowsMax) + "1]", sheet.TooManyRows},
		"too large": {"[" + strings.Repeat(" ", sheet.FileMax), sheet.TooLarge},
	} {
		if _, err := p.DraftSheet(t.Context(), name, []byte(c.data), p.Who["clerk"], ""); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
