package main

import (
	"bytes"
	"crypto/rand"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
)

// What judges the product shares nothing with it.
func TestTheVerifierKnowsNothingOfTheProduct(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil || strings.Contains(path, ".") && !strings.HasPrefix(path, "github.com/emmansun/gmsm/") {
				t.Errorf("%s imports %s: %v", name, path, err)
			}
		}
	}
}

// tree is the root of RFC 6962 and the path of leaf i, straight from the text.
func tree(leaves [][]byte, i int) (root []byte, path [][]byte) {
	if len(leaves) == 1 {
		return leaves[0], nil
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, pl := tree(leaves[:k], min(i, k-1))
	right, pr := tree(leaves[k:], max(i-k, 0))
	if i < k {
		return digest([]byte{1}, left, right), append(pl, right)
	}
	return digest([]byte{1}, left, right), append(pr, left)
}

func TestAPathLeadsFromItsOwnLeafOnly(t *testing.T) {
	for n := 1; n < 70; n++ {
		var leaves [][]byte
		for i := range n {
			leaves = append(leaves, digest([]byte{0, byte(i)}))
		}
		for i := range n {
			root, path := tree(leaves, i)
			if got, ok := climb(leaves[i], int64(i), int64(n), path); !ok || !bytes.Equal(got, root) {
				t.Errorf("%d of %d does not lead to the root", i, n)
			}
			if got, ok := climb(leaves[i], int64((i+1)%n), int64(n), path); n > 1 && ok && bytes.Equal(got, root) {
				t.Errorf("%d of %d leads there from another place", i, n)
			}
			if _, ok := climb(leaves[i], int64(i), int64(n), append(path, root)); ok {
				t.Errorf("%d of %d: a path too long passes", i, n)
			}
			if len(path) > 0 {
				if got, ok := climb(leaves[i], int64(i), int64(n), path[1:]); ok && bytes.Equal(got, root) {
					t.Errorf("%d of %d: a path too short passes", i, n)
				}
			}
		}
	}
}

func TestALineOfAStatementCannotBeSaidTwice(t *testing.T) {
	said := statement([]byte("虎符操作声明 第1版\n系统：注册系统\n意见：好\n意见：不好\n"))
	if said["意见"] != "好" || said["系统"] != "注册系统" {
		t.Errorf("%v", said)
	}
}

func TestWrongUseIsExit2AndABrokenFileExit1(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(name, []byte("no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{nil, 2, "用法"}, {[]string{name}, 2, "用法"}, {[]string{"--self"}, 2, "用法"}, {[]string{"--root", "missing.pem", "--ledger-key", "x", "--audit-key", "x", name}, 2, "missing.pem"},
		{[]string{"--self", name}, 1, "不是 ZIP"}, {[]string{"--self", name + "missing"}, 1, "不是 ZIP"},
	} {
		var out, errs strings.Builder
		if got := run(c.args, &out, &errs); got != c.want || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%v: exit %d, %s", c.args, got, errs.String())
		}
	}
}

func FuzzReaders(f *testing.F) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("origin\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\ntime 1\n\n— origin AAAAAAAA\n"))
	f.Add([]byte{0x30, 0x0b, 0x0c, 3, 'c', 'r', 'l', 2, 1, 0, 0x80, 1, 0})
	f.Add([]byte(`{"entries":[{"index":1,"leaf":"AA==","path":[]}]}`))
	f.Add([]byte(`{"format":"hufu-evidence","version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, _, err := checkpoint("x", data, &key.PublicKey); err == nil {
			t.Error("a checkpoint nobody signed passes")
		}
		_, _ = parse(data)
		_ = strict("x", data, &entriesFile{})
		_ = strict("x", data, &manifest{})
		_ = strict("x", data, &caseFile{})
		_ = statement(data)
	})
}
