// Package raevidence binds all there is about a certificate into one file that
// can be checked without this product. (证书证据文件)
//
// Application and statements as people signed them, the trail about the case
// and the public ledger's entries, each with its path to a signed checkpoint,
// and the newest revocation list (docs/formats/evidence.md). Identity numbers
// are not in it: people signed the masked number and a commitment.
package raevidence

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ra"
)

// Name and version of the format.
const (
	Format  = "hufu-evidence"
	Version = 1
)

// Bounds, and why.
const (
	casesMax = 200   // a pair has a handful
	linesMax = 20000 // of the trail about them: somebody may look every day for decades
	tries    = 5     // a ledger may be sealed while it is read
)

// Act is the reading of a file, as the trail has it.
const Act = "ra.evidence-file"

// Log is a ledger and who vouches for it.
type Log struct {
	Source ledger.Source
	Origin string
	Key    *ecdsa.PublicKey
}

// Binder puts files together.
type Binder struct {
	Desk   *ra.Registrar
	Trail  *audit.Trail
	Audit  Log                             // the trail, sealed
	Seal   func(ctx context.Context) error // brings it up to date
	Public Log                             // the CA's ledger, as the service zone holds it
	Chain  func(der []byte) [][]byte       // above a certificate: issuing CA first, then root
	Key    crypto.Signer                   // of the trail: signs the manifest
	// Lists are the newest revocation lists by shard.
	Lists func() map[int]record.CRL
	// Kin are the certificates of the CA's other keys: one of them may have
	// certified who signed.
	Kin func(der []byte) [][]byte
}

// Manifest names every other file with its SM3.
type Manifest struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Site    string    `json:"site"`
	Case    string    `json:"case"`
	Sign    string    `json:"sign_serial"`
	Enc     string    `json:"enc_serial,omitempty"`
	At      string    `json:"exported_at"`
	By      string    `json:"exported_by"`
	Cases   []string  `json:"cases"`
	Files   []FileRef `json:"files"`
}

// FileRef is one file of the container.
type FileRef struct {
	Path string `json:"path"`
	Size int    `json:"size"`
	SM3  string `json:"sm3"`
}

// Bind returns the file about the certificates of a case and its name. That it
// was read is on the trail, and in the file, before anybody has it.
func (b *Binder) Bind(ctx context.Context, id string, who access.Person, source string) (name string, data []byte, err error) {
	rec, err := b.Desk.Store.Case(ctx, id)
	if err != nil {
		return "", nil, err
	}
	if rec.SignSerial == "" {
		return "", nil, ra.NotIssued.At("id", ra.NotIssued.Clause).Because("%s 没有证书", id)
	}
	if !ra.Issues(rec.Kind) {
		if rec, err = b.Desk.Store.BySerial(ctx, rec.SignSerial); err != nil {
			return "", nil, err
		}
	}
	if err := b.Desk.Note(ctx, who, Act, rec.ID, source); err != nil {
		return "", nil, err
	}
	if err := b.Seal(ctx); err != nil {
		return "", nil, fmt.Errorf("sealing the trail: %w", err)
	}
	for range tries {
		if data, err = b.bind(ctx, rec, who); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return "evidence-" + rec.SignSerial + ".zip", data, err
}

// folder is the container while it is filled.
type folder struct {
	files map[string][]byte
}

func (f folder) put(path string, data []byte) { f.files[path] = data }

func (f folder) putJSON(path string, v any) error {
	data, err := canonical(v)
	f.put(path, data)
	return err
}

// canonical is compact JSON with the fields in the order of the format.
func canonical(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return []byte(strings.TrimSuffix(b.String(), "\n")), err
}

func (b *Binder) bind(ctx context.Context, rec ra.Record, who access.Person) ([]byte, error) {
	f := folder{map[string][]byte{}}
	cases, err := b.cases(ctx, rec)
	if err != nil {
		return nil, err
	}
	m := Manifest{
		Format: Format, Version: Version, Site: b.Desk.Desk.Site, Case: rec.ID, Sign: rec.SignSerial, Enc: rec.EncSerial,
		At: b.Desk.Now().UTC().Format(time.RFC3339), By: string(who.ID),
	}
	since := rec.CreatedAt
	for _, c := range cases {
		if c.CreatedAt.Before(since) {
			since = c.CreatedAt
		}
		m.Cases = append(m.Cases, c.ID)
		if err := putCase(f, c); err != nil {
			return nil, err
		}
	}
	b.certificates(f, rec)
	if err := b.trail(ctx, f, m.Cases); err != nil {
		return nil, err
	}
	if err := b.ledger(ctx, f, rec, since); err != nil {
		return nil, err
	}
	f.put("README.txt", []byte(readme))
	return b.seal(f, m)
}

// cases are the application and whatever was asked about its certificates
// since, oldest first; where the encryption key was recovered, the other
// applications of the encryption certificate too.
func (b *Binder) cases(ctx context.Context, rec ra.Record) ([]ra.Record, error) {
	list := []ra.Record{rec}
	for _, serial := range []string{rec.SignSerial, rec.EncSerial} {
		if serial == "" {
			continue
		}
		found, err := b.Desk.Store.Find(ctx, ra.Query{Text: serial, Limit: casesMax})
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			about := r.SignSerial == rec.SignSerial || ra.Issues(r.Kind) && r.EncSerial == rec.EncSerial
			if !about || slices.ContainsFunc(list, func(have ra.Record) bool { return have.ID == r.ID }) {
				continue
			}
			if r, err = b.Desk.Store.Case(ctx, r.ID); err != nil {
				return nil, err
			}
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list[1:], func(x, y ra.Record) int { return x.CreatedAt.Compare(y.CreatedAt) })
	return list, nil
}

func (b *Binder) certificates(f folder, rec ra.Record) {
	f.put("certificates/sign.pem", cert.PEM(rec.Reply.Sign))
	if rec.Reply.Enc != nil {
		f.put("certificates/enc.pem", cert.PEM(rec.Reply.Enc))
	}
	var chain []byte
	for _, der := range append(b.Chain(rec.Reply.Sign), b.Kin(rec.Reply.Sign)...) {
		chain = append(chain, cert.PEM(der)...)
	}
	f.put("certificates/chain.pem", chain)
	for name, key := range map[string]*ecdsa.PublicKey{"keys/audit.pem": b.Audit.Key, "keys/ledger.pem": b.Public.Key} {
		f.put(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: alg.SPKI(alg.Point(key))}))
	}
}
