package staff

import (
	"errors"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
)

// Why a change to people is refused.
var (
	BadChange     = &refusal.Reason{Kind: refusal.Invalid, Code: "staff.change", Text: "人员变更不合规定", Clause: "GM/T 0034 §8.1.3、§10.1", Fix: "请按提示修改"}
	NotAgreed     = &refusal.Reason{Kind: refusal.Forbidden, Code: "staff.not_agreed", Text: "变更没有应有的签名", Clause: "GM/T 0034 §8.1.3、§10.2.3.1", Fix: "请由有权的人员提议、另一人批准"}
	FewCustodians = &refusal.Reason{Kind: refusal.Conflict, Code: "staff.few_custodians", Text: "份额保管人将不足", Clause: "GM/T 0034 §8.2.4.3、§10.3", Fix: "请先更换份额（hufu ceremony reshare），或先新增保管人"}
)

func isNobody(err error) bool { return errors.Is(err, access.NoSuchPerson) }
