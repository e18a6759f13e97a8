package ra

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/identity"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// What a case about a unit does to the register.
const (
	UnitAdd     = "add"
	UnitAmend   = "amend"
	UnitSuspend = "suspend"
	UnitResume  = "resume"
)

// UnitActs are what people call them.
var UnitActs = map[string]string{UnitAdd: "登记", UnitAmend: "变更", UnitSuspend: "停用", UnitResume: "恢复"}

// Unit is an organisation on the register: applications name it by its code and
// take their fields from here. (单位)
type Unit struct {
	Code      string // unified social credit code (GB 32100)
	Name      string
	ST, L     string
	Agent     Agent
	Letter    Letter
	Suspended bool
	Why       string // of the last suspension or release
	Case      string // the change that made it what it is
	Body      string // registration body that registered it
	Origin    string // the change its sealed data came with
	Sealed    Sealed // UnitSecret
	At        time.Time
}

// Agent is who handles matters for a unit, as lists show them. (经办人)
type Agent struct {
	Legal  string `json:"legal,omitempty"` // the unit's legal representative
	Name   string `json:"name"`
	Phone  string `json:"phone"`
	Email  string `json:"email,omitempty"`
	Kind   string `json:"kind"`
	Number string `json:"number"`
}

// Letter is the unit's authorisation of its agent: a file kept here, and the
// first and last day it is good for, in Beijing. (授权书)
type Letter struct {
	Evidence string `json:"evidence"` // SM3, hex
	From     string `json:"from"`     // 2026-01-01
	To       string `json:"to"`
}

// UnitForm is a change to the register as a person or a program brings it. Of an
// amendment, what is left out stays as it is.
type UnitForm struct {
	ID     string `json:"id,omitempty"` // a draft to correct
	Do     string `json:"do,omitempty"` // a key of UnitActs; add when absent
	Code   string `json:"code"`
	Name   string `json:"name,omitempty"`
	ST     string `json:"ST,omitempty"`
	L      string `json:"L,omitempty"`
	Agent  Agent  `json:"agent,omitzero"`
	Letter Letter `json:"letter,omitzero"`
	Reason string `json:"reason,omitempty"` // of a suspension or release
}

// UnitChange is what clerk and reviewer sign: persons masked, and a commitment
// to what is sealed.
type UnitChange struct {
	ID         string `json:"id"`
	Do         string `json:"do"`
	Code       string `json:"code"`
	Name       string `json:"name"`
	ST         string `json:"ST,omitempty"`
	L          string `json:"L,omitempty"`
	Agent      Agent  `json:"agent,omitzero"`
	Commitment []byte `json:"commitment,omitempty"`
	Letter     Letter `json:"letter,omitzero"`
	Reason     string `json:"reason,omitempty"`
	Was        string `json:"was,omitempty"` // the change it follows
}

