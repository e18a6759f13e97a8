package main

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
)

// Bounds of what is read.
const (
	filesMax = 20000
	fileMax  = 64 << 20
)

type manifest struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Site    string    `json:"site"`
	Case    string    `json:"case"`
	Sign    string    `json:"sign_serial"`
	Enc     string    `json:"enc_serial,omitempty"`
	At      string    `json:"exported_at"`
	By      string    `json:"exported_by"`
	Cases   []string  `json:"cases"`
	Files   []fileRef `json:"files"`
}

type fileRef struct {
	Path string `json:"path"`
	Size int    `json:"size"`
	SM3  string `json:"sm3"`
}

// container is a file as it was read, and what was established about it.
type container struct {
	files     map[string][]byte
	m         manifest
	exported  time.Time
	sign, enc *smx509.Certificate
	ca        *smx509.Certificate
	cas       []*smx509.Certificate          // of all its keys
	by        map[string]*smx509.Certificate // which of them signed, by serial
	steps     []step                         // signed, of all cases
	states    []state                        // of the ledger, oldest first
	crlDigest []string
}

// open reads the container; a file whose bytes do not even unpack is named.
func open(name string) (*container, error) {
	z, err := zip.OpenReader(name)
	if err != nil {
		return nil, bad(name, "不是 ZIP 文件：%v", err)
	}
	defer z.Close()
	if len(z.File) > filesMax {
		return nil, bad(name, "文件多于 %d 个", filesMax)
	}
	c := &container{files: map[string][]byte{}}
	for _, f := range z.File {
		if _, twice := c.files[f.Name]; twice {
			return nil, bad(f.Name, "出现两次")
		}
		r, err := f.Open()
		if err != nil {
			return nil, bad(f.Name, "%v", err)
		}
		data, err := io.ReadAll(io.LimitReader(r, fileMax+1))
		if err = errors.Join(err, r.Close()); err != nil || len(data) > fileMax {
			return nil, bad(f.Name, "读不出来：%v", err)
		}
		c.files[f.Name] = data
	}
	return c, nil
}

// strict decodes JSON that must be in the one spelling the format has.
func strict(path string, data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return bad(path, "%v", err)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil || strings.TrimSuffix(b.String(), "\n") != string(data) {
		return bad(path, "不是规范的 JSON 写法")
	}
	return nil
}

func digest(parts ...[]byte) []byte {
	h := sm3.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func verify(pub *ecdsa.PublicKey, message, sig []byte) bool {
	return sm2.VerifyASN1WithSM2(pub, nil, message, sig)
}

const manifestHead = "hufu-evidence 1\nsm3 "

// manifestSigned checks the manifest's signature first, then every file
// against the manifest.
func (c *container) manifestSigned(a anchors, r *report) error {
	data, sig := c.files["manifest.json"], c.files["manifest.sig"]
	if data == nil || sig == nil {
		return bad("manifest.json", "没有清单或清单的签名")
	}
	key := a.audit
	if key == nil {
		var err error
		if key, err = publicKey(c.files["keys/audit.pem"]); err != nil {
			return bad("keys/audit.pem", "%v", err)
		}
	}
	lines := strings.SplitAfter(string(sig), "\n")
	if len(lines) != 4 || lines[3] != "" || !strings.HasPrefix(string(sig), manifestHead) {
		return bad("manifest.sig", "格式不对")
	}
	text := lines[0] + lines[1]
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(lines[2], "\n"))
	if err != nil || !verify(key, []byte(text), raw) {
		return bad("manifest.sig", "清单的签名与审计公钥不符")
	}
	if text != manifestHead+hex.EncodeToString(digest(data))+"\n" {
		return bad("manifest.json", "与签名的摘要不符")
	}
	if err := strict("manifest.json", data, &c.m); err != nil {
		return err
	}
	if c.m.Format != "hufu-evidence" || c.m.Version != 1 {
		return bad("manifest.json", "格式 %s 第 %d 版，本程序只认 hufu-evidence 第 1 版", c.m.Format, c.m.Version)
	}
	if c.exported, err = time.Parse(time.RFC3339, c.m.At); err != nil {
		return bad("manifest.json", "导出时间无效")
	}
	if err := c.complete(); err != nil {
		return err
	}
	r.say("证书证据文件：签名证书 %s，加密证书 %s，%s 由 %s 导出", c.m.Sign, c.m.Enc, c.m.At, c.m.By)
	r.say("一、清单：签名有效，%d 个文件的摘要全部相符", len(c.m.Files))
	return nil
}

