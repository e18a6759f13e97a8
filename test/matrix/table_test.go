package matrix

// declared is who may do what, written down by hand: the exported matrix and
// the running systems are held to it. Of a change: who proposes, who agrees.
var declared = map[string]map[string]string{
	"ca": {
		"read": "ca.super ca.audit-admin ca.admin ca.operator ca.auditor ca.custodian", "audit.list": "ca.audit-admin ca.auditor", "audit.export": "ca.audit-admin ca.auditor", "audit.mark": "ca.auditor",
		"audit.archives": "ca.audit-admin ca.auditor", "audit.figures": "ca.audit-admin ca.auditor", "audit.system-log": "ca.audit-admin ca.auditor", "audit.archive": "ca.auditor",
		"gate.open/propose": "ca.operator", "gate.open/confirm": "ca.operator", "gate.open/reject": "ca.operator", "gate.open/withdraw": "ca.operator", "gate.suspend/propose": "ca.admin",
		"registrar.suspend/propose": "ca.admin", "registrar.resume/propose": "ca.admin", "registrar.resume/confirm": "ca.super", "registrar.resume/reject": "ca.super", "registrar.resume/withdraw": "ca.admin",
		"offline.issue/propose": "ca.operator", "ca.registrars": "ca.super ca.audit-admin ca.admin ca.operator ca.auditor ca.custodian", "crl.publish/propose": "ca.operator", "certificate.publish/propose": "ca.operator", "ca.rules": "ca.super ca.audit-admin ca.admin ca.operator ca.auditor ca.custodian", "ca.statistics": "ca.super ca.audit-admin ca.admin ca.operator ca.auditor ca.custodian",
		"authority.sign/propose": "ca.admin", "authority.sign/confirm": "ca.super", "authority.sign/reject": "ca.super", "authority.sign/withdraw": "ca.admin", "authority.sign/release": "ca.operator",
		"authority.request/propose": "ca.admin", "authority.request/confirm": "ca.super", "authority.request/reject": "ca.super", "authority.request/withdraw": "ca.admin",
		"authority.import/propose": "ca.admin", "authority.import/confirm": "ca.super", "authority.import/reject": "ca.super", "authority.import/withdraw": "ca.admin",
		"authority.rollover/propose": "ca.admin", "authority.rollover/confirm": "ca.super", "authority.rollover/reject": "ca.super", "authority.rollover/withdraw": "ca.admin", "authority.rollover/release": "ca.operator",
		"profile.change/propose": "ca.admin", "profile.change/confirm": "ca.super", "profile.change/reject": "ca.super", "profile.change/withdraw": "ca.admin",
		"setting.change/propose": "ca.admin", "setting.change/confirm": "ca.super", "setting.change/reject": "ca.super", "setting.change/withdraw": "ca.admin",
		"authority.request-new/propose": "ca.admin", "authority.request-new/confirm": "ca.super", "authority.request-new/reject": "ca.super", "authority.request-new/withdraw": "ca.admin",
		"authority.import-new/propose": "ca.admin", "authority.import-new/confirm": "ca.super", "authority.import-new/reject": "ca.super", "authority.import-new/withdraw": "ca.admin", "authority.import-new/release": "ca.operator",
		"handover.piece": "ca.admin", "taken.status/propose": "ca.admin", "taken.status/confirm": "ca.super", "taken.status/reject": "ca.super", "taken.status/withdraw": "ca.admin", "authority.takeover/propose": "ca.admin", "authority.takeover/confirm": "ca.super", "authority.takeover/reject": "ca.super", "authority.takeover/withdraw": "ca.admin",
		"authority.forgo/propose": "ca.admin", "authority.forgo/confirm": "ca.super", "authority.forgo/reject": "ca.super", "authority.forgo/withdraw": "ca.admin",
		"responder.key/propose": "ca.admin", "responder.key/confirm": "ca.super", "responder.key/reject": "ca.super", "responder.key/withdraw": "ca.admin",
		"authority.revoke/propose": "ca.admin", "authority.revoke/confirm": "ca.super", "authority.revoke/reject": "ca.super", "authority.revoke/withdraw": "ca.admin",
		"gate.resume/propose": "ca.admin", "gate.resume/confirm": "ca.super", "gate.resume/reject": "ca.super", "gate.resume/withdraw": "ca.admin",
	},
	"ra": {
		"read": "ra.super ra.audit-admin ra.admin ra.clerk ra.reviewer ra.producer ra.auditor", "audit.list": "ra.audit-admin ra.auditor", "audit.export": "ra.audit-admin ra.auditor", "audit.mark": "ra.auditor",
		"audit.archives": "ra.audit-admin ra.auditor", "audit.figures": "ra.audit-admin ra.auditor", "audit.system-log": "ra.audit-admin ra.auditor", "audit.archive": "ra.auditor",
		"ra.draft": "ra.clerk", "ra.sheet": "ra.clerk", "ra.evidence": "ra.clerk", "ra.package": "ra.producer", "ra.read": "ra.super ra.audit-admin ra.admin ra.clerk ra.reviewer ra.producer ra.auditor",
		"ra.issue/submit": "ra.clerk", "ra.issue/discard": "ra.clerk", "ra.issue/withdraw": "ra.clerk", "ra.issue/approve": "ra.reviewer", "ra.issue/return": "ra.reviewer", "ra.issue/reject": "ra.reviewer", "ra.issue/produce": "ra.producer",
		"ra.revoke/revoke": "ra.clerk", "ra.revoke/approve": "ra.reviewer", "ra.revoke/reject": "ra.reviewer", "ra.revoke/withdraw": "ra.clerk",
		"ra.freeze/freeze": "ra.clerk", "ra.freeze/approve": "ra.reviewer", "ra.freeze/reject": "ra.reviewer", "ra.freeze/withdraw": "ra.clerk",
		"ra.unfreeze/unfreeze": "ra.clerk", "ra.unfreeze/approve": "ra.reviewer", "ra.unfreeze/reject": "ra.reviewer", "ra.unfreeze/withdraw": "ra.clerk",
		"ra.recover/submit": "ra.clerk", "ra.recover/discard": "ra.clerk", "ra.recover/withdraw": "ra.clerk", "ra.recover/return": "ra.reviewer", "ra.recover/reject": "ra.reviewer", "ra.recover/approve": "ra.reviewer",
		"ra.recover/authorise": "ra.admin", "ra.recover/reject@reviewed": "ra.admin", "ra.recover/produce": "ra.producer",
		"ra.due":            "ra.super ra.audit-admin ra.admin ra.clerk ra.reviewer ra.producer ra.auditor",
		"ra.forget/propose": "ra.admin", "ra.forget/confirm": "ra.super", "ra.forget/reject": "ra.super", "ra.forget/withdraw": "ra.admin",
		"ra.evidence-file":   "ra.auditor ra.admin ra.reviewer",
		"ra.personal.number": "ra.clerk ra.reviewer", "ra.personal.export": "ra.clerk ra.reviewer ra.admin", "ra.readings": "ra.auditor ra.audit-admin",
		"ra.bulk.try": "ra.clerk", "ra.batch.hold": "ra.clerk ra.reviewer ra.admin", "ra.revoke/cancel": "ra.reviewer", "ra.freeze/cancel": "ra.reviewer", "ra.unfreeze/cancel": "ra.reviewer",
		"ra.unit.draft": "ra.clerk", "ra.unit.agent": "ra.clerk ra.reviewer", "ra.unit/submit": "ra.clerk", "ra.unit/discard": "ra.clerk", "ra.unit/withdraw": "ra.clerk", "ra.unit/approve": "ra.reviewer", "ra.unit/return": "ra.reviewer", "ra.unit/reject": "ra.reviewer",
		"body.suspend/propose": "ra.admin", "ra.offline": "ra.admin",
		"ra.issue/reject@asked": "ra.clerk", "ra.revoke/reject@asked": "ra.clerk", "ra.freeze/reject@asked": "ra.clerk",
	},
	"km": {
		"read": "km.super km.audit-admin km.admin km.operator km.auditor km.forensic", "audit.list": "km.audit-admin km.auditor", "audit.export": "km.audit-admin km.auditor", "audit.mark": "km.auditor",
		"audit.archives": "km.audit-admin km.auditor", "audit.figures": "km.audit-admin km.auditor", "audit.system-log": "km.audit-admin km.auditor", "audit.archive": "km.auditor",
		"km.pool": "km.super km.audit-admin km.admin km.operator km.auditor km.forensic", "km.custody": "km.forensic",
		"km.judicial/propose": "km.operator", "km.judicial/confirm": "km.forensic", "km.judicial/reject": "km.forensic", "km.judicial/withdraw": "km.operator", "km.judicial/release": "km.forensic",
		"km.takeover/propose": "km.admin", "km.takeover/confirm": "km.super", "km.takeover/reject": "km.super", "km.takeover/withdraw": "km.admin", "km.marks/propose": "km.operator", "km.marks/confirm": "km.admin", "km.marks/reject": "km.admin", "km.marks/withdraw": "km.operator", "km.make/propose": "km.operator", "km.drill/propose": "km.operator",
		"km.destroy/propose": "km.operator", "km.destroy/confirm": "km.admin", "km.destroy/reject": "km.admin", "km.destroy/withdraw": "km.operator", "km.destroy/release": "km.super",
		"km.master/propose": "km.admin", "km.master/confirm": "km.super", "km.master/reject": "km.super", "km.master/withdraw": "km.admin",
	},
}

