package audit

import "github.com/hufu-pki/hufu/base/refusal"

// NothingNew is when an auditor marks and nothing happened since.
var NothingNew = &refusal.Reason{Kind: refusal.Conflict, Code: "audit.nothing_new", Text: "没有未审计的记录", Clause: "GM/T 0034 §10.5", Fix: "无需标记"}
