package ra

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Wish is what a subscriber asks for themselves, with the key of a certificate
// that was issued to them. (持有人申请)
type Wish struct {
	Do     string `json:"do"`               // a code of Wishes
	CSR    string `json:"csr,omitempty"`    // PKCS#10 of the new key, for a renewal
	Reason string `json:"reason,omitempty"` // of a revocation, one of UserReasons
	Note   string `json:"note,omitempty"`
	ID     string `json:"id,omitempty"` // of the case; given by Prepare
}

// WishKind is one thing a subscriber may ask for: in which states of the
// certificate's case, and on what ground. Releasing a hold is not among them: a
// key on hold may be in other hands, so that is asked for at the counter.
type WishKind struct {
	Code, Title, Clause string
	From                []casework.State
	does                casework.Action
}

// Open reports whether it may be asked for while the certificate's case is in a state.
func (k WishKind) Open(s casework.State) bool { return slices.Contains(k.From, s) }

// Wishes are all of them.
var Wishes = []WishKind{
	{"renew", "证书更新", "GM/T 0034 §12.2", good, Submit},
	{"freeze", "证书冻结", "GM/T 0034 §12.6", good, Freeze},
	{"revoke", "证书撤销", "GM/T 0034 §12.3；电子认证服务管理办法（征求意见稿） 第二十五条第一项", append(slices.Clone(good), IssuedHeld, DeliveredHeld), Revoke},
}

// actAsk is the act of every wish's statement.
const actAsk = "ra.ask"

const holderPrefix = "holder:"

// OfHolder reports whether a case was opened by a subscriber.
func OfHolder(by access.PersonID) bool { return strings.HasPrefix(string(by), holderPrefix) }

// Subscribers is the register of whoever holds a signing certificate this desk
// had issued. Whoever's certificate has ended or run out is not let in: such a
// key proves nothing today.
type Subscribers struct {
	Store Store
	Now   func() time.Time
}

// PersonByCert is no way to find a subscriber; PersonOf is.
func (Subscribers) PersonByCert(context.Context, []byte) (access.Person, error) {
	return access.Person{}, NotHolder.At("certificate", NotHolder.Clause)
}

// PersonOf finds the subscriber a signing certificate was issued to.
func (s Subscribers) PersonOf(ctx context.Context, der []byte) (access.Person, error) {
	none := NotHolder.At("certificate", NotHolder.Clause)
	if len(der) > cert.SizeMax {
		return access.Person{}, none
	}
	c, err := cert.Parse(der)
	if err != nil {
		return access.Person{}, none
	}
	rec, err := s.Store.BySerial(ctx, c.SerialHex())
	switch {
	case errors.Is(err, NotLive):
		return access.Person{}, none
	case err != nil:
		return access.Person{}, err
	case rec.EncSerial == c.SerialHex():
		return access.Person{}, none.Because("这是加密证书")
	case !bytes.Equal(rec.Reply.Sign, der):
		return access.Person{}, none
	case rec.State == Revoked || rec.State == Superseded:
		return access.Person{}, HolderEnded.At("certificate", HolderEnded.Clause).Because("案件 %s 当前为“%s”", rec.ID, states[rec.State])
	}
	if now := s.Now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return access.Person{}, HolderExpired.At("certificate", HolderExpired.Clause).Because("有效期至 %s", c.NotAfter.UTC().Format("2006-01-02"))
	}
	return access.PersonOf(access.PersonID(holderPrefix+c.SerialHex()), rec.Title, der, access.Holder)
}

