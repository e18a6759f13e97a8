package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// Register knows the people of one system by the SM3 of their certificates.
type Register interface {
	PersonByCert(ctx context.Context, digest []byte) (Person, error)
}

// Reader is a register that reads the certificate itself: there are too many
// subscribers to know each by digest.
type Reader interface {
	PersonOf(ctx context.Context, der []byte) (Person, error)
}

// Window is how old a statement may be, and how far ahead its clock.
const Window = 5 * time.Minute

// Desk verifies what people sign for one system.
type Desk struct {
	Site   string
	People Register
	Now    func() time.Time
	// Avers is what a person declares by an act, for acts whose law asks for it.
	Avers map[string]string
	// Secret makes nonces the desk's own: a statement it did not draft, for this
	// certificate, act and second, is not taken. Empty takes any nonce.
	Secret []byte
}

// Acts are what an act is called by people: "ra.approve" is 审核通过.
type Acts map[string]string

// Who finds a person by certificate and checks that they may act today.
func (d Desk) Who(ctx context.Context, der []byte) (Person, error) {
	p, err := d.find(ctx, der)
	if errors.Is(err, NoSuchPerson) {
		if _, no := cert.Parse(der); no != nil { // whoever took the wrong file is told so
			return Person{}, NotACert.At("certificate", NotACert.Clause)
		}
	}
	if err != nil {
		return Person{}, err
	}
	now := d.Now()
	switch {
	case !p.Ended.IsZero():
		return Person{}, Ended.At("certificate", Ended.Clause)
	case p.Disabled:
		return Person{}, Disabled.At("certificate", Disabled.Clause)
	case now.Before(p.NotBefore) || now.After(p.NotAfter):
		return Person{}, Expired.At("certificate", Expired.Clause).Because("有效期至 %s", p.NotAfter.Format("2006-01-02"))
	}
	return p, nil
}

func (d Desk) find(ctx context.Context, der []byte) (Person, error) {
	if r, ok := d.People.(Reader); ok {
		return r.PersonOf(ctx, der)
	}
	return d.People.PersonByCert(ctx, alg.Digest(der))
}

// challenge is what ties 16 random bytes to a certificate, an act and a second.
func (d Desk) challenge(random []byte, p Person, act string, at time.Time) []byte {
	h := hmac.New(sm3.New, d.Secret)
	h.Write(random)
	h.Write(alg.Digest(p.Cert))
	h.Write([]byte(act + " " + at.UTC().Format(time.RFC3339)))
	return append(random[:len(random):len(random)], h.Sum(nil)[:16]...)
}

// own reports whether the desk made the nonce of a claim.
func (d Desk) own(c Claim, p Person, act string) bool {
	if len(d.Secret) == 0 {
		return true
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.Nonce)
	return err == nil && len(raw) == 32 && hmac.Equal(raw, d.challenge(raw[:16], p, act, c.At))
}

// Draft is the statement a person is asked to sign, with time and nonce filled
// in. The desk keeps nothing: whoever signs sends time and nonce back.
func (d Desk) Draft(p Person, act, title, object, note string, items []Item) Statement {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // crypto/rand never fails
	at := d.Now().UTC().Truncate(time.Second)
	if len(d.Secret) > 0 {
		nonce = d.challenge(nonce, p, act, at)
	}
	return d.statement(p, act, title, object, note, items, at, NonceOf(nonce))
}

func (d Desk) statement(p Person, act, title, object, note string, items []Item, at time.Time, nonce string) Statement {
	s := Statement{Site: d.Site, Act: act, Title: title, Object: object, Person: p.ID, Name: p.Name, Serial: p.Serial, Note: note, Avers: d.Avers[act], At: at, Nonce: nonce}
	if len(items) > 0 {
		s.Digest, s.Count = Root(items), len(items)
	}
	return s
}

// Claim is what comes back from the person: their certificate, the time and
// nonce of the statement they saw, and the signature.
type Claim struct {
	Cert      []byte    `json:"cert"`
	At        time.Time `json:"at"`
	Nonce     string    `json:"nonce"`
	Signature []byte    `json:"signature"`
}

// Verify rebuilds the statement from what the desk itself knows of the objects
// now, and checks the person's signature over it. A statement over anything
// else, or over an object that has moved on, fails.
func (d Desk) Verify(ctx context.Context, c Claim, act, title, object, note string, items []Item) (Command, error) {
	p, err := d.Who(ctx, c.Cert)
	if err != nil {
		return Command{}, err
	}
	if age := d.Now().Sub(c.At); age > Window || age < -Window {
		return Command{}, Stale.At("at", Stale.Clause).Because("声明时间 %s", c.At.Format(time.RFC3339))
	}
	if len(c.Nonce) < 16 || len(c.Nonce) > 64 || !d.own(c, p, act) {
		return Command{}, BadSignature.At("nonce", BadSignature.Clause)
	}
	s := d.statement(p, act, title, object, note, items, c.At.UTC(), c.Nonce)
	signed := Signed{s, s.Text(), c.Signature, c.Cert}
	return signed.command(p)
}

func (s Signed) command(p Person) (Command, error) {
	key, err := alg.PublicKey(p.Point)
	if err != nil {
		return Command{}, err
	}
	if alg.Verify(key, s.Text, s.Signature) != nil {
		return Command{}, BadSignature.At("signature", BadSignature.Clause)
	}
	return Command{who: p, signed: s, key: key}, nil
}

// Recheck verifies a command that another system accepted earlier: the core's
// look at what the service zone says its people signed. The person must be on
// this desk's register and their certificate valid when they signed.
func (d Desk) Recheck(ctx context.Context, s Signed) (Command, error) {
	p, err := d.People.PersonByCert(ctx, alg.Digest(s.Cert))
	if err != nil {
		return Command{}, err
	}
	if !p.Ended.IsZero() && !s.At.Before(p.Ended) {
		return Command{}, Ended.At("certificate", Ended.Clause)
	}
	if p.Disabled {
		return Command{}, Disabled.At("certificate", Disabled.Clause)
	}
	if s.At.Before(p.NotBefore) || s.At.After(p.NotAfter) {
		return Command{}, Expired.At("certificate", Expired.Clause)
	}
	if s.Site != d.Site || s.Person != p.ID || s.Serial != p.Serial || !bytes.Equal(s.Text, s.Statement.Text()) {
		return Command{}, BadSignature.At("text", BadSignature.Clause)
	}
	return s.command(p)
}

// PersonOf reads the certificate of a person to be registered.
func PersonOf(id PersonID, name string, der []byte, roles ...Role) (Person, error) {
	c, err := cert.Parse(der)
	if err != nil {
		return Person{}, err
	}
	return Person{ID: id, Name: name, Roles: roles, Serial: c.SerialHex(), Cert: der, Point: c.Point, NotBefore: c.NotBefore, NotAfter: c.NotAfter}, nil
}
