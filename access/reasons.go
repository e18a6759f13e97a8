package access

import "github.com/hufu-pki/hufu/base/refusal"

// Why a person or a command is turned away.
var (
	NoSuchPerson = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.no_person", Text: "人员不在册或证书不是本系统登记的证书", Clause: "GM/T 0034 §8.1.3", Fix: "请使用本系统登记的人员证书"}
	NotACert     = &refusal.Reason{Kind: refusal.Invalid, Code: "access.not_certificate", Text: "这不是 SM2 证书", Clause: "GM/T 0034 §8.1.3", Fix: "请选择本人的人员证书文件（cert.pem）"}
	Disabled     = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.disabled", Text: "人员已停用", Clause: "GM/T 0034 §8.1.3", Fix: "请联系业务管理员恢复授权"}
	Ended        = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.ended", Text: "人员证书已撤销或已被新证书替代", Clause: "GM/T 0034 §10.1", Fix: "请使用最新的人员证书；已离岗人员不能办理"}
	Expired      = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.expired", Text: "人员证书不在有效期内", Clause: "GM/T 0034 §8.1.3", Fix: "请先更新人员证书"}
	BadSignature = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.signature", Text: "操作声明的签名无效", Clause: "GM/T 0034 §10.1", Fix: "请用登记证书对应的私钥重新签名；若页面已过期请刷新后重试"}
	Stale        = &refusal.Reason{Kind: refusal.Conflict, Code: "access.stale", Text: "操作声明已过期或事项已变化", Clause: "GM/T 0034 §10.1", Fix: "请刷新页面，核对最新内容后重新签名"}
	Replayed     = &refusal.Reason{Kind: refusal.Conflict, Code: "access.replayed", Text: "这份操作声明已经使用过", Clause: "GM/T 0034 §10.1", Fix: "请重新发起操作"}
	WrongRole    = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.role", Text: "您的角色无权进行此操作", Clause: "GM/T 0034 §8.1.3", Fix: "请由具有相应角色的人员办理"}
	NotSignedIn  = &refusal.Reason{Kind: refusal.Forbidden, Code: "access.sign_in", Text: "尚未登录或登录已过期", Clause: "GM/T 0034 §8.1.3", Fix: "请用人员证书登录"}
)
