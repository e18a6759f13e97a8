package ra

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm3"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Form is an application as a person or a program brings it.
type Form struct {
	ID       string         `json:"id,omitempty"` // a draft to correct
	Profile  string         `json:"profile"`
	Subject  dn.Name        `json:"subject"`
	Identity IdentityForm   `json:"identity"`
	CSR      string         `json:"csr"`
	SAN      []cert.AltName `json:"san,omitempty"`
	Days     int            `json:"validity_days,omitempty"`
	Notices  []string       `json:"notices,omitempty"`   // codes of Notices; all four when absent
	For      string         `json:"for,omitempty"`       // a code of Purposes; a first certificate when absent
	Replaces string         `json:"replaces,omitempty"`  // serial of a certificate it follows
	Cause    string         `json:"cause,omitempty"`     // of an amendment, a key of Causes
	Unit     string         `json:"unit,omitempty"`      // credit code of a unit on the register
	Accord   string         `json:"agreement,omitempty"` // version agreed to; that in force when absent, "none" when not agreed
}

// IdentityForm is the identity document and how it was checked.
type IdentityForm struct {
	Kind       string   `json:"kind"`
	Number     string   `json:"number"`
	CreditCode string   `json:"credit-code,omitempty"`
	Method     string   `json:"method,omitempty"` // key of CheckMethods; in-person when absent
	CheckedBy  string   `json:"checked_by,omitempty"`
	CheckedAt  string   `json:"checked_at,omitempty"`
	Evidence   []string `json:"evidence,omitempty"` // SM3 of files, hex
}

// ParseForm reads an application in JSON strictly.
func ParseForm(data []byte) (Form, error) {
	var f Form
	if len(data) > FormMax {
		return f, BadForm.At("file", BadForm.Clause).Because("超过 %d 字节", FormMax)
	}
	var no *strict.Error
	if err := strict.JSON(data, &f); errors.As(err, &no) {
		return f, BadForm.At(cmp.Or(no.Field, "file"), BadForm.Clause).Because("%s", no.Text)
	}
	return f, nil
}

// newID is a case number: the day and 40 random bits, short enough to say.
func newID(prefix string, now time.Time) string {
	b := make([]byte, 5)
	_, _ = rand.Read(b) // crypto/rand never fails
	return prefix + now.Format("20060102") + "-" + base32.HexEncoding.EncodeToString(b)
}

// Draft checks a form and opens, or corrects, a case.
func (r *Registrar) Draft(ctx context.Context, f Form, by access.Person, source string) (Record, error) {
	rec, err := r.compose(ctx, f, by)
	if err != nil {
		return Record{}, err
	}
	return rec, r.Store.Draft(ctx, []Record{rec}, nil, []audit.Entry{r.line(by, "ra.draft", rec.ID, source)})
}

func (r *Registrar) line(by access.Person, item, object, source string) audit.Entry {
	now := r.Now()
	return audit.Entry{Start: now, End: now, Who: string(by.ID), Role: roles(by), Item: item, Object: object, Result: audit.Done, Source: source}
}

func roles(p access.Person) string {
	names := make([]string, len(p.Roles))
	for i, role := range p.Roles {
		names[i] = string(role)
	}
	return strings.Join(names, " ")
}

