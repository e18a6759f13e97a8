// Package body is the register of who registers, for whom and under whose name:
// the bodies an institution delegates registration to, their outlets, the people
// of each, and how many reviews an application needs. (注册机构)
//
// A registration system keeps it to work by, the CA keeps its own and checks
// every request against it. Both change it only by what people signed (Order
// No. 4 art. 25).
package body

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/profile"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrate prepares a database to hold the register.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "body", files)
}

// Kinds of bodies.
const (
	Delegated = "body"   // 受托注册机构: works for the institution by agreement
	Outlet    = "outlet" // 受理网点: a counter of the institution's own or of a delegated body
)

// Titles are what people call them.
var Titles = map[string]string{Delegated: "受托注册机构", Outlet: "受理网点"}

// Top names the registration system itself, whose own people are of no body.
const Top = "ra"

// Body is one that registers for the institution. Of an outlet, what is empty is
// its parent's.
type Body struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Parent    string   `json:"parent,omitempty"` // a delegated body, of an outlet; empty for the institution's own
	Unit      string   `json:"unit,omitempty"`   // credit code
	Principal string   `json:"principal"`        // the institution in whose name it acts
	Head      string   `json:"head"`
	Address   string   `json:"address"`
	Agreement string   `json:"agreement,omitempty"` // SM3 of the file, hex
	From      string   `json:"from,omitempty"`      // first and last day of the agreement, in Beijing
	To        string   `json:"to,omitempty"`
	Profiles  []string `json:"profiles,omitempty"`
	Policies  []string `json:"policies,omitempty"`
	Suspended bool     `json:"suspended"`
	Why       string   `json:"why,omitempty"`
	Barred    string   `json:"barred,omitempty"` // by the CA, and why
}

// Tree is the register as it stands. It never changes once read.
type Tree struct {
	bodies map[string]Body
	people map[access.PersonID]string
	levels map[string]int
	apart  map[string]string
}

// All lists the bodies: the institution's own first, each outlet after its
// parent.
func (t *Tree) All() []Body {
	list := slices.Collect(maps.Values(t.bodies))
	top := func(b Body) string { return cmp.Or(b.Parent, b.ID) }
	slices.SortFunc(list, func(a, b Body) int {
		return cmp.Or(cmp.Compare(top(a), top(b)), cmp.Compare(len(a.Parent), len(b.Parent)), cmp.Compare(a.ID, b.ID))
	})
	return slices.DeleteFunc(list, func(b Body) bool { return b.ID == Top })
}

// Barred are the bodies that the CA takes no requests of, the registration system
// itself among them, by their own bar and in order.
func (t *Tree) Barred() (list []Body) {
	for _, id := range slices.Sorted(maps.Keys(t.bodies)) {
		if b := t.bodies[id]; b.Barred != "" {
			list = append(list, b)
		}
	}
	return list
}

// Body returns one, an outlet with what it takes from its parent.
func (t *Tree) Body(id string) (Body, error) {
	b, ok := t.bodies[id]
	if !ok || id == Top {
		return b, NoBody.At("body", NoBody.Clause).Because("%.40q", id)
	}
	up := t.bodies[b.Parent]
	b.Unit, b.Agreement, b.From, b.To = cmp.Or(b.Unit, up.Unit), cmp.Or(b.Agreement, up.Agreement), cmp.Or(b.From, up.From), cmp.Or(b.To, up.To)
	if len(b.Profiles) == 0 {
		b.Profiles = up.Profiles
	}
	if len(b.Policies) == 0 {
		b.Policies = up.Policies
	}
	return b, nil
}

// Of is the body somebody works at; empty for the institution's own people.
func (t *Tree) Of(who access.PersonID) string { return t.people[who] }

// Members are who works at a body, in order.
func (t *Tree) Members(id string) (list []access.PersonID) {
	for who, at := range t.people {
		if at == id {
			list = append(list, who)
		}
	}
	slices.Sort(list)
	return list
}

// Over reports whether a body is another or above it; the institution is above
// all.
func (t *Tree) Over(a, b string) bool {
	return a == "" || a == b || b != "" && t.bodies[b].Parent == a
}

// Within are a body and its outlets: the data its people see. Of the institution
// it is nil, which is all.
func (t *Tree) Within(id string) []string {
	if id == "" {
		return nil
	}
	list := []string{id}
	for _, b := range t.bodies {
		if b.Parent == id {
			list = append(list, b.ID)
		}
	}
	slices.Sort(list)
	return list
}

