package directory

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/format/ldapmsg"
)

// Bounds of one search.
const (
	SizeMax = 1000  // entries given to a stranger in one answer
	lookMax = 50000 // entries looked at for a filter no index helps with
)

// Found receives an entry's pre-encoded inside.
type Found func(body []byte) error

// Result ends a search.
type Result struct {
	Code    ldapmsg.Code
	Matched string // the nearest entry above a base that does not exist
	Text    string
	Next    uint32 // where a further page begins; 0 when there is none
}

// Search gives the entries that match, at most limit of them, beginning with
// entry number from.
func (d *Directory) Search(ctx context.Context, q ldapmsg.Query, from uint32, limit int, give Found) (Result, error) {
	base, res, ok := d.resolve(q.Base)
	if !ok {
		return res, nil
	}
	d.mu.RLock()
	n := uint32(len(d.place))
	d.mu.RUnlock()
	switch {
	case from > n:
		return Result{Code: ldapmsg.Unwilling, Text: "分页标记不是本目录给出的"}, nil
	case q.Scope == ldapmsg.Base:
		return d.one(base, q, give)
	}
	ids, indexed := d.candidates(q.Filter)
	if !indexed {
		return d.scan(ctx, base, q, limit, span(from, n), give)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	at, _ := slices.BinarySearch(ids, from)
	return d.scan(ctx, base, q, limit, slices.Values(ids[at:]), give)
}

// span counts from one entry up to another.
func span(from, to uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for id := from; id < to && yield(id); id++ {
		}
	}
}

// resolve finds the base; top stands for the root.
func (d *Directory) resolve(name string) (uint32, Result, bool) {
	rdns, ok := parseDN(name)
	if !ok {
		return 0, Result{Code: ldapmsg.InvalidDN, Text: "甄别名无法读取"}, false
	}
	if len(rdns) == 0 {
		return top, Result{}, true
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.byDN[d.hash("dn", strings.Join(rdns, ","))]; ok {
		return id, Result{}, true
	}
	for i := 1; i < len(rdns); i++ {
		if id, ok := d.byDN[d.hash("dn", strings.Join(rdns[i:], ","))]; ok {
			matched := ""
			if body, err := d.file.read(d.place[id]); err == nil {
				matched, _, _ = ldapmsg.ReadEntry(body) // a hint; none is an answer too
			}
			return 0, Result{Code: ldapmsg.NoSuchObject, Matched: matched}, false
		}
	}
	return 0, Result{Code: ldapmsg.NoSuchObject}, false
}

func (d *Directory) one(id uint32, q ldapmsg.Query, give Found) (Result, error) {
	if id == top {
		return Result{}, nil // the root DSE is the server's own
	}
	body, err := d.read(id)
	if err != nil || !Matches(q.Filter, body) {
		return Result{}, err
	}
	return Result{}, give(body)
}

// scan looks at entry after entry, within bounds.
func (d *Directory) scan(ctx context.Context, base uint32, q ldapmsg.Query, limit int, ids iter.Seq[uint32], give Found) (Result, error) {
	given, looked := 0, 0
	for id := range ids {
		if ctx.Err() != nil {
			return Result{Code: ldapmsg.TimeLimit, Text: "超过时间限制"}, nil
		}
		if !d.within(id, base, q.Scope) {
			continue
		}
		if looked++; looked > lookMax {
			return Result{Code: ldapmsg.AdminLimit, Text: "符合的条目太多，请按 cn 或 serialNumber 查询"}, nil
		}
		body, err := d.read(id)
		if err != nil {
			return Result{}, err
		}
		if !Matches(q.Filter, body) {
			continue
		}
		if given == limit {
			return Result{Code: ldapmsg.SizeLimit, Next: id, Text: "结果过多，请缩小条件或分页"}, nil
		}
		if err := give(body); err != nil {
			return Result{}, err
		}
		given++
	}
	return Result{}, nil
}

func (d *Directory) within(id, base uint32, scope ldapmsg.Scope) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if scope == ldapmsg.One {
		return d.up[id] == base
	}
	for id != base {
		if id == top {
			return false
		}
		id = d.up[id]
	}
	return true
}

