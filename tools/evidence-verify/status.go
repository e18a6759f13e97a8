package main

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// settling is how long a change may take to reach the list.
const settling = time.Minute

// listed holds the revocation list against the ledger, and says what became of
// the certificates.
func (c *container) listed(_ anchors, r *report) error {
	const path = "status/list.crl"
	data, ok := c.files[path]
	if !ok {
		r.say("六、状态：文件中没有撤销列表；以下只据账本")
		c.sayStates(r)
		return nil
	}
	l, err := smx509.ParseRevocationList(data)
	if err != nil {
		return bad(path, "%v", err)
	}
	if err := l.CheckSignatureFrom(c.ca); err != nil {
		return bad(path, "不是签发 CA 签的：%v", err)
	}
	if len(c.crlDigest) > 0 && !slices.Contains(c.crlDigest, hex.EncodeToString(digest(data))) {
		return bad(path, "不是账本所列的撤销列表")
	}
	// The list is the signing certificate's shard; the other one may lie in another.
	listed := false
	for _, e := range l.RevokedCertificateEntries {
		listed = listed || serialOf(e.SerialNumber) == c.m.Sign
	}
	revoked, settled := false, false
	for _, s := range c.states {
		if s.serial == c.m.Sign && !s.at.After(l.ThisUpdate) {
			revoked, settled = s.revoked, l.ThisUpdate.Sub(s.at) > settling
		}
	}
	expired := l.ThisUpdate.After(c.sign.NotAfter)
	switch {
	case listed && len(c.states) == 0:
		return bad(path, "撤销列表中有签名证书，账本中没有它的状态条目")
	case settled && listed != revoked && !expired:
		return bad(path, "撤销列表与账本的状态不一致")
	}
	r.say("六、状态：撤销列表（%s 起）签名有效，签名证书%s其中", l.ThisUpdate.UTC().Format(time.RFC3339), map[bool]string{true: "在", false: "不在"}[listed])
	c.sayStates(r)
	return nil
}

func (c *container) sayStates(r *report) {
	if len(c.states) == 0 {
		r.say("    账本中没有状态变化：证书自签发起有效，至 %s 到期", day(c.sign.NotAfter))
	}
	for _, s := range c.states {
		what := "解除冻结"
		switch {
		case s.revoked && s.reason == 6:
			what = "冻结"
		case s.revoked:
			what = "撤销"
		}
		r.say("    %s  %s %s（原因代码 %d）", s.at.Format(time.RFC3339), s.serial, what, s.reason)
	}
}
