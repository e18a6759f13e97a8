// Package ra takes applications, has them reviewed by other eyes, and hands out
// what the CA issued. (注册管理)
//
// A verb fetches, decides by a table of lawful steps and keeps the result in
// one transaction with the signed command and the audit line.
package ra

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/body"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Record is a case and what it is about.
type Record struct {
	casework.Case
	Content    []byte // canonical application or revocation
	Title      string // subject's CN, for lists
	Profile    string
	KeyHash    []byte // SM3 of the signing key
	Follows    string // case of the certificate it follows; empty for a first one
	KeepsKey   bool   // the signing key goes on from there
	Identity   Sealed
	Body       string // registration body that took it; empty for the institution's own
	Batch      string
	Row        int // of the sheet; 0 if none
	CreatedBy  access.PersonID
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Reply      enroll.Reply
	SignSerial string
	EncSerial  string
	Trouble    *refusal.Report // what the CA said no with, last
}

// Sealed is an identity number at rest: encrypted together with the salt its
// public commitment was made with, and a blind index to find it by.
type Sealed struct {
	Number hsm.Wrapped
	Salted bool   // the salt is sealed with the number
	Salt   []byte // in the clear beside it; earlier cases only
	Blind  []byte
}

// Save is a case after a move, to be stored.
type Save struct {
	Record  Record
	Move    casework.Move
	Claim   bool  // the key becomes live
	Release bool  // the key is free again, or goes back to the case this one follows
	Unit    *Unit // the register says this from now on
}

// Query finds cases. Empty fields match all.
type Query struct {
	State   casework.State
	States  []casework.State // any of these, when State is empty
	Kind    string
	Profile string
	Text    string // part of the title, an id, a serial or a batch
	Batch   string
	Follows string
	Blind   []byte // exact identity number
	By      access.PersonID
	Within  []string  // bodies that took it; nil for all
	From    time.Time // created at or after
	To      time.Time // created before
	After   string    // id of the last case of the page before
	Limit   int
}

// Batch is a sheet that was taken in.
type Batch struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Digest []byte          `json:"digest"`
	By     access.PersonID `json:"by"`
	At     time.Time       `json:"at"`
	Body   string          `json:"body,omitempty"` // registration body that brought it
	Rows   []Row           `json:"rows"`
}

// Row is what became of one line of a sheet: a case, or a refusal.
type Row struct {
	Line    int             `json:"row"`
	ID      string          `json:"id,omitempty"`
	Refusal *refusal.Report `json:"refusal,omitempty"`
}

// Store keeps cases. Each call happens wholly or not at all.
type Store interface {
	// Case returns one; NoCase if there is none.
	Case(ctx context.Context, id string) (Record, error)
	// Draft stores new or corrected drafts; an id that is no draft of that person
	// is refused.
	Draft(ctx context.Context, list []Record, batch *Batch, lines []audit.Entry) error
	// Save stores moves with the command that made them, and refuses a stale one,
	// of a case or a content that has moved on (casework.Stale), a key that is live already (KeyInUse), a statement used
	// before (access.Replayed).
	Save(ctx context.Context, by access.Command, saves []Save, lines []audit.Entry) error
	// Waiting returns cases in a state for the worker, in order of their ids, those
	// after one first and then from the beginning: a look after the last of the
	// look before comes round to everybody.
	Waiting(ctx context.Context, kind string, s casework.State, after string, limit int) ([]Record, error)
	// Find lists cases, newest first, without events.
	Find(ctx context.Context, q Query) ([]Record, error)
	// Counts counts cases by kind and state; within are the bodies that took them,
	// nil for all.
	Counts(ctx context.Context, within []string) (map[string]map[casework.State]int, error)
	// KeyHolder returns the live case of a key, or "".
	KeyHolder(ctx context.Context, keyHash []byte) (string, error)
	// Escrowed reports whether a key was ever given out as an encryption key.
	Escrowed(ctx context.Context, keyHash []byte) (bool, error)
	// BySerial returns the case a certificate was issued in; NotLive if none.
	BySerial(ctx context.Context, serial string) (Record, error)
	// BatchByDigest finds a sheet taken in before; ok is false if there is none.
	BatchByDigest(ctx context.Context, digest []byte) (b Batch, ok bool, err error)
	// Batch returns one; NoCase if there is none.
	Batch(ctx context.Context, id string) (Batch, error)
	// Batches lists sheets without their rows, newest first; after is the id of
	// the last of the page before.
	Batches(ctx context.Context, within []string, after string, limit int) ([]Batch, error)
	// BatchCounts counts the cases of a sheet by state.
	BatchCounts(ctx context.Context, id string) (map[casework.State]int, error)
	EvidenceStore
	ReadingStore
	UnitStore
	BulkStore
	ReminderStore
	RetentionStore
	FigureStore
	// Refuse writes a refusal of authority to the trail.
	Refuse(ctx context.Context, line audit.Entry) error
}

// CA is the certification authority as the RA sees it.
type CA interface {
	Issue(ctx context.Context, requests []enroll.Request) ([]Answer, error)
	Revoke(ctx context.Context, request enroll.Request) (enroll.Revoked, error)
}

// Answer is what became of one request.
type Answer struct {
	Reply   enroll.Reply
	Refusal *refusal.Refusal
}

// Registrar is the registration desk.
type Registrar struct {
	Store    Store
	CA       CA
	Profiles profile.Set   // those the product comes with
	Book     *profile.Book // those the CA told of, in their place; may be nil
	Desk     access.Desk
	Self     access.Desk // of subscribers, for self-service
	Device   hsm.Device
	Master   string         // wraps identity numbers
	BlindKey []byte         // HMAC key of the blind index
	CPS      string         // version of the practice statement in force
	Accord   string         // version of the service agreement
	Bodies   *body.Register // who registers for whom; nil where there is only one body
	Bars     *Bars          // what the CA said of them; nil knows of none
	Now      func() time.Time
	// Seal signs a file for the CA, Open reads one of the CA's; nil where nothing is
	// issued offline.
	Seal func(v any) ([]byte, error)
	Open func(data []byte, v any) ([]byte, error)
	Wake func() // something was approved; may be nil
	// Read is told of each reading of personal data, for the figures; may be nil.
	Read func(way string, people int)

	round map[string]string // by kind, the last case the worker looked at
}
