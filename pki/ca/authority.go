package ca

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// SubordinateProfile is the profile of a subordinate CA's certificate. (下级 CA)
const SubordinateProfile = "subordinate-ca"

// AuthorityOrder is what people agreed that a subordinate CA's certificate is
// to say. Its form is what they signed.
type AuthorityOrder struct {
	Profile   string   `json:"profile"`
	Issuer    string   `json:"issuer"`  // "root" or "operating"
	CSR       []byte   `json:"request"` // DER
	Days      int      `json:"days"`
	PathLen   int      `json:"path_len"`
	Policies  []string `json:"policies"`            // OIDs, at least one
	Permitted []string `json:"permitted,omitempty"` // "dns:gov.cn", "email:gov.cn", "dn:C=CN,O=…"
}

// Bounds of an order: what a validator reads on every certificate below.
const (
	policiesMax  = 16
	permittedMax = 16
)

// Subordinate is what an order was read to.
type Subordinate struct {
	Name  dn.Name
	Point []byte

	profile profile.Profile
	subject []byte
	bounds  profile.Wish
}

// ReadAuthority checks an order against the issuer that is to carry it out:
// proof of possession, name, bounds, and whatever else the request asks for.
func (is *Issuer) ReadAuthority(o AuthorityOrder) (Subordinate, error) {
	is = is.Current()
	s := Subordinate{profile: is.profiles()[SubordinateProfile]}
	if s.profile.Usage != "ca" || o.Profile != SubordinateProfile {
		return s, NoProfile.At("profile", NoProfile.Clause).Because("%.40q", o.Profile)
	}
	req, err := csr.Parse(o.CSR)
	if err != nil {
		return s, BadRequest.At("csr", BadRequest.Clause).Because("%v", err)
	}
	s.Point, s.subject = req.Point, req.Subject
	for _, step := range []func(*Subordinate, AuthorityOrder) error{is.readName, is.readBounds, readPolicies, readPermitted} {
		if err := step(&s, o); err != nil {
			return s, err
		}
	}
	return s, is.readAsked(s, req)
}

// readName: a subordinate CA signs with the name in its certificate, octet for
// octet, so its request must state it as we would write it.
func (is *Issuer) readName(s *Subordinate, _ AuthorityOrder) (err error) {
	if s.Name, err = dn.Parse(s.subject); err != nil {
		return BadAuthority.At("csr", "GM/T 0043 §6.2.1").Because("主体无法读取：%v", err)
	}
	if fault := s.profile.CheckSubject(s.Name); fault != nil {
		return BadAuthority.At(fault.Field, fault.Clause).Because("%s", fault.Why).ToFix(fault.Fix)
	}
	if !bytes.Equal(s.Name.Bytes(), s.subject) {
		return BadAuthority.At("csr", "GM/T 0043 §6.2.1e").Because("主体的次序应为 C、ST、L、O、OU、CN，C 用 PrintableString，其余用 UTF8String")
	}
	own := []*cert.Certificate{is.Root}
	for _, g := range is.Generations() {
		own = append(own, g.Cert)
	}
	for _, c := range own {
		if c == nil {
			continue
		}
		n, err := dn.Parse(c.Subject)
		switch {
		case err != nil:
			return err
		case n.CN == s.Name.CN:
			return BadAuthority.At("subject.CN", "GM/T 0034 §5.3.4").Because("“%s”是本机构 CA 的名称", n.CN)
		case bytes.Equal(c.Point, s.Point):
			return BadAuthority.At("csr", "GM/T 0034 §8.2.4").Because("公钥是本机构 CA 的公钥")
		}
	}
	return nil
}

func (is *Issuer) readBounds(s *Subordinate, o AuthorityOrder) error {
	const clause = "RFC 5280 §4.2.1.9"
	above, ok := is.Cert.PathLen()
	switch {
	case !ok || above == 0:
		return BadAuthority.At("issuer", clause).Because("签发者证书的路径长度为 0，不能签发下级 CA").ToFix("请改由根 CA 签发")
	case o.PathLen < 0 || o.PathLen > s.profile.PathLen || above > 0 && o.PathLen >= above:
		return BadAuthority.At("path_len", clause).Because("应为 0 至 %d", maxPath(above, s.profile.PathLen))
	case o.Days < 1 || o.Days > s.profile.Days.Max:
		return BadAuthority.At("days", "GM/T 0015 §5.2.3").Because("应为 1 至 %d 天", s.profile.Days.Max)
	case is.Now().AddDate(0, 0, o.Days).After(is.Cert.NotAfter):
		return TooLong.At("days", TooLong.Clause).Because("签发者证书至 %s", is.Cert.NotAfter.Format("2006-01-02"))
	}
	s.bounds.PathLen = o.PathLen
	return nil
}

func maxPath(above, most int) int {
	if above > 0 {
		return min(above-1, most)
	}
	return most
}

