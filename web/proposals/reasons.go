package proposals

import "github.com/hufu-pki/hufu/base/refusal"

// NoPerson is why nothing is shown of somebody.
var NoPerson = &refusal.Reason{Kind: refusal.NotFound, Code: "proposals.no_person", Text: "没有在册的此人", Clause: "GM/T 0034 §8.1.3", Fix: "请核对人员编号；离岗人员的证书见变更记录"}
