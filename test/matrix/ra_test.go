package matrix

import (
	"crypto/rand"
	"strings"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/zone/desk"
)

// cases are the registration desk's acts, each on a case that stands where it
// can be done.
func (w *world) cases(m map[string]try, gets func(...string) try) (enc string) {
	t := w.t
	form := func() map[string]any {
		return map[string]any{"profile": "person-dual", "identity": map[string]string{"kind": "resident-id", "number": "11010519491231002X"}, "csr": request(t, "张三"),
			"subject": map[string]string{"C": "CN", "CN": "张三"}}
	}
	draft := func() string {
		var v struct{ ID string }
		w.must("ra-clerk", "POST", "/api/v1/drafts", form(), &v)
		return v.ID
	}
	act := func(who, act, id string) {
		w.sign(who, "/api/v1/acts", map[string]any{"act": act, "ids": []string{id}})
	}
	type standing = struct {
		State string
		Sign  string `json:"sign_serial"`
		Enc   string `json:"enc_serial"`
	}
	state := func(id, want string) (v standing) {
		w.until(id, func() bool {
			w.must("ra-clerk", "GET", "/api/v1/cases/"+id, nil, &v)
			return v.State == want
		})
		return v
	}
	issue := func(id string) standing {
		act("ra-clerk", "ra.submit", id)
		act("ra-reviewer", "ra.approve", id)
		return state(id, "issued")
	}
	deliver := func() (string, standing) {
		id := draft()
		issue(id)
		act("ra-producer", "ra.produce", id)
		return id, state(id, "delivered")
	}
	drafted, submitted, issued := draft(), draft(), draft()
	act("ra-clerk", "ra.submit", submitted)
	issue(issued)
	delivered, live := deliver()
	serial, enc := live.Sign, live.Enc
	status := func(do, serial string) map[string]any {
		return map[string]any{"act": "ra." + do, "serial": serial, "reason": "superseded"}
	}
	_, frozen := deliver()
	_, held := deliver()
	for _, serial := range []string{frozen.Sign, held.Sign} {
		id := w.sign("ra-clerk", "/api/v1/acts", status("freeze", serial))
		act("ra-reviewer", "ra.approve", id)
		state(id, "done")
	}
	pending := map[string]string{"revoke": w.sign("ra-clerk", "/api/v1/acts", status("revoke", serial)), "unfreeze": w.sign("ra-clerk", "/api/v1/acts", status("unfreeze", held.Sign))}
	_, other := deliver()
	pending["freeze"] = w.sign("ra-clerk", "/api/v1/acts", status("freeze", other.Sign))
	_, free := deliver()
	_, good := deliver()
	subjects := map[string]string{"revoke": good.Sign, "freeze": free.Sign, "unfreeze": frozen.Sign}
	sheet := []byte("profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr\nperson-dual,CN,,,,,张三,resident-id,11010519491231002X," + strings.ReplaceAll(request(t, ""), "\n", "") + "\n")
	var kept struct{ Digest string }
	w.must("ra-clerk", "POST", "/api/v1/evidence?name=a.txt", []byte("扫描件"), &kept)
	var batch ra.Batch
	w.must("ra-clerk", "POST", "/api/v1/sheets?name=a.csv", sheet, &batch)

	posts := func(path string, body func() any) try {
		return func(r access.Role) string { return w.call(holder(r), "POST", "/api/v1/"+path, body(), new([]byte)) }
	}
	m["ra ra.draft"] = posts("drafts", func() any { return form() })
	m["ra ra.sheet"] = posts("sheets?name=b.csv", func() any { return append(sheet, rand.Text()...) })
	m["ra ra.evidence"] = posts("evidence?name=b.txt", func() any { return []byte("另一份") })
	m["ra ra.personal.number"] = posts("cases/"+delivered+"/identity", func() any { return map[string]string{"reason": "核对来电"} })
	m["ra ra.personal.export"] = gets("cases.csv?personal=true&reason=xx", "cases.json?personal=true&reason=xx")
	m["ra ra.readings"] = gets("readings")
	m["ra ra.batch.hold"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/acts", map[string]any{"act": "ra.pause", "bulk": batch.ID})
	}
	for do := range subjects {
		bulk := w.paused(do, form)
		m["ra ra."+do+"/cancel"] = func(r access.Role) string {
			return w.order(holder(r), "/api/v1/acts", map[string]any{"act": "ra.cancel", "bulk": bulk})
		}
	}
	m["ra ra.bulk.try"] = posts("bulks", func() any {
		return map[string]any{"act": "ra.freeze", "query": map[string]string{"unit": "批量 revoke"}}
	})
	m["ra ra.evidence-file"] = gets("cases/" + delivered + "/evidence.zip")
	m["ra ra.package"] = gets("cases/"+delivered+"/package", "cases/"+delivered+"/package.zip")
	m["ra ra.read"] = gets("cases", "cases/"+delivered, "counts", "profiles", "certificates/"+serial, "cases.csv", "cases.json", "bulks", "evidence/"+kept.Digest, "batches", "batches/"+batch.ID, "batches/"+batch.ID+"/rows.csv", "sheets/sample.csv", "status", "reminders", "reminders.csv", "guides/reissue?serial="+serial)
	on := func(kind, do, id string) {
		m["ra "+kind+"/"+do] = func(r access.Role) string {
			return w.order(holder(r), "/api/v1/acts", map[string]any{"act": "ra." + do, "ids": []string{id}})
		}
	}
	for do, id := range map[string]string{"submit": drafted, "discard": drafted, "withdraw": submitted, "approve": submitted, "return": submitted, "reject": submitted, "produce": issued} {
		on("ra.issue", do, id)
	}
	for kind, id := range pending {
		for _, do := range []string{"approve", "reject", "withdraw"} {
			on("ra."+kind, do, id)
		}
		m["ra ra."+kind+"/"+kind] = func(r access.Role) string { return w.order(holder(r), "/api/v1/acts", status(kind, subjects[kind])) }
	}
	recovery := func() string {
		_, v := deliver()
		var c struct{ ID string }
		w.must("ra-clerk", "POST", "/api/v1/drafts", map[string]string{"for": "recover", "replaces": v.Sign, "csr": request(t, "")}, &c)
		return c.ID
	}
	first, second, third, fourth := recovery(), recovery(), recovery(), recovery()
	for _, id := range []string{second, third, fourth} {
		act("ra-clerk", "ra.submit", id)
	}
	for _, id := range []string{third, fourth} {
		act("ra-reviewer", "ra.approve", id)
	}
	act("ra-admin", "ra.authorise", fourth)
	state(fourth, "issued")
	for do, id := range map[string]string{"submit": first, "discard": first, "withdraw": second, "approve": second, "return": second, "reject": second, "authorise": third, "produce": fourth} {
		on("ra.recover", do, id)
	}
	m["ra ra.recover/reject@reviewed"] = func(r access.Role) string {
		return w.order(holder(r), "/api/v1/acts", map[string]any{"act": "ra.reject", "ids": []string{third}})
	}
	for do, kind := range map[string]string{"renew": "ra.issue", "revoke": "ra.revoke", "freeze": "ra.freeze"} {
		id := w.asked(do, form(), issue)
		m["ra "+kind+"/reject@asked"] = func(r access.Role) string {
			return w.order(holder(r), "/api/v1/acts", map[string]any{"act": "ra.reject", "ids": []string{id}})
		}
	}
	w.units(m, kept.Digest, posts, on)
	w.bodies(m, kept.Digest)
	w.levels(m, form, on)
	w.carried(m, form, gets)
	return enc
}

