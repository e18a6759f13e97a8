package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

type entriesFile struct {
	Entries []entryFile `json:"entries"`
}

type entryFile struct {
	Index int64    `json:"index"`
	Leaf  []byte   `json:"leaf"`
	Path  []string `json:"path"`
}

// entry is a leaf taken apart.
type entry struct {
	index  int64
	kind   string
	at     time.Time
	body   []byte
	digest []byte // in place of a body that stays private
}

// climb computes the root of a tree of n leaves from leaf i and its path, from
// the leaf upward (RFC 6962 §2.1.1).
func climb(h []byte, i, n int64, path [][]byte) ([]byte, bool) {
	if i < 0 || i >= n {
		return nil, false
	}
	for fn, sn := i, n-1; ; fn, sn = fn>>1, sn>>1 {
		if sn == 0 {
			return h, len(path) == 0
		}
		if fn&1 == 0 && fn == sn {
			continue // nothing beside it at this level
		}
		if len(path) == 0 {
			return nil, false
		}
		if fn&1 == 1 {
			h = digest([]byte{1}, path[0], h)
		} else {
			h = digest([]byte{1}, h, path[0])
		}
		path = path[1:]
	}
}

func unhex(list []string) (out [][]byte, err error) {
	for _, s := range list {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("不是 SM3 摘要")
		}
		out = append(out, b)
	}
	return out, nil
}

// checkpoint reads a signed note: origin, size, root, time; then the signature.
func checkpoint(path string, note []byte, pub *ecdsa.PublicKey) (origin string, size int64, root []byte, err error) {
	text, sigs, ok := strings.Cut(string(note), "\n\n")
	lines := strings.Split(text, "\n")
	if !ok || len(lines) != 4 || !strings.HasPrefix(lines[3], "time ") {
		return "", 0, nil, bad(path, "不是检查点")
	}
	text += "\n"
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err1 != nil || err2 != nil || len(root) != 32 || size < 0 {
		return "", 0, nil, bad(path, "条数或根无效")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(sigs, "\n"), "\n") {
		rest, ours := strings.CutPrefix(line, "— "+lines[0]+" ")
		blob, err := base64.StdEncoding.Strict().DecodeString(rest)
		if !ours || err != nil || len(blob) < 5 {
			continue
		}
		id := digest([]byte(lines[0]), []byte("\n\xffhufu/sm2-sm3"), point(pub))[:4]
		if bytes.Equal(blob[:4], id) && verify(pub, []byte(text), blob[4:]) {
			return lines[0], size, root, nil
		}
	}
	return "", 0, nil, bad(path, "检查点的签名与公钥不符")
}

func point(pub *ecdsa.PublicKey) []byte {
	p := append([]byte{4}, make([]byte, 64)...)
	pub.X.FillBytes(p[1:33])
	pub.Y.FillBytes(p[33:])
	return p
}

// log checks a log's checkpoint and that each entry is under it.
func (c *container) log(dir string, key *ecdsa.PublicKey) (list []entry, size int64, err error) {
	if key == nil {
		name := map[string]string{"audit": "keys/audit.pem", "ledger": "keys/ledger.pem"}[dir]
		if key, err = publicKey(c.files[name]); err != nil {
			return nil, 0, bad(name, "%v", err)
		}
	}
	_, size, root, err := checkpoint(dir+"/checkpoint", c.files[dir+"/checkpoint"], key)
	if err != nil {
		return nil, 0, err
	}
	path := dir + "/entries.json"
	var f entriesFile
	if err := strict(path, c.files[path], &f); err != nil {
		return nil, 0, err
	}
	for i, e := range f.Entries {
		if i > 0 && f.Entries[i-1].Index >= e.Index {
			return nil, 0, bad(path, "条目没有按序排列")
		}
		steps, err := unhex(e.Path)
		if err != nil {
			return nil, 0, bad(path, "第 %d 条的路径无效", e.Index)
		}
		got, ok := climb(digest([]byte{0}, e.Leaf), e.Index, size, steps)
		if !ok || !bytes.Equal(got, root) {
			return nil, 0, bad(path, "第 %d 条不在检查点之下", e.Index)
		}
		one, err := parse(e.Leaf)
		if err != nil {
			return nil, 0, bad(path, "第 %d 条：%v", e.Index, err)
		}
		one.index = e.Index
		list = append(list, one)
	}
	return list, size, nil
}

func parse(leaf []byte) (e entry, err error) {
	var v struct {
		Kind string `asn1:"utf8"`
		At   int64
		Body asn1.RawValue
	}
	rest, err := asn1.Unmarshal(leaf, &v)
	if err != nil || len(rest) > 0 || v.Body.Class != asn1.ClassContextSpecific || v.Body.Tag > 1 {
		return e, fmt.Errorf("不是账本条目")
	}
	e = entry{kind: v.Kind, at: time.UnixMilli(v.At).UTC()}
	if v.Body.Tag == 0 {
		e.body = v.Body.Bytes
	} else {
		e.digest = v.Body.Bytes
	}
	return e, nil
}

