// Package caescrow asks the key centre for key pairs in GM/T 0014 messages.
// (密钥申请)
//
// What the key centre sealed for the subscriber is re-encoded, never opened:
// neither the CA nor the RA can read it (GM/T 0034 §5.3.4.2).
package caescrow

import (
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/kmmsg"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/pki/ca"
)

// Centre is the key centre behind a carrier.
type Centre struct {
	Key  crypto.Signer     // of the CA's server: signs the messages
	Cert *cert.Certificate // of that key
	KM   *cert.Certificate // the key centre's identity
	Ask  func(ctx context.Context, request []byte) ([]byte, error)
	Now  func() time.Time
}

var _ ca.KeyCentre = (*Centre)(nil)

// Apply writes the signed message that asks for key pairs.
func (c *Centre) Apply(task int64, asks []ca.KeyAsk, now time.Time) ([]byte, error) {
	list := make([]kmmsg.Ask, len(asks))
	for i, a := range asks {
		list[i] = kmmsg.Ask{Kind: kmmsg.Apply, Serial: a.Serial, Point: a.Point, From: a.From, To: a.To, UserName: a.Name}
		if a.Restore {
			list[i] = kmmsg.Ask{Kind: kmmsg.Restore, Serial: a.Serial, Point: a.Point}
		}
	}
	return kmmsg.Build(c.Cert, c.Key, kmmsg.Task(task), list, now)
}

// Retire writes the signed message that retires key pairs.
func (c *Centre) Retire(task int64, serials [][]byte, now time.Time) ([]byte, error) {
	list := make([]kmmsg.Ask, len(serials))
	for i, s := range serials {
		list[i] = kmmsg.Ask{Kind: kmmsg.Revoke, Serial: s}
	}
	return kmmsg.Build(c.Cert, c.Key, kmmsg.Task(task), list, now)
}

// Send sends a message, again if need be, and checks the answers.
func (c *Centre) Send(ctx context.Context, message []byte) ([]ca.KeyAnswer, error) {
	results, err := c.send(ctx, message)
	if err == nil && late(results) { // it lay too long before it was first sent
		if message, err = kmmsg.Renew(message, c.Key, c.Now()); err == nil {
			results, err = c.send(ctx, message)
		}
	}
	if err != nil {
		return nil, err
	}
	answers := make([]ca.KeyAnswer, len(results))
	for i, r := range results {
		a := ca.KeyAnswer{Serial: r.UserCertNo, Point: r.Point}
		switch {
		case r.ErrNo != 0:
			a.Refused = fmt.Sprintf("%d %s", r.ErrNo, r.Desc)
		case r.Kind == kmmsg.Apply || r.Kind == kmmsg.Restore:
			e, err := sealedkey.FromEnveloped(r.SessionKey, r.Content, r.Point)
			if err != nil {
				return nil, fmt.Errorf("answer of the key centre: %w", err)
			}
			a.Sealed, a.Envelope = e.Bytes(), r.Envelope
		}
		answers[i] = a
	}
	return answers, nil
}

func (c *Centre) send(ctx context.Context, message []byte) ([]kmmsg.Result, error) {
	response, err := c.Ask(ctx, message)
	if err != nil {
		return nil, err
	}
	return kmmsg.Check(message, response, c.KM)
}

// outOfTime is the error number for a message whose time is out of the window.
const outOfTime = 4

// late reports whether the whole message was refused for its time; the key
// centre has then nothing on record of it.
func late(results []kmmsg.Result) bool {
	for _, r := range results {
		if r.ErrNo != outOfTime {
			return false
		}
	}
	return len(results) > 0
}
