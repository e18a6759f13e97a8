package staff_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
)

// postgres is the URL of a server where these tests may make schemas.
var postgres = os.Getenv("HUFU_TEST_POSTGRES")

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// world is a CA's register with its chain, and a desk that changes it.
type world struct {
	*proposal.Desk
	keeper *staff.Keeper
	staff  *accesstest.Staff
	trail  *audit.Trail
	now    time.Time
	issued map[string][]byte // by request
	status []string
	crash  map[string]bool // at "issue before", "issue after", "status before", "status after"
}

var errCrash = errors.New("crash")

func open(t testing.TB, db *sqldb.DB) *world {
	t.Helper()
	if err := proposal.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	w := &world{now: start, issued: map[string][]byte{}, crash: map[string]bool{}}
	clock := func() time.Time { return w.now }
	w.staff, w.trail = accesstest.Open(db, clock), &audit.Trail{DB: db, Auditor: access.CAAuditor, Now: clock}
	ca := accesstest.Key(t)
	w.keeper = &staff.Keeper{DB: db, People: w.staff.People, Now: clock,
		Issue: func(_ context.Context, request string, _ access.Role, name string, point []byte) ([]byte, error) {
			if w.crash["issue before"] {
				return nil, errCrash
			}
			if w.issued[request] == nil {
				w.issued[request] = accesstest.Certify(t, name, point, ca, w.now)
			}
			if w.crash["issue after"] {
				return nil, errCrash
			}
			return w.issued[request], nil
		},
		Status: func(_ context.Context, request, verb string, der []byte) error {
			if w.crash["status before"] {
				return errCrash
			}
			if line := request + " " + verb; !slices.Contains(w.status, line) {
				w.status = append(w.status, line)
			}
			if w.crash["status after"] {
				return errCrash
			}
			return nil
		}}
	w.Desk = (&proposal.Desk{DB: db, Now: clock, People: access.Desk{Site: "证书认证系统", People: w.staff, Now: clock}, Matters: w.keeper.Matters(staff.CA)}).Start()
	for id, role := range map[access.PersonID]access.Role{"ca-super": access.CASuper, "ca-audit-admin": access.CAAuditAdmin, "ca-admin": access.CAAdmin,
		"ca-operator": access.CAOperator, "ca-operator2": access.CAOperator, "ca-auditor": access.CAAuditor, "ca-custodian1": access.CACustodian, "ca-custodian2": access.CACustodian, "ca-custodian3": access.CACustodian} {
		w.staff.Hire(t, id, role)
	}
	return w
}

func each(t *testing.T, f func(t *testing.T, w *world)) {
	accesstest.Each(t, postgres, func(t *testing.T, db func(testing.TB) *sqldb.DB) { f(t, open(t, db(t))) })
}

func (w *world) act(t testing.TB, who access.PersonID, o proposal.Order) (proposal.Record, error) {
	t.Helper()
	p, err := w.Plan(t.Context(), o, w.staff.Who(t, who))
	if err != nil {
		return proposal.Record{}, err
	}
	return w.Do(t.Context(), p, w.staff.Claim(t, who, w.Statement(p, w.staff.Who(t, who))), "")
}

func order(matter string, c staff.Change) proposal.Order {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return proposal.Order{Act: proposal.Propose, Matter: "people." + matter, Content: data}
}

