package ldappush

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory"
)

// Kind is how an entry of the server disagrees with the ledger.
type Kind string

// Kinds of disagreement.
const (
	Missing Kind = "missing" // the ledger has it, the server not
	Altered Kind = "altered" // the server says something else
	Foreign Kind = "foreign" // in our containers, and nothing in the ledger says so
)

// Finding is one entry that disagrees.
type Finding struct {
	DN       string   `json:"dn"`
	Kind     Kind     `json:"kind"`
	Want     string   `json:"want,omitempty"` // SM3 over the sorted values the ledger says
	Have     string   `json:"have,omitempty"` // and of what the server has
	Differ   []string `json:"differ,omitempty"`
	Repaired bool     `json:"repaired"`
	Note     string   `json:"note,omitempty"`
}

// Report is the outcome of a check.
type Report struct {
	At       time.Time `json:"at"`
	Ledger   int64     `json:"ledger"` // entries of the ledger compared with
	Expected int       `json:"expected"`
	Seen     int       `json:"seen"`     // entries of the server in our containers
	Others   int       `json:"others"`   // entries elsewhere, which are not ours to judge
	Found    int       `json:"found"`    // disagreements
	Repaired int       `json:"repaired"` // of those
	Findings []Finding `json:"findings"` // the first of them
}

// Bounds of a check.
const (
	pageSize    = 500     // of one page of results
	listedMax   = 1000    // findings in a report
	someOf      = 512     // compared again at once, while publishing waits
	foreignMax  = 100_000 // foreign entries held at once; the next check finds more
	roundsMax   = 5       // comparisons of what disagreed while the ledger grew
	pagesMax    = 1 << 20
	loggedFinds = 20
)

// Checker compares a server's tree with a directory.
type Checker struct {
	Model  *directory.Directory
	Server Server
	Now    func() time.Time
	// Steady calls f when the server has been told all the directory has, as far
	// as the caller can bring that about.
	Steady func(ctx context.Context, f func() error) error
}

// Check compares the whole tree and, when repair is set, restores it. Writing
// goes on meanwhile: only what disagrees is looked at again while it stands still.
func (p *Publisher) Check(ctx context.Context, repair bool) (Report, error) {
	c := Checker{Model: p.Model, Server: p.Server, Now: p.Now, Steady: func(ctx context.Context, f func() error) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.publish(ctx); err != nil {
			return err
		}
		return f()
	}}
	r, err := c.Check(ctx, repair)
	if err != nil {
		return r, err
	}
	p.Stats.Found.Store(int64(r.Found - r.Repaired))
	p.Stats.Repaired.Add(int64(r.Repaired))
	for _, f := range r.Findings[:min(len(r.Findings), loggedFinds)] {
		slog.Error("directory server disagreed with the ledger", "dn", f.DN, "kind", f.Kind, "differ", f.Differ, "repaired", f.Repaired, "note", f.Note)
	}
	return r, nil
}

// walk is a check under way.
type walk struct {
	*session
	below   []string // folded names of our containers
	seen    []bool   // by entry number
	suspect []uint32
	foreign []string
	issuers map[string]bool // names of our CAs
	report  Report
}

// Check compares the whole tree with the ledger.
func (c Checker) Check(ctx context.Context, repair bool) (Report, error) {
	x, err := c.Server.open(ctx, c.Model)
	if err != nil {
		return Report{}, err
	}
	defer x.close()
	w := &walk{session: x, seen: make([]bool, c.Model.Len()), report: Report{Findings: []Finding{}, Ledger: c.Model.At().Size(), Expected: int(c.Model.Len())}}
	_, below := c.Model.Containers()
	for _, name := range below {
		key, _ := directory.Key(name)
		w.below = append(w.below, key)
	}
	if err := w.pages(ctx, c.Server.base()); err != nil {
		return Report{}, err
	}
	for id, seen := range w.seen {
		if !seen && w.ours(uint32(id)) {
			w.suspect = append(w.suspect, uint32(id))
		}
	}
	err = w.judge(ctx, c, repair)
	w.report.At = c.Now().UTC()
	slices.SortFunc(w.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.DN, b.DN))
	})
	return w.report, err
}

