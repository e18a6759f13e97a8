// Package shamir splits a secret into shares of which any k give it back and
// fewer tell nothing. (秘密分享)
//
// Each byte is the constant term of a random polynomial of degree k−1 over
// GF(2^8), as AES and most other tools have it. Arithmetic uses neither tables
// nor branches that depend on secrets. A share names its set, so that shares of
// different splits are never mixed, and carries a checksum: one mistyped byte
// is found before it spoils the secret.
package shamir

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/emmansun/gmsm/sm3"
)

// SharesMax bounds the shares of a secret: the points of the field but zero.
const SharesMax = 255

// secretMax bounds a secret; keys and passphrases are far shorter.
const secretMax = 4096

const (
	magic    = "HFS1"
	setSize  = 8
	sumSize  = 8
	headSize = len(magic) + setSize + 2 // and threshold, index
)

// Errors of this package.
var (
	ErrParameters = errors.New("shamir: want 2 ≤ k ≤ n ≤ 255 and a secret of 1 to 4096 bytes")
	ErrShare      = errors.New("shamir: share is damaged")
	ErrMixed      = errors.New("shamir: shares of different sets")
	ErrTooFew     = errors.New("shamir: too few shares")
)

// Share is one part of a secret.
type Share struct {
	Set       [setSize]byte // the same for all shares of one split
	Threshold int           // how many are needed
	Index     int           // the point of the field, from 1
	Value     []byte
}

// Split makes n shares of a secret, any k of which give it back.
func Split(secret []byte, k, n int) ([]Share, error) {
	if k < 2 || n < k || n > SharesMax || len(secret) == 0 || len(secret) > secretMax {
		return nil, ErrParameters
	}
	var set [setSize]byte
	_, _ = rand.Read(set[:]) // crypto/rand never fails
	shares := make([]Share, n)
	for i := range shares {
		shares[i] = Share{Set: set, Threshold: k, Index: i + 1, Value: make([]byte, len(secret))}
	}
	poly := make([]byte, k)
	defer clear(poly)
	for b, s := range secret {
		_, _ = rand.Read(poly[1:])
		poly[0] = s
		for i := range shares {
			shares[i].Value[b] = at(poly, byte(i+1))
		}
	}
	return shares, nil
}

// Combine gives back the secret of a split. More shares than needed are
// checked to agree.
func Combine(shares []Share) ([]byte, error) {
	if len(shares) == 0 {
		return nil, ErrTooFew
	}
	first := shares[0]
	var seen []int
	for _, s := range shares {
		if s.Set != first.Set || s.Threshold != first.Threshold || len(s.Value) != len(first.Value) {
			return nil, ErrMixed
		}
		if s.Index < 1 || s.Index > SharesMax || s.Threshold < 2 {
			return nil, ErrShare
		}
		if !slices.Contains(seen, s.Index) {
			seen = append(seen, s.Index)
		}
	}
	if len(seen) < first.Threshold {
		return nil, fmt.Errorf("%w: %d of %d", ErrTooFew, len(seen), first.Threshold)
	}
	var use, rest []Share
	for _, s := range shares {
		if len(use) < s.Threshold && !slices.ContainsFunc(use, func(u Share) bool { return u.Index == s.Index }) {
			use = append(use, s)
		} else {
			rest = append(rest, s)
		}
	}
	for _, s := range rest {
		if !bytes.Equal(interpolate(use, byte(s.Index)), s.Value) {
			return nil, fmt.Errorf("%w: share %d disagrees with the others", ErrShare, s.Index)
		}
	}
	return interpolate(use, 0), nil
}

// interpolate is the value at x of the polynomial through the shares' points
// (Lagrange). Indexes are no secret; values are.
func interpolate(use []Share, x byte) []byte {
	out := make([]byte, len(use[0].Value))
	for i, s := range use {
		num, den := byte(1), byte(1)
		for j, o := range use {
			if i != j {
				num = mul(num, x^byte(o.Index))
				den = mul(den, byte(s.Index)^byte(o.Index))
			}
		}
		c := mul(num, inverse(den))
		for b := range out {
			out[b] ^= mul(c, s.Value[b])
		}
	}
	return out
}

// at is the value of a polynomial, lowest coefficient first (Horner).
func at(poly []byte, x byte) (y byte) {
	for i := len(poly) - 1; i >= 0; i-- {
		y = mul(y, x) ^ poly[i]
	}
	return y
}

// mul multiplies in GF(2^8) modulo x^8+x^4+x^3+x+1, in the same time for all
// operands: masks instead of branches and tables.
func mul(a, b byte) (p byte) {
	for range 8 {
		p ^= a & -(b & 1)
		a = a<<1 ^ 0x1B&-(a>>7)
		b >>= 1
	}
	return p
}

// inverse is a^254, which is 1/a, and 0 for 0.
func inverse(a byte) byte {
	r := a
	for range 6 { // a^3, a^7, … a^127
		r = mul(mul(r, r), a)
	}
	return mul(r, r)
}

// Bytes is a share as it is sealed or printed: magic, set, threshold, index,
// value, and the first bytes of SM3 over all of it.
func (s Share) Bytes() []byte {
	b := append([]byte(magic), s.Set[:]...)
	b = append(b, byte(s.Threshold), byte(s.Index))
	b = append(b, s.Value...)
	return append(b, checksum(b)...)
}

func checksum(b []byte) []byte {
	sum := sm3.Sum(b)
	return sum[:sumSize]
}

// Parse reads what Bytes wrote.
func Parse(b []byte) (Share, error) {
	if len(b) < headSize+1+sumSize || len(b) > headSize+secretMax+sumSize || string(b[:len(magic)]) != magic {
		return Share{}, ErrShare
	}
	body := b[:len(b)-sumSize]
	if !bytes.Equal(checksum(body), b[len(body):]) {
		return Share{}, ErrShare
	}
	s := Share{Threshold: int(body[headSize-2]), Index: int(body[headSize-1]), Value: bytes.Clone(body[headSize:])}
	copy(s.Set[:], body[len(magic):])
	if s.Threshold < 2 || s.Index < 1 {
		return Share{}, ErrShare
	}
	return s, nil
}
