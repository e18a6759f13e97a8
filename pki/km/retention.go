package km

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm3"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
)

// RetentionYears is how long an archived key is kept after it left use: more
// than ten years (GM/T 0034 §9.2.2).
const RetentionYears = 10

const retentionClause = "GM/T 0034 §9.2.2"

// RetentionStore finds and destroys archived keys whose time has come. Each call
// happens wholly or not at all.
type RetentionStore interface {
	// Due returns up to limit records of the history retired before at, in order
	// of their pairs, after a pair's number.
	Due(ctx context.Context, before time.Time, pair int64, limit int) ([]Record, error)
	// Destroy takes the private keys of up to limit such records away for good and
	// notes each as destroyed under a proposal. line gets the number as its detail;
	// none, no line.
	Destroy(ctx context.Context, proposal string, before, at time.Time, limit int, line audit.Entry) (int, error)
	// Destroyed returns up to limit records destroyed under a proposal, in order of
	// their pairs, after a pair's number; their pairs have no private key.
	Destroyed(ctx context.Context, proposal string, pair int64, limit int) ([]Record, error)
	// WasDestroyed reports when and under which proposal a certificate's key was
	// destroyed.
	WasDestroyed(ctx context.Context, ca string, serial []byte) (at time.Time, proposal string, ok bool, err error)
}

// Retention destroys archived keys after their time: one asks, two agree.
// (归档密钥销毁)
type Retention struct {
	Vault *Vault
	Store RetentionStore
}

// Order is what a destruction says: everything that left use before a day, so
// many keys, whose list has this digest.
type destruction struct {
	Before string `json:"before"` // 2014-01-31: left use on an earlier day, in Beijing
	Reason string `json:"reason"`
	Count  int    `json:"count,omitempty"`
	Digest string `json:"digest,omitempty"` // SM3 over the lines of the list
}

var beijing = time.FixedZone("CST", 8*60*60)

// Matter is the destruction of archived keys: an operator asks, a business
// administrator agrees, the super administrator releases.
func (t *Retention) Matter() proposal.Matter {
	return proposal.Matter{
		Name: "km.destroy", Title: "销毁到期的归档密钥", Clause: retentionClause, Propose: access.KMOperator, Confirm: access.KMAdmin, Quorum: 1, Release: access.KMSuper,
		Fields: []proposal.Field{{Name: "before", Title: "退出使用早于", Kind: "date", Need: true, Hint: fmt.Sprintf("须早于 %d 年前的今天", RetentionYears)}, {Name: "reason", Title: "原因", Kind: "long", Need: true}},
		Read:   t.read, Do: t.do,
	}
}

// limit is the newest day that may be named.
func (t *Retention) limit() time.Time {
	y, m, d := t.Vault.Now().In(beijing).Date()
	return time.Date(y-RetentionYears, m, d, 0, 0, 0, 0, beijing)
}

func (t *Retention) day(text string) (time.Time, error) {
	day, err := time.ParseInLocation("2006-01-02", text, beijing)
	if err != nil {
		return day, NotDue.At("before", retentionClause).Because("应为日期，如 2014-01-31").ToFix("请填写日期")
	}
	if day.After(t.limit()) {
		return day, NotDue.At("before", retentionClause).Because("至早可销毁 %s 之前退出使用的密钥", t.limit().Format("2006-01-02"))
	}
	return day, nil
}

func (t *Retention) read(ctx context.Context, content []byte) (proposal.Shown, error) {
	var o destruction
	if err := strict.JSON(content, &o); err != nil {
		return proposal.Shown{}, NotDue.At("content", retentionClause).Because("字段为 before、reason").ToFix("请按字段填写")
	}
	day, err := t.day(o.Before)
	if err != nil {
		return proposal.Shown{}, err
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(o.Reason)); n == 0 || n > 200 {
		return proposal.Shown{}, NotDue.At("reason", retentionClause).Because("应写明原因，至多 200 字").ToFix("请填写原因")
	}
	count, digest, err := t.list(ctx, func(pair int64) ([]Record, error) { return t.Store.Due(ctx, day, pair, walkBatch) })
	if err != nil {
		return proposal.Shown{}, err
	}
	if count == 0 {
		return proposal.Shown{}, NotDue.At("before", retentionClause).Because("历史库中没有 %s 之前退出使用的密钥", o.Before).ToFix("hufu as km-operator km due 列出到期的密钥")
	}
	if o.Digest != "" && (o.Digest != digest || o.Count != count) {
		return proposal.Shown{}, NotDue.At("digest", retentionClause).Because("清单已变").ToFix("请重新提议")
	}
	o.Count, o.Digest = count, digest
	canonical, err := json.Marshal(o)
	return proposal.Shown{Content: canonical, Title: fmt.Sprintf("%s 之前退出使用的 %d 个密钥", o.Before, count), Lines: []proposal.Line{
		{Name: "退出使用早于", Value: o.Before}, {Name: "密钥数量", Value: strconv.Itoa(count)}, {Name: "清单 SM3", Value: digest}, {Name: "原因", Value: o.Reason},
	}}, err
}

