package console

import "github.com/hufu-pki/hufu/base/refusal"

// Why a console itself says no.
var (
	NoPage = &refusal.Reason{Kind: refusal.NotFound, Code: "console.no_page", Text: "没有这个页面", Fix: "请从左侧菜单进入"}
	Away   = &refusal.Reason{Kind: refusal.Conflict, Code: "console.away", Text: "核心区暂时不可用", Fix: "请稍后重试；操作是否成功请以记录为准"}
)
