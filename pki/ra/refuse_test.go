package ra_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
)

// What is wrong with an application is said field by field, and nothing is kept.
func TestADraftIsRefusedFieldByField(t *testing.T) {
	long := strings.Repeat("长", 10<<20/3)
	for _, c := range []struct {
		name   string
		change func(f *ra.Form)
		want   *refusal.Reason
		field  string
	}{
		{"no such profile", func(f *ra.Form) { f.Profile = "none" }, ra.NoProfile, "profile"},
		{"a profile of the system's own", func(f *ra.Form) { f.Profile = "staff" }, ra.NoProfile, "profile"},
		{"no name", func(f *ra.Form) { f.Subject.CN = "" }, ra.BadField, "subject.CN"},
		{"a name of blanks", func(f *ra.Form) { f.Subject.CN = "　" }, ra.BadField, "subject.CN"},
		{"a character of somebody's own making", func(f *ra.Form) { f.Subject.CN = "张\ue001" }, ra.BadField, "subject.CN"},
		{"half a character", func(f *ra.Form) { f.Subject.CN = "张\xe4\xb8" }, ra.BadField, "subject.CN"},
		{"a line break", func(f *ra.Form) { f.Subject.O = "某局\n操作人：李四" }, ra.BadField, "subject.O"},
		{"no country", func(f *ra.Form) { f.Subject.C = "" }, ra.BadField, "subject.C"},
		{"five units", func(f *ra.Form) { f.Subject.OU = []string{"1", "2", "3", "4", "5"} }, ra.BadField, "subject.OU"},
		{"no address", func(f *ra.Form) { f.Subject.E = "张三" }, ra.BadField, "subject.E"},
		{"an alternative name the profile forbids", func(f *ra.Form) { f.SAN = []cert.AltName{{Kind: "dns", Value: "a.cn"}} }, ra.BadField, "san[0]"},
		{"too long a validity", func(f *ra.Form) { f.Days = 1827 }, ra.BadField, "validity_days"},
		{"a negative validity", func(f *ra.Form) { f.Days = -1 }, ra.BadField, "validity_days"},
		{"a document the profile does not take", func(f *ra.Form) { f.Identity.Kind = "credit-code" }, ra.BadIdentity, "identity.kind"},
		{"no number", func(f *ra.Form) { f.Identity.Number = "" }, ra.BadIdentity, "identity.number"},
		{"a wrong check digit", func(f *ra.Form) { f.Identity.Number = "110105194912310021" }, ra.BadIdentity, "identity.number"},
		{"a wrong credit code", func(f *ra.Form) { f.Identity.CreditCode = "1" }, ra.BadIdentity, "identity.credit-code"},
		{"an unknown way of checking", func(f *ra.Form) { f.Identity.Method = "guess" }, ra.BadIdentity, "identity.method"},
		{"a time that is none", func(f *ra.Form) { f.Identity.CheckedAt = "昨天" }, ra.BadIdentity, "identity.checked_at"},
		{"evidence that is no digest", func(f *ra.Form) { f.Identity.Evidence = []string{"x"} }, ra.BadIdentity, "identity.evidence"},
		{"no request", func(f *ra.Form) { f.CSR = " \n" }, ra.BadCSR, "csr"},
		{"a request that is none", func(f *ra.Form) { f.CSR = "MIIB" }, ra.BadCSR, "csr"},
		{"a draft that does not exist", func(f *ra.Form) { f.ID = "A20261124-NONE" }, ra.NoCase, "id"},
		{"an id of a revocation", func(f *ra.Form) { f.ID = "R20261124-NONE" }, ra.NoCase, "id"},

		{"10 MB of id", func(f *ra.Form) { f.ID = long }, ra.NoCase, "id"},
		{"10 MB of profile", func(f *ra.Form) { f.Profile = long }, ra.NoProfile, "profile"},
		{"10 MB of name", func(f *ra.Form) { f.Subject.CN = long }, ra.BadField, "subject.CN"},
		{"10 MB of unit", func(f *ra.Form) { f.Subject.OU = []string{long} }, ra.BadField, "subject.OU"},
		{"10 MB of address", func(f *ra.Form) { f.Subject.E = long }, ra.BadField, "subject.E"},
		{"10 MB of alternative name", func(f *ra.Form) { f.SAN = []cert.AltName{{Kind: "email", Value: long}} }, ra.BadField, "san[0]"},
		{"10 MB of its kind", func(f *ra.Form) { f.SAN = []cert.AltName{{Kind: long, Value: "a@b.cn"}} }, ra.BadField, "san[0]"},
		{"10 MB of kind of document", func(f *ra.Form) { f.Identity.Kind = long }, ra.BadIdentity, "identity.kind"},
		{"10 MB of number", func(f *ra.Form) { f.Identity.Kind, f.Identity.Number = "passport", long }, ra.BadIdentity, "identity.number"},
		{"10 MB of credit code", func(f *ra.Form) { f.Identity.CreditCode = long }, ra.BadIdentity, "identity.credit-code"},
		{"10 MB of way of checking", func(f *ra.Form) { f.Identity.Method = long }, ra.BadIdentity, "identity.method"},
		{"10 MB of checker", func(f *ra.Form) { f.Identity.CheckedBy = long }, ra.BadIdentity, "identity.checked_by"},
		{"10 MB of time", func(f *ra.Form) { f.Identity.CheckedAt = long }, ra.BadIdentity, "identity.checked_at"},
		{"10 MB of evidence", func(f *ra.Form) { f.Identity.Evidence = []string{long} }, ra.BadIdentity, "identity.evidence"},
		{"endless evidence", func(f *ra.Form) {
			f.Identity.Evidence = strings.Split(strings.Repeat(strings.Repeat("0", 64)+",", 99)+strings.Repeat("0", 64), ",")
		}, ra.BadIdentity, "identity.evidence"},
		{"10 MB of request", func(f *ra.Form) { f.CSR = long }, ra.BadCSR, "csr"},
		{"10 MB of notice", func(f *ra.Form) { f.Notices = []string{long} }, ra.BadField, "notices"},
		{"a notice nobody knows", func(f *ra.Form) { f.Notices = []string{"weather"} }, ra.BadField, "notices"},
		{"the same notice over and over", func(f *ra.Form) { f.Notices = []string{"scope", "scope"} }, ra.BadField, "notices"},
		{"10 MB of agreement", func(f *ra.Form) { f.Accord = long }, ra.BadField, "agreement"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			f := brought(t, "张三")
			c.change(&f)
			_, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
			refused(t, err, c.want, c.field)
			if len(p.memory.All())+len(p.memory.Lines()) > 0 {
				t.Error("something was kept")
			}
		})
	}
}

