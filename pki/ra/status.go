package ra

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Ground is why the law lets a certificate be revoked, and the reason the
// revocation list gives when the clerk names no other. (撤销依据)
type Ground struct{ Code, Text, Clause, Reason string }

// Grounds are all of them. The rules of 2024 name no list; the draft of the
// other authority does, and the rules of 2009 the holder's report.
var Grounds = []Ground{
	{"holder", "证书持有人申请撤销", "电子认证服务管理办法（征求意见稿） 第二十五条第一项", "cessationOfOperation"},
	{"untrue", "证书持有人提供的信息不真实", "电子认证服务管理办法（征求意见稿） 第二十五条第二项", "privilegeWithdrawn"},
	{"breach", "证书持有人未履行协议规定的义务", "电子认证服务管理办法（征求意见稿） 第二十五条第三项", "privilegeWithdrawn"},
	{"unsafe", "证书的安全性不能得到保证", "电子认证服务管理办法（征求意见稿） 第二十五条第四项", "keyCompromise"},
	{"law", "法律、行政法规规定的其他情况", "电子认证服务管理办法（征求意见稿） 第二十五条第五项", "privilegeWithdrawn"},
	{"loss", "证书载体丢失或密钥失控，证书所有人已报告", "电子政务电子认证服务管理办法（试行） 第三十一条", "keyCompromise"},
	{"court", "司法机关或者行政机关的决定", "电子认证服务管理办法（征求意见稿） 第二十五条第五项", "privilegeWithdrawn"},
}

func groundOf(code string) (Ground, bool) {
	i := slices.IndexFunc(Grounds, func(g Ground) bool { return g.Code == code })
	if i < 0 {
		return Ground{}, false
	}
	return Grounds[i], true
}

// Askers are who may ask the institution to change a status. Whoever asked for
// a certificate to be frozen is who asks for its release (GM/T 0034 §12.7).
var Askers = map[string]string{"holder": "证书持有人", "unit": "持有人所在单位", "authority": "主管部门", "court": "司法机关", "institution": "本机构"}

// UserReasons are the reasons a subscriber's certificate may be revoked for:
// those of RFC 5280 that are not about CAs or holds.
var UserReasons = []string{"keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn", "unspecified"}

// statusOf is what each act about status asks for, and from which states of the
// certificate's case.
var statusOf = map[casework.Action]struct {
	kind casework.Kind
	do   string // as the CA reads it
	from []casework.State
}{
	Revoke:   {RevokeKind, "", []casework.State{Issued, Delivered, IssuedHeld, DeliveredHeld}},
	Freeze:   {FreezeKind, enroll.Freeze, []casework.State{Issued, Delivered}},
	Unfreeze: {UnfreezeKind, enroll.Unfreeze, []casework.State{IssuedHeld, DeliveredHeld}},
}

// AboutStatus reports whether cases of a kind change the status of
// certificates: their first move opens them.
func AboutStatus(kind string) bool {
	return slices.Contains([]string{RevokeKind.Name, FreezeKind.Name, UnfreezeKind.Name}, kind)
}