// agree has the two people of a matter propose and confirm.
func (w *world) agree(t testing.TB, matter string, c staff.Change) string {
	t.Helper()
	m, err := w.Matter("people." + matter)
	if err != nil {
		t.Fatal(err)
	}
	hands := map[access.Role][]access.PersonID{access.CASuper: {"ca-super"}, access.CAAuditAdmin: {"ca-audit-admin"}, access.CAAdmin: {"ca-admin"}, access.CAOperator: {"ca-operator", "ca-operator2"}}
	hands[access.CACustodian] = []access.PersonID{"ca-custodian1", "ca-custodian3", "ca-custodian2"}
	r, err := w.act(t, hands[m.Propose][0], order(matter, c))
	if err == nil && m.Confirm != "" {
		list := hands[m.Confirm]
		_, err = w.act(t, list[len(list)-1], proposal.Order{Act: proposal.Confirm, ID: r.ID})
	}
	if err == nil && m.Quorum > 0 {
		_, err = w.act(t, hands[m.Release][1], proposal.Order{Act: proposal.Release, ID: r.ID})
	}
	if err != nil {
		t.Fatalf("%s: %v", matter, err)
	}
	return r.ID
}

func (w *world) carry(t testing.TB) {
	t.Helper()
	if err := w.Carry(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
}

// comes agrees, carries out and expects the proposal to end in a state.
func (w *world) comes(t testing.TB, matter string, c staff.Change, want string) proposal.Record {
	t.Helper()
	id := w.agree(t, matter, c)
	w.carry(t)
	r, err := w.Get(t.Context(), id)
	if err != nil || string(r.State) != want {
		t.Fatalf("%s: %s %+v %v", matter, r.State, r.Trouble, err)
	}
	return r
}

func adding(t testing.TB, id, name string, key *sm2.PrivateKey) staff.Change {
	return staff.Change{ID: access.PersonID(id), Name: name, CSR: accesstest.Request(t, name, key)}
}

// Nobody appoints alone, nobody appoints their peers, and super and audit
// administrators are made by three custodians, none of whom they appoint alone
// (GM/T 0034 §8.1.3, §9.2.3).
func TestTheChainOfCreation(t *testing.T) {
	made := map[access.Role]bool{}
	for system, chain := range map[string][]staff.Grant{"ca": staff.CA, "ra": staff.RA, "km": staff.KM} {
		for _, g := range chain {
			made[g.Role] = true
			if g.Propose == "" || g.Confirm == "" || g.Propose == g.Role || g.Confirm == g.Role {
				t.Errorf("%s: %+v", system, g)
			}
		}
		for _, m := range (&staff.Keeper{}).Matters(chain) {
			if err := m.Kind().Check(); err != nil {
				t.Error(err)
			}
			if one := m.Confirm == ""; one != strings.HasPrefix(m.Name, "people.freeze:") {
				t.Errorf("%s needs a second signature: %v", m.Name, !one)
			}
			top := strings.HasSuffix(m.Name, ".super") || strings.HasSuffix(m.Name, ".audit-admin")
			if two := m.Quorum == 0; two == (top && m.Confirm != "") {
				t.Errorf("%s: %d custodians beside two", m.Name, m.Quorum)
			}
			if m.Title == "" || m.Clause == "" || len(m.Fields) == 0 {
				t.Errorf("%s is not explained", m.Name)
			}
		}
	}
	for role := range access.RoleTitles {
		top := slices.Contains([]access.Role{access.Machine, access.Holder}, role)
		if made[role] == top {
			t.Errorf("%s is made by a proposal: %v", role, made[role])
		}
	}
}

// A person's certificate from application to revocation.
func TestALifeFromAppointmentToLeaving(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key, next := accesstest.Key(t), accesstest.Key(t)
		r := w.comes(t, "add:ca.operator", adding(t, "ca-operator3", "新操作员", key), "done")
		p, err := w.staff.Current(t.Context(), "ca-operator3")
		if err != nil || string(r.Result) != string(p.Cert) || !p.Holds(access.CAOperator) || p.Name != "新操作员" || string(p.Point) != string(alg.Point(&key.PublicKey)) {
			t.Fatalf("%+v %v", p, err)
		}
		w.staff.Hold("ca-operator3", key, p.Cert)
		standing := func(want error) {
			t.Helper()
			if _, err := w.People.Who(t.Context(), w.staff.Cert("ca-operator3")); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		standing(nil)
		why := staff.Change{ID: "ca-operator3", Reason: "丢失密码钥匙"}
		w.comes(t, "freeze:ca.operator", why, "done")
		standing(access.Disabled)
		w.comes(t, "unfreeze:ca.operator", why, "done")
		standing(nil)
		w.comes(t, "renew:ca.operator", staff.Change{ID: "ca-operator3", CSR: accesstest.Request(t, "x", next)}, "done")
		standing(access.Ended)
		p, err = w.staff.Current(t.Context(), "ca-operator3")
		if err != nil || p.Name != "新操作员" || string(p.Point) != string(alg.Point(&next.PublicKey)) {
			t.Fatalf("%+v %v", p, err)
		}
		w.staff.Hold("ca-operator3", next, p.Cert)
		standing(nil)
		w.comes(t, "revoke:ca.operator", why, "done")
		standing(access.Ended)
		var got []string
		lines, err := w.trail.List(t.Context(), audit.Query{Who: "system:staff"})
		for _, l := range slices.Backward(lines) {
			got = append(got, l.Entry.Item+" "+l.Entry.Object)
		}
		want := []string{"person.add ca-operator3", "person.freeze ca-operator3", "person.unfreeze ca-operator3", "person.renew ca-operator3", "person.revoke ca-operator3"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v %v", got, err)
		}
		if len(w.status) != 4 || len(w.issued) != 2 {
			t.Errorf("%v, %d certificates", w.status, len(w.issued))
		}
	})
}

