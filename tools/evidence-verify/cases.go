package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

type caseFile struct {
	ID         string      `json:"id"`
	Kind       string      `json:"kind"`
	Title      string      `json:"title"`
	State      string      `json:"state"`
	StateTitle string      `json:"state_title"`
	Events     []eventFile `json:"events"`
}

type eventFile struct {
	Number int        `json:"number"`
	At     string     `json:"at"`
	Who    string     `json:"who"`
	Name   string     `json:"name"`
	Did    string     `json:"did"`
	Title  string     `json:"title"`
	From   string     `json:"from"`
	To     string     `json:"to"`
	Note   string     `json:"note"`
	Signed bool       `json:"signed"`
	Item   *itemFile  `json:"item,omitempty"`
	Proof  *proofFile `json:"proof,omitempty"`
}

type itemFile struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Seq    int    `json:"seq"`
	Digest string `json:"digest"`
}

type proofFile struct {
	Index int      `json:"index"`
	Count int      `json:"count"`
	Path  []string `json:"path"`
}

// step is a signed step that was checked.
type step struct {
	caseID, did, who, serial string
	proof                    []byte // SM3 of statement and signature, as the trail has it
	file                     string // of the statement
	covers                   bool   // the content as it lies here
}

// drift is how far apart a statement's time and the event's may be: the desk
// takes a statement for five minutes either way.
const drift = 10 * time.Minute

// decided checks every step of every case.
func (c *container) decided(_ anchors, r *report) error {
	if len(c.m.Cases) == 0 || c.m.Cases[0] != c.m.Case {
		return bad("manifest.json", "第一个案件应是申请案件")
	}
	for i, id := range c.m.Cases {
		path := "cases/" + id + "/case.json"
		var f caseFile
		if err := strict(path, c.files[path], &f); err != nil {
			return err
		}
		if f.ID != id {
			return bad(path, "案件编号不符")
		}
		steps, err := c.events(f)
		if err != nil {
			return err
		}
		if err := c.content(f, i == 0); err != nil {
			return err
		}
		if err := twoPeople(f, steps, i == 0); err != nil {
			return err
		}
		c.steps = append(c.steps, steps...)
		r.say("三、案件 %s（%s，%s）：%d 步，其中 %d 步有签名，签名与证书链全部有效", f.ID, f.Title, f.StateTitle, len(f.Events), len(steps))
		for _, e := range f.Events {
			who := "系统"
			if e.Signed {
				who = fmt.Sprintf("%s（%s）", e.Name, e.Who)
			}
			r.say("    %s  %s  %s  %s", e.At, e.Title, who, e.Note)
		}
	}
	return nil
}

func (c *container) events(f caseFile) (steps []step, err error) {
	dir := "cases/" + f.ID + "/"
	last := ""
	for i, e := range f.Events {
		if e.Number != i+1 || last != "" && e.From != last {
			return nil, bad(dir+"case.json", "第 %d 步与前一步不相接", i+1)
		}
		last = e.To
		if !e.Signed {
			continue
		}
		s, err := c.event(f, e, fmt.Sprintf("%s%02d", dir, e.Number))
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	if last != "" && last != f.State {
		return nil, bad(dir+"case.json", "状态与最后一步不符")
	}
	return steps, nil
}

// event checks one signed step: signer, signature, statement, and that the
// statement's digest covers the item.
func (c *container) event(f caseFile, e eventFile, name string) (s step, err error) {
	text, sig := c.files[name+".txt"], c.files[name+".sig"]
	signer, err := c.signer(name + ".pem")
	if err != nil {
		return s, err
	}
	pub, ok := signer.PublicKey.(*ecdsa.PublicKey)
	if !ok || !verify(pub, text, sig) {
		return s, bad(name+".sig", "签名与声明或签名人证书不符")
	}
	said := statement(text)
	at, err1 := time.Parse(time.RFC3339, said["时间"])
	when, err2 := time.Parse(time.RFC3339Nano, e.At)
	switch {
	case err1 != nil || err2 != nil || when.Sub(at).Abs() > drift:
		return s, bad(name+".txt", "声明时间与办理时间不符")
	case at.Before(signer.NotBefore) || at.After(signer.NotAfter):
		return s, bad(name+".pem", "声明时签名人的证书不在有效期")
	case said["证书序列号"] != serialOf(signer.SerialNumber):
		return s, bad(name+".pem", "不是声明所说的证书")
	case said["系统"] != c.m.Site:
		return s, bad(name+".txt", "声明是对另一个系统作的")
	case said["操作人"] != fmt.Sprintf("%s（%s）", e.Name, e.Who):
		return s, bad(name+".txt", "声明的操作人与经过不符")
	case !strings.HasSuffix(said["操作"], "（ra."+e.Did+"）"):
		return s, bad(name+".txt", "声明的操作与经过不符")
	}
	content, err := c.covered(f, e, said, name)
	return step{f.ID, e.Did, e.Who, said["证书序列号"], digest(text, sig), name + ".txt", content}, err
}

func (c *container) signer(path string) (*smx509.Certificate, error) {
	list, err := certificates(c.files[path])
	if err != nil || len(list) != 1 {
		return nil, bad(path, "应是一张证书")
	}
	for _, k := range c.cas {
		if err = list[0].CheckSignatureFrom(k); err == nil {
			return list[0], nil
		}
	}
	return nil, bad(path, "签名人的证书不是签发 CA 签的：%v", err)
}

// statement takes the lines of a statement apart.
func statement(text []byte) map[string]string {
	lines := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		if name, value, ok := strings.Cut(line, "："); ok && i > 0 {
			if _, twice := lines[name]; !twice {
				lines[name] = value
			}
		}
	}
	return lines
}

