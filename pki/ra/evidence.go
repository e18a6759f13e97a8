package ra

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/hsm"
)

// Evidence is a file that shows how an identity was checked: a scan, a letter,
// an answer of an official source. It is named by its SM3 and kept sealed.
// (身份查验材料)
type Evidence struct {
	Digest []byte
	Name   string
	Size   int
	By     access.PersonID
	At     time.Time
	Sealed hsm.Wrapped
}

// EvidenceStore keeps evidence files. The same file twice is one file.
type EvidenceStore interface {
	KeepEvidence(ctx context.Context, e Evidence, line audit.Entry) error
	// Evidence returns one by digest; NoEvidence if it is not kept here.
	Evidence(ctx context.Context, digest []byte) (Evidence, error)
}

// AddEvidence takes a file in and returns it as kept.
func (r *Registrar) AddEvidence(ctx context.Context, name string, data []byte, by access.Person, source string) (Evidence, error) {
	switch {
	case !by.Holds(access.RAClerk):
		return Evidence{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("身份查验材料须由录入员收存")
	case len(data) == 0 || len(data) > EvidenceMax:
		return Evidence{}, BadEvidence.At("file", BadEvidence.Clause).Because("文件为空或超过 %d MB", EvidenceMax>>20)
	case name == "" || len(name) > nameMax:
		return Evidence{}, BadEvidence.At("name", BadEvidence.Clause).Because("文件名为空或超过 %d 字节", nameMax)
	}
	digest := alg.Digest(data)
	sealed, err := r.Device.Wrap(r.Master, data, bound(digest))
	if err != nil {
		return Evidence{}, fmt.Errorf("sealing evidence: %w", err)
	}
	e := Evidence{Digest: digest, Name: name, Size: len(data), By: by.ID, At: r.Now().UTC(), Sealed: sealed}
	line := r.line(by, "ra.evidence", hex.EncodeToString(digest), source)
	return e, r.Store.KeepEvidence(ctx, e, line)
}

// ReadEvidence opens a file for somebody of the desk; every reading is on the
// trail before the bytes are handed out.
func (r *Registrar) ReadEvidence(ctx context.Context, digest []byte, who access.Person, source string) (Evidence, []byte, error) {
	e, err := r.Store.Evidence(ctx, digest)
	if err != nil {
		return e, nil, err
	}
	data, err := r.Device.Unwrap(r.Master, e.Sealed, bound(digest))
	if err != nil {
		return e, nil, fmt.Errorf("opening evidence: %w", err)
	}
	return e, data, r.Seen(ctx, who, Reading{Way: ByEvidence, Object: hex.EncodeToString(digest), Fields: []string{"identity.evidence"}, Count: 1}, source)
}

func bound(digest []byte) []byte { return append([]byte("evidence:"), digest...) }
