package ra

import (
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// States of cases.
const (
	Drafted   casework.State = "drafted"
	Submitted casework.State = "submitted"
	Reviewed  casework.State = "reviewed" // and not yet authorised
	Seconded  casework.State = "seconded" // reviewed once, waits for the second reviewer
	Thirded   casework.State = "thirded"  // reviewed twice, waits for the third
	Approved  casework.State = "approved"
	Issued    casework.State = "issued"
	Delivered casework.State = "delivered"
	Rejected  casework.State = "rejected"
	Revoked   casework.State = "revoked"
	Done      casework.State = "done"
	Discarded casework.State = "discarded"

	IssuedHeld    casework.State = "issued-held"    // frozen before it was handed out
	DeliveredHeld casework.State = "delivered-held" // frozen
	Superseded    casework.State = "superseded"     // another certificate has taken its place

	Asked casework.State = "asked" // the subscriber has signed; nobody of the desk has taken it up
)

// Actions on cases.
const (
	Submit  casework.Action = "submit"
	Approve casework.Action = "approve"
	Return  casework.Action = "return"
	// Authorise lets a recovery happen that was reviewed.
	Authorise casework.Action = "authorise"
	Reject    casework.Action = "reject"
	Issue     casework.Action = "issue"
	Refuse    casework.Action = "refuse"
	Produce   casework.Action = "produce"
	Revoke    casework.Action = "revoke"
	Freeze    casework.Action = "freeze"
	Carry     casework.Action = "carry"
	End       casework.Action = "end"
	// Withdraw takes a submission back before anybody reviewed it; Discard gives
	// a draft up.
	Withdraw casework.Action = "withdraw"
	Discard  casework.Action = "discard"
	Unfreeze casework.Action = "unfreeze"
	Hold     casework.Action = "hold"
	Release  casework.Action = "release"
	Replace  casework.Action = "replace"
	// Cancel ends a case of a batch that is held back, before the CA is asked.
	Cancel casework.Action = "cancel"
	// Pause holds the approved cases of a batch back, Resume lets them go on.
	Pause  casework.Action = "pause"
	Resume casework.Action = "resume"
	// Ask is the subscriber's own signature under what they want.
	Ask casework.Action = "ask"
)

var states = map[casework.State]string{
	Drafted: "草稿", Submitted: "待审核", Reviewed: "待批准", Seconded: "待复审", Thirded: "待终审", Approved: "待签发", Issued: "待制证", Delivered: "已交付", Rejected: "已拒绝", Revoked: "已撤销", Done: "已办结", Discarded: "已作废",
	Asked: "持有人申请，待受理", IssuedHeld: "已冻结（待制证）", DeliveredHeld: "已冻结", Superseded: "已被替代",
}

var acts = map[casework.Action]string{
	Submit: "提交审核", Approve: "审核通过", Authorise: "批准恢复", Return: "退回修改", Reject: "不予通过", Issue: "签发", Refuse: "CA 未予办理",
	Produce: "制证交付", Revoke: "申请撤销", Carry: "执行", End: "证书撤销", Withdraw: "撤回", Discard: "作废草稿",
	Freeze: "申请冻结", Unfreeze: "申请解冻", Hold: "证书冻结", Release: "证书解冻", Replace: "证书被替代", Ask: "持有人申请", Cancel: "取消未办部分", Pause: "暂停批次", Resume: "恢复批次",
}

// IssueKind takes an application from the counter to the subscriber's hand.
// (证书申请, GM/T 0034 §12.1)
var IssueKind = issueKind("ra.issue", "证书申请", []casework.Step{
	{From: Submitted, Do: Approve, By: access.RAReviewer, To: Approved, NotBy: Submit},
	asked[0], asked[1], asked[2],
})

// Issue2Kind and Issue3Kind are the same with two and three levels of review, each
// by another person than the clerk and the levels before. (多级审核)
var (
	Issue2Kind = levelled("ra.issue2", "证书申请（两级审核）", Seconded)
	Issue3Kind = levelled("ra.issue3", "证书申请（三级审核）", Seconded, Thirded)
)

// IssueKinds are the kinds of applications by their levels of review, from one.
var IssueKinds = []casework.Kind{IssueKind, Issue2Kind, Issue3Kind}

func levelled(name, title string, later ...casework.State) casework.Kind {
	steps := []casework.Step{{From: Submitted, Do: Approve, By: access.RAReviewer, To: later[0], NotBy: Submit}}
	for i, s := range later {
		to := Approved
		if i+1 < len(later) {
			to = later[i+1]
		}
		apart := []casework.Action{Submit, Approve}
		steps = append(steps, casework.Step{From: s, Do: Approve, By: access.RAReviewer, To: to, Apart: apart},
			casework.Step{From: s, Do: Return, By: access.RAReviewer, To: Drafted, NotBy: Submit},
			casework.Step{From: s, Do: Reject, By: access.RAReviewer, To: Rejected, NotBy: Submit})
	}
	return issueKind(name, title, append(steps, asked...))
}

// asked are the steps of an application that the holder makes.
var asked = []casework.Step{
	{From: Drafted, Do: Ask, By: access.Holder, To: Asked},
	{From: Asked, Do: Submit, By: access.RAClerk, To: Submitted, NotBy: Ask},
	{From: Asked, Do: Reject, By: access.RAClerk, To: Rejected},
}

// RecoverKind takes a recovery of an encryption key from the counter to the
// subscriber's hand: who reviews it does not alone let it happen. (加密密钥恢复, GM/T 0034 §12.4)
var RecoverKind = issueKind("ra.recover", "加密密钥恢复", []casework.Step{
	{From: Submitted, Do: Approve, By: access.RAReviewer, To: Reviewed, NotBy: Submit},
	{From: Reviewed, Do: Authorise, By: access.RAAdmin, To: Approved, NotBy: Approve},
	{From: Reviewed, Do: Reject, By: access.RAAdmin, To: Rejected, NotBy: Approve},
})

func issueKind(name, title string, review []casework.Step) casework.Kind {
	steps := []casework.Step{
		{From: Drafted, Do: Submit, By: access.RAClerk, To: Submitted},
		{From: Drafted, Do: Discard, By: access.RAClerk, To: Discarded},
		{From: Submitted, Do: Withdraw, By: access.RAClerk, To: Drafted},
		{From: Submitted, Do: Return, By: access.RAReviewer, To: Drafted, NotBy: Submit},
		{From: Submitted, Do: Reject, By: access.RAReviewer, To: Rejected, NotBy: Submit},
	}
	steps = append(append(steps, review...), []casework.Step{
		{From: Approved, Do: Issue, By: access.Machine, To: Issued},
		{From: Approved, Do: Refuse, By: access.Machine, To: Drafted},
		{From: Issued, Do: Produce, By: access.RAProducer, To: Delivered},
		{From: Delivered, Do: Produce, By: access.RAProducer, To: Delivered},
		{From: Issued, Do: Hold, By: access.Machine, To: IssuedHeld},
		{From: Delivered, Do: Hold, By: access.Machine, To: DeliveredHeld},
		{From: IssuedHeld, Do: Release, By: access.Machine, To: Issued},
		{From: DeliveredHeld, Do: Release, By: access.Machine, To: Delivered},
	}...)
	for _, from := range []casework.State{Issued, Delivered, IssuedHeld, DeliveredHeld} {
		steps = append(steps, casework.Step{From: from, Do: End, By: access.Machine, To: Revoked}, casework.Step{From: from, Do: Replace, By: access.Machine, To: Superseded})
	}
	return casework.Kind{Name: name, Title: title, Start: Drafted, States: states, Acts: acts, Steps: steps}
}

// Issues reports whether cases of a kind end in a certificate.
func Issues(kind string) bool {
	return slices.Contains(IssuingKinds, kind)
}

// IssuingKinds are the kinds of cases that end in a certificate, by name.
var IssuingKinds = []string{IssueKind.Name, Issue2Kind.Name, Issue3Kind.Name, RecoverKind.Name}

// RevokeKind takes a revocation from the desk to the lists. (证书撤销, GM/T 0034 §12.3)
var RevokeKind = statusKind("ra.revoke", "证书撤销", Revoke)

// FreezeKind puts certificates on hold. (证书冻结, GM/T 0034 §12.6)
var FreezeKind = statusKind("ra.freeze", "证书冻结", Freeze)

// UnfreezeKind releases them. (证书解冻, GM/T 0034 §12.7)
var UnfreezeKind = statusKind("ra.unfreeze", "证书解冻", Unfreeze)

func statusKind(name, title string, do casework.Action) casework.Kind {
	steps := []casework.Step{
		{From: Drafted, Do: do, By: access.RAClerk, To: Submitted},
		{From: Submitted, Do: Approve, By: access.RAReviewer, To: Approved, NotBy: do},
		{From: Submitted, Do: Reject, By: access.RAReviewer, To: Rejected, NotBy: do},
		{From: Submitted, Do: Withdraw, By: access.RAClerk, To: Discarded},
		{From: Approved, Do: Carry, By: access.Machine, To: Done},
		{From: Approved, Do: Refuse, By: access.Machine, To: Rejected},
		{From: Approved, Do: Cancel, By: access.RAReviewer, To: Rejected},
	}
	if do != Unfreeze { // a key on hold may be in other hands: its release is asked for at the counter
		steps = append(steps, []casework.Step{
			{From: Drafted, Do: Ask, By: access.Holder, To: Asked},
			{From: Asked, Do: do, By: access.RAClerk, To: Submitted, NotBy: Ask},
			{From: Asked, Do: Reject, By: access.RAClerk, To: Rejected},
		}...)
	}
	return casework.Kind{Name: name, Title: title, Start: Drafted, States: states, Acts: acts, Steps: steps}
}

// UnitKind enters a unit into the register, or changes what the register says of
// it: a clerk brings it, a reviewer has looked at the papers. (单位登记)
var UnitKind = casework.Kind{Name: "ra.unit", Title: "单位登记", Start: Drafted, States: states, Acts: acts, Steps: []casework.Step{
	{From: Drafted, Do: Submit, By: access.RAClerk, To: Submitted},
	{From: Drafted, Do: Discard, By: access.RAClerk, To: Discarded},
	{From: Submitted, Do: Withdraw, By: access.RAClerk, To: Drafted},
	{From: Submitted, Do: Approve, By: access.RAReviewer, To: Done, NotBy: Submit},
	{From: Submitted, Do: Return, By: access.RAReviewer, To: Drafted, NotBy: Submit},
	{From: Submitted, Do: Reject, By: access.RAReviewer, To: Rejected, NotBy: Submit},
}}

// Kinds are the kinds of cases by name.
var Kinds = map[string]casework.Kind{
	IssueKind.Name: IssueKind, Issue2Kind.Name: Issue2Kind, Issue3Kind.Name: Issue3Kind, RecoverKind.Name: RecoverKind, RevokeKind.Name: RevokeKind, FreezeKind.Name: FreezeKind, UnfreezeKind.Name: UnfreezeKind, UnitKind.Name: UnitKind,
}

// Notice is something an applicant must be told.
type Notice struct{ Code, Text string }

// Notices are the four things an applicant must be told at acceptance (Order
// No. 4 art. 21), by the codes a case records.
var Notices = []Notice{
	{"conditions", "电子签名认证证书和电子签名的使用条件"},
	{"liability", "电子签名所产生的法律责任"},
	{"holder-data", "保存和使用电子签名认证证书持有人信息的权限和责任"},
	{"scope", "电子政务电子认证服务机构和电子签名认证证书持有人的责任范围"},
}

// Avers is what the law asks a person to have done before the act, as they
// declare it by signing (Order No. 4 art. 21).
var Avers = map[string]string{
	"ra.ask":       "本人持有所示证书的私钥，申请事项属实；办理更新的，已阅知电子政务电子认证服务管理办法第二十一条所列事项并接受服务协议",
	"ra.submit":    "本人已按案件所记方式查验申请人身份，已向申请人告知电子政务电子认证服务管理办法第二十一条所列事项，申请人已接受服务协议；登记单位的，本人已核对授权书和经办人的证件",
	"ra.approve":   "本人已核对所列事项的身份查验记录、申请材料、告知记录和服务协议，同意办理",
	"ra.authorise": "本人已核对恢复理由和申请人身份，同意恢复所列加密密钥（GM/T 0034 §12.4）",
	"ra.produce":   "本人已将证书与密封的加密私钥交付申请人或其授权的经办人",
}

// HolderKey is the check of an identity by a signature of the certificate that
// was issued to it; only self-service records it.
const HolderKey = "holder-key"

// CheckMethods are the ways an identity may be checked. (身份查验方式)
var CheckMethods = map[string]string{
	"in-person": "当面核验原件", "entrusted": "核验委托书与经办人原件", "remote-video": "远程视频核验", "official-data": "权威数据源比对", HolderKey: "持有人用有效证书的私钥签名", "none": "未查验",
}

func applicationOf(content []byte) (a enroll.Application, err error) {
	return a, enroll.Decode(content, &a)
}
