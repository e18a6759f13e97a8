package staff_test

import (
	"errors"
	"testing"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/accesstest"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
)

// desk is a registration system whose changes the world's register carries out.
func desk(t testing.TB, w *world) *world {
	t.Helper()
	for id, role := range map[access.PersonID]access.Role{"ra-admin": access.RAAdmin, "ra-super": access.RASuper, "ra-clerk": access.RAClerk, "ra-super2": access.RASuper} {
		w.staff.Hire(t, id, role)
	}
	w.staff.Hire(t, "ra-both", access.RAAdmin, access.RASuper)
	ra := *w
	ra.Desk = (&proposal.Desk{DB: w.DB, Now: w.Now, People: access.Desk{Site: "注册系统", People: w.staff, Now: w.Now}, Matters: w.keeper.Matters(staff.RA)}).Start()
	return &ra
}

func orderOf(r proposal.Record) staff.Order {
	o := staff.Order{From: "ra", ID: r.ID, Matter: r.Kind, Content: r.Content}
	for _, e := range r.Events {
		o.Steps = append(o.Steps, staff.Step{Signed: e.Signed, Item: e.Item, Proof: e.Proof})
	}
	return o
}

// agreed is what two people of the desk decided, as it goes over to the core.
func agreed(t testing.TB, ra *world, matter string, c staff.Change, by, and access.PersonID) staff.Order {
	t.Helper()
	r, err := ra.act(t, by, order(matter, c))
	if err == nil && and != "" {
		r, err = ra.act(t, and, proposal.Order{Act: proposal.Confirm, ID: r.ID})
	}
	if err != nil {
		t.Fatal(err)
	}
	return orderOf(r)
}

// The core carries out what two people of the desk signed, once, however often
// it is asked.
func TestAnOrderIsCarriedOutOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ra := desk(t, w)
		o := agreed(t, ra, "add:ra.clerk", adding(t, "ra-new", "甲", accesstest.Key(t)), "ra-admin", "ra-super")
		w.halt(t, "register")
		if _, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, o); err == nil || refusal.Of(err) != nil {
			t.Errorf("the register is away: %v", err)
		}
		w.mend(t, "register")
		var certs [2][]byte
		for i := range certs {
			der, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, o)
			if err != nil {
				t.Fatal(err)
			}
			certs[i] = der
		}
		p, err := w.staff.Current(t.Context(), "ra-new")
		if err != nil || string(certs[0]) != string(certs[1]) || string(p.Cert) != string(certs[0]) || len(w.issued) != 1 || w.issued["ra:"+o.ID] == nil {
			t.Errorf("%d issued, %v", len(w.issued), err)
		}
		freeze := agreed(t, ra, "freeze:ra.clerk", staff.Change{ID: "ra-new", Reason: "查"}, "ra-admin", "")
		thaw := staff.Change{ID: "ra-new", Reason: "已查清"}
		if _, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, freeze); err != nil {
			t.Fatal(err)
		}
		back := agreed(t, ra, "unfreeze:ra.clerk", thaw, "ra-admin", "ra-super")
		for _, again := range []staff.Order{back, freeze} {
			if _, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, again); err != nil {
				t.Fatal(err)
			}
		}
		if p, err := w.staff.Current(t.Context(), "ra-new"); err != nil || p.Disabled {
			t.Errorf("an old order froze them again: %v", err)
		}
		freeze.Content = order("", staff.Change{ID: "ra-clerk", Name: "ra-clerk", Reason: "查"}).Content
		if _, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, freeze); !errors.Is(err, staff.NotAgreed) {
			t.Errorf("another content under its id: %v", err)
		}
		lines, err := w.trail.List(t.Context(), audit.Query{Object: "ra-new", Who: "system:staff"})
		if err != nil || len(lines) != 3 {
			t.Errorf("%d lines, %v", len(lines), err)
		}
	})
}