// ours reports whether an entry lies in the server's part of the tree.
func (w *walk) ours(id uint32) bool {
	name, _, err := w.model.Entry(id)
	key, ok := directory.Key(name)
	return err == nil && ok && (key == w.base || strings.HasSuffix(key, ","+w.base))
}

// pages walks the server's tree, page by page (RFC 2696).
func (w *walk) pages(ctx context.Context, base string) error {
	control := ldap.NewControlPaging(pageSize)
	for range pagesMax {
		if err := ctx.Err(); err != nil {
			return err
		}
		req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"*"}, []ldap.Control{control})
		res, err := w.conn.Search(req)
		if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("walking the tree: %w", err)
		}
		for _, e := range res.Entries {
			w.look(e)
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		control.SetCookie(next.Cookie)
	}
	return errors.New("ldap: the tree has no end")
}

// look notes whether an entry of the server is what the ledger says.
func (w *walk) look(e *ldap.Entry) {
	key, _ := directory.Key(e.DN)
	inside := slices.ContainsFunc(w.below, func(c string) bool { return strings.HasSuffix(key, ","+c) })
	if inside {
		w.report.Seen++
	}
	id, known := w.model.Find(e.DN)
	switch {
	case known && int(id) < len(w.seen):
		w.seen[id] = true
		if _, attrs, err := w.model.Entry(id); err == nil {
			if want := imageOf(attrs); !want.container() && len(want.differ(imageOfEntry(e))) > 0 {
				w.suspect = append(w.suspect, id)
			}
		}
	case known: // on record since the check began
	case !inside:
		w.report.Others++
	case len(w.foreign) < foreignMax:
		w.foreign = append(w.foreign, e.DN)
	}
}

// judge looks again at what disagreed, some at a time, and restores it.
func (w *walk) judge(ctx context.Context, c Checker, repair bool) error {
	if len(w.foreign) > 0 {
		if err := w.learn(ctx); err != nil {
			return err
		}
	}
	slices.SortFunc(w.foreign, func(a, b string) int { return cmp.Compare(depth(b), depth(a)) }) // leaves first
	for some := range slices.Chunk(w.foreign, someOf) {
		err := w.settle(ctx, c, repair, func(found map[string]*Finding) error { return w.strangers(some, found, repair) })
		if err != nil {
			return err
		}
	}
	slices.Sort(w.suspect) // parents first
	for some := range slices.Chunk(w.suspect, someOf) {
		err := w.settle(ctx, c, repair, func(found map[string]*Finding) error { return w.suspects(ctx, some, found, repair) })
		if err != nil {
			return err
		}
	}
	return nil
}

// settle compares while nobody writes, and again when the ledger has grown
// since: what was compared, or written, may have been old.
func (w *walk) settle(ctx context.Context, c Checker, repair bool, compare func(found map[string]*Finding) error) error {
	found := map[string]*Finding{}
	for range roundsMax {
		if !repair {
			clear(found)
		}
		at := int64(0)
		if err := c.Steady(ctx, func() error {
			at = w.model.At().Size()
			return compare(found)
		}); err != nil {
			return err
		}
		if len(found) == 0 {
			break
		}
		if err := c.Steady(ctx, func() error { return nil }); err != nil {
			return err
		}
		if w.model.At().Size() == at {
			break
		}
	}
	for _, f := range found {
		w.report.Found++
		if f.Repaired {
			w.report.Repaired++
		}
		if len(w.report.Findings) < listedMax {
			w.report.Findings = append(w.report.Findings, *f)
		}
	}
	return nil
}

func depth(name string) int {
	key, _ := directory.Key(name)
	return strings.Count(key, ",")
}

