package matrix

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
)

// gates are the changes to what the CA may issue.
func (w *world) gates(m map[string]try) {
	var others []string // policies that no case below is of
	type profile = struct{ Name, Policy string }
	var used []profile
	w.must("ra-clerk", "GET", "/api/v1/profiles", nil, &used)
	var list []struct {
		Name   string
		Fields []proposal.Field
	}
	w.must("ca-operator", "GET", "/api/v1/matters", nil, &list)
	for _, o := range list {
		if o.Name == "gate.open" {
			for _, c := range o.Fields[0].Choices {
				if !slices.ContainsFunc(used, func(p profile) bool { return p.Name == "person-dual" && p.Policy == c.Value }) {
					others = append(others, c.Value)
				}
			}
		}
	}
	open := map[string]string{"policy": others[0], "qualification": "样例", "from": "2026-01-01", "to": "2099-12-31", "cps": "CPS-1.0"}
	halt, halted := map[string]string{"policy": others[0], "reason": "核对"}, map[string]string{"policy": others[len(others)-1], "reason": "核对"}
	w.matter(m, "ca", "gate.open", open, "ca-operator", "ca-operator2")
	m["ca gate.suspend/propose"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", propose("gate.suspend", halt))
	}
	w.done("ca-admin", w.sign("ca-admin", "/api/v1/proposals", propose("gate.suspend", halted))) // what is not suspended is not resumed
	w.matter(m, "ca", "gate.resume", halted, "ca-admin", "ca-super")
}

// authorities are the changes to which CAs there are below this one.
func (w *world) authorities(m map[string]try) {
	below := func(cn string) map[string]any {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			w.t.Fatal(err)
		}
		req, err := csr.New(dn.Name{C: "CN", O: "样例", CN: cn}.Bytes(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		return map[string]any{"csr": string(csr.PEM(req)), "issuer": "root", "path_len": 0, "days": 365, "policies": []string{"2.999.1.1.1"}}
	}
	w.matter(m, "ca", "authority.sign", below("下级 CA 甲"), "ca-admin", "ca-super")
	waiting := w.agree("authority.sign", below("下级 CA 乙"), "ca-admin", "ca-super")
	m["ca authority.sign/release"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": waiting})
	}
	made := w.agree("authority.sign", below("下级 CA 丙"), "ca-admin", "ca-super")
	for _, who := range []string{"ca-operator", "ca-operator2"} {
		w.sign(who, "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": made})
	}
	w.done("ca-admin", made)
	var v struct{ Result []byte }
	w.must("ca-admin", "GET", "/api/v1/proposals/"+made, nil, &v)
	c, err := cert.FromPEM(v.Result)
	if err != nil {
		w.t.Fatal(err)
	}
	w.matter(m, "ca", "authority.revoke", map[string]string{"serial": c.SerialHex(), "reason": "superseded"}, "ca-admin", "ca-super")
	w.matter(m, "ca", "authority.request", map[string]string{"to": "样例根"}, "ca-admin", "ca-super")
	w.matter(m, "ca", "authority.import", w.joined("authority.request"), "ca-admin", "ca-super")
	why := map[string]string{"reason": "例行"}
	w.matter(m, "ca", "authority.rollover", why, "ca-admin", "ca-super")
	rolling := w.agree("authority.rollover", why, "ca-admin", "ca-super")
	m["ca authority.rollover/release"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": rolling})
	}
	w.matter(m, "ca", "responder.key", map[string]string{"issuer": "operating", "reason": "例行"}, "ca-admin", "ca-super")
	w.nextKey(m, why)
	w.matter(m, "ca", "profile.change", map[string]any{"profile": "person-dual", "days_max": 1000, "reason": "例行"}, "ca-admin", "ca-super")
	w.matter(m, "ca", "setting.change", map[string]any{"crl_days": 6, "reason": "例行"}, "ca-admin", "ca-super")
}

// nextKey is a key that waits for another root's answer, and is given up again.
func (w *world) nextKey(m map[string]try, why map[string]string) {
	to := map[string]string{"to": "样例根"}
	w.matter(m, "ca", "authority.request-new", to, "ca-admin", "ca-super")
	answer := w.joined("authority.request-new")
	w.matter(m, "ca", "authority.import-new", answer, "ca-admin", "ca-super")
	waiting := w.agree("authority.import-new", answer, "ca-admin", "ca-super")
	m["ca authority.import-new/release"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": waiting})
	}
	w.matter(m, "ca", "authority.forgo", why, "ca-admin", "ca-super")
	w.done("ca-admin", w.agree("authority.forgo", why, "ca-admin", "ca-super"))
	for _, step := range []string{"import-new/propose", "import-new/confirm", "forgo/propose", "forgo/confirm"} {
		asked := m["ca authority."+step]
		m["ca authority."+step] = func(r access.Role) string {
			if code := asked(r); code != "key.change" { // no key waits any more, which is looked at last
				return code
			}
			return ""
		}
	}
}

// joined is what another root returns for a request of the CA's own.
func (w *world) joined(request string) map[string]string {
	w.t.Helper()
	id := w.agree(request, map[string]string{"to": "样例根"}, "ca-admin", "ca-super")
	w.done("ca-admin", id)
	var v struct{ Result []byte }
	w.must("ca-admin", "GET", "/api/v1/proposals/"+id, nil, &v)
	req, err := csr.Parse(v.Result)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	name, from := dn.Name{C: "CN", O: "样例", CN: "样例根"}.Bytes(), time.Now().Add(-time.Hour).UTC()
	seal := func(subject, point []byte) string {
		der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 1, 2, 3, 4, 5, 6, 7, 8}, Issuer: name, Subject: subject, NotBefore: from, NotAfter: from.AddDate(5, 0, 0), Point: point,
			Extensions: []cert.Extension{cert.SKI(point), cert.CA(-1), cert.KeyUsage(cert.UsageCA)}}.TBS(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		return string(cert.PEM(der))
	}
	return map[string]string{"certificate": seal(req.Subject, req.Point), "chain": seal(name, alg.Point(&key.PublicKey))}
}
