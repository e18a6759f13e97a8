package cacore

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// rules are the changes of profiles and of the CA's settings: proposed by an
// administrator, agreed by a super administrator, in force for what comes after.
type rules struct {
	is    *ca.Issuer
	rules *ca.Rules
	store ca.RuleStore
	base  profile.Set
}

const ruleClause = "GM/T 0034 §5.3.4"

// sca is how a proposal names the regime that a profile does not name.
const sca = "SCA-2024"

// nextProfile is what a proposal to change a profile says. What is signed has
// the whole next version in Body, its number, and none of the short cuts.
type nextProfile struct {
	Profile string `json:"profile"`
	Version int    `json:"version,omitempty"`
	Default int    `json:"days_default,omitempty"`
	Max     int    `json:"days_max,omitempty"`
	Publish string `json:"publish,omitempty"`
	At      string `json:"publish_at,omitempty"` // "now" is at once
	Regime  string `json:"regime,omitempty"`     // "SCA-2024" is Order No. 4, which a profile does not name
	Body    string `json:"body,omitempty"`       // JSON
	Reason  string `json:"reason"`
}

// nextSettings is what a proposal to change settings says. What is signed has
// every value and the version.
type nextSettings struct {
	Version  int    `json:"version,omitempty"`
	CRLDays  int    `json:"crl_days,omitempty"`
	CRLHours int    `json:"crl_hours,omitempty"`
	Shards   int    `json:"shards,omitempty"`
	Reason   string `json:"reason"`
}

func (u *rules) matters() []proposal.Matter {
	choose := proposal.Field{Name: "profile", Title: "证书模板", Kind: "choice", Need: true}
	for _, name := range slices.Sorted(maps.Keys(u.base)) {
		if p := u.base[name]; !p.Internal {
			choose.Choices = append(choose.Choices, proposal.Choice{Value: name, Title: p.Title + "（" + name + "）"})
		}
	}
	publish := proposal.Field{Name: "publish", Title: "发布策略", Kind: "choice", Choices: []proposal.Choice{{Title: "不变"}, {Value: profile.PublishFull, Title: "发布证书"}, {Value: profile.PublishDigest, Title: "只发布摘要"}}}
	reason := proposal.Field{Name: "reason", Title: "原因", Kind: "long", Need: true}
	return []proposal.Matter{
		{
			Name: "profile.change", Title: "变更证书模板", Clause: ruleClause, Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{
				choose, {Name: "days_default", Title: "缺省有效期（天）", Kind: "number", Hint: "不填则不变"}, {Name: "days_max", Title: "有效期上限（天）", Kind: "number", Hint: "不填则不变"}, publish,
				{Name: "publish_at", Title: "进入目录的时间", Kind: "text", Hint: "02:30 为每日该时刻（北京时间），every 6h 为每 6 小时，now 为立即；不填则不变。状态查询与撤销列表总是即时的"},
				{Name: "regime", Title: "适用制度", Kind: "choice", Choices: []proposal.Choice{{Title: "不变"}, {Value: sca, Title: "电子政务电子认证服务管理办法"}, {Value: profile.RegimeMIIT, Title: "电子认证服务管理办法（征求意见稿，尚未生效）"}}, Hint: "后者的受理、查验、签发和交付不得委托"},
				{Name: "body", Title: "其余内容（模板全文，JSON）", Kind: "long", Hint: "不填则不变；现行全文见“模板与设置”"}, reason,
			},
			Read: u.readProfile, Do: u.changeProfile,
		},
		{
			Name: "setting.change", Title: "变更 CA 设置", Clause: ruleClause, Propose: access.CAAdmin, Confirm: access.CASuper,
			Fields: []proposal.Field{
				{Name: "crl_days", Title: "撤销列表有效期（天）", Kind: "number"}, {Name: "crl_hours", Title: "撤销列表无变化时的签发间隔（小时）", Kind: "number"},
				{Name: "shards", Title: "新证书的撤销列表分片数", Kind: "number", Hint: "只能增加；已签发的证书仍用原来的分片"}, reason,
			},
			Current: u.current, Read: u.readSettings, Do: u.changeSettings,
		},
	}
}

func reasoned(text string) error {
	if reasonOf(text) != nil {
		return ca.BadRule.At("reason", ruleClause).Because("应为 1 至 200 字，首尾无空白")
	}
	return nil
}

