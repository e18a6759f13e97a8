package kmmsg

import (
	"crypto"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cms"
)

// Response is KSRespond: what the key centre answers.
type Response struct {
	KM      Entity
	Answers []Answer
	At      time.Time
	Task    []byte
}

// Answer is one answer in the list.
type Answer struct {
	Kind   Kind
	Serial []byte // of every kind but Failed

	// Of Apply and Restore.
	Point  []byte
	Sealed []byte // SignedAndEnvelopedData

	// Of Failed.
	ErrNo   int
	ErrDesc string
}

// Bytes is the DER of KSRespond.
func (r Response) Bytes() []byte {
	size := 256
	for _, a := range r.Answers {
		size += 160 + len(a.Sealed) + len(a.ErrDesc)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		r.KM.add(b)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, a := range r.Answers {
				b.AddASN1(context(uint8(a.Kind)), a.add)
			}
		})
		b.AddASN1GeneralizedTime(r.At.UTC())
		addNumber(b, r.Task)
	})
	return b.BytesOrPanic()
}

// Sign returns the KMRespond.
func (r Response) Sign(key crypto.Signer) ([]byte, error) { return seal(r.Bytes(), key) }

func (a Answer) add(b *cryptobyte.Builder) {
	switch a.Kind {
	case Failed:
		b.AddASN1Int64(int64(a.ErrNo))
		addText(b, 0, cbasn1.UTF8String, a.ErrDesc)
	case Revoke:
		addNumber(b, a.Serial)
	default:
		addNumber(b, a.Serial)
		alg.AddSPKI(b, a.Point)
		b.AddBytes(a.Sealed)
	}
}

// SignedResponse is a response as it was received.
type SignedResponse struct {
	Response
	message
}

// ParseResponse reads a KMRespond. The signature is not yet checked.
func ParseResponse(der []byte) (*SignedResponse, error) {
	m, body, err := open(der)
	if err != nil {
		return nil, err
	}
	r := &SignedResponse{message: m}
	if r.KM, err = readEntity(&body); err != nil {
		return nil, err
	}
	var list cryptobyte.String
	if !body.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil, syntax("answer list")
	}
	for !list.Empty() {
		if len(r.Answers) == RequestsMax {
			return nil, syntax("more than %d answers", RequestsMax)
		}
		a, err := readAnswer(&list)
		if err != nil {
			return nil, err
		}
		r.Answers = append(r.Answers, a)
	}
	if !body.ReadASN1GeneralizedTime(&r.At) || !readNumber(&body, &r.Task) || !body.Empty() {
		return nil, syntax("response time and task number")
	}
	return r, nil
}

func readAnswer(list *cryptobyte.String) (a Answer, err error) {
	kind, s, err := readChoice(list)
	if err != nil {
		return a, err
	}
	a.Kind = kind
	switch kind {
	case Failed:
		if !s.ReadASN1Integer(&a.ErrNo) || !readText(&s, 0, &a.ErrDesc) {
			return a, syntax("error answer")
		}
	case Revoke:
		if !readNumber(&s, &a.Serial) {
			return a, syntax("revoke answer")
		}
	default:
		var ok bool
		var sealed cryptobyte.String
		if !readNumber(&s, &a.Serial) {
			return a, syntax("key answer: serial")
		}
		if a.Point, ok = readKey(&s); !ok || a.Point == nil {
			return a, syntax("key answer: public key is not SM2")
		}
		if !s.ReadASN1Element(&sealed, cbasn1.SEQUENCE) || len(sealed) > cms.SizeMax {
			return a, syntax("key answer: sealed key")
		}
		a.Sealed = sealed
	}
	if !s.Empty() {
		return a, syntax("answer with tag %d: trailing data", kind)
	}
	return a, nil
}
