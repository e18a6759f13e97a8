package envelope

import "github.com/hufu-pki/hufu/base/refusal"

// Why a blob is not accepted.
var (
	NotEnvelope = &refusal.Reason{Kind: refusal.Invalid, Code: "envelope.unknown", Text: "不是可识别的密钥信封", Clause: "GB/T 35276、GB/T 35275、GM/T 0016", Fix: "请核对文件是否完整、是否取对了文件"}
	Deviates    = &refusal.Reason{Kind: refusal.Invalid, Code: "envelope.deviates", Text: "密钥信封不合标准", Clause: "GB/T 35276、GB/T 35275、GM/T 0016", Fix: "请按所列各项找出产生它的软件的错误；可用 hufu envelope --json 查看全部"}
	NotOpened   = &refusal.Reason{Kind: refusal.Invalid, Code: "envelope.not_opened", Text: "密钥信封打不开，或打开的私钥不对", Clause: "GB/T 35276", Fix: "请核对签名私钥和证书是否与信封同属一次申请"}
)
