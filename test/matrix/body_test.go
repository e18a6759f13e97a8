package matrix

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
)

// bodies are the changes to who registers for whom, at the desk and at the CA.
func (w *world) bodies(m map[string]try, agreement string) {
	open := func(id, code string) map[string]any {
		return map[string]any{"id": id, "name": "受托中心", "unit": code, "head": "某", "address": "某路 1 号", "agreement": agreement, "from": "2026-01-01", "to": "2099-12-31", "profiles": []string{"device-dual"}}
	}
	w.unit("91350100M000100Y43", agreement)
	w.done("ra-admin", w.agree("body.open", open("gone", "91110000000000001H"), "ra-admin", "ra-super"))
	w.matter(m, "ra", "body.open", open("open", "91350100M000100Y43"), "ra-admin", "ra-super")
	w.matter(m, "ra", "body.outlet", map[string]any{"id": "outlet", "name": "网点", "head": "某", "address": "某路 2 号"}, "ra-admin", "ra-super")
	w.matter(m, "ra", "body.amend", map[string]string{"id": "gone", "head": "另一人"}, "ra-admin", "ra-super")
	halt := map[string]string{"id": "gone", "reason": "核对"}
	w.matter(m, "ra", "body.resume", halt, "ra-admin", "ra-super")
	m["ra body.suspend/propose"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", propose("body.suspend", halt))
	}
	w.matter(m, "ra", "body.assign", map[string]string{"person": "ra-clerk2", "id": "gone"}, "ra-admin", "ra-super")
	w.matter(m, "ra", "review.set", map[string]any{"profile": "device-sign", "levels": 2}, "ra-admin", "ra-super")
	m["ca registrar.suspend/propose"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", propose("registrar.suspend", map[string]string{"id": "ra", "reason": "核对"}))
	}
	w.done("ca-admin", w.sign("ca-admin", "/api/v1/proposals", propose("registrar.suspend", halt)))
	w.matter(m, "ca", "registrar.resume", halt, "ca-admin", "ca-super")
}

// carried are the acts on files between the desk and the CA.
func (w *world) carried(m map[string]try, form func() map[string]any, gets func(...string) try) {
	w.matter(m, "ra", "issue.way", map[string]string{"profile": "device-dual", "way": "offline"}, "ra-admin", "ra-super")
	w.done("ra-admin", w.agree("issue.way", map[string]string{"profile": "device-sign", "way": "offline"}, "ra-admin", "ra-super"))
	f := form()
	f["profile"], f["identity"] = "device-sign", map[string]string{"kind": "credit-code", "number": "91350100M000100Y43"}
	f["subject"] = map[string]string{"C": "CN", "O": "样例", "CN": "张三"}
	var v struct{ ID string }
	w.must("ra-clerk", "POST", "/api/v1/drafts", f, &v)
	w.sign("ra-clerk", "/api/v1/acts", map[string]any{"act": "ra.submit", "ids": []string{v.ID}})
	w.sign("ra-reviewer", "/api/v1/acts", map[string]any{"act": "ra.approve", "ids": []string{v.ID}})
	m["ra ra.offline"] = gets("offline/requests")
	var file []byte
	w.must("ra-admin", "GET", "/api/v1/offline/requests", nil, &file)
	m["ca offline.issue/propose"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/proposals", propose("offline.issue", json.RawMessage(file)))
	}
}

