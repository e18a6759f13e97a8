// Package soft is a device in software, for evaluation and tests. (软件密码模块)
//
// Keys lie in a folder, each encrypted with SM4-GCM under a key derived from a
// passphrase by scrypt. Production mode refuses it (GM/T 0034 §5.3.2).
package soft

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/scrypt"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm"
)

// Device keeps keys in files.
type Device struct {
	dir string
	kek cipher.AEAD

	mu      sync.Mutex
	signers map[string]*sm2.PrivateKey
	masters map[string]cipher.AEAD
}

var _ hsm.Device = (*Device)(nil)

type file struct {
	Version int    `json:"version"` // 1: scrypt 2^15/8/1, SM4-GCM
	Kind    string `json:"kind"`    // "sm2" or "sm4"
	Blob    []byte `json:"blob"`
}

// errPassphrase is all a stranger learns.
var errPassphrase = errors.New("soft key store: wrong passphrase or damaged file")

// Open opens, or begins, a key store in dir.
func Open(dir string, passphrase []byte) (*Device, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	salt, err := saltOf(dir)
	if err != nil {
		return nil, err
	}
	key, err := scrypt.Key(passphrase, salt, 1<<15, 8, 1, 16)
	if err != nil {
		return nil, err
	}
	kek, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return &Device{dir: dir, kek: kek, signers: map[string]*sm2.PrivateKey{}, masters: map[string]cipher.AEAD{}}, nil
}

func saltOf(dir string) ([]byte, error) {
	name := filepath.Join(dir, "salt")
	salt, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		salt = random(16)
		err = create(name, salt)
	}
	if err == nil && len(salt) != 16 {
		err = errors.New("soft key store: salt is damaged")
	}
	return salt, err
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails
	return b
}

// Name says what this is.
func (d *Device) Name() string { return "软件密码模块（仅供评估）" }

// Production is false: software holds keys for evaluation and tests only.
func (d *Device) Production() bool { return false }

func (d *Device) path(label string) (string, error) {
	if label == "" || strings.ContainsAny(label, "/\\.") {
		return "", fmt.Errorf("soft key store: label %q", label)
	}
	return filepath.Join(d.dir, label+".key"), nil
}

func (d *Device) store(label, kind string, secret []byte) error {
	name, err := d.path(label)
	if err != nil {
		return err
	}
	if note, gone := Destroyed(d.dir, label); gone { // a label names one key for ever
		return fmt.Errorf("%s：%w：%s", label, ErrDestroyed, note)
	}
	nonce := random(d.kek.NonceSize())
	data, err := json.Marshal(file{1, kind, d.kek.Seal(nonce, nonce, secret, []byte(kind+":"+label))})
	if err != nil {
		return err
	}
	return create(name, data)
}

func (d *Device) load(label, kind string) ([]byte, error) {
	name, err := d.path(label)
	if err != nil {
		return nil, err
	}
	if note, gone := Destroyed(d.dir, label); gone {
		return nil, fmt.Errorf("%s：%w：%s", label, ErrDestroyed, note)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("soft key store: %w", err)
	}
	var f file
	if json.Unmarshal(data, &f) != nil || f.Version != 1 || f.Kind != kind || len(f.Blob) < d.kek.NonceSize() {
		return nil, errPassphrase
	}
	n := d.kek.NonceSize()
	secret, err := d.kek.Open(nil, f.Blob[:n], f.Blob[n:], []byte(kind+":"+label))
	if err != nil {
		return nil, errPassphrase
	}
	return secret, nil
}

// create writes a new file durably and never replaces one.
func create(name string, data []byte) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Remove(tmp)
}

// Signer returns the SM2 key under a label.
func (d *Device) Signer(label string) (crypto.Signer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.signer(label)
}

func (d *Device) signer(label string) (*sm2.PrivateKey, error) {
	if k := d.signers[label]; k != nil {
		return k, nil
	}
	secret, err := d.load(label, "sm2")
	if err != nil {
		return nil, err
	}
	k, err := sm2.NewPrivateKey(secret)
	if err != nil {
		return nil, errPassphrase
	}
	d.signers[label] = k
	return k, nil
}

// Generate makes an SM2 key under a new label.
func (d *Device) Generate(label string) (crypto.Signer, error) {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.store(label, "sm2", k.D.FillBytes(make([]byte, 32))); err != nil {
		return nil, err
	}
	d.signers[label] = k
	return k, nil
}

// Import keeps a key that was made elsewhere under a new label. What comes from
// outside cannot be proven to be nowhere else: it is for keys that another
// institution handed over.
func (d *Device) Import(label string, key *sm2.PrivateKey) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	secret := key.D.FillBytes(make([]byte, 32))
	defer clear(secret)
	return d.store(label, "sm2", secret)
}

