package ca

import "github.com/hufu-pki/hufu/base/refusal"

// Why the CA refuses.
var (
	NoProfile    = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.no_profile", Text: "证书模板不存在或版本不符", Clause: "GM/T 0037 §8.6.1.5", Fix: "请与 CA 同步证书模板后重新提交"}
	BadContent   = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.content", Text: "申请内容不合规定", Clause: "GM/T 0015 §5.2", Fix: "请退回录入员修改"}
	BadRequest   = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.csr", Text: "证书请求无效", Clause: "GM/T 0092", Fix: "请重新生成证书请求"}
	NoEvidence   = &refusal.Reason{Kind: refusal.Forbidden, Code: "ca.evidence", Text: "缺少有效的录入与审核签名", Clause: "GM/T 0034 §10.1", Fix: "请由录入员提交、由另一名审核员核准"}
	NoIdentity   = &refusal.Reason{Kind: refusal.Forbidden, Code: "ca.identity", Text: "没有身份查验、告知或协议的记录", Clause: "电子政务电子认证服务管理办法 第二十一条", Fix: "请补录身份查验方式、告知事项和服务协议"}
	KeyEscrowed  = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.key_escrowed", Text: "该公钥是发放过的加密公钥，不能用作签名公钥", Clause: "GM/T 0034 §5.1", Fix: "签名密钥应由申请人自己产生：请用新的密钥对重新生成证书请求"}
	KeyInUse     = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.key_in_use", Text: "该签名公钥已有有效证书", Clause: "GM/T 0034 §12.1", Fix: "请使用新的密钥对重新生成证书请求"}
	TooMany      = &refusal.Reason{Kind: refusal.Limit, Code: "ca.batch", Text: "一次请求的件数过多", Clause: "", Fix: "请分批提交"}
	Changed      = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.changed", Text: "同一请求编号的内容与先前不同", Clause: "GM/T 0034 §12.1", Fix: "请用新的编号提交"}
	NoKey        = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.no_key", Text: "密钥管理系统拒绝提供加密密钥", Clause: "GM/T 0014 §5.2", Fix: "请联系密钥管理系统操作员"}
	NoCert       = &refusal.Reason{Kind: refusal.NotFound, Code: "ca.no_certificate", Text: "没有此序列号的证书", Clause: "GM/T 0034 §12.3", Fix: "请核对序列号（十六进制）"}
	Revoked      = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.revoked", Text: "证书已经撤销", Clause: "GM/T 0034 §12.3", Fix: "无需再次撤销"}
	Held         = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.held", Text: "证书已经冻结", Clause: "GM/T 0034 §12.6", Fix: "无需再次冻结"}
	NotHeld      = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.not_held", Text: "证书没有冻结", Clause: "GM/T 0034 §12.7", Fix: "请核对序列号与当前状态"}
	NoGate       = &refusal.Reason{Kind: refusal.Forbidden, Code: "ca.gate", Text: "该证书策略没有登记有效的资质和已公布的业务规则，不能签发", Clause: "电子政务电子认证服务管理办法 第四条、第十六条", Fix: "请由 CA 业务操作员登记资质与业务规则后重新提交"}
	Suspended    = &refusal.Reason{Kind: refusal.Forbidden, Code: "ca.suspended", Text: "该证书策略已暂停签发", Clause: "电子政务电子认证服务管理办法 第二十九条、第三十八条", Fix: "恢复后重新提交；撤销、冻结和状态查询不受影响"}
	NotFollowed  = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.follow", Text: "申请与原证书不相承", Clause: "GM/T 0034 §12.2、§12.4", Fix: "请核对原证书序列号、主体和密钥"}
	BadReason    = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.reason", Text: "撤销原因不在目录中", Clause: "RFC 5280 §5.3.1", Fix: "请使用 keyCompromise、affiliationChanged、superseded、cessationOfOperation、privilegeWithdrawn 或 unspecified"}
	BadAuthority = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.authority", Text: "下级 CA 的请求不合规定", Clause: "GM/T 0034 §8.2.4", Fix: "请按提示修改，或由下级 CA 重新生成请求"}
	BadJoin      = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.join", Text: "上级根签发的证书不能启用", Clause: "GM/T 0034 §8.2.4", Fix: "请核对文件，或请上级根重新签发"}
	TooLong      = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.validity", Text: "有效期超过 CA 证书的有效期", Clause: "GM/T 0034 §5.3.4", Fix: "请缩短有效期"}
	NoRollover   = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.rollover", Text: "现在不能更新 CA 密钥", Clause: "GM/T 0034 §8.2.4.3", Fix: "请按提示处理后再提议"}
	RolloverOpen = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.rollover_open", Text: "另一次 CA 密钥更新尚未完成", Clause: "GM/T 0034 §8.2.4.3", Fix: "请等待它完成"}
	NoResponder  = &refusal.Reason{Kind: refusal.Forbidden, Code: "ca.responder", Text: "不能为该密钥签发状态查询响应证书", Clause: "RFC 6960 §4.2.2.2", Fix: "更换响应密钥须由业务管理员提议、超级管理员批准"}
	BadRule      = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.rule", Text: "模板或设置的变更不合规定", Clause: "GM/T 0034 §5.3.4", Fix: "请按提示修改后重新提议"}
	NotWaiting   = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.not_waiting", Text: "该证书不在等待发布", Clause: "GM/T 0034 §5.3.5", Fix: "无需立即发布；请在目录中查询"}
	RuleStale    = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.rule_stale", Text: "提议所依据的版本已不是现行版本", Clause: "GM/T 0034 §5.3.4", Fix: "请按现行版本重新提议"}
	BadHandover  = &refusal.Reason{Kind: refusal.Invalid, Code: "ca.handover", Text: "移交包不能承接", Clause: "电子政务电子认证服务管理办法 第二十九条", Fix: "请用 hufu takeover check 重新核对移交的文件，上传它写出的移交包"}
	TakenSerial  = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.taken_serial", Text: "序列号已在证书库中，属于另一张证书", Clause: "RFC 5280 §4.1.2.2", Fix: "请核对是否已承接；两个被承接 CA 的序列号相同的，须从移交的文件中分出，另行办理"}
	NoWardKey    = &refusal.Reason{Kind: refusal.Conflict, Code: "ca.no_ward_key", Text: "没有被承接 CA 的私钥，状态的变更无法公布", Clause: "RFC 5280 §5", Fix: "请为持有人换发本机构的证书，并通知依赖方停止信任原证书"}
)