// covered checks that the statement's digest is the root of a tree that has the
// item; content tells whether the item is the content as it lies here.
func (c *container) covered(f caseFile, e eventFile, said map[string]string, name string) (content bool, err error) {
	where := "cases/" + f.ID + "/case.json"
	if e.Item == nil || e.Proof == nil || e.Item.ID != f.ID || e.Item.Kind != f.Kind || e.Item.Seq != e.Number-1 {
		return false, bad(where, "第 %d 步签的不是这个案件的这一步", e.Number)
	}
	itemDigest, err := hex.DecodeString(e.Item.Digest)
	if err != nil {
		return false, bad(where, "第 %d 步的内容摘要无效", e.Number)
	}
	path, err := unhex(e.Proof.Path)
	if err != nil {
		return false, bad(where, "第 %d 步的路径无效", e.Number)
	}
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], uint64(e.Item.Seq))
	leaf := digest([]byte{0}, []byte(e.Item.Kind), []byte{0}, []byte(e.Item.ID), []byte{0}, seq[:], itemDigest)
	root, ok := climb(leaf, int64(e.Proof.Index), int64(e.Proof.Count), path)
	if !ok || said["事项数"] != strconv.Itoa(e.Proof.Count) || said["内容摘要"] != "SM3 "+hex.EncodeToString(root) {
		return false, bad(name+".txt", "声明的内容摘要不含本案件")
	}
	return bytes.Equal(itemDigest, digest(c.files["cases/"+f.ID+"/content.json"])), nil
}

// content checks what the case is about: an application for this key, or
// something asked about these certificates.
func (c *container) content(f caseFile, application bool) error {
	path := "cases/" + f.ID + "/content.json"
	var v struct {
		ID      string `json:"id"`
		Serial  string `json:"serial"`
		CSR     []byte `json:"csr"`
		Subject struct {
			CN string `json:"CN"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(c.files[path], &v); err != nil {
		return bad(path, "%v", err)
	}
	if v.ID != f.ID {
		return bad(path, "不是本案件的内容")
	}
	if !application {
		if v.Serial != "" && v.Serial != c.m.Sign && v.Serial != c.m.Enc {
			return bad(path, "说的是另一张证书 %s", v.Serial)
		}
		return nil
	}
	q, err := smx509.ParseCertificateRequest(v.CSR)
	if err != nil {
		return bad(path, "证书请求：%v", err)
	}
	if pub, ok := q.PublicKey.(*ecdsa.PublicKey); !ok || q.CheckSignature() != nil || !pub.Equal(c.sign.PublicKey) {
		return bad(path, "申请的密钥不是签名证书的密钥")
	}
	if v.Subject.CN != c.sign.Subject.CommonName {
		return bad(path, "申请的名称与签名证书不符")
	}
	return nil
}

// twoPeople checks that the content as it lies here was asked for by one person
// and approved by another. A change of status that took effect needs both as
// well; of other sorts of case the format only says that somebody signed.
func twoPeople(f caseFile, steps []step, application bool) error {
	path := "cases/" + f.ID + "/content.json"
	var asked, approved *step
	for i, s := range steps {
		switch {
		case !s.covers:
		case s.did == "approve":
			approved = &steps[i]
		case asked == nil || s.did == "submit":
			asked = &steps[i]
		}
	}
	if asked == nil && len(steps) > 0 {
		return bad(path, "没有人签过这份内容")
	}
	if !application && (!slices.Contains([]string{"ra.revoke", "ra.freeze", "ra.unfreeze"}, f.Kind) || f.State != "done") {
		return nil
	}
	if asked == nil || approved == nil {
		return bad(path, "这份内容没有两个人的签名")
	}
	if asked.who == approved.who || asked.serial == approved.serial {
		return bad(approved.file, "申请与核准是同一个人")
	}
	return nil
}