func TestARequestMustProveItsKey(t *testing.T) {
	p := newPlace(t)
	f := brought(t, "张三")
	block := []byte(f.CSR)
	block[200] ^= 1
	f.CSR = string(block)
	_, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
	refused(t, err, ra.BadCSR, "csr")
	named, err := csr.New(brought(t, "李四").Subject.Bytes(), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	f.CSR = string(csr.PEM(named))
	_, err = p.Draft(t.Context(), f, p.Who["clerk"], "") // it names somebody else
	refused(t, err, ra.BadCSR, "csr")
}

func TestARefusedFormNamesItsField(t *testing.T) {
	for _, c := range []struct{ name, text, field string }{
		{"no JSON", "x", "file"}, {"two values", "{} {}", "file"}, {"an unknown field", `{"colour":"red"}`, "colour"},
		{"a number for a name", `{"subject":{"CN":1}}`, "subject.CN"}, {"10 MB", `{"profile":"` + strings.Repeat("x", 10<<20) + `"}`, "file"},
	} {
		_, err := ra.ParseForm([]byte(c.text))
		t.Run(c.name, func(t *testing.T) { refused(t, err, ra.BadForm, c.field) })
	}
	if f, err := ra.ParseForm([]byte(`{"profile":"person-dual","subject":{"CN":"𠮷","OU":"一处"}}`)); err != nil || f.Subject.CN != "𠮷" || len(f.Subject.OU) != 1 {
		t.Errorf("%+v %v", f, err)
	}
}

// Rare but encoded characters are people's names.
func TestRareNamesPassUnchanged(t *testing.T) {
	p := newPlace(t)
	for _, name := range []string{"䶮", "㐂", "𠮷", "王䶮㐂𠮷", "阿卜杜热合曼·买买提", "𬭚𬭛𬭶"} {
		rec := p.issued(name)
		if rec.Title != name || !strings.Contains(string(rec.Content), `"CN":"`+name+`"`) {
			t.Errorf("%q became %q", name, rec.Title)
		}
		if list, err := p.Store.Find(t.Context(), ra.Query{Text: name, Limit: 1}); err != nil || len(list) != 1 || list[0].ID != rec.ID && name != "㐂" {
			t.Errorf("%q is not found: %v %v", name, list, err)
		}
	}
}

func TestAKeyIsAppliedForOnce(t *testing.T) {
	p := newPlace(t)
	f := brought(t, "张三")
	first, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Draft(t.Context(), f, p.Who["clerk2"], "") // a draft claims nothing yet
	if err != nil {
		t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{first.ID}})
	p.same(t, func() {
		_, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
		refused(t, err, ra.KeyInUse, "csr")
		_, err = p.act("clerk2", ra.Order{Act: "ra.submit", IDs: []string{second.ID}})
		refused(t, err, ra.KeyInUse, "csr")
	})
	p.must("reviewer", ra.Order{Act: "ra.reject", IDs: []string{first.ID}})
	p.must("clerk2", ra.Order{Act: "ra.submit", IDs: []string{second.ID}}) // it is free again
	p.must("clerk2", ra.Order{Act: "ra.withdraw", IDs: []string{second.ID}})
	third, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{third.ID}}) // and again
}

