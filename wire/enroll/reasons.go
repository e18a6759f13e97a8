package enroll

import "github.com/hufu-pki/hufu/base/refusal"

// BadFile refuses a file that is none, or somebody else's.
var BadFile = &refusal.Reason{Kind: refusal.Invalid, Code: "enroll.file", Text: "离线签发文件无效", Clause: "GM/T 0034 §5.3.4", Fix: "请重新导出，原样传递，不要改动"}
