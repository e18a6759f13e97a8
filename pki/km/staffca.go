package km

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
)

// StaffStore remembers what the centre's own CA meant to sign and what it
// signed. Each call happens wholly or not at all.
type StaffStore interface {
	// StaffCert returns what is on record of a request: a draft, and the signed
	// certificate once there is one.
	StaffCert(ctx context.Context, request string) (tbs, der []byte, err error)
	// IntendStaff puts a draft on record; a serial used before is refused.
	IntendStaff(ctx context.Context, request string, serial, tbs []byte, at time.Time) error
	// RecordStaff stores what was signed with its audit line.
	RecordStaff(ctx context.Context, request string, der []byte, line audit.Entry) error
}

// StaffCA certifies the centre's own people: they are nobody else's to appoint
// (GM/T 0034 §9.2.3). What it signs is on record first.
type StaffCA struct {
	Store   StaffStore
	Key     crypto.Signer
	Cert    *cert.Certificate
	Profile profile.Profile
	Place   profile.Place
	Now     func() time.Time
}

// Issue certifies a person's key, once for a request.
func (s *StaffCA) Issue(ctx context.Context, request, name string, point []byte) ([]byte, error) {
	tbs, der, err := s.Store.StaffCert(ctx, request)
	if err != nil || der != nil {
		return der, err
	}
	wish := profile.Wish{Point: point}
	if tbs == nil {
		if wish, err = s.wish(name, point); err != nil {
			return nil, err
		}
		tbs = s.Profile.Draft(profile.Sign, wish, s.Cert, s.Place)
	} else { // on record from an earlier try: those very bytes are finished
		c, err := cert.ParseTBS(tbs)
		if err != nil {
			return nil, err
		}
		wish = profile.Wish{Serial: c.Serial.Bytes(), NotBefore: c.NotBefore, NotAfter: c.NotAfter, Subject: c.Subject, Point: c.Point}
	}
	linted, err := certlint.Check(tbs, certlint.Context{Profile: s.Profile, Use: profile.Sign, Issuer: s.Cert, Place: s.Place, Wish: wish})
	if err != nil {
		return nil, err
	}
	if err := s.Store.IntendStaff(ctx, request, wish.Serial, tbs, s.Now()); err != nil {
		return nil, fmt.Errorf("recording intent: %w", err)
	}
	if der, err = linted.Seal(s.Key); err != nil {
		return nil, err
	}
	now := s.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.staff", Object: request, Serial: cert.SerialHex(wish.Serial), Result: audit.Done, Detail: name}
	return der, s.Store.RecordStaff(ctx, request, der, line)
}

func (s *StaffCA) wish(name string, point []byte) (profile.Wish, error) {
	org, err := dn.Parse(s.Cert.Subject)
	if err != nil {
		return profile.Wish{}, err
	}
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // crypto/rand never fails
	serial[0] = serial[0]&0x7F | 0x40
	from := s.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	return profile.Wish{
		Serial: serial, NotBefore: from, NotAfter: from.AddDate(0, 0, s.Profile.Days.Default),
		Subject: dn.Name{C: "CN", O: org.O, CN: name}.Bytes(), Point: point,
	}, nil
}
