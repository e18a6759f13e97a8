package body

import "github.com/hufu-pki/hufu/base/refusal"

// Why the register says no.
var (
	NoBody    = &refusal.Reason{Kind: refusal.NotFound, Code: "body.none", Text: "没有此注册机构", Clause: "电子政务电子认证服务管理办法 第二十五条", Fix: "请核对注册机构编号"}
	BadBody   = &refusal.Reason{Kind: refusal.Invalid, Code: "body.change", Text: "注册机构变更不合规定", Clause: "电子政务电子认证服务管理办法 第二十五条", Fix: "请按提示修改"}
	Further   = &refusal.Reason{Kind: refusal.Forbidden, Code: "body.further", Text: "受托机构不得再委托", Clause: "电子政务电子认证服务管理办法 第二十五条第三款", Fix: "受托机构只能开设受理网点（body.outlet）；新的受托机构由本机构直接委托，不写 parent"}
	Suspended = &refusal.Reason{Kind: refusal.Forbidden, Code: "body.suspended", Text: "注册机构已停止受理", Clause: "电子政务电子认证服务管理办法 第二十五条", Fix: "请由注册业务管理员查明，恢复后再办；在办案件仍可查看"}
	Outside   = &refusal.Reason{Kind: refusal.Forbidden, Code: "body.scope", Text: "超出委托范围", Clause: "电子政务电子认证服务管理办法 第二十五条第三款", Fix: "请到本机构办理，或由注册业务管理员变更委托范围"}
	NotLent   = &refusal.Reason{Kind: refusal.Forbidden, Code: "body.not_delegable", Text: "该证书模板的受理、查验、签发和交付不得委托", Clause: "电子认证服务管理办法（征求意见稿）第二十二条", Fix: "请由本机构自己的人员或网点办理；委托范围中请删除此模板"}
	NotTheirs = &refusal.Reason{Kind: refusal.Forbidden, Code: "body.person", Text: "人员不属于办理此案件的注册机构", Clause: "电子政务电子认证服务管理办法 第二十五条第三款", Fix: "请由该注册机构或其上级的人员办理"}
	NotAgreed = &refusal.Reason{Kind: refusal.Forbidden, Code: "body.not_agreed", Text: "变更没有应有的签名", Clause: "GM/T 0034 §10.2.3.1", Fix: "请由有权的人员提议、另一人批准"}
)
