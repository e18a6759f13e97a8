package quorum

import "github.com/hufu-pki/hufu/base/refusal"

const clause = "GM/T 0034 §8.2.4.3、§10.3"

// Why a ceremony or an opening is refused.
var (
	BadPlan       = &refusal.Reason{Kind: refusal.Invalid, Code: "quorum.plan", Text: "分管的安排不合规定", Clause: clause, Fix: "请按提示修改"}
	Excluded      = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.excluded", Text: "此人的岗位不得保管份额", Clause: "GM/T 0034 §10.3", Fix: "请由超级管理员、业务管理员、业务操作员、审计人员和维护人员以外的人保管"}
	NotRegistered = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.not_registered", Text: "不是在册的份额保管人", Clause: "GM/T 0034 §10.3", Fix: "请先由业务管理员提议、超级管理员批准登记（people.add），再用登记时颁发的证书"}
	NotMade       = &refusal.Reason{Kind: refusal.NotFound, Code: "quorum.none", Text: "此系统的密钥尚未分管", Clause: clause, Fix: "请先办理 hufu ceremony init-ca（或 init-ra、init-km）"}
	Made          = &refusal.Reason{Kind: refusal.Conflict, Code: "quorum.made", Text: "此系统的密钥已经分管", Clause: clause, Fix: "更换份额请办理 hufu ceremony reshare"}
	NotHolder     = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.not_holder", Text: "不是份额保管人", Clause: clause, Fix: "请由保管人用本人的证书和私钥办理；hufu ceremony show 列出保管人"}
	BadShare      = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.share", Text: "份额不能使用", Clause: clause, Fix: "请核对所用私钥；份额换过之后，旧份额不再有效"}
	TooFew        = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.too_few", Text: "到场的保管人不足", Clause: clause, Fix: "请足够的保管人携带本人证书和私钥到场"}
	NotAgreed     = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.not_agreed", Text: "此事须超级管理员和审计管理员共同批准", Clause: "GM/T 0034 §8.2.4", Fix: "请用 --approve 指明两人的目录，由其本人签名"}
	NoKey         = &refusal.Reason{Kind: refusal.NotFound, Code: "quorum.no_key", Text: "没有此密钥", Clause: "GM/T 0034 §8.2.4", Fix: "hufu ceremony show 列出密钥"}
	Altered       = &refusal.Reason{Kind: refusal.Conflict, Code: "quorum.minutes", Text: "纪要被改动或不完整", Clause: "GM/T 0034 §8.2.4.3", Fix: "请从其他副本恢复纪要，并查明原因"}
	NoMinutes     = &refusal.Reason{Kind: refusal.NotFound, Code: "quorum.no_minutes", Text: "没有此纪要", Clause: "GM/T 0034 §8.2.4.3", Fix: "hufu ceremony show 列出纪要"}
	Elsewhere     = &refusal.Reason{Kind: refusal.Forbidden, Code: "quorum.elsewhere", Text: "对方的临时公钥与所核对的不符", Clause: clause, Fix: "请到运行系统的机器前核对指纹；不符即停止，不要交出份额"}
)
