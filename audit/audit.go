// Package audit keeps what was done, by whom, and what was refused. (安全审计)
//
// An entry is written in the transaction of its effect, so neither can be had
// without the other; a refusal of authority has a transaction of its own. The
// trail is a private ledger: the auditor's mark is a further signed entry and
// nothing is ever changed (GM/T 0034 §5.3.8, §10.5).
package audit

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

//go:embed schema/*.sql
var schema embed.FS

// Log is the name of the audit ledger within a database.
const Log = "audit"

// Kinds of leaves.
const (
	KindAct  = "audit"      // something was done or refused
	KindMark = "audit-mark" // an auditor has seen what came before
)

// Done is the result of an act that took effect; a refusal has its code.
const Done = "done"

// Entry is one line of the trail (GM/T 0034 §5.3.8: operator, item, start and
// end, certificate serial, result; §8.2.6.2: source address).
type Entry struct {
	Start  time.Time
	End    time.Time
	Who    string // person id, or "system:…"
	Role   string
	Item   string // "ra.approve"
	Object string // case, request or batch id
	Serial string // certificate serial, hex
	Result string
	Source string // network address
	Detail string
	Proof  []byte // SM3 of the signed statement and its signature; empty for a process
}

func (e Entry) leaf() []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(e.Start.UnixMilli())
		b.AddASN1Int64(e.End.UnixMilli())
		for _, s := range []string{e.Who, e.Role, e.Item, e.Object, e.Serial, e.Result, e.Source, e.Detail} {
			b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
		}
		b.AddASN1OctetString(e.Proof)
	})
	return record.Entry{Kind: KindAct, At: e.End, Body: b.BytesOrPanic()}.Bytes()
}

// ParseEntry reads the body of a KindAct leaf.
func ParseEntry(body []byte) (e Entry, err error) {
	s := cryptobyte.String(body)
	var seq, proof cryptobyte.String
	var start, end int64
	ok := s.ReadASN1(&seq, cbasn1.SEQUENCE) && s.Empty() && seq.ReadASN1Integer(&start) && seq.ReadASN1Integer(&end)
	for _, to := range []*string{&e.Who, &e.Role, &e.Item, &e.Object, &e.Serial, &e.Result, &e.Source, &e.Detail} {
		var raw cryptobyte.String
		ok = ok && seq.ReadASN1(&raw, cbasn1.UTF8String)
		*to = string(raw)
	}
	if !ok || !seq.ReadASN1(&proof, cbasn1.OCTET_STRING) || !seq.Empty() {
		return e, errors.New("not an audit entry")
	}
	e.Start, e.End, e.Proof = time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC(), proof
	return e, nil
}

// Migrate prepares a database to hold a trail.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	if err := ledger.Migrate(ctx, db); err != nil {
		return err
	}
	return db.Migrate(ctx, "audit", files)
}

// Append writes entries within the transaction of their effect. If it fails
// the act must fail with it; so it does while the trail cannot be sealed.
func Append(tx *sqldb.Tx, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := held(tx, entries); err != nil {
		return err
	}
	leaves := make([][]byte, len(entries))
	for i := range entries {
		entries[i].tidy()
		leaves[i] = entries[i].leaf()
	}
	first, err := ledger.Append(tx, Log, leaves...)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	rows := make([][]any, len(entries))
	for i, e := range entries {
		rows[i] = []any{first + int64(i), e.End.UnixMilli(), e.Who, e.Item, e.Object, e.Serial, e.Result}
	}
	if err := tx.InsertMany(`INSERT INTO audit_entry (idx, at, who, item, object, serial, result)`, rows); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// textMax bounds each text of an entry.
const textMax = 2000

// tidy makes every text one that any database takes: a refusal must not escape
// the trail because of what the person it turned away has written.
func (e *Entry) tidy() {
	for _, s := range []*string{&e.Who, &e.Role, &e.Item, &e.Object, &e.Serial, &e.Result, &e.Source, &e.Detail} {
		*s = cut(strings.ReplaceAll(strings.ToValidUTF8(*s, "\uFFFD"), "\x00", "\uFFFD"))
	}
}

func cut(s string) string {
	if len(s) <= textMax {
		return s
	}
	i := textMax
	for !utf8.RuneStart(s[i]) { // never inside a character
		i--
	}
	return s[:i] + "…"
}