// next reads the version a proposal asks for, and the one it follows.
func (u *rules) next(n nextProfile) (next, old profile.Profile, err error) {
	e := u.rules.Edition().Set()
	old, ok := e[n.Profile]
	if !ok {
		return next, old, ca.BadRule.At("profile", ruleClause).Because("没有模板 %.40q", n.Profile)
	}
	next = old
	if n.Body != "" {
		if next, err = profile.Parse([]byte(n.Body)); err != nil {
			return next, old, ca.BadRule.At("body", "GM/T 0015 §5").Because("%v", err)
		}
	}
	if n.Default != 0 {
		next.Days.Default = n.Default
	}
	if n.Max != 0 {
		next.Days.Max = n.Max
	}
	if n.Publish != "" {
		next.Publish = n.Publish
	}
	switch n.At {
	case "":
	case "now":
		next.PublishAt = ""
	default:
		next.PublishAt = n.At
	}
	switch n.Regime {
	case "":
	case sca:
		next.Regime = ""
	case profile.RegimeMIIT:
		next.Regime = n.Regime
	default:
		return next, old, ca.BadRule.At("regime", "电子认证服务管理办法（征求意见稿）第二十二条").Because("%.40q 不是适用的制度", n.Regime).ToFix("可用：SCA-2024、MIIT-draft")
	}
	if n.Version != 0 && n.Version != old.Version+1 {
		return next, old, ca.RuleStale.At("version", ruleClause).Because("模板 %s 现为第 %d 版", n.Profile, old.Version)
	}
	next.Version = old.Version + 1 // people edit what is in force
	return next, old, nil
}

func (u *rules) readProfile(_ context.Context, content []byte) (proposal.Shown, error) {
	var n nextProfile
	if err := strict.JSON(content, &n); err != nil {
		return proposal.Shown{}, ca.BadRule.At("content", ruleClause).Because("字段为 profile、days_default、days_max、publish、publish_at、regime、body、reason，天数为数字")
	}
	if err := reasoned(n.Reason); err != nil {
		return proposal.Shown{}, err
	}
	next, old, err := u.next(n)
	if err != nil {
		return proposal.Shown{}, err
	}
	if f := next.Follows(old); f != nil {
		return proposal.Shown{}, ca.BadRule.At(f.Field, f.Clause).Because("%s", f.Why).ToFix(f.Fix)
	}
	now := u.is.Current()
	var lint *certlint.Failed
	if err := certlint.Sample(next, now.Cert, ca.Place(now.Public, 0), now.Now()); errors.As(err, &lint) {
		return proposal.Shown{}, ca.BadRule.At("lint."+lint.Rule.ID, lint.Rule.Clause).Because("按此模板签发的证书通不过检查：%s", lint.Rule.Text)
	} else if err != nil {
		return proposal.Shown{}, ca.BadRule.At("body", "GM/T 0015 §5").Because("按此模板无法起草证书：%v", err)
	}
	body, err := json.Marshal(next)
	if err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(nextProfile{Profile: n.Profile, Version: next.Version, Body: string(body), Reason: n.Reason})
	shown := proposal.Shown{Content: canonical, Title: fmt.Sprintf("%s 第 %d 版", next.Title, next.Version), Lines: []proposal.Line{
		{Name: "模板", Value: next.Name}, {Name: "版本", Value: fmt.Sprintf("第 %d 版，替代第 %d 版；已签发的证书不受影响", next.Version, old.Version)},
	}}
	for _, c := range next.Changes(old) {
		shown.Lines = append(shown.Lines, proposal.Line{Name: "变更 " + c.Name, Value: cmpNone(c.Old) + " → " + cmpNone(c.New)})
	}
	shown.Lines = append(shown.Lines, proposal.Line{Name: "原因", Value: n.Reason})
	return shown, err
}

func cmpNone(text string) string {
	if text == "" {
		return "（无）"
	}
	return text
}

func (u *rules) changeProfile(ctx context.Context, r proposal.Record) ([]byte, error) {
	var n nextProfile
	if err := json.Unmarshal(r.Content, &n); err != nil {
		return nil, err
	}
	p, err := profile.Parse([]byte(n.Body))
	if err != nil {
		return nil, err
	}
	return nil, u.add(ctx, r.ID, ca.ProfileRule+p.Name, p.Version, []byte(n.Body))
}

// add puts a rule on record and in force, once.
func (u *rules) add(ctx context.Context, order, kind string, version int, body []byte) error {
	now := u.is.Now().UTC()
	line := audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.rule", Object: order, Result: audit.Done, Detail: fmt.Sprintf("%s 第 %d 版", kind, version)}
	if err := u.store.AddRule(ctx, ca.Rule{Kind: kind, Version: version, Body: body, Order: order, At: now}, line); err != nil {
		return err
	}
	return u.rules.Load(ctx)
}

func (u *rules) current(context.Context) (map[string]string, error) {
	s, _ := u.rules.Settings()
	return map[string]string{"crl_days": strconv.Itoa(s.CRLDays), "crl_hours": strconv.Itoa(s.CRLHours), "shards": strconv.Itoa(s.Shards)}, nil
}

