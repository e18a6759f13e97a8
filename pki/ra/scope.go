package ra

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// For is the desk as somebody sees it: people of a registration body find, and can
// act on, what their body and its outlets took and nothing else. The institution's
// own people see all.
func (r *Registrar) For(ctx context.Context, who access.Person) (*Registrar, error) {
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return r, err
	}
	within := t.Within(t.Of(who.ID))
	if within == nil {
		return r, nil
	}
	c := *r
	c.Store = scoped{r.Store, within}
	return &c, nil
}

// Scoped reports whether this is the desk of a body's people only.
func (r *Registrar) Scoped() bool {
	_, ok := r.Store.(scoped)
	return ok
}

// tree is the register of bodies; nil where there is only one.
func (r *Registrar) tree(ctx context.Context) (*body.Tree, error) {
	if r.Bodies == nil {
		return nil, nil
	}
	return r.Bodies.Tree(ctx)
}

// BodyOf is the body somebody works at; its ID is empty for the institution's own
// people.
func (r *Registrar) BodyOf(ctx context.Context, who access.Person) (body.Body, error) {
	t, err := r.tree(ctx)
	if err != nil || t == nil || t.Of(who.ID) == "" {
		return body.Body{}, err
	}
	return t.Body(t.Of(who.ID))
}

func (r *Registrar) bodyOf(ctx context.Context, who access.Person) (string, error) {
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return "", err
	}
	return t.Of(who.ID), t.Stands(t.Of(who.ID), r.today())
}

// taken is the body a new case belongs to: that of whoever drafts it, or of the
// case it follows where that body is below and stands.
func (r *Registrar) taken(ctx context.Context, who access.Person, old string) (string, error) {
	own, err := r.bodyOf(ctx, who)
	if err != nil || old == "" || old == own {
		return own, err
	}
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return own, err
	}
	if t.Over(own, old) && t.Stands(old, r.today()) == nil {
		return old, nil
	}
	return own, nil
}

// delegated completes an application with the body that takes it, in whose name it
// acts, and how many reviews it needs; what was not delegated is refused.
func (r *Registrar) delegated(ctx context.Context, a *enroll.Application, p profile.Profile) error {
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return err
	}
	if n := t.Levels(a.Profile); n > 1 {
		a.Levels = n
	}
	if a.Body == "" {
		return nil
	}
	b, err := t.Body(a.Body)
	if err != nil {
		return err
	}
	a.Principal = b.Principal
	return t.Allows(a.Body, p)
}

// standing refuses what somebody orders while their body, or of an application the
// body that took it, may not register.
func (r *Registrar) standing(ctx context.Context, who access.Person) error {
	_, err := r.bodyOf(ctx, who)
	return err
}

func (r *Registrar) bodyStands(ctx context.Context, a enroll.Application) error {
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return err
	}
	if err := t.Stands(a.Body, r.today()); err != nil || a.Body == "" {
		return err
	}
	return t.Allows(a.Body, r.InForce()[a.Profile])
}

// whole is the store without a scope, for what must be looked up everywhere.
func (r *Registrar) whole() Store {
	if s, ok := r.Store.(scoped); ok {
		return s.Store
	}
	return r.Store
}

// scoped is a store that holds only what some bodies took.
type scoped struct {
	Store
	within []string
}

func (s scoped) sees(body string) bool { return slices.Contains(s.within, body) }

// Case returns one of the scope; NoCase for any other.
func (s scoped) Case(ctx context.Context, id string) (Record, error) {
	rec, err := s.Store.Case(ctx, id)
	if err == nil && !s.sees(rec.Body) {
		return Record{}, NoCase.At("id", NoCase.Clause).Because("%.40q", id)
	}
	return rec, err
}

// Find lists cases of the scope.
func (s scoped) Find(ctx context.Context, q Query) ([]Record, error) {
	q.Within = s.within
	return s.Store.Find(ctx, q)
}

// Counts counts them.
func (s scoped) Counts(ctx context.Context, _ []string) (map[string]map[casework.State]int, error) {
	return s.Store.Counts(ctx, s.within)
}

// BySerial returns the case of a certificate of the scope.
func (s scoped) BySerial(ctx context.Context, serial string) (Record, error) {
	rec, err := s.Store.BySerial(ctx, serial)
	if err == nil && !s.sees(rec.Body) {
		return Record{}, NotLive.At("serial", NotLive.Clause)
	}
	return rec, err
}

