package backup

import (
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"encoding/hex"
	"io"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/cert"
)

// Line is one set as listed.
type Line struct {
	Set          int       `json:"set"`
	At           time.Time `json:"at"`
	Files        int       `json:"files"`
	Size         int64     `json:"size"`
	Ledger       Head      `json:"ledger"`
	Certificates int64     `json:"certificates"`
	CRLNumber    int64     `json:"crl_number"`
}

// Contents is what a repository says of itself.
type Contents struct {
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	Quorum   int       `json:"quorum"`
	Officers []string  `json:"officers"`
	Sets     []Line    `json:"sets"`
}

// List reads the sets of a repository. Without a key the one it names itself is
// believed.
func List(dir string, key *ecdsa.PublicKey) (Contents, error) {
	r, err := open(dir, key)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{ID: r.ID, Created: r.Created, Quorum: r.Quorum, Officers: []string{}, Sets: []Line{}}
	for _, o := range r.Officers {
		name := o.Name
		if k, err := cert.Parse(o.Cert); err == nil {
			name += "（证书 " + k.SerialHex() + "）"
		}
		c.Officers = append(c.Officers, name)
	}
	sets, err := r.chain()
	for _, m := range sets {
		c.Sets = append(c.Sets, m.line())
	}
	return c, err
}

func (m Manifest) line() Line {
	l := Line{Set: m.Set, At: m.At, Files: len(m.Files), Ledger: m.Ledger, Certificates: m.Certificates, CRLNumber: m.CRLNumber}
	for _, f := range m.Files {
		l.Size += f.Size
	}
	return l
}

// Checked is what a verification went through.
type Checked struct {
	Sets   int   `json:"sets"`
	Chunks int   `json:"chunks"`
	Bytes  int64 `json:"bytes"`
	Opened bool  `json:"opened"` // decrypted and compared with the codes over whole files
}

// Verify checks a repository: the chain of signed manifests, and every chunk
// they name. It needs no secret, so whoever keeps the off-site copy can do it;
// with the officers' keys every file is decrypted as well.
func Verify(ctx context.Context, dir string, key *ecdsa.PublicKey, private []*sm2.PrivateKey, progress io.Writer) (Checked, error) {
	r, err := open(dir, key)
	if err != nil {
		return Checked{}, err
	}
	var k *keys
	if len(private) > 0 {
		if k, _, err = r.unseal(private); err != nil {
			return Checked{}, err
		}
	}
	sets, err := r.chain()
	if err != nil {
		return Checked{}, err
	}
	w := &work{Config: Config{Progress: progress}}
	done := Checked{Opened: k != nil}
	seen := map[string]bool{}
	for _, m := range sets {
		w.say("核对第 %d 集（%s）", m.Set, m.At.Format(time.RFC3339))
		for _, f := range m.Files {
			if err := r.check(ctx, m, f, seen, &done); err != nil {
				return done, err
			}
			if k != nil {
				if err := r.read(ctx, m, f, k, io.Discard); err != nil {
					return done, err
				}
			}
		}
		done.Sets++
	}
	return done, nil
}

// check reads the chunks of a file not yet seen.
func (r *repository) check(ctx context.Context, m Manifest, f File, seen map[string]bool, done *Checked) error {
	for i, name := range f.Chunks {
		if seen[name] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := r.get(name)
		if err != nil {
			return Damaged.At("chunk", Damaged.Clause).Because("%s：%v", m.place(f, i), err)
		}
		seen[name] = true
		done.Chunks, done.Bytes = done.Chunks+1, done.Bytes+int64(len(data))
	}
	return nil
}

// read decrypts a file of a set and checks it whole.
func (r *repository) read(ctx context.Context, m Manifest, f File, k *keys, to io.Writer) error {
	mac := k.mac(f.Path)
	var size int64
	for i, name := range f.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := r.get(name)
		if err != nil {
			return Damaged.At("chunk", Damaged.Clause).Because("%s：%v", m.place(f, i), err)
		}
		plain, err := k.open(data, f.ChunkSize)
		if err != nil {
			return Damaged.At("chunk", Damaged.Clause).Because("%s：%v", m.place(f, i), err)
		}
		mac.Write(plain)
		size += int64(len(plain))
		if _, err := to.Write(plain); err != nil {
			return err
		}
	}
	want, err := hex.DecodeString(f.MAC)
	if err != nil || size != f.Size || !hmac.Equal(mac.Sum(nil), want) {
		return Damaged.At("file", Damaged.Clause).Because("第 %d 集 %s：拼起来不是原来的文件", m.Set, f.Path)
	}
	return nil
}
