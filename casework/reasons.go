package casework

import "github.com/hufu-pki/hufu/base/refusal"

// Why a step is not taken.
var (
	NoSuchStep = &refusal.Reason{Kind: refusal.Conflict, Code: "case.no_step", Text: "当前状态不能进行此操作", Clause: "GM/T 0034 §12", Fix: "请刷新后查看案件当前状态"}
	NotYours   = &refusal.Reason{Kind: refusal.Forbidden, Code: "case.not_yours", Text: "您的角色不能办理此步骤", Clause: "GM/T 0034 §8.1.3", Fix: "请由具有相应角色的人员办理"}
	SamePerson = &refusal.Reason{Kind: refusal.Forbidden, Code: "case.same_person", Text: "录入与审核（申请与核准）不得为同一人", Clause: "GM/T 0034 §8.1.3；GM/T 0037 §8.6", Fix: "请由另一名人员办理"}
	Stale      = &refusal.Reason{Kind: refusal.Conflict, Code: "case.stale", Text: "案件已被他人处理", Clause: "GM/T 0034 §10.1", Fix: "请刷新后查看最新状态再办理"}
)