// One signature stops somebody; nothing else takes effect with one.
func TestOnePersonStopsTwoPeopleDoTheRest(t *testing.T) {
	w := open(t, accesstest.Database(t))
	why := staff.Change{ID: "ca-operator", Reason: "查"}
	for _, c := range []struct {
		matter string
		change staff.Change
		want   string
	}{
		{"add:ca.operator", adding(t, "ca-x", "某", accesstest.Key(t)), "proposed"}, {"renew:ca.operator", staff.Change{ID: "ca-operator", CSR: accesstest.Request(t, "", accesstest.Key(t))}, "proposed"},
		{"revoke:ca.operator", why, "proposed"}, {"freeze:ca.operator", why, "done"}, {"unfreeze:ca.operator", why, "proposed"},
	} {
		r, err := w.act(t, "ca-admin", order(c.matter, c.change))
		if err != nil {
			t.Fatalf("%s: %v", c.matter, err)
		}
		w.carry(t)
		if r, err = w.Get(t.Context(), r.ID); err != nil || string(r.State) != c.want {
			t.Errorf("%s: %s %v", c.matter, r.State, err)
		}
	}
	if p := w.staff.Who(t, "ca-operator"); !p.Disabled {
		t.Error("one signature does not stop them")
	}
}

func TestWhatAChangeMayNotSay(t *testing.T) {
	w := open(t, accesstest.Database(t))
	w.comes(t, "freeze:ca.auditor", staff.Change{ID: "ca-auditor", Reason: "查"}, "done")
	w.staff.Hire(t, "ca-left", access.CAOperator)
	w.comes(t, "revoke:ca.operator", staff.Change{ID: "ca-left", Reason: "离岗"}, "done")
	good, fresh := adding(t, "ca-x", "某", accesstest.Key(t)), accesstest.Request(t, "", accesstest.Key(t))
	own := accesstest.Key(t)
	w.comes(t, "add:ca.operator", adding(t, "ca-own", "自己", own), "done")
	for name, c := range map[string]struct {
		matter string
		change staff.Change
		field  string
	}{
		"another system's id":               {"add:ca.operator", staff.Change{ID: "ra-x", Name: "某", CSR: good.CSR}, "id"},
		"capitals in an id":                 {"add:ca.operator", staff.Change{ID: "ca-X", Name: "某", CSR: good.CSR}, "id"},
		"a path for an id":                  {"add:ca.operator", staff.Change{ID: "ca-../x", Name: "某", CSR: good.CSR}, "id"},
		"a very long id":                    {"add:ca.operator", staff.Change{ID: access.PersonID("ca-" + strings.Repeat("x", 30)), Name: "某", CSR: good.CSR}, "id"},
		"no id":                             {"add:ca.operator", staff.Change{Name: "某", CSR: good.CSR}, "id"},
		"an id of somebody here":            {"add:ca.operator", staff.Change{ID: "ca-operator", Name: "某", CSR: good.CSR}, "id"},
		"an id of somebody of another role": {"add:ca.operator", staff.Change{ID: "ca-super", Name: "某", CSR: good.CSR}, "id"},
		"an id of somebody who left":        {"add:ca.operator", staff.Change{ID: "ca-left", Name: "某", CSR: good.CSR}, "id"},
		"no name":                           {"add:ca.operator", staff.Change{ID: "ca-x", CSR: good.CSR}, "name"},
		"a name of blanks":                  {"add:ca.operator", staff.Change{ID: "ca-x", Name: " 某", CSR: good.CSR}, "name"},
		"a name over two lines":             {"add:ca.operator", staff.Change{ID: "ca-x", Name: "某\n意见：同意", CSR: good.CSR}, "name"},
		"a name written backwards":          {"add:ca.operator", staff.Change{ID: "ca-x", Name: "某\u202e甲", CSR: good.CSR}, "name"},
		"a very long name":                  {"add:ca.operator", staff.Change{ID: "ca-x", Name: strings.Repeat("某", 65), CSR: good.CSR}, "name"},
		"no request":                        {"add:ca.operator", staff.Change{ID: "ca-x", Name: "某"}, "csr"},
		"a request nobody signed":           {"add:ca.operator", staff.Change{ID: "ca-x", Name: "某", CSR: strings.Replace(good.CSR, "MI", "MJ", 1)}, "csr"},
		"a renewal of nobody":               {"renew:ca.operator", staff.Change{ID: "ca-x", CSR: fresh}, "id"},
		"a renewal under another role":      {"renew:ca.operator", staff.Change{ID: "ca-auditor", CSR: fresh}, "id"},
		"a renewal with the same key":       {"renew:ca.operator", staff.Change{ID: "ca-own", CSR: accesstest.Request(t, "", own)}, "csr"},
		"a renewal under another name":      {"renew:ca.operator", staff.Change{ID: "ca-own", Name: "别人", CSR: fresh}, "name"},
		"a renewal while frozen":            {"renew:ca.auditor", staff.Change{ID: "ca-auditor", CSR: fresh}, "id"},
		"frozen again":                      {"freeze:ca.auditor", staff.Change{ID: "ca-auditor", Reason: "查"}, "id"},
		"thawed without being frozen":       {"unfreeze:ca.operator", staff.Change{ID: "ca-operator", Reason: "查"}, "id"},
		"no reason":                         {"revoke:ca.operator", staff.Change{ID: "ca-operator"}, "reason"},
		"a reason of blanks":                {"revoke:ca.operator", staff.Change{ID: "ca-operator", Reason: " \t"}, "reason"},
		"a very long reason":                {"revoke:ca.operator", staff.Change{ID: "ca-operator", Reason: strings.Repeat("因", 201)}, "reason"},
	} {
		m, err := w.Matter("people." + c.matter)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Read(t.Context(), order(c.matter, c.change).Content)
		if f := refusal.Of(err); f == nil || f.Reason != staff.BadChange || f.Field != c.field || f.Fix == "" || f.Clause == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{``, `{}`, `[]`, `{"id":"ca-x"} {}`, `{"id":"ca-x"}}`, `{"id":"ca-operator","reason":"查","role":"ca.super"}`} {
		if m, _ := w.Matter("people.revoke:ca.operator"); true {
			if _, err := m.Read(t.Context(), []byte(text)); !errors.Is(err, staff.BadChange) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

// Somebody frozen after their renewal was agreed is not let back in by it.
func TestARenewalDoesNotThaw(t *testing.T) {
	w := open(t, accesstest.Database(t))
	id := w.agree(t, "renew:ca.operator", staff.Change{ID: "ca-operator2", CSR: accesstest.Request(t, "", accesstest.Key(t))})
	w.crash["issue before"] = true
	w.carry(t)
	delete(w.crash, "issue before")
	if err := w.keeper.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := w.staff.Freeze(tx, "ca-operator2", true); return err }); err != nil {
		t.Fatal(err)
	}
	w.staff.Forget()
	w.carry(t)
	r, err := w.Get(t.Context(), id)
	if err != nil || r.State != proposal.Failed || len(w.issued) != 0 || !w.staff.Who(t, "ca-operator2").Disabled {
		t.Errorf("%s, %d issued, %v", r.State, len(w.issued), err)
	}
}

// Two proposals for one id: the first is carried out, the second ends with the
// reason, and no certificate is made for it.
func TestOneIDIsOnePerson(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one := w.agree(t, "add:ca.operator", adding(t, "ca-new", "甲", accesstest.Key(t)))
		two := w.agree(t, "add:ca.operator", adding(t, "ca-new", "乙", accesstest.Key(t)))
		w.carry(t)
		states := map[string]int{}
		for _, id := range []string{one, two} {
			r, err := w.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			states[string(r.State)]++
		}
		p, err := w.staff.Current(t.Context(), "ca-new")
		if err != nil || states["done"] != 1 || states["failed"] != 1 || len(w.issued) != 1 || w.issued[one] == nil && p.Name != "乙" {
			t.Errorf("%v %+v %v", states, p, err)
		}
	})
}

