package matrix

import (
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework/proposal"
)

// court is the judicial recovery of a key that the centre holds.
func (w *world) court(m map[string]try, enc string) {
	var pem []byte
	w.must("ra-clerk", "GET", "/api/v1/certificates/"+enc, nil, &pem)
	warrant := map[string]string{"case": "样例 1 号", "authority": "某某法院（样例）", "document": "通知书 1", "digest": strings.Repeat("ab", 32), "serial": enc, "ca": "",
		"recipient": string(pem), "scope": "核对", "expires": "2099-12-31"}
	w.matter(m, "km", "km.judicial", warrant, "km-operator", "km-forensic1")
	id := w.agree("km.judicial", warrant, "km-operator", "km-forensic1")
	m["km km.judicial/release"] = func(r access.Role) string {
		who := holder(r)
		if r == access.KMForensic {
			who = "km-forensic2" // who agreed does not release
		}
		return w.order(who, "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": id, "share": []byte{1}})
	}
}
