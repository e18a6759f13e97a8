// Package house keeps the rules of the house. It has no code, only this test.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/hufu-pki/hufu/"

// storeys, from the ground up. A package may import packages of lower storeys.
var storeys = []string{"base", "format", "ledger", "access audit casework hsm paper statute trust sof web wire", "pki institution regulator", "zone", "cmd"}

// long lists functions and files that are better long, and why.
var long = map[string]string{
	"format/certlint/rules.go:Rules": "a table",
}

// sideways are the imports within a storey that are part of the design: what
// a person signs is what casework moves and audit keeps (docs/adr/0003).
var sideways = map[string][]string{
	"audit":       {"access"},
	"casework":    {"access"},
	"web/api":     {"access", "audit"},
	"wire/enroll": {"access", "wire/link"},
	"wire/tiles":  {"wire/link"},
	"hsm/soft":    {"hsm"},

	"casework/proposal": {"access", "audit", "casework"},
	"access/accesstest": {"access", "audit"},
	"access/staff":      {"access", "audit", "casework", "casework/proposal"},
	"access/body":       {"access", "audit", "casework", "casework/proposal"},
	"web/proposals":     {"access", "casework", "casework/proposal", "web/api"},
	"web/console":       {"web/api", "web/page", "web/proposals"},
}

// core lists what the two cores may never reach, however indirectly: pages,
// the directory's protocol, other buildings.
var core = map[string][]string{
	"zone/cacore": {"pki/ra", "pki/va", "pki/directory", "pki/km", "institution", "regulator", "web/page"},
	"zone/kmcore": {"pki/ra", "pki/va", "pki/directory", "pki/ca", "institution", "regulator", "web/page"},
}

// banned names, and where they may be used after all.
var banned = []struct{ name, only, why string }{
	{"time.Now", "cmd", "take a Now func, so that tests own the clock"},
	{"os.Getenv", "cmd", "read configuration once, in cmd"},
	{"log.Printf", "", "log with slog"},
	{"log.Fatal", "", "return the error"},
}

type file struct {
	path, dir, name string
	lines           int
	ast             *ast.File
	fset            *token.FileSet
}

func TestStoreys(t *testing.T) {
	for _, f := range files(t) {
		for _, i := range f.ast.Imports {
			to, ours := strings.CutPrefix(must(strconv.Unquote(i.Path.Value)), module)
			if ours {
				if why := forbidden(f.dir, to); why != "" {
					t.Errorf("%s imports %s: %s", f.path, to, why)
				}
			}
		}
	}
}

// forbidden says why a package in from may not import to, or nothing.
func forbidden(from, to string) string {
	a, b := storey(from), storey(to)
	switch {
	case a < 0 || b < 0:
		return "not on any storey"
	case b > a:
		return "upstairs"
	case top(from) == "pki" && top(to) == "regulator" || top(from) == "regulator" && top(to) == "pki":
		return "another building; talk over wire"
	case a == storey("pki") && b == a && room(from) != room(to):
		return "another room; declare what you need as an interface"
	case strings.Contains("pki institution regulator", top(from)) && room(from) == from && room(to) == from:
		return "its own adapter; zone plugs those in"
	case a == b && a == storey("web") && from != to && room(from) != room(to) && !slices.Contains(sideways[from], to):
		return "sideways; say why in the house test and an ADR"
	}
	return ""
}

func storey(dir string) int {
	return slices.IndexFunc(storeys, func(s string) bool { return slices.Contains(strings.Fields(s), top(dir)) })
}

func top(dir string) string { return strings.Split(dir, "/")[0] }

func room(dir string) string {
	p := strings.Split(dir, "/")
	return strings.Join(p[:min(2, len(p))], "/")
}

