package sheet

import "github.com/hufu-pki/hufu/base/refusal"

// Why a sheet is refused as a whole.
var (
	BadFile     = &refusal.Reason{Kind: refusal.Invalid, Code: "sheet.file", Text: "表格文件无法读取", Clause: "GM/T 0034 §5.2.2", Fix: "请用 XLSX，或 UTF-8 / GB 18030 编码的 CSV"}
	BadHeader   = &refusal.Reason{Kind: refusal.Invalid, Code: "sheet.header", Text: "表头不符", Clause: "GM/T 0034 §5.2.2", Fix: "表头应为 profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr"}
	NoRows      = &refusal.Reason{Kind: refusal.Invalid, Code: "sheet.empty", Text: "表格中没有申请", Clause: "GM/T 0034 §5.2.2", Fix: "请在表头之下填写申请，每行一件"}
	BadRow      = &refusal.Reason{Kind: refusal.Invalid, Code: "sheet.row", Text: "这一行的内容多于表头", Clause: "GM/T 0034 §5.2.2", Fix: "请删除表头之外的内容，含逗号的内容请加引号"}
	TooManyRows = &refusal.Reason{Kind: refusal.Limit, Code: "sheet.rows", Text: "表格超过 5000 行", Clause: "GM/T 0034 §5.2.2", Fix: "请拆成几个文件"}
	TooLarge    = &refusal.Reason{Kind: refusal.Limit, Code: "sheet.size", Text: "表格文件或单元格过大", Clause: "GM/T 0034 §5.2.2", Fix: "文件不超过 20 MB，单元格不超过 64 KB"}
)
