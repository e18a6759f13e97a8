package ca

import (
	"bytes"
	"context"
	"crypto"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
)

// WardFirst is the generation of the first CA taken over; those below it are of
// this CA's own keys.
const WardFirst = 512

// WardProfile is what certificates of a CA taken over are recorded under.
const WardProfile = "taken-over"

// Ward is a CA of another institution that this one answers for. (承接的 CA)
//
// It keeps its name. Its key, where that was handed over, signs its lists and the
// certificates of its responder, and nothing else.
type Ward struct {
	Number   int    // from 0
	Order    string // what people decided
	Manifest string // SM3 of the package, hexadecimal
	Label    string // of its key in the device; empty where the key was not handed over
	DER      []byte // its certificate
	Done     bool   // everything of the package is on record
}

// Generation numbers its lists among those of this CA's keys.
func (w Ward) Generation() int { return WardFirst + w.Number }

// Taken is one certificate of a ward on its way to the record.
type Taken struct {
	Issued
	Entry  Publication
	Status *Publication // what became of it, when that was not good
}

// WardStore keeps what was handed over, and whose.
type WardStore interface {
	// Wards returns them, oldest first.
	Wards(ctx context.Context) ([]Ward, error)
	// KeepPiece keeps a part of a package, once.
	KeepPiece(ctx context.Context, manifest string, no int, body []byte, line audit.Entry) error
	// Pieces tells which parts of a package are at hand, in order.
	Pieces(ctx context.Context, manifest string) ([]int, error)
	// Piece returns a part; nil if it is not at hand.
	Piece(ctx context.Context, manifest string, no int) ([]byte, error)
	// Adopt puts a ward on record, once for an order, with the ledger's entries of
	// its certificates and, where one is given, its last list. No list gets a
	// number up to floor any more.
	Adopt(ctx context.Context, w Ward, authorities []Publication, floor int64, last *List, entry Publication, line audit.Entry) (Ward, error)
	// Take puts the certificates of a part on record with their ledger entries and
	// their status, once for a part; refused (TakenSerial, KeyInUse) where a
	// serial or a key is another's.
	Take(ctx context.Context, order string, no int, list []Taken, line audit.Entry) error
	// Finish closes a ward's package and drops its parts, once.
	Finish(ctx context.Context, order string, line audit.Entry) error
	// Known tells which serials are on record.
	Known(ctx context.Context, serials [][]byte) ([][]byte, error)
}

// Wards are the issuers taken over, oldest first. One whose key was not handed
// over has none.
func (is *Issuer) Wards() []*Issuer {
	if is.Line == nil {
		return nil
	}
	if list := is.Line.wards.Load(); list != nil {
		return *list
	}
	return nil
}

// signers are the issuers that sign lists: this CA's keys, and those taken over
// with theirs.
func (is *Issuer) signers() []*Issuer {
	list := slices.Clone(is.Generations())
	for _, w := range is.Wards() {
		if w.Key != nil {
			list = append(list, w)
		}
	}
	return list
}

// Guard makes a ward answered for; key is nil where it was not handed over.
func (is *Issuer) Guard(w Ward, key crypto.Signer, c *cert.Certificate) {
	all := is.Wards()
	if slices.ContainsFunc(all, func(o *Issuer) bool { return o.generation == w.Generation() }) {
		return
	}
	next := *is.Generations()[0]
	next.Key, next.Cert, next.Root, next.first, next.generation, next.ward = key, c, nil, is.Generations()[0], w.Generation(), true
	list := append(slices.Clone(all), &next)
	is.Line.wards.Store(&list)
}

// wardOf is the ward that signed a certificate; nil if none did.
func (is *Issuer) wardOf(c *cert.Certificate) *Issuer {
	for _, w := range is.Wards() {
		if bytes.Equal(w.Cert.Subject, c.Issuer) && c.SignedBy(w.Cert) == nil {
			return w
		}
	}
	return nil
}

// taken makes the record of one certificate handed over; e is its entry on the
// list, if there is one.
func taken(by *cert.Certificate, digest []byte, generation int, c *cert.Certificate, use string, pair []byte, e *crl.Entry, now time.Time, digestOf []byte) Taken {
	t := Taken{Issued: Issued{
		Serial: c.Serial.Bytes(), Pair: pair, Request: "taken-" + c.SerialHex(), Profile: WardProfile, Use: use, Shard: generation * Stride, DER: c.Raw, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
	}}
	body := record.Certificate{
		Issuer: digest, Serial: t.Serial, Pair: pair, Use: use, Profile: WardProfile, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Shard: t.Shard, Digest: digestOf, Public: true,
	}.Bytes()
	t.Entry = Publication{Leaf: record.Entry{Kind: record.KindCertificate, At: now, Body: body}.Bytes()}
	if e != nil {
		t.Revoked, t.Reason, t.RevokedAt, t.Invalid = true, e.Reason, e.At, e.Invalid
		body := record.Status{Issuer: digest, Serial: t.Serial, Revoked: true, Reason: e.Reason, At: e.At, Invalid: e.Invalid}.Bytes()
		t.Status = &Publication{Leaf: record.Entry{Kind: record.KindStatus, At: now, Body: body}.Bytes()}
	}
	return t
}
