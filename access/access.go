// Package access knows people, what they may do, and how they prove that they
// meant it. (人员与权限)
//
// Every privileged act is a signed command: a statement a person can read,
// signed with that person's SM2 key, kept with what it did. A Command can only
// be had by verifying one (GM/T 0034 §10.1).
package access

import (
	"crypto/ecdsa"
	"slices"
	"time"
)

type (
	// Role is a post that may take steps. (角色)
	Role string
	// PersonID names a person, or a process, within one system. (人员编号)
	PersonID string
)

// Roles of the certification and key management systems (GM/T 0034 §8.1.3,
// §9.2.3; seed 004 material 3).
const (
	Machine Role = "machine" // 系统

	RAClerk    Role = "ra.clerk"    // 录入员
	RAReviewer Role = "ra.reviewer" // 审核员
	RAProducer Role = "ra.producer" // 制证员
	RAAdmin    Role = "ra.admin"    // 注册业务管理员
	RAAuditor  Role = "ra.auditor"  // 注册审计员

	RASuper      Role = "ra.super"       // 注册超级管理员
	RAAuditAdmin Role = "ra.audit-admin" // 注册审计管理员

	CASuper      Role = "ca.super"       // 超级管理员
	CAAuditAdmin Role = "ca.audit-admin" // 审计管理员
	CAAdmin      Role = "ca.admin"       // 业务管理员
	CAOperator   Role = "ca.operator"    // 业务操作员
	CAAuditor    Role = "ca.auditor"     // 审计员
	CACustodian  Role = "ca.custodian"   // 份额保管人

	KMSuper      Role = "km.super"       // 密钥管理超级管理员
	KMAuditAdmin Role = "km.audit-admin" // 密钥管理审计管理员
	KMAdmin      Role = "km.admin"       // 密钥管理业务管理员
	KMOperator   Role = "km.operator"    // 密钥管理业务操作员
	KMAuditor    Role = "km.auditor"     // 密钥管理审计员
	KMForensic   Role = "km.forensic"    // 司法取证员

	Holder Role = "holder" // 证书持有人: no staff, acts for their own certificate only
)

// System is one system with people of its own.
type System struct {
	Name, Title string
	Roles       []Role // from the top down
	Auditor     Role   // reads the trail and marks what has been looked through
	AuditAdmin  Role   // makes auditors, and reads the trail
}

// The systems.
var (
	CA = System{"ca", "证书认证系统", []Role{CASuper, CAAuditAdmin, CAAdmin, CAOperator, CAAuditor, CACustodian}, CAAuditor, CAAuditAdmin}
	RA = System{"ra", "注册系统", []Role{RASuper, RAAuditAdmin, RAAdmin, RAClerk, RAReviewer, RAProducer, RAAuditor}, RAAuditor, RAAuditAdmin}
	KM = System{"km", "密钥管理系统", []Role{KMSuper, KMAuditAdmin, KMAdmin, KMOperator, KMAuditor, KMForensic}, KMAuditor, KMAuditAdmin}
)

// RoleTitles are what people call the roles.
var RoleTitles = map[Role]string{
	Machine: "系统",
	RAClerk: "录入员", RAReviewer: "审核员", RAProducer: "制证员", RAAdmin: "注册业务管理员", RAAuditor: "注册审计员",
	RASuper: "注册超级管理员", RAAuditAdmin: "注册审计管理员",
	CASuper: "超级管理员", CAAuditAdmin: "审计管理员", CAAdmin: "业务管理员", CAOperator: "业务操作员", CAAuditor: "审计员", CACustodian: "份额保管人",
	KMSuper: "密钥管理超级管理员", KMAuditAdmin: "密钥管理审计管理员", KMAdmin: "密钥管理业务管理员", KMOperator: "密钥管理业务操作员", KMAuditor: "密钥管理审计员", KMForensic: "司法取证员",
	Holder: "证书持有人",
}

// Title is what people call the role.
func (r Role) Title() string {
	if t := RoleTitles[r]; t != "" {
		return t
	}
	return string(r)
}

// Person is someone on a system's register.
type Person struct {
	ID        PersonID
	Name      string
	Roles     []Role
	Serial    string // of the signing certificate, upper-case hex
	Cert      []byte // DER
	Point     []byte // public key, 65 bytes
	NotBefore time.Time
	NotAfter  time.Time
	Disabled  bool      // frozen
	Ended     time.Time // revoked or replaced by a newer certificate; zero while current
}

// Holds reports whether p has the role.
func (p Person) Holds(r Role) bool { return slices.Contains(p.Roles, r) }

// Command is an act a person has signed, or a process does in its own name.
// Only Desk.Verify and AsMachine make one.
type Command struct {
	who    Person
	signed Signed
	key    *ecdsa.PublicKey
}

// Who is the person acting.
func (c Command) Who() Person { return c.who }

// Holds reports whether the person acting has the role.
func (c Command) Holds(r Role) bool { return c.who.Holds(r) }

// Signed is the statement and its signature; empty for a process.
func (c Command) Signed() Signed { return c.signed }

// Act is the act the statement names.
func (c Command) Act() string { return c.signed.Act }

// Note is the reason or opinion the person gave.
func (c Command) Note() string { return c.signed.Note }

// AsMachine is a process of the system acting by itself: the worker that
// issues what was approved, the sweep that lapses what has run out.
func AsMachine(name string) Command {
	return Command{who: Person{ID: PersonID("system:" + name), Name: name, Roles: []Role{Machine}}}
}

// Preview stands for a person who has not signed anything yet, to ask what
// they could do. It carries no signature, so no core and no store accepts it.
func Preview(p Person) Command { return Command{who: p} }

// Authentic reports whether somebody signed the command or a process of the
// system made it. Stores take no other.
func (c Command) Authentic() bool {
	return len(c.signed.Signature) > 0 || c.who.Holds(Machine)
}
