package km

import "github.com/hufu-pki/hufu/base/refusal"

// Why the key centre refuses. The first three turn the whole message away at
// the door; the others travel as errNo in a signed answer.
var (
	Malformed    = &refusal.Reason{Kind: refusal.Invalid, Code: "km.malformed", Text: "密钥管理消息格式错误", Clause: "GM/T 0014 §5.3", Fix: "请核对 CA 系统的消息编码"}
	BadSignature = &refusal.Reason{Kind: refusal.Forbidden, Code: "km.signature", Text: "密钥管理消息签名无效", Clause: "GM/T 0034 §6.4", Fix: "请核对 CA 服务器证书与签名密钥是否一致"}
	UnknownCA    = &refusal.Reason{Kind: refusal.Forbidden, Code: "km.unknown_ca", Text: "CA 未在密钥管理系统登记", Clause: "GM/T 0034 §6.3.4", Fix: "请由密钥管理系统登记该 CA 的服务器证书"}
	OutOfTime    = &refusal.Reason{Kind: refusal.Invalid, Code: "km.time", Text: "请求时间超出允许范围", Clause: "GM/T 0014 §5.3", Fix: "请校准双方时钟后重新生成请求"}
	Replayed     = &refusal.Reason{Kind: refusal.Conflict, Code: "km.replayed", Text: "任务号已用于内容不同的请求", Clause: "GM/T 0014 §5.3", Fix: "请使用新的任务号"}
	Unsupported  = &refusal.Reason{Kind: refusal.Invalid, Code: "km.algorithm", Text: "不支持所请求的算法或密钥", Clause: "GM/T 0014 §5.3", Fix: "请使用 SM2（256 位）、SM4、SM3"}
	Duplicate    = &refusal.Reason{Kind: refusal.Conflict, Code: "km.duplicate", Text: "该证书序列号已申请过密钥", Clause: "GM/T 0014 §5.3", Fix: "请为加密证书预留新的序列号"}
	NoKey        = &refusal.Reason{Kind: refusal.NotFound, Code: "km.no_key", Text: "没有该证书序列号的密钥", Clause: "GM/T 0034 §6.3.4", Fix: "请核对加密证书序列号"}
	Retired      = &refusal.Reason{Kind: refusal.Conflict, Code: "km.retired", Text: "密钥已撤销或已过期，不在在用库中", Clause: "GM/T 0034 §12.4", Fix: "历史库中的密钥只能由司法恢复取得"}
	NoStandby    = &refusal.Reason{Kind: refusal.Limit, Code: "km.no_standby", Text: "备用密钥不足", Clause: "GM/T 0034 §6.2.3", Fix: "请稍后重试"}
	DeviceFailed = &refusal.Reason{Kind: refusal.Limit, Code: "km.device", Text: "密码设备故障", Clause: "GM/T 0034 §6.2.8", Fix: "请稍后重试并联系密钥管理系统操作员"}
	Failed       = &refusal.Reason{Kind: refusal.Limit, Code: "km.failed", Text: "密钥管理系统内部错误", Clause: "GM/T 0034 §6.3", Fix: "请稍后重试"}
	Policy       = &refusal.Reason{Kind: refusal.Invalid, Code: "km.policy", Text: "请求不符合密钥管理策略", Clause: "GM/T 0034 §6.3.4", Fix: "请核对证书有效期"}
)

// Why a judicial recovery is refused.
var (
	BadWarrant    = &refusal.Reason{Kind: refusal.Invalid, Code: "km.warrant", Text: "司法取证的手续不完整", Clause: judicialClause, Fix: "请按法律文书核对后重新提出"}
	NoRecord      = &refusal.Reason{Kind: refusal.NotFound, Code: "km.no_record", Text: "在用库和历史库中没有该证书的密钥", Clause: judicialClause, Fix: "请核对加密证书序列号"}
	Unrecoverable = &refusal.Reason{Kind: refusal.Conflict, Code: "km.unrecoverable", Text: "托管密钥无法恢复", Clause: "GM/T 0034 §6.2.9", Fix: "请立即检查密码设备与密钥库，并从备份恢复"}
	BadArchive    = &refusal.Reason{Kind: refusal.Invalid, Code: "km.archive", Text: "移交的密钥不能承接", Clause: "GM/T 0034 §6.2", Fix: "请用 hufu takeover check --km 重新写出密钥文件"}
	BadMarks      = &refusal.Reason{Kind: refusal.Invalid, Code: "km.marks", Text: "密钥库设置不合规定", Clause: "GM/T 0034 §6.2.3", Fix: "请按提示修改"}
	NotDue        = &refusal.Reason{Kind: refusal.Conflict, Code: "km.not_due", Text: "归档密钥未到可以销毁的时间", Clause: "GM/T 0034 §9.2.2", Fix: "归档密钥须保存十年以上；请改填更早的日期"}
	Destroyed     = &refusal.Reason{Kind: refusal.NotFound, Code: "km.destroyed", Text: "该证书的密钥已按保存期限销毁", Clause: "GM/T 0034 §9.2.2", Fix: "密钥不能再恢复；销毁纪要见所列变更"}
	Superseded    = &refusal.Reason{Kind: refusal.Conflict, Code: "km.master", Text: "另一主密钥已经启用", Clause: "GM/T 0034 §8.2.4", Fix: "以最后启用的主密钥为准，无需处理"}
	BadShare      = &refusal.Reason{Kind: refusal.Forbidden, Code: "km.share", Text: "份额不能用于放行", Clause: "GM/T 0034 §10.3", Fix: "请由份额保管人用本人的私钥重新放行"}
)

// numbers are the errNo of GM/T 0014 answers: the standard leaves the values
// open, these are ours and stay. 10 to 12 are kept for key centres that answer
// so; this one generates when the pool is empty, and when a device or a
// database fails it lets the CA ask again and finish.
var numbers = [...]*refusal.Reason{
	1: Malformed, 2: BadSignature, 3: UnknownCA, 4: OutOfTime, 5: Replayed, 6: Unsupported, 7: Duplicate,
	8: NoKey, 9: Retired, 10: NoStandby, 11: DeviceFailed, 12: Failed, 13: Policy,
}

// Number is the errNo of a reason, 0 for none.
func Number(r *refusal.Reason) int {
	for n, have := range numbers {
		if n > 0 && have == r {
			return n
		}
	}
	return 0
}

// Numbered is the reason of an errNo, nil when there is none.
func Numbered(n int) *refusal.Reason {
	if n < 1 || n >= len(numbers) {
		return nil
	}
	return numbers[n]
}
