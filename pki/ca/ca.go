// Package ca issues and revokes certificates. (证书签发)
//
// What is about to be signed is on record before the key is used, so that no
// signature is ever unaccounted for; a request interrupted anywhere is finished
// by asking again. The core re-checks what people signed at the registration
// desk: its own register, its own eyes.
package ca

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// State is how far a request has come.
type State int

// A request goes from Opened (serials reserved, keys asked for) to Intended
// (drafts on record) to Recorded (signed). A single certificate starts at
// Intended: there is nobody to ask.
const (
	None State = iota
	Opened
	Intended
	Recorded
)

// Job is one request on record. Its zero value has not started.
type Job struct {
	ID       string
	State    State
	Content  []byte // the application as people signed it
	Digest   []byte // SM3 of it
	KeyHash  []byte // SM3 of the signing key: one live certificate per key
	Serials  Pair   // reserved
	From, To time.Time
	Task     int64 // of the message to the key centre; 0 for a single certificate
	TBS      Pair  // drafts on record
	Sealed   []byte
	DER      Pair // what was signed
	Shards   [2]int
	Follows  string    // request of the certificate it follows; empty for a first one
	KeepsKey bool      // the signing key goes on from there
	Body     string    // registration body that took it; empty for the institution's own
	Due      time.Time // when its certificates come into the directory; zero is at once
	Escrow   []byte    // serial of the encryption certificate whose key is recovered; nil otherwise

	EncKeyHash []byte // SM3 of a new encryption key, when its draft is recorded: nobody's signing key ever after
}

// Pair is one value for each certificate of a pair; Enc is nil for a single one.
type Pair struct{ Sign, Enc []byte }

// Ask is a signed message to the key centre, kept until it is answered.
type Ask struct {
	Task    int64
	Message []byte
}

// Store remembers what the CA meant to sign and what it signed. Each call
// happens wholly or not at all and is durable when it returns.
type Store interface {
	// Jobs returns the requests that are on record.
	Jobs(ctx context.Context, ids []string) (map[string]Job, error)
	// Open puts new requests on record with their reserved serials and the message
	// asking for their keys, if any. A serial used before, a key that already has a
	// live certificate (KeyInUse) or was ever given out as an encryption key
	// (KeyEscrowed) is refused; so is an ID on record.
	Open(ctx context.Context, jobs []Job, ask *Ask, at time.Time) error
	// Ask returns the message that asked for a task's keys.
	Ask(ctx context.Context, task int64) (Ask, error)
	// Intend puts drafts on record. It refuses a second one for a request, and an
	// encryption key that was given before: nothing is signed over it.
	Intend(ctx context.Context, jobs []Job, at time.Time) error
	// Abandon closes opened requests that the key centre refused for good: their
	// keys are free, their serials stay used, and their IDs may be opened anew.
	Abandon(ctx context.Context, jobs []Job, lines []audit.Entry) error
	// Record stores certificates, their ledger entries and the audit lines.
	Record(ctx context.Context, jobs []Job, entries []Publication, lines []audit.Entry, at time.Time) error

	StatusStore
	LineStore
	ResponderStore
	RuleStore
	ReleaseStore
	// Refuse writes a refusal of authority to the trail, in its own transaction.
	Refuse(ctx context.Context, line audit.Entry) error
}

// Publication is a ledger entry and what else the store needs to serve it.
type Publication struct {
	Leaf []byte
	Body []byte // DER that lies beside the tiles; nil if none
}

// KeyCentre is the key management system as the CA sees it (GM/T 0014).
type KeyCentre interface {
	// Apply writes the signed message that asks for key pairs.
	Apply(task int64, asks []KeyAsk, now time.Time) ([]byte, error)
	// Retire writes the signed message that retires key pairs.
	Retire(task int64, serials [][]byte, now time.Time) ([]byte, error)
	// Send sends a message, again if need be, and checks the answers.
	Send(ctx context.Context, message []byte) ([]KeyAnswer, error)
}

// KeyAsk asks for an encryption key pair.
type KeyAsk struct {
	Serial   []byte // reserved for the encryption certificate, or of the one whose key is to be recovered
	Point    []byte // the subscriber's signing key: seals the answer
	Restore  bool   // a recovery
	Name     string
	From, To time.Time
}