// audited checks the trail: every signed step has its line, with the digest of
// that very statement and signature.
func (c *container) audited(a anchors, r *report) error {
	const path = "audit/entries.json"
	list, size, err := c.log("audit", a.audit)
	if err != nil {
		return err
	}
	lines := map[string]bool{}
	read := false
	for _, e := range list {
		var v struct {
			Start, End                                            int64
			Who, Role, Item, Object, Serial, Result, From, Detail string
			Proof                                                 []byte
		}
		if e.kind != "audit" {
			return bad(path, "第 %d 条不是操作记录", e.index)
		}
		if rest, err := asn1.Unmarshal(e.body, &v); err != nil || len(rest) > 0 || !c.about(v.Object) {
			return bad(path, "第 %d 条不是这些案件的记录", e.index)
		}
		if v.Result == "done" {
			lines[v.Object+" "+v.Item+" "+v.Who+" "+hex.EncodeToString(v.Proof)] = true
		}
		read = read || v.Item == "ra.evidence-file" && v.Who == c.m.By && v.Object == c.m.Case
	}
	for _, s := range c.steps {
		if !lines[s.caseID+" ra."+s.did+" "+s.who+" "+hex.EncodeToString(s.proof)] {
			return bad(s.file, "审计账本中没有这一步的记录")
		}
	}
	if !read {
		return bad(path, "没有本次导出的记录")
	}
	r.say("四、审计：检查点（共 %d 条）签名有效，%d 条记录都在其下，%d 步签名各有记录", size, len(list), len(c.steps))
	return nil
}

// state is a change of status as the ledger has it.
type state struct {
	serial  string
	revoked bool
	reason  int
	at      time.Time
}

// published checks what the CA said in public.
func (c *container) published(a anchors, r *report) error {
	list, size, err := c.log("ledger", a.ledger)
	if err != nil {
		return err
	}
	found := map[string]int64{}
	escrow := int64(-1)
	for _, e := range list {
		switch e.kind {
		case "certificate":
			if err := c.certificateEntry(e, found); err != nil {
				return err
			}
		case "status":
			if err := c.statusEntry(e); err != nil {
				return err
			}
		case "escrow":
			escrow = e.index
			if a.sealed != nil && (c.enc == nil || !bytes.Equal(e.digest, digest(c.enc.SerialNumber.Bytes(), a.sealed))) {
				return bad("ledger/entries.json", "托管摘要与给定的 sealed-key.der 不符")
			}
		case "crl":
			var v struct {
				Issuer   []byte
				Scope    string
				Number   int64
				From, To int64
				Digest   []byte
			}
			if rest, err := asn1.Unmarshal(e.body, &v); err != nil || len(rest) > 0 {
				return bad("ledger/entries.json", "第 %d 条不是撤销列表条目", e.index)
			}
			c.crlDigest = append(c.crlDigest, hex.EncodeToString(v.Digest))
		default:
			return bad("ledger/entries.json", "第 %d 条是 %s", e.index, e.kind)
		}
	}
	for _, serial := range []string{c.m.Sign, c.m.Enc} {
		if _, ok := found[serial]; !ok && serial != "" {
			return bad("ledger/entries.json", "没有证书 %s 的签发条目", serial)
		}
	}
	if c.m.Enc != "" && escrow < 0 {
		return bad("ledger/entries.json", "没有加密密钥的托管条目")
	}
	r.say("五、账本：检查点（共 %d 条）签名有效，签发条目 %d、状态条目 %d 都在其下", size, len(found), len(c.states))
	if a.sealed != nil {
		r.say("    托管摘要（第 %d 条）与 sealed-key.der 相符", escrow)
	}
	return nil
}

func (c *container) certificateEntry(e entry, found map[string]int64) error {
	const path = "ledger/entries.json"
	var v struct {
		Issuer, Serial, Pair []byte
		Use, Profile         string
		From, To, Shard      int64
		Digest               []byte
		Public               bool
		Due                  int64 `asn1:"optional"`
	}
	if rest, err := asn1.Unmarshal(e.body, &v); err != nil || len(rest) > 0 || !c.ours(v.Serial) {
		return bad(path, "第 %d 条不是这对证书的签发条目", e.index)
	}
	file, der := "certificates/sign.pem", c.sign.Raw
	serial := serialOf(new(big.Int).SetBytes(v.Serial))
	if serial == c.m.Enc {
		file, der = "certificates/enc.pem", c.enc.Raw
	}
	if !bytes.Equal(v.Digest, digest(der)) || !c.issuedBy(serial, v.Issuer) {
		return bad(file, "与账本第 %d 条的摘要不符", e.index)
	}
	if _, twice := found[serial]; twice {
		return bad(path, "证书 %s 签发了两次", serial)
	}
	found[serial] = e.index
	return nil
}

// issuedBy reports whether a digest is that of the CA certificate over one of
// the pair.
func (c *container) issuedBy(serial string, sm3 []byte) bool {
	by := c.by[serial]
	return by != nil && bytes.Equal(sm3, digest(by.Raw))
}

func (c *container) statusEntry(e entry) error {
	var v struct {
		Issuer, Serial []byte
		Revoked        bool
		Reason         int
		At, Invalid    int64
	}
	if rest, err := asn1.Unmarshal(e.body, &v); err != nil || len(rest) > 0 || !c.ours(v.Serial) || !c.issuedBy(serialOf(new(big.Int).SetBytes(v.Serial)), v.Issuer) {
		return bad("ledger/entries.json", "第 %d 条不是这对证书的状态条目", e.index)
	}
	c.states = append(c.states, state{serialOf(new(big.Int).SetBytes(v.Serial)), v.Revoked, v.Reason, time.Unix(v.At, 0).UTC()})
	return nil
}
