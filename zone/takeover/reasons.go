package takeover

import "github.com/hufu-pki/hufu/base/refusal"

// Why a folder is refused as a whole.
var (
	TooMuch  = &refusal.Reason{Kind: refusal.Limit, Code: "takeover.much", Text: "移交的文件超出上限", Clause: "GM/T 0034 §8.2.4", Fix: "请按 CA 分成几个文件夹，分别核对"}
	NoCA     = &refusal.Reason{Kind: refusal.Invalid, Code: "takeover.ca", Text: "移交的文件中找不到被承接的 CA", Clause: "《电子政务电子认证服务管理办法》第二十九条", Fix: "请放入被承接 CA 的证书及其上级证书（PEM、DER 或 PKCS#7）"}
	NoList   = &refusal.Reason{Kind: refusal.Invalid, Code: "takeover.list", Text: "没有可用的撤销列表", Clause: "RFC 5280 §5.2.3", Fix: "请取得被承接 CA 最后签发的全量撤销列表：没有它，不知道哪些证书已撤销，编号也接不上"}
	OtherKey = &refusal.Reason{Kind: refusal.Invalid, Code: "takeover.key", Text: "私钥与被承接 CA 的证书不成对", Clause: "GM/T 0034 §8.2.4", Fix: "请核对文件，或请移交方重新移交"}
)
