package audit

import "github.com/hufu-pki/hufu/base/refusal"

// NothingNew is when an auditor marks and nothing happened since.
var NothingNew = &refusal.Reason{Kind: refusal.Conflict, Code: "audit.nothing_new", Text: "没有未审计的记录", Clause: "GM/T 0034 §10.5", Fix: "无需标记"}

// Why an archive is not made, or not read.
var (
	NotMarked = &refusal.Reason{Kind: refusal.Conflict, Code: "audit.not_marked", Text: "没有已审计而未归档的记录", Clause: "GM/T 0034 §10.5", Fix: "请先标记已审计，再关闭期间"}
	NoArchive = &refusal.Reason{Kind: refusal.NotFound, Code: "audit.no_archive", Text: "没有此归档", Clause: "GM/T 0034 §5.3.8", Fix: "audit archives 列出归档"}
	Altered   = &refusal.Reason{Kind: refusal.Conflict, Code: "audit.archive_altered", Text: "归档文件与登记的摘要不符或不见了", Clause: "GM/T 0034 §10.5", Fix: "请从异地副本取回归档文件，并查明原因"}
)