func (u *rules) readSettings(_ context.Context, content []byte) (proposal.Shown, error) {
	var n nextSettings
	if err := strict.JSON(content, &n); err != nil {
		return proposal.Shown{}, ca.BadRule.At("content", ruleClause).Because("字段为 crl_days、crl_hours、shards、reason，前三项为数字，不填则不变")
	}
	if err := reasoned(n.Reason); err != nil {
		return proposal.Shown{}, err
	}
	old, version := u.rules.Settings()
	if n.Version != 0 && n.Version != version+1 {
		return proposal.Shown{}, ca.RuleStale.At("version", ruleClause).Because("设置现为第 %d 版", version)
	}
	n.Version = version + 1
	for _, v := range []struct {
		to  *int
		old int
	}{{&n.CRLDays, old.CRLDays}, {&n.CRLHours, old.CRLHours}, {&n.Shards, old.Shards}} {
		if *v.to == 0 {
			*v.to = v.old
		}
	}
	next := ca.Settings{CRLDays: n.CRLDays, CRLHours: n.CRLHours, Shards: n.Shards}
	if err := next.Follows(old); err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(n)
	change := func(a, b int) string {
		if a == b {
			return fmt.Sprintf("%d（不变）", a)
		}
		return fmt.Sprintf("%d → %d", a, b)
	}
	return proposal.Shown{Content: canonical, Title: fmt.Sprintf("CA 设置第 %d 版", n.Version), Lines: []proposal.Line{
		{Name: "撤销列表有效期（天）", Value: change(old.CRLDays, next.CRLDays)}, {Name: "签发间隔（小时）", Value: change(old.CRLHours, next.CRLHours)},
		{Name: "新证书的分片数", Value: change(old.Shards, next.Shards)}, {Name: "原因", Value: n.Reason},
	}}, err
}

func (u *rules) changeSettings(ctx context.Context, r proposal.Record) ([]byte, error) {
	var n nextSettings
	if err := json.Unmarshal(r.Content, &n); err != nil {
		return nil, err
	}
	body, err := json.Marshal(ca.Settings{CRLDays: n.CRLDays, CRLHours: n.CRLHours, Shards: n.Shards})
	if err != nil {
		return nil, err
	}
	return nil, u.add(ctx, r.ID, ca.SettingsRule, n.Version, body)
}

// RuleView is one version on record, and what it changed.
type RuleView struct {
	Kind    string           `json:"kind"`
	Version int              `json:"version"`
	Order   string           `json:"order"`
	At      time.Time        `json:"at"`
	Changes []profile.Change `json:"changes"`
}

// RulesView is what is in force and how it came to be, newest first.
type RulesView struct {
	Edition         int               `json:"edition"`
	Profiles        []profile.Profile `json:"profiles"`
	Settings        ca.Settings       `json:"settings"`
	SettingsVersion int               `json:"settings_version"`
	History         []RuleView        `json:"history"`
}

func (u *rules) view() RulesView {
	e := u.rules.Edition()
	v := RulesView{Edition: e.Number, Profiles: e.Profiles, History: []RuleView{}}
	v.Settings, v.SettingsVersion = u.rules.Settings()
	was := map[string]map[string]json.RawMessage{}
	for _, r := range u.rules.History() {
		one := RuleView{Kind: r.Kind, Version: r.Version, Order: r.Order, At: r.At}
		if name, ok := strings.CutPrefix(r.Kind, ca.ProfileRule); ok {
			next, _ := u.rules.Profile(name, r.Version)
			old, _ := u.rules.Profile(name, r.Version-1)
			one.Changes = next.Changes(old)
		} else {
			now := map[string]json.RawMessage{}
			_ = json.Unmarshal(r.Body, &now) // it was read when it was loaded
			for _, k := range slices.Sorted(maps.Keys(now)) {
				if before := was[r.Kind][k]; string(before) != string(now[k]) {
					one.Changes = append(one.Changes, profile.Change{Name: k, Old: string(before), New: string(now[k])})
				}
			}
			was[r.Kind] = now
		}
		v.History = append(v.History, one)
	}
	slices.Reverse(v.History)
	return v
}

// mount offers what is in force to everybody on the register.
func (u *rules) mount(site *api.Site) {
	api.Handle(site, api.Op{ID: "rules", Method: http.MethodGet, Path: "/api/v1/rules", Summary: "证书模板与 CA 设置：现行版本与历次变更"},
		func(context.Context, *struct{}) (*api.Body[RulesView], error) {
			return &api.Body[RulesView]{Body: u.view()}, nil
		})
	type asked struct {
		Name    string `path:"name"`
		Version int    `path:"version"`
	}
	api.Handle(site, api.Op{ID: "profile-version", Method: http.MethodGet, Path: "/api/v1/rules/profiles/{name}/{version}", Summary: "证书模板的一个版本"},
		func(_ context.Context, in *asked) (*api.Body[profile.Profile], error) {
			p, ok := u.rules.Profile(in.Name, in.Version)
			if !ok {
				return nil, ca.NoProfile.At("profile", ca.NoProfile.Clause).Because("%.40q 第 %d 版", in.Name, in.Version)
			}
			return &api.Body[profile.Profile]{Body: p}, nil
		})
}

// edition tells registration systems the profiles in force.
func edition(r *ca.Rules, server crypto.Signer) func(ctx context.Context, digest []byte) (enroll.Profiles, error) {
	return func(_ context.Context, digest []byte) (enroll.Profiles, error) {
		p, err := enroll.SignProfiles(r.Edition(), server)
		if err == nil && bytes.Equal(alg.Digest(p.Body), digest) {
			return enroll.Profiles{Same: true}, nil
		}
		return p, err
	}
}