// Wherever it crashes, carrying on makes one certificate, one entry and one line.
func TestCrashesLeaveNothingHalfDone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i, point := range []string{"issue before", "issue after", "register"} {
			c := adding(t, fmt.Sprint("ca-new", i), "甲", accesstest.Key(t))
			id := w.agree(t, "add:ca.operator", c)
			w.halt(t, point)
			w.carry(t)
			if _, err := w.staff.Current(t.Context(), c.ID); !errors.Is(err, access.NoSuchPerson) {
				t.Errorf("%s: somebody is registered: %v", point, err)
			}
			w.mend(t, point)
			w.settled(t, id, "person.add", c.ID)
		}
		if len(w.issued) != 3 {
			t.Errorf("%d certificates", len(w.issued))
		}
		for i, point := range []string{"status before", "status after", "register"} {
			c := staff.Change{ID: access.PersonID(fmt.Sprint("ca-new", i)), Reason: "离岗"}
			id := w.agree(t, "revoke:ca.operator", c)
			w.halt(t, point)
			w.carry(t)
			w.mend(t, point)
			w.settled(t, id, "person.revoke", c.ID)
		}
		if len(w.status) != 3 {
			t.Errorf("%v", w.status)
		}
	})
}

func (w *world) settled(t testing.TB, id, item string, who access.PersonID) {
	t.Helper()
	w.carry(t)
	w.carry(t)
	r, err := w.Get(t.Context(), id)
	lines, err2 := w.trail.List(t.Context(), audit.Query{Item: item, Object: string(who)})
	if err != nil || err2 != nil || r.State != proposal.Done || len(lines) != 1 {
		t.Errorf("%s %s: %s, %d lines, %v %v", item, who, r.State, len(lines), err, err2)
	}
}

