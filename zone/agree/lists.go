package agree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
)

// lists downloads revocation lists where certificates say they lie.
type lists struct {
	name, title string
	// scope is the list that speaks of a subject; empty for none.
	scope func(s Subject) string
	shelf *shelf
}

func (c lists) Name() string  { return c.name }
func (c lists) Title() string { return c.title }

func (lists) Expect(s Subject) State { return expected(s) }

func (c lists) Ask(ctx context.Context, s Subject) (Answer, error) {
	scope := c.scope(s)
	if scope == "" || s.Issuer == nil || s.Scope != "" && s.Issuer.NotAfter.Before(c.shelf.now()) { // a key that has ended signs no lists
		return Answer{Silent: true}, nil
	}
	url := c.shelf.address(ctx, s, scope)
	if url == "" {
		return Answer{Silent: true}, nil
	}
	l, why, err := c.shelf.get(ctx, url, s.Issuer)
	if errors.Is(err, fs.ErrNotExist) {
		return Answer{Wrong: url + " 没有这份列表"}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	if why != "" {
		return Answer{Wrong: why}, nil
	}
	if s.Scope != "" {
		return Answer{Number: l.number, Digest: l.digest}, nil
	}
	now := c.shelf.now()
	if is(scope, delta) {
		return c.shelf.together(ctx, s, ca.ScopeOf(ca.FullOf(ca.KeyOf(s.Shard))), l)
	}
	a := l.says(s, now)
	if is(scope, "full") && l.size >= patient && a.State != expected(s) {
		if changes, why, err := c.shelf.get(ctx, c.shelf.where(ca.ScopeOf(ca.DeltaOf(ca.KeyOf(s.Shard)))), s.Issuer); err == nil && why == "" {
			return l.with(changes, s, now), nil
		}
	}
	return a, nil
}

// patient is the size from which a full list is signed at leisure: what changed
// since is in the list of changes (pki/ca, fullPatient). Smaller ones must show
// a change themselves.
const patient = 4 << 20

// together is what a full list and the list of changes say to whoever reads both.
func (h *shelf) together(ctx context.Context, s Subject, base string, changes *list) (Answer, error) {
	l, why, err := h.get(ctx, h.where(base), s.Issuer)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Answer{Wrong: "增量列表没有所依据的全量列表"}, nil
	case err != nil:
		return Answer{}, err
	case why != "":
		return Answer{Wrong: "所依据的全量列表：" + why}, nil
	}
	return l.with(changes, s, h.now()), nil
}

// says is what a list says of a certificate. Who has expired leaves a list.
func (l *list) says(s Subject, now time.Time) Answer {
	e, ok := l.entries[string(s.Serial)]
	switch {
	case ok && e.Reason == crl.RemoveFromCRL:
		return Answer{State: Good}
	case ok:
		return Answer{State: Revoked, Reason: e.Reason, At: e.At}
	case s.Until.Before(now):
		return Answer{Silent: true}
	}
	return Answer{State: Good}
}

// with is what a list says after its changes (RFC 5280 §5.2.4).
func (l *list) with(changes *list, s Subject, now time.Time) Answer {
	switch {
	case changes.base == 0:
		return Answer{Wrong: "增量列表没有写明所依据的列表"}
	case changes.base > l.number:
		return Answer{Wrong: fmt.Sprintf("增量列表依据第 %d 号，而全量列表是第 %d 号", changes.base, l.number)}
	}
	if _, ok := changes.entries[string(s.Serial)]; ok {
		return changes.says(s, now)
	}
	return l.says(s, now)
}

// is reports whether a list is of a kind, whichever key of the CA signs it.
func is(scope, kind string) bool {
	_, rest := ca.ReadScope(scope)
	return strings.HasPrefix(rest, kind)
}

// Which list speaks of whom.
func full(s Subject) string {
	switch {
	case s.Scope == "" && s.Shard >= 0:
		return ca.ScopeOf(ca.FullOf(ca.KeyOf(s.Shard)))
	case is(s.Scope, "full"):
		return s.Scope
	}
	return ""
}

func sharded(s Subject) string {
	switch {
	case s.Scope == "" && (s.Shard < 0 || s.Last):
		return "" // the root's, or a CA's that has one list only
	case s.Scope == "":
		return ca.ScopeOf(s.Shard)
	case is(s.Scope, "shard-"):
		return s.Scope
	}
	return ""
}

// others are lists only the ledger tells us of, such as that of CA certificates.
func others(s Subject) string {
	if s.Scope == "" && s.Shard == ca.Authorities {
		return "arl"
	}
	if s.Scope != "" && full(s) == "" && sharded(s) == "" && !is(s.Scope, delta) {
		return s.Scope
	}
	return ""
}

// delta begins the scopes of lists of changes.
const delta = "delta"

