// Package pfx writes and reads PKCS#12 files with SM2 keys. (个人信息交换文件)
//
// Both keys of a dual pair in one file: shrouded key bags and certificate bags
// under PBES2 (HMAC-SHA256, AES-256-CBC), MAC HMAC-SHA256, which OpenSSL 3
// reads (RFC 7292). What Tongsuo writes with SM4 and SM3 is read too.
package pfx

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // a local key id, not a security property
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"unicode/utf16"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/keyfile"
)

// Entry is a key and its certificate.
type Entry struct {
	Name string
	Key  *sm2.PrivateKey
	Cert []byte // DER
}

// Errors of this package.
var (
	ErrSyntax   = errors.New("not a PKCS#12 file of this kind")
	ErrPassword = errors.New("wrong password, or the file is damaged")
)

// Bounds on files read from outside.
const (
	SizeMax       = 1 << 20
	iterations    = 100_000
	iterationsMax = 10_000_000
)

var (
	oidData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidName      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidLocalID   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}
	oidSHA256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// Encode writes a file.
func Encode(entries []Entry, chain [][]byte, password string) ([]byte, error) {
	certs := cryptobyte.NewBuilder(nil)
	certs.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range entries {
			certBag(b, e.Cert, &e)
		}
		for _, c := range chain {
			certBag(b, c, nil)
		}
	})
	var fail error
	keys := cryptobyte.NewBuilder(nil)
	keys.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range entries {
			sealed, err := keyfile.Seal(keyfile.Info(e.Key), []byte(password), true)
			fail = errors.Join(fail, err)
			bag(b, oidKeyBag, sealed, &e)
		}
	})
	id, text, err := keyfile.Cipher(certs.BytesOrPanic(), []byte(password), true)
	if err = errors.Join(err, fail); err != nil {
		return nil, err
	}
	safe := cryptobyte.NewBuilder(nil)
	safe.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		encryptedInfo(b, id, text)
		dataInfo(b, keys.BytesOrPanic())
	})
	return assemble(safe.BytesOrPanic(), password)
}

// certBag appends a certificate; local is the entry whose key it certifies.
func certBag(b *cryptobyte.Builder, der []byte, local *Entry) {
	v := cryptobyte.NewBuilder(nil)
	v.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidX509)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(der) })
	})
	bag(b, oidCertBag, v.BytesOrPanic(), local)
}

func bag(b *cryptobyte.Builder, kind asn1.ObjectIdentifier, value []byte, e *Entry) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(kind)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddBytes(value) })
		if e == nil {
			return
		}
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			attribute(b, oidName, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.Tag(30), func(b *cryptobyte.Builder) { b.AddBytes(bmp(e.Name)) })
			})
			attribute(b, oidLocalID, func(b *cryptobyte.Builder) {
				sum := sha1.Sum(e.Cert) //nolint:gosec // as OpenSSL does
				b.AddASN1OctetString(sum[:])
			})
		})
	})
}

func attribute(b *cryptobyte.Builder, id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		b.AddASN1(cbasn1.SET, value)
	})
}

func dataInfo(b *cryptobyte.Builder, content []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidData)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
	})
}

func encryptedInfo(b *cryptobyte.Builder, id, text []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidEncrypted)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidData)
					b.AddBytes(id)
					b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(text) })
				})
			})
		})
	})
}

func assemble(safe []byte, password string) ([]byte, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // crypto/rand never fails
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		dataInfo(b, safe)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidSHA256)
					b.AddASN1NULL()
				})
				b.AddASN1OctetString(mac(sha256.New, safe, password, salt, iterations))
			})
			b.AddASN1OctetString(salt)
			b.AddASN1Int64(iterations)
		})
	})
	return b.Bytes()
}

func mac(newHash func() hash.Hash, safe []byte, password string, salt []byte, rounds int) []byte {
	h := hmac.New(newHash, deriveMAC(newHash(), password, salt, rounds))
	h.Write(safe)
	return h.Sum(nil)
}

// bmp is UTF-16 big endian; characters beyond the basic plane become surrogate
// pairs, as OpenSSL has them.
func bmp(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}

// deriveMAC is RFC 7292 appendix B.2 with ID 3. SHA-256 and SM3 have the same
// sizes, and one block suffices.
func deriveMAC(h hash.Hash, password string, salt []byte, rounds int) []byte {
	const v = 64
	fill := func(p []byte) []byte {
		out := make([]byte, (len(p)+v-1)/v*v)
		for i := range out {
			out[i] = p[i%len(p)]
		}
		return out
	}
	d := make([]byte, v)
	for i := range d {
		d[i] = 3
	}
	in := append(d, append(fill(salt), fill(append(bmp(password), 0, 0))...)...)
	sum := in
	for range rounds {
		h.Reset()
		h.Write(sum)
		sum = h.Sum(nil)
	}
	return sum
}

// Decode reads a file of this kind back: entries by local key id, and the
// other certificates.
func Decode(data []byte, password string) (entries []Entry, chain [][]byte, err error) {
	if len(data) > SizeMax {
		return nil, nil, fmt.Errorf("%w: larger than %d bytes", ErrSyntax, SizeMax)
	}
	safe, err := open(data, password)
	if err != nil {
		return nil, nil, err
	}
	s := cryptobyte.String(safe)
	var infos cryptobyte.String
	if !s.ReadASN1(&infos, cbasn1.SEQUENCE) {
		return nil, nil, ErrSyntax
	}
	var bags []item
	for !infos.Empty() {
		content, err := contents(&infos, password)
		if err != nil {
			return nil, nil, err
		}
		if bags, err = readBags(bags, content, password); err != nil {
			return nil, nil, err
		}
	}
	return pair(bags)
}

