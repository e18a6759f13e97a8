package ra

import "github.com/hufu-pki/hufu/base/refusal"

// Why the desk refuses.
var (
	NoCase        = &refusal.Reason{Kind: refusal.NotFound, Code: "ra.no_case", Text: "没有此案件", Clause: "GM/T 0034 §5.3.3", Fix: "请核对案件编号"}
	StaleProfile  = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.profile_version", Text: "申请按已被替代的模板版本起草", Clause: "GM/T 0034 §5.3.3", Fix: "请由录入员打开申请重新保存，按现行版本检查后再提交"}
	NoProfile     = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.no_profile", Text: "证书模板不存在", Clause: "GM/T 0015 §5", Fix: "可用的模板见“证书模板”页"}
	BadField      = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.field", Text: "申请内容不合规定", Clause: "GM/T 0015 §5.2", Fix: "请按提示修改"}
	BadForm       = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.form", Text: "申请的格式无法读取", Clause: "GM/T 0034 §5.3.3", Fix: "请按手册中的样例填写"}
	BadCSR        = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.csr", Text: "证书请求无效", Clause: "GM/T 0092", Fix: "请用 hufu key 或其他支持 SM2 的工具重新生成证书请求"}
	BadIdentity   = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.identity", Text: "身份证件不合规定", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请核对证件类型和号码"}
	KeyInUse      = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.key_in_use", Text: "该签名公钥已有在办申请或有效证书", Clause: "GM/T 0034 §12.1", Fix: "请用新的密钥对重新生成证书请求"}
	KeyEscrowed   = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.key_escrowed", Text: "该公钥是发放过的加密公钥，密钥管理系统持有其私钥，不能用作签名公钥", Clause: "GM/T 0034 §5.1", Fix: "签名密钥应由申请人自己产生：请用 hufu key 生成新的密钥对和证书请求"}
	NotChecked    = &refusal.Reason{Kind: refusal.Forbidden, Code: "ra.not_checked", Text: "缺少身份查验、告知或协议的记录，不能审核通过", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请退回录入员补录"}
	NotIssued     = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.not_issued", Text: "证书尚未签发", Clause: "GM/T 0034 §12.1", Fix: "请在审核通过并签发后制证"}
	NotYet        = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.not_yet", Text: "案件还没有到这一步", Clause: "GM/T 0034 §12.1", Fix: "请在提交之后打印回执"}
	NotLive       = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.not_live", Text: "该证书不是本机构签发的有效证书", Clause: "GM/T 0034 §12.3", Fix: "请核对序列号；已撤销的证书无需再次撤销"}
	BadReason     = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.reason", Text: "撤销原因不在目录中", Clause: "RFC 5280 §5.3.1", Fix: "请使用 keyCompromise、affiliationChanged、superseded、cessationOfOperation、privilegeWithdrawn 或 unspecified"}
	BadAsker      = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.asker_kind", Text: "申请方不在目录中", Clause: "GM/T 0034 §12.6", Fix: "请使用 holder（证书持有人）、unit（持有人所在单位）、authority（主管部门）、court（司法机关）或 institution（本机构）"}
	Pending       = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.pending", Text: "该证书已有在办的案件", Clause: "GM/T 0034 §12.3", Fix: "请先办结或撤回在办案件"}
	NotAsker      = &refusal.Reason{Kind: refusal.Forbidden, Code: "ra.asker", Text: "解冻应由原申请冻结的一方提出", Clause: "GM/T 0034 §12.7", Fix: "请由原申请方提出，或撤销后重新申请"}
	NotYours      = &refusal.Reason{Kind: refusal.Forbidden, Code: "ra.not_your_draft", Text: "只能修改和提交自己的草稿", Clause: "GM/T 0034 §10.1", Fix: "请由起草人办理"}
	NotDue        = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.not_due", Text: "身份材料未到可以销毁的时间", Clause: "电子政务电子认证服务管理办法第二十四条", Fix: "身份材料须在证书失效后保存满期限；请改填更早的日期"}
	Forgotten     = &refusal.Reason{Kind: refusal.NotFound, Code: "ra.forgotten", Text: "身份材料已按保存期限销毁", Clause: "电子政务电子认证服务管理办法第二十四条", Fix: "销毁纪要见所列变更"}
	TooMany       = &refusal.Reason{Kind: refusal.Limit, Code: "ra.too_many", Text: "一次办理的件数过多", Clause: "GM/T 0034 §10.1", Fix: "请分批办理"}
	NoIDs         = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.no_ids", Text: "没有指定要办理的案件", Clause: "GM/T 0034 §10.1", Fix: "请在 ids 中给出案件编号，或在列表中选择；整批变更请给出 bulk"}
	NothingLeft   = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.nothing_left", Text: "没有可以办理的案件或证书", Clause: "GM/T 0034 §10.1", Fix: "请查看批量变更的进度"}
	NoEvidence    = &refusal.Reason{Kind: refusal.NotFound, Code: "ra.no_evidence", Text: "材料文件没有收存在本系统", Clause: "GM/T 0034 §5.3.3", Fix: "另存的材料请到登记的存放处查阅"}
	BadEvidence   = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.evidence", Text: "材料文件不能收存", Clause: "GM/T 0034 §5.3.3", Fix: "请分成较小的文件后重新上传"}
	BadEnvelope   = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.envelope", Text: "密封的加密私钥不合格，不能交付", Clause: "GM/T 0034 §12.1", Fix: "请撤销这对证书后重新申请，并通知密钥管理系统；可用 hufu envelope 查看信封"}
	NotHolder     = &refusal.Reason{Kind: refusal.Forbidden, Code: "ra.not_holder", Text: "这不是本机构签发给用户的签名证书", Clause: "GM/T 0034 §12", Fix: "请选择下载包中的 sign.pem 和与它配套的私钥；没有证书的请到注册机构办理"}
	HolderEnded   = &refusal.Reason{Kind: refusal.Forbidden, Code: "ra.holder_ended", Text: "证书已撤销或已被替代，它的密钥不再能证明身份", Clause: "电子政务电子认证服务管理办法（试行） 第三十一条", Fix: "请改用现行的证书；没有现行证书的，请携身份证件到注册机构办理补办"}
	HolderExpired = &refusal.Reason{Kind: refusal.Forbidden, Code: "ra.holder_expired", Text: "证书不在有效期内，不能自助办理", Clause: "电子政务电子认证服务管理办法 第十九条第四项", Fix: "更新须在有效期内提出；已过期的请携身份证件到注册机构重新申请"}
	NotWhile      = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.not_while", Text: "证书的当前状态不允许自助办理此事", Clause: "GM/T 0034 §12", Fix: "已冻结的证书只能自助申请撤销；解冻和其他事项请携身份证件到注册机构办理"}
	TooOften      = &refusal.Reason{Kind: refusal.Limit, Code: "ra.too_often", Text: "操作过于频繁", Clause: "GM/T 0034 §10", Fix: "请稍后再试"}
	NoPage        = &refusal.Reason{Kind: refusal.NotFound, Code: "ra.no_page", Text: "没有这个页面", Clause: "GM/T 0034 §5.3.3", Fix: "请从左侧菜单进入"}
	NoAct         = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.no_act", Text: "没有此操作", Clause: "GM/T 0034 §12", Fix: "请使用手册列出的操作"}
	BadQuery      = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.query", Text: "批量变更的查询条件不合规定", Clause: "GM/T 0034 §12.3", Fix: "请至少给出一个条件：证书模板、单位、证书策略、签发时间、到期时间、密钥算法或批次"}
	BadCount      = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.count", Text: "重复输入的件数不符", Clause: "GM/T 0034 §10.1", Fix: "请核对批量变更页上的件数后重新输入"}
	Outdated      = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.bulk_outdated", Text: "试算之后情况已变，不能按此试算办理", Clause: "GM/T 0034 §12.3", Fix: "请重新试算后提出"}
	InBulk        = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.in_bulk", Text: "该案件属于批量变更，须整批办理", Clause: "GM/T 0034 §10.1", Fix: "请在批量变更页办理，或使用 hufu as … ra bulk"}
	NumberInURL   = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.number_in_url", Text: "网址里不能带证件号码：网址会留在日志和浏览记录里", Clause: "个人信息保护法 第五十一条", Fix: "请用 POST /api/v1/cases/number 换取查询键，再以 number=查询键 查询；页面和 hufu 命令自动这样做"}
	NotHeld       = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.not_held", Text: "批次没有暂停，不能取消未办部分", Clause: "GM/T 0034 §12.3", Fix: "请先暂停批次"}
	NoWhy         = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.no_why", Text: "查看或导出个人信息须写明事由", Clause: "个人信息保护法 第五十一条", Fix: "请填写事由；遮盖后的导出不需要事由"}
	NoUnit        = &refusal.Reason{Kind: refusal.NotFound, Code: "ra.no_unit", Text: "单位没有登记", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请先登记单位（ra unit add）并经审核，或核对统一社会信用代码"}
	BadUnit       = &refusal.Reason{Kind: refusal.Invalid, Code: "ra.unit", Text: "单位登记的内容不合规定", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请按提示修改"}
	UnitKnown     = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.unit_known", Text: "单位已经登记", Clause: "GB 32100", Fix: "请改为变更登记（ra unit amend）"}
	UnitStopped   = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.unit_suspended", Text: "单位登记已停用，不能据以申请", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请先恢复单位登记（ra unit resume）并经审核"}
	LetterExpired = &refusal.Reason{Kind: refusal.Conflict, Code: "ra.letter", Text: "单位的授权书不在有效期内，不能据以申请", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请由单位重新出具授权书，变更单位登记并经审核后再办"}
)
