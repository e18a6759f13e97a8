package enroll

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/link"
)

// pathProfiles is where registration systems learn the profiles in force.
const pathProfiles = "/ca/v1/profiles"

// Profiles is the edition of profiles in force, signed by the CA's server so
// that it can be kept and checked again, or the word that nothing changed.
// (模板同步)
type Profiles struct {
	Same      bool   `json:"same,omitempty"`
	Body      []byte `json:"body,omitempty"` // JSON of a profile.Edition
	Signature []byte `json:"signature,omitempty"`
}

// SignProfiles writes an edition down.
func SignProfiles(e profile.Edition, key crypto.Signer) (p Profiles, err error) {
	if p.Body, err = json.Marshal(e); err == nil {
		p.Signature, err = alg.Sign(key, p.Body)
	}
	return p, err
}

// Open checks the signature and reads the edition: every profile strictly.
func (p Profiles) Open(ca *ecdsa.PublicKey) (e profile.Edition, err error) {
	if err := alg.Verify(ca, p.Body, p.Signature); err != nil {
		return e, fmt.Errorf("profiles: %w", err)
	}
	var raw struct {
		profile.Edition
		Profiles []json.RawMessage `json:"profiles"`
	}
	if err := json.Unmarshal(p.Body, &raw); err != nil {
		return e, fmt.Errorf("profiles: %w", err)
	}
	e.Number, e.At = raw.Number, raw.At
	for _, text := range raw.Profiles {
		one, err := profile.Parse(text)
		if err != nil {
			return e, fmt.Errorf("profiles: %w", err)
		}
		e.Profiles = append(e.Profiles, one)
	}
	if len(e.Profiles) == 0 {
		return e, fmt.Errorf("profiles: none")
	}
	return e, nil
}

// Profiles asks for the edition in force; digest is of the body that is known.
func (c Client) Profiles(ctx context.Context, digest []byte) (Profiles, error) {
	var out Profiles
	return out, c.Link.Call(ctx, pathProfiles, known{digest}, &out)
}

// mountProfiles answers for the edition in force.
func (v Service) mountProfiles(s *link.Server, peers []string) {
	link.Handle(s, pathProfiles, 1<<10, func(ctx context.Context, _ string, in known) (Profiles, error) {
		return v.Profiles(ctx, in.Digest)
	}, peers...)
}
