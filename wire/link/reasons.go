package link

import "github.com/hufu-pki/hufu/base/refusal"

// Malformed is a message that does not have the shape of its path.
var Malformed = &refusal.Reason{Kind: refusal.Invalid, Code: "link.malformed", Text: "区间消息格式不符", Clause: "GM/T 0034 §5.3.2", Fix: "请核对两端软件版本"}
