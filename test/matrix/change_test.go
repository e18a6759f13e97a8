package matrix

import (
	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/casework/proposal"
)

func propose(matter string, content any) map[string]any {
	return map[string]any{"act": proposal.Propose, "matter": matter, "content": content}
}

func (w *world) agree(matter string, content any, by, and string) string {
	id := w.sign(by, "/api/v1/proposals", propose(matter, content))
	w.sign(and, "/api/v1/proposals", map[string]any{"act": proposal.Confirm, "id": id})
	return id
}

// matter tries every step of one that two people decide.
func (w *world) matter(m map[string]try, system, name string, content any, by, and string) {
	m[system+" "+name+"/propose"] = func(r access.Role) string { return w.order(holder(r), "/api/v1/proposals", propose(name, content)) }
	id := w.sign(by, "/api/v1/proposals", propose(name, content))
	for _, act := range []string{"confirm", "reject", "withdraw"} {
		m[system+" "+name+"/"+act] = func(r access.Role) string {
			who := holder(r)
			if who == by && act != "withdraw" && by[:len(by)-1]+"r2" == and {
				who = and // nobody agrees with themselves
			}
			return w.order(who, "/api/v1/proposals", map[string]any{"act": act, "id": id})
		}
	}
}

// changes are the proposals of a system, on people made and frozen for it.
func (w *world) changes(m map[string]try, s access.System) {
	for role, hands := range chain[s.Name] {
		by, and := holder(access.Role(hands[0])), holder(access.Role(hands[1]))
		if by == and {
			and = "ca-operator2"
		}
		prefix := role[:3]
		one, two := access.PersonID(prefix[:2]+"-x-"+role[3:]), access.PersonID(prefix[:2]+"-y-"+role[3:])
		for _, id := range []access.PersonID{one, two} {
			p := w.sign(by, "/api/v1/proposals", propose("people.add:"+role, staff.Change{ID: id, Name: "某", CSR: request(w.t, "某")}))
			w.sign(and, "/api/v1/proposals", map[string]any{"act": proposal.Confirm, "id": p})
			w.done(by, p)
		}
		w.done(by, w.sign(by, "/api/v1/proposals", propose("people.freeze:"+role, staff.Change{ID: two, Reason: "核对"})))
		for verb, c := range map[string]staff.Change{
			staff.Add: {ID: access.PersonID(prefix[:2] + "-z-" + role[3:]), Name: "某", CSR: request(w.t, "某")}, staff.Renew: {ID: one, CSR: request(w.t, "某")},
			staff.Freeze: {ID: one, Reason: "核对"}, staff.Unfreeze: {ID: two, Reason: "核对"}, staff.Revoke: {ID: one, Reason: "核对"},
		} {
			name := "people." + verb + ":" + role
			m[s.Name+" "+name+"/propose"] = func(r access.Role) string { return w.order(holder(r), "/api/v1/proposals", propose(name, c)) }
			if verb == staff.Freeze {
				continue
			}
			id := w.sign(by, "/api/v1/proposals", propose(name, c))
			for _, act := range []string{"confirm", "reject", "withdraw"} {
				m[s.Name+" "+name+"/"+act] = func(r access.Role) string {
					who := holder(r)
					if who == by && act != "withdraw" && hands[0] == hands[1] {
						who = and // nobody agrees with themselves
					}
					return w.order(who, "/api/v1/proposals", map[string]any{"act": act, "id": id})
				}
			}
		}
	}
}

// top are the changes to those at the top: three custodians take a step each.
func (w *world) top(m map[string]try, s access.System) {
	for role, hands := range tops[s.Name] {
		one := holder(access.Role(hands[0]))
		two, three := one[:len(one)-1]+"2", one[:len(one)-1]+"3"
		prefix := role[:2]
		person := func(kind string) access.PersonID { return access.PersonID(prefix + "-" + kind + "-" + role[3:]) }
		all := func(o map[string]any) string {
			id := w.sign(one, "/api/v1/proposals", o)
			w.sign(two, "/api/v1/proposals", map[string]any{"act": proposal.Confirm, "id": id})
			return id
		}
		for _, id := range []access.PersonID{person("x"), person("y")} {
			p := all(propose("people.add:"+role, staff.Change{ID: id, Name: "某", CSR: request(w.t, "某")}))
			w.sign(three, "/api/v1/proposals", map[string]any{"act": proposal.Release, "id": p})
			w.done(one, p)
		}
		freezer := holder(access.Role(hands[1]))
		w.done(freezer, w.sign(freezer, "/api/v1/proposals", propose("people.freeze:"+role, staff.Change{ID: person("y"), Reason: "核对"})))
		for verb, c := range map[string]staff.Change{
			staff.Add: {ID: person("z"), Name: "某", CSR: request(w.t, "某")}, staff.Renew: {ID: person("x"), CSR: request(w.t, "某")},
			staff.Freeze: {ID: person("x"), Reason: "核对"}, staff.Unfreeze: {ID: person("y"), Reason: "核对"}, staff.Revoke: {ID: person("x"), Reason: "核对"},
		} {
			name := "people." + verb + ":" + role
			m[s.Name+" "+name+"/propose"] = func(r access.Role) string { return w.order(holder(r), "/api/v1/proposals", propose(name, c)) }
			if verb == staff.Freeze {
				continue
			}
			id, agreed := w.sign(one, "/api/v1/proposals", propose(name, c)), all(propose(name, c))
			for _, act := range []string{"confirm", "reject", "withdraw", "release"} {
				m[s.Name+" "+name+"/"+act] = func(r access.Role) string {
					who, on := holder(r), id
					if act == "release" {
						on = agreed
					}
					if who == one && act != "withdraw" {
						who = map[string]string{"release": three}[act]
						if who == "" {
							who = two
						}
					}
					return w.order(who, "/api/v1/proposals", map[string]any{"act": act, "id": on})
				}
			}
		}
	}
}

func (w *world) done(who, id string) {
	w.t.Helper()
	w.until(id, func() bool {
		var v struct{ State string }
		w.must(who, "GET", "/api/v1/proposals/"+id, nil, &v)
		return v.State == "done"
	})
}
