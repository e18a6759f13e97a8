package api

import "github.com/hufu-pki/hufu/base/refusal"

// Why the interface itself says no.
var (
	Malformed = &refusal.Reason{Kind: refusal.Invalid, Code: "api.malformed", Text: "请求格式不符", Clause: "接口文档 /api/v1/openapi.json", Fix: "请对照接口文档修改"}
	Failure   = &refusal.Reason{Kind: refusal.Invalid, Code: "api.failure", Text: "系统出错，操作没有生效", Clause: "", Fix: "请稍后重试；仍然出错请联系系统管理员"}
	CrossSite = &refusal.Reason{Kind: refusal.Forbidden, Code: "api.cross_site", Text: "请求来自其他网站的页面", Clause: "GM/T 0034 §10.1", Fix: "请在本系统的页面上办理，或由程序不带 Origin 直接调用"}
	Crowded   = &refusal.Reason{Kind: refusal.Limit, Code: "api.sessions", Text: "登录会话过多", Clause: "", Fix: "请退出不用的会话后重试"}
)
