package ra

import (
	"sync/atomic"

	"github.com/hufu-pki/hufu/access/body"
)

// Bars are the bodies that the CA said it takes no requests of, with why. They
// bind nobody here, for the CA refuses by itself; people see why, and what to do.
// Its zero value knows of none. (CA 停止受理)
type Bars struct {
	now atomic.Pointer[map[string]string]
}

// Put replaces them.
func (b *Bars) Put(why map[string]string) { b.now.Store(&why) }

// Why is the reason for which the CA takes nothing of a body, or of the body above
// it; empty when it does.
func (b *Bars) Why(of body.Body) string {
	if b == nil || b.now.Load() == nil {
		return ""
	}
	m := *b.now.Load()
	for _, id := range []string{of.ID, of.Parent, body.Top} {
		if w := m[id]; id != "" && w != "" {
			return w
		}
	}
	return ""
}

// Barred is why the CA takes nothing of the whole registration system; empty when
// it does.
func (r *Registrar) Barred() string { return r.Bars.Why(body.Body{ID: body.Top}) }

// UntilResumed is what to do about a bar of the CA's.
const UntilResumed = "请按原因整改，再请 CA 业务管理员提议恢复（registrar.resume）、超级管理员批准；其间新的申请由 CA 退回草稿，在办案件仍可查看"