// bodies are the changes to who registers for whom that two people decide.
var bodies = []string{"body.open", "body.outlet", "body.amend", "body.resume", "body.assign", "review.set", "issue.way"}

var chain = map[string]map[string][2]string{
	"ca": {"ca.custodian": {"ca.admin", "ca.super"}, "ca.admin": {"ca.super", "ca.audit-admin"}, "ca.auditor": {"ca.audit-admin", "ca.super"}, "ca.operator": {"ca.admin", "ca.super"}, "ra.admin": {"ca.operator", "ca.operator"}, "ra.auditor": {"ca.operator", "ca.operator"}},
	"ra": {"ra.clerk": {"ra.admin", "ra.super"}, "ra.reviewer": {"ra.admin", "ra.super"}, "ra.producer": {"ra.admin", "ra.super"}},
	"km": {"km.admin": {"km.super", "km.audit-admin"}, "km.auditor": {"km.audit-admin", "km.super"}, "km.operator": {"km.admin", "km.super"}, "km.forensic": {"km.admin", "km.super"}},
}

// tops are the people whom three custodians make, and who freezes them.
var tops = map[string]map[string][2]string{
	"ca": {"ca.super": {"ca.custodian", "ca.audit-admin"}, "ca.audit-admin": {"ca.custodian", "ca.super"}, "ra.super": {"ca.custodian", "ca.audit-admin"}, "ra.audit-admin": {"ca.custodian", "ca.super"}},
	"km": {"km.super": {"km.forensic", "km.audit-admin"}, "km.audit-admin": {"km.forensic", "km.super"}},
}