// A draft is its clerk's: to correct, to submit, until it is submitted.
func TestADraftIsItsClerks(t *testing.T) {
	p := newPlace(t)
	rec := p.draft("张三")
	f := brought(t, "李四")
	f.ID = rec.ID
	p.same(t, func() {
		_, err := p.Draft(t.Context(), f, p.Who["clerk2"], "")
		refused(t, err, ra.NotYours, "id")
		_, err = p.act("clerk2", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
		refused(t, err, ra.NotYours, "id")
		_, err = p.Draft(t.Context(), f, p.Who["reviewer"], "")
		refused(t, err, casework.NotYours, "role")
	})
	if better, err := p.Draft(t.Context(), f, p.Who["clerk"], ""); err != nil || better.ID != rec.ID || p.stands(rec.ID, ra.Drafted).Title != "李四" {
		t.Errorf("%+v %v", better, err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	p.same(t, func() {
		_, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
		refused(t, err, ra.NotYours, "id")
	})
}

// acting is a desk with one case in every state.
func acting(t *testing.T) (*place, map[string]string) {
	p := newPlace(t)
	ids := map[string]string{"none": "A20261124-NONE"}
	delivered, revoked := p.issued("交付"), p.issued("撤销")
	p.must("producer", ra.Order{Act: "ra.produce", IDs: []string{delivered.ID}})
	r := p.must("clerk", ra.Order{Act: "ra.revoke", Serial: revoked.SignSerial, Reason: "superseded"})
	p.must("reviewer", ra.Order{Act: "ra.approve", IDs: []string{r.ID}})
	if _, err := p.Fulfil(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids["delivered"], ids["revoked"], ids["done"], ids["issued"] = delivered.ID, revoked.ID, r.ID, p.issued("制证").ID
	ids["approved"], ids["drafted"] = p.approved("签发").ID, p.draft("草稿").ID
	submitted := p.draft("审核")
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{submitted.ID}})
	own, err := p.Draft(t.Context(), brought(t, "自审"), p.Who["both"], "")
	if err != nil {
		t.Fatal(err)
	}
	p.must("both", ra.Order{Act: "ra.submit", IDs: []string{own.ID}})
	f := brought(t, "未查验")
	f.Identity.Method = "none"
	unchecked, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{unchecked.ID}})
	f = brought(t, "未告知")
	f.Notices = []string{"scope"}
	untold, err := p.Draft(t.Context(), f, p.Who["clerk"], "")
	if err != nil {
		t.Fatal(err)
	}
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{untold.ID}})
	ids["submitted"], ids["own"], ids["unchecked"], ids["untold"] = submitted.ID, own.ID, unchecked.ID, untold.ID
	ids["live"], ids["gone"] = delivered.SignSerial, revoked.SignSerial
	return p, ids
}

