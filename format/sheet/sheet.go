// Package sheet reads applications from a spreadsheet. (批量表格)
//
// XLSX, or CSV in UTF-8 or GB 18030. Only the file's form is judged here; what
// a row says is judged like any other application.
package sheet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/hufu-pki/hufu/format/dn"
)

// Bounds of one sheet.
const (
	FileMax = 20 << 20
	RowsMax = 5000
	CellMax = 64 << 10 // a request in PEM has under 2 KB; Excel itself stops at 32 KB

	unzipMax = 200 << 20
)

// Columns is the header, in any order.
var Columns = []string{"profile", "C", "ST", "L", "O", "OU", "CN", "identity_kind", "identity_number", "csr"}

// Row is one application. Line is the sheet's own numbering: the header is 1.
type Row struct {
	Line           int
	Profile        string
	Subject        dn.Name
	IdentityKind   string
	IdentityNumber string
	CSR            string
	Stray          error  // see Record
	Unit           string // where the sheet has the column
}

// Unit is a column applications may have besides: the credit code of a unit on
// the register.
const Unit = "unit"

// Read reads a sheet of applications by its content; the name only helps the
// message.
func Read(name string, data []byte) ([]Row, error) {
	cells, err := read(name, data)
	if err != nil {
		return nil, err
	}
	return rows(cells)
}

// Record is one line of a sheet of another sort, by column.
type Record struct {
	Line   int
	Values map[string]string
	Stray  error // a refusal of the row: it has content beyond the header's columns
}

// Table reads a sheet whose header has exactly the columns wanted, in any order.
func Table(name string, data []byte, want []string) ([]Record, error) {
	cells, err := read(name, data)
	if err != nil {
		return nil, err
	}
	return records(cells, want, nil)
}

func read(name string, data []byte) ([][]string, error) {
	if len(data) > FileMax {
		return nil, TooLarge.At("file", TooLarge.Clause).Because("%d 字节", len(data))
	}
	if err := other(name, data); err != nil {
		return nil, err
	}
	form := readCSV
	if bytes.HasPrefix(data, zipMagic) {
		form = readXLSX
	}
	return form(data)
}

// readCSV reads CSV; bytes that are not UTF-8 are taken for GB 18030, as
// Chinese spreadsheets write it.
func readCSV(data []byte) ([][]string, error) {
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(data) {
		text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(data)
		if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
			return nil, unread("不是 XLSX，也不是 UTF-8 或 GB 18030 编码的文本", saveAgain)
		}
		data = text
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, unread("不是 XLSX，含有二进制内容，也不是 CSV", saveAgain)
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	var all [][]string
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, badLine(err)
		}
		line, _ := r.FieldPos(0)
		for len(all) < line-1 && len(all) <= RowsMax && len(all) > 0 && !multiline(all) {
			all = append(all, nil) // blank lines keep their number
		}
		if all = append(all, record); len(all) > RowsMax+1 {
			return nil, TooManyRows.At("file", TooManyRows.Clause)
		}
	}
}

// multiline reports whether some cell holds a line break: rows are then
// counted as records, as a spreadsheet shows them.
func multiline(all [][]string) bool {
	return slices.ContainsFunc(all, func(r []string) bool {
		return slices.ContainsFunc(r, func(c string) bool { return strings.Contains(c, "\n") })
	})
}

func readXLSX(data []byte) ([][]string, error) {
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{UnzipSizeLimit: unzipMax, UnzipXMLSizeLimit: unzipMax, RawCellValue: true})
	if err != nil {
		return nil, badBook(err)
	}
	defer f.Close()
	names := f.GetSheetList()
	if len(names) == 0 {
		return nil, unread("是压缩文件，里面没有工作表：可能是 Word 文档或普通 ZIP", saveAgain)
	}
	it, err := f.Rows(names[0])
	if err != nil {
		return nil, badBook(err)
	}
	defer it.Close()
	var all [][]string
	for it.Next() {
		record, err := it.Columns(excelize.Options{RawCellValue: true})
		if err != nil {
			return nil, badBook(err)
		}
		if all = append(all, record); len(all) > RowsMax+1 {
			return nil, TooManyRows.At("file", TooManyRows.Clause)
		}
	}
	if err := it.Error(); err != nil {
		return nil, badBook(err)
	}
	return all, nil
}

func rows(cells [][]string) ([]Row, error) {
	lines, err := records(cells, Columns, []string{Unit})
	if err != nil {
		return nil, err
	}
	list := make([]Row, len(lines))
	for i, l := range lines {
		v := l.Values
		row := Row{Line: l.Line, Profile: v["profile"], IdentityKind: v["identity_kind"], IdentityNumber: v["identity_number"], CSR: v["csr"], Unit: v[Unit]}
		row.Stray = l.Stray
		row.Subject = dn.Name{C: v["C"], ST: v["ST"], L: v["L"], O: v["O"], CN: v["CN"]}
		for unit := range strings.SplitSeq(v["OU"], "/") {
			if unit = strings.TrimSpace(unit); unit != "" {
				row.Subject.OU = append(row.Subject.OU, unit)
			}
		}
		list[i] = row
	}
	return list, nil
}

// records reads the lines under a header, without the blank ones.
func records(cells [][]string, want, may []string) ([]Record, error) {
	if len(cells) == 0 {
		return nil, NoRows.At("file", NoRows.Clause)
	}
	at, err := header(cells[0], want, may)
	if err != nil {
		return nil, err
	}
	headed := map[int]bool{}
	for _, n := range at {
		headed[n] = true
	}
	var list []Record
	for i, record := range cells[1:] {
		blank := true
		for j, c := range record {
			if len(c) > CellMax {
				return nil, TooLarge.At(cells[0][min(j, len(cells[0])-1)], TooLarge.Clause).Because("第 %d 行的单元格过大", i+2)
			}
			blank = blank && strings.TrimSpace(c) == ""
		}
		if blank {
			continue
		}
		l := Record{Line: i + 2, Values: map[string]string{}}
		for j, c := range record {
			if l.Stray == nil && !headed[j] && strings.TrimSpace(c) != "" {
				l.Stray = BadRow.At("file", BadRow.Clause).Because("第 %d 列有内容，却没有表头", j+1)
			}
		}
		for name, n := range at {
			if n < len(record) {
				l.Values[name] = strings.TrimSpace(record[n])
			}
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return nil, NoRows.At("file", NoRows.Clause)
	}
	return list, nil
}

// header finds each column's place; all that are wanted must be there, and no
// other but those that may.
func header(cells, want, may []string) (map[string]int, error) {
	at := map[string]int{}
	for i, c := range cells {
		c = strings.TrimSpace(c)
		if c == "" {
			continue
		}
		if _, twice := at[c]; twice || !slices.Contains(want, c) && !slices.Contains(may, c) {
			return nil, BadHeader.At(fmt.Sprintf("%.40s", c), BadHeader.Clause).Because("多余的列“%.40s”", c)
		}
		at[c] = i
	}
	for _, name := range want {
		if _, ok := at[name]; !ok {
			return nil, BadHeader.At(name, BadHeader.Clause).Because("缺少列“%s”", name)
		}
	}
	return at, nil
}
