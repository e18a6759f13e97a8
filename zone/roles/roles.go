// Package roles is who may do what, in every system, read from the tables that
// are enforced. (角色权限表)
package roles

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/kmcore"
)

// Row is one thing that can be done in a system, and who may do it.
type Row struct {
	System string        `json:"system"`
	Act    string        `json:"act"`
	Title  string        `json:"title"`
	By     []access.Role `json:"by"`
	NotBy  string        `json:"not_by,omitempty"` // whoever took this step may not take the act
	Clause string        `json:"clause,omitempty"`
}

// Systems are those with people of their own.
var Systems = []access.System{access.CA, access.RA, access.KM}

var matters = map[string][]proposal.Matter{"ca": cacore.Matters(), "ra": slices.Concat((&staff.Keeper{}).Matters(staff.RA), (&body.Keeper{}).Matters(), []proposal.Matter{(&ra.Retention{}).Matter()}), "km": kmcore.Matters()}

// Matrix is every row of every system.
func Matrix() []Row {
	var rows []Row
	for _, s := range Systems {
		rows = append(rows, Row{s.Name, "read", "登录，查看运行总览、变更和人员登记", s.Roles, "", "GM/T 0034 §8.1.3"})
		switch s.Name {
		case "ca":
			rows = append(rows, Row{s.Name, "ca.rules", "查看证书模板与 CA 设置", s.Roles, "", "GM/T 0034 §5.3.4"}, Row{s.Name, "ca.statistics", "查看和导出证书统计", s.Roles, "", "GM/T 0034 §5.3.4"})
			rows = append(rows, Row{s.Name, "handover.piece", "上传移交包（业务承接）", []access.Role{access.CAAdmin}, "", "电子政务电子认证服务管理办法 第二十九条"})
			rows = append(rows, Row{s.Name, "ca.registrars", "查看注册机构", s.Roles, "", "电子政务电子认证服务管理办法 第二十五条"})
		case "ra":
			rows = append(rows, desk()...)
		case "km":
			rows = append(rows, Row{s.Name, "km.pool", "查看密钥库统计、单个密钥的状态、演练记录和到期的归档密钥", s.Roles, "", "GM/T 0034 §6.3.4"},
				Row{s.Name, "km.custody", "取得本人保管的份额（密封）", []access.Role{access.KMForensic}, "", "GM/T 0034 §10.3"})
		}
		rows = append(rows, changes(s.Name)...)
		rows = append(rows,
			Row{s.Name, "audit.list", "查询审计记录", []access.Role{s.AuditAdmin, s.Auditor}, "", "GM/T 0034 §5.3.8"},
			Row{s.Name, "audit.export", "导出审计账本", []access.Role{s.AuditAdmin, s.Auditor}, "", "GM/T 0034 §5.3.8"},
			Row{s.Name, "audit.archives", "查看归档清单、查询和下载归档日志", []access.Role{s.AuditAdmin, s.Auditor}, "", "GM/T 0034 §5.3.8"},
			Row{s.Name, "audit.figures", "查看审计统计", []access.Role{s.AuditAdmin, s.Auditor}, "", "GM/T 0034 §5.3.8"},
			Row{s.Name, "audit.system-log", "查询系统日志", []access.Role{s.AuditAdmin, s.Auditor}, "", "GM/T 0034 §5.3.8"},
			Row{s.Name, audit.ActArchive, "日志归档：关闭一个期间", []access.Role{s.Auditor}, "", "GM/T 0034 §5.3.8"},
			Row{s.Name, audit.ActMark, "标记已审计", []access.Role{s.Auditor}, "", "GM/T 0034 §10.5"})
	}
	return rows
}