// wishOf finds the kind of a wish and checks that the certificate's state lets
// it be asked for.
func (r *Registrar) wishOf(ctx context.Context, w Wish, who access.Person) (WishKind, Record, error) {
	i := slices.IndexFunc(Wishes, func(k WishKind) bool { return k.Code == w.Do })
	if i < 0 {
		return WishKind{}, Record{}, NoAct.At("do", NoAct.Clause).Because("%.40q", w.Do).ToFix("可用：renew、freeze、revoke")
	}
	k := Wishes[i]
	if !who.Holds(access.Holder) {
		return k, Record{}, casework.NotYours.At("role", casework.NotYours.Clause)
	}
	if utf8.RuneCountInString(w.Note) > NoteMax {
		return k, Record{}, BadForm.At("note", BadForm.Clause).Because("说明超过 %d 字", NoteMax)
	}
	own, err := r.Store.BySerial(ctx, who.Serial)
	if err != nil {
		return k, own, err
	}
	if !k.Open(own.State) {
		return k, own, NotWhile.At("state", k.Clause).Because("证书当前为“%s”，不能自助申请%s", IssueKind.StateTitle(own.State), k.Title)
	}
	return k, own, nil
}

// Prepare makes a wish definite and returns what is to be signed. A renewal is
// kept as a draft of the subscriber's; nobody acts on it before they sign.
func (r *Registrar) Prepare(ctx context.Context, w Wish, who access.Person, source string) (Plan, access.Statement, error) {
	k, own, err := r.wishOf(ctx, w, who)
	if err != nil {
		return Plan{}, access.Statement{}, err
	}
	if k.Code == enroll.Renew {
		if w.ID, err = r.draftRenewal(ctx, w, own, who, source); err != nil {
			return Plan{}, access.Statement{}, err
		}
	}
	p, err := r.planWish(ctx, k, w, own, who)
	if err != nil {
		return Plan{}, access.Statement{}, err
	}
	return p, r.Self.Draft(who, actAsk, p.Title, p.Object, p.Order.Note, p.Items), nil
}

// Ask verifies the subscriber's signature under a wish and opens its case, which
// waits for the desk from then on.
func (r *Registrar) Ask(ctx context.Context, w Wish, who access.Person, claim access.Claim, source string) (Record, error) {
	k, own, err := r.wishOf(ctx, w, who)
	if err != nil {
		return Record{}, err
	}
	p, err := r.planWish(ctx, k, w, own, who)
	if err != nil {
		return Record{}, err
	}
	if !bytes.Equal(claim.Cert, who.Cert) {
		return Record{}, access.BadSignature.At("certificate", access.BadSignature.Clause)
	}
	list, err := r.do(ctx, r.Self, p, claim, source)
	if err != nil {
		return Record{}, err
	}
	return list[0], nil
}

// draftRenewal keeps the application for a subscriber's next certificate, as a
// correction of their last one if that was not asked for yet.
func (r *Registrar) draftRenewal(ctx context.Context, w Wish, own Record, who access.Person, source string) (string, error) {
	f := Form{For: enroll.Renew, Replaces: own.SignSerial, CSR: w.CSR, Identity: IdentityForm{Method: HolderKey, CheckedBy: "注册系统自助服务"}}
	list, err := r.Store.Find(ctx, Query{Follows: own.ID, State: Drafted, By: who.ID, Limit: 1})
	if err != nil {
		return "", err
	}
	if len(list) > 0 {
		f.ID = list[0].ID
	}
	rec, err := r.compose(ctx, f, who)
	if err != nil {
		return "", err
	}
	return rec.ID, r.Store.Draft(ctx, []Record{rec}, nil, []audit.Entry{r.line(who, "ra.draft", rec.ID, source)})
}

