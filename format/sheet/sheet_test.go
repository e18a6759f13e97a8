package sheet_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/hufu-pki/hufu/format/sheet"
)

const head = "profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr\n"
const row = "person-dual,CN,北京市,,某某局,办公室/一处,张三,resident-id,11010519491231002X,MIIB\n"

func excel(t testing.TB) []byte {
	t.Helper()
	f := excelize.NewFile()
	for i, line := range []string{head, row} {
		var cells []any
		for c := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			cells = append(cells, c)
		}
		if err := f.SetSheetRow("Sheet1", []string{"A1", "A2"}[i], &cells); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadsWhatSpreadsheetsSave(t *testing.T) {
	gb, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(head + row))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"UTF-8": []byte(head + row), "BOM": []byte("\xEF\xBB\xBF" + head + row), "GB 18030": gb, "CRLF": []byte(strings.ReplaceAll(head+row, "\n", "\r\n")), "XLSX": excel(t)} {
		rows, err := sheet.Read(name, data)
		if err != nil || len(rows) != 1 || rows[0].Line != 2 || rows[0].Subject.CN != "张三" || len(rows[0].Subject.OU) != 2 || rows[0].IdentityNumber != "11010519491231002X" {
			t.Errorf("%s: %+v %v", name, rows, err)
		}
	}
}

func TestASheetIsRefusedAsAWholeOnlyForItsForm(t *testing.T) {
	for _, c := range []struct {
		name string
		data string
		want error
	}{
		{"empty", "", sheet.NoRows}, {"no rows", head, sheet.NoRows}, {"a column missing", "profile,C\nx,CN\n", sheet.BadHeader},
		{"a column too many", "more," + head + "x," + row, sheet.BadHeader}, {"old XLS", "\xD0\xCF\x11\xE0 old", sheet.BadFile},
		{"not a ZIP", "PK\x03\x04 broken", sheet.BadFile}, {"binary", "a\x00b", sheet.BadFile},
		{"too many rows", head + strings.Repeat(row, sheet.RowsMax+1), sheet.TooManyRows},
	} {
		if _, err := sheet.Read(c.name, []byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(head + row))
	f.Add(excel(f))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = sheet.Read("x", data) })
}
