package enroll

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
)

// Files carry requests to a CA that no line leads to, and its answers back.
// (离线签发文件)
const (
	RequestFile = "hufu-enroll-requests"
	AnswerFile  = "hufu-enroll-answers"
)

// Bounds of a file: how many requests, and how long it is unpacked, in octets.
const (
	FileRequests = 200
	fileMax      = 64 << 20
)

// Requests are approved applications on their way.
type Requests struct {
	At       time.Time `json:"at"`
	Requests []Request `json:"requests"`
}

// Answered is what became of one of them.
type Answered struct {
	ID string `json:"id"`
	Answer
}

// Answers are what the CA says of a file of requests.
type Answers struct {
	At      time.Time  `json:"at"`
	Of      []byte     `json:"of"` // SM3 of the file's body
	Answers []Answered `json:"answers"`
}

// sealedFile is a file as it is written: who made it signed its body.
type sealedFile struct {
	Format    string `json:"format"`
	Body      []byte `json:"body"` // gzip of JSON
	Signature []byte `json:"signature"`
}

func fileText(format string, body []byte) []byte {
	return fmt.Appendf(nil, "%s 1\n%x\n", format, alg.Digest(body))
}

// SealFile writes a file and signs it.
func SealFile(key crypto.Signer, format string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	sig, err := alg.Sign(key, fileText(format, packed.Bytes()))
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealedFile{format, packed.Bytes(), sig})
}

// OpenFile reads a file that a key signed, strictly, and returns the digest of its
// body.
func OpenFile(data []byte, format string, key *ecdsa.PublicKey, v any) (digest []byte, err error) {
	bad := BadFile.At("content", BadFile.Clause)
	var f sealedFile
	if err := strict.JSON(data, &f); err != nil || f.Format != format {
		return nil, bad.Because("不是 %s 文件", format)
	}
	if err := alg.Verify(key, fileText(format, f.Body), f.Signature); err != nil {
		return nil, bad.Because("签名不是对方系统的，或文件被改动")
	}
	z, err := gzip.NewReader(bytes.NewReader(f.Body))
	if err != nil {
		return nil, bad.Because("%v", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, fileMax+1))
	if err != nil || len(text) > fileMax {
		return nil, bad.Because("解开后超过 %d MB，或已损坏", fileMax>>20)
	}
	if err := strict.JSON(text, v); err != nil {
		return nil, bad.Because("%v", err)
	}
	return alg.Digest(f.Body), nil
}