func (r *Registrar) planWish(ctx context.Context, k WishKind, w Wish, own Record, who access.Person) (Plan, error) {
	p := Plan{Order: Order{Act: actAsk, ID: w.ID, Note: w.Note}, Do: k.does}
	if k.Code == enroll.Renew {
		rec, err := r.Store.Case(ctx, w.ID)
		if err != nil {
			return Plan{}, err
		}
		if rec.CreatedBy != who.ID || rec.State != Drafted || rec.Follows != own.ID {
			return Plan{}, NotYours.At("id", NotYours.Clause)
		}
		if err := r.noOther(ctx, own.ID, rec.ID); err != nil {
			return Plan{}, err
		}
		p.cases, p.Items = []Record{rec}, []access.Item{itemOf(rec)}
	} else {
		p.Order.Serial, p.Order.Asker, p.Order.Reason = who.Serial, "holder", w.Reason
		if k.does == Freeze {
			p.Order.Reason = "certificateHold"
		} else if p.Order.Ground = "holder"; w.Reason == "keyCompromise" {
			p.Order.Ground = "loss"
		}
		var err error
		if p, err = r.planStatus(ctx, p, who); err != nil {
			return Plan{}, err
		}
	}
	p.Do, p.Title, p.Object = Ask, "持有人申请"+k.Title, objectOf(p.cases)
	return p, nil
}

// Mine is what a subscriber sees of the desk: their certificates, and the cases
// about them. The first certificate is the one whose key they hold in hand.
type Mine struct {
	Certificates []Record
	Cases        []Record // without events, newest first
}

// Bounds of what one subscriber is shown.
const (
	mineMax    = 50
	historyMax = 200
)

// personal are the documents that name one person: certificates on the same one
// are theirs. An organisation's or a device's holder sees only the chain of
// their own.
var personal = []string{"resident-id", "passport", "military-id"}

// Mine finds what a subscriber may see.
func (r *Registrar) Mine(ctx context.Context, who access.Person) (Mine, error) {
	own, err := r.Store.BySerial(ctx, who.Serial)
	if err != nil {
		return Mine{}, err
	}
	m := Mine{Certificates: []Record{own}}
	a, err := applicationOf(own.Content)
	if err != nil {
		return m, err
	}
	others, err := r.others(ctx, own, slices.Contains(personal, a.Identity.Kind))
	if err != nil {
		return m, err
	}
	for _, rec := range others {
		b, err := applicationOf(rec.Content)
		if err != nil {
			return m, err
		}
		same := a.Identity.Kind == b.Identity.Kind && bytes.Equal(own.Identity.Blind, rec.Identity.Blind)
		if !same || rec.ID == own.ID || rec.State == Drafted && !OfHolder(rec.CreatedBy) { // the desk's drafts are nobody's case yet
			continue
		}
		m.Cases = append(m.Cases, rec)
		if rec.Reply.Sign != nil && len(m.Certificates) < mineMax {
			m.Certificates = append(m.Certificates, rec)
		}
	}
	m.Cases = append(m.Cases, own)
	for _, rec := range slices.Clone(m.Certificates) {
		list, err := r.Store.Find(ctx, Query{Text: rec.SignSerial, Limit: historyMax})
		if err != nil {
			return m, err
		}
		for _, c := range list {
			if AboutStatus(c.Kind) && c.SignSerial == rec.SignSerial {
				m.Cases = append(m.Cases, c)
			}
		}
	}
	slices.SortFunc(m.Cases, func(a, b Record) int { return b.CreatedAt.Compare(a.CreatedAt) })
	m.Cases = m.Cases[:min(len(m.Cases), historyMax)]
	return m, nil
}

// others are the cases that may be the same holder's.
func (r *Registrar) others(ctx context.Context, own Record, person bool) (list []Record, err error) {
	if person {
		return r.Store.Find(ctx, Query{Blind: own.Identity.Blind, Limit: historyMax})
	}
	for at := own; at.Follows != "" && len(list) < mineMax; list = append(list, at) {
		if at, err = r.Store.Case(ctx, at.Follows); err != nil {
			return nil, err
		}
	}
	for next := []string{own.ID}; len(next) > 0 && len(list) < historyMax; next = next[1:] {
		after, err := r.Store.Find(ctx, Query{Follows: next[0], Limit: mineMax})
		if err != nil {
			return nil, err
		}
		for _, rec := range after {
			list, next = append(list, rec), append(next, rec.ID)
		}
	}
	return list, nil
}
