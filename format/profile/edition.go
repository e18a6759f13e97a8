package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// Edition is the profiles in force together, as the CA numbers them. (模板库)
type Edition struct {
	Number   int       `json:"edition"`
	At       time.Time `json:"at"` // when it came into force
	Profiles []Profile `json:"profiles"`
}

// Set is an edition by name.
func (e Edition) Set() Set {
	set := Set{}
	for _, p := range e.Profiles {
		set[p.Name] = p
	}
	return set
}

// EditionOf puts a set in order.
func EditionOf(set Set, number int, at time.Time) Edition {
	e := Edition{Number: number, At: at}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		e.Profiles = append(e.Profiles, set[name])
	}
	return e
}

// Book holds an edition for readers while it is replaced as a whole. Its zero
// value holds none.
type Book struct {
	now atomic.Pointer[held]
}

type held struct {
	number int
	set    Set
	at     time.Time
}

// Put replaces what is held; at is when it was heard of.
func (b *Book) Put(e Edition, at time.Time) { b.now.Store(&held{e.Number, e.Set(), at}) }

// Heard notes that what is held was still in force at a time.
func (b *Book) Heard(at time.Time) {
	if h := b.now.Load(); h != nil {
		b.now.Store(&held{h.number, h.set, at})
	}
}

// Held is what is held, its number and when it was heard of; nil before the first.
func (b *Book) Held() (set Set, number int, at time.Time) {
	if b == nil {
		return nil, 0, time.Time{}
	}
	if h := b.now.Load(); h != nil {
		return h.set, h.number, h.at
	}
	return nil, 0, time.Time{}
}

const ruleClause = "GM/T 0015 §5.2.3"

// daysMax bounds the validity of a subscriber's certificate.
const daysMax = 3660

// Follows says what keeps a profile from being the next version of another, in
// one field; nil when it may be. What a certificate is for does not change with
// a version: that would be another profile.
func (p Profile) Follows(old Profile) *Fault {
	fixed := func(q Profile) Profile {
		return Profile{
			Name: q.Name, Internal: q.Internal, Dual: q.Dual, Audience: q.Audience, Policy: q.Policy, Usage: q.Usage, PathLen: q.PathLen, Asked: q.Asked, Own: q.Own, NoCheck: q.NoCheck, Plain: q.Plain,
		}
	}
	bad := func(field, why, fix string) *Fault { return &Fault{field, ruleClause, why, fix} }
	switch {
	case old.Internal || old.Usage != "sign":
		return bad("profile", "“"+old.Title+"”是系统自用的模板", "只有用户证书的模板可以变更")
	case fixed(p).text() != fixed(old).text():
		return bad("body", "名称、用途、双证书、对象和策略标识不随版本改变", "请另设模板")
	case p.Version != old.Version+1:
		return bad("version", fmt.Sprintf("第 %d 版之后应为第 %d 版，而非第 %d 版", old.Version, old.Version+1, p.Version), "请按现行版本重新提议")
	case p.Title == "" || len(p.Title) > 200:
		return bad("title", "缺少名称或过长", "请填写名称")
	case p.Days.Default < 1 || p.Days.Default > p.Days.Max || p.Days.Max > daysMax:
		return bad("days", fmt.Sprintf("应为 1 ≤ 缺省天数 ≤ 上限 ≤ %d", daysMax), "请修改有效期")
	case p.Publish != PublishFull && p.Publish != PublishDigest:
		return bad("publish", fmt.Sprintf("%q 不是发布策略", p.Publish), "请使用 full 或 digest")
	case p.PublishAt != "" && p.Publish != PublishFull:
		return bad("publish_at", "只发布摘要的证书不进入目录，没有发布时间", "请把发布时间改为立即，或把发布策略改为发布证书")
	}
	if _, err := parseSchedule(p.PublishAt); p.PublishAt != "" && err != nil {
		return bad("publish_at", fmt.Sprintf("%q 不是发布时间", p.PublishAt), "请使用 02:30 这样的每日时刻，或 every 6h 这样整除一天的间隔")
	}
	seen := map[string]bool{}
	for _, r := range p.Subject {
		if seen[r.Type] || r.Max < 1 || r.Max > 256 || r.Title == "" {
			return bad("subject."+r.Type, "重复、没有名称或长度不在 1 至 256 之间", "请修改主体规则")
		}
		seen[r.Type] = true
	}
	if !seen["CN"] || !seen["C"] {
		return bad("subject", "主体至少应有 C 和 CN", "请修改主体规则")
	}
	next := p
	if next.Version = old.Version; next.text() == old.text() {
		return bad("body", "与现行版本相同", "请修改后再提议")
	}
	return nil
}

func (p Profile) text() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic("profile: plain data: " + err.Error())
	}
	return string(text)
}

// Change is one thing two versions of a profile say differently.
type Change struct {
	Name string `json:"name"` // of the field
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Changes are what two versions say differently, by name of the field.
func (p Profile) Changes(old Profile) (list []Change) {
	fields := func(q Profile) (m map[string]json.RawMessage) {
		if err := json.Unmarshal([]byte(q.text()), &m); err != nil {
			panic("profile: plain data: " + err.Error())
		}
		delete(m, "version")
		return m
	}
	a, b := fields(old), fields(p)
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if string(a[name]) != string(b[name]) {
			list = append(list, Change{name, string(a[name]), string(b[name])})
		}
	}
	return list
}