// The cores reach nothing of the pages, the directory or other buildings.
func TestCoresReachLittle(t *testing.T) {
	imports := map[string][]string{}
	for _, f := range files(t) {
		for _, i := range f.ast.Imports {
			if to, ours := strings.CutPrefix(must(strconv.Unquote(i.Path.Value)), module); ours {
				imports[f.dir] = append(imports[f.dir], to)
			}
		}
	}
	for from, never := range core {
		seen := map[string]bool{}
		var walk func(dir string)
		walk = func(dir string) {
			if seen[dir] {
				return
			}
			seen[dir] = true
			for _, n := range never {
				if dir == n || strings.HasPrefix(dir, n+"/") {
					t.Errorf("%s reaches %s", from, dir)
				}
			}
			for _, to := range imports[dir] {
				walk(to)
			}
		}
		walk(from)
	}
}

// A package comment ends its first paragraph with the Chinese name, which the
// glossary must have too: that is how the two languages stay one.
var chineseName = regexp.MustCompile(`\(([\p{Han}]+)\)`)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	glossary := string(must(os.ReadFile("docs/glossary.md")))
	docs := map[string]string{}
	for _, f := range files(t) {
		docs[f.dir] += f.ast.Doc.Text()
	}
	for dir, doc := range docs {
		if !strings.HasPrefix(doc, "Package "+filepath.Base(dir)) && !strings.HasPrefix(doc, "Command ") {
			t.Errorf("%s: no package comment", dir)
		}
		if m := chineseName.FindStringSubmatch(doc); m == nil || !strings.Contains(glossary, m[1]) {
			t.Errorf("%s: give its Chinese name, as the glossary has it", dir)
		}
	}
}

func TestShape(t *testing.T) {
	const lineMax, funcMax = 600, 70
	for _, f := range files(t) {
		if f.lines > lineMax && long[f.path] == "" {
			t.Errorf("%s: %d lines; is it two things?", f.path, f.lines)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				size := f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
				if key := f.path + ":" + n.Name.Name; size > funcMax && long[key] == "" {
					t.Errorf("%s: %d lines", key, size)
				}
			case *ast.SelectorExpr:
				f.checkBanned(t, n)
			}
			return true
		})
	}
}

func (f file) checkBanned(t *testing.T, n *ast.SelectorExpr) {
	x, ok := n.X.(*ast.Ident)
	if !ok {
		return
	}
	for _, b := range banned {
		if b.name == x.Name+"."+n.Sel.Name && !slices.Contains(strings.Fields(b.only), top(f.dir)) {
			t.Errorf("%s: %s: %s", f.fset.Position(n.Pos()), b.name, b.why)
		}
	}
}

// Every reason has its own code, named after its room, and a text for people.
func TestReasons(t *testing.T) {
	seen := map[string]string{}
	for _, f := range files(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if sel, isSel := typeOf(lit).(*ast.SelectorExpr); !ok || !isSel || sel.Sel.Name != "Reason" {
				return true
			}
			at, code, text := f.fset.Position(lit.Pos()).String(), field(lit, "Code"), field(lit, "Text")
			if seen[code] != "" || text == "" || f.name != "reasons.go" {
				t.Errorf("%s: %q: want a new code and a text, in reasons.go (%s)", at, code, seen[code])
			}
			seen[code] = at
			return true
		})
	}
}

func typeOf(lit *ast.CompositeLit) ast.Expr {
	if lit == nil {
		return nil
	}
	return lit.Type
}

func field(lit *ast.CompositeLit, name string) string {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == name {
			if v, ok := kv.Value.(*ast.BasicLit); ok {
				return must(strconv.Unquote(v.Value))
			}
		}
	}
	return ""
}

// files parses every product file in the tree.
func files(t *testing.T) (list []file) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		switch top(path) {
		case "docs", "test", "tools", "deploy":
			return nil // they may import anything, and nothing imports them
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err == nil && !ast.IsGenerated(tree) {
			list = append(list, file{path, filepath.Dir(path), filepath.Base(path), fset.File(tree.Pos()).LineCount(), tree, fset})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
