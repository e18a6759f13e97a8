package ca

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Issued is a certificate on record.
type Issued struct {
	Serial    []byte
	Pair      []byte // the other certificate's serial; nil if single
	Request   string
	Profile   string
	Use       string
	Shard     int
	DER       []byte
	Revoked   bool
	Reason    int
	RevokedAt time.Time
	Invalid   time.Time
	NotBefore time.Time
	NotAfter  time.Time
	Due       time.Time // when it comes into the directory; zero is at once
}

// StatusStore keeps what became of certificates, and the revocation lists.
type StatusStore interface {
	// Certificate finds one by serial; NoCert if there is none.
	Certificate(ctx context.Context, serial []byte) (Issued, error)
	// Revoke changes the status of certificates together with the ledger entries,
	// the audit lines and the message that retires keys. What is revoked for good
	// is refused (Revoked), and so is to hold what is held or to release what is
	// not (Held, NotHeld); then nothing changes.
	Revoke(ctx context.Context, request string, changes []Issued, entries []Publication, lines []audit.Entry, ask *Ask, at time.Time) error
	// Revocation returns the serials whose status a request changed, if it is done.
	Revocation(ctx context.Context, request string) (enroll.Revoked, bool, error)
	// Unsent returns messages that retire keys and were not yet answered.
	Unsent(ctx context.Context, limit int) ([]Ask, error)
	// Answered marks a message as answered.
	Answered(ctx context.Context, task int64) error

	// Lists returns the newest list of every scope, with TBS if it is only intended.
	Lists(ctx context.Context) (map[string]List, error)
	// IntendList puts a list's draft on record under the next number, with the
	// last change of status it goes up to, and clears the mark of its shard. draft
	// gets the number and the joined entries: of the shard, of all shards for Full,
	// of what changed after the list's Since for Delta, with a removal for what is
	// no longer revoked. Entries of certificates that had expired before the list
	// before are left out.
	IntendList(ctx context.Context, l List, shard int, draft func(number int64, entries []byte) []byte) (List, error)
	// IntendLists puts drafts on record as IntendList does, in one transaction
	// under one number and up to one change: what is signed together says the same.
	IntendLists(ctx context.Context, wanted []Wanted) ([]List, error)
	// RecordList stores a signed list, its ledger entry and audit line.
	RecordList(ctx context.Context, l List, entry Publication, line audit.Entry) error
	// Dirty reports the shards whose status changed after their newest list, and
	// Full and Delta if those are behind.
	Dirty(ctx context.Context) ([]int, error)
}

// hold is the reason of a certificate that may come back (RFC 5280 §5.3.1).
const hold, superseded = 6, 4

// orders are the cases about status: which evidence they need and where they lead.
var orders = map[string]struct{ kind, asked string }{
	"": {RevokeKind, "ra.revoke"}, enroll.Freeze: {FreezeKind, "ra.freeze"}, enroll.Unfreeze: {UnfreezeKind, "ra.unfreeze"},
}

// Revoke carries out a change of status two people signed: both certificates of
// a pair, their ledger entries, and, when they end, the message that retires
// the escrowed key.
func (is *Issuer) Revoke(ctx context.Context, r enroll.Request) (enroll.Revoked, error) {
	var ask enroll.Revocation
	if err := enroll.Decode(r.Content, &ask); err != nil || ask.ID != r.ID {
		return enroll.Revoked{}, BadContent.At("content", BadContent.Clause)
	}
	serial, err := hex.DecodeString(strings.ToLower(ask.Serial))
	if err != nil {
		return enroll.Revoked{}, NoCert.At("serial", NoCert.Clause)
	}
	switch done, ok, err := is.Store.Revocation(ctx, r.ID); {
	case err != nil:
		return enroll.Revoked{}, err
	case ok && !slices.Contains(done.Serials, cert.SerialHex(serial)):
		return enroll.Revoked{}, Changed.At("id", Changed.Clause)
	case ok:
		return done, nil
	}
	order, ok := orders[ask.Do]
	if !ok {
		return enroll.Revoked{}, BadContent.At("do", BadContent.Clause).Because("%.40q", ask.Do)
	}
	to := change{revoked: ask.Do != enroll.Unfreeze, reason: hold, invalid: ask.Invalid}
	if ask.Do == "" {
		if to.reason, ok = crl.Reasons[ask.Reason]; !ok || to.reason == hold {
			return enroll.Revoked{}, BadReason.At("reason", BadReason.Clause).Because("%q", ask.Reason)
		}
	}
	if err := is.twoPeople(ctx, order.kind, r, order.asked, "ra.approve"); err != nil {
		return enroll.Revoked{}, err
	}
	if c, err := is.Store.Certificate(ctx, serial); err == nil && is.profiles()[c.Profile].Usage == "ca" {
		return enroll.Revoked{}, NoCert.At("serial", NoCert.Clause).Because("CA 证书由 CA 管理员撤销")
	}
	return is.change(ctx, r.ID, serial, to)
}

// change is where a certificate's status is to go.
type change struct {
	revoked bool
	reason  int
	invalid int64 // Unix seconds; 0 if not given
	alone   bool  // this certificate only, not its pair
}

// lawful says why a certificate may not go there from where it is, or nothing:
// what is revoked for good stays so, and only what is on hold is released.
func (to change) lawful(c Issued) error {
	held := c.Revoked && c.Reason == hold
	switch {
	case c.Revoked && !held:
		return Revoked.At("serial", Revoked.Clause)
	case held && to.revoked && to.reason == hold:
		return Held.At("serial", Held.Clause)
	case !held && !to.revoked:
		return NotHeld.At("serial", NotHeld.Clause)
	}
	return nil
}

