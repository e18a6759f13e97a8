package cacore

import "github.com/hufu-pki/hufu/base/refusal"

// BadGate is why a change to what may be issued is refused.
var BadGate = &refusal.Reason{Kind: refusal.Invalid, Code: "gate.change", Text: "签发条件的变更不合规定", Clause: "电子政务电子认证服务管理办法 第四条、第十六条", Fix: "请按提示修改"}

// BadOrder is why an order to sign the lists now is refused.
var BadOrder = &refusal.Reason{Kind: refusal.Invalid, Code: "crl.order", Text: "签发列表的要求不完整", Clause: "GM/T 0034 §5.3.4", Fix: "请写明原因"}

// BadPeriod is why a period of statistics is refused.
var BadPeriod = &refusal.Reason{Kind: refusal.Invalid, Code: "statistics.period", Text: "统计期间不合规定", Clause: "GM/T 0034 §5.3.4", Fix: "请给出如 2026-01-01 的起止日期，止不早于起"}

// BadAuthority is why a change to the CAs below or above this one is refused.
var BadAuthority = &refusal.Reason{Kind: refusal.Invalid, Code: "authority.change", Text: "下级或上级 CA 的变更不合规定", Clause: "GM/T 0034 §8.2.4", Fix: "请按提示修改"}

// BadKeyChange is why a change of the CA's or a responder's key is refused.
var BadKeyChange = &refusal.Reason{Kind: refusal.Invalid, Code: "key.change", Text: "密钥变更的要求不合规定", Clause: "GM/T 0034 §8.2.4.3", Fix: "请按提示修改"}

// BadRelease is why an order to publish a certificate now is refused.
var BadRelease = &refusal.Reason{Kind: refusal.Invalid, Code: "certificate.publish", Text: "立即发布的要求不完整", Clause: releaseClause, Fix: "请填写序列号和原因"}
