package sheet_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/sheet"
)

// packed is a ZIP with one entry that says it unpacks to size bytes.
func packed(t *testing.T, name string, size uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, UncompressedSize64: size, CompressedSize64: 2})
	if err == nil {
		_, err = w.Write([]byte{3, 0})
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Who uploads something else is told what it is and what to do, in Chinese; the
// libraries' own words stay inside.
func TestAFileThatIsNoSheetIsNamed(t *testing.T) {
	for _, c := range []struct {
		name, data string
		reason     *refusal.Reason
		text, fix  string
	}{
		{"a.xlsx", "PK\x03\x04 broken", sheet.BadFile, "不完整或已损坏", "重新取得"},
		{"a.xlsx", string(excel(t)[:700]), sheet.BadFile, "不完整或已损坏", "重新取得"},
		{"a.xlsx", "\x01\x02\xFF\xFE junk", sheet.BadFile, "文件名是 .xlsx", "重新取得"},
		{"A.XLSX", head + row, sheet.BadFile, "文件名是 .xlsx", "重新取得"},
		{"a.xlsx", string(packed(t, "xl/worksheets/sheet1.xml", 1<<30)), sheet.TooLarge, "展开后超过 200 MB", "只保留"},
		{"a.xlsx", string(packed(t, "word/document.xml", 0)), sheet.BadFile, "", "上传"},
		{"a.csv", "\x01\xFF\xFF junk", sheet.BadFile, "不是 XLSX", "另存为"},
		{"a.csv", "\xFF\xFEa\x00", sheet.BadFile, "UTF-16", "另存为"},
		{"a.xls", "\xD0\xCF\x11\xE0", sheet.BadFile, "旧式 XLS", "打开密码"},
		{"a.xls", "<html><table>", sheet.BadFile, "网页", "另存为"},
		{"a.pdf", "%PDF-1.7", sheet.BadFile, "PDF", "另存为"},
		{"a.csv", head + "x,\"CN,", sheet.BadFile, "CSV 第 2 行", "双引号"},
	} {
		_, err := sheet.Read(c.name, []byte(c.data))
		f := refusal.Of(err)
		if f == nil || f.Reason != c.reason || f.Field != "file" || !strings.Contains(f.Detail, c.text) || !strings.Contains(f.Fix, c.fix) {
			t.Errorf("%s %.9q: %+v", c.name, c.data, f)
			continue
		}
		if english := regexp.MustCompile(`[a-z]{3,} [a-z]{2,}`).FindString(f.Detail + f.Fix); english != "" {
			t.Errorf("%s %.9q: in English: %q", c.name, c.data, english)
		}
	}
}