// The desk's own word moves nobody: every signature is looked at again.
func TestTheDesksWordIsNotEnough(t *testing.T) {
	w := open(t, accesstest.Database(t))
	ra := desk(t, w)
	c := adding(t, "ra-new", "甲", accesstest.Key(t))
	good := agreed(t, ra, "add:ra.clerk", c, "ra-admin", "ra-super")
	other := agreed(t, ra, "add:ra.clerk", adding(t, "ra-new2", "乙", accesstest.Key(t)), "ra-admin", "ra-super")
	reviewer := agreed(t, ra, "add:ra.reviewer", c, "ra-admin", "ra-super")
	alone := agreed(t, ra, "add:ra.clerk", c, "ra-both", "")
	// What the desk would refuse, a desk in wrong hands could gather all the same.
	self := alone
	self.Steps = append(self.Steps, sign(t, ra, "ra-both", good.Matter, "confirm", alone.ID, 1, alone.Content))
	low := staff.Order{From: "ra", ID: "P9", Matter: good.Matter, Content: good.Content, Steps: []staff.Step{
		sign(t, ra, "ra-clerk", good.Matter, "propose", "P9", 0, good.Content), sign(t, ra, "ra-super", good.Matter, "confirm", "P9", 1, good.Content)}}
	early := staff.Order{From: "ra", ID: "P8", Matter: good.Matter, Content: good.Content, Steps: []staff.Step{
		sign(t, ra, "ra-admin", good.Matter, "propose", "P8", 0, good.Content), sign(t, ra, "ra-super", good.Matter, "confirm", "P8", 0, good.Content)}}
	ca := w.agree(t, "add:ca.operator", adding(t, "ca-new", "甲", accesstest.Key(t)))
	there, err := w.Get(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(o *staff.Order)) staff.Order {
		o := good
		o.Steps = append([]staff.Step(nil), good.Steps...)
		f(&o)
		return o
	}
	for name, c := range map[string]struct {
		o    staff.Order
		want *refusal.Reason
	}{
		"nothing signed":           {with(func(o *staff.Order) { o.Steps = nil }), staff.NotAgreed},
		"only proposed":            {with(func(o *staff.Order) { o.Steps = o.Steps[:1] }), staff.NotAgreed},
		"only confirmed":           {with(func(o *staff.Order) { o.Steps = o.Steps[1:] }), staff.NotAgreed},
		"one person twice":         {self, casework.SamePerson},
		"a clerk proposes":         {low, casework.NotYours},
		"confirmed before":         {early, staff.NotAgreed},
		"signatures of another":    {with(func(o *staff.Order) { o.Steps = other.Steps }), staff.NotAgreed},
		"for another role":         {with(func(o *staff.Order) { o.Matter = reviewer.Matter }), staff.NotAgreed},
		"another id":               {with(func(o *staff.Order) { o.ID = "P1" }), staff.NotAgreed},
		"another content":          {with(func(o *staff.Order) { o.Content = other.Content }), staff.NotAgreed},
		"a blank more":             {with(func(o *staff.Order) { o.Content = append([]byte(" "), o.Content...) }), staff.NotAgreed},
		"an act of the CA's":       {orderOf(there), proposal.NoMatter},
		"no such matter":           {with(func(o *staff.Order) { o.Matter = "people.add:ra.super" }), proposal.NoMatter},
		"a forged signature":       {with(func(o *staff.Order) { o.Steps[1].Signed.Signature = o.Steps[0].Signed.Signature }), access.BadSignature},
		"a statement worded anew":  {with(func(o *staff.Order) { o.Steps[1].Signed.Note = "好" }), access.BadSignature},
		"another's name under it":  {with(func(o *staff.Order) { o.Steps[1].Signed.Person = "ra-super2" }), access.BadSignature},
		"another's certificate":    {with(func(o *staff.Order) { o.Steps[1].Signed.Cert = w.staff.Cert("ra-super2") }), access.BadSignature},
		"a stranger's certificate": {with(func(o *staff.Order) { o.Steps[1].Signed.Cert = []byte{1} }), access.NoSuchPerson},
	} {
		if _, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.staff.Current(t.Context(), "ra-new"); !errors.Is(err, access.NoSuchPerson) || len(w.issued) != 0 {
		t.Errorf("somebody was made: %v", err)
	}
	if err := w.keeper.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := w.staff.Freeze(tx, "ra-super", true); return err }); err != nil {
		t.Fatal(err)
	}
	w.staff.Forget()
	if _, err := w.keeper.Obey(t.Context(), ra.People, staff.RA, good); !errors.Is(err, access.Disabled) {
		t.Errorf("agreed by somebody frozen since: %v", err)
	}
}

// sign is what somebody would sign if the desk had them do it.
func sign(t testing.TB, ra *world, who access.PersonID, matter, act, id string, seq int, content []byte) staff.Step {
	t.Helper()
	items := []access.Item{{Kind: matter, ID: id, Seq: seq, Digest: digest(content)}}
	st := ra.People.Draft(ra.staff.Who(t, who), matter+"/"+act, "新增", id, "", items)
	c := ra.staff.Claim(t, who, st)
	return staff.Step{Signed: access.Signed{Statement: st, Text: st.Text(), Signature: c.Signature, Cert: c.Cert}, Item: items[0], Proof: access.ProofOf(items, 0)}
}
