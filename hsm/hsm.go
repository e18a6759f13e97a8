// Package hsm is what the system asks of a cryptographic device. (密码设备)
//
// Keys are named by labels and never leave the device in the clear: a key pair
// for a subscriber is made, kept wrapped and sealed to its owner in one
// operation each, as GM/T 0034 §5.3.3.8 and §6.2 ask of hardware.
package hsm

import "crypto"

// Device holds keys.
type Device interface {
	// Name is for people and audit: "软件密码模块(仅供评估)".
	Name() string
	// Production reports whether the device may hold the keys of an institution in
	// service (GM/T 0034 §5.3.2).
	Production() bool
	// Signer returns the SM2 key under a label. It signs raw messages: Z and SM3
	// are the device's work.
	Signer(label string) (crypto.Signer, error)
	// Generate makes an SM2 signing key under a label not yet in use.
	Generate(label string) (crypto.Signer, error)
	// NewMaster makes a wrapping key under a label not yet in use.
	NewMaster(label string) error
	// Wrap encrypts a secret under a wrapping key; bound is authenticated with it.
	Wrap(master string, secret, bound []byte) (Wrapped, error)
	// Unwrap undoes Wrap. It is for secrets that are not keys of subscribers.
	Unwrap(master string, w Wrapped, bound []byte) ([]byte, error)
	// NewPair makes a subscriber's encryption key pair and returns its point and
	// the private key wrapped.
	NewPair(master string) (Pair, error)
	// Prove opens a wrapped private key inside the device and checks that it is
	// that of its point.
	Prove(p Pair) error
	// Rewrap moves a wrapped private key under another wrapping key.
	Rewrap(p Pair, master string) (Wrapped, error)
	// Adopt opens an SM2EnvelopedKey (DER, GM/T 0009 §7.4) that is sealed to the key
	// labelled opener, checks the private key against its point, and wraps it.
	Adopt(master, opener string, sealed []byte) (Pair, error)
	// Envelope seals a wrapped private key to a subscriber's signing key and signs
	// the plain content with the key labelled signer.
	Envelope(master string, p Pair, to []byte, signer string) (Sealed, error)
}

// Wrapped is a secret under a wrapping key, with all that is needed to unwrap
// or re-wrap it later.
type Wrapped struct {
	Version int    // of the wrapping parameters; 1 is SM4-GCM with a 12-byte nonce
	Master  string // label of the wrapping key
	Blob    []byte // nonce ‖ ciphertext ‖ tag
}

// Pair is a key pair whose private half is wrapped, bound to its point.
type Pair struct {
	Point   []byte // 65 bytes
	Private Wrapped
}

// Sealed is a private key on its way to its owner (GM/T 0010 signed and
// enveloped data, in parts).
type Sealed struct {
	SessionKey []byte // DER SM2Cipher of the 16-byte SM4 key, to the owner's signing key
	Content    []byte // SM4-ECB of 64 bytes: 32 zeros ‖ private key
	Signature  []byte // DER SM2 signature over the 64 plain bytes
}
