package envelope

import (
	"bytes"
)

// Err is the first thing wrong with the blob as a refusal, or nil.
func (r *Report) Err() error {
	f := r.Fault()
	switch {
	case f == nil:
		return nil
	case r.Format == Unknown || r.Format == CFCA:
		return NotEnvelope.At(f.At, f.Clause).Because("%s", f.Text)
	case f.At == "打开":
		return NotOpened.At(f.At, f.Clause).Because("%s", f.Text)
	}
	return Deviates.At(f.At, f.Clause).Because("%s：%s", f.At, f.Text)
}

// Check reads what is to be handed out and compares it with what it should be:
// the sealed key every package has, a further form of it when the profile
// wants one, and the point of the encryption certificate. None of it can be
// opened here, so that the further form holds the same key is told by its
// ciphertext being the same.
func Check(sealed []byte, form string, further, enc []byte) error {
	first := Inspect(sealed)
	if err := first.is(SealedKey, enc); err != nil {
		return err
	}
	if form == "" || form == SealedKey {
		return nil
	}
	second := Inspect(further)
	if form == P7 {
		second.Point = enc // the form has no room for it
	}
	if err := second.is(form, enc); err != nil {
		return err
	}
	n := len(second.content)
	if n != 32 && n != 64 || !bytes.Equal(second.content[n-32:], first.content) || !second.session.equal(first.session) {
		return Deviates.At(form, Deviates.Clause).Because("与 sealed-key.der 装的不是同一密钥")
	}
	return nil
}

func (r *Report) is(form string, enc []byte) error {
	if err := r.Err(); err != nil {
		return err
	}
	if r.Format != form {
		return Deviates.At(form, Deviates.Clause).Because("格式是 %s，应为 %s", r.Title, titles[form])
	}
	if !bytes.Equal(r.Point, enc) {
		return Deviates.At(form, Deviates.Clause).Because("信封内的公钥与加密证书不符")
	}
	return nil
}

func (c sm2Cipher) equal(o sm2Cipher) bool {
	return bytes.Equal(coordinate(c.x), coordinate(o.x)) && bytes.Equal(coordinate(c.y), coordinate(o.y)) &&
		bytes.Equal(c.hash, o.hash) && bytes.Equal(c.text, o.text)
}
