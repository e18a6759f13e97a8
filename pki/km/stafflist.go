package km

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
)

// StaffStatus is what became of a certificate of the centre's own people.
type StaffStatus struct {
	Serial []byte
	Reason int // of RFC 5280 §5.3.1; StaffGood takes it off the list
	At     time.Time
}

// StaffGood ends a hold.
const StaffGood = -1

// StaffList is the newest list on record; DER is nil while it is not signed.
type StaffList struct {
	Number int64
	TBS    []byte
	DER    []byte
	Next   time.Time
	Due    bool // a status has changed since it was drafted
}

// StaffListStore keeps the status of staff certificates and the list of them.
// Each call happens wholly or not at all.
type StaffListStore interface {
	// SetStaffStatus keeps a status once for a request, with its audit line, and
	// makes the list due. A certificate that was revoked stays revoked.
	SetStaffStatus(ctx context.Context, request string, s StaffStatus, line audit.Entry) error
	// StaffList returns the newest list on record; ok is false before the first.
	StaffList(ctx context.Context) (l StaffList, ok bool, err error)
	// IntendStaffList puts a draft on record in the place of a signed list: draft
	// gets every status and a number above all used, not below least.
	IntendStaffList(ctx context.Context, least int64, next time.Time, draft func(number int64, all []StaffStatus) []byte) error
	// RecordStaffList stores the signed list with its audit line.
	RecordStaffList(ctx context.Context, number int64, der []byte, line audit.Entry) error
	// SignedStaffList is the newest list that was signed; nil before the first.
	SignedStaffList(ctx context.Context) ([]byte, error)
}

// The list is good for a week and signed anew daily: whoever misses one has six
// more days to notice.
const (
	staffListFor   = 7 * 24 * time.Hour
	staffListAfter = 24 * time.Hour
)

// StaffRegister says what became of the certificates of the centre's own people
// and signs the list of them. (人员证书撤销列表)
type StaffRegister struct {
	CA    *StaffCA
	Store StaffListStore
}

// Set puts a status on record, once for a request, and signs the list.
func (r *StaffRegister) Set(ctx context.Context, request string, serial []byte, reason int) error {
	now := r.CA.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.staff.status", Object: request, Serial: cert.SerialHex(serial), Result: audit.Done, Detail: reasonName(reason)}
	if err := r.Store.SetStaffStatus(ctx, request, StaffStatus{serial, reason, now}, line); err != nil {
		return fmt.Errorf("recording status: %w", err)
	}
	return r.Sign(ctx)
}

func reasonName(reason int) string {
	for name, n := range crl.Reasons {
		if n == reason {
			return name
		}
	}
	return "解除冻结"
}

// Sign brings the list up to date. One that was drafted is finished first: those
// very bytes.
func (r *StaffRegister) Sign(ctx context.Context) error {
	for range 3 { // what is on record, what has become due since, and one more meanwhile
		l, ok, err := r.Store.StaffList(ctx)
		if err != nil {
			return err
		}
		now := r.CA.Now()
		if ok && l.DER == nil {
			if err := r.seal(ctx, l); err != nil {
				return err
			}
			continue
		}
		if ok && !l.Due && now.Before(l.Next.Add(staffListAfter-staffListFor)) {
			return nil
		}
		at := now.UTC().Truncate(time.Second)
		// a restored database does not know which numbers were used: seconds are above them all
		err = r.Store.IntendStaffList(ctx, at.Unix(), at.Add(staffListFor), func(number int64, all []StaffStatus) []byte {
			d := crl.Draft{Issuer: r.CA.Cert.Subject, Point: r.CA.Cert.Point, ThisUpdate: at, NextUpdate: at.Add(staffListFor), Number: number}
			for _, s := range all {
				d.Entries = append(d.Entries, crl.Entry{Serial: s.Serial, At: s.At, Reason: s.Reason}.Bytes()...)
			}
			return d.TBS()
		})
		if err != nil {
			return fmt.Errorf("recording a list to be signed: %w", err)
		}
	}
	return nil
}

func (r *StaffRegister) seal(ctx context.Context, l StaffList) error {
	der, err := crl.Seal(l.TBS, r.CA.Key)
	if err != nil {
		return err
	}
	now := r.CA.Now()
	line := audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.staff.list", Object: fmt.Sprint(l.Number), Result: audit.Done}
	return r.Store.RecordStaffList(ctx, l.Number, der, line)
}

// Run signs the list when it is due until ctx ends.
func (r *StaffRegister) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.Sign(ctx); err != nil && ctx.Err() == nil {
			slog.Error("signing the list of staff certificates", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
}

// ErrNotStaff is returned for a serial that is none of the centre's.
var ErrNotStaff = errors.New("km: not a certificate of the centre's people")

// SerialOf reads the serial of one of the centre's own certificates.
func (s *StaffCA) SerialOf(der []byte) ([]byte, error) {
	c, err := cert.Parse(der)
	if err != nil {
		return nil, err
	}
	if string(c.Issuer) != string(s.Cert.Subject) {
		return nil, fmt.Errorf("%w: %s", ErrNotStaff, strings.ToUpper(hex.EncodeToString(c.Serial.Bytes())))
	}
	return c.Serial.Bytes(), nil
}
