// Package staff changes who works here: who may make whom, and the life of a
// person's certificate from application to revocation. (人员管理)
//
// The chain of creation is a table (GM/T 0034 §8.1.3, §9.2.3, §10.1): super and
// audit administrators are peers made by a ceremony, or by as many custodians as
// hold one, and nobody appoints alone.
package staff

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/csr"
)

// Grant says who makes people of a role: one proposes, another agrees.
type Grant struct {
	Role    access.Role
	Propose access.Role
	Confirm access.Role
	Prefix  string // of the ids of such people
	// Top is set for super and audit administrators, whom nobody in office makes:
	// three custodians do, as at the ceremony, one proposing, one agreeing, one
	// releasing. Their peer freezes them alone.
	Top *Top
}

// Top is how the people at the top are looked after.
type Top struct {
	Freeze access.Role // the peer
	Quorum int         // custodians beside the two who propose and agree
}

// CA is the chain of the certification system. Registration administrators and
// auditors are made by the CA's operators (GM/T 0034 §8.1.3).
var CA = []Grant{
	{access.CASuper, access.CACustodian, access.CACustodian, "ca-", &Top{access.CAAuditAdmin, 1}},
	{access.CAAuditAdmin, access.CACustodian, access.CACustodian, "ca-", &Top{access.CASuper, 1}},
	{access.RASuper, access.CACustodian, access.CACustodian, "ra-", &Top{access.CAAuditAdmin, 1}},
	{access.RAAuditAdmin, access.CACustodian, access.CACustodian, "ra-", &Top{access.CASuper, 1}},
	{access.CACustodian, access.CAAdmin, access.CASuper, "ca-", nil},
	{access.CAAdmin, access.CASuper, access.CAAuditAdmin, "ca-", nil},
	{access.CAAuditor, access.CAAuditAdmin, access.CASuper, "ca-", nil},
	{access.CAOperator, access.CAAdmin, access.CASuper, "ca-", nil},
	{access.RAAdmin, access.CAOperator, access.CAOperator, "ra-", nil},
	{access.RAAuditor, access.CAOperator, access.CAOperator, "ra-", nil},
}

// RA is the chain of a registration system: its operators are made by its
// business administrator.
var RA = []Grant{
	{access.RAClerk, access.RAAdmin, access.RASuper, "ra-", nil},
	{access.RAReviewer, access.RAAdmin, access.RASuper, "ra-", nil},
	{access.RAProducer, access.RAAdmin, access.RASuper, "ra-", nil},
}

// KM is the chain of the key management system.
var KM = []Grant{
	{access.KMSuper, access.KMForensic, access.KMForensic, "km-", &Top{access.KMAuditAdmin, 1}},
	{access.KMAuditAdmin, access.KMForensic, access.KMForensic, "km-", &Top{access.KMSuper, 1}},
	{access.KMAdmin, access.KMSuper, access.KMAuditAdmin, "km-", nil},
	{access.KMAuditor, access.KMAuditAdmin, access.KMSuper, "km-", nil},
	{access.KMOperator, access.KMAdmin, access.KMSuper, "km-", nil},
	{access.KMForensic, access.KMAdmin, access.KMSuper, "km-", nil},
}

// Change is what a proposal about a person says.
type Change struct {
	ID     access.PersonID `json:"id"`
	Name   string          `json:"name,omitempty"`
	CSR    string          `json:"csr,omitempty"` // PEM; the person made the key
	Reason string          `json:"reason,omitempty"`
}

// Verbs of a person's life, and what people call them.
const (
	Add      = "add"
	Renew    = "renew"
	Freeze   = "freeze"
	Unfreeze = "unfreeze"
	Revoke   = "revoke"
)

var verbs = []struct{ verb, title string }{{Add, "新增"}, {Renew, "更新证书："}, {Freeze, "冻结"}, {Unfreeze, "解冻"}, {Revoke, "撤销"}}