// What a person may not do now is said before they sign, and changes nothing.
func TestAnActIsRefusedAndNothingChanges(t *testing.T) {
	p, ids := acting(t)
	for _, c := range []struct {
		name  string
		who   string
		order ra.Order
		on    string
		want  *refusal.Reason
		field string
	}{
		{"no such act", "clerk", ra.Order{Act: "ra.burn"}, "drafted", ra.NoAct, "act"},
		{"what only a process does", "clerk", ra.Order{Act: "ra.issue"}, "approved", ra.NoAct, "act"},
		{"no such case", "clerk", ra.Order{Act: "ra.submit"}, "none", ra.NoCase, "id"},
		{"no case at all", "clerk", ra.Order{Act: "ra.submit"}, "", ra.NoIDs, "ids"},
		{"too long an opinion", "reviewer", ra.Order{Act: "ra.approve", Note: strings.Repeat("长", ra.NoteMax+1)}, "submitted", ra.BadForm, "note"},
		{"a reviewer submits", "reviewer", ra.Order{Act: "ra.submit"}, "drafted", casework.NotYours, "role"},
		{"a clerk approves", "clerk2", ra.Order{Act: "ra.approve"}, "submitted", casework.NotYours, "role"},
		{"an auditor approves", "auditor", ra.Order{Act: "ra.approve"}, "submitted", casework.NotYours, "role"},
		{"one's own application", "both", ra.Order{Act: "ra.approve"}, "own", casework.SamePerson, "person"},
		{"returning one's own", "both", ra.Order{Act: "ra.return"}, "own", casework.SamePerson, "person"},
		{"submitted twice", "clerk", ra.Order{Act: "ra.submit"}, "submitted", casework.NoSuchStep, "state"},
		{"approved before it is submitted", "reviewer", ra.Order{Act: "ra.approve"}, "drafted", casework.NoSuchStep, "state"},
		{"approved twice", "reviewer2", ra.Order{Act: "ra.approve"}, "approved", casework.NoSuchStep, "state"},
		{"identity not checked", "reviewer", ra.Order{Act: "ra.approve"}, "unchecked", ra.NotChecked, "check"},
		{"notices not given", "reviewer", ra.Order{Act: "ra.approve"}, "untold", ra.NotChecked, "check"},
		{"produced before it is issued", "producer", ra.Order{Act: "ra.produce"}, "approved", ra.NotIssued, "id"},
		{"produced by a clerk", "clerk", ra.Order{Act: "ra.produce"}, "issued", casework.NotYours, "role"},
		{"produced early by a clerk", "clerk", ra.Order{Act: "ra.produce"}, "approved", casework.NotYours, "role"},
		{"produced after revocation", "producer", ra.Order{Act: "ra.produce"}, "revoked", casework.NoSuchStep, "state"},
		{"withdrawn by another clerk", "clerk2", ra.Order{Act: "ra.withdraw"}, "submitted", ra.NotYours, "id"},
		{"withdrawn after approval", "clerk", ra.Order{Act: "ra.withdraw"}, "approved", casework.NoSuchStep, "state"},
		{"discarded by another clerk", "clerk2", ra.Order{Act: "ra.discard"}, "drafted", ra.NotYours, "id"},
		{"discarded after submission", "clerk", ra.Order{Act: "ra.discard"}, "submitted", casework.NoSuchStep, "state"},
		{"revoked by a reviewer", "reviewer", ra.Order{Act: "ra.revoke", Serial: ids["live"], Reason: "superseded"}, "", casework.NotYours, "role"},
		{"an unknown reason", "clerk", ra.Order{Act: "ra.revoke", Serial: ids["live"], Reason: "bored"}, "", ra.BadReason, "reason"},
		{"a hold", "clerk", ra.Order{Act: "ra.revoke", Serial: ids["live"], Reason: "certificateHold"}, "", ra.BadReason, "reason"},
		{"a serial that is none", "clerk", ra.Order{Act: "ra.revoke", Serial: "xyz", Reason: "superseded"}, "", ra.NotLive, "serial"},
		{"no serial", "clerk", ra.Order{Act: "ra.revoke", Reason: "superseded"}, "", ra.NotLive, "serial"},
		{"a serial of nobody", "clerk", ra.Order{Act: "ra.revoke", Serial: "40FF", Reason: "superseded"}, "", ra.NotLive, "serial"},
		{"revoked already", "clerk", ra.Order{Act: "ra.revoke", Serial: ids["gone"], Reason: "superseded"}, "", ra.NotLive, "serial"},
		{"a number of one's own choosing", "clerk", ra.Order{Act: "ra.revoke", ID: "A1", Serial: ids["live"], Reason: "superseded"}, "", ra.BadForm, "id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.same(t, func() {
				if id := ids[c.on]; id != "" {
					c.order.IDs = []string{id}
				}
				_, err := p.Plan(t.Context(), c.order, p.Who[c.who])
				refused(t, err, c.want, c.field)
			})
		})
	}
	if _, err := p.Plan(t.Context(), ra.Order{Act: "ra.submit", IDs: make([]string, ra.ActMax+1)}, p.Who["clerk"]); err == nil {
		t.Error("a signature over too many cases")
	}
}

