package access

import (
	"crypto"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/hufu-pki/hufu/format/alg"
)

// Statement is what a person signs. Text is its only form: both sides build it
// from the same fields and compare bytes.
type Statement struct {
	Site   string    // which system, e.g. "注册系统"
	Act    string    // "ra.approve"
	Title  string    // what people call the act: 审核通过
	Object string    // what it is done to, for people: "证书申请 2026…"
	Digest []byte    // SM3 root over the Items it covers; empty for a sign-in
	Count  int       // how many items
	Person PersonID  // who
	Name   string    // what people call them
	Serial string    // of the signing certificate
	Note   string    // reason or opinion
	Avers  string    // what the person declares by this act, fixed for each act
	At     time.Time // to the second
	Nonce  string    // base64 of 16 random bytes
}

// Text is the canonical statement, one "name：value" on a line, UTF-8.
func (s Statement) Text() []byte {
	var b strings.Builder
	line := func(name, value string) {
		b.WriteString(name + "：" + oneLine(value) + "\n")
	}
	b.WriteString("虎符操作声明 第1版\n")
	line("系统", s.Site)
	line("操作", fmt.Sprintf("%s（%s）", s.Title, s.Act))
	line("对象", s.Object)
	if len(s.Digest) > 0 {
		line("事项数", fmt.Sprint(s.Count))
		line("内容摘要", "SM3 "+hex.EncodeToString(s.Digest))
	}
	line("操作人", fmt.Sprintf("%s（%s）", s.Name, s.Person))
	line("证书序列号", s.Serial)
	if s.Avers != "" {
		line("声明", s.Avers)
	}
	line("意见", s.Note)
	line("时间", s.At.UTC().Format(time.RFC3339))
	line("随机数", s.Nonce)
	return []byte(b.String())
}

// oneLine keeps a value from forging further lines.
func oneLine(v string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, v)
}

// Item is one thing a command is done to: its kind and id, the events its case
// had before, and the SM3 of its content. A signature binds all four.
type Item struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Seq    int    `json:"seq"`
	Digest []byte `json:"digest"`
}

func (i Item) leaf() []byte {
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], uint64(i.Seq))
	return alg.Digest([]byte{0}, []byte(i.Kind), []byte{0}, []byte(i.ID), []byte{0}, seq[:], i.Digest)
}

// Signed is a statement with its signature, as kept for ever.
type Signed struct {
	Statement
	Text      []byte
	Signature []byte
	Cert      []byte // DER, of the signer
}

// Proof ties one item to a statement that covers many: the path from the
// item's leaf to the statement's digest.
type Proof struct {
	Index int      `json:"index"`
	Count int      `json:"count"`
	Path  [][]byte `json:"path,omitempty"`
}

// Root is the digest of a statement over the items: an RFC 6962 tree with SM3.
func Root(items []Item) []byte {
	leaves := make([][]byte, len(items))
	for i, it := range items {
		leaves[i] = it.leaf()
	}
	return root(leaves)
}

func root(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		return alg.Digest()
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return alg.Digest([]byte{1}, root(leaves[:k]), root(leaves[k:]))
}

func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// ProofOf is the proof that items[i] is covered by Root(items).
func ProofOf(items []Item, i int) Proof {
	leaves := make([][]byte, len(items))
	for j, it := range items {
		leaves[j] = it.leaf()
	}
	return Proof{i, len(items), path(leaves, i)}
}

// Proofs are the proofs of all items, at the cost of one tree.
func Proofs(items []Item) []Proof {
	list := make([]Proof, len(items))
	for i := range list {
		list[i] = Proof{Index: i, Count: len(items)}
	}
	var grow func(lo, hi int) []byte
	grow = func(lo, hi int) []byte {
		if hi-lo == 1 {
			return items[lo].leaf()
		}
		k := lo + split(hi-lo)
		left, right := grow(lo, k), grow(k, hi)
		for i := lo; i < hi; i++ {
			other := right
			if i >= k {
				other = left
			}
			list[i].Path = append(list[i].Path, other)
		}
		return alg.Digest([]byte{1}, left, right)
	}
	if len(items) > 0 {
		grow(0, len(items))
	}
	return list
}

func path(leaves [][]byte, i int) [][]byte {
	if len(leaves) <= 1 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(path(leaves[:k], i), root(leaves[k:]))
	}
	return append(path(leaves[k:], i-k), root(leaves[:k]))
}

// itemsMax bounds the items a proof may speak of. Proofs come from outside, and
// beyond the largest power of two the tree has no shape.
const itemsMax = 1 << 30

// Covers reports whether root is the digest of a statement covering the item.
func (p Proof) Covers(root []byte, it Item) bool {
	if p.Index < 0 || p.Index >= p.Count || p.Count > itemsMax || len(p.Path) > 32 {
		return false
	}
	got, ok := climb(it.leaf(), p.Index, p.Count, p.Path)
	return ok && string(got) == string(root)
}

func climb(leaf []byte, i, n int, path [][]byte) ([]byte, bool) {
	if n == 1 {
		return leaf, len(path) == 0
	}
	if len(path) == 0 {
		return nil, false
	}
	k, last := split(n), path[len(path)-1]
	if i < k {
		sub, ok := climb(leaf, i, k, path[:len(path)-1])
		return alg.Digest([]byte{1}, sub, last), ok
	}
	sub, ok := climb(leaf, i-k, n-k, path[:len(path)-1])
	return alg.Digest([]byte{1}, last, sub), ok
}

// Sign signs the statement with a person's key, on that person's side.
func (s Statement) Sign(key crypto.Signer, cert []byte) (Signed, error) {
	text := s.Text()
	sig, err := alg.Sign(key, text)
	if err != nil {
		return Signed{}, err
	}
	return Signed{s, text, sig, cert}, nil
}

// NonceOf writes random bytes as a statement has them.
func NonceOf(random []byte) string { return base64.RawURLEncoding.EncodeToString(random) }
