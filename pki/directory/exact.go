package directory

import (
	"math/big"
	"strings"

	"github.com/hufu-pki/hufu/format/cert"
)

// exactSerial reads the serial out of a certificateExactMatch assertion (RFC
// 4523 §2.1): { serialNumber 123, issuer rdnSequence:"…" }, or "123$issuer" as
// older clients write it. The issuer is ours: there is no other in the tree.
func exactSerial(v string) (string, bool) {
	digits := ""
	if _, rest, ok := strings.Cut(v, "serialNumber"); ok {
		rest = strings.TrimSpace(rest)
		digits = rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	} else if n, _, ok := strings.Cut(v, "$"); ok {
		digits = strings.TrimSpace(n)
	}
	if digits == "" || len(digits) > 50 {
		return "", false
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok || n.Sign() <= 0 {
		return "", false
	}
	return cert.SerialHex(n.Bytes()), true
}

func certHasSerial(der []byte, serial string) bool {
	c, err := cert.Parse(der)
	return err == nil && c.SerialHex() == serial
}
