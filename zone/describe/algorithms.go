package describe

import (
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/caservice"
	"github.com/hufu-pki/hufu/zone/kmcore"
)

// Algorithm is one that the build uses. (密码算法)
type Algorithm struct {
	Name     string `json:"name"`
	OID      string `json:"oid,omitempty"`
	Use      string `json:"use"`
	Standard string `json:"standard"`
}

// Algorithms are all of them; what is not national is there for strangers'
// formats only.
var Algorithms = []Algorithm{
	{"SM2 签名（SM2 with SM3）", alg.SM2WithSM3.String(), "证书、证书请求、CRL、OCSP 应答、账本检查点、人员的操作声明、系统间报文", "GB/T 32918.2、GM/T 0009"},
	{"SM2 加密", alg.SM2Encrypt.String(), "加密私钥的数字信封、份额、备份、司法证据包", "GB/T 32918.4、GB/T 35276"},
	{"SM3", alg.SM3.String(), "账本、摘要、声明中的对象、OCSP CertID", "GB/T 32905"},
	{"SM4-GCM", "", "密钥库、软件密码模块、证件号码、备份的保密与完整", "GB/T 32907、GB/T 36624"},
	{"SM4-CBC", alg.SM4CBC.String(), "PKCS#8 与 PKCS#12 中的私钥、数字信封正文", "GB/T 32907、GB/T 17964"},
	{"SM4-ECB", alg.SM4ECB.String(), "SM2EnvelopedKey 中一个密钥长度的私钥（标准规定）", "GB/T 35276"},
	{"SHA-1", alg.SHA1.String(), "只用作密钥标识符，以及读懂他人按 RFC 6960 提出的 CertID；不用于签名", "RFC 5280、RFC 6960"},
	{"SHA-256", alg.SHA256.String(), "读懂他人的 CertID；PKCS#8 口令派生（PBKDF2）", "RFC 6960、RFC 8018"},
	{"scrypt", "", "软件密码模块由口令派生包裹密钥（仅评估环境）", "RFC 7914"},
	{"秘密共享（Shamir）", "", "主密钥、备份密钥的份额，默认五持三合", "GM/T 0034 §10.3"},
	{"默克尔树（SM3）", "", "公开账本与审计账本", "RFC 6962"},
}

// Key is one that the systems hold, or hand out. (密钥清单)
type Key struct {
	System  string `json:"system"`
	Label   string `json:"label"` // as the device knows it
	Title   string `json:"title"`
	Use     string `json:"use"`
	Made    string `json:"made"`
	Guarded string `json:"guarded"`
}

const (
	inCeremony = "初始化仪式，在本区密码模块内产生"
	inModule   = "不出密码模块；随本区备份，备份密钥分五份、三份可合"
)

// Keys are all of them, by the labels their devices know.
var Keys = []Key{
	{"ca", cacore.KeyRoot, "根 CA 密钥", "签发运营 CA 证书、下级 CA 证书和 ARL", inCeremony + "；可改在脱机根上产生（hufu root）", inModule},
	{"ca", cacore.KeyCA, "运营 CA 密钥", "签发用户证书、系统证书和 CRL", inCeremony, inModule},
	{"ca", cacore.KeyServer, "CA 服务器密钥", "系统间报文（GM/T 0014、注册报文）的签名与核验", inCeremony, inModule},
	{"ca", cacore.KeyLedger, "账本密钥", "公开账本的检查点", inCeremony, inModule + "；公钥公开（people/ledger.pem）"},
	{"ca", cacore.KeyAudit, "CA 审计密钥", "CA 审计账本的检查点", inCeremony, inModule},
	{"ra", caservice.KeyServer, "RA 服务器密钥", "注册报文的签名", inCeremony, inModule},
	{"ra", caservice.KeyAudit, "RA 审计密钥", "RA 审计账本的检查点", inCeremony, inModule},
	{"ra", caservice.KeyIdentity, "RA 数据密钥", "证件号码等个人信息的密封（SM4-GCM）", inCeremony, inModule},
	{"ocsp", caservice.KeyOCSP, "OCSP 签名密钥", "运营 CA 所发证书的状态应答", inCeremony, inModule},
	{"ocsp", caservice.KeyOCSPRoot, "根的 OCSP 签名密钥", "CA 证书的状态应答", inCeremony, inModule},
	{"km", kmcore.KeyMaster, "KM 主密钥", "逐个加密密钥库中的私钥；可换新并重新包裹", inCeremony, inModule + "；司法取证另须份额保管人到场"},
	{"km", kmcore.KeyIdentity, "KM 身份密钥", "密钥管理报文、演练记录的签名", inCeremony, inModule},
	{"km", kmcore.KeyStaffCA, "KM 人员 CA 密钥", "KM 管理员证书", inCeremony, inModule},
	{"km", kmcore.KeyAudit, "KM 审计密钥", "KM 审计账本的检查点", inCeremony, inModule},
	{"km", "", "用户加密密钥对", "加密证书", "KM 预先成批产生，备用库保持水位", "以主密钥逐个加密存放；发放时以用户签名公钥密封；撤销、过期后转入历史库"},
	{"ra", "", "用户签名密钥对", "签名证书", "用户自己产生，私钥不离开用户", "本系统不持有；证书请求证明持有（PKCS#10）"},
	{"ra", "", "人员密钥", "登录、操作声明的签名", "本人产生；评估环境由初始化产生并带随机口令", "本人保管；服务器不持有"},
}
