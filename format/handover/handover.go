// Package handover is what one institution hands to another that takes its
// business over, in bounded pieces. (移交包)
//
// A manifest names every piece by its SM3. The manifest's own SM3 is what
// people sign; whoever holds it can check each piece alone.
package handover

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
)

// Bounds of a package, and why.
const (
	PieceMax        = 768 << 10 // octets: a batch that is verified in a second or two and kept in one row
	PiecesMax       = 4096      // some millions of certificates
	ManifestMax     = 1 << 20   // octets: PiecesMax names, with room to spare
	CertificatesMax = 256       // in one piece
	ChainMax        = 8
	ListMax         = 512 << 20 // octets of a revocation list in pieces
)

// ErrSyntax is returned for what is no manifest and no piece.
var ErrSyntax = errors.New("not a part of a handover package")

// Kinds of pieces.
const (
	Certificates = "certificates"
	List         = "crl" // octets of the list, in order
)

// Manifest says what is handed over.
type Manifest struct {
	Version      int      `json:"version"` // 1
	CA           []byte   `json:"ca"`      // DER
	Chain        [][]byte `json:"chain"`   // above the CA, the root last
	ListNumber   int64    `json:"list_number"`
	Certificates int      `json:"certificates"`
	Revoked      int      `json:"revoked"` // of them
	Pieces       []Piece  `json:"pieces"`
}

// Piece names one part.
type Piece struct {
	Kind  string `json:"kind"`
	SM3   string `json:"sm3"` // hexadecimal
	Count int    `json:"count,omitempty"`
}

// Certificate is one certificate handed over.
type Certificate struct {
	DER  []byte `json:"der"`
	Use  string `json:"use"`            // "sign" or "enc"
	Pair string `json:"pair,omitempty"` // serial of its other half, as openssl prints it
}

// Bytes is the manifest as it is digested and kept.
func (m Manifest) Bytes() ([]byte, error) { return json.Marshal(m) }

// Digest names bytes in a manifest.
func Digest(data []byte) string { return hex.EncodeToString(alg.Digest(data)) }

// Read reads a manifest and checks that it is within bounds.
func Read(data []byte) (m Manifest, err error) {
	if len(data) > ManifestMax {
		return m, fmt.Errorf("%w: %d octets", ErrSyntax, len(data))
	}
	if err := strict.JSON(data, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if m.Version != 1 || len(m.CA) == 0 || len(m.Chain) > ChainMax || len(m.Pieces) == 0 || len(m.Pieces) > PiecesMax || m.ListNumber < 0 {
		return m, ErrSyntax
	}
	count, list := 0, true
	for _, p := range m.Pieces {
		if raw, err := hex.DecodeString(p.SM3); err != nil || len(raw) != 32 {
			return m, ErrSyntax
		}
		switch {
		case p.Kind == List && list:
		case p.Kind == Certificates && p.Count > 0 && p.Count <= CertificatesMax:
			list = false // the list comes first: certificates are judged by it
			count += p.Count
		default:
			return m, ErrSyntax
		}
	}
	if count != m.Certificates || m.Revoked < 0 || m.Revoked > count {
		return m, ErrSyntax
	}
	return m, nil
}

// ReadCertificates reads a piece of certificates.
func ReadCertificates(data []byte) (list []Certificate, err error) {
	if len(data) > PieceMax {
		return nil, ErrSyntax
	}
	if err := strict.JSON(data, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if len(list) == 0 || len(list) > CertificatesMax {
		return nil, ErrSyntax
	}
	return list, nil
}

// KeysMax bounds the keys handed over at once: people sign them as one content.
const KeysMax = 500

// Key is an escrowed key: the certificate of its public half, and the private
// half as SM2EnvelopedKey (GM/T 0009 §7.4) sealed to the key centre.
type Key struct {
	Cert    []byte
	Sealed  []byte
	Retired bool // the certificate is revoked
}

const retired = ".retired"

// String is one line: certificate and key in base64, with a dot between.
func (k Key) String() string {
	s := base64.StdEncoding.EncodeToString(k.Cert) + "." + base64.StdEncoding.EncodeToString(k.Sealed)
	if k.Retired {
		s += retired
	}
	return s
}

// ReadKey reads a line.
func ReadKey(line string) (k Key, err error) {
	line, k.Retired = strings.CutSuffix(line, retired)
	c, s, ok := strings.Cut(line, ".")
	if !ok || len(line) > PieceMax {
		return k, ErrSyntax
	}
	k.Cert, err = base64.StdEncoding.DecodeString(c)
	if err == nil {
		k.Sealed, err = base64.StdEncoding.DecodeString(s)
	}
	if err != nil {
		return k, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return k, nil
}