// suspects compares entries of the ledger again, one by one.
func (w *walk) suspects(ctx context.Context, ids []uint32, found map[string]*Finding, repair bool) error {
	var restore []uint32
	for _, id := range ids {
		name, attrs, err := w.model.Entry(id)
		if err != nil {
			return err
		}
		have, err := w.read(name)
		if err != nil {
			return err
		}
		want := imageOf(attrs)
		f := &Finding{DN: name, Kind: Missing, Want: hex.EncodeToString(want.sum())}
		if have != nil {
			got := imageOfEntry(have)
			if f.Differ = want.differ(got); want.container() || len(f.Differ) == 0 {
				continue
			}
			f.Kind, f.Have = Altered, hex.EncodeToString(got.sum())
		}
		if found[name] == nil {
			found[name] = f
		}
		restore = append(restore, id)
	}
	if !repair {
		return nil
	}
	return w.bringAll(ctx, restore, func(id uint32, _ bool, refused error) {
		name, _, _ := w.model.Entry(id) // read a moment ago
		if f := found[name]; f != nil && refused == nil {
			f.Repaired = true
		} else if f != nil {
			f.Note = "目录服务器拒绝写入：" + refused.Error()
		}
	})
}

// strangers looks again at entries nothing in the ledger accounts for. Those
// that another CA vouches for are named and left alone.
func (w *walk) strangers(names []string, found map[string]*Finding, repair bool) error {
	for _, name := range names {
		if _, known := w.model.Find(name); known {
			continue
		}
		have, err := w.read(name)
		if err != nil {
			return err
		}
		if have == nil {
			continue
		}
		f := &Finding{DN: name, Kind: Foreign, Have: hex.EncodeToString(imageOfEntry(have).sum())}
		found[name] = f
		if w.neighbours(have) {
			f.Note = "由另一 CA 的证书或列表作证，未动"
			continue
		}
		if !repair {
			continue
		}
		err = w.remove(name)
		if ldap.IsErrorWithCode(err, ldap.LDAPResultNotAllowedOnNonLeaf) {
			f.Note = "其下还有条目，未动"
			continue
		}
		if err != nil {
			return err
		}
		f.Repaired = true
	}
	return nil
}

// learn takes the names of our CAs and of who certified them from the directory.
func (w *walk) learn(ctx context.Context) error {
	w.issuers = map[string]bool{}
	_, below := w.model.Containers()
	for _, name := range below {
		q := ldapmsg.Query{Base: name, Scope: ldapmsg.One, Filter: ldapmsg.Filter{Kind: ldapmsg.Present, Attr: "cACertificate"}}
		_, err := w.model.Search(ctx, q, 0, directory.SizeMax, func(body []byte) error {
			_, attrs, err := ldapmsg.ReadEntry(body)
			for _, a := range attrs {
				for _, v := range a.Values {
					if c, err := cert.Parse(v); err == nil {
						w.issuers[string(c.Subject)], w.issuers[string(c.Issuer)] = true, true
					}
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// neighbours reports whether an entry holds a certificate or list that names
// an issuer who is none of our CAs: it is then not ours to delete.
func (w *walk) neighbours(e *ldap.Entry) bool {
	for _, a := range e.Attributes {
		switch directory.AttributeKey(a.Name) {
		case "usercertificate", "cacertificate", "certificaterevocationlist", "authorityrevocationlist", "deltarevocationlist":
			for _, v := range a.ByteValues {
				if issuer, ok := issuerOf(v); ok && !w.issuers[string(issuer)] {
					return true
				}
			}
		}
	}
	return false
}

// issuerOf reads who issued a certificate or a list of any algorithm: both
// begin with numbers, an algorithm and that name.
func issuerOf(der []byte) ([]byte, bool) {
	s := cryptobyte.String(der)
	var outer, tbs, alg, issuer cryptobyte.String
	ok := s.ReadASN1(&outer, cbasn1.SEQUENCE) && outer.ReadASN1(&tbs, cbasn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) && tbs.SkipASN1(cbasn1.INTEGER) &&
		tbs.ReadASN1(&alg, cbasn1.SEQUENCE) && tbs.ReadASN1Element(&issuer, cbasn1.SEQUENCE)
	return issuer, ok
}
