// Package offline is a root CA in a folder on a machine without a network. (离线根)
//
// Its key is sealed under a passphrase that nobody knows: it is shared out to
// custodians, so many of whom open it for one act. Requests come in and
// certificates and the ARL go out as files. Every step can be done again: what
// was interrupted is finished, what was finished is given again. The minutes say
// who was there and what was signed (GM/T 0034 §8.1.5, §8.2.4).
package offline

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/shamir"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/plant"
)

// Folder is where the root lives.
type Folder struct {
	Dir string
	Now func() time.Time
}

// Charter is what was fixed when the root was made, in root.json.
type Charter struct {
	Version    int         `json:"version"`
	Created    time.Time   `json:"created"`
	Public     string      `json:"public"` // base URL of ARL and root certificate, in what it signs
	Threshold  int         `json:"threshold"`
	Custodians []Custodian `json:"custodians"`
}

// Custodian is somebody who holds a share, sealed to their key.
type Custodian struct {
	Name   string `json:"name"` // of the certificate's subject
	Digest []byte `json:"sm3"`  // of the certificate
	Share  []byte `json:"share"`
}

const keyLabel = "root"

func (f Folder) path(parts ...string) string {
	return filepath.Join(append([]string{f.Dir}, parts...)...)
}

func (f Folder) lock() (release func(), err error) {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return nil, err
	}
	return plant.Lock(f.path("root.lock"), "离线根")
}

