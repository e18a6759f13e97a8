package backup

import "github.com/hufu-pki/hufu/base/refusal"

// Why a backup or a restore is refused.
var (
	NoRepository = &refusal.Reason{Kind: refusal.NotFound, Code: "backup.no_repository", Text: "这里没有备份库", Clause: "GM/T 0034 §8.3", Fix: "请核对备份库的路径，或先用 hufu backup 建立"}
	NoOfficer    = &refusal.Reason{Kind: refusal.Invalid, Code: "backup.no_officer", Text: "新的备份库须指定恢复负责人的证书", Clause: "GM/T 0034 §8.2.4", Fix: "请用 --officer CERT.pem 指定，可多次"}
	BadOfficer   = &refusal.Reason{Kind: refusal.Invalid, Code: "backup.officer", Text: "恢复负责人的证书不可用", Clause: "GM/T 0034 §8.2.4", Fix: "请换用有效的 SM2 证书，每人一张"}
	Excluded     = &refusal.Reason{Kind: refusal.Forbidden, Code: "backup.excluded", Text: "此人的岗位不得担任恢复负责人", Clause: "GM/T 0034 §8.2.4、§10.3", Fix: "请由超级管理员、业务管理员、业务操作员和录入、审核、制证员以外的人担任"}
	BadQuorum    = &refusal.Reason{Kind: refusal.Invalid, Code: "backup.quorum", Text: "门限与恢复负责人的人数不符", Clause: "GM/T 0034 §8.2.4.3", Fix: "门限至少为 2 且不超过负责人人数；省略 --quorum 表示任何一人即可打开"}
	Officers     = &refusal.Reason{Kind: refusal.Conflict, Code: "backup.officers", Text: "备份库的恢复负责人和门限在建立时已定", Clause: "GM/T 0034 §8.2.4", Fix: "请省略 --officer 和 --quorum；要换人请新建备份库"}
	OtherHouse   = &refusal.Reason{Kind: refusal.Conflict, Code: "backup.other_ledger", Text: "备份库属于另一个账本密钥", Clause: "GM/T 0034 §8.3", Fix: "请为本机构新建备份库"}
	NoDataKey    = &refusal.Reason{Kind: refusal.NotFound, Code: "backup.no_data_key", Text: "本机没有这个备份库的数据密钥", Clause: "GM/T 0034 §8.3", Fix: "数据密钥在 secrets/ 中，建库时写入；请在建库的机器上备份，或新建备份库"}
	WrongKey     = &refusal.Reason{Kind: refusal.Forbidden, Code: "backup.wrong_key", Text: "此私钥不属于备份库的恢复负责人", Clause: "GM/T 0034 §8.2.4", Fix: "请使用负责人自己的私钥；hufu backup list 列出负责人"}
	TooFewKeys   = &refusal.Reason{Kind: refusal.Forbidden, Code: "backup.too_few_keys", Text: "恢复负责人的人数不足门限", Clause: "GM/T 0034 §8.2.4.3", Fix: "请再请负责人到场，用 --key 给出各自的私钥"}
	Damaged      = &refusal.Reason{Kind: refusal.Conflict, Code: "backup.damaged", Text: "备份已损坏", Clause: "GM/T 0034 §8.3", Fix: "请改用另一份拷贝（异地备份）或更早的备份集"}
	Forged       = &refusal.Reason{Kind: refusal.Forbidden, Code: "backup.signature", Text: "备份的签名无效", Clause: "GM/T 0034 §8.3", Fix: "请核对 --ledger-key；若公钥无误，此备份不可信"}
	Chain        = &refusal.Reason{Kind: refusal.Conflict, Code: "backup.chain", Text: "备份集的次序被改动", Clause: "GM/T 0034 §8.3", Fix: "请改用另一份拷贝（异地备份）"}
	NoSet        = &refusal.Reason{Kind: refusal.NotFound, Code: "backup.no_set", Text: "没有这个备份集", Clause: "GM/T 0034 §8.3", Fix: "请用 hufu backup list 查看"}
	NotEmpty     = &refusal.Reason{Kind: refusal.Conflict, Code: "backup.not_empty", Text: "目标目录不是空的", Clause: "GM/T 0034 §8.3", Fix: "请恢复到新的空目录：恢复从不覆盖已有数据"}
	Fork         = &refusal.Reason{Kind: refusal.Conflict, Code: "backup.fork", Text: "数据库与已发布的账本已经分叉", Clause: "GM/T 0034 §8.3", Fix: "请停止签发，保全两份账本并报告；不得启动此数据库"}
	NoBody       = &refusal.Reason{Kind: refusal.NotFound, Code: "backup.no_body", Text: "已发布的账本缺少证书或列表的正文", Clause: "GM/T 0034 §8.3", Fix: "请使用服务区自己的账本目录：只发布摘要的证书，公众处没有正文"}
)
