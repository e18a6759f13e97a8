// Package km keeps the key pairs of subscribers' encryption certificates. (密钥管理)
//
// Pairs are made before they are needed and lie in the standby store (备用库);
// a CA's request moves one to the in-use store (在用库), bound to the serial of
// the certificate to be issued; revocation or the end of the certificate moves
// it to the history (历史库). Private keys are wrapped by the device at all
// times (GM/T 0034 §6). Requests and answers are the messages of GM/T 0014.
//
// A message is put on record together with its effect before anything is
// sealed. When something fails in between, the CA sends the same bytes again
// and gets the same pairs: recovery is the ordinary path.
package km

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/kmmsg"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/wire/escrow"
)

// State is the store a pair lies in.
type State int

// The three stores of GM/T 0034 §6.2.
const (
	Standby State = iota + 1 // 备用
	InUse                    // 在用
	History                  // 历史
)

// Record is a pair bound to a certificate.
type Record struct {
	ID        int64 // of the pair; no two records share one
	State     State
	Pair      hsm.Pair
	CA        string // as Authority names it
	Serial    []byte // of the encryption certificate
	From, To  time.Time
	UserName  string
	Region    string
	SealedTo  []byte // the signing key it was last sealed to
	Task      []byte // of the message that took it
	TakenAt   time.Time
	RetiredAt time.Time // zero while in use
}

// Task is a message on record. It is open until it has a response.
type Task struct {
	CA       string
	No       []byte
	Digest   []byte // SM3 of the request's bytes
	Outcome  []byte // errNo of each request, 0 for granted
	Response []byte
	At       time.Time
}

// Effect is what a message does to the stores, all of it or nothing.
type Effect struct {
	Outcome []byte
	Take    []Record // each gets a pair
	Reseal  []Record // CA, Serial and the new SealedTo
	Retire  [][]byte // serials of this CA, in-use to history
	Lines   []audit.Entry
}

// ErrShort is returned by Begin when the standby store holds too few pairs.
var ErrShort = errors.New("km: standby store is short")

// Store keeps pairs and messages. Each method happens wholly or not at all,
// and writes its audit lines in the same transaction.
type Store interface {
	// Task returns the message on record under a CA's task number, if any.
	Task(ctx context.Context, ca string, no []byte) (Task, bool, error)
	// Begin puts a message on record with its effect and returns it with the
	// records under serials as they are afterwards. decide sees the records as
	// they are before, while no other message can change them, and may be called
	// more than once. Every record taken gets a pair of its own: from fresh when
	// given, else the oldest of the standby store, else ErrShort. A message
	// already on record is returned as it is, with no effect.
	Begin(ctx context.Context, t Task, serials [][]byte, fresh []hsm.Pair, decide func(held map[string]Record) Effect) (Task, map[string]Record, error)
	// Finish keeps the response to an open message and returns the one on record:
	// the first wins.
	Finish(ctx context.Context, t Task, line audit.Entry) ([]byte, error)
	// Deposit adds pairs to the standby store.
	Deposit(ctx context.Context, pairs []hsm.Pair, line audit.Entry) error
	// Expire moves up to limit in-use pairs whose certificates ended before at to
	// the history. line gets the number as its detail; none, no line.
	Expire(ctx context.Context, at time.Time, limit int, line audit.Entry) (int, error)
	// Forget drops the responses of messages that came before at.
	Forget(ctx context.Context, before time.Time, limit int) (int, error)
	// Record returns the pair of a certificate, in use or history.
	Record(ctx context.Context, ca string, serial []byte) (Record, bool, error)
	// Count reports how many pairs lie in each store, in constant time.
	Count(ctx context.Context) (map[State]int, error)
	// Note writes one audit line in a transaction of its own.
	Note(ctx context.Context, line audit.Entry) error
}

// Vault answers CAs and keeps the pool filled. Its fields are set before first
// use and not changed after.
type Vault struct {
	Store     Store
	Device    hsm.Device
	Master    string   // label of the wrapping key for new pairs
	Identity  string   // label of the signing key
	Cert      []byte   // the centre's own certificate, DER
	CAs       [][]byte // certificates of the CA servers registered here, DER
	Now       func() time.Time
	Low, High int // watermarks of the standby store, until others are on record
	// Marks returns the watermarks on record; may be nil.
	Marks func(ctx context.Context) (low, high int, ok bool, err error)
	// Wrapping returns the master key in force, empty for Master; may be nil.
	Wrapping func(ctx context.Context) (string, error)

	once    sync.Once
	self    *cert.Certificate
	known   []authority
	bad     error // the configuration's fault, if any
	wake    chan struct{}
	filling sync.Mutex
}

// authority is a registered CA.
type authority struct {
	id   string
	name string
	cert *cert.Certificate
}

// Authority is the name a CA's records are kept under. It follows the subject,
// so that a CA keeps its records when its server certificate is renewed.
func Authority(c *cert.Certificate) string { return hex.EncodeToString(alg.Digest(c.Subject)[:16]) }

