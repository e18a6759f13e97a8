package backup

import (
	"bytes"
	"compress/flate"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"

	"github.com/hufu-pki/hufu/base/shamir"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// dataKeySize is the length of a repository's data key, from which the keys in
// use are derived.
const dataKeySize = 32

// keys are derived from a repository's data key by HMAC-SM3.
type keys struct {
	aead  cipher.AEAD
	nonce []byte // key of the nonces
	file  []byte // key of the codes over whole files
	check []byte // tells the right data key from another
}

func hmacOf(key []byte, parts ...[]byte) []byte {
	m := hmac.New(func() hash.Hash { return sm3.New() }, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func derive(dataKey []byte) (*keys, error) {
	block, err := sm4.NewCipher(hmacOf(dataKey, []byte("hufu/backup/chunk"))[:16])
	if err != nil {
		return nil, err
	}
	k := &keys{nonce: hmacOf(dataKey, []byte("hufu/backup/nonce")), file: hmacOf(dataKey, []byte("hufu/backup/file")), check: hmacOf(dataKey, []byte("hufu/backup/check"))[:8]}
	k.aead, err = cipher.NewGCM(block)
	return k, err
}

// mac begins the code over a whole file under its path: a plain digest would
// let strangers guess at small files.
func (k *keys) mac(path string) hash.Hash {
	m := hmac.New(func() hash.Hash { return sm3.New() }, k.file)
	m.Write([]byte(path))
	m.Write([]byte{0})
	return m
}

var bound = []byte("hufu/backup/v1")

// First bytes of a chunk's plain form.
const (
	stored  = 0
	deflate = 1
)

// seal compresses and encrypts a chunk. The nonce is a keyed digest of what is
// encrypted, so the same bytes give the same chunk and different ones never
// share a nonce; the name is the SM3 of the result.
func (k *keys) seal(plain []byte) (name string, data []byte, err error) {
	var b bytes.Buffer
	b.WriteByte(deflate)
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return "", nil, err
	}
	if _, err = z.Write(plain); err == nil {
		err = z.Close()
	}
	if err != nil {
		return "", nil, err
	}
	body := b.Bytes()
	if len(body) > len(plain) {
		body = append([]byte{stored}, plain...)
	}
	nonce := hmacOf(k.nonce, body)[:k.aead.NonceSize()]
	data = k.aead.Seal(nonce, nonce, body, bound)
	return nameOf(data), data, nil
}

func nameOf(data []byte) string { return fmt.Sprintf("%x", alg.Digest(data)) }

var errChunk = errors.New("chunk does not open")

// open undoes seal.
func (k *keys) open(data []byte, size int) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(data) < n {
		return nil, errChunk
	}
	body, err := k.aead.Open(nil, data[:n], data[n:], bound)
	if err != nil || len(body) == 0 {
		return nil, errChunk
	}
	if body[0] == stored {
		return body[1:], nil
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body[1:])), int64(size)+1))
	if err != nil || len(plain) > size {
		return nil, errChunk
	}
	return plain, nil
}

// Officer is one person who can open a repository, alone or with others.
type Officer struct {
	Name   string `json:"name"`
	Cert   []byte `json:"cert"`   // DER
	Sealed []byte `json:"sealed"` // DER SM2Cipher of the data key, or of a share of it
}

// sealTo gives the data key to the officers: whole, or as shares.
func sealTo(officers []*cert.Certificate, quorum int, dataKey []byte) ([]Officer, error) {
	parts := make([][]byte, len(officers))
	for i := range parts {
		parts[i] = dataKey
	}
	if quorum > 1 {
		shares, err := shamir.Split(dataKey, quorum, len(officers))
		if err != nil {
			return nil, err
		}
		for i, s := range shares {
			parts[i] = s.Bytes()
		}
	}
	list := make([]Officer, len(officers))
	for i, c := range officers {
		sealed, err := sm2.EncryptASN1(rand.Reader, c.PublicKey(), parts[i])
		if err != nil {
			return nil, err
		}
		list[i] = Officer{titleOf(c), c.Raw, sealed}
	}
	return list, nil
}

// unseal gives back the data key with the officers' private keys.
func (r *repository) unseal(private []*sm2.PrivateKey) (*keys, []byte, error) {
	var parts [][]byte
	for i, key := range private {
		o := r.officer(&key.PublicKey)
		if o == nil {
			return nil, nil, WrongKey.At("key", WrongKey.Clause).Because("第 %d 把私钥", i+1)
		}
		part, err := sm2.Decrypt(key, o.Sealed)
		if err != nil {
			return nil, nil, Damaged.At("repository.json", Damaged.Clause).Because("%s 的密钥信封打不开", o.Name)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil, nil, TooFewKeys.At("key", TooFewKeys.Clause).Because("需要 %d 人", max(1, r.Quorum))
	}
	dataKey := parts[0]
	if r.Quorum > 1 {
		var err error
		if dataKey, err = joined(parts, r.Quorum); err != nil {
			return nil, nil, err
		}
	}
	return r.opened(dataKey)
}

func joined(parts [][]byte, quorum int) ([]byte, error) {
	var shares []shamir.Share
	for _, p := range parts {
		s, err := shamir.Parse(p)
		if err != nil {
			return nil, Damaged.At("repository.json", Damaged.Clause).Because("%v", err)
		}
		shares = append(shares, s)
	}
	dataKey, err := shamir.Combine(shares)
	if errors.Is(err, shamir.ErrTooFew) {
		return nil, TooFewKeys.At("key", TooFewKeys.Clause).Because("需要 %d 人", quorum)
	}
	if err != nil {
		return nil, Damaged.At("repository.json", Damaged.Clause).Because("%v", err)
	}
	return dataKey, nil
}

// opened checks that a data key is this repository's.
func (r *repository) opened(dataKey []byte) (*keys, []byte, error) {
	k, err := derive(dataKey)
	if err != nil {
		return nil, nil, err
	}
	if len(dataKey) != dataKeySize || subtle.ConstantTimeCompare(k.check, r.Check) != 1 {
		return nil, nil, Damaged.At("repository.json", Damaged.Clause).Because("数据密钥与备份库不符")
	}
	return k, dataKey, nil
}

func (r *repository) officer(pub *ecdsa.PublicKey) *Officer {
	for i, o := range r.Officers {
		if c, err := cert.Parse(o.Cert); err == nil && c.PublicKey().Equal(pub) {
			return &r.Officers[i]
		}
	}
	return nil
}
