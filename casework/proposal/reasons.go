package proposal

import "github.com/hufu-pki/hufu/base/refusal"

// Why a proposal is refused.
var (
	NoMatter   = &refusal.Reason{Kind: refusal.Invalid, Code: "proposal.matter", Text: "没有此变更事项", Clause: "GM/T 0034 §10.2.3.1", Fix: "可提议的事项见“变更”页"}
	NoProposal = &refusal.Reason{Kind: refusal.NotFound, Code: "proposal.none", Text: "没有此变更", Clause: "GM/T 0034 §10.2.3.1", Fix: "请核对编号"}
	BadContent = &refusal.Reason{Kind: refusal.Invalid, Code: "proposal.content", Text: "变更内容不合规定", Clause: "GM/T 0034 §10.2.3.1", Fix: "请按提示修改"}
	NoResult   = &refusal.Reason{Kind: refusal.Conflict, Code: "proposal.no_result", Text: "此变更没有可取的结果", Clause: "GM/T 0034 §10.2.3.1", Fix: "请在变更执行之后再取；用 change 查看进展"}
	NotYours   = &refusal.Reason{Kind: refusal.Forbidden, Code: "proposal.not_yours", Text: "只能撤回自己的提议", Clause: "GM/T 0034 §10.1", Fix: "请由提议人办理"}
)