// KeyAnswer is one pair, or why there is none.
type KeyAnswer struct {
	Serial   []byte
	Point    []byte
	Sealed   []byte // SM2EnvelopedKey
	Envelope []byte // the same as the key centre sent it (GM/T 0010)
	Refused  string
}

// Issuer signs certificates with one key.
type Issuer struct {
	Key      crypto.Signer // an HSM's, in production
	Cert     *cert.Certificate
	Root     *cert.Certificate
	Store    Store
	Keys     KeyCentre
	Profiles profile.Set
	Gates    Gates
	Desk     access.Desk    // of the registration staff
	Bodies   *body.Register // who registers for whom; nil where nobody does for another
	Public   string         // base URL in certificates
	Silent   bool           // a root without a responder: its certificates name none
	Now      func() time.Time
	Wake     func() // the ledger has grown; may be nil
	Rules    *Rules // changes of profiles and settings; nil where Profiles are all there is
	Changed  func() // a status has changed, and lists are behind; may be nil
	Line     *Line  // its keys over time; nil for one that keeps its key

	top        bool    // it is the root: what it issues stands in the ARL
	first      *Issuer // with the first key; nil for itself
	generation int
	ward       bool // taken over: it certifies nobody but its responder
}

// AsRoot is an issuer on the same records that signs with the root's key.
func (is *Issuer) AsRoot(key crypto.Signer) *Issuer {
	root := *is
	root.Key, root.Cert, root.top, root.Line, root.first, root.generation = key, is.Root, true, nil, nil, 0
	return &root
}

// Kinds of cases whose evidence the CA needs, as the desk names them.
const (
	IssueKind    = "ra.issue"
	RecoverKind  = "ra.recover"
	RevokeKind   = "ra.revoke"
	FreezeKind   = "ra.freeze"
	UnfreezeKind = "ra.unfreeze"
)

// Result is what became of one request.
type Result struct {
	Reply enroll.Reply
	Err   error // a refusal, or a failure
}

// Issue turns requests into certificates. Each is answered by itself; asking
// again finishes what was interrupted and repeats what was finished.
func (is *Issuer) Issue(ctx context.Context, requests []enroll.Request) ([]Result, error) {
	is = is.Current()
	results := make([]Result, len(requests))
	if len(requests) > enroll.BatchMax {
		return nil, TooMany.Because("%d", len(requests))
	}
	ids := make([]string, len(requests))
	for i, r := range requests {
		if slices.Contains(ids[:i], r.ID) {
			results[i].Err = BadContent.At("id", BadContent.Clause).Because("%.64q 在本批中重复", r.ID)
		}
		ids[i] = r.ID
	}
	known, err := is.Store.Jobs(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("looking up requests: %w", err)
	}
	w := &work{is: is, jobs: make([]*job, len(requests)), results: results}
	w.admit(ctx, requests, known)
	for _, step := range []func(context.Context) error{w.open, w.fetchKeys, w.intend, w.record, w.settle} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	for i, j := range w.jobs {
		if results[i].Err == nil && j != nil {
			results[i].Reply = enroll.Reply{Sign: j.DER.Sign, Enc: j.DER.Enc, Sealed: j.Sealed}
		}
	}
	return results, nil
}

// place is where a certificate's status is found.
func (is *Issuer) place(shard int) profile.Place {
	at := Place(is.Public, shard)
	if is.generation > 0 {
		at.Issuer = is.Public + "/aia/" + IssuerFile(is.Cert.Point)
	}
	if is.Silent {
		at.OCSP = ""
	}
	return at
}

// Place is where the status of a shard's certificates is found under a base URL.
func Place(public string, shard int) profile.Place {
	if shard == Authorities {
		return profile.Place{CRL: public + "/crl/arl.crl", OCSP: public + "/ocsp", Issuer: public + "/aia/root.cer"}
	}
	return profile.Place{
		CRL:    public + "/crl/" + ScopeOf(shard) + ".crl",
		OCSP:   public + "/ocsp",
		Issuer: public + "/aia/ca.cer",
	}
}

// ShardOf is the shard a serial's low bits name, as settings nobody changed have
// it.
func ShardOf(serial []byte) int { return int(serial[len(serial)-1]) % Shards }

// name is what people call a subject.
func name(n dn.Name) string { return n.CN }
