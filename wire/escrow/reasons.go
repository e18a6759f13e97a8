package escrow

import "github.com/hufu-pki/hufu/base/refusal"

// TooLong is a message beyond the bound.
var TooLong = &refusal.Reason{Kind: refusal.Limit, Code: "escrow.too_long", Text: "密钥管理消息过长", Clause: "GM/T 0014 §5.3", Fix: "请分批提交"}
