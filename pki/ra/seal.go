package ra

import (
	"errors"
	"fmt"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/envelope"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/sealedkey"
)

// Package is the package of a case, with the sealed key also in the form its
// profile chose, after other eyes have read it: what would not import, or is
// another pair's, is refused here and not found out at the token.
func (r *Registrar) Package(rec Record, chain [][]byte) (Package, error) {
	p := PackageOf(rec, chain)
	if rec.Reply.Enc == nil {
		return p, nil
	}
	sign, err1 := cert.Parse(rec.Reply.Sign)
	enc, err2 := cert.Parse(rec.Reply.Enc)
	if err := errors.Join(err1, err2); err != nil {
		return p, fmt.Errorf("reading the certificates of %s: %w", rec.ID, err)
	}
	e, original, err := sealedkey.Of(rec.Reply.Sealed, enc.Point)
	if err != nil {
		return p, BadEnvelope.At("sealed-key.der", BadEnvelope.Clause).Because("%v", err)
	}
	p.Sealed = e.Narrow().Bytes()
	form := r.form(rec)
	var further []byte
	switch form {
	case profile.SKF32, profile.SKF64:
		further, err = e.SKF(form == profile.SKF64)
		p.SKF = further
	case profile.P7:
		further, err = relabelled(original, sign)
		p.P7 = further
	}
	if err != nil {
		return p, BadEnvelope.At(form, BadEnvelope.Clause).Because("不能转成 %s：%v", form, err)
	}
	if err := envelope.Check(p.Sealed, form, further, enc.Point); err != nil {
		return p, BadEnvelope.At(form, BadEnvelope.Clause).Because("%s", refusal.Of(err).Report().Text)
	}
	return p, nil
}

// form is what the profile of the application's day chose. A profile changed
// since then does not change what was issued under it.
func (r *Registrar) form(rec Record) string {
	a, err := applicationOf(rec.Content)
	if p, ok := r.InForce()[rec.Profile]; ok && err == nil && p.Version == a.Version {
		return p.Form()
	}
	return profile.SealedKey
}

// relabelled names the certificate whose key opens the envelope as its
// recipient: the key centre did not know it yet. The signature covers the
// content only, so it stands.
func relabelled(original *cms.Envelope, sign *cert.Certificate) ([]byte, error) {
	if original == nil || original.Signature == nil {
		return nil, errors.New("没有密钥管理中心的原信封")
	}
	e := *original
	e.Recipient = cms.RefOf(sign)
	return cms.Wrap(e.Bytes()), nil
}