type item struct {
	local string
	name  string
	cert  []byte
	key   *sm2.PrivateKey
}

func open(data []byte, password string) ([]byte, error) {
	s := cryptobyte.String(data)
	var pfx, info, content, safe, macData, digest, id, sum, salt cryptobyte.String
	var version int
	var oid, digestID asn1.ObjectIdentifier
	rounds := new(big.Int)
	ok := s.ReadASN1(&pfx, cbasn1.SEQUENCE) && pfx.ReadASN1Integer(&version) && pfx.ReadASN1(&info, cbasn1.SEQUENCE) &&
		info.ReadASN1ObjectIdentifier(&oid) && oid.Equal(oidData) && info.ReadASN1(&content, explicit(0)) && content.ReadASN1(&safe, cbasn1.OCTET_STRING) &&
		pfx.ReadASN1(&macData, cbasn1.SEQUENCE) && macData.ReadASN1(&digest, cbasn1.SEQUENCE) && digest.ReadASN1(&id, cbasn1.SEQUENCE) &&
		id.ReadASN1ObjectIdentifier(&digestID) && digest.ReadASN1(&sum, cbasn1.OCTET_STRING) && macData.ReadASN1(&salt, cbasn1.OCTET_STRING) &&
		len(salt) > 0 && macData.ReadASN1Integer(rounds)
	hashes := sha256.New
	if digestID.Equal(alg.SM3) {
		hashes = sm3.New
	}
	if !ok || version != 3 || !digestID.Equal(oidSHA256) && !digestID.Equal(alg.SM3) || !rounds.IsInt64() || rounds.Int64() < 1 || rounds.Int64() > iterationsMax {
		return nil, ErrSyntax
	}
	if !hmac.Equal(sum, mac(hashes, safe, password, salt, int(rounds.Int64()))) {
		return nil, ErrPassword
	}
	return safe, nil
}

func contents(infos *cryptobyte.String, password string) ([]byte, error) {
	var info, outer cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !infos.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&oid) || !info.ReadASN1(&outer, explicit(0)) {
		return nil, ErrSyntax
	}
	if oid.Equal(oidData) {
		var plain cryptobyte.String
		if !outer.ReadASN1(&plain, cbasn1.OCTET_STRING) {
			return nil, ErrSyntax
		}
		return plain, nil
	}
	var enc, eci, id, text cryptobyte.String
	var version int
	var inner asn1.ObjectIdentifier
	if !oid.Equal(oidEncrypted) || !outer.ReadASN1(&enc, cbasn1.SEQUENCE) || !enc.ReadASN1Integer(&version) || !enc.ReadASN1(&eci, cbasn1.SEQUENCE) ||
		!eci.ReadASN1ObjectIdentifier(&inner) || !eci.ReadASN1Element(&id, cbasn1.SEQUENCE) || !eci.ReadASN1(&text, cbasn1.Tag(0).ContextSpecific()) {
		return nil, ErrSyntax
	}
	return keyfile.Decipher(id, text, []byte(password))
}

func readBags(bags []item, content []byte, password string) ([]item, error) {
	s := cryptobyte.String(content)
	var list cryptobyte.String
	if !s.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil, ErrSyntax
	}
	for !list.Empty() {
		var one, value, attrs cryptobyte.String
		var kind asn1.ObjectIdentifier
		var named bool
		if !list.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&kind) || !one.ReadASN1(&value, explicit(0)) ||
			!one.ReadOptionalASN1(&attrs, &named, cbasn1.SET) || len(bags) > 64 {
			return nil, ErrSyntax
		}
		var it item
		switch {
		case kind.Equal(oidKeyBag):
			var err error
			if it.key, err = keyfile.Read(value, []byte(password)); err != nil {
				return nil, err
			}
		case kind.Equal(oidCertBag):
			var c, der, octets cryptobyte.String
			var id asn1.ObjectIdentifier
			if !value.ReadASN1(&c, cbasn1.SEQUENCE) || !c.ReadASN1ObjectIdentifier(&id) || !c.ReadASN1(&octets, explicit(0)) || !octets.ReadASN1(&der, cbasn1.OCTET_STRING) {
				return nil, ErrSyntax
			}
			it.cert = der
		}
		it.attributes(attrs)
		bags = append(bags, it)
	}
	return bags, nil
}

func (it *item) attributes(attrs cryptobyte.String) {
	for !attrs.Empty() {
		var one, set, value cryptobyte.String
		var id asn1.ObjectIdentifier
		if !attrs.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) || !one.ReadASN1(&set, cbasn1.SET) {
			return
		}
		switch {
		case id.Equal(oidLocalID) && set.ReadASN1(&value, cbasn1.OCTET_STRING):
			it.local = string(value)
		case id.Equal(oidName) && set.ReadASN1(&value, cbasn1.Tag(30)):
			var units []uint16
			for i := 0; i+1 < len(value); i += 2 {
				units = append(units, uint16(value[i])<<8|uint16(value[i+1]))
			}
			it.name = string(utf16.Decode(units))
		}
	}
}

func pair(bags []item) (entries []Entry, chain [][]byte, err error) {
	for _, k := range bags {
		if k.key == nil {
			continue
		}
		e := Entry{Name: k.name, Key: k.key}
		for _, c := range bags {
			if c.cert != nil && c.local != "" && c.local == k.local {
				e.Cert = c.cert
			}
		}
		entries = append(entries, e)
	}
	for _, c := range bags {
		if c.cert != nil && c.local == "" {
			chain = append(chain, c.cert)
		}
	}
	return entries, chain, nil
}