// Batch returns a sheet of the scope.
func (s scoped) Batch(ctx context.Context, id string) (Batch, error) {
	b, err := s.Store.Batch(ctx, id)
	if err == nil && !s.sees(b.Body) {
		return Batch{}, NoCase.At("batch", NoCase.Clause)
	}
	return b, err
}

// Batches lists them.
func (s scoped) Batches(ctx context.Context, _ []string, after string, limit int) ([]Batch, error) {
	return s.Store.Batches(ctx, s.within, after, limit)
}

// Bulk returns a bulk of the scope.
func (s scoped) Bulk(ctx context.Context, id string) (Bulk, error) {
	b, err := s.Store.Bulk(ctx, id)
	if err == nil && !s.sees(b.Body) {
		return Bulk{}, NoCase.At("bulk", NoCase.Clause).Because("%.40q", id)
	}
	return b, err
}

// Bulks lists them.
func (s scoped) Bulks(ctx context.Context, _ []string, after string, limit int) ([]Bulk, error) {
	return s.Store.Bulks(ctx, s.within, after, limit)
}

// Unit returns a unit of the scope.
func (s scoped) Unit(ctx context.Context, code string) (Unit, error) {
	u, err := s.Store.Unit(ctx, code)
	if err == nil && !s.sees(u.Body) {
		return Unit{}, NoUnit.At("code", NoUnit.Clause).Because("%.40q", code)
	}
	return u, err
}

// Units lists them.
func (s scoped) Units(ctx context.Context, q UnitQuery) ([]Unit, error) {
	q.Within = s.within
	return s.Store.Units(ctx, q)
}

// Reminders lists those of the scope.
func (s scoped) Reminders(ctx context.Context, q ReminderQuery) ([]Reminder, error) {
	q.Within = s.within
	return s.Store.Reminders(ctx, q)
}

// Expiring finds nothing: reminding is the system's work.
func (scoped) Expiring(context.Context, time.Time, time.Time, int, int) ([]Record, error) {
	return nil, nil
}

// levels is the kind of an application by the reviews it needs.
func levels(a enroll.Application) string {
	if a.For == enroll.Recover {
		return RecoverKind.Name
	}
	return IssueKinds[min(max(1, a.Levels), len(IssueKinds))-1].Name
}

// TakerOf names the body that took a case; nothing for the institution's own.
func (r *Registrar) TakerOf(ctx context.Context, id string) (string, error) {
	t, err := r.tree(ctx)
	if err != nil || t == nil || id == "" {
		return "", err
	}
	b, err := t.Body(id)
	return Taker(b), err
}

// BodyView is a body with the people who work there, and how it stands today.
type BodyView struct {
	body.Body
	Title   string            `json:"kind_title"`
	Members []access.PersonID `json:"members"`
	Stands  bool              `json:"stands"`
	Why     string            `json:"stands_not,omitempty"` // why it may not register
	Fix     string            `json:"fix,omitempty"`        // what to do where the CA stopped it
}

// BodyList are the bodies somebody may see: all, or their own and its outlets.
func (r *Registrar) BodyList(ctx context.Context) ([]BodyView, error) {
	list := []BodyView{}
	t, err := r.tree(ctx)
	if err != nil || t == nil {
		return list, err
	}
	own, narrow := r.Store.(scoped)
	for _, b := range t.All() {
		if narrow && !own.sees(b.ID) {
			continue
		}
		whole, err := t.Body(b.ID)
		if err != nil {
			return nil, err
		}
		v := BodyView{Body: whole, Title: body.Titles[b.Kind], Members: t.Members(b.ID), Stands: true}
		if no := refusal.Of(t.Stands(b.ID, r.today())); no != nil {
			v.Stands, v.Why = false, no.Report().Text
		}
		if why := r.Bars.Why(b); why != "" {
			v.Barred, v.Stands, v.Why, v.Fix = why, false, cmp.Or(v.Why, "CA 已停止受理："+why), UntilResumed
		}
		list = append(list, v)
	}
	return list, nil
}

// ReviewLevels are the profiles people apply for, with the reviews each needs.
func (r *Registrar) ReviewLevels(ctx context.Context) (map[string]int, error) {
	t, err := r.tree(ctx)
	out := map[string]int{}
	for _, name := range r.open() {
		if out[name] = 1; t != nil {
			out[name] = t.Levels(name)
		}
	}
	return out, err
}

// Taker is what people call whoever took a case: the body, and the institution in
// whose name it acts.
func Taker(b body.Body) string {
	if b.ID == "" {
		return ""
	}
	return cmp.Or(b.Name, b.ID) + "（受" + b.Principal + "委托）"
}
