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

// Unsealed is when acts are refused because what they leave behind can no longer
// be proven: the trail's checkpoints have not been signed or stored for SealWithin.
var Unsealed = &refusal.Reason{Kind: refusal.Conflict, Code: "audit.unsealed", Text: "审计账本无法封存，暂停办理；查询与公开服务照常", Clause: "GM/T 0034 §5.3.8", Fix: "请通知系统管理员检查密码设备和审计目录的磁盘；恢复后自动继续，再办一次即可"}

// NoSuchEntry is when an auditor marks up to an entry that is not there.
var NoSuchEntry = &refusal.Reason{Kind: refusal.Invalid, Code: "audit.no_such_entry", Text: "没有这条审计记录", Clause: "GM/T 0034 §10.5", Fix: "请写已有的序号，或不写序号以标记全部"}
