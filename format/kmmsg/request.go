package kmmsg

import (
	"crypto"
	"encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
)

// Request is KSRequest: what a CA asks of the key centre.
type Request struct {
	CA   Entity
	Asks []Ask
	At   time.Time
	Task []byte // number, big endian
}

// Ask is one request in the list.
type Ask struct {
	Kind   Kind
	Serial []byte // userCertNo: serial of the encryption certificate

	// Of Apply and Restore.
	Algorithms Algorithms
	Point      []byte // the user's signing key, which the answer is sealed to; nil if it is not SM2

	// Of Apply.
	From, To time.Time
	UserName string
	Region   string // dsCode
	Extend   string
}

// Algorithms are those a CA wants. The zero value stands for the only suite
// there is: an SM2 pair, sealed with SM2-3, SM4 and SM3.
type Algorithms struct {
	Key    asn1.ObjectIdentifier
	Bits   int
	Asym   asn1.ObjectIdentifier
	Sym    asn1.ObjectIdentifier
	Digest asn1.ObjectIdentifier
}

var suite = Algorithms{Key: alg.SM2, Bits: 256, Asym: alg.SM2Encrypt, Sym: alg.SM4, Digest: alg.SM3}

// Supported reports whether the algorithms are ones the key centre has. Key
// and Bits matter to Apply only.
func (a Algorithms) Supported(k Kind) bool {
	key := k != Apply || oneOf(a.Key, alg.SM2, alg.SM2Encrypt, alg.ECPublicKey) && a.Bits == 256
	return key && oneOf(a.Asym, alg.SM2Encrypt, alg.SM2, alg.SM2Exchange) && oneOf(a.Sym, alg.SM4, alg.SM4ECB) && oneOf(a.Digest, alg.SM3)
}

func (a Algorithms) orSuite() Algorithms {
	if a.Asym == nil {
		return suite
	}
	return a
}

// Bytes is the DER of KSRequest.
func (r Request) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 256+320*len(r.Asks)))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		r.CA.add(b)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, a := range r.Asks {
				b.AddASN1(context(uint8(a.Kind)), a.add)
			}
		})
		b.AddASN1GeneralizedTime(r.At.UTC())
		addNumber(b, r.Task)
	})
	return b.BytesOrPanic()
}

// Sign returns the CARequest.
func (r Request) Sign(key crypto.Signer) ([]byte, error) { return seal(r.Bytes(), key) }

func (a Ask) add(b *cryptobyte.Builder) {
	g := a.Algorithms.orSuite()
	if a.Kind == Apply {
		alg.AddID(b, g.Key)
		b.AddASN1Int64(int64(g.Bits))
	}
	if a.Kind != Revoke {
		alg.AddID(b, g.Asym)
		alg.AddID(b, g.Sym)
		alg.AddID(b, g.Digest)
	}
	switch a.Kind {
	case Apply:
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addNumber(b, a.Serial)
			alg.AddSPKI(b, a.Point)
			b.AddASN1GeneralizedTime(a.From.UTC())
			b.AddASN1GeneralizedTime(a.To.UTC())
			addText(b, 0, cbasn1.OCTET_STRING, a.UserName)
			addText(b, 1, cbasn1.IA5String, a.Region)
			addText(b, 2, cbasn1.IA5String, a.Extend)
		})
	case Restore:
		addNumber(b, a.Serial)
		alg.AddSPKI(b, a.Point)
	default:
		addNumber(b, a.Serial)
	}
}

// SignedRequest is a request as it was received.
type SignedRequest struct {
	Request
	message
}

// ParseRequest reads a CARequest. The signature is not yet checked.
func ParseRequest(der []byte) (*SignedRequest, error) {
	m, body, err := open(der)
	if err != nil {
		return nil, err
	}
	r := &SignedRequest{message: m}
	if r.CA, err = readEntity(&body); err != nil {
		return nil, err
	}
	var list cryptobyte.String
	if !body.ReadASN1(&list, cbasn1.SEQUENCE) || list.Empty() {
		return nil, syntax("request list")
	}
	for !list.Empty() {
		if len(r.Asks) == RequestsMax {
			return nil, syntax("more than %d requests", RequestsMax)
		}
		a, err := readAsk(&list)
		if err != nil {
			return nil, err
		}
		r.Asks = append(r.Asks, a)
	}
	if !body.ReadASN1GeneralizedTime(&r.At) || !readNumber(&body, &r.Task) || !body.Empty() {
		return nil, syntax("request time and task number")
	}
	return r, nil
}

func readAsk(list *cryptobyte.String) (a Ask, err error) {
	kind, s, err := readChoice(list)
	if err != nil {
		return a, err
	}
	a.Kind = kind
	switch kind {
	case Apply:
		err = a.readApply(&s)
	case Restore:
		if !a.readAlgorithms(&s) || !readNumber(&s, &a.Serial) || !a.readKey(&s) {
			err = syntax("restore request")
		}
	case Revoke:
		if !readNumber(&s, &a.Serial) {
			err = syntax("revoke request")
		}
	default:
		err = syntax("request has tag %d", kind)
	}
	if err == nil && (!s.Empty() || len(a.Serial) == 0) {
		err = syntax("%v request: certificate serial or trailing data", kind)
	}
	return a, err
}

func (a *Ask) readAlgorithms(s *cryptobyte.String) bool {
	for _, to := range []*asn1.ObjectIdentifier{&a.Algorithms.Asym, &a.Algorithms.Sym, &a.Algorithms.Digest} {
		oid, ok := alg.ReadID(s)
		if !ok {
			return false
		}
		*to = oid
	}
	return true
}

func (a *Ask) readKey(s *cryptobyte.String) (ok bool) {
	a.Point, ok = readKey(s)
	return ok
}

func (a *Ask) readApply(s *cryptobyte.String) error {
	var ok bool
	var user cryptobyte.String
	if a.Algorithms.Key, ok = alg.ReadID(s); !ok || !s.ReadASN1Integer(&a.Algorithms.Bits) || !a.readAlgorithms(s) ||
		!s.ReadASN1(&user, cbasn1.SEQUENCE) {
		return syntax("apply request: algorithms")
	}
	if !readNumber(&user, &a.Serial) || !a.readKey(&user) ||
		!user.ReadASN1GeneralizedTime(&a.From) || !user.ReadASN1GeneralizedTime(&a.To) {
		return syntax("apply request: user")
	}
	if !readText(&user, 0, &a.UserName) || !readText(&user, 1, &a.Region) || !readText(&user, 2, &a.Extend) || !user.Empty() {
		return syntax("apply request: user's name and region")
	}
	return nil
}
