package ra

import (
	"cmp"
	"context"
	"encoding/pem"
	"slices"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Purpose is what a certificate that follows another is for. (后续证书)
type Purpose struct {
	Code, Title, Clause string
	From                []casework.State // of the certificate it follows
	NewKey              bool             // a new signing key must be proven; else the old one goes on
	Subject             bool             // other details may be given
}

var good = []casework.State{Issued, Delivered}

// Purposes are all of them.
var Purposes = []Purpose{
	{enroll.Renew, "证书更新", "GM/T 0034 §12.2", good, true, false},
	{enroll.Extend, "证书延期", "电子政务电子认证服务管理办法（试行） 第二十一条", good, false, false},
	{enroll.Amend, "证书信息变更", "电子政务电子认证服务管理办法 第十八条", good, true, true},
	{enroll.Reissue, "证书补办", "GM/T 0034 §12.1", []casework.State{Issued, Delivered, IssuedHeld, DeliveredHeld, Revoked}, true, false},
	{enroll.Recover, "加密密钥恢复", "GM/T 0034 §12.4", []casework.State{Delivered}, true, false},
}

// PurposeOf finds one by its code.
func PurposeOf(code string) (Purpose, bool) {
	i := slices.IndexFunc(Purposes, func(p Purpose) bool { return p.Code == code })
	if i < 0 {
		return Purpose{}, false
	}
	return Purposes[i], true
}

// followed completes a form from the case of the certificate it follows: what
// is on record is not typed again. The case is empty for a first certificate.
func (r *Registrar) followed(ctx context.Context, f Form) (Form, Record, error) {
	if f.For == "" && f.Replaces == "" {
		return f, Record{}, nil
	}
	p, ok := PurposeOf(f.For)
	if !ok {
		return f, Record{}, BadField.At("for", "GM/T 0034 §12").Because("%.40q 不是后续证书的种类", f.For).ToFix("可用：renew、extend、amend、reissue、recover")
	}
	o := Order{Serial: f.Replaces}
	old, err := r.subject(ctx, &o)
	if err != nil {
		return f, old, renamed(err, "replaces")
	}
	if !slices.Contains(p.From, old.State) {
		return f, old, NotLive.At("replaces", p.Clause).Because("案件 %s 当前为“%s”，不能办理%s", old.ID, states[old.State], p.Title)
	}
	if err := r.noOther(ctx, old.ID, f.ID); err != nil {
		return f, old, err
	}
	was, err := applicationOf(old.Content)
	if err != nil {
		return f, old, err
	}
	f.Replaces = old.SignSerial
	return r.complete(f, p, old, was)
}

// complete takes over what the purpose leaves as it was.
func (r *Registrar) complete(f Form, p Purpose, old Record, was enroll.Application) (Form, Record, error) {
	bad := func(field, why string) error { return BadField.At(field, p.Clause).Because("%s", why) }
	if f.Profile != "" && f.Profile != was.Profile {
		return f, old, bad("profile", "证书模板应与原证书相同（"+was.Profile+"）")
	}
	f.Profile, f.Unit = was.Profile, cmp.Or(f.Unit, was.Unit)
	if p.Subject {
		if f.Subject.CN == "" {
			f.Subject = was.Subject
			if f.Unit != "" { // the register's name counts
				f.Subject.O = ""
			}
		}
	} else {
		if f.Subject.CN != "" && f.Subject.String() != was.Subject.String() {
			return f, old, bad("subject", p.Title+"不能改变主体；主体变化请办理证书信息变更")
		}
		f.Subject, f.SAN = was.Subject, was.SAN
	}
	if f.Identity.Number == "" {
		number, err := r.openNumber(old)
		if err != nil {
			return f, old, err
		}
		f.Identity.Kind, f.Identity.Number = was.Identity.Kind, number
	}
	if !p.NewKey {
		f.CSR = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: was.CSR}))
	}
	return f, old, nil
}

// noOther refuses a second case that follows the same certificate.
func (r *Registrar) noOther(ctx context.Context, old, id string) error {
	list, err := r.Store.Find(ctx, Query{Follows: old, States: []casework.State{Drafted, Asked, Submitted, Reviewed, Seconded, Thirded, Approved}, Limit: 4})
	if err != nil {
		return err
	}
	for _, rec := range list {
		if rec.ID != id && !(rec.State == Drafted && OfHolder(rec.CreatedBy)) { // what nobody has signed stands in nobody's way
			return Pending.At("replaces", Pending.Clause).Because("%s %s 当前为“%s”", Kinds[rec.Kind].Title, rec.ID, states[rec.State])
		}
	}
	return nil
}

// renamed is a refusal met under another field's name.
func renamed(err error, field string) error {
	f := refusal.Of(err)
	if f == nil {
		return err
	}
	c := *f
	c.Field = field
	return &c
}