func readPolicies(s *Subordinate, o AuthorityOrder) error {
	const clause = "RFC 5280 §4.2.1.4"
	if len(o.Policies) == 0 || len(o.Policies) > policiesMax {
		return BadAuthority.At("policies", clause).Because("应列出 1 至 %d 个策略标识", policiesMax)
	}
	seen := map[string]bool{}
	for _, text := range o.Policies {
		id, err := profile.OID(text)
		if err != nil || id.Equal(cert.AnyPolicy) || seen[text] {
			return BadAuthority.At("policies", clause).Because("%.60q 不是策略标识，或是任意策略，或重复", text)
		}
		seen[text] = true
		s.bounds.Policies = append(s.bounds.Policies, id)
	}
	return nil
}

func readPermitted(s *Subordinate, o AuthorityOrder) error {
	const clause = "RFC 5280 §4.2.1.10"
	if len(o.Permitted) > permittedMax {
		return BadAuthority.At("permitted", clause).Because("至多 %d 项", permittedMax)
	}
	for _, text := range o.Permitted {
		kind, value, _ := strings.Cut(text, ":")
		tree := cert.Subtree{Kind: kind, Value: []byte(value)}
		switch {
		case kind == "dn":
			n, err := readDN(value)
			if err != nil {
				return BadAuthority.At("permitted", clause).Because("%.80q 应形如 dn:C=CN,O=某某局", text)
			}
			tree.Value = n.Bytes()
		case kind != "dns" && kind != "email" || !domain(value):
			return BadAuthority.At("permitted", clause).Because("%.80q 应形如 dns:gov.cn、email:gov.cn 或 dn:C=CN,O=某某局", text)
		}
		s.bounds.Permitted = append(s.bounds.Permitted, tree)
	}
	return nil
}

// readDN reads "C=CN,O=某某局", in the order certificates have.
func readDN(text string) (n dn.Name, err error) {
	for part := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		to := map[string]*string{"C": &n.C, "ST": &n.ST, "L": &n.L, "O": &n.O}[k]
		switch {
		case ok && k == "OU" && v != "":
			n.OU = append(n.OU, v)
		case !ok || to == nil || *to != "" || v == "":
			return n, dn.ErrSyntax
		default:
			*to = v
		}
	}
	return n, nil
}

func domain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return len(s) <= 253
}

// readAsked holds the extensions a request asks for against those it will get:
// nothing it asks for is passed over.
func (is *Issuer) readAsked(s Subordinate, req *csr.Request) error {
	wish := s.bounds
	wish.Serial, wish.Subject, wish.Point, wish.NotBefore, wish.NotAfter = []byte{1}, s.subject, s.Point, is.Now(), is.Now()
	c, err := cert.ParseTBS(s.profile.Draft(profile.Sign, wish, is.Cert, is.place(Authorities)))
	if err != nil {
		return fmt.Errorf("drafting: %w", err)
	}
	if len(req.Other) > 0 {
		return BadAuthority.At("csr", "GM/T 0092").Because("请求带有不认识的属性 %v", req.Other[0])
	}
	for _, e := range req.Extensions {
		if got, ok := c.Extension(e.ID); !ok || !bytes.Equal(got.Value, e.Value) {
			return BadAuthority.At("csr", "GM/T 0092").Because("请求的扩展 %s 与批准的不同", oidText(e.ID))
		}
	}
	return nil
}

func oidText(id asn1.ObjectIdentifier) string {
	switch {
	case id.Equal(cert.BasicConstraints):
		return "基本限制"
	case id.Equal(cert.KeyUsageID):
		return "密钥用法"
	}
	return id.String()
}

// SignAuthority certifies a subordinate CA, once for a request: whoever agreed
// to it is on record where they did. It takes the same road as every
// certificate, and the ledger names the new CA.
func (is *Issuer) SignAuthority(ctx context.Context, id string, o AuthorityOrder) ([]byte, error) {
	is = is.Current()
	known, err := is.Store.Jobs(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	j := &job{Job: known[id], app: enroll.Application{ID: id, Profile: SubordinateProfile}}
	if j.State != None && !bytes.Equal(j.Content, content) {
		return nil, Changed.At("id", Changed.Clause)
	}
	if j.State == Recorded {
		return j.DER.Sign, nil
	}
	s, err := is.ReadAuthority(o)
	if err != nil {
		return nil, err
	}
	j.profile, j.subject, j.point, j.bounds = s.profile, s.subject, s.Point, s.bounds
	if j.State == None {
		now := is.Now().UTC().Truncate(time.Second)
		j.ID, j.Content, j.KeyHash = id, content, alg.Digest(s.Point)
		j.From, j.To = now.Add(-backdate), now.Add(-backdate).AddDate(0, 0, o.Days)
	}
	return is.single(ctx, j)
}

// Authority finds a subordinate CA's certificate; NoCert if the serial is
// another certificate's.
func (is *Issuer) Authority(ctx context.Context, serial []byte) (Issued, error) {
	c, err := is.Store.Certificate(ctx, serial)
	if err == nil && c.Profile != SubordinateProfile {
		return c, NoCert.At("serial", NoCert.Clause).Because("不是下级 CA 的证书")
	}
	return c, err
}