// planStatus finds the certificate and writes the case to be signed.
func (r *Registrar) planStatus(ctx context.Context, p Plan, who access.Person) (Plan, error) {
	o, s := &p.Order, statusOf[p.Do]
	if err := o.checkStatus(p.Do); err != nil {
		return Plan{}, err
	}
	app, err := r.subject(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	if p.Do == Unfreeze && slices.Contains([]casework.State{Issued, Delivered}, app.State) {
		return Plan{}, NotLive.At("serial", NotLive.Clause).Because("案件 %s 的证书没有冻结，不能解冻", app.ID).ToFix("证书现在有效，无需解冻；请核对序列号")
	}
	if !slices.Contains(s.from, app.State) {
		return Plan{}, NotLive.At("serial", NotLive.Clause).Because("案件 %s 当前为“%s”，不能%s", app.ID, IssueKind.StateTitle(app.State), acts[p.Do])
	}
	if err := r.alone(ctx, o.Serial, o.ID); err != nil {
		return Plan{}, err
	}
	if p.Do == Unfreeze {
		if err := r.sameAsker(ctx, o); err != nil {
			return Plan{}, err
		}
	}
	now := r.Now().UTC()
	if o.ID == "" {
		o.ID = newID("R", now)
	}
	if len(o.ID) > 32 || !strings.HasPrefix(o.ID, "R") {
		return Plan{}, BadForm.At("id", BadForm.Clause)
	}
	rec := statusCase(p.Do, *o, app, who, now)
	p.cases, p.Items = []Record{rec}, []access.Item{itemOf(rec)}
	p.Object = objectOf(p.cases)
	return p, nil
}

// statusCase is the case to be opened about the certificate of another.
func statusCase(do casework.Action, o Order, app Record, who access.Person, now time.Time) Record {
	s := statusOf[do]
	content := enroll.Revocation{ID: o.ID, Do: s.do, Serial: o.Serial, Reason: o.Reason, Invalid: o.Invalid, Ground: o.Ground, Asker: o.Asker, Evidence: o.Evidence}
	return Record{
		Case:    casework.Case{ID: o.ID, Kind: s.kind.Name, State: Drafted},
		Content: content.Bytes(),
		Title:   app.Title, Body: app.Body, Profile: app.Profile, SignSerial: app.SignSerial, EncSerial: app.EncSerial, CreatedBy: who.ID, CreatedAt: now, UpdatedAt: now,
	}
}

// checkStatus checks the words of an order about status and completes them.
func (o *Order) checkStatus(do casework.Action) error {
	if o.Ground != "" {
		g, ok := groundOf(o.Ground)
		if !ok || do != Revoke {
			return BadReason.At("ground", g.Clause).Because("%.40q 不是撤销依据", o.Ground)
		}
		if o.Reason == "" {
			o.Reason = g.Reason
		}
	}
	if o.Asker == "" {
		o.Asker = "holder"
	}
	if Askers[o.Asker] == "" {
		return BadAsker.At("asker", BadAsker.Clause).Because("%.40q 不是申请方", o.Asker)
	}
	if len(o.Evidence) > FilesMax || slices.ContainsFunc(o.Evidence, func(e string) bool { return !isDigest(e) }) {
		return BadEvidence.At("evidence", BadEvidence.Clause).Because("应为至多 %d 份材料文件的 SM3 摘要", FilesMax)
	}
	if do != Revoke {
		if _, known := crl.Reasons[o.Reason]; !known && utf8.RuneCountInString(o.Reason) <= NoteMax && o.Note == "" {
			o.Note = o.Reason // a reason in words is an opinion
		}
		o.Reason = "certificateHold"
		return nil
	}
	if !slices.Contains(UserReasons, o.Reason) {
		return BadReason.At("reason", BadReason.Clause).Because("%.40q", o.Reason)
	}
	return nil
}

func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32
}

// subject finds the case of the certificate an order names.
func (r *Registrar) subject(ctx context.Context, o *Order) (Record, error) {
	raw, err := hex.DecodeString(strings.ToLower(strings.TrimSpace(o.Serial)))
	if err != nil || len(raw) == 0 || len(raw) > 20 {
		return Record{}, NotLive.At("serial", NotLive.Clause).Because("序列号应为十六进制")
	}
	o.Serial = cert.SerialHex(raw)
	return r.Store.BySerial(ctx, o.Serial)
}

// alone refuses a second case about the status of a certificate while one is
// under way; the very case asked for again is told apart by the store.
func (r *Registrar) alone(ctx context.Context, serial, id string) error {
	list, err := r.Store.Find(ctx, Query{States: []casework.State{Asked, Submitted, Approved}, Text: serial, Limit: PageMax})
	if err != nil {
		return err
	}
	for _, rec := range list {
		if AboutStatus(rec.Kind) && rec.ID != id {
			return Pending.At("serial", Pending.Clause).Because("%s %s 当前为“%s”", Kinds[rec.Kind].Title, rec.ID, states[rec.State])
		}
	}
	return nil
}

// sameAsker refuses a release that somebody else asks for than who asked for
// the freezing.
func (r *Registrar) sameAsker(ctx context.Context, o *Order) error {
	list, err := r.Store.Find(ctx, Query{Kind: FreezeKind.Name, State: Done, Text: o.Serial, Limit: 1}) // the newest
	if err != nil || len(list) == 0 {
		return err
	}
	var was enroll.Revocation
	if err := enroll.Decode(list[0].Content, &was); err != nil {
		return err
	}
	if was.Asker != o.Asker {
		return NotAsker.At("asker", NotAsker.Clause).Because("冻结由%s提出（案件 %s）", Askers[was.Asker], list[0].ID)
	}
	return nil
}

// objectOf names what a statement is about, so that a person sees it before
// they sign: whose certificate, which, and why.
func objectOf(list []Record) string {
	first := list[0]
	name := fmt.Sprintf("%s %s（%s）", Kinds[first.Kind].Title, first.ID, detail(first))
	if len(list) > 1 {
		return fmt.Sprintf("%s 等 %d 件", name, len(list))
	}
	return name
}

func detail(rec Record) string {
	if AboutStatus(rec.Kind) {
		var c enroll.Revocation
		if enroll.Decode(rec.Content, &c) == nil {
			return fmt.Sprintf("%s，证书 %s，原因 %s，申请方 %s", rec.Title, c.Serial, c.Reason, Askers[c.Asker])
		}
	} else if rec.Kind == UnitKind.Name {
		return objectOfUnit(rec.Content)
	} else if a, err := applicationOf(rec.Content); err == nil {
		return fmt.Sprintf("%s，模板 %s，主体 %s，%d 天", rec.Title, a.Profile, a.Subject, a.Days)
	}
	return rec.Title
}