func (w *world) halt(t testing.TB, point string) { w.rename(t, point, "person_change", "gone") }
func (w *world) mend(t testing.TB, point string) { w.rename(t, point, "gone", "person_change") }

func (w *world) rename(t testing.TB, point, from, to string) {
	t.Helper()
	if point != "register" {
		w.crash[point] = to == "gone"
		return
	}
	if err := w.keeper.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`ALTER TABLE ` + from + ` RENAME TO ` + to)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// A change that was carried out, sent again later, moves nobody; under its id
// nothing else is done.
func TestAnOldChangeMovesNobody(t *testing.T) {
	w := open(t, accesstest.Database(t))
	why := staff.Change{ID: "ca-operator", Reason: "查"}
	frozen := w.comes(t, "freeze:ca.operator", why, "done")
	w.comes(t, "unfreeze:ca.operator", why, "done")
	m, err := w.Matter(frozen.Kind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Do(t.Context(), frozen); err != nil || w.staff.Who(t, "ca-operator").Disabled {
		t.Errorf("frozen again: %v", err)
	}
	frozen.Content = order("freeze:ca.operator", staff.Change{ID: "ca-operator2", Name: "ca-operator2", Reason: "查"}).Content
	if _, err := m.Do(t.Context(), frozen); !errors.Is(err, staff.BadChange) {
		t.Errorf("another content under the same id: %v", err)
	}
}

// A certificate of another key than the one asked for is not put on the register.
func TestAnotherKeysCertificateIsNotTaken(t *testing.T) {
	w := open(t, accesstest.Database(t))
	id := w.agree(t, "add:ca.operator", adding(t, "ca-new", "甲", accesstest.Key(t)))
	other := accesstest.Key(t)
	w.issued[id] = accesstest.Certify(t, "别人", alg.Point(&other.PublicKey), other, start)
	w.carry(t)
	if r, err := w.Get(t.Context(), id); err != nil || r.State != proposal.Confirmed {
		t.Errorf("%s %v", r.State, err)
	}
	if _, err := w.staff.Current(t.Context(), "ca-new"); !errors.Is(err, access.NoSuchPerson) {
		t.Error(err)
	}
}

// What somebody signed while they held the post stands for ever; what they
// sign afterwards does not, whatever time they write on it.
func TestSignaturesOutliveTheSigner(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		before, err := w.act(t, "ca-admin", order("freeze:ca.operator", staff.Change{ID: "ca-operator2", Reason: "查"}))
		if err != nil {
			t.Fatal(err)
		}
		w.carry(t)
		w.now = w.now.Add(time.Hour)
		admin := w.staff.Who(t, "ca-admin")
		w.comes(t, "revoke:ca.admin", staff.Change{ID: "ca-admin", Reason: "离岗"}, "done")
		if cmd, err := w.People.Recheck(t.Context(), before.Events[0].Signed); err != nil || cmd.Who().ID != "ca-admin" {
			t.Errorf("an earlier signature: %v", err)
		}
		st := w.People.Draft(admin, "x", "x", "x", "", nil)
		claim := w.staff.Claim(t, "ca-admin", st)
		if _, err := w.People.Verify(t.Context(), claim, "x", "x", "x", "", nil); !errors.Is(err, access.Ended) {
			t.Errorf("a new act: %v", err)
		}
		late := access.Signed{Statement: st, Text: st.Text(), Signature: claim.Signature, Cert: claim.Cert}
		if _, err := w.People.Recheck(t.Context(), late); !errors.Is(err, access.Ended) {
			t.Errorf("a later signature: %v", err)
		}
	})
}