// paused is a bulk of one certificate, confirmed while it is held back.
func (w *world) paused(do string, form func() map[string]any) string {
	unit := "批量 " + do
	f := form()
	f["subject"] = map[string]string{"C": "CN", "O": unit, "CN": "张三"}
	var c struct{ ID, State string }
	w.must("ra-clerk", "POST", "/api/v1/drafts", f, &c)
	id := c.ID
	stands := func(id, want string) {
		w.until(id, func() bool {
			w.must("ra-clerk", "GET", "/api/v1/cases/"+id, nil, &c)
			return c.State == want
		})
	}
	acts := func(who string, o map[string]any) { w.sign(who, "/api/v1/acts", o) }
	acts("ra-clerk", map[string]any{"act": "ra.submit", "ids": []string{id}})
	acts("ra-reviewer", map[string]any{"act": "ra.approve", "ids": []string{id}})
	stands(id, "issued")
	bulk := func(act string) string {
		var v struct{ ID string }
		w.must("ra-clerk", "POST", "/api/v1/bulks", map[string]any{"act": act, "query": map[string]string{"unit": unit}, "ground": map[string]string{"ra.revoke": "law"}[act]}, &v)
		acts("ra-clerk", map[string]any{"act": act, "bulk": v.ID})
		return v.ID
	}
	if do == "unfreeze" {
		acts("ra-reviewer", map[string]any{"act": "ra.approve", "bulk": bulk("ra.freeze"), "count": 1})
		stands(id, "issued-held")
	}
	m := bulk("ra." + do)
	acts("ra-reviewer", map[string]any{"act": "ra.pause", "bulk": m})
	acts("ra-reviewer", map[string]any{"act": "ra.approve", "bulk": m, "count": 1})
	return m
}

// asked is a case that the holder of a new certificate asked for themselves.
func (w *world) asked(do string, form map[string]any, issue func(id string) (v struct {
	State string
	Sign  string `json:"sign_serial"`
	Enc   string `json:"enc_serial"`
})) string {
	w.t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := csr.New(dn.Name{C: "CN", CN: "张三"}.Bytes(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	form["csr"] = string(csr.PEM(der))
	var c struct{ ID string }
	w.must("ra-clerk", "POST", "/api/v1/drafts", form, &c)
	v := issue(c.ID)
	var pem []byte
	w.must("ra-clerk", "GET", "/api/v1/certificates/"+v.Sign, nil, &pem)
	p, err := desk.Subscriber(w.e.RA, pem, keyfile.Plain(key), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.SignIn(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	wish := ra.Wish{Do: do}
	switch do {
	case "renew":
		wish.CSR = request(w.t, "张三")
	case "revoke":
		wish.Reason = "superseded"
	}
	done, err := p.Wish(w.t.Context(), wish)
	if err != nil {
		w.t.Fatal(err)
	}
	return done.ID
}