// changes finds the list of changes that speaks of a subject, when there is one.
func (b *book) changes(s Subject) string {
	if s.Scope != "" {
		if is(s.Scope, delta) {
			return s.Scope
		}
		return ""
	}
	b.RLock()
	defer b.RUnlock()
	scope := ca.ScopeOf(ca.DeltaOf(ca.KeyOf(s.Shard)))
	if _, ok := b.lists[scope]; ok && s.Shard >= 0 {
		return scope
	}
	return ""
}

// shelf keeps lists as they were last fetched.
type shelf struct {
	where  func(scope string) string // a list's URL, for those no certificate at hand names
	bodies ledger.Source             // certificates, which name the URL of their list
	http   *http.Client
	now    func() time.Time

	mu sync.Mutex
	of map[string]*slot // by URL
}

// slot is the place of one list: who fetches it holds the lock.
type slot struct {
	sync.Mutex
	list *list
}

// list is a revocation list as fetched. It does not change once read, but for
// what its slot's lock guards.
type list struct {
	parsed  *crl.List // without its entries
	entries map[string]crl.Entry
	number  int64
	base    int64 // number of the list a list of changes goes on from
	size    int
	digest  []byte

	etag  string
	asked time.Time
	took  time.Duration
	trust map[*cert.Certificate]bool // whose signature was checked, and how that ended
}

// Bounds of fetching lists.
const (
	listMax    = 128 << 20
	againAfter = 200 * time.Millisecond
	restAfter  = 10 // times as long as the last fetch took, a large list is left alone
)

// address is where the list lies: what the certificate itself says comes first.
func (h *shelf) address(ctx context.Context, s Subject, scope string) string {
	if s.Scope != "" || is(scope, "full") || is(scope, delta) || !s.Public {
		return h.where(scope)
	}
	der, err := ledger.Body(ctx, h.bodies, s.Digest)
	if err != nil {
		return h.where(scope) // the channel of bodies says what is wrong
	}
	c, err := cert.Parse(der)
	if err != nil {
		return h.where(scope)
	}
	for _, url := range c.URLs()["crl"] {
		if strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://") {
			return url
		}
	}
	return "" // it names none
}

// get fetches a list, unless it was fetched a moment ago, and says why it is
// not to be believed, if so.
func (h *shelf) get(ctx context.Context, url string, issuer *cert.Certificate) (*list, string, error) {
	h.mu.Lock()
	if h.of[url] == nil {
		h.of[url] = &slot{}
	}
	at := h.of[url]
	h.mu.Unlock()
	at.Lock()
	defer at.Unlock()
	began := h.now()
	if at.list == nil || began.Sub(at.list.asked) >= max(againAfter, restAfter*at.list.took) {
		l, err := h.fetch(ctx, url, at.list)
		if err != nil {
			return nil, "", err
		}
		l.asked, l.took = began, h.now().Sub(began)
		at.list = l
	}
	return at.list, at.list.doubt(issuer, h.now()), nil
}

func (h *shelf) fetch(ctx context.Context, url string, old *list) (*list, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if old != nil && old.etag != "" {
		req.Header.Set("If-None-Match", old.etag)
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && old != nil:
		return old, nil
	case resp.StatusCode == http.StatusNotFound:
		return nil, fs.ErrNotExist
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	der, err := io.ReadAll(io.LimitReader(resp.Body, listMax+1))
	if err != nil {
		return nil, err
	}
	if len(der) > listMax {
		return nil, fmt.Errorf("%s: more than %d octets", url, listMax)
	}
	l := read(der)
	l.etag = resp.Header.Get("ETag")
	return l, nil
}

func read(der []byte) *list {
	l := &list{digest: alg.Digest(der), size: len(der), entries: map[string]crl.Entry{}, trust: map[*cert.Certificate]bool{}}
	var err error
	if l.parsed, err = crl.Parse(der); err != nil {
		l.parsed = nil
		return l
	}
	for _, e := range l.parsed.Entries {
		l.entries[string(e.Serial)] = e
	}
	l.parsed.Entries = nil
	if l.parsed.Number != nil {
		l.number = l.parsed.Number.Int64()
	}
	if l.parsed.Base != nil {
		l.base = l.parsed.Base.Int64()
	}
	return l
}

// doubt says why a list is not to be believed. The caller holds its slot.
func (l *list) doubt(issuer *cert.Certificate, now time.Time) string {
	if l.parsed == nil {
		return "不是撤销列表"
	}
	ok, known := l.trust[issuer]
	if !known {
		ok = string(l.parsed.Issuer) == string(issuer.Subject) && alg.Verify(issuer.PublicKey(), l.parsed.RawTBS, l.parsed.Signature) == nil
		l.trust[issuer] = ok
	}
	switch {
	case !ok:
		return "列表签名无效，或不是签发者所签"
	case l.parsed.NextUpdate.Before(now):
		return "列表已过期：" + l.parsed.NextUpdate.UTC().Format(time.RFC3339)
	case l.parsed.ThisUpdate.After(now.Add(skew)):
		return "列表日期在将来：" + l.parsed.ThisUpdate.UTC().Format(time.RFC3339)
	}
	return ""
}