// Keeper carries changes out in one system's register.
type Keeper struct {
	DB     *sqldb.DB
	People *access.People
	// Issue certifies a person's key, once for a request ID.
	Issue func(ctx context.Context, request string, role access.Role, name string, point []byte) (der []byte, err error)
	// Status publishes what a verb means for a person's certificate, once for a
	// request ID. May be nil where certificates have no status of their own.
	Status func(ctx context.Context, request, verb string, der []byte) error
	Now    func() time.Time
	// Strength counts the custodians among people, in an order that stays; nil where
	// nothing hangs on their number.
	Strength func(people []access.Person) ([]Strength, error)
	// Ask has another system carry a decided change out, where this one only keeps
	// a copy of the register; nil where it is carried out here.
	Ask func(ctx context.Context, r proposal.Record) (der []byte, err error)
}

const clause = "GM/T 0034 §8.1.3、§10.1"

// Matters are the changes to people that a chain allows. Freezing needs one
// signature: whoever may be misusing a right is stopped first and asked later.
func (k *Keeper) Matters(chain []Grant) (list []proposal.Matter) {
	for _, g := range chain {
		for _, v := range verbs {
			m := proposal.Matter{
				Name: "people." + v.verb + ":" + string(g.Role), Title: v.title + g.Role.Title(), Clause: clause, Propose: g.Propose, Confirm: g.Confirm,
				Read: func(ctx context.Context, content []byte) (proposal.Shown, error) {
					return k.read(ctx, g, v.verb, content)
				},
				Do: func(ctx context.Context, r proposal.Record) ([]byte, error) { return k.do(ctx, g, v.verb, r) },
			}
			if k.Ask != nil {
				m.Do = k.Ask
			}
			if g.Top != nil {
				m.Quorum, m.Release = g.Top.Quorum, g.Confirm
			}
			if m.Fields = reasonFields; v.verb == Freeze {
				m.Confirm, m.Quorum = "", 0
				if g.Top != nil {
					m.Propose = g.Top.Freeze
				}
			}
			if v.verb == Add || v.verb == Renew {
				m.Fields = keyFields(v.verb, g.Prefix)
			}
			list = append(list, m)
		}
	}
	return list
}

var reasonFields = []proposal.Field{
	{Name: "id", Title: "人员编号", Kind: "text", Need: true},
	{Name: "reason", Title: "原因", Kind: "long", Need: true, Hint: "如离岗、丢失密码钥匙、岗位调整"},
}

func keyFields(verb, prefix string) []proposal.Field {
	f := []proposal.Field{{Name: "id", Title: "人员编号", Kind: "text", Need: true, Hint: "以 " + prefix + " 开头，小写字母、数字和连字符"}}
	if verb == Add {
		f = append(f, proposal.Field{Name: "name", Title: "姓名", Kind: "text", Need: true})
	}
	return append(f, proposal.Field{Name: "csr", Title: "本人的证书请求（PEM）", Kind: "pem", Need: true, Hint: "密钥由本人生成：hufu key --out key.pem --pass-file pass --csr req.csr --subject /CN=姓名"})
}

var idForm = regexp.MustCompile(`^[a-z][a-z0-9-]{2,31}$`)

// Decode reads a change strictly.
func Decode(content []byte) (Change, error) {
	var c Change
	if err := strict.JSON(content, &c); err != nil {
		return c, BadChange.At("content", BadChange.Clause).Because("内容应为一个 JSON 对象，字段为 id、name、csr、reason；%v", err)
	}
	return c, nil
}

