package raweb

import (
	"cmp"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
)

// Reasons of a revocation as people choose them, in the order of the form.
var reasons = []choice{
	{"keyCompromise", "密钥失控（丢失、泄露或可能泄露）"}, {"affiliationChanged", "隶属关系变更"}, {"superseded", "已被新证书替代"},
	{"cessationOfOperation", "停止使用"}, {"privilegeWithdrawn", "取消资格"}, {"unspecified", "未说明"},
}

// choice is one option of a form.
type choice struct{ Value, Title string }

// choices lists some of a table, as the form shows them.
func choices(words map[string]string, only ...string) (list []choice) {
	for _, k := range only {
		list = append(list, choice{k, words[k]})
	}
	return list
}

var audiences = map[string]string{"government": "政务部门内部", "public": "企事业单位与公众", "system": "系统自身"}

// checker says who checked an identity, and whether that is their own word: the
// clerk may name somebody else, who has signed nothing.
func checker(by string, events []raapi.EventLine) string {
	if slices.ContainsFunc(events, func(e raapi.EventLine) bool { return e.Who == by }) {
		return by + "（已签名）"
	}
	return by + "（据录入员填写，本人未签名）"
}

// attributes are a subject's parts as forms call them.
var attributes = map[string]string{"C": "国家", "ST": "省（自治区、直辖市）", "L": "市（地区）", "O": "单位", "OU": "部门", "CN": "名称", "E": "电子邮件"}

var publications = map[string]string{"full": "全文公布", "digest": "只公布摘要"}

var words = func() map[string]string {
	all := map[string]string{}
	for _, table := range []map[string]string{identity.Kinds, ra.CheckMethods, audiences, publications} {
		maps.Copy(all, table)
	}
	maps.Copy(all, ra.Askers)
	maps.Copy(all, ra.Causes)
	for _, g := range ra.Grounds {
		all[g.Code] = g.Text + "（" + g.Clause + "）"
	}
	for _, p := range ra.Purposes {
		all[p.Code] = p.Title
	}
	all["certificateHold"] = "证书冻结"
	for _, n := range ra.Notices {
		all[n.Code] = n.Text
	}
	for _, r := range reasons {
		all[r.Value] = r.Title
	}
	return all
}()

var funcs = template.FuncMap{
	"say": func(w string) string {
		if t := words[w]; t != "" {
			return t
		}
		return w
	},
	"subject": func(n dn.Name) string {
		var parts []string
		for _, a := range n.Attrs() {
			parts = append(parts, a.Type+"="+a.Value)
		}
		return strings.Join(parts, "，")
	},
	"unitact": func(do string) string { return ra.UnitActs[do] },
	"attr":    func(t string) string { return cmp.Or(attributes[t], t) },
	"inc":     func(i int) int { return i + 1 },
	"checker": checker,
	"picked":  func(state string) bool { return bulk[casework.State(state)] },
}

// bulk are the states in which many cases can be acted on at once.
var bulk = map[casework.State]bool{ra.Drafted: true, ra.Submitted: true, ra.Seconded: true, ra.Thirded: true, ra.Issued: true}

// roleOf are the states that wait for a role.
var roleOf = map[access.Role]casework.State{access.RAAdmin: ra.Reviewed, access.RAClerk: ra.Drafted, access.RAReviewer: ra.Submitted, access.RAProducer: ra.Issued}

// step is one stage of a case as the page draws it.
type step struct{ Title, Note, Class string }

var stages = map[string][]casework.State{
	ra.IssueKind.Name:    {ra.Drafted, ra.Submitted, ra.Approved, ra.Issued, ra.Delivered},
	ra.Issue2Kind.Name:   {ra.Drafted, ra.Submitted, ra.Seconded, ra.Approved, ra.Issued, ra.Delivered},
	ra.Issue3Kind.Name:   {ra.Drafted, ra.Submitted, ra.Seconded, ra.Thirded, ra.Approved, ra.Issued, ra.Delivered},
	ra.RecoverKind.Name:  {ra.Drafted, ra.Submitted, ra.Reviewed, ra.Approved, ra.Issued, ra.Delivered},
	ra.UnitKind.Name:     {ra.Drafted, ra.Submitted, ra.Done},
	ra.RevokeKind.Name:   {ra.Submitted, ra.Approved, ra.Done},
	ra.FreezeKind.Name:   {ra.Submitted, ra.Approved, ra.Done},
	ra.UnfreezeKind.Name: {ra.Submitted, ra.Approved, ra.Done},
}

// steps draws how far a case has come; a case that ended otherwise says so.
func steps(r ra.Record) (list []step) {
	kind, road := ra.Kinds[r.Kind], stages[r.Kind]
	if ra.OfHolder(r.CreatedBy) {
		road = append([]casework.State{ra.Asked}, slices.DeleteFunc(slices.Clone(road), func(s casework.State) bool { return s == ra.Drafted && r.State != ra.Drafted })...)
	}
	at := slices.Index(road, r.State)
	for i, s := range road {
		class := "todo"
		switch {
		case i < at, i == at && at == len(road)-1:
			class = "was"
		case i == at:
			class = "now"
		}
		list = append(list, step{kind.StateTitle(s), "", class})
	}
	if at < 0 {
		list = append(list, step{kind.StateTitle(r.State), "", "stop"})
	}
	return list
}