// Only a refusal of authority leaves a line, and it is the line or a failure.
func TestARefusalOfAuthorityIsWrittenDown(t *testing.T) {
	p := newPlace(t)
	ctx, who := t.Context(), p.Who["clerk"]
	no := casework.NotYours.At("role", "").Because("为何")
	if err := p.Turned(ctx, who, "ra.approve", "A1", "10.0.0.1", no); err != no { //nolint:errorlint // the very same
		t.Error(err)
	}
	lines := p.memory.Lines()
	if len(lines) != 1 || lines[0].Who != "clerk" || lines[0].Result != "case.not_yours" || lines[0].Object != "A1" || lines[0].Source != "10.0.0.1" || lines[0].Detail != "为何" {
		t.Errorf("%+v", lines)
	}
	p.same(t, func() {
		_ = p.Turned(ctx, who, "ra.approve", "A1", "", ra.NoCase.At("id", ""))
	})
}

// The page was drawn, and then the case moved on.
func TestAStalePageChangesNothing(t *testing.T) {
	p := newPlace(t)
	ctx := t.Context()
	rec := p.draft("张三")
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	order := ra.Order{Act: "ra.approve", IDs: []string{rec.ID}}
	page, err := p.Plan(ctx, order, p.Who["reviewer2"])
	if err != nil {
		t.Fatal(err)
	}
	claim := p.Claim(t, "reviewer2", p.Statement(page, p.Who["reviewer2"]))
	p.must("reviewer", ra.Order{Act: "ra.return", IDs: []string{rec.ID}})
	p.same(t, func() {
		_, err := p.Do(ctx, page, claim, "")
		refused(t, err, casework.Stale, "id")
		_, err = p.Plan(ctx, order, p.Who["reviewer2"])
		refused(t, err, casework.NoSuchStep, "state")
	})
	p.must("clerk", ra.Order{Act: "ra.submit", IDs: []string{rec.ID}})
	p.same(t, func() { // submitted again: what was signed was the case as it stood before
		fresh, err := p.Plan(ctx, order, p.Who["reviewer2"])
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Do(ctx, fresh, claim, "")
		refused(t, err, access.BadSignature, "signature")
	})
	p.must("reviewer2", order)
}