// A super administrator's life: the peer freezes at once, three custodians give
// the right back, renew and revoke; two of them, or one twice, do not.
func TestThePeopleAtTheTop(t *testing.T) {
	w := open(t, accesstest.Database(t))
	w.comes(t, "freeze:ca.super", staff.Change{ID: "ca-super", Reason: "疑似泄露"}, "done")
	if p, err := w.staff.Current(t.Context(), "ca-super"); err != nil || !p.Disabled {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := w.act(t, "ca-audit-admin", order("unfreeze:ca.super", staff.Change{ID: "ca-super", Reason: "查明"})); !errors.Is(err, casework.NotYours) {
		t.Errorf("the peer gives the right back alone: %v", err)
	}
	r, err := w.act(t, "ca-custodian1", order("unfreeze:ca.super", staff.Change{ID: "ca-super", Reason: "查明"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.act(t, "ca-custodian1", proposal.Order{Act: proposal.Confirm, ID: r.ID}); !errors.Is(err, casework.SamePerson) {
		t.Errorf("agreed with themselves: %v", err)
	}
	if _, err := w.act(t, "ca-custodian2", proposal.Order{Act: proposal.Confirm, ID: r.ID}); err != nil {
		t.Fatal(err)
	}
	w.carry(t)
	if p, _ := w.staff.Current(t.Context(), "ca-super"); !p.Disabled {
		t.Error("two custodians were enough")
	}
	if _, err := w.act(t, "ca-custodian2", proposal.Order{Act: proposal.Release, ID: r.ID}); !errors.Is(err, casework.SamePerson) {
		t.Errorf("one signs twice: %v", err)
	}
	if _, err := w.act(t, "ca-custodian3", proposal.Order{Act: proposal.Release, ID: r.ID}); err != nil {
		t.Fatal(err)
	}
	w.carry(t)
	if p, _ := w.staff.Current(t.Context(), "ca-super"); p.Disabled {
		t.Error("still frozen")
	}
	w.comes(t, "renew:ca.super", staff.Change{ID: "ca-super", CSR: accesstest.Request(t, "ca-super", accesstest.Key(t))}, "done")
	w.comes(t, "add:ca.super", adding(t, "ca-super2", "继任", accesstest.Key(t)), "done")
	w.comes(t, "revoke:ca.super", staff.Change{ID: "ca-super", Reason: "离任"}, "done")
	if _, err := w.staff.Current(t.Context(), "ca-super"); !errors.Is(err, access.NoSuchPerson) {
		t.Error(err)
	}
}

// Custodians are not taken away below what opens the house, by whichever verb
// costs a share; what costs none is not held up.
func TestEnoughCustodiansStay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.staff.Hire(t, "ca-custodian4", access.CACustodian)
		dealt, err := w.staff.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.keeper.Strength = func(people []access.Person) ([]staff.Strength, error) {
			s := staff.Strength{Name: "开启", Need: 3, Fix: "请先更换份额"}
			for _, p := range people {
				if p.Holds(access.CACustodian) && staff.InForce(p, w.now) && slices.ContainsFunc(dealt, func(d access.Person) bool { return string(d.Cert) == string(p.Cert) }) {
					s.Left++
				}
			}
			return []staff.Strength{s}, nil
		}
		why := func(id access.PersonID) staff.Change { return staff.Change{ID: id, Reason: "离岗"} }
		if r, err := w.act(t, "ca-admin", order("freeze:ca.custodian", why("ca-custodian4"))); err != nil || r.ID == "" {
			t.Fatalf("one of four: %v", err)
		}
		if err := w.Carry(t.Context()); err != nil {
			t.Fatal(err)
		}
		for verb, c := range map[string]staff.Change{"freeze": why("ca-custodian3"), "revoke": why("ca-custodian3"), "renew": adding(t, "ca-custodian3", "", accesstest.Key(t))} {
			_, err := w.act(t, "ca-admin", order(verb+":ca.custodian", c))
			if !errors.Is(err, staff.FewCustodians) || refusal.Of(err).Fix != "请先更换份额" {
				t.Errorf("%s of one of three: %v", verb, err)
			}
		}
		if _, err := w.act(t, "ca-admin", order("revoke:ca.custodian", why("ca-custodian4"))); err != nil {
			t.Errorf("who is frozen may go: %v", err)
		}
		if _, err := w.act(t, "ca-admin", order("freeze:ca.operator", why("ca-operator2"))); err != nil {
			t.Errorf("who keeps no share: %v", err)
		}
	})
}