// compose checks every field and puts the record together.
func (r *Registrar) compose(ctx context.Context, f Form, by access.Person) (Record, error) {
	if !by.Holds(access.RAClerk) && !by.Holds(access.Holder) {
		return Record{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("起草须由录入员办理")
	}
	if err := r.standing(ctx, by); err != nil {
		return Record{}, err
	}
	if err := r.correctable(ctx, f.ID, by); err != nil {
		return Record{}, err
	}
	f, old, err := r.followed(ctx, f)
	if err != nil {
		return Record{}, err
	}
	if f, err = r.fromUnit(ctx, f); err != nil {
		return Record{}, err
	}
	if strings.TrimSpace(f.Profile) == "" {
		return Record{}, NoProfile.At("profile", NoProfile.Clause).Because("没有填写").ToFix("可用模板：" + strings.Join(r.open(), "、"))
	}
	p, ok := r.InForce()[f.Profile]
	if !ok || p.Internal {
		return Record{}, NoProfile.At("profile", NoProfile.Clause).Because("%.40q", f.Profile).ToFix("可用模板：" + strings.Join(r.open(), "、"))
	}
	for _, fault := range []*profile.Fault{p.CheckSubject(f.Subject), p.CheckSAN(f.Subject.CN, f.SAN), p.CheckDays(f.Days)} {
		if fault != nil {
			return Record{}, BadField.At(fault.Field, fault.Clause).Because("%s", fault.Why).ToFix(fault.Fix)
		}
	}
	if f.Identity.Method == HolderKey && !by.Holds(access.Holder) {
		return Record{}, BadIdentity.At("identity.method", BadIdentity.Clause).Because("%s只由自助服务记录", CheckMethods[HolderKey])
	}
	if err := r.checkIdentity(p, f.Identity); err != nil {
		return Record{}, err
	}
	if f.Cause != "" && (f.For != enroll.Amend || Causes[f.Cause] == "") {
		return Record{}, BadField.At("cause", "电子政务电子认证服务管理办法 第二十条").Because("%.40q 不是更正原因，或不是更正申请", f.Cause).ToFix("更正申请可用：fault（本机构有误）、change（持有人信息变化）")
	}
	if err := checkTold(f); err != nil {
		return Record{}, err
	}
	if fault := p.CheckCodes(codesOf(p, f.Identity), r.Now()); fault != nil {
		return Record{}, BadIdentity.At(fault.Field, fault.Clause).Because("%s", fault.Why).ToFix(fault.Fix)
	}
	if strings.TrimSpace(f.CSR) == "" {
		return Record{}, BadCSR.At("csr", BadCSR.Clause).Because("缺少证书请求")
	}
	req, err := csr.Parse([]byte(f.CSR))
	if err != nil {
		return Record{}, BadCSR.At("csr", BadCSR.Clause).Because("%v", err)
	}
	if fault := p.CheckRequest(req, f.Subject, f.SAN); fault != nil {
		return Record{}, BadCSR.At("csr", fault.Clause).Because("%s", fault.Why).ToFix(fault.Fix)
	}
	keyHash := alg.Digest(req.Point)
	goesOn := f.For == enroll.Extend // with the key of the certificate it follows
	if err := r.free(ctx, keyHash, f.ID, goesOn, old.ID); err != nil {
		return Record{}, err
	}
	rec, err := r.record(ctx, f, p, req, keyHash, by, old)
	rec.Follows, rec.KeepsKey = old.ID, goesOn
	return rec, err
}

// free refuses a signing key that is somebody's already, or the key centre's.
func (r *Registrar) free(ctx context.Context, keyHash []byte, id string, goesOn bool, from string) error {
	held, err := r.Store.Escrowed(ctx, keyHash)
	if err != nil {
		return err
	}
	if held {
		return KeyEscrowed.At("csr", KeyEscrowed.Clause)
	}
	holder, err := r.Store.KeyHolder(ctx, keyHash)
	if err != nil || holder == "" || holder == id || goesOn && holder == from {
		return err
	}
	return r.inUse(ctx, holder)
}

// inUse says who holds a key; one that was given away is free for nobody.
func (r *Registrar) inUse(ctx context.Context, holder string) error {
	rec, err := r.whole().Case(ctx, holder)
	if err != nil {
		return err
	}
	if s, ok := r.Store.(scoped); ok && !s.sees(rec.Body) {
		return KeyInUse.At("csr", KeyInUse.Clause).Because("见其他注册机构的案件")
	}
	if rec.State == Revoked {
		return KeyInUse.At("csr", KeyInUse.Clause).Because("该密钥已因失控撤销（案件 %s），不能再用", holder)
	}
	return KeyInUse.At("csr", KeyInUse.Clause).Because("见案件 %s", holder)
}

// correctable refuses an id that is no draft of that person: only the desk
// gives numbers.
func (r *Registrar) correctable(ctx context.Context, id string, by access.Person) error {
	if id == "" {
		return nil
	}
	rec, err := r.Store.Case(ctx, id)
	if err != nil {
		return err
	}
	if !Issues(rec.Kind) || rec.State != Drafted || rec.CreatedBy != by.ID {
		return NotYours.At("id", NotYours.Clause)
	}
	return nil
}

// checkTold checks what the applicant was told and agreed to.
func checkTold(f Form) error {
	const clause = "电子政务电子认证服务管理办法 第二十一条"
	for i, code := range f.Notices {
		known := slices.ContainsFunc(Notices, func(n Notice) bool { return n.Code == code })
		if !known || slices.Contains(f.Notices[:i], code) {
			return BadField.At("notices", clause).Because("%.40q 不是告知事项，或重复", code)
		}
	}
	if utf8.RuneCountInString(f.Accord) > WordMax {
		return BadField.At("agreement", clause).Because("协议版本超过 %d 字", WordMax)
	}
	return nil
}

// codesOf is the number that the profile puts into the certificate, if it does.
// Elsewhere the number never leaves the desk.
func codesOf(p profile.Profile, f IdentityForm) []profile.Code {
	if _, ok := p.CodeRule(f.Kind); !ok {
		return nil
	}
	return []profile.Code{{Kind: f.Kind, Value: strings.ToUpper(f.Number)}}
}

// open names the profiles that can be applied for.
func (r *Registrar) open() (names []string) {
	for name, p := range r.InForce() {
		if !p.Internal {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *Registrar) checkIdentity(p profile.Profile, f IdentityForm) error {
	bad := func(field, why string) error {
		return BadIdentity.At("identity."+field, BadIdentity.Clause).Because("%s", why)
	}
	if strings.TrimSpace(f.Kind) == "" {
		return BadIdentity.At("identity.kind", BadIdentity.Clause).Because("没有填写证件类型").ToFix("可用的证件类型：" + strings.Join(p.Identity, "、"))
	}
	if strings.TrimSpace(f.Number) == "" {
		return bad("number", "没有填写证件号码")
	}
	if !slices.Contains(p.Identity, f.Kind) {
		return BadIdentity.At("identity.kind", BadIdentity.Clause).Because("%.40q 不适用于“%s”", f.Kind, p.Title).ToFix("可用的证件类型：" + strings.Join(p.Identity, "、"))
	}
	if err := identity.Check(f.Kind, f.Number, r.Now()); err != nil {
		return bad("number", identity.Kinds[f.Kind]+err.Error())
	}
	if f.CreditCode != "" {
		if err := identity.Check("credit-code", f.CreditCode, r.Now()); err != nil {
			return bad("credit-code", err.Error())
		}
	}
	if f.Method != "" && CheckMethods[f.Method] == "" {
		return bad("method", fmt.Sprintf("%.40q 不在查验方式目录中", f.Method))
	}
	if utf8.RuneCountInString(f.CheckedBy) > WordMax {
		return bad("checked_by", fmt.Sprintf("查验人超过 %d 字", WordMax))
	}
	if f.CheckedAt != "" {
		at, err := time.Parse(time.RFC3339, f.CheckedAt)
		if err != nil {
			return bad("checked_at", "应为 RFC 3339 时间")
		}
		if at.After(r.Now().Add(access.Window)) {
			return bad("checked_at", "查验时间晚于现在")
		}
		if at.Before(r.Now().AddDate(-checkYears, 0, 0)) {
			return bad("checked_at", fmt.Sprintf("查验时间早于 %d 年前，请重新查验", checkYears))
		}
	}
	if len(f.Evidence) == 0 && slices.Contains([]string{"entrusted", "remote-video", "official-data"}, f.Method) {
		return bad("evidence", CheckMethods[f.Method]+"须附委托书、录像或比对结果等材料的 SM3 摘要")
	}
	if len(f.Evidence) > FilesMax {
		return bad("evidence", fmt.Sprintf("材料超过 %d 份", FilesMax))
	}
	for _, e := range f.Evidence {
		if !isDigest(e) {
			return bad("evidence", "应为材料文件的 SM3 摘要（64 位十六进制）")
		}
	}
	return nil
}

func (r *Registrar) record(ctx context.Context, f Form, p profile.Profile, req *csr.Request, keyHash []byte, by access.Person, old Record) (Record, error) {
	taker, err := r.taken(ctx, by, old.Body)
	if err != nil {
		return Record{}, err
	}
	now := r.Now().UTC()
	id := f.ID
	if id == "" {
		id = newID("A", now)
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // crypto/rand never fails
	sealed, err := r.seal(id, f.Identity.Number, salt)
	if err != nil {
		return Record{}, err
	}
	app := enroll.Application{
		ID: id, Profile: p.Name, Version: p.Version, Subject: f.Subject, SAN: f.SAN, Days: f.Days, CSR: req.Raw,
		Identity: enroll.Identity{Kind: f.Identity.Kind, Masked: identity.Mask(f.Identity.Number), Commitment: alg.Digest(salt, []byte(f.Identity.Number))},
		Codes:    codesOf(p, f.Identity), Check: r.check(f.Identity, by, now), Notices: f.Notices, For: f.For, Replaces: f.Replaces, Cause: f.Cause, Accord: f.Accord, CPS: r.CPS, Unit: f.Unit, Body: taker,
	}
	if app.Days == 0 {
		app.Days = p.Days.Default
	}
	if app.Notices == nil {
		for _, n := range Notices {
			app.Notices = append(app.Notices, n.Code)
		}
	}
	switch app.Accord {
	case "":
		app.Accord = r.Accord
	case "none":
		app.Accord = ""
	}
	if err := r.delegated(ctx, &app, p); err != nil {
		return Record{}, err
	}
	return Record{
		Case:    casework.Case{ID: id, Kind: levels(app), State: Drafted},
		Body:    taker,
		Content: app.Bytes(), Title: f.Subject.CN, Profile: p.Name, KeyHash: keyHash,
		Identity:  sealed,
		CreatedBy: by.ID, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// check records who checked the identity, how and when. A clerk who does not
// say otherwise states, and signs, having seen the original in person.
func (r *Registrar) check(f IdentityForm, by access.Person, now time.Time) enroll.IdentityCheck {
	c := enroll.IdentityCheck{Method: f.Method, By: f.CheckedBy, At: f.CheckedAt, Evidence: f.Evidence}
	if c.Method == "" {
		c.Method = "in-person"
	}
	if c.By == "" {
		c.By = string(by.ID)
	}
	if c.At == "" {
		c.At = now.Truncate(time.Second).Format(time.RFC3339)
	}
	return c
}

// Blind is the index an identity number is found by: HMAC-SM3, so that the
// database alone cannot be searched by guessing.
func (r *Registrar) Blind(number string) []byte {
	h := hmac.New(sm3.New, r.BlindKey)
	h.Write([]byte(strings.ToUpper(number)))
	return h.Sum(nil)
}
