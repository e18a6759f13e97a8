package body

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/format/profile"
)

// LevelsMax is the most reviews an application may need.
const LevelsMax = 3

// bodiesMax bounds the register: it is read whole.
const bodiesMax = 2000

// Change is what a proposal about the register says.
type Change struct {
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Parent    string          `json:"parent,omitempty"`
	Unit      string          `json:"unit,omitempty"`
	Principal string          `json:"principal,omitempty"`
	Head      string          `json:"head,omitempty"`
	Address   string          `json:"address,omitempty"`
	Agreement string          `json:"agreement,omitempty"`
	From      string          `json:"from,omitempty"`
	To        string          `json:"to,omitempty"`
	Profiles  []string        `json:"profiles,omitempty"`
	Policies  []string        `json:"policies,omitempty"`
	Person    access.PersonID `json:"person,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Profile   string          `json:"profile,omitempty"`
	Levels    int             `json:"levels,omitempty"`
	Way       string          `json:"way,omitempty"`
}

// Keeper changes the register of one system.
type Keeper struct {
	Register  *Register
	People    *access.People
	Profiles  func() profile.Set // in force now
	Principal string             // the institution, as its CA's certificate names it
	Now       func() time.Time
	// Unit and Kept check, where they are known, that a unit is registered and that
	// a file is kept; may be nil.
	Unit func(ctx context.Context, code string) error
	Kept func(ctx context.Context, digest []byte) error
	// Tell has the CA carry the same change out; nil at the CA.
	Tell func(ctx context.Context, r proposal.Record) error
}

const clause = "电子政务电子认证服务管理办法 第二十五条"

var idField = proposal.Field{Name: "id", Title: "注册机构编号", Kind: "text", Need: true, Hint: "小写字母、数字和连字符，2 至 32 个字符"}

var reasonField = proposal.Field{Name: "reason", Title: "原因", Kind: "long", Need: true}

var placeFields = []proposal.Field{{Name: "name", Title: "名称", Kind: "text"}, {Name: "head", Title: "负责人", Kind: "text"}, {Name: "address", Title: "办理地址", Kind: "text"}}

var scopeFields = []proposal.Field{
	{Name: "profiles", Title: "受理的证书模板（每行一个）", Kind: "lines", Hint: "如 person-dual"}, {Name: "policies", Title: "受理的证书策略（每行一个，不填取自模板）", Kind: "lines"}}

var termFields = []proposal.Field{
	{Name: "agreement", Title: "委托协议的 SM3（先收存）", Kind: "text"}, {Name: "from", Title: "协议有效期起", Kind: "date"}, {Name: "to", Title: "协议有效期止", Kind: "date"}}

// change is one sort of change to the register.
type change struct {
	name, title string
	alone       bool // one signature is enough: who may be misused is stopped first
	fields      []proposal.Field
	check       func(k *Keeper, ctx context.Context, t *Tree, c *Change) error
	apply       func(t *Tree, c Change) (Body, bool) // the body as it is afterwards
}

var changes = []change{
	{"body.open", "设立受托注册机构", false, slices.Concat([]proposal.Field{idField, {Name: "unit", Title: "受托单位的统一社会信用代码", Kind: "text", Need: true}}, placeFields, termFields, scopeFields), (*Keeper).checkOpen, opened(Delegated)},
	{"body.outlet", "开设受理网点", false, slices.Concat([]proposal.Field{idField, {Name: "parent", Title: "所属受托注册机构（本机构自设的不填）", Kind: "text"}}, placeFields, scopeFields), (*Keeper).checkOutlet, opened(Outlet)},
	{"body.amend", "变更注册机构", false, slices.Concat([]proposal.Field{idField}, placeFields, termFields, scopeFields), (*Keeper).checkAmend, amended},
	{"body.suspend", "停止注册机构受理", true, []proposal.Field{idField, reasonField}, (*Keeper).checkHalt, halted(true)},
	{"body.resume", "恢复注册机构受理", false, []proposal.Field{idField, reasonField}, (*Keeper).checkHalt, halted(false)},
	{"body.assign", "人员归属注册机构", false, []proposal.Field{{Name: "person", Title: "人员编号", Kind: "text", Need: true}, {Name: "id", Title: "注册机构编号（调回本机构的不填）", Kind: "text"}}, (*Keeper).checkAssign, nil},
	{"review.set", "设定审核级数", false, []proposal.Field{{Name: "profile", Title: "证书模板", Kind: "text", Need: true}, {Name: "levels", Title: "审核级数（1 至 3）", Kind: "number", Need: true}}, (*Keeper).checkLevels, nil},
	{"issue.way", "设定签发方式", false, []proposal.Field{{Name: "profile", Title: "证书模板", Kind: "text", Need: true}, {Name: "way", Title: "签发方式", Kind: "choice", Need: true, Choices: []proposal.Choice{{Value: Online, Title: "在线"}, {Value: Offline, Title: "离线（文件交换）"}}}}, (*Keeper).checkWay, nil},
}

// Matters are the changes a registration system's administrator proposes and its
// super administrator agrees to.
func (k *Keeper) Matters() (list []proposal.Matter) {
	for _, ch := range changes {
		list = append(list, k.matter(ch, access.RAAdmin, access.RASuper))
	}
	return list
}

// Bars are the CA's own: it stops a body, or the whole registration system, on
// one administrator's signature.
func (k *Keeper) Bars() (list []proposal.Matter) {
	id := idField
	id.Hint = "整个注册系统写 " + Top
	for _, ch := range []change{
		{"registrar.suspend", "停止受理注册机构的请求", true, []proposal.Field{id, reasonField}, checkBar(true), barred(true)},
		{"registrar.resume", "恢复受理注册机构的请求", false, []proposal.Field{id, reasonField}, checkBar(false), barred(false)},
	} {
		list = append(list, k.matter(ch, access.CAAdmin, access.CASuper))
	}
	return list
}

func (k *Keeper) matter(ch change, propose, confirm access.Role) proposal.Matter {
	m := proposal.Matter{Name: ch.name, Title: ch.title, Clause: clause, Propose: propose, Confirm: confirm, Fields: ch.fields}
	if ch.alone {
		m.Confirm = ""
	}
	m.Read = func(ctx context.Context, content []byte) (proposal.Shown, error) { return k.read(ctx, ch, content) }
	m.Do = func(ctx context.Context, r proposal.Record) ([]byte, error) { return nil, k.do(ctx, ch, r) }
	return m
}

// Decode reads a change strictly.
func Decode(content []byte) (c Change, err error) {
	if err := strict.JSON(content, &c); err != nil {
		return c, BadBody.At("content", BadBody.Clause).Because("内容应为一个 JSON 对象；%v", err)
	}
	return c, nil
}

func (k *Keeper) read(ctx context.Context, ch change, content []byte) (proposal.Shown, error) {
	c, err := Decode(content)
	if err != nil {
		return proposal.Shown{}, err
	}
	t, err := k.Register.Tree(ctx)
	if err != nil {
		return proposal.Shown{}, err
	}
	err = ch.check(k, ctx, t, &c)
	shown := proposal.Shown{Title: cmp.Or(c.Name, c.ID, string(c.Person), c.Profile), Lines: c.lines()}
	if err != nil {
		return shown, err
	}
	shown.Content, err = json.Marshal(c)
	return shown, err
}

func (c Change) lines() (list []proposal.Line) {
	levels := ""
	if c.Levels > 0 {
		levels = fmt.Sprint(c.Levels)
	}
	for _, l := range []proposal.Line{{Name: "注册机构", Value: c.ID}, {Name: "名称", Value: c.Name}, {Name: "所属", Value: c.Parent}, {Name: "受托单位", Value: c.Unit}, {Name: "委托机构", Value: c.Principal},
		{Name: "负责人", Value: c.Head}, {Name: "办理地址", Value: c.Address}, {Name: "委托协议 SM3", Value: c.Agreement}, {Name: "协议有效期", Value: strings.Trim(c.From+" 至 "+c.To, " 至")},
		{Name: "证书模板", Value: strings.Join(c.Profiles, "、")}, {Name: "证书策略", Value: strings.Join(c.Policies, "、")}, {Name: "人员", Value: string(c.Person)}, {Name: "原因", Value: c.Reason},
		{Name: "模板", Value: c.Profile}, {Name: "审核级数", Value: levels}, {Name: "签发方式", Value: map[string]string{Online: "在线", Offline: "离线（文件交换）"}[c.Way]}} {
		if l.Value != "" {
			list = append(list, l)
		}
	}
	return list
}

// do carries a change out, once for a record. A suspension holds here before the
// CA has heard of it; anything else holds here once it holds there.
func (k *Keeper) do(ctx context.Context, ch change, r proposal.Record) error {
	if k.Tell != nil && !ch.alone {
		if err := k.Tell(ctx, r); err != nil {
			return err
		}
	}
	if err := k.enter(ctx, ch, r); err != nil {
		return err
	}
	if k.Tell != nil && ch.alone {
		return k.Tell(ctx, r)
	}
	return nil
}

var idForm = regexp.MustCompile(`^[a-z][a-z0-9-]{1,31}$`)

func plain(field, text string, least, most int) error {
	n := utf8.RuneCountInString(text)
	if n < least || n > most || strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return BadBody.At(field, clause).Because("应为 %d 至 %d 字，首尾无空白，没有控制字符", least, most)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) checkNew(t *Tree, c *Change) error {
	if _, used := t.bodies[c.ID]; used || !idForm.MatchString(c.ID) || c.ID == Top {
		return BadBody.At("id", clause).Because("编号 %.40q 已用过，或不是 2 至 32 个小写字母、数字和连字符", c.ID)
	}
	if len(t.bodies) >= bodiesMax {
		return BadBody.At("id", clause).Because("注册机构超过 %d 个", bodiesMax)
	}
	c.Principal = cmp.Or(c.Principal, k.Principal)
	if c.Principal != k.Principal {
		return BadBody.At("principal", "电子政务电子认证服务管理办法 第二十五条第三款").Because("注册业务须以委托机构“%s”的名义办理", k.Principal).ToFix("请不填委托机构")
	}
	return first(plain("name", c.Name, 1, 64), plain("head", c.Head, 1, 64), plain("address", c.Address, 1, 128))
}

func (k *Keeper) checkOpen(ctx context.Context, t *Tree, c *Change) error {
	if c.Parent != "" { // whoever was entrusted entrusts nobody (Order No. 4 art. 25(3))
		return Further.At("parent", Further.Clause).Because("%.40q 不能下设受托机构", c.Parent)
	}
	if err := k.checkNew(t, c); err != nil {
		return err
	}
	if err := identity.Check("credit-code", c.Unit, k.Now()); err != nil {
		return BadBody.At("unit", "GB 32100").Because("统一社会信用代码%v", err)
	}
	for _, b := range t.bodies {
		if b.Unit == c.Unit && b.Kind == Delegated {
			return BadBody.At("unit", clause).Because("该单位已是受托注册机构 %s", b.ID)
		}
	}
	if k.Unit != nil {
		if err := k.Unit(ctx, c.Unit); err != nil {
			return err
		}
	}
	if len(c.Profiles) == 0 {
		return BadBody.At("profiles", clause).Because("应写明受理的证书模板")
	}
	return first(k.checkTerm(ctx, c.Agreement, c.From, c.To), k.checkScope(c, true, nil))
}

func (k *Keeper) checkTerm(ctx context.Context, agreement, from, to string) error {
	digest, err := hex.DecodeString(agreement)
	if err != nil || len(digest) != 32 {
		return BadBody.At("agreement", clause).Because("应为委托协议文件的 SM3 摘要（64 位十六进制）").ToFix("请由录入员先收存委托协议（ra evidence）")
	}
	if k.Kept != nil {
		if err := k.Kept(ctx, digest); err != nil {
			return err
		}
	}
	_, err1 := time.Parse(time.DateOnly, from)
	_, err2 := time.Parse(time.DateOnly, to)
	if err1 != nil || err2 != nil || to < from {
		return BadBody.At("to", clause).Because("协议起止日期应如 2026-01-01，止不早于起")
	}
	return nil
}

// checkScope takes profiles and policies that can be delegated: those people
// apply for, and of an outlet none that its parent has not.
func (k *Keeper) checkScope(c *Change, delegated bool, within []string) error {
	if len(c.Policies) == 0 {
		for _, name := range c.Profiles {
			if p := k.Profiles()[name].Policy; !slices.Contains(c.Policies, p) && p != "" {
				c.Policies = append(c.Policies, p)
			}
		}
	}
	for _, name := range c.Profiles {
		p, ok := k.Profiles()[name]
		if !ok || p.Internal || within != nil && !slices.Contains(within, name) {
			return BadBody.At("profiles", clause).Because("%.40q 不是可以委托的证书模板", name)
		}
		if delegated && !p.Delegable() {
			return NotLent.At("profiles", NotLent.Clause).Because("“%s”（%s）适用工业和信息化部的制度", p.Title, name)
		}
	}
	for _, policy := range c.Policies {
		if !slices.ContainsFunc(c.Profiles, func(name string) bool { return k.Profiles()[name].Policy == policy }) {
			return BadBody.At("policies", clause).Because("%.40q 不是所列模板的证书策略", policy)
		}
	}
	return nil
}

func (k *Keeper) checkOutlet(_ context.Context, t *Tree, c *Change) error {
	if c.Unit != "" || c.Agreement != "" || c.From != "" || c.To != "" {
		return BadBody.At("unit", clause).Because("受理网点沿用所属机构的单位和协议")
	}
	var within []string
	if c.Parent != "" {
		up, err := t.Body(c.Parent)
		if err != nil {
			return BadBody.At("parent", clause).Because("没有注册机构 %.40q", c.Parent)
		}
		if up.Kind != Delegated {
			return Further.At("parent", Further.Clause).Because("%s 是受理网点，不能再设网点", up.ID)
		}
		within = up.Profiles
	}
	return first(k.checkNew(t, c), k.checkScope(c, c.Parent != "", within))
}

func (k *Keeper) checkAmend(ctx context.Context, t *Tree, c *Change) error {
	b, ok := t.bodies[c.ID]
	if !ok || c.ID == Top {
		return NoBody.At("id", NoBody.Clause).Because("%.40q", c.ID)
	}
	if c.Parent != "" || c.Unit != "" || c.Principal != "" {
		return BadBody.At("parent", clause).Because("所属、受托单位和委托机构不能变更").ToFix("请另设注册机构")
	}
	if b.Kind == Outlet && (c.Agreement != "" || c.From != "" || c.To != "") {
		return BadBody.At("agreement", clause).Because("受理网点沿用所属机构的协议")
	}
	n := patched(b, *c)
	if err := first(plain("name", n.Name, 1, 64), plain("head", n.Head, 1, 64), plain("address", n.Address, 1, 128)); err != nil {
		return err
	}
	if b.Kind == Delegated {
		if err := k.checkTerm(ctx, n.Agreement, n.From, n.To); err != nil {
			return err
		}
	}
	if len(c.Profiles) == 0 {
		return nil
	}
	return k.checkScope(c, b.Kind == Delegated || b.Parent != "", t.bodies[b.Parent].Profiles)
}

func (k *Keeper) checkHalt(_ context.Context, t *Tree, c *Change) error {
	if _, err := t.Body(c.ID); err != nil {
		return NoBody.At("id", NoBody.Clause).Because("%.40q", c.ID)
	}
	return plain("reason", c.Reason, 2, 200)
}

func checkBar(bar bool) func(k *Keeper, ctx context.Context, t *Tree, c *Change) error {
	return func(_ *Keeper, _ context.Context, t *Tree, c *Change) error {
		b, known := t.bodies[c.ID]
		if !known && c.ID != Top || (b.Barred != "") == bar {
			return NoBody.At("id", NoBody.Clause).Because("没有注册机构 %.40q，或它的状态不需要此变更", c.ID)
		}
		return plain("reason", c.Reason, 2, 200)
	}
}

// counters are the posts people of a body may hold: those at the counter.
var counters = []access.Role{access.RAClerk, access.RAReviewer, access.RAProducer}

func (k *Keeper) checkAssign(ctx context.Context, t *Tree, c *Change) error {
	p, err := k.People.Current(ctx, c.Person)
	if err != nil {
		return BadBody.At("person", clause).Because("%.40q 不是在册人员", c.Person)
	}
	for _, role := range p.Roles {
		if !slices.Contains(counters, role) {
			return BadBody.At("person", clause).Because("%s 是%s；注册机构的人员只能是录入员、审核员或制证员", c.Person, role.Title()).ToFix("管理员和审计员属于本机构")
		}
	}
	if c.ID != "" {
		if _, err := t.Body(c.ID); err != nil {
			return NoBody.At("id", NoBody.Clause).Because("%.40q", c.ID)
		}
	}
	if t.Of(c.Person) == c.ID {
		return BadBody.At("id", clause).Because("%s 已在该机构", c.Person)
	}
	return nil
}

func (k *Keeper) checkLevels(_ context.Context, t *Tree, c *Change) error {
	switch p, ok := k.Profiles()[c.Profile]; {
	case !ok || p.Internal:
		return BadBody.At("profile", "GM/T 0034 §10.1").Because("%.40q 不是申请用的证书模板", c.Profile)
	case c.Levels < 1 || c.Levels > LevelsMax:
		return BadBody.At("levels", "GM/T 0034 §10.1").Because("审核级数为 1 至 %d", LevelsMax)
	case t.Levels(c.Profile) == c.Levels:
		return BadBody.At("levels", "GM/T 0034 §10.1").Because("现在就是 %d 级", c.Levels)
	}
	return nil
}

func (k *Keeper) checkWay(_ context.Context, t *Tree, c *Change) error {
	const clause = "GM/T 0034 §5.3.4"
	switch p, ok := k.Profiles()[c.Profile]; {
	case !ok || p.Internal:
		return BadBody.At("profile", clause).Because("%.40q 不是申请用的证书模板", c.Profile)
	case c.Way != Online && c.Way != Offline:
		return BadBody.At("way", clause).Because("%.40q", c.Way).ToFix("可用：online、offline")
	case t.Offline(c.Profile) == (c.Way == Offline):
		return BadBody.At("way", clause).Because("现在就是这样签发")
	}
	return nil
}

func opened(kind string) func(t *Tree, c Change) (Body, bool) {
	return func(t *Tree, c Change) (Body, bool) {
		_, used := t.bodies[c.ID]
		return Body{ID: c.ID, Kind: kind, Name: c.Name, Parent: c.Parent, Unit: c.Unit, Principal: c.Principal, Head: c.Head, Address: c.Address,
			Agreement: c.Agreement, From: c.From, To: c.To, Profiles: c.Profiles, Policies: c.Policies}, !used
	}
}

func patched(b Body, c Change) Body {
	b.Name, b.Head, b.Address = cmp.Or(c.Name, b.Name), cmp.Or(c.Head, b.Head), cmp.Or(c.Address, b.Address)
	b.Agreement, b.From, b.To = cmp.Or(c.Agreement, b.Agreement), cmp.Or(c.From, b.From), cmp.Or(c.To, b.To)
	if len(c.Profiles) > 0 {
		b.Profiles, b.Policies = c.Profiles, c.Policies
	}
	return b
}

func amended(t *Tree, c Change) (Body, bool) {
	b, ok := t.bodies[c.ID]
	return patched(b, c), ok
}

func halted(suspend bool) func(t *Tree, c Change) (Body, bool) {
	return func(t *Tree, c Change) (Body, bool) {
		b, ok := t.bodies[c.ID]
		b.Suspended, b.Why = suspend, c.Reason
		return b, ok
	}
}

func barred(bar bool) func(t *Tree, c Change) (Body, bool) {
	return func(t *Tree, c Change) (Body, bool) {
		b := t.bodies[c.ID]
		if b.ID, b.Barred = c.ID, ""; bar {
			b.Barred = c.Reason
		}
		return b, true
	}
}

// write stores what a change made of the register.
func (ch change) write(tx *sqldb.Tx, t *Tree, c Change) error {
	switch {
	case ch.name == "body.assign":
		_, err := tx.Exec(`INSERT INTO body_member (person, body) VALUES ($1, $2) ON CONFLICT (person) DO UPDATE SET body = excluded.body`, string(c.Person), c.ID)
		return err
	case ch.name == "review.set":
		_, err := tx.Exec(`INSERT INTO review_level (profile, levels) VALUES ($1, $2) ON CONFLICT (profile) DO UPDATE SET levels = excluded.levels`, c.Profile, fmt.Append(nil, c.Levels))
		return err
	}
	if ch.name == "issue.way" {
		_, err := tx.Exec(`INSERT INTO issue_offline (profile, way) VALUES ($1, $2) ON CONFLICT (profile) DO UPDATE SET way = excluded.way`, c.Profile, []byte(c.Way))
		return err
	}
	b, ok := ch.apply(t, c)
	if !ok {
		return BadBody.At("id", clause).Because("%s 的登记已有变化", c.ID)
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO body (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body`, b.ID, data)
	return err
}
