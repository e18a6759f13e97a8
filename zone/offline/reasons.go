package offline

import "github.com/hufu-pki/hufu/base/refusal"

// Why an offline root refuses.
var (
	BadPlan   = &refusal.Reason{Kind: refusal.Invalid, Code: "root.plan", Text: "离线根的设定不合规定", Clause: "GM/T 0034 §8.1.5", Fix: "请按提示修改"}
	Made      = &refusal.Reason{Kind: refusal.Conflict, Code: "root.made", Text: "此目录已建立离线根，不再重建", Clause: "GM/T 0034 §8.2.4", Fix: "请继续收入请求和签发；新的根请另选目录"}
	NotMade   = &refusal.Reason{Kind: refusal.NotFound, Code: "root.none", Text: "此目录没有建好的离线根", Clause: "GM/T 0034 §8.1.5", Fix: "请先办理 hufu root init"}
	NoQuorum  = &refusal.Reason{Kind: refusal.Forbidden, Code: "root.quorum", Text: "根密钥不能开启", Clause: "GM/T 0034 §8.2.4", Fix: "请足够的份额持有人携带本人证书和私钥到场"}
	NoRequest = &refusal.Reason{Kind: refusal.NotFound, Code: "root.request", Text: "没有收入此请求", Clause: "GM/T 0034 §8.2.4", Fix: "请先办理 hufu root import，编号以其输出为准"}
	Altered   = &refusal.Reason{Kind: refusal.Conflict, Code: "root.minutes", Text: "纪要与根的签名不符", Clause: "GM/T 0034 §8.1.5", Fix: "请从其他副本恢复纪要，并查明原因"}
)
