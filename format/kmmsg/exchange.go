package kmmsg

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
)

// ErrAnswer is returned for an answer that does not belong to what was asked,
// or that the key centre did not sign.
var ErrAnswer = errors.New("not the key centre's answer to this request")

// Build writes a signed CARequest of the CA whose identity certificate and key
// are given: any mixture of Apply, Restore and Revoke.
func Build(ca *cert.Certificate, key crypto.Signer, task []byte, asks []Ask, at time.Time) ([]byte, error) {
	if len(asks) == 0 || len(asks) > RequestsMax {
		return nil, fmt.Errorf("a message carries 1 to %d requests, not %d", RequestsMax, len(asks))
	}
	for i, a := range asks {
		if len(a.Serial) == 0 || len(a.Serial) > numberMax || a.Kind != Revoke && a.Point == nil || a.Kind > Revoke {
			return nil, fmt.Errorf("request %d is not complete", i)
		}
		if len(a.UserName) > textMax || len(a.Region) > textMax || len(a.Extend) > textMax {
			return nil, fmt.Errorf("request %d: a text is longer than %d bytes", i, textMax)
		}
	}
	return Request{CA: EntityOf(ca), Asks: asks, At: at, Task: task}.Sign(key)
}

// Renew signs a request again with a new time. It is for a message that lay
// too long before it was sent: a key centre that refuses it for its time has
// nothing on record under the task number, so the number may be kept.
func Renew(request []byte, key crypto.Signer, at time.Time) ([]byte, error) {
	r, err := ParseRequest(request)
	if err != nil {
		return nil, fmt.Errorf("own request: %w", err)
	}
	r.At = at
	return r.Sign(key)
}

// Result is what became of one request: a pair, an acknowledgement, or an
// error number with its words.
type Result struct {
	Kind       Kind // of the request
	UserCertNo []byte
	Point      []byte // the encryption key
	SessionKey []byte // DER SM2Cipher, to the user's signing key
	Content    []byte // SM4-ECB, 64 bytes: 32 zeros ‖ private key
	Envelope   []byte // SignedAndEnvelopedData as the key centre wrote it
	ErrNo      int    // 0 for success
	Desc       string
}

// Check reads the response to a request and returns the results in the order of
// the request list. It makes the checks GM/T 0014 leaves to the CA: signature
// and name of the key centre, task number, kind and serial of each answer, and
// that the new key is neither the signing key nor given twice. The signature
// inside the envelope is over the plain key: only its owner can check it.
func Check(request, response []byte, km *cert.Certificate) ([]Result, error) {
	req, err := ParseRequest(request)
	if err != nil {
		return nil, fmt.Errorf("own request: %w", err)
	}
	resp, err := ParseResponse(response)
	if err != nil {
		return nil, err
	}
	if !resp.KM.Is(km) {
		return nil, fmt.Errorf("%w: it names another key centre", ErrAnswer)
	}
	if err := resp.Verify(km); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if !bytes.Equal(req.Task, resp.Task) || len(req.Asks) != len(resp.Answers) {
		return nil, fmt.Errorf("%w: task %x with %d answers, want task %x with %d", ErrAnswer, resp.Task, len(resp.Answers), req.Task, len(req.Asks))
	}
	results := make([]Result, len(req.Asks))
	seen := map[string]bool{}
	for i, a := range resp.Answers {
		if results[i], err = result(req.Asks[i], a); err != nil {
			return nil, fmt.Errorf("%w: answer %d: %w", ErrAnswer, i, err)
		}
		if a.Kind == Apply && seen[string(a.Point)] {
			return nil, fmt.Errorf("%w: answer %d: a pair is given twice", ErrAnswer, i)
		}
		seen[string(a.Point)] = true
	}
	return results, nil
}

func result(ask Ask, a Answer) (Result, error) {
	r := Result{Kind: ask.Kind, UserCertNo: ask.Serial}
	if a.Kind == Failed {
		if r.ErrNo, r.Desc = a.ErrNo, a.ErrDesc; r.ErrNo == 0 {
			return r, errors.New("error number is 0")
		}
		return r, nil
	}
	if a.Kind != ask.Kind || !bytes.Equal(a.Serial, ask.Serial) {
		return r, fmt.Errorf("%v for %x, asked %v for %x", a.Kind, a.Serial, ask.Kind, ask.Serial)
	}
	if a.Kind == Revoke {
		return r, nil
	}
	e, err := cms.Parse(a.Sealed)
	if err != nil {
		return r, err
	}
	if bytes.Equal(a.Point, ask.Point) {
		return r, errors.New("the encryption key is the signing key")
	}
	r.Point, r.SessionKey, r.Content, r.Envelope = a.Point, e.SessionKey, e.Content, a.Sealed
	if len(r.Content) != 64 && len(r.Content) != 32 {
		return r, fmt.Errorf("sealed key has %d bytes", len(r.Content))
	}
	return r, nil
}