// candidates finds the entries a filter can match by an index.
func (d *Directory) candidates(f ldapmsg.Filter) ([]uint32, bool) {
	switch f.Kind {
	case ldapmsg.And:
		for _, o := range f.Of {
			if ids, ok := d.candidates(o); ok {
				return ids, true
			}
		}
	case ldapmsg.Or:
		var all []uint32
		for _, o := range f.Of {
			ids, ok := d.candidates(o)
			if !ok {
				return nil, false
			}
			all = append(all, ids...)
		}
		return all, len(f.Of) > 0
	case ldapmsg.Equal, ldapmsg.Approx, ldapmsg.Match:
		d.mu.RLock()
		defer d.mu.RUnlock()
		switch AttributeKey(f.Attr) {
		case "cn":
			return slices.Clone(d.byCN[d.hash("cn", fold(f.Value))]), true
		case "serialnumber":
			return d.serial(serialKey(f.Value)), true
		case "usercertificate", "cacertificate":
			if e, ok := parseExact(f.Value); ok {
				return d.serial(e.serial), true
			}
			return nil, true
		}
	}
	return nil, false
}

func (d *Directory) serial(key string) []uint32 {
	if id, ok := d.bySN[d.hash("sn", key)]; ok {
		return []uint32{id}
	}
	return nil
}

// Matches decides a filter over an entry; what is undefined does not match.
func Matches(f ldapmsg.Filter, body []byte) bool {
	if f.Kind == ldapmsg.Present && AttributeKey(f.Attr) == "objectclass" {
		return true
	}
	_, attrs, err := ldapmsg.ReadEntry(body)
	return err == nil && eval(f, attrs) == yes
}

type truth int

const (
	no truth = iota
	yes
	undefined
)

func eval(f ldapmsg.Filter, attrs []ldapmsg.Attribute) truth {
	switch f.Kind {
	case ldapmsg.And, ldapmsg.Or:
		end, out := no, yes
		if f.Kind == ldapmsg.Or {
			end, out = yes, no
		}
		for _, o := range f.Of {
			switch v := eval(o, attrs); v {
			case end:
				return end
			case undefined:
				out = undefined
			}
		}
		return out
	case ldapmsg.Not:
		switch eval(f.Of[0], attrs) {
		case yes:
			return no
		case no:
			return yes
		}
		return undefined
	}
	return item(f, attrs)
}

// item decides one comparison. It is undefined over an attribute we do not
// know, a rule the attribute does not have, or a value that cannot be read
// (RFC 4511 §4.5.1.7).
func item(f ldapmsg.Filter, attrs []ldapmsg.Attribute) truth {
	key := AttributeKey(f.Attr)
	test := comparison(f, known[key])
	if test == nil {
		return undefined
	}
	for _, a := range attrs {
		if AttributeKey(a.Type) == key && slices.ContainsFunc(a.Values, test) {
			return yes
		}
	}
	return no
}

// rules are the matching rules an extensible filter may name.
var rules = map[string][]matching{
	"": {words, serials, classes, certificates, lists}, "caseignorematch": {words, serials}, "2.5.13.2": {words, serials},
	"certificateexactmatch": {certificates}, "2.5.13.34": {certificates}, "objectidentifiermatch": {classes}, "2.5.13.0": {classes},
}

// comparison is the test of a value that a filter item makes, or nothing.
func comparison(f ldapmsg.Filter, m matching) func(v []byte) bool {
	text := m == words || m == serials
	switch {
	case m == unknown || f.Kind == ldapmsg.Match && !slices.Contains(rules[strings.ToLower(f.Rule)], m):
		return nil
	case f.Kind == ldapmsg.Present:
		return func([]byte) bool { return true }
	case f.Kind == ldapmsg.Substr && text:
		return func(v []byte) bool { return substrings(f.Parts, fold(string(v))) }
	case f.Kind == ldapmsg.Substr || f.Kind == ldapmsg.Greater || f.Kind == ldapmsg.Less: // no attribute here has an order
		return nil
	case m == serials:
		want := serialKey(f.Value)
		return func(v []byte) bool { return want == serialKey(string(v)) }
	case m == certificates:
		e, ok := parseExact(f.Value)
		if !ok {
			return nil
		}
		return e.names
	case m == lists:
		return func(v []byte) bool { return bytes.Equal([]byte(f.Value), v) }
	}
	want := fold(f.Value)
	return func(v []byte) bool { return want == fold(string(v)) }
}

func substrings(parts []ldapmsg.Part, v string) bool {
	for _, p := range parts {
		want := fold(p.Value)
		switch p.At {
		case 0x80:
			rest, ok := strings.CutPrefix(v, want)
			if !ok {
				return false
			}
			v = rest
		case 0x81:
			_, rest, ok := strings.Cut(v, want)
			if !ok {
				return false
			}
			v = rest
		default:
			if !strings.HasSuffix(v, want) {
				return false
			}
		}
	}
	return true
}
