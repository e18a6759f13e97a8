package ra

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/pem"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
)

// Package is what a subscriber takes away: both certificates, the chain and
// the private key sealed to their signing key. Nobody here can open it.
// (下载包, GM/T 0034 §12.1)
type Package struct {
	Sign   []byte `json:"sign.pem"`
	Enc    []byte `json:"enc.pem,omitempty"`
	Chain  []byte `json:"chain.pem"`
	Sealed []byte `json:"sealed-key.der,omitempty"`
	SKF    []byte `json:"key.skf,omitempty"` // the same key for a token, where the profile says so
	P7     []byte `json:"key.p7,omitempty"`  // the same key in GM/T 0010 form, likewise
}

// PackageOf writes the package of a delivered case without a further form of
// the key; the same bytes each time.
func PackageOf(rec Record, chain [][]byte) Package {
	p := Package{Sign: cert.PEM(rec.Reply.Sign), Sealed: rec.Reply.Sealed}
	if rec.Reply.Enc != nil {
		p.Enc = cert.PEM(rec.Reply.Enc)
	}
	for _, der := range chain {
		p.Chain = append(p.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return p
}

// Files are a package's files in a fixed order; absent ones are left out.
func (p Package) Files() []File {
	var list []File
	for _, f := range []File{{"sign.pem", p.Sign}, {"enc.pem", p.Enc}, {"chain.pem", p.Chain}, {"sealed-key.der", p.Sealed}, {"key.skf", p.SKF}, {"key.p7", p.P7}} {
		if len(f.Data) > 0 {
			list = append(list, f)
		}
	}
	return list
}

// File is one file of a package.
type File struct {
	Name string
	Data []byte
}

// Zip packs a package, its files dated by the signing certificate's first day;
// the same bytes each time.
func (p Package) Zip() ([]byte, error) {
	sign, err := cert.FromPEM(p.Sign)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range p.Files() {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: sign.NotBefore})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	err = z.Close()
	return b.Bytes(), err
}

// Delivery returns a delivered case to its producer.
func (r *Registrar) Delivery(ctx context.Context, id string, who access.Person) (Record, error) {
	rec, err := r.Store.Case(ctx, id)
	if err != nil {
		return rec, err
	}
	if !who.Holds(access.RAProducer) {
		return rec, casework.NotYours.At("role", casework.NotYours.Clause).Because("下载包由制证员取得")
	}
	if !Issues(rec.Kind) || rec.State != Delivered {
		return rec, NotIssued.At("id", NotIssued.Clause).Because("%s当前为“%s”", id, states[rec.State])
	}
	return rec, nil
}
