// Package envelope tells which of the market's envelopes a key lies in, and
// what is wrong with it. (密钥信封)
//
// It reads SM2EnvelopedKey (GB/T 35276), ENVELOPEDKEYBLOB (GM/T 0016, GB/T
// 35291) and the enveloped data of GM/T 0010 (GB/T 35275) more tolerantly than
// any receiver, so that it can name every deviation. It is written apart from
// the packages that write these forms and shares nothing with them: what they
// wrote is looked at with other eyes before it is handed out.
package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/emmansun/gmsm/sm2"
)

// SizeMax bounds a blob read from outside: an envelope with a certificate
// chain has under 20 KB.
const SizeMax = 256 << 10

// Formats a blob may have.
const (
	SealedKey = "sealed-key"   // SM2EnvelopedKey
	SKF32     = "skf-32"       // ENVELOPEDKEYBLOB, 32 octets encrypted, right-aligned
	SKF64     = "skf-64"       // ENVELOPEDKEYBLOB, all 64 octets encrypted
	SDF       = "sdf"          // the enveloped key pair of GM/T 0018 §5.8
	P7        = "p7"           // SignedAndEnvelopedData
	P7Plain   = "p7-enveloped" // EnvelopedData, which nobody signed
	CFCA      = "cfca"         // text of an escrow answer, no GM/T form
	Unknown   = "unknown"      // none of them
)

// titles are what people call the formats.
var titles = map[string]string{
	SealedKey: "SM2EnvelopedKey（GB/T 35276、GM/T 0009）",
	SKF32:     "ENVELOPEDKEYBLOB（GM/T 0016、GB/T 35291），密文 32 字节右对齐",
	SKF64:     "ENVELOPEDKEYBLOB（GM/T 0016、GB/T 35291），密文 64 字节",
	SDF:       "EnvelopedECCKey（GM/T 0018 的字段次序）",
	P7:        "SignedAndEnvelopedData（GM/T 0010、GB/T 35275）",
	P7Plain:   "EnvelopedData（GM/T 0010、GB/T 35275）",
	CFCA:      "CFCA 托管密钥应答文本（不是国家标准格式）",
	Unknown:   "不是已知的密钥信封",
}

// Level says how grave a finding is.
type Level string

// Levels of findings.
const (
	Wrong Level = "wrong" // a receiver that keeps to the standard refuses it
	Note  Level = "note"  // allowed or read everywhere, but receivers differ
)

// Finding is one deviation.
type Finding struct {
	Level  Level  `json:"level"`
	At     string `json:"at"` // the part
	Clause string `json:"clause"`
	Text   string `json:"text"`
}

// Part is one thing found in the blob.
type Part struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Report is what was found.
type Report struct {
	Format   string    `json:"format"`
	Title    string    `json:"title"`
	Encoding string    `json:"encoding"` // binary, pem, base64, hex or text
	Size     int       `json:"size"`     // octets, decoded
	Parts    []Part    `json:"parts"`
	Findings []Finding `json:"findings"`
	Point    []byte    `json:"point,omitempty"` // the pair's public key, where the form has it
	Opened   *Opened   `json:"opened,omitempty"`

	session sm2Cipher
	content []byte // encrypted private key
	mode    mode
	iv      []byte
	signer  signer
}

type mode int

const (
	modeNone mode = iota // a cipher that is not read here
	modeECB
	modeCBC
)

func (m mode) String() string { return [...]string{"未知", "ECB", "CBC"}[m] }

// sm2Cipher is an SM2 ciphertext taken apart; the parts lie in the order
// C1C3C2 unless swapped.
type sm2Cipher struct {
	x, y, hash, text []byte
	swapped          bool // hash and text stand in the order C1C2C3
	ok               bool
}

func (r *Report) part(name, format string, args ...any) {
	r.Parts = append(r.Parts, Part{name, fmt.Sprintf(format, args...)})
}

func (r *Report) wrong(at, clause, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Wrong, at, clause, fmt.Sprintf(format, args...)})
}

func (r *Report) note(at, clause, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Note, at, clause, fmt.Sprintf(format, args...)})
}

// Fault is the first thing that is wrong, or nil.
func (r *Report) Fault() *Finding {
	for i := range r.Findings {
		if r.Findings[i].Level == Wrong {
			return &r.Findings[i]
		}
	}
	return nil
}

// Inspect says what a blob is. It never fails: what cannot be read is a finding.
func Inspect(data []byte) Report {
	r := Report{Parts: []Part{}, Findings: []Finding{}}
	blob := data
	if len(data) > SizeMax {
		r.Format = Unknown
		r.wrong("文件", "", "大于 %d 字节", SizeMax)
	} else {
		blob, r.Encoding = decoded(data)
		r.read(blob)
	}
	r.Size, r.Title = len(blob), titles[r.Format]
	return r
}

func (r *Report) read(blob []byte) {
	switch {
	case bytes.HasPrefix(blob, []byte(vendorHead)):
		r.Format = CFCA
		r.wrong("文件", "GM/T 0014", "这是厂商的文本应答，令牌和国标软件不读")
	case r.readSKF(blob), r.readSDF(blob):
	default:
		r.readDER(blob)
	}
}

// vendorHead begins the text in which one vendor's CA hands out escrowed keys.
const vendorHead = "00000000000000010000000000000001"

// decoded undoes PEM, Base64 and hexadecimal: files travel in all of them.
func decoded(data []byte) (blob []byte, encoding string) {
	if block, _ := pem.Decode(data); block != nil {
		return block.Bytes, "pem"
	}
	text := strings.Join(strings.Fields(string(data)), "")
	if strings.HasPrefix(text, vendorHead) {
		return []byte(text), "text"
	}
	if len(text) == 0 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != "" {
		return data, "binary"
	}
	if raw, err := hex.DecodeString(text); err == nil {
		return raw, "hex"
	}
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
		return raw, "base64"
	}
	return data, "binary"
}

// coordinate makes 32 octets of a number, or nil when it is longer.
func coordinate(n []byte) []byte {
	n = bytes.TrimLeft(n, "\x00")
	if len(n) > 32 {
		return nil
	}
	return append(make([]byte, 32-len(n)), n...)
}

// point joins two coordinates; ok tells whether they lie on the curve.
func point(x, y []byte) (p []byte, ok bool) {
	p = append([]byte{4}, append(coordinate(x), coordinate(y)...)...)
	if len(p) != 65 {
		return p, false
	}
	_, err := sm2.NewPublicKey(p)
	return p, err == nil
}

// setPoint records the pair's public key.
func (r *Report) setPoint(x, y []byte, at, clause string) {
	p, ok := point(x, y)
	if !ok {
		r.wrong(at, clause, "公钥不是 SM2 曲线上的点")
		return
	}
	r.Point = p
	r.part("加密公钥", "%x", p)
}

// setSession records the encrypted session key.
func (r *Report) setSession(c sm2Cipher, at, clause string) {
	r.session = c
	r.session.ok = true
	if _, ok := point(c.x, c.y); !ok {
		r.wrong(at, clause, "会话密钥密文的 C1 不是 SM2 曲线上的点")
		r.session.ok = false
	}
	if len(c.hash) != 32 || len(c.text) != 16 {
		r.wrong(at, clause, "会话密钥密文应有 32 字节杂凑值和 16 字节密文，实有 %d 和 %d", len(c.hash), len(c.text))
		r.session.ok = false
	}
	r.part("会话密钥密文", "C1 %x，C3 %x，C2 %x", append(coordinate(c.x), coordinate(c.y)...), c.hash, c.text)
}
