package ca

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
)

// ReleaseStore keeps when certificates come into the directory.
type ReleaseStore interface {
	// Release has certificates that are not due come into the directory at a time,
	// with the ledger entries and the audit line. One that is due by then, or was
	// never to wait, is refused (NotWaiting), and then nothing changes.
	Release(ctx context.Context, serials [][]byte, entries []Publication, line audit.Entry, at time.Time) error
}

// Waiting finds a certificate that has not come into the directory, and the other
// of its pair if that has not either. One that has, or never will, is refused.
// (待发布的证书)
func (is *Issuer) Waiting(ctx context.Context, serialHex string) ([]Issued, error) {
	serial, err := hex.DecodeString(strings.ToLower(strings.TrimSpace(serialHex)))
	if err != nil || len(serial) == 0 {
		return nil, NoCert.At("serial", NoCert.Clause)
	}
	c, err := is.Store.Certificate(ctx, serial)
	if err != nil {
		return nil, err
	}
	now := is.Now()
	if !c.Due.After(now) {
		why := "证书 " + cert.SerialHex(c.Serial) + " 按模板立即发布，或只发布摘要"
		if !c.Due.IsZero() {
			why = "证书 " + cert.SerialHex(c.Serial) + " 已到发布时间"
		}
		return nil, NotWaiting.At("serial", NotWaiting.Clause).Because("%s", why)
	}
	list := []Issued{c}
	if len(c.Pair) > 0 {
		other, err := is.Store.Certificate(ctx, c.Pair)
		if err != nil {
			return nil, err
		}
		if other.Due.After(now) {
			list = append(list, other)
		}
	}
	return list, nil
}

// Release has a certificate that is not due, with its pair, come into the
// directory at once. Asked again it changes nothing. (立即发布)
func (is *Issuer) Release(ctx context.Context, order, serialHex string) error {
	list, err := is.Waiting(ctx, serialHex)
	if errors.Is(err, NotWaiting) {
		return nil // it was released, or its time came meanwhile
	}
	if err != nil {
		return err
	}
	now := is.Now().UTC().Truncate(time.Second)
	var serials [][]byte
	var entries []Publication
	for _, c := range list {
		issuer, err := is.issuerOf(c)
		if err != nil {
			return err
		}
		serials = append(serials, c.Serial)
		body := record.Release{Issuer: issuer, Serial: c.Serial, At: now}.Bytes()
		entries = append(entries, Publication{Leaf: record.Entry{Kind: record.KindRelease, At: is.Now(), Body: body}.Bytes()})
	}
	line := audit.Entry{
		Start: is.Now(), End: is.Now(), Who: "system:ca", Role: "machine", Item: "ca.release", Object: order, Serial: cert.SerialHex(list[0].Serial), Result: audit.Done,
		Detail: "原定 " + list[0].Due.Format(time.RFC3339),
	}
	if err := is.Store.Release(ctx, serials, entries, line, now); err != nil {
		return err
	}
	if is.Wake != nil {
		is.Wake()
	}
	return nil
}
