package ra

import "github.com/hufu-pki/hufu/access"

// Right is something somebody may do at the desk that is no step of a case.
type Right struct {
	Act, Title string
	By         []access.Role
}

// Rights are those of the desk; the steps of cases are in their tables.
var Rights = []Right{
	{"ra.draft", "起草、修改申请", []access.Role{access.RAClerk}},
	{"ra.sheet", "批量录入", []access.Role{access.RAClerk}},
	{"ra.evidence", "收存身份查验材料", []access.Role{access.RAClerk}},
	{"ra.package", "取得下载包", []access.Role{access.RAProducer}},
	{"ra.read", "查询案件、批次、证书、模板和查验材料，导出清单", access.RA.Roles},
	{"ra.personal.number", "查看证件号码（写明事由）", numberers},
	{"ra.personal.export", "导出姓名和证件号码（写明事由）", exporters},
	{"ra.unit.draft", "起草单位登记、变更、停用、恢复", []access.Role{access.RAClerk}},
	{"ra.unit.agent", "查看单位的法定代表人和经办人（写明事由）", numberers},
	{"ra.offline", "导出、导入离线签发文件", carriers},
	{"ra.bulk.try", "批量变更试算", []access.Role{access.RAClerk}},
	{"ra.batch.hold", "暂停、恢复批次", holders},
}