// levels are the acts on applications that need two and three reviews.
func (w *world) levels(m map[string]try, form func() map[string]any, on func(kind, do, id string)) {
	w.hire("ra-reviewer2")
	w.hire("ra-reviewer3")
	for n, profile := range map[int]string{2: "person-code-dual", 3: "person-token-dual"} {
		w.done("ra-admin", w.agree("review.set", map[string]any{"profile": profile, "levels": n}, "ra-admin", "ra-super"))
		kind := fmt.Sprintf("ra.issue%d", n)
		act := func(who, act, id string) {
			w.sign(who, "/api/v1/acts", map[string]any{"act": act, "ids": []string{id}})
		}
		type standing = struct {
			State string
			Sign  string `json:"sign_serial"`
			Enc   string `json:"enc_serial"`
		}
		issue := func(id string) (v standing) {
			act("ra-clerk", "ra.submit", id)
			for _, who := range []string{"ra-reviewer", "ra-reviewer2", "ra-reviewer3"}[:n] {
				act(who, "ra.approve", id)
			}
			w.until(id, func() bool {
				w.must("ra-clerk", "GET", "/api/v1/cases/"+id, nil, &v)
				return v.State == "issued"
			})
			return v
		}
		own := func() map[string]any {
			f := form()
			f["profile"] = profile
			return f
		}
		draft := func() string {
			var v struct{ ID string }
			w.must("ra-clerk", "POST", "/api/v1/drafts", own(), &v)
			return v.ID
		}
		drafted, submitted, issued := draft(), draft(), draft()
		act("ra-clerk", "ra.submit", submitted)
		issue(issued)
		for do, id := range map[string]string{"submit": drafted, "discard": drafted, "withdraw": submitted, "approve": submitted, "return": submitted, "reject": submitted, "produce": issued} {
			on(kind, do, id)
		}
		id := w.asked("renew", own(), issue)
		m["ra "+kind+"/reject@asked"] = func(r access.Role) string {
			return w.order(holder(r), "/api/v1/acts", map[string]any{"act": "ra.reject", "ids": []string{id}})
		}
	}
}

// hire makes a further reviewer and signs them in.
func (w *world) hire(name string) {
	w.t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := csr.New(dn.Name{C: "CN", CN: name}.Bytes(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.done("ra-admin", w.agree("people.add:ra.reviewer", staff.Change{ID: access.PersonID(name), Name: name, CSR: string(csr.PEM(der))}, "ra-admin", "ra-super"))
	var pem []byte
	w.must("ra-admin", "GET", "/api/v1/people/"+name+"/cert", nil, &pem)
	dir := filepath.Join(w.e.People, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for file, data := range map[string][]byte{"cert.pem": pem, "key.pem": keyfile.Plain(key), "pass": nil} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.signIn("ra", name)
}

// unit puts one on the register.
func (w *world) unit(code, letter string) {
	w.t.Helper()
	var v struct{ ID string }
	w.must("ra-clerk", "POST", "/api/v1/units/drafts", map[string]any{"code": code, "name": "某某局（样例）", "agent": map[string]string{"name": "张三", "phone": "010-12345678", "kind": "resident-id", "number": "11010519491231002X"},
		"letter": map[string]string{"evidence": letter, "from": "2026-01-01", "to": "2099-12-31"}}, &v)
	w.sign("ra-clerk", "/api/v1/acts", map[string]any{"act": "ra.submit", "ids": []string{v.ID}})
	w.sign("ra-reviewer", "/api/v1/acts", map[string]any{"act": "ra.approve", "ids": []string{v.ID}})
}

// units are the acts on the register of units.
func (w *world) units(m map[string]try, letter string, posts func(string, func() any) try, on func(kind, do, id string)) {
	form := func(code string) map[string]any {
		return map[string]any{"code": code, "name": "某某局（样例）", "agent": map[string]string{"name": "张三", "phone": "010-12345678", "kind": "resident-id", "number": "11010519491231002X"},
			"letter": map[string]string{"evidence": letter, "from": "2026-01-01", "to": "2099-12-31"}}
	}
	draft := func(code string) string {
		var v struct{ ID string }
		w.must("ra-clerk", "POST", "/api/v1/units/drafts", form(code), &v)
		return v.ID
	}
	first, second, third := draft("91110000000000003P"), draft("91110000000000003P"), draft("91110000000000001H")
	for _, id := range []string{third, second} {
		w.sign("ra-clerk", "/api/v1/acts", map[string]any{"act": "ra.submit", "ids": []string{id}})
	}
	w.sign("ra-reviewer", "/api/v1/acts", map[string]any{"act": "ra.approve", "ids": []string{third}})
	for do, id := range map[string]string{"submit": first, "discard": first, "withdraw": second, "approve": second, "return": second, "reject": second} {
		on("ra.unit", do, id)
	}
	m["ra ra.unit.draft"] = posts("units/drafts", func() any { return form("91110000000000002L") })
	m["ra ra.unit.agent"] = posts("units/91110000000000001H/agent", func() any { return map[string]string{"reason": "核对来电"} })
}
