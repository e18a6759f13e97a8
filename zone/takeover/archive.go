package takeover

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/pfx"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/format/sheet"
)

// archive judges the private keys: the CA's own, and those of encryption
// certificates. A key is known by its public half, not by its file's name.
func (c *checker) archive() error {
	for _, f := range c.keys {
		found, why := c.open(f)
		if why != "" {
			c.report.misfit("key", f.name, "", why)
			continue
		}
		for _, k := range found {
			if err := c.key(f.name, k); err != nil {
				return err
			}
		}
	}
	for _, k := range sorted(c.bySN) {
		if k.use == "enc" && k.key == "" {
			c.report.misfit("key", k.file, k.serial, "加密证书没有对应的私钥")
		}
	}
	return nil
}

// private is a key of the archive: opened, or sealed to the key centre already.
type private struct {
	point  []byte
	key    *sm2.PrivateKey
	sealed []byte
}

func (c *checker) key(name string, p private) error {
	point := p.point
	if string(point) == string(c.ca.Point) {
		c.report.Key = true
		c.report.fit("key", name, c.ca.SerialHex())
		return nil
	}
	list := c.byPoint[string(point)]
	if len(list) == 0 {
		c.report.misfit("key", name, "", "没有符合的证书与这把私钥成对")
		return nil
	}
	for _, k := range list {
		switch {
		case k.use != "enc":
			c.report.misfit("key", name, k.serial, "是签名证书的私钥：签名私钥只应在持有人手中，不承接")
		case k.key != "":
			c.report.misfit("key", name, k.serial, "这张证书的私钥已在 "+k.key)
		default:
			k.key, k.sealed = name, p.sealed
			if p.key != nil && c.KM != nil {
				var err error
				if k.sealed, err = seal(p.key, c.KM); err != nil {
					return err
				}
			}
			c.report.fit("key", name, k.serial)
		}
	}
	return nil
}

// seal seals a private key to the key centre (GM/T 0009 §7.4).
func seal(key *sm2.PrivateKey, to *cert.Certificate) ([]byte, error) {
	session, plain := make([]byte, sm4.BlockSize), key.D.FillBytes(make([]byte, 32))
	defer clear(session)
	defer clear(plain)
	_, _ = rand.Read(session) // crypto/rand never fails
	block, err := sm4.NewCipher(session)
	if err != nil {
		return nil, err
	}
	e := sealedkey.Envelope{Point: alg.Point(&key.PublicKey), Content: make([]byte, len(plain))}
	for i := 0; i < len(plain); i += sm4.BlockSize { // ECB, as GM/T 0009 has it: one random scalar under a one-time key
		block.Encrypt(e.Content[i:], plain[i:i+sm4.BlockSize])
	}
	if e.SessionKey, err = sm2.EncryptASN1(rand.Reader, to.PublicKey(), session); err != nil {
		return nil, err
	}
	return e.Bytes(), nil
}

// packKeys writes the keys that fit, by as many as are signed at once.
func (c *checker) packKeys() error {
	if c.KM == nil {
		return nil
	}
	var lines []string
	for _, k := range sorted(c.bySN) {
		if k.sealed != nil {
			_, revoked := c.listed[k.serial]
			lines = append(lines, handover.Key{Cert: k.Raw, Sealed: k.sealed, Retired: revoked}.String())
		}
	}
	for part := range slices.Chunk(lines, handover.KeysMax) {
		body, err := json.Marshal(map[string]any{"ca": string(cert.PEM(c.ca.Raw)), "manifest": c.report.Manifest, "keys": part})
		if err != nil {
			return err
		}
		c.report.archives = append(c.report.archives, body)
	}
	return nil
}

// open reads the keys in a file.
func (c *checker) open(f file) (found []private, why string) {
	if strings.HasSuffix(strings.ToLower(f.name), ".sealed") {
		e, err := sealedkey.Parse(f.data)
		if err != nil {
			return nil, "不是 SM2 密封密钥（GM/T 0009）"
		}
		return []private{{point: e.Point, sealed: f.data}}, ""
	}
	var list []*sm2.PrivateKey
	var err error
	if ext := strings.ToLower(f.name); strings.HasSuffix(ext, ".p12") || strings.HasSuffix(ext, ".pfx") {
		var entries []pfx.Entry
		if entries, _, err = pfx.Decode(f.data, string(c.Pass)); err == nil {
			for _, e := range entries {
				if e.Key != nil {
					list = append(list, e.Key)
				}
			}
		}
	} else {
		var k *sm2.PrivateKey
		if k, err = keyfile.Read(f.data, c.Pass); err == nil {
			list = []*sm2.PrivateKey{k}
		}
	}
	switch {
	case errors.Is(err, keyfile.ErrCurve):
		return nil, "不是 SM2 私钥"
	case errors.Is(err, keyfile.ErrPassphrase), errors.Is(err, pfx.ErrPassword):
		return nil, "口令不符，或文件损坏；口令用 --pass-file 给出"
	case err != nil:
		return nil, "不是能读的私钥文件（PKCS#12、PKCS#8）"
	case len(list) == 0:
		return nil, "文件中没有私钥"
	}
	for _, k := range list {
		found = append(found, private{point: alg.Point(&k.PublicKey), key: k})
	}
	return found, ""
}

// Columns are the header of a registration sheet.
var Columns = []string{"serial", "name", "identity_kind", "identity_number", "unit", "date"}

// registry judges the registration sheets, row by row. What a row says of a
// person never leaves here.
func (c *checker) registry() error {
	for _, f := range c.sheets {
		rows, err := sheet.Table(f.name, f.data, Columns)
		if no := refusal.Of(err); no != nil {
			c.report.misfit("ra", f.name, "", no.Report().Text)
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range rows {
			sn, why := c.row(f.name, r)
			if why != "" {
				c.report.misfit("ra", f.name, sn, "第 "+itoa(r.Line)+" 行："+why)
				continue
			}
			c.report.fit("ra", f.name, sn)
		}
	}
	if len(c.sheets) == 0 {
		return nil
	}
	for _, k := range sorted(c.bySN) {
		if k.row == "" && (k.use == "sign" || k.pair == nil) {
			c.report.misfit("ra", "", k.serial, "证书没有注册资料")
		}
	}
	return nil
}

func (c *checker) row(name string, r sheet.Record) (serial, why string) {
	v := r.Values
	text := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(v["serial"]), ":", ""))
	serial = strings.TrimLeft(text, "0")
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	if serial == "" || len(serial) > 40 || strings.Trim(serial, "0123456789ABCDEF") != "" {
		return "", "序列号应为十六进制"
	}
	k := c.bySN[serial]
	switch {
	case k == nil:
		return serial, "没有符合的证书"
	case k.use == "enc" && k.pair != nil:
		k = k.pair
	}
	if k.row != "" {
		return serial, "这张证书的资料已在 " + k.row
	}
	if strings.TrimSpace(v["name"]) == "" || len(v["name"]) > 600 || len(v["unit"]) > 600 {
		return serial, "姓名或单位为空或过长"
	}
	if err := identity.Check(v["identity_kind"], strings.TrimSpace(v["identity_number"]), c.Now); err != nil {
		return serial, err.Error()
	}
	if _, err := time.Parse("2006-01-02", v["date"]); err != nil {
		return serial, "办理日期应形如 2026-01-02"
	}
	k.row = name + " 第 " + itoa(r.Line) + " 行"
	return serial, ""
}