func (k *Keeper) read(ctx context.Context, g Grant, verb string, content []byte) (proposal.Shown, error) {
	c, err := Decode(content)
	if err != nil {
		return proposal.Shown{}, err
	}
	shown := proposal.Shown{Title: string(c.ID), Lines: []proposal.Line{{Name: "人员", Value: string(c.ID)}, {Name: "角色", Value: g.Role.Title()}}}
	add := func(name, value string) { shown.Lines = append(shown.Lines, proposal.Line{Name: name, Value: value}) }
	if !idForm.MatchString(string(c.ID)) || !strings.HasPrefix(string(c.ID), g.Prefix) {
		return shown, BadChange.At("id", BadChange.Clause).Because("编号应以 %s 开头，由小写字母、数字和连字符组成，至多 32 个字符", g.Prefix)
	}
	if c.Name != "" {
		add("姓名", c.Name)
	}
	if verb == Add || verb == Renew {
		req, err := csr.Parse([]byte(c.CSR))
		if err != nil {
			return shown, BadChange.At("csr", "GM/T 0092").Because("%v", err).ToFix("请由本人用 hufu key 生成密钥和证书请求")
		}
		add("公钥", fmt.Sprintf("%x", req.Point))
	} else {
		add("原因", c.Reason)
		if n := utf8.RuneCountInString(strings.TrimSpace(c.Reason)); n == 0 || n > 200 {
			return shown, BadChange.At("reason", BadChange.Clause).Because("应写明原因，至多 200 字").ToFix("请填写原因，如离岗、丢失密码钥匙")
		}
	}
	name, err := k.check(ctx, g, verb, c)
	if err != nil {
		return shown, err
	}
	if c.Name == "" {
		add("姓名", name)
	}
	c.Name = name
	shown.Title = name + "（" + string(c.ID) + "）"
	shown.Content, err = json.Marshal(c)
	return shown, err
}

// check holds a change against the register and returns the person's name.
func (k *Keeper) check(ctx context.Context, g Grant, verb string, c Change) (string, error) {
	p, err := k.People.Current(ctx, c.ID)
	found := err == nil
	if err != nil && !isNobody(err) {
		return "", err
	}
	if verb == Add && !found {
		if found, err = k.People.Used(ctx, c.ID); err != nil {
			return "", err
		}
	}
	switch {
	case verb == Add && found:
		return "", BadChange.At("id", BadChange.Clause).Because("编号 %s 已用过，离岗人员的编号也不再给他人", c.ID).ToFix("请换一个编号；在册人员请更新其证书")
	case verb == Add:
		if n := utf8.RuneCountInString(c.Name); n == 0 || n > 64 || strings.TrimSpace(c.Name) != c.Name || strings.ContainsFunc(c.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return "", BadChange.At("name", BadChange.Clause).Because("姓名应为 1 至 64 字，首尾无空白，没有控制字符").ToFix("请按身份证件填写姓名")
		}
		return c.Name, k.unused(ctx, c)
	case !found || !p.Holds(g.Role):
		return "", BadChange.At("id", BadChange.Clause).Because("%s 不是在册的%s", c.ID, g.Role.Title()).ToFix("请核对人员编号和角色")
	case verb == Freeze && p.Disabled, verb == Renew && p.Disabled, verb == Unfreeze && !p.Disabled:
		return "", BadChange.At("id", BadChange.Clause).Because("%s 的状态不需要此变更", c.ID).ToFix("请核对其当前状态；已冻结的须先解冻")
	case verb == Renew && usesKey(c, p.Point):
		return "", BadChange.At("csr", BadChange.Clause).Because("更新证书须用新的密钥").ToFix("请由本人用 hufu key 生成新的密钥和证书请求")
	case c.Name != "" && c.Name != p.Name:
		return "", BadChange.At("name", BadChange.Clause).Because("%s 登记的姓名是 %s", c.ID, p.Name).ToFix("请勿填写姓名")
	}
	if verb == Renew {
		if err := k.unused(ctx, c); err != nil {
			return "", err
		}
	}
	return p.Name, k.enough(ctx, verb, c)
}

// unused refuses a key that somebody on the register has: it would be refused
// when the change is carried out, after people had agreed to it.
func (k *Keeper) unused(ctx context.Context, c Change) error {
	all, err := k.People.All(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if usesKey(c, p.Point) {
			return BadChange.At("csr", BadChange.Clause).Because("该公钥已登记给 %s", p.ID).ToFix("请由本人用 hufu key 生成新的密钥和证书请求")
		}
	}
	return nil
}

func usesKey(c Change, point []byte) bool {
	req, err := csr.Parse([]byte(c.CSR))
	return err == nil && bytes.Equal(req.Point, point)
}