// complete holds files and manifest against each other.
func (c *container) complete() error {
	listed := map[string]bool{"manifest.json": true, "manifest.sig": true}
	for i, f := range c.m.Files {
		if i > 0 && c.m.Files[i-1].Path >= f.Path {
			return bad("manifest.json", "文件没有按名称排列")
		}
		data, ok := c.files[f.Path]
		if !ok {
			return bad(f.Path, "清单中有，文件中没有")
		}
		if len(data) != f.Size || hex.EncodeToString(digest(data)) != f.SM3 {
			return bad(f.Path, "与清单的摘要不符")
		}
		listed[f.Path] = true
	}
	for name := range c.files {
		if !listed[name] {
			return bad(name, "不在清单中")
		}
	}
	return nil
}

// chained checks the certificates up to the root, and that the keys inside are
// those of the anchors.
func (c *container) chained(a anchors, r *report) error {
	chain, err := certificates(c.files["certificates/chain.pem"])
	if err != nil || len(chain) < 2 || len(chain) > 16 {
		return bad("certificates/chain.pem", "应先有签发 CA 和根两张证书，其后是同一 CA 其他密钥的证书")
	}
	root := chain[1]
	if a.root != nil && !bytes.Equal(a.root.Raw, root.Raw) {
		return bad("certificates/chain.pem", "根证书不是给定的根证书")
	}
	if err := errors.Join(root.CheckSignatureFrom(root), chain[0].CheckSignatureFrom(root)); err != nil {
		return bad("certificates/chain.pem", "%v", err)
	}
	c.ca, c.cas, c.by = chain[0], chain[:1], map[string]*smx509.Certificate{}
	for _, k := range chain[2:] {
		if err := k.CheckSignatureFrom(root); err != nil || !bytes.Equal(k.RawSubject, c.ca.RawSubject) {
			return bad("certificates/chain.pem", "%s 不是同一 CA 的证书，或不是根签的", k.Subject)
		}
		c.cas = append(c.cas, k)
	}
	if c.sign, err = c.issued("certificates/sign.pem", c.m.Sign); err != nil {
		return err
	}
	if c.m.Enc != "" {
		if c.enc, err = c.issued("certificates/enc.pem", c.m.Enc); err != nil {
			return err
		}
		if !bytes.Equal(c.enc.RawSubject, c.sign.RawSubject) {
			return bad("certificates/enc.pem", "主体与签名证书不同")
		}
	}
	for name, want := range map[string]*ecdsa.PublicKey{"keys/audit.pem": a.audit, "keys/ledger.pem": a.ledger} {
		got, err := publicKey(c.files[name])
		if err != nil {
			return bad(name, "%v", err)
		}
		if want != nil && !got.Equal(want) {
			return bad(name, "不是给定的公钥")
		}
		if want == nil {
			r.say("    注意：%s 未经外部核对，SM3 %x", name, digest(c.files[name]))
		}
	}
	if a.root == nil {
		r.say("    注意：根证书未经外部核对，SM3 %x", digest(root.Raw))
	}
	r.say("二、证书：%s，有效期 %s 至 %s，证书链到根完好", c.sign.Subject, day(c.sign.NotBefore), day(c.sign.NotAfter))
	return nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// issued is a certificate by this CA with the serial the manifest says.
func (c *container) issued(path, serial string) (*smx509.Certificate, error) {
	list, err := certificates(c.files[path])
	if err != nil || len(list) != 1 {
		return nil, bad(path, "应是一张证书")
	}
	by := []*smx509.Certificate{c.ca}
	if path != "certificates/sign.pem" { // it stays the older key's when its own key is recovered
		by = c.cas
	}
	for _, k := range by {
		if err = list[0].CheckSignatureFrom(k); err == nil {
			c.by[serial] = k
			break
		}
	}
	if err != nil {
		return nil, bad(path, "不是签发 CA 签的：%v", err)
	}
	if serialOf(list[0].SerialNumber) != serial {
		return nil, bad(path, "序列号与清单不符")
	}
	return list[0], nil
}

// serialOf writes a serial as openssl does: hexadecimal in whole octets.
func serialOf(n *big.Int) string { return strings.ToUpper(hex.EncodeToString(n.Bytes())) }

// ours reports whether a serial is one of the pair.
func (c *container) ours(serial []byte) bool {
	s := serialOf(new(big.Int).SetBytes(serial))
	return s == c.m.Sign || c.m.Enc != "" && s == c.m.Enc
}

func (c *container) about(id string) bool { return slices.Contains(c.m.Cases, id) }
