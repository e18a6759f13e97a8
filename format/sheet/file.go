package sheet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"path"
	"strings"

	"github.com/hufu-pki/hufu/base/refusal"
)

var zipMagic = []byte("PK\x03\x04")

const (
	saveAgain = "请用 Excel 或 WPS 打开原文件，另存为 XLSX，或“CSV UTF-8（逗号分隔）”，再上传"
	getAgain  = "请重新取得完整的文件，在 Excel 或 WPS 里能打开后再上传"
)

func unread(why, fix string) *refusal.Refusal {
	return BadFile.At("file", BadFile.Clause).Because("%s", why).ToFix(fix)
}

// strangers are files people upload for a sheet, by how they begin.
var strangers = []struct{ magic, why, fix string }{
	{"\xD0\xCF\x11\xE0", "是旧式 XLS，或设了打开密码的 XLSX", "请在 Excel 或 WPS 里去掉打开密码，另存为 XLSX 再上传"},
	{"\xFF\xFE", "是 UTF-16 编码的文本", saveAgain},
	{"\xFE\xFF", "是 UTF-16 编码的文本", saveAgain},
	{"%PDF", "是 PDF 文件，不是表格", saveAgain},
	{"\x89PNG", "是图片，不是表格", saveAgain},
	{"\xFF\xD8\xFF", "是图片，不是表格", saveAgain},
	{"\x1F\x8B", "是 GZIP 压缩文件", "请先解压，再上传里面的表格"},
	{"Rar!", "是 RAR 压缩文件", "请先解压，再上传里面的表格"},
	{"7z\xBC\xAF", "是 7z 压缩文件", "请先解压，再上传里面的表格"},
	{"<", "是网页或 XML，不是表格", saveAgain},
}

// other refuses what is plainly no sheet, and says what it is.
func other(name string, data []byte) error {
	if bytes.HasPrefix(data, zipMagic) {
		return nil
	}
	for _, s := range strangers {
		if bytes.HasPrefix(data, []byte(s.magic)) {
			return unread(s.why, s.fix)
		}
	}
	if ext := strings.ToLower(path.Ext(name)); len(data) > 0 && (ext == ".xlsx" || ext == ".xlsm") {
		return unread("文件名是 "+ext+"，内容却不是 XLSX：文件不完整，或只改了扩展名", getAgain)
	}
	return nil
}

// badBook says why a workbook does not open.
func badBook(err error) error {
	if strings.Contains(err.Error(), "unzip size exceeds") { // the library has no name for it
		return TooLarge.At("file", TooLarge.Clause).Because("展开后超过 %d MB", unzipMax>>20).ToFix("正常的表格不会这么大：请只保留申请所在的工作表，另存后再上传；来历不明的文件不要上传")
	}
	return unread("XLSX 文件不完整或已损坏", getAgain)
}

// badLine says where a CSV file cannot be split into cells.
func badLine(err error) error {
	at, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return unread("CSV 无法读取", saveAgain)
	}
	return BadFile.At("file", BadFile.Clause).Because("CSV 第 %d 行第 %d 列起，双引号不成对", at.Line, at.Column).ToFix("含有逗号、换行或双引号的单元格整个用双引号括起，里面的双引号写两个；或用 Excel、WPS 另存为 XLSX")
}