// The clerk's other tab corrected the draft after this one was drawn: what was
// signed is not what is on record.
func TestADraftCorrectedMeanwhileIsNotSubmitted(t *testing.T) {
	p := newPlace(t)
	rec := p.draft("张三")
	page, err := p.Plan(t.Context(), ra.Order{Act: "ra.submit", IDs: []string{rec.ID}}, p.Who["clerk"])
	if err != nil {
		t.Fatal(err)
	}
	f := brought(t, "李四")
	f.ID = rec.ID
	if _, err := p.Draft(t.Context(), f, p.Who["clerk"], ""); err != nil {
		t.Fatal(err)
	}
	p.same(t, func() {
		_, err := p.Do(t.Context(), page, p.Claim(t, "clerk", p.Statement(page, p.Who["clerk"])), "")
		refused(t, err, casework.Stale, "id")
	})
}

// A statement is good once, for its act, for five minutes, while its signer's
// certificate is.
func TestAStatementIsGoodOnce(t *testing.T) {
	p := newPlace(t)
	ctx := t.Context()
	one, two := p.draft("张三"), p.draft("李四")
	plan := func(id string) ra.Plan {
		t.Helper()
		plan, err := p.Plan(ctx, ra.Order{Act: "ra.submit", IDs: []string{id}}, p.Who["clerk"])
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	first, other := plan(one.ID), plan(two.ID)
	claim := p.Claim(t, "clerk", p.Statement(first, p.Who["clerk"]))
	late := p.Claim(t, "clerk", p.Statement(other, p.Who["clerk"]))
	swapped := late
	swapped.Cert = p.Who["both"].Cert
	flipped := late
	flipped.Signature = append([]byte{}, late.Signature...)
	flipped.Signature[20] ^= 1
	bare := late
	bare.Nonce = ""
	p.same(t, func() {
		_, err := p.Do(ctx, other, claim, "") // over another case
		refused(t, err, access.BadSignature, "signature")
		_, err = p.Do(ctx, other, swapped, "") // in another's name
		refused(t, err, access.BadSignature, "signature")
		_, err = p.Do(ctx, other, flipped, "")
		refused(t, err, access.BadSignature, "signature")
		_, err = p.Do(ctx, other, bare, "")
		refused(t, err, access.BadSignature, "nonce")
	})
	if _, err := p.Do(ctx, first, claim, ""); err != nil {
		t.Fatal(err)
	}
	p.same(t, func() {
		_, err := p.Do(ctx, first, claim, "")
		refused(t, err, access.Replayed, "nonce")
		p.now = ratest.Now.Add(access.Window + time.Second)
		_, err = p.Do(ctx, other, late, "")
		refused(t, err, access.Stale, "at")
		p.now = ratest.Now.AddDate(1, 0, 1)
		expired := p.Claim(t, "clerk", p.Statement(other, p.Who["clerk"]))
		_, err = p.Do(ctx, other, expired, "")
		refused(t, err, access.Expired, "certificate")
	})
}

func TestAPackageIsTheProducers(t *testing.T) {
	p, ids := acting(t)
	for _, c := range []struct {
		id, who string
		want    *refusal.Reason
		field   string
	}{
		{"none", "producer", ra.NoCase, "id"}, {"delivered", "clerk", casework.NotYours, "role"}, {"issued", "producer", ra.NotIssued, "id"},
		{"revoked", "producer", ra.NotIssued, "id"}, {"done", "producer", ra.NotIssued, "id"},
	} {
		_, err := p.Delivery(t.Context(), ids[c.id], p.Who[c.who])
		refused(t, err, c.want, c.field)
	}
}