// charter reads what was fixed, and the root's certificate.
func (f Folder) charter() (c Charter, root *cert.Certificate, err error) {
	data, err := os.ReadFile(f.path("root.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, NotMade.At("dir", NotMade.Clause)
	}
	if err != nil {
		return c, nil, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, nil, fmt.Errorf("root.json: %w", err)
	}
	if data, err = os.ReadFile(f.path("out", "root.pem")); err != nil {
		return c, nil, err
	}
	root, err = cert.FromPEM(data)
	return c, root, err
}

// unseal puts the custodians' shares together. Nobody learns which one is wrong.
func (c Charter) unseal(present []*desk.Person) (pass []byte, names []string, err error) {
	var shares []shamir.Share
	seen := map[string]bool{}
	for _, p := range present {
		for _, own := range c.Custodians {
			if !bytes.Equal(own.Digest, alg.Digest(p.Cert)) || seen[string(own.Digest)] {
				continue
			}
			key, ok := p.Key.(*sm2.PrivateKey)
			if !ok {
				return nil, nil, NoQuorum.At("holder", NoQuorum.Clause).Because("%s 的私钥不在文件中", own.Name)
			}
			plain, err := sm2.Decrypt(key, own.Share)
			if err != nil {
				return nil, nil, NoQuorum.At("holder", NoQuorum.Clause).Because("%s 的份额打不开", own.Name)
			}
			s, err := shamir.Parse(plain)
			clear(plain)
			if err != nil {
				return nil, nil, NoQuorum.At("holder", NoQuorum.Clause).Because("%s 的份额已损坏", own.Name)
			}
			seen[string(own.Digest)], shares, names = true, append(shares, s), append(names, own.Name)
		}
	}
	if len(shares) < c.Threshold {
		return nil, nil, NoQuorum.At("holder", NoQuorum.Clause).Because("到场的份额持有人 %d 名，应有 %d 名", len(shares), c.Threshold)
	}
	pass, err = shamir.Combine(shares)
	return pass, names, err
}

// opened is the root with its key at hand.
type opened struct {
	*ca.Issuer
	store *castore.Store
	close func() error
}

// issuer builds the CA over the folder's records; key is nil for what needs none.
func (f Folder) issuer(ctx context.Context, c Charter, root *cert.Certificate, key crypto.Signer) (*opened, error) {
	set, err := profile.Builtin()
	if err != nil {
		return nil, err
	}
	db, err := sqldb.Open(ctx, f.path("root.db"))
	if err != nil {
		return nil, err
	}
	store, err := castore.Open(ctx, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	is := (&ca.Issuer{Cert: root, Root: root, Store: store, Profiles: set, Public: c.Public, Silent: true, Now: f.Now}).AsRoot(key)
	return &opened{is, store, db.Close}, nil
}

// open lets the custodians who are present open the root for one act.
func (f Folder) open(ctx context.Context, act string, present []*desk.Person) (*opened, error) {
	c, root, err := f.charter()
	if err != nil {
		return nil, err
	}
	pass, names, err := c.unseal(present)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	device, err := soft.Open(f.path("keys"), pass)
	if err != nil {
		return nil, err
	}
	key, err := device.Signer(keyLabel)
	if err != nil {
		return nil, err
	}
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || !bytes.Equal(alg.Point(pub), root.Point) {
		return nil, errors.New("离线根的密钥与证书不符")
	}
	if err := f.note(key, "%s：到场份额持有人 %s，根密钥开启", act, strings.Join(names, "、")); err != nil {
		return nil, err
	}
	return f.issuer(ctx, c, root, key)
}

// Request is what came in: an order held for the next ceremony.
type Request struct {
	ID    string            `json:"id"`
	Order ca.AuthorityOrder `json:"order"`
	Name  string            `json:"name"`
	KeyID string            `json:"key_id"` // to be compared with what the applicant says
}

// Import checks a request against the root and keeps it. No key is needed; the
// same order has the same ID.
func (f Folder) Import(ctx context.Context, request []byte, o ca.AuthorityOrder) (r Request, err error) {
	release, err := f.lock()
	if err != nil {
		return r, err
	}
	defer release()
	c, root, err := f.charter()
	if err != nil {
		return r, err
	}
	read, err := csr.Parse(request)
	if err != nil {
		return r, ca.BadRequest.At("csr", ca.BadRequest.Clause).Because("%v", err)
	}
	o.Profile, o.Issuer, o.CSR = ca.SubordinateProfile, "root", read.Raw
	is, err := f.issuer(ctx, c, root, nil)
	if err != nil {
		return r, err
	}
	defer is.close()
	s, err := is.ReadAuthority(o)
	if err != nil {
		return r, err
	}
	id, err := idOf(o)
	if err != nil {
		return r, err
	}
	r = Request{ID: id, Order: o, Name: s.Name.String(), KeyID: strings.ToUpper(hex.EncodeToString(cert.KeyID(s.Point)))}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return r, err
	}
	if err := write(f.path("in", r.ID+".json"), content); err != nil {
		return r, err
	}
	return r, f.note(nil, "收入请求 %s：%s，公钥标识 %s，路径长度 %d，%d 天", r.ID, r.Name, r.KeyID, o.PathLen, o.Days)
}

// idOf names an order by what it says, so that what was read aloud is what is signed.
func idOf(o ca.AuthorityOrder) (string, error) {
	content, err := json.Marshal(o)
	return strings.ToUpper(hex.EncodeToString(alg.Digest(content)[:8])), err
}

// request reads one that came in.
func (f Folder) request(id string) (r Request, err error) {
	data, err := os.ReadFile(f.path("in", filepath.Base(id)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, NoRequest.At("id", NoRequest.Clause).Because("%.40q", id)
	}
	if err != nil {
		return r, err
	}
	if err := strict.JSON(data, &r); err != nil {
		return r, NoRequest.At("id", NoRequest.Clause).Because("%v", err)
	}
	if is, err := idOf(r.Order); err != nil || is != id || r.ID != id {
		return r, NoRequest.At("id", NoRequest.Clause).Because("内容与编号 %.40q 不符", id)
	}
	return r, nil
}

// Sign signs a request that came in, once, and puts the certificate and the
// root's beside it where files go out.
func (f Folder) Sign(ctx context.Context, id string, present []*desk.Person) (file string, err error) {
	release, err := f.lock()
	if err != nil {
		return "", err
	}
	defer release()
	r, err := f.request(id)
	if err != nil {
		return "", err
	}
	is, err := f.open(ctx, "签发 "+r.ID, present)
	if err != nil {
		return "", err
	}
	defer is.close()
	der, err := is.SignAuthority(ctx, "offline-"+r.ID, r.Order)
	if err != nil {
		return "", err
	}
	c, err := cert.Parse(der)
	if err != nil {
		return "", err
	}
	file = f.path("out", r.ID+".pem")
	if err := write(file, append(cert.PEM(der), cert.PEM(is.Cert.Raw)...)); err != nil {
		return "", err
	}
	return file, f.note(is.Key, "签发 %s：%s，序列号 %s，至 %s，证书 SM3 %x；根密钥关闭", r.ID, r.Name, c.SerialHex(), c.NotAfter.Format("2006-01-02"), alg.Digest(der))
}

// Revoke ends a certificate the root signed and puts out a new ARL. Without a
// serial it only signs the ARL anew.
func (f Folder) Revoke(ctx context.Context, serial, reason string, present []*desk.Person) (file string, err error) {
	release, err := f.lock()
	if err != nil {
		return "", err
	}
	defer release()
	code, known := crl.Reasons[reason]
	number, bad := hex.DecodeString(serial)
	switch {
	case serial == "":
	case bad != nil:
		return "", ca.NoCert.At("serial", ca.NoCert.Clause)
	case !known || reason == "certificateHold":
		return "", ca.BadReason.At("reason", ca.BadReason.Clause).Because("%.40q", reason)
	}
	act := "更新 ARL"
	if serial != "" {
		act = "撤销 " + strings.ToUpper(serial)
	}
	is, err := f.open(ctx, act, present)
	if err != nil {
		return "", err
	}
	defer is.close()
	if serial != "" {
		if _, err := is.Authority(ctx, number); err != nil {
			return "", err
		}
		if err := is.EndInternal(ctx, "offline-"+strings.ToUpper(serial), number, code); err != nil {
			return "", err
		}
	}
	return f.list(ctx, is, act)
}

// list signs the ARL and puts it where files go out. One that was interrupted is
// finished, and followed by one that has what came after.
func (f Folder) list(ctx context.Context, is *opened, act string) (file string, err error) {
	have, err := is.store.Lists(ctx)
	if err != nil {
		return "", err
	}
	if l, ok := have["arl"]; ok && !l.Signed {
		if _, err := is.SignARL(ctx); err != nil {
			return "", err
		}
	}
	l, err := is.SignARL(ctx)
	if err != nil {
		return "", err
	}
	file = f.path("out", "arl.crl")
	if err := write(file, l.DER()); err != nil {
		return "", err
	}
	return file, f.note(is.Key, "%s：ARL 第 %d 号，至 %s，SM3 %x；根密钥关闭", act, l.Number, l.NextUpdate.Format("2006-01-02"), alg.Digest(l.DER()))
}

// note adds a line to the minutes, signed as a whole whenever the key is open.
func (f Folder) note(key crypto.Signer, format string, args ...any) error {
	text, err := os.ReadFile(f.path("out", "minutes.txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text = append(text, fmt.Sprintf("%s  %s\n", f.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...))...)
	if err := write(f.path("out", "minutes.txt"), text); err != nil || key == nil {
		return err
	}
	sig, err := alg.Sign(key, text)
	if err != nil {
		return err
	}
	return write(f.path("out", "minutes.sig"), sig)
}

// Minutes are what was done, and whether the root's signature covers them: the
// lines after the last opening of the key are not yet signed.
func (f Folder) Minutes() (text string, signed bool, err error) {
	_, root, err := f.charter()
	if err != nil {
		return "", false, err
	}
	data, err := os.ReadFile(f.path("out", "minutes.txt"))
	if err != nil {
		return "", false, err
	}
	sig, err := os.ReadFile(f.path("out", "minutes.sig"))
	if err != nil {
		return "", false, err
	}
	for end := len(data); end > 0; end = bytes.LastIndexByte(data[:end-1], '\n') + 1 {
		if alg.Verify(root.PublicKey(), data[:end], sig) == nil {
			return string(data), end == len(data), nil
		}
	}
	return "", false, Altered.At("minutes", Altered.Clause)
}

// write replaces a file durably.
func write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return durable.Write(name, data, 0o600)
}

// secret is a passphrase that nobody types.
func secret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // crypto/rand never fails
	return b
}

func nameOf(c *cert.Certificate) string {
	n, err := dn.Parse(c.Subject)
	if err != nil {
		return dn.Text(c.Subject)
	}
	return n.CN
}