// Bytes is the canonical form that statements name by digest.
func (c UnitChange) Bytes() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		panic("ra: plain data: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// UnitChangeOf reads the content of a case about a unit.
func UnitChangeOf(content []byte) (c UnitChange, err error) {
	if err := strict.JSON(content, &c); err != nil {
		return c, err
	}
	if !bytes.Equal(c.Bytes(), content) {
		return c, errors.New("not in canonical form")
	}
	return c, nil
}

// UnitQuery finds units. Empty fields match all.
type UnitQuery struct {
	Text   string   // part of the name, or the code
	Status string   // "good", "suspended", "expired"
	Today  string   // for the status; 2026-01-01
	Within []string // bodies that registered them; nil for all
	After  string   // code of the last of the page before
	Limit  int
}

// UnitStore keeps the register of units. Save writes to it together with the
// move that decides, and refuses a change to a unit that has changed since
// (casework.Stale).
type UnitStore interface {
	// Unit returns one by its code; NoUnit if there is none.
	Unit(ctx context.Context, code string) (Unit, error)
	// Units lists them in order of codes.
	Units(ctx context.Context, q UnitQuery) ([]Unit, error)
}

// unitMax bounds a name or a place of a unit, in characters: what a certificate's
// O and ST take.
const unitMax, placeMax = 64, 128

// ParseUnit reads a change to the register in JSON strictly.
func ParseUnit(data []byte) (UnitForm, error) {
	var f UnitForm
	if len(data) > FormMax {
		return f, BadForm.At("file", BadForm.Clause).Because("超过 %d 字节", FormMax)
	}
	var no *strict.Error
	if err := strict.JSON(data, &f); errors.As(err, &no) {
		return f, BadForm.At(cmp.Or(no.Field, "file"), BadForm.Clause).Because("%s", no.Text)
	}
	return f, nil
}

// DraftUnit checks a change to the register and opens, or corrects, its case.
func (r *Registrar) DraftUnit(ctx context.Context, f UnitForm, by access.Person, source string) (Record, error) {
	rec, err := r.composeUnit(ctx, f, by)
	if err != nil {
		return Record{}, err
	}
	return rec, r.Store.Draft(ctx, []Record{rec}, nil, []audit.Entry{r.line(by, "ra.unit.draft", rec.ID, source)})
}

func (r *Registrar) composeUnit(ctx context.Context, f UnitForm, by access.Person) (Record, error) {
	if !by.Holds(access.RAClerk) {
		return Record{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("单位登记须由录入员办理")
	}
	if err := r.standing(ctx, by); err != nil {
		return Record{}, err
	}
	if f.ID != "" {
		rec, err := r.Store.Case(ctx, f.ID)
		if err != nil {
			return Record{}, err
		}
		if rec.Kind != UnitKind.Name || rec.State != Drafted || rec.CreatedBy != by.ID {
			return Record{}, NotYours.At("id", NotYours.Clause)
		}
	}
	f.Do, f.Code = cmp.Or(f.Do, UnitAdd), strings.ToUpper(strings.TrimSpace(f.Code))
	if UnitActs[f.Do] == "" {
		return Record{}, BadUnit.At("do", BadUnit.Clause).Because("%.40q", f.Do).ToFix("可用：add、amend、suspend、resume")
	}
	if err := identity.Check("credit-code", f.Code, r.Now()); err != nil {
		return Record{}, BadUnit.At("code", "GB 32100").Because("统一社会信用代码%v", err).ToFix("请核对统一社会信用代码的 18 位和校验位")
	}
	was, err := r.unitBefore(ctx, &f)
	if err != nil {
		return Record{}, err
	}
	secret, err := r.unitSecret(was, f)
	if err != nil {
		return Record{}, err
	}
	if f.Do == UnitAdd || f.Do == UnitAmend {
		if f, err = r.checkUnit(ctx, was, f, secret); err != nil {
			return Record{}, err
		}
	} else if f.Reason, err = Why(f.Reason); err != nil {
		return Record{}, err
	}
	return r.unitRecord(ctx, f, was, secret, by)
}

// unitBefore is the unit as the register has it, empty for a new one; the change
// must fit it.
func (r *Registrar) unitBefore(ctx context.Context, f *UnitForm) (Unit, error) {
	was, err := r.Store.Unit(ctx, f.Code)
	if errors.Is(err, NoUnit) && f.Do == UnitAdd {
		if _, err := r.whole().Unit(ctx, f.Code); err == nil {
			return was, UnitKnown.At("code", UnitKnown.Clause).Because("由其他注册机构登记").ToFix("请到本机构办理")
		}
	}
	switch known := err == nil; {
	case err != nil && !errors.Is(err, NoUnit):
		return was, err
	case f.Do == UnitAdd && known:
		return was, UnitKnown.At("code", UnitKnown.Clause).Because("%s %s", was.Code, was.Name)
	case f.Do != UnitAdd && !known:
		return was, NoUnit.At("code", NoUnit.Clause).Because("%s", f.Code)
	case f.Do == UnitSuspend && was.Suspended, f.Do == UnitResume && !was.Suspended:
		return was, casework.NoSuchStep.At("do", casework.NoSuchStep.Clause).Because("单位 %s 现在%s", was.Code, map[bool]string{true: "已停用", false: "没有停用"}[was.Suspended])
	}
	list, err := r.Store.Find(ctx, Query{Kind: UnitKind.Name, State: Submitted, Blind: r.Blind(f.Code), Limit: 1})
	if err == nil && len(list) > 0 {
		err = Pending.At("code", Pending.Clause).Because("%s %s 当前为“%s”", UnitKind.Title, list[0].ID, states[Submitted])
	}
	return was, err
}

// checkUnit completes an amendment from what is on record and checks every field.
func (r *Registrar) checkUnit(ctx context.Context, was Unit, f UnitForm, s UnitSecret) (UnitForm, error) {
	f.Name, f.ST, f.L = cmp.Or(f.Name, was.Name), cmp.Or(f.ST, was.ST), cmp.Or(f.L, was.L)
	f.Letter = Letter{cmp.Or(strings.ToLower(f.Letter.Evidence), was.Letter.Evidence), cmp.Or(f.Letter.From, was.Letter.From), cmp.Or(f.Letter.To, was.Letter.To)}
	for _, w := range []struct {
		field, value string
		least, most  int
	}{{"name", f.Name, 1, unitMax}, {"ST", f.ST, 0, placeMax}, {"L", f.L, 0, placeMax}, {"agent.legal", s.Legal, 0, WordMax}, {"agent.name", s.Name, 1, WordMax}} {
		if !plain(w.value, w.least, w.most) {
			return f, BadUnit.At(w.field, BadUnit.Clause).Because("应为 %d 至 %d 字，首尾无空白，没有控制字符", w.least, w.most)
		}
	}
	if digits := strings.Trim(s.Phone, "0123456789+- "); len(s.Phone) < 5 || len(s.Phone) > 20 || digits != "" {
		return f, BadUnit.At("agent.phone", BadUnit.Clause).Because("电话应为 5 至 20 位数字，可含 + - 和空格")
	}
	if at := strings.IndexByte(s.Email, '@'); s.Email != "" && (at < 1 || at == len(s.Email)-1 || !plain(s.Email, 3, placeMax)) {
		return f, BadUnit.At("agent.email", BadUnit.Clause).Because("电子邮件的格式不符")
	}
	if !slices.Contains(papers, s.Kind) {
		return f, BadUnit.At("agent.kind", BadUnit.Clause).Because("%.40q 不是经办人的证件类型", s.Kind).ToFix("可用：" + strings.Join(papers, "、"))
	}
	if err := identity.Check(s.Kind, s.Number, r.Now()); err != nil {
		return f, BadUnit.At("agent.number", BadUnit.Clause).Because("%s%v", identity.Kinds[s.Kind], err)
	}
	return f, r.checkLetter(ctx, f.Letter)
}

func plain(text string, least, most int) bool {
	n := utf8.RuneCountInString(text)
	return n >= least && n <= most && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// checkLetter takes a letter that is kept here and not over.
func (r *Registrar) checkLetter(ctx context.Context, l Letter) error {
	if !isDigest(l.Evidence) {
		return BadUnit.At("letter.evidence", BadUnit.Clause).Because("应为授权书文件的 SM3 摘要（64 位十六进制）").ToFix("请先收存授权书（ra evidence），再填写它的摘要")
	}
	digest, _ := hex.DecodeString(l.Evidence) // isDigest
	if _, err := r.Store.Evidence(ctx, digest); err != nil {
		return renamed(err, "letter.evidence")
	}
	from, err1 := time.ParseInLocation(time.DateOnly, l.From, beijing)
	to, err2 := time.ParseInLocation(time.DateOnly, l.To, beijing)
	if err1 != nil || err2 != nil || to.Before(from) {
		return BadUnit.At("letter.to", BadUnit.Clause).Because("授权书的起止日期应如 2026-01-01，止不早于起")
	}
	if l.To < r.today() {
		return LetterExpired.At("letter.to", LetterExpired.Clause).Because("有效期至 %s", l.To)
	}
	return nil
}

// today is the day people here live in.
func (r *Registrar) today() string { return r.Now().In(beijing).Format(time.DateOnly) }

// End is when a letter's last day is over.
func (l Letter) End() time.Time {
	day, _ := time.ParseInLocation(time.DateOnly, l.To, beijing) // checked when it was entered
	return day.AddDate(0, 0, 1).Add(-time.Millisecond).UTC()
}

func (r *Registrar) unitRecord(ctx context.Context, f UnitForm, was Unit, secret UnitSecret, by access.Person) (Record, error) {
	now := r.Now().UTC()
	c := UnitChange{ID: cmp.Or(f.ID, newID("U", now)), Do: f.Do, Code: f.Code, Name: cmp.Or(f.Name, was.Name), ST: f.ST, L: f.L, Letter: f.Letter, Reason: f.Reason, Was: was.Case}
	taker, err := r.bodyOf(ctx, by)
	if err != nil {
		return Record{}, err
	}
	if was.Case != "" { // a unit stays where it was registered
		taker = was.Body
	}
	sealed := Sealed{Blind: r.Blind(f.Code)}
	if f.Do == UnitAdd || f.Do == UnitAmend {
		salt := make([]byte, saltSize)
		_, _ = rand.Read(salt) // crypto/rand never fails
		text := string(secret.bytes())
		kept, err := r.seal(c.ID, text, salt)
		if err != nil {
			return Record{}, err
		}
		sealed.Number, sealed.Salted = kept.Number, kept.Salted
		c.Agent, c.Commitment = secret.masked(), alg.Digest(salt, []byte(text))
	}
	return Record{
		Case: casework.Case{ID: c.ID, Kind: UnitKind.Name, State: Drafted}, Content: c.Bytes(), Title: c.Name, Identity: sealed, Body: taker,
		CreatedBy: by.ID, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// entered is what the register says once a change to it is approved.
func (r *Registrar) entered(ctx context.Context, rec Record, at time.Time) (*Unit, error) {
	c, err := UnitChangeOf(rec.Content)
	if err != nil {
		return nil, err
	}
	u, err := r.Store.Unit(ctx, c.Code)
	if err != nil && !errors.Is(err, NoUnit) {
		return nil, err
	}
	if u.Case != c.Was { // somebody else's change came first
		return nil, casework.Stale.At("id", casework.Stale.Clause).Because("单位 %s 的登记已有变化", c.Code).ToFix("请退回，由录入员按现在的登记重新提出")
	}
	u.Code, u.Case, u.At, u.Body = c.Code, c.ID, at, rec.Body
	switch c.Do {
	case UnitSuspend, UnitResume:
		u.Suspended, u.Why = c.Do == UnitSuspend, c.Reason
	default:
		u.Name, u.ST, u.L, u.Agent, u.Letter, u.Origin, u.Sealed = c.Name, c.ST, c.L, c.Agent, c.Letter, c.ID, rec.Identity
	}
	return &u, nil
}

// unitStands refuses a unit that applications cannot be based on now.
func (r *Registrar) unitStands(ctx context.Context, code string) (Unit, error) {
	u, err := r.Store.Unit(ctx, code)
	switch today := r.today(); {
	case err != nil:
		return u, renamed(err, "unit")
	case u.Suspended:
		return u, UnitStopped.At("unit", UnitStopped.Clause).Because("%s %s：%s", u.Code, u.Name, u.Why)
	case today < u.Letter.From || today > u.Letter.To:
		return u, LetterExpired.At("unit", LetterExpired.Clause).Because("%s %s 的授权书有效期为 %s 至 %s", u.Code, u.Name, u.Letter.From, u.Letter.To)
	}
	return u, nil
}

// fromUnit takes an application's fields from the register; what the form says
// besides must agree.
func (r *Registrar) fromUnit(ctx context.Context, f Form) (Form, error) {
	if f.Unit == "" {
		return f, nil
	}
	f.Unit = strings.ToUpper(strings.TrimSpace(f.Unit))
	u, err := r.unitStands(ctx, f.Unit)
	if err != nil {
		return f, err
	}
	if f.For != "" && f.For != enroll.Amend { // nothing is new but the key and the period
		return f, nil
	}
	if f.Subject.O != "" && f.Subject.O != u.Name {
		return f, BadField.At("subject.O", BadField.Clause).Because("单位登记的名称是“%s”", u.Name).ToFix("请不填 O，由系统取自单位登记；名称有变化的先变更单位登记")
	}
	f.Subject.O, f.Subject.C = u.Name, cmp.Or(f.Subject.C, "CN")
	if f.Subject.ST == "" && f.Subject.L == "" {
		f.Subject.ST, f.Subject.L = u.ST, u.L
	}
	kinds := r.InForce()[f.Profile].Identity
	if f.Identity.Kind == "" && f.Identity.Number == "" && slices.Contains(kinds, "credit-code") {
		f.Identity.Kind = "credit-code"
	}
	if f.Identity.Kind == "credit-code" {
		if f.Identity.Number != "" && !strings.EqualFold(f.Identity.Number, u.Code) {
			return f, BadIdentity.At("identity.number", "GB 32100").Because("与所引用单位的统一社会信用代码不同").ToFix("请不填证件号码，由系统取自单位登记")
		}
		f.Identity.Number = u.Code
		if f.Subject.CN == "" && strings.HasPrefix(f.Profile, "organisation") {
			f.Subject.CN = u.Name
		}
	}
	return f, nil
}

// objectOfUnit names a change to the register before it is signed.
func objectOfUnit(content []byte) string {
	c, err := UnitChangeOf(content)
	if err != nil {
		return fmt.Sprintf("单位登记 %d 字节", len(content))
	}
	text := fmt.Sprintf("%s %s %s", UnitActs[c.Do], c.Code, c.Name)
	if c.Letter.To != "" {
		text += fmt.Sprintf("，经办人 %s，授权书 %s 至 %s", c.Agent.Name, c.Letter.From, c.Letter.To)
	}
	if c.Reason != "" {
		text += "，原因 " + c.Reason
	}
	return text
}
