package backup

import (
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
	"time"

	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/zone/quorum"
)

// repository is a folder of sets. What describes it is fixed and signed when it
// is made.
type repository struct {
	Version   int       `json:"version"`
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	Quorum    int       `json:"quorum"` // 1: any officer alone
	Officers  []Officer `json:"officers"`
	LedgerKey []byte    `json:"ledger_key"` // SubjectPublicKeyInfo: signs manifests
	Check     []byte    `json:"check"`

	dir string
	key *ecdsa.PublicKey
}

// signed is how a repository and its manifests lie on disk.
type signed struct {
	Body      json.RawMessage `json:"body"`
	Signature []byte          `json:"signature"`
}

const (
	signsRepository = "hufu/backup/repository\n"
	signsManifest   = "hufu/backup/manifest\n"
)

func seal(v any, purpose string, key crypto.Signer) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sig, err := alg.Sign(key, append([]byte(purpose), body...))
	if err != nil {
		return nil, err
	}
	return json.Marshal(signed{body, sig})
}

func unwrap(data []byte, purpose, field string, key *ecdsa.PublicKey, v any) error {
	var s signed
	if err := json.Unmarshal(data, &s); err != nil {
		return Damaged.At(field, Damaged.Clause).Because("%s 不是 JSON", field)
	}
	if err := alg.Verify(key, append([]byte(purpose), s.Body...), s.Signature); err != nil {
		return Forged.At(field, Forged.Clause).Because("%s", field)
	}
	return json.Unmarshal(s.Body, v)
}

const description = "repository.json"

// open reads a repository. The key says whose it must be; without one the key
// it names itself is taken.
func open(dir string, key *ecdsa.PublicKey) (*repository, error) {
	data, err := os.ReadFile(filepath.Join(dir, description))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, NoRepository.At("repo", NoRepository.Clause).Because("%s", dir)
	}
	if err != nil {
		return nil, err
	}
	r := &repository{dir: dir, key: key}
	if key == nil {
		var s signed
		if json.Unmarshal(data, &s) != nil || json.Unmarshal(s.Body, r) != nil {
			return nil, Damaged.At(description, Damaged.Clause)
		}
		point, err := alg.PointOf(r.LedgerKey)
		if err != nil {
			return nil, Damaged.At(description, Damaged.Clause).Because("%v", err)
		}
		if r.key, err = alg.PublicKey(point); err != nil {
			return nil, err
		}
	}
	return r, unwrap(data, signsRepository, description, r.key, r)
}

// repository opens the repository of a backup, or makes it.
func (c Config) repository(ctx context.Context, key crypto.Signer) (*repository, *keys, error) {
	r, err := open(c.Repo, nil)
	if errors.Is(err, NoRepository) {
		return c.create(ctx, key)
	}
	if err != nil {
		return nil, nil, err
	}
	if !r.key.Equal(publicOf(key)) {
		return nil, nil, OtherHouse.At("repo", OtherHouse.Clause)
	}
	if len(c.Officers) > 0 && !r.sealedTo(c.Officers) || c.Quorum > 0 && c.Quorum != r.Quorum {
		return nil, nil, Officers.At("officer", Officers.Clause)
	}
	dataKey, err := os.ReadFile(c.keyFile(r.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, NoDataKey.At("repo", NoDataKey.Clause)
	}
	if err != nil {
		return nil, nil, err
	}
	k, _, err := r.opened(dataKey)
	return r, k, err
}

func (r *repository) sealedTo(officers []*cert.Certificate) bool {
	for _, c := range officers {
		if r.officer(c.PublicKey()) == nil {
			return false
		}
	}
	return len(officers) == len(r.Officers)
}

// keyFile is where the machine that is backed up keeps the data key. It holds
// the data in the clear anyway; the key is in no set.
func (c Config) keyFile(id string) string {
	return filepath.Join(c.Dir, "secrets", "backup-"+id+".key")
}

// create makes a repository and gives its data key to the officers.
func (c Config) create(ctx context.Context, key crypto.Signer) (*repository, *keys, error) {
	if err := c.fit(ctx); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(c.Repo, 0o700); err != nil {
		return nil, nil, err
	}
	if list, err := os.ReadDir(c.Repo); err != nil || len(list) > 0 {
		return nil, nil, errors.Join(NotEmpty.At("repo", NotEmpty.Clause).Because("%s", c.Repo), err)
	}
	id, dataKey := make([]byte, 8), make([]byte, dataKeySize)
	_, _ = rand.Read(id) // crypto/rand never fails
	_, _ = rand.Read(dataKey)
	k, err := derive(dataKey)
	if err != nil {
		return nil, nil, err
	}
	r := &repository{
		Version: 1, ID: hex.EncodeToString(id), Created: c.Now().UTC().Truncate(time.Second), Quorum: max(1, c.Quorum), LedgerKey: alg.SPKI(alg.Point(publicOf(key))), Check: k.check,
		dir: c.Repo, key: publicOf(key),
	}
	if r.Officers, err = sealTo(c.Officers, r.Quorum, dataKey); err != nil {
		return nil, nil, err
	}
	data, err := seal(r, signsRepository, key)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Join(c.Repo, "sets"), 0o700); err != nil {
		return nil, nil, err
	}
	// The key first: a repository without it could never be written to.
	return r, k, errors.Join(durable.Write(c.keyFile(r.ID), dataKey, 0o600), durable.Write(filepath.Join(c.Repo, description), data, 0o600))
}