// list counts records and digests one line for each: CA and serial.
func (t *Retention) list(ctx context.Context, page func(pair int64) ([]Record, error)) (count int, digest string, err error) {
	var h hash.Hash = sm3.New()
	for last := int64(0); ; {
		list, err := page(last)
		if err != nil {
			return 0, "", err
		}
		for _, r := range list {
			fmt.Fprintf(h, "%s %s\n", r.CA, cert.SerialHex(r.Serial))
			last = r.ID
		}
		if count += len(list); len(list) < walkBatch || ctx.Err() != nil {
			return count, hex.EncodeToString(h.Sum(nil)), ctx.Err()
		}
	}
}

// DestroyMinutes are what is kept of a destruction, signed by the centre. (销毁纪要)
type DestroyMinutes struct {
	Proposal  string   `json:"proposal"`
	Before    string   `json:"before"`
	Count     int      `json:"count"`
	Digest    string   `json:"digest"`
	Reason    string   `json:"reason"`
	At        string   `json:"at"`
	Signed    []Signed `json:"signed"`    // statements of who asked and who agreed
	Signature []byte   `json:"signature"` // of the centre, over the JSON with this empty
}

// Verify checks that minutes are what the centre signed.
func (m DestroyMinutes) Verify(centre *cert.Certificate) error {
	sig := m.Signature
	m.Signature = nil
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return alg.Verify(centre.PublicKey(), text, sig)
}

// do destroys what is on the list. Interrupted, it goes on.
func (t *Retention) do(ctx context.Context, r proposal.Record) ([]byte, error) {
	var o destruction
	if err := json.Unmarshal(r.Content, &o); err != nil {
		return nil, err
	}
	day, err := t.day(o.Before)
	if err != nil {
		return nil, err
	}
	begun, err := t.Store.Destroyed(ctx, r.ID, 0, 1)
	if err != nil {
		return nil, err
	}
	if len(begun) == 0 {
		if _, err := t.read(ctx, r.Content); err != nil { // another may have come first
			return nil, err
		}
	}
	for {
		now := t.Vault.Now()
		line := audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.destroy", Object: r.ID, Result: audit.Done}
		n, err := t.Store.Destroy(ctx, r.ID, day, now, walkBatch, line)
		if err != nil {
			return nil, fmt.Errorf("destroying archived keys: %w", err)
		}
		if n == 0 {
			break
		}
	}
	return t.minutes(ctx, r, o)
}

func (t *Retention) minutes(ctx context.Context, r proposal.Record, o destruction) ([]byte, error) {
	count, digest, err := t.list(ctx, func(pair int64) ([]Record, error) { return t.Store.Destroyed(ctx, r.ID, pair, walkBatch) })
	if err != nil {
		return nil, err
	}
	if count != o.Count || digest != o.Digest {
		return nil, errors.New("what was destroyed is not what was agreed")
	}
	m := DestroyMinutes{Proposal: r.ID, Before: o.Before, Count: count, Digest: digest, Reason: o.Reason, At: t.Vault.Now().UTC().Format(time.RFC3339)}
	for _, e := range r.Events {
		m.Signed = append(m.Signed, Signed{string(e.Signed.Text), e.Signed.Signature, e.Signed.Cert})
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	key, err := t.Vault.Device.Signer(t.Vault.Identity)
	if err != nil {
		return nil, err
	}
	if m.Signature, err = alg.Sign(key, text); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// DueLine is one archived key whose time has come.
type DueLine struct {
	Pair    int64     `json:"pair"`
	Serial  string    `json:"serial"`
	User    string    `json:"user"`
	Retired time.Time `json:"retired"`
}

// DueList is a page of what may be destroyed, as a dry run: nothing changes.
type DueList struct {
	Before string    `json:"before"`
	Total  int       `json:"total"`
	Digest string    `json:"digest"`
	Keys   []DueLine `json:"keys"`
}

// Dry lists what a destruction would destroy; the day is the newest allowed when
// none is given.
func (t *Retention) Dry(ctx context.Context, before string, after int64) (l DueList, err error) {
	if before == "" {
		before = t.limit().Format("2006-01-02")
	}
	day, err := t.day(before)
	if err != nil {
		return l, err
	}
	l = DueList{Before: before, Keys: []DueLine{}}
	if l.Total, l.Digest, err = t.list(ctx, func(pair int64) ([]Record, error) { return t.Store.Due(ctx, day, pair, walkBatch) }); err != nil {
		return l, err
	}
	page, err := t.Store.Due(ctx, day, after, walkBatch)
	for _, r := range page {
		l.Keys = append(l.Keys, DueLine{r.ID, cert.SerialHex(r.Serial), r.UserName, r.RetiredAt})
	}
	return l, err
}