// NewMaster makes a wrapping key under a new label.
func (d *Device) NewMaster(label string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.store(label, "sm4", random(16))
}

func (d *Device) master(label string) (cipher.AEAD, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.masters[label]; m != nil {
		return m, nil
	}
	key, err := d.load(label, "sm4")
	if err != nil {
		return nil, err
	}
	m, err := gcm(key)
	if err == nil {
		d.masters[label] = m
	}
	return m, err
}

// Wrap encrypts a secret.
func (d *Device) Wrap(master string, secret, bound []byte) (hsm.Wrapped, error) {
	m, err := d.master(master)
	if err != nil {
		return hsm.Wrapped{}, err
	}
	nonce := random(m.NonceSize())
	return hsm.Wrapped{Version: 1, Master: master, Blob: m.Seal(nonce, nonce, secret, bound)}, nil
}

// Unwrap decrypts a secret.
func (d *Device) Unwrap(master string, w hsm.Wrapped, bound []byte) ([]byte, error) {
	m, err := d.master(master)
	if err != nil {
		return nil, err
	}
	if w.Version != 1 || w.Master != master || len(w.Blob) < m.NonceSize() {
		return nil, fmt.Errorf("soft key store: wrapped by %q version %d", w.Master, w.Version)
	}
	n := m.NonceSize()
	return m.Open(nil, w.Blob[:n], w.Blob[n:], bound)
}

// NewPair makes a key pair for a subscriber.
func (d *Device) NewPair(master string) (hsm.Pair, error) {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return hsm.Pair{}, err
	}
	point := alg.Point(&k.PublicKey)
	secret := k.D.FillBytes(make([]byte, 32))
	defer clear(secret)
	w, err := d.Wrap(master, secret, point)
	return hsm.Pair{Point: point, Private: w}, err
}

// Prove checks that a wrapped private key is that of its point.
func (d *Device) Prove(p hsm.Pair) error {
	secret, err := d.Unwrap(p.Private.Master, p.Private, p.Point)
	if err != nil {
		return err
	}
	defer clear(secret)
	key, err := sm2.NewPrivateKey(secret)
	if err != nil {
		return err
	}
	if !bytes.Equal(alg.Point(&key.PublicKey), p.Point) {
		return errors.New("soft key store: private key of another point")
	}
	return nil
}

// Rewrap moves a wrapped private key under another wrapping key.
func (d *Device) Rewrap(p hsm.Pair, master string) (hsm.Wrapped, error) {
	secret, err := d.Unwrap(p.Private.Master, p.Private, p.Point)
	if err != nil {
		return hsm.Wrapped{}, err
	}
	defer clear(secret)
	return d.Wrap(master, secret, p.Point)
}

// Adopt takes a private key in that is sealed to one of the device's own.
func (d *Device) Adopt(master, opener string, sealed []byte) (hsm.Pair, error) {
	e, err := sealedkey.Parse(sealed)
	if err != nil {
		return hsm.Pair{}, err
	}
	d.mu.Lock()
	own, err := d.signer(opener)
	d.mu.Unlock()
	if err != nil {
		return hsm.Pair{}, err
	}
	key, err := e.Open(own)
	if err != nil {
		return hsm.Pair{}, err
	}
	secret := key.D.FillBytes(make([]byte, 32))
	defer clear(secret)
	w, err := d.Wrap(master, secret, e.Point)
	return hsm.Pair{Point: e.Point, Private: w}, err
}

// Envelope seals a private key to its owner's signing key.
func (d *Device) Envelope(master string, p hsm.Pair, to []byte, signer string) (hsm.Sealed, error) {
	owner, err := alg.PublicKey(to)
	if err != nil {
		return hsm.Sealed{}, err
	}
	secret, err := d.Unwrap(master, p.Private, p.Point)
	if err != nil {
		return hsm.Sealed{}, err
	}
	defer clear(secret)
	plain := make([]byte, 64)
	defer clear(plain)
	copy(plain[32:], secret)
	session := random(16)
	defer clear(session)
	block, err := sm4.NewCipher(session)
	if err != nil {
		return hsm.Sealed{}, err
	}
	out := hsm.Sealed{Content: make([]byte, 64)}
	for i := 0; i < len(plain); i += 16 { // ECB, as GM/T 0009 has it: one random scalar under a one-time key
		block.Encrypt(out.Content[i:], plain[i:i+16])
	}
	if out.SessionKey, err = sm2.EncryptASN1(rand.Reader, owner, session); err != nil {
		return hsm.Sealed{}, err
	}
	key, err := d.Signer(signer)
	if err != nil {
		return hsm.Sealed{}, err
	}
	out.Signature, err = alg.Sign(key, plain)
	return out, err
}