// fit checks the officers of a new repository.
func (c Config) fit(ctx context.Context) error {
	if len(c.Officers) == 0 {
		return NoOfficer.At("officer", NoOfficer.Clause)
	}
	if c.Quorum < 0 || c.Quorum > len(c.Officers) {
		return BadQuorum.At("quorum", BadQuorum.Clause).Because("门限 %d，负责人 %d", c.Quorum, len(c.Officers))
	}
	people, err := quorum.Zone{Dir: c.Dir}.People(ctx)
	if err != nil {
		return err
	}
	now := c.Now()
	for i, o := range c.Officers {
		if who, bad := quorum.Barred(people, o, quorum.ExcludedPosts); bad {
			return Excluded.At("officer", Excluded.Clause).Because("%s 是在册的%s", titleOf(o), who.Roles[0].Title())
		}
		if now.After(o.NotAfter) {
			return BadOfficer.At("officer", BadOfficer.Clause).Because("%s 的证书已过期", titleOf(o))
		}
		for _, other := range c.Officers[:i] {
			if other.PublicKey().Equal(o.PublicKey()) {
				return BadOfficer.At("officer", BadOfficer.Clause).Because("%s 重复", titleOf(o))
			}
		}
	}
	return nil
}

func titleOf(c *cert.Certificate) string {
	n, err := dn.Parse(c.Subject)
	if err != nil || n.CN == "" {
		return c.SerialHex()
	}
	return n.CN
}

func (r *repository) path(name string) string {
	return filepath.Join(r.dir, "chunks", name[:2], name)
}

// put writes a chunk unless it is there; fresh tells. A chunk of another length
// was cut short and is written again.
func (r *repository) put(name string, data []byte) (fresh bool, err error) {
	full := r.path(name)
	if info, err := os.Stat(full); err == nil && info.Size() == int64(len(data)) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return false, err
	}
	tmp := full + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return false, err
	}
	return true, os.Rename(tmp, full)
}

// chunkMax bounds a chunk read back.
const chunkMax = chunkLarge + 1024

// get reads a chunk and checks that it is the one of this name.
func (r *repository) get(name string) ([]byte, error) {
	if len(name) != 2*ledger.HashSize {
		return nil, errors.New("name of a chunk")
	}
	if _, err := hex.DecodeString(name); err != nil {
		return nil, err
	}
	info, err := os.Stat(r.path(name))
	if err != nil {
		return nil, err
	}
	if info.Size() > chunkMax {
		return nil, errors.New("too long")
	}
	data, err := os.ReadFile(r.path(name))
	if err == nil && nameOf(data) != name {
		err = errors.New("内容与名称不符")
	}
	return data, err
}

func (r *repository) set(n int) string {
	return filepath.Join(r.dir, "sets", fmt.Sprintf("%06d.json", n))
}

// add makes a set whole: its chunks are durable before its manifest is.
func (r *repository) add(m Manifest, key crypto.Signer) error {
	data, err := seal(m, signsManifest, key)
	if err != nil {
		return err
	}
	if err := ledger.SyncDir(r.dir); err != nil {
		return err
	}
	if _, err := os.Stat(r.set(m.Set)); err == nil {
		return fmt.Errorf("set %d is there already", m.Set)
	}
	if err := durable.Write(r.set(m.Set), data, 0o600); err != nil {
		return err
	}
	return ledger.SyncDir(r.dir)
}
