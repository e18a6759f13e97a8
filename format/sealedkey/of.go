package sealedkey

import (
	"errors"

	"github.com/hufu-pki/hufu/format/cms"
)

// Of reads a sealed key in any form that travels here: SM2EnvelopedKey, a
// token's blob, or the enveloped data of GM/T 0010, which names no public key
// and is taken to hold that of point. It returns the enveloped data too, when
// that is what it was. A chained cipher is refused (cms.ErrChained): it would
// have to be opened to become anything else.
func Of(der, point []byte) (Envelope, *cms.Envelope, error) {
	if len(der) == SKFSize {
		if e, err := ParseSKF(der); err == nil {
			return e, nil, nil
		}
	}
	e, err := Parse(der)
	if err == nil {
		return e, nil, nil
	}
	signed, err2 := cms.Parse(der)
	if err2 != nil && !errors.Is(err2, cms.ErrChained) {
		signed, err2 = cms.ParseUnsigned(der)
	}
	if errors.Is(err2, cms.ErrChained) {
		return e, nil, err2
	}
	if err2 != nil {
		return e, nil, err
	}
	e = Envelope{SessionKey: signed.SessionKey, Point: point, Content: signed.Content}
	return e, &signed, e.check()
}