func (v *Vault) ready() error {
	v.once.Do(func() {
		v.wake = make(chan struct{}, 1)
		if v.self, v.bad = cert.Parse(v.Cert); v.bad != nil {
			v.bad = fmt.Errorf("key centre's own certificate: %w", v.bad)
			return
		}
		for i, der := range v.CAs {
			c, err := cert.Parse(der)
			if err != nil {
				v.bad = fmt.Errorf("certificate of registered CA %d: %w", i, err)
				return
			}
			v.known = append(v.known, authority{Authority(c), dn.Text(c.Subject), c})
		}
	})
	return v.bad
}

// call is one message being answered.
type call struct {
	*kmmsg.SignedRequest
	ca     authority
	digest []byte
	start  time.Time
	source string
}

// Answer answers a CARequest with a KMRespond. Messages that nobody registered
// here has signed are refused; everything else gets a signed answer, with an
// error number for each request that is not granted.
func (v *Vault) Answer(ctx context.Context, request []byte) ([]byte, error) {
	if err := v.ready(); err != nil {
		return nil, err
	}
	c := &call{digest: alg.Digest(request), start: v.Now(), source: escrow.Source(ctx)}
	if no := v.admit(c, request); no != nil {
		return nil, v.turnAway(ctx, c, no)
	}
	task, known, err := v.Store.Task(ctx, c.ca.id, c.Task)
	if err != nil {
		return nil, fmt.Errorf("reading task: %w", err)
	}
	if !known && outside(c.At, c.start) {
		return v.reject(ctx, c, OutOfTime)
	}
	var held map[string]Record
	if task.Response == nil {
		if task, held, err = v.begin(ctx, c); err != nil {
			return nil, fmt.Errorf("recording task: %w", err)
		}
	}
	if !bytes.Equal(task.Digest, c.digest) {
		return v.reject(ctx, c, Replayed)
	}
	if task.Response != nil {
		return task.Response, v.note(ctx, c, "km.resend", audit.Done, "")
	}
	return v.finish(ctx, c, task, held)
}

func outside(at, now time.Time) bool {
	age := now.Sub(at)
	return age > window || age < -window
}

// admit finds out who speaks: a registered CA, by its key and the serial of
// its certificate, whose signature holds over the bytes received.
func (v *Vault) admit(c *call, request []byte) *refusal.Refusal {
	var err error
	if c.SignedRequest, err = kmmsg.ParseRequest(request); err != nil {
		return Malformed.Because("%v", err)
	}
	i := slices.IndexFunc(v.known, func(a authority) bool { return c.CA.Is(a.cert) })
	if i < 0 {
		return UnknownCA.At("caName", UnknownCA.Clause)
	}
	ca := v.known[i]
	if err := c.Verify(ca.cert); err != nil {
		return BadSignature.At("signatureValue", BadSignature.Clause).Because("%s", ca.name)
	}
	if c.start.Before(ca.cert.NotBefore) || c.start.After(ca.cert.NotAfter) {
		return UnknownCA.At("caName", UnknownCA.Clause).Because("%s 的服务器证书不在有效期内", ca.name)
	}
	c.ca = ca // from here on the speaker is known
	return nil
}

// turnAway puts a refusal on the trail and returns it.
func (v *Vault) turnAway(ctx context.Context, c *call, no *refusal.Refusal) error {
	if err := v.note(ctx, c, "km.message", no.Reason.Code, no.Detail); err != nil {
		return err
	}
	return no
}

// reject answers every request of a message with one error number. Nothing but
// the trail is changed: the CA may correct the message and send it again.
func (v *Vault) reject(ctx context.Context, c *call, why *refusal.Reason) ([]byte, error) {
	answers := make([]kmmsg.Answer, len(c.Asks))
	for i := range answers {
		answers[i] = failed(Number(why))
	}
	if err := v.note(ctx, c, "km.message", why.Code, ""); err != nil {
		return nil, err
	}
	return v.sign(c, answers)
}

func failed(no int) kmmsg.Answer {
	return kmmsg.Answer{Kind: kmmsg.Failed, ErrNo: no, ErrDesc: numbers[no].Text}
}

func (v *Vault) sign(c *call, answers []kmmsg.Answer) ([]byte, error) {
	key, err := v.Device.Signer(v.Identity)
	if err != nil {
		return nil, fmt.Errorf("key centre's signing key: %w", err)
	}
	return kmmsg.Response{KM: kmmsg.EntityOf(v.self), Answers: answers, At: v.Now(), Task: c.Task}.Sign(key)
}

// line is an audit entry about a message (GM/T 0034 §8.2.6.2).
func (v *Vault) line(c *call, item, result string) audit.Entry {
	e := audit.Entry{Start: c.start, End: v.Now(), Who: "ca:" + c.ca.name, Role: "machine", Item: item, Result: result, Source: c.source}
	if c.ca.cert == nil {
		e.Who = "unknown"
	}
	if c.SignedRequest != nil {
		e.Object = hex.EncodeToString(c.Task)
	}
	return e
}

func (v *Vault) note(ctx context.Context, c *call, item, result, detail string) error {
	e := v.line(c, item, result)
	e.Detail = detail
	if err := v.Store.Note(ctx, e); err != nil {
		return fmt.Errorf("writing audit line: %w", err)
	}
	return nil
}
