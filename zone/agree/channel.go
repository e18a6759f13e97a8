package agree

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"time"
)

// Channel is a place where strangers look. Ask asks it as they would; an error
// is a channel that gives no answer, not one that says something wrong.
type Channel interface {
	Name() string           // for programs: "ocsp"
	Title() string          // for people
	Expect(s Subject) State // what it must show of a certificate
	Ask(ctx context.Context, s Subject) (Answer, error)
}

// ripener is a channel where a certificate appears later than in the ledger:
// zero is at once.
type ripener interface{ Ripens(s Subject) time.Time }

// State is what a channel says of a certificate.
type State string

// States.
const (
	Good    State = "有效"
	Revoked State = "已撤销"
	Absent  State = "没有"
)

// Answer is what a channel says. Fields it cannot know are left empty.
type Answer struct {
	Silent bool   // it has nothing to say of such a subject
	Wrong  string // why nobody may believe it: a bad signature, a list that has run out
	State  State
	Reason int
	At     time.Time
	Digest []byte // of the certificate or list it shows
	Number int64  // of the list
}

// differs compares what a channel says with what the ledger says; the texts
// are empty when they agree. Fields the channel does not know do not count.
func differs(s Subject, a Answer, want State) (wanted, says string) {
	switch {
	case a.Silent:
		return "", ""
	case a.Wrong != "":
		return "可信的答复", a.Wrong
	case s.Scope != "":
		if a.Number > s.Number || a.Number == s.Number && bytes.Equal(a.Digest, s.Digest) {
			return "", ""
		}
		return fmt.Sprintf("第 %d 号 %s", s.Number, short(s.Digest)), fmt.Sprintf("第 %d 号 %s", a.Number, short(a.Digest))
	case a.State != want:
		return string(want), string(a.State)
	case want == Absent:
		return "", ""
	case a.Digest != nil && !bytes.Equal(a.Digest, s.Digest):
		return "证书 " + short(s.Digest), "证书 " + short(a.Digest)
	case want == Revoked && (a.Reason != s.Reason || !a.At.IsZero() && a.At.Unix() != s.At.Unix()):
		return said(s.Reason, s.At), said(a.Reason, a.At)
	}
	return "", ""
}

func said(reason int, at time.Time) string {
	return fmt.Sprintf("%s，原因 %d，%s", Revoked, reason, at.UTC().Format(time.RFC3339))
}

func short(digest []byte) string {
	if len(digest) == 0 {
		return "（无）"
	}
	return "SM3 " + hex.EncodeToString(digest[:min(8, len(digest))])
}

// expected is the state a channel must show: revoked, with a hold among the
// reasons, or good. What is not published in full is to be found nowhere that
// shows certificates.
func expected(s Subject) State {
	if s.Revoked {
		return Revoked
	}
	return Good
}