func (is *Issuer) revoke(ctx context.Context, request string, serial []byte, reason int, invalid int64) (enroll.Revoked, error) {
	return is.change(ctx, request, serial, change{revoked: true, reason: reason, invalid: invalid})
}

// pair returns the certificates a change is about: the one named, which must be
// able to make it, and its other half if that can too.
func (is *Issuer) pair(ctx context.Context, serial []byte, to change) ([]Issued, error) {
	first, err := is.Store.Certificate(ctx, serial)
	if err != nil {
		return nil, err
	}
	if err := to.lawful(first); err != nil {
		return nil, err
	}
	list := []Issued{first}
	if len(first.Pair) > 0 && !to.alone {
		other, err := is.Store.Certificate(ctx, first.Pair)
		if err != nil {
			return nil, err
		}
		if to.lawful(other) == nil {
			list = append(list, other)
		}
	}
	return list, nil
}

func (is *Issuer) change(ctx context.Context, request string, serial []byte, to change) (enroll.Revoked, error) {
	list, err := is.pair(ctx, serial, to)
	if err != nil {
		return enroll.Revoked{}, err
	}
	now := is.Now().UTC().Truncate(time.Second)
	done := enroll.Revoked{At: now}
	var entries []Publication
	var lines []audit.Entry
	var keys [][]byte
	for i := range list {
		c := &list[i]
		issuer, err := is.issuerOf(*c)
		if err != nil {
			return enroll.Revoked{}, err
		}
		c.Revoked, c.Reason, c.RevokedAt, c.Invalid = to.revoked, to.reason, now, time.Time{}
		if !to.revoked {
			c.Reason = 0
		}
		if to.invalid > 0 {
			c.Invalid = time.Unix(to.invalid, 0).UTC()
		}
		body := record.Status{Issuer: issuer, Serial: c.Serial, Revoked: c.Revoked, Reason: c.Reason, At: now, Invalid: c.Invalid}.Bytes()
		entries = append(entries, Publication{Leaf: record.Entry{Kind: record.KindStatus, At: is.Now(), Body: body}.Bytes()})
		hexSerial := cert.SerialHex(c.Serial)
		lines = append(lines, audit.Entry{Start: is.Now(), End: is.Now(), Who: "system:ca", Role: "machine", Item: to.item(), Object: request, Serial: hexSerial, Result: audit.Done})
		done.Serials = append(done.Serials, hexSerial)
		if c.Use == "enc" && to.revoked && to.reason != hold {
			keys = append(keys, c.Serial)
		}
	}
	ask, err := is.retirement(keys)
	if err != nil {
		return enroll.Revoked{}, err
	}
	if err := is.Store.Revoke(ctx, request, list, entries, lines, ask, is.Now()); err != nil {
		return enroll.Revoked{}, err
	}
	if is.Wake != nil {
		is.Wake()
	}
	if is.Changed != nil { // what a later certificate ends is on the lists as soon as what people revoke
		is.Changed()
	}
	return done, nil
}

// issuerOf is the SM3 of the certificate under which one was issued.
func (is *Issuer) issuerOf(c Issued) ([]byte, error) {
	if is.top || is.Line == nil {
		return alg.Digest(is.Cert.Raw), nil
	}
	read, err := cert.Parse(c.DER)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", cert.SerialHex(c.Serial), err)
	}
	by := is.by(read)
	if by.Key == nil {
		return nil, NoWardKey.At("serial", NoWardKey.Clause)
	}
	return alg.Digest(by.Cert.Raw), nil
}

func (to change) item() string {
	switch {
	case !to.revoked:
		return "ca.unfreeze"
	case to.reason == hold:
		return "ca.freeze"
	}
	return "ca.revoke"
}

// retirement writes the message that retires keys; none needs none.
func (is *Issuer) retirement(keys [][]byte) (*Ask, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	task := newTask()
	message, err := is.Keys.Retire(task, keys, is.Now())
	if err != nil {
		return nil, fmt.Errorf("asking to retire keys: %w", err)
	}
	return &Ask{task, message}, nil
}

// twoPeople checks that a request carries the signatures of two people of the
// register, each over this very content: who asked, and who agreed.
func (is *Issuer) twoPeople(ctx context.Context, kind string, r enroll.Request, asked, agreed string) error {
	var who [2]access.Person
	for i, act := range []string{asked, agreed} {
		p, err := is.signer(ctx, kind, r, act)
		if err != nil {
			return err
		}
		who[i] = p
	}
	switch {
	case who[0].ID == who[1].ID:
		return NoEvidence.At("evidence", NoEvidence.Clause).Because("录入与审核为同一人")
	case !who[0].Holds(access.RAClerk):
		return NoEvidence.At("evidence", NoEvidence.Clause).Because("提交人不是录入员")
	case !who[1].Holds(access.RAReviewer):
		return NoEvidence.At("evidence", NoEvidence.Clause).Because("核准人不是审核员")
	}
	return nil
}

func (is *Issuer) signer(ctx context.Context, kind string, r enroll.Request, act string) (access.Person, error) {
	for _, e := range r.Evidence {
		if e.Signed.Act != act || !e.Covers(kind, r.ID, r.Content) {
			continue
		}
		cmd, err := is.Desk.Recheck(ctx, e.Signed)
		if err != nil {
			return access.Person{}, err
		}
		return cmd.Who(), nil
	}
	return access.Person{}, NoEvidence.At("evidence", NoEvidence.Clause).Because("没有覆盖此内容的 %s 签名", act)
}
