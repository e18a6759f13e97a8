package ra_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/ratest"
)

// one is a store with one issued case in it.
type one struct {
	ratest.Memory
	rec ra.Record
}

func (s *one) BySerial(_ context.Context, serial string) (ra.Record, error) {
	if serial != s.rec.SignSerial && serial != s.rec.EncSerial {
		return ra.Record{}, ra.NotLive.At("serial", ra.NotLive.Clause)
	}
	return s.rec, nil
}

// Whoever holds the signing certificate is let in while it is good, frozen or
// not; nobody else, and nobody whose certificate has ended.
func TestSubscribersAreWhoTheirCertificatesSay(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	reply, other := ratest.Reply(t, "张三", now), ratest.Reply(t, "张三", now)
	sign, enc := reply.Serials()
	for _, c := range []struct {
		name  string
		der   []byte
		state casework.State
		at    time.Time
		want  error
	}{
		{"delivered", reply.Sign, ra.Delivered, now, nil},
		{"on hold", reply.Sign, ra.DeliveredHeld, now, nil},
		{"its last second", reply.Sign, ra.Delivered, now.AddDate(1, 0, 0), nil},
		{"a second more", reply.Sign, ra.Delivered, now.AddDate(1, 0, 0).Add(time.Second), ra.HolderExpired},
		{"revoked", reply.Sign, ra.Revoked, now, ra.HolderEnded},
		{"replaced", reply.Sign, ra.Superseded, now, ra.HolderEnded},
		{"the encryption certificate", reply.Enc, ra.Delivered, now, ra.NotHolder},
		{"another certificate", other.Sign, ra.Delivered, now, ra.NotHolder},
		{"no certificate", []byte("x"), ra.Delivered, now, ra.NotHolder},
		{"something huge", make([]byte, cert.SizeMax+1), ra.Delivered, now, ra.NotHolder},
		{"the same serial in other bytes", append(bytes.Clone(reply.Sign[:len(reply.Sign)-1]), reply.Sign[len(reply.Sign)-1]^1), ra.Delivered, now, ra.NotHolder},
	} {
		s := &one{rec: ra.Record{Case: casework.Case{ID: "A1", Kind: ra.IssueKind.Name, State: c.state}, Title: "张三", SignSerial: sign, EncSerial: enc, Reply: reply}}
		p, err := ra.Subscribers{Store: s, Now: func() time.Time { return c.at }}.PersonOf(t.Context(), c.der)
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && (p.ID != access.PersonID("holder:"+sign) || !p.Holds(access.Holder) || p.Holds(access.RAClerk) || p.Name != "张三") {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}

// What may be asked for follows from the certificate's state alone.
func TestWishesFollowTheState(t *testing.T) {
	open := map[casework.State]string{}
	for _, s := range []casework.State{ra.Drafted, ra.Submitted, ra.Approved, ra.Issued, ra.Delivered, ra.IssuedHeld, ra.DeliveredHeld, ra.Revoked, ra.Superseded, ra.Rejected} {
		for _, w := range ra.Wishes {
			if w.Open(s) {
				open[s] += w.Code + " "
			}
		}
	}
	for s, want := range map[casework.State]string{
		ra.Issued: "renew freeze revoke ", ra.Delivered: "renew freeze revoke ", ra.IssuedHeld: "revoke ", ra.DeliveredHeld: "revoke ",
		ra.Drafted: "", ra.Submitted: "", ra.Approved: "", ra.Revoked: "", ra.Superseded: "", ra.Rejected: "",
	} {
		if open[s] != want {
			t.Errorf("%s: %q, want %q", s, open[s], want)
		}
	}
}