// desk are the registration desk's acts, those of the system itself left out.
func desk() (rows []Row) {
	for _, r := range ra.Rights {
		rows = append(rows, Row{"ra", r.Act, r.Title, r.By, "", "GM/T 0034 §5.3.3"})
	}
	rows = append(rows, Row{"ra", "ra.due", "查看到期的身份材料", access.RA.Roles, "", "电子政务电子认证服务管理办法第二十四条"})
	rows = append(rows, Row{"ra", "ra.readings", "查看个人信息查阅统计", raapi.Watchers, "", "个人信息保护法 第五十一条"})
	rows = append(rows, Row{"ra", "ra.evidence-file", "取得证书证据文件", raapi.Binders, "", "GM/T 0034 §5.3.8"})
	for _, name := range slices.Sorted(maps.Keys(ra.Kinds)) {
		k := ra.Kinds[name]
		for _, s := range k.Steps {
			r := Row{"ra", k.Name + "/" + string(s.Do), k.Title + "：" + k.ActTitle(s.Do), []access.Role{s.By}, "", "GM/T 0034 §12"}
			if s.NotBy != "" {
				r.NotBy = k.ActTitle(s.NotBy)
			}
			same := slices.IndexFunc(rows, func(o Row) bool { return o.Act == r.Act })
			if same >= 0 && !slices.Equal(rows[same].By, r.By) { // somebody else's at another state
				r.Act, r.Title, same = r.Act+"@"+string(s.From), r.Title+"（"+k.StateTitle(s.From)+"）", -1
			}
			if s.By != access.Machine && s.By != access.Holder && same < 0 { // a holder is no role of the desk: self-service tells theirs
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// changes are the proposals of a system, step by step.
func changes(system string) (rows []Row) {
	for _, m := range matters[system] {
		k := m.Kind()
		for _, s := range k.Steps {
			if s.By == access.Machine {
				continue
			}
			r := Row{system, m.Name + "/" + string(s.Do), m.Title + "：" + k.ActTitle(s.Do), []access.Role{s.By}, "", m.Clause}
			if s.NotBy != "" {
				r.NotBy = k.ActTitle(s.NotBy)
			}
			if !slices.ContainsFunc(rows, func(o Row) bool { return o.Act == r.Act }) { // several release
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// May reports whether a role may do the row's act.
func (r Row) May(role access.Role) bool { return slices.Contains(r.By, role) }

// CSV is one line for each row, one column for each role.
func CSV() (string, error) {
	var b strings.Builder
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	head := []string{"系统", "操作", "名称", "回避", "依据"}
	var all []access.Role
	for _, s := range Systems {
		for _, r := range s.Roles {
			all, head = append(all, r), append(head, r.Title())
		}
	}
	lines := [][]string{head}
	for _, row := range Matrix() {
		line := []string{row.System, row.Act, row.Title, row.NotBy, row.Clause}
		for _, r := range all {
			cell := ""
			if row.May(r) {
				cell = "可"
			}
			line = append(line, cell)
		}
		lines = append(lines, line)
	}
	err := w.WriteAll(lines)
	return b.String(), err
}

// Markdown is a table for each system: who proposes a change and who agrees
// share a line, as people read it.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# 角色权限表\n\n由 `hufu roles --md` 从程序自身的规则表导出，测试逐格核对（`test/matrix`）。●：可办理；提：提议；批：批准或不批准；\n提议人可在批准前撤回自己的提议，任何人不得批准自己的提议；冻结人员、暂停签发由一人签名即执行。“回避”指办过该步骤的人不得办理此项。\n")
	for _, s := range Systems {
		fmt.Fprintf(&b, "\n## %s\n\n| 操作 |", s.Title)
		for _, r := range s.Roles {
			b.WriteString(" " + r.Title() + " |")
		}
		b.WriteString(" 回避 | 依据 |\n|---|" + strings.Repeat(":-:|", len(s.Roles)) + "---|---|\n")
		for _, row := range Matrix() {
			if row.System == s.Name {
				b.WriteString(line(s, row))
			}
		}
	}
	return b.String()
}

func line(s access.System, row Row) string {
	matter, act, _ := strings.Cut(row.Act, "/")
	change := isMatter(s.Name, matter)
	if change && slices.Contains([]casework.Action{proposal.Confirm, proposal.Reject, proposal.Withdraw}, casework.Action(act)) {
		return "" // on the line of the proposal
	}
	change = change && casework.Action(act) == proposal.Propose
	title, mark, notBy, second := row.Title, "●", row.NotBy, access.Role("")
	if change {
		title, _, _ = strings.Cut(title, "：提议")
		mark, second, notBy = "提", confirms(s.Name, matter), "提议"
		if second == "" {
			mark, notBy = "●", ""
		}
	}
	text := "| " + title + " |"
	for _, r := range s.Roles {
		cell := ""
		if row.May(r) {
			cell = mark
		}
		if r == second {
			cell += "批"
		}
		text += " " + cell + " |"
	}
	return text + " " + notBy + " | " + row.Clause + " |\n"
}

func isMatter(system, name string) bool {
	return slices.ContainsFunc(matters[system], func(m proposal.Matter) bool { return m.Name == name })
}

// confirms is who agrees to a matter; none where one signature is enough.
func confirms(system, matter string) access.Role {
	for _, r := range changes(system) {
		if r.Act == matter+"/"+string(proposal.Confirm) {
			return r.By[0]
		}
	}
	return ""
}