// Stands refuses a body that may not register on a day (2026-01-01): suspended,
// barred by the CA, or outside its agreement, itself or its parent.
func (t *Tree) Stands(id, today string) error {
	if why := t.bodies[Top].Barred; why != "" {
		return Suspended.At("body", Suspended.Clause).Because("注册系统已由 CA 停止受理：%s", why)
	}
	for id != "" {
		b, err := t.Body(id)
		switch {
		case err != nil:
			return err
		case b.Suspended:
			return Suspended.At("body", Suspended.Clause).Because("%s（%s）：%s", b.Name, b.ID, b.Why)
		case b.Barred != "":
			return Suspended.At("body", Suspended.Clause).Because("%s（%s）已由 CA 停止受理：%s", b.Name, b.ID, b.Barred)
		case b.From != "" && (today < b.From || today > b.To):
			return Suspended.At("body", Suspended.Clause).Because("%s（%s）的委托协议有效期为 %s 至 %s", b.Name, b.ID, b.From, b.To).ToFix("请续签委托协议并登记")
		}
		id = b.Parent
	}
	return nil
}

// Allows refuses a profile or a policy that was not delegated, or that the law it
// is under lets nobody delegate.
func (t *Tree) Allows(id string, p profile.Profile) error {
	for id != "" {
		b, err := t.Body(id)
		switch {
		case err != nil:
			return err
		case len(b.Profiles) > 0 && !slices.Contains(b.Profiles, p.Name):
			return Outside.At("profile", Outside.Clause).Because("%s（%s）不受理模板 %s", b.Name, b.ID, p.Name)
		case len(b.Policies) > 0 && !slices.Contains(b.Policies, p.Policy):
			return Outside.At("policy", Outside.Clause).Because("%s（%s）不受理证书策略 %s", b.Name, b.ID, p.Policy)
		case b.Kind == Delegated && !p.Delegable():
			return NotLent.At("profile", NotLent.Clause).Because("%s（%s）是受托注册机构，“%s”适用工业和信息化部的制度", b.Name, b.ID, p.Title)
		}
		id = b.Parent
	}
	return nil
}

// Levels is how many reviews an application of a profile needs.
func (t *Tree) Levels(profile string) int { return max(1, t.levels[profile]) }

// Ways in which approved applications of a profile come to the CA.
const (
	Online  = "online"  // over the link
	Offline = "offline" // in files that somebody carries
)

// Offline reports whether applications of a profile are carried to the CA in files.
func (t *Tree) Offline(profile string) bool { return t.apart[profile] == Offline }

// Register is the register in a database. Reads are cached: it is small and every
// act asks.
type Register struct {
	DB *sqldb.DB

	mu    sync.Mutex
	known *Tree
}

// Tree returns the register as it stands.
func (r *Register) Tree(ctx context.Context) (*Tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known != nil {
		return r.known, nil
	}
	t := &Tree{map[string]Body{}, map[access.PersonID]string{}, map[string]int{}, map[string]string{}}
	err := r.each(ctx, `SELECT id, body, '' FROM body`, func(id string, data []byte, _ string) error {
		var b Body
		err := json.Unmarshal(data, &b)
		t.bodies[id] = b
		return err
	})
	if err == nil {
		err = r.each(ctx, `SELECT person, NULL, body FROM body_member`, func(who string, _ []byte, at string) error {
			if at != "" {
				t.people[access.PersonID(who)] = at
			}
			return nil
		})
	}
	if err == nil {
		err = r.each(ctx, `SELECT profile, levels, '' FROM review_level`, func(name string, data []byte, _ string) error {
			var n int
			err := json.Unmarshal(data, &n)
			t.levels[name] = n
			return err
		})
	}
	if err == nil {
		err = r.each(ctx, `SELECT profile, way, '' FROM issue_offline`, func(name string, data []byte, _ string) error {
			t.apart[name] = string(data)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	r.known = t
	return t, nil
}

func (r *Register) each(ctx context.Context, q string, f func(key string, data []byte, word string) error) error {
	rows, err := r.DB.Query(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, word string
		var data []byte
		if err := rows.Scan(&key, &data, &word); err != nil {
			return err
		}
		if err := f(key, data, word); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Forget drops the cache after the register changed.
func (r *Register) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
}
