package ca

import (
	"context"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
)

// Line is the keys of one CA over time (CA 密钥更新, RFC 4210 §4.4). Its zero
// value has the first key only.
//
// The newest key signs certificates. Each key goes on signing lists of the
// certificates it signed until the last of them has expired. A certificate
// belongs to the key its authority key identifier names.
type Line struct {
	heirs atomic.Pointer[[]*Issuer] // after the first, oldest first
	wards atomic.Pointer[[]*Issuer] // taken over, oldest first
}

// Succession is one change of the CA's key on record. (密钥更新)
type Succession struct {
	Generation int    // of the new key; that of the first key, which has no succession, is 0
	Order      string // what people decided
	Label      string // of the key in the device
	DER        []byte // the certificate the new key signs under; nil until it does
}

// LineStore keeps the successions of a CA.
type LineStore interface {
	// Successions returns them, oldest first.
	Successions(ctx context.Context) ([]Succession, error)
	// Begin puts a succession on record, once for an order. It refuses a second one
	// while another is under way (RolloverOpen).
	Begin(ctx context.Context, order, label string, line audit.Entry) (Succession, error)
	// Succeed makes the key of an order the one that signs, once.
	Succeed(ctx context.Context, order string, der []byte, line audit.Entry) error
	// Forgo takes an order that does not sign yet off the record; its key is
	// never used, its number is the next one's.
	Forgo(ctx context.Context, order string, line audit.Entry) error
	// LastEnd is when the last certificate of a key expires; zero if it signed none.
	LastEnd(ctx context.Context, generation int) (time.Time, error)
}

// Generations are the issuers of the line, one for each key, oldest first.
func (is *Issuer) Generations() []*Issuer {
	if is.Line == nil {
		return []*Issuer{is}
	}
	first := is
	if is.first != nil {
		first = is.first
	}
	list := []*Issuer{first}
	if heirs := is.Line.heirs.Load(); heirs != nil {
		list = append(list, *heirs...)
	}
	return list
}

// Current is the issuer whose key signs certificates now.
func (is *Issuer) Current() *Issuer {
	if is.Line == nil {
		return is
	}
	if heirs := is.Line.heirs.Load(); heirs != nil {
		return (*heirs)[len(*heirs)-1]
	}
	if is.first != nil {
		return is.first
	}
	return is
}

// Generation numbers the issuer's key, from 0.
func (is *Issuer) Generation() int { return is.generation }

// Heir is an issuer on the same records with the next key. It signs nothing for
// others before Succeed.
func (is *Issuer) Heir(key crypto.Signer, c *cert.Certificate) *Issuer {
	all := is.Generations()
	next := *all[0]
	next.Key, next.Cert, next.first, next.generation = key, c, all[0], len(all)
	return &next
}

// Succeed makes an heir the issuer that signs; the store has it on record.
func (is *Issuer) Succeed(heir *Issuer) {
	list := append(slices.Clone(is.Generations()[1:]), heir)
	is.Line.heirs.Store(&list)
}

// by is the issuer whose key signs, or signed, a certificate.
func (is *Issuer) by(c *cert.Certificate) *Issuer {
	all := is.Generations()
	if is.Line == nil {
		return is
	}
	if w := is.wardOf(c); w != nil {
		return w
	}
	e, _ := c.Extension(cert.AuthorityKeyID)
	for _, g := range append(slices.Clone(all), is) { // it may be an heir that signs nothing else yet
		if string(e.Value) == string(cert.AKI(g.Cert.Point).Value) {
			return g
		}
	}
	return all[0] // what names no key is older than the second one
}

// Stride is how far the shards of one key are from those of the next, on record
// and in the ledger.
const Stride = 1 << 12

// Shard names the partition of a certificate's key and serial.
func (is *Issuer) shard(serial []byte) int {
	if is.top {
		return Authorities
	}
	return is.generation*Stride + int(serial[len(serial)-1])%is.shards()
}

// shards is how many partitions its list has: one taken over has no certificate
// that names another.
func (is *Issuer) shards() int {
	if is.ward {
		return 1
	}
	return is.settings().Shards
}

// FullOf and DeltaOf are the numbers that stand for the lists of a key.
func FullOf(generation int) int  { return Full - 4*generation }
func DeltaOf(generation int) int { return Delta - 4*generation }

// Span is the shards [from, to) whose certificates a list is about.
func Span(list int) (from, to int) {
	switch g := KeyOf(list); {
	case list >= 0 || list == Authorities:
		return list, list + 1
	default:
		return g * Stride, (g + 1) * Stride
	}
}

// KeyOf is the generation of the key that signs a list.
func KeyOf(list int) int {
	if list >= 0 {
		return list / Stride
	}
	return (-list - 1) / 4
}

// Kind tells whether a list is Full, Delta, Authorities, or 0 for that of a shard.
func Kind(list int) int {
	if list >= 0 {
		return 0
	}
	return -((-list-1)%4 + 1)
}

// Behind are the lists that a change of a certificate in a shard leaves behind.
func Behind(shard int) []int {
	if shard < 0 { // the root's: it stands in the root's list only
		return []int{shard}
	}
	return []int{shard, FullOf(KeyOf(shard)), DeltaOf(KeyOf(shard))}
}

// Everywhere are the lists of every key, the last of which has a generation, and
// of the root, with so many shards each.
func Everywhere(last, shards int) []int {
	list := []int{Authorities}
	for g := range last + 1 {
		list = append(list, FullOf(g), DeltaOf(g))
		for n := range shards {
			list = append(list, g*Stride+n)
		}
	}
	return list
}

// ScopeOf names a list: "full", "delta", "shard-3", "arl"; those of later keys
// have "k1-" before it.
func ScopeOf(list int) string {
	scope := ""
	if g := KeyOf(list); g > 0 {
		scope = fmt.Sprintf("k%d-", g)
	}
	switch Kind(list) {
	case Full:
		return scope + "full"
	case Delta:
		return scope + "delta"
	case Authorities:
		return scope + arl
	}
	return scope + "shard-" + strconv.Itoa(list%Stride)
}

// ReadScope takes a scope apart: the generation of the key, and what the list of
// the first key would be called.
func ReadScope(scope string) (generation int, rest string) {
	if head, tail, ok := strings.Cut(scope, "-"); ok && strings.HasPrefix(head, "k") {
		if n, err := strconv.Atoi(head[1:]); err == nil && n > 0 && head == "k"+strconv.Itoa(n) {
			return n, tail
		}
	}
	return 0, scope
}

// IssuerFile is the name under which the certificate of a later key lies in
// public, beside "ca.cer" for that of the first.
func IssuerFile(point []byte) string { return "ca-" + hex.EncodeToString(cert.KeyID(point)) + ".cer" }
