package access_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
)

func statement() access.Statement {
	return access.Statement{
		Site: "注册系统", Act: "ra.approve", Title: "审核通过", Object: "证书申请 A1（张三）", Digest: alg.Digest([]byte("x")), Count: 1,
		Person: "clerk", Name: "录入员甲", Serial: "41AA", Note: "同意", At: start, Nonce: "bm9uY2Vub25jZW5vbmNl",
	}
}

// The text is for people to read, and fixed: what was signed must verify for ever.
func TestTheTextOfAStatementNeverChanges(t *testing.T) {
	want := "虎符操作声明 第1版\n系统：注册系统\n操作：审核通过（ra.approve）\n对象：证书申请 A1（张三）\n事项数：1\n" +
		fmt.Sprintf("内容摘要：SM3 %x\n", alg.Digest([]byte("x"))) + "操作人：录入员甲（clerk）\n证书序列号：41AA\n意见：同意\n时间：2026-11-24T08:00:00Z\n随机数：bm9uY2Vub25jZW5vbmNl\n"
	if got := string(statement().Text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	signIn := statement()
	signIn.Digest = nil
	if text := string(signIn.Text()); strings.Contains(text, "事项数") || strings.Contains(text, "内容摘要") {
		t.Error("a sign-in is about no items")
	}
	beijing := statement()
	beijing.At = start.In(time.FixedZone("CST", 8*3600))
	if !bytes.Equal(beijing.Text(), statement().Text()) {
		t.Error("the text depends on the clock's zone")
	}
}

// fields are the ways to put words into a statement.
var fields = map[string]func(s *access.Statement, v string){
	"site": func(s *access.Statement, v string) { s.Site = v }, "act": func(s *access.Statement, v string) { s.Act = v },
	"title": func(s *access.Statement, v string) { s.Title = v }, "object": func(s *access.Statement, v string) { s.Object = v },
	"person": func(s *access.Statement, v string) { s.Person = access.PersonID(v) }, "name": func(s *access.Statement, v string) { s.Name = v },
	"serial": func(s *access.Statement, v string) { s.Serial = v }, "note": func(s *access.Statement, v string) { s.Note = v },
	"declaration": func(s *access.Statement, v string) { s.Avers = v }, "nonce": func(s *access.Statement, v string) { s.Nonce = v },
}

// No value forges a further line, whatever breaks it is written with.
func TestNoFieldForgesALine(t *testing.T) {
	for name, set := range fields {
		plain := statement()
		set(&plain, "甲")
		lines := strings.Count(string(plain.Text()), "\n")
		for _, br := range []string{"\n", "\r", "\r\n", "\v", "\f", "\u0085", "\u2028", "\u2029", "\x00", "\x1e"} {
			s := statement()
			set(&s, "甲"+br+"意见：不同意"+br)
			text := string(s.Text())
			if strings.Count(text, "\n") != lines || strings.ContainsAny(text, "\r\v\f\u0085\u2028\u2029\x00\x1e") {
				t.Errorf("%s with %q:\n%q", name, br, text)
			}
			for _, line := range strings.Split(text, "\n") {
				if strings.HasPrefix(line, "意见：不同意") && name != "note" {
					t.Errorf("%s forged a line with %q", name, br)
				}
			}
		}
	}
}

// Every field is in the text: no two statements that differ read the same.
func TestEveryFieldIsSigned(t *testing.T) {
	seen := map[string]string{string(statement().Text()): "none"}
	add := func(name string, s access.Statement) {
		text := string(s.Text())
		if other := seen[text]; other != "" {
			t.Errorf("a statement with another %s reads like one with another %s", name, other)
		}
		seen[text] = name
	}
	for name, set := range fields {
		s := statement()
		set(&s, "其他")
		add(name, s)
	}
	s := statement()
	s.Digest = alg.Digest()
	add("digest", s)
	s = statement()
	s.Count = 2
	add("count", s)
	s = statement()
	s.At = start.Add(time.Second)
	add("time", s)
}

func TestEveryDraftHasItsOwnNonce(t *testing.T) {
	w := newWorld(t, "a")
	seen := map[string]bool{}
	for range 100 {
		s := w.Draft(w.who["a"], "x", "y", "z", "", nil)
		if seen[s.Nonce] || len(s.Nonce) < 16 || s.Digest != nil || s.Count != 0 {
			t.Fatalf("%+v", s)
		}
		seen[s.Nonce] = true
	}
}

// stacked computes the root another way: subtrees of equal size are joined as
// they are met, the rest from the right at the end.
func stacked(list []access.Item) []byte {
	type tree struct {
		size int
		hash []byte
	}
	var stack []tree
	join := func() {
		l, r := stack[len(stack)-2], stack[len(stack)-1]
		stack = append(stack[:len(stack)-2], tree{l.size + r.size, alg.Digest([]byte{1}, l.hash, r.hash)})
	}
	for _, it := range list {
		stack = append(stack, tree{1, access.Root([]access.Item{it})})
		for len(stack) > 1 && stack[len(stack)-1].size == stack[len(stack)-2].size {
			join()
		}
	}
	for len(stack) > 1 {
		join()
	}
	return stack[0].hash
}

// For every number of items up to seventy, each item is proven in its own place
// and nowhere else, and a proof with anything changed proves nothing.
func TestAProofIsOfOneItemInOnePlace(t *testing.T) {
	for n := 1; n <= 70; n++ {
		list := items(n)
		root := access.Root(list)
		if !bytes.Equal(root, stacked(list)) {
			t.Errorf("%d items: another root", n)
		}
		for i, it := range list {
			p := access.ProofOf(list, i)
			if p.Index != i || p.Count != n || !p.Covers(root, it) {
				t.Fatalf("%d items: item %d is not proven", n, i)
			}
			tamper(t, fmt.Sprintf("item %d of %d", i, n), p, root, it)
		}
	}
}

func tamper(t *testing.T, name string, p access.Proof, root []byte, it access.Item) {
	t.Helper()
	proves := func(what string, p access.Proof, root []byte, it access.Item) {
		t.Helper()
		if p.Covers(root, it) {
			t.Errorf("%s: proven with %s", name, what)
		}
	}
	with := func(change func(p *access.Proof)) access.Proof {
		q := access.Proof{Index: p.Index, Count: p.Count}
		for _, h := range p.Path {
			q.Path = append(q.Path, bytes.Clone(h))
		}
		change(&q)
		return q
	}
	proves("an index below", with(func(p *access.Proof) { p.Index-- }), root, it)
	proves("an index above", with(func(p *access.Proof) { p.Index++ }), root, it)
	proves("a hash more", with(func(p *access.Proof) { p.Path = append(p.Path, alg.Digest()) }), root, it)
	proves("another root", p, alg.Digest(root), it)
	proves("no root", p, nil, it)
	for i := range p.Path {
		proves("a flipped bit", with(func(p *access.Proof) { p.Path[i][7] ^= 1 }), root, it)
		proves("a hash less", with(func(p *access.Proof) { p.Path = slices.Delete(p.Path, i, i+1) }), root, it)
		proves("an empty hash", with(func(p *access.Proof) { p.Path[i] = nil }), root, it)
	}
	for _, change := range []func(*access.Item){
		func(i *access.Item) { i.Kind = "ra.revoke" }, func(i *access.Item) { i.ID += "0" }, func(i *access.Item) { i.Seq++ },
		func(i *access.Item) { i.Digest = alg.Digest(i.Digest) }, func(i *access.Item) { i.Kind, i.ID = "ra", "issue"+i.ID },
	} {
		other := it
		change(&other)
		proves("another item", p, root, other)
	}
}

// The place of an item in a tree of another size may be the same, so whoever
// checks a proof compares its count with the statement's.
func TestAnAbsurdProofProvesNothing(t *testing.T) {
	it := item(1)
	root := access.Root([]access.Item{it})
	for _, p := range []access.Proof{
		{}, {Count: -1}, {Index: -1, Count: 1}, {Index: 1, Count: 1}, {Count: 2}, {Count: 1, Path: [][]byte{root}},
		{Count: 1<<63 - 1}, {Count: 1<<62 + 1, Path: make([][]byte, 30)}, {Index: 1<<63 - 2, Count: 1<<63 - 1}, {Count: 1 << 30, Path: make([][]byte, 1<<20)},
	} {
		if p.Covers(root, it) {
			t.Errorf("%d of %d, %d hashes", p.Index, p.Count, len(p.Path))
		}
	}
}
