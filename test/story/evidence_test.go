package story

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/hsm/soft"
)

func unpack(ts *testscript.TestScript, name string) map[string][]byte {
	z, err := zip.OpenReader(ts.MkAbs(name))
	ts.Check(err)
	defer z.Close()
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		ts.Check(err)
		data, err := io.ReadAll(r)
		ts.Check(errors.Join(err, r.Close()))
		files[f.Name] = data
	}
	return files
}

func repack(ts *testscript.TestScript, name string, files map[string][]byte) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, n := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(n)
		ts.Check(err)
		_, err = w.Write(files[n])
		ts.Check(err)
	}
	ts.Check(errors.Join(z.Close(), os.WriteFile(ts.MkAbs(name), b.Bytes(), 0o600)))
}

// verdict runs the stand-alone verifier and returns what it names, or "".
func verdict(ts *testscript.TestScript, name string) string {
	cmd := exec.Command(verifier, "--root", "D/certificates/root-ca.pem", "--ledger-key", "D/people/ledger.pem", "--audit-key", "D/people/audit-ra.pem", name)
	cmd.Dir = ts.MkAbs(".")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		ts.Fatalf("evidence-verify: %v: %s", err, stderr.String())
	}
	return strings.TrimSpace(stderr.String())
}

// tampered flips a byte of each file of a container in turn and expects the
// verifier to name that very file: tampered FILE.zip.
func tampered(ts *testscript.TestScript, _ bool, args []string) {
	files := unpack(ts, args[0])
	for name, data := range files {
		bad := maps.Clone(files)
		bad[name] = bytes.Clone(data)
		bad[name][len(data)/2] ^= 1
		repack(ts, "bad.zip", bad)
		if said := verdict(ts, "bad.zip"); !strings.HasPrefix(said, name+"：") {
			ts.Fatalf("a byte of %s was flipped, the verifier says %q", name, said)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		bad := maps.Clone(files)
		delete(bad, name)
		repack(ts, "bad.zip", bad)
		if verdict(ts, "bad.zip") == "" {
			ts.Fatalf("%s was left out and nobody noticed", name)
		}
	}
	files["more.txt"] = []byte("more")
	repack(ts, "bad.zip", files)
	if said := verdict(ts, "bad.zip"); !strings.HasPrefix(said, "more.txt：") {
		ts.Fatalf("a file was added, the verifier says %q", said)
	}
}

// forged rewrites a container as its own institution could, with a manifest
// signed by the true key: what people, the trail and the ledger say still
// gives it away. forged FILE.zip CASE REVOCATION.
func forged(ts *testscript.TestScript, _ bool, args []string) {
	files, id, rev := unpack(ts, args[0]), args[1], args[2]
	in := func(name string) string { return "cases/" + id + "/" + name }
	for _, f := range []struct {
		what, names string
		change      func(f map[string][]byte)
	}{
		{"another name in the application", in("content.json"), func(f map[string][]byte) { replace(ts, f, in("content.json"), "张三", "张四") }},
		{"another clerk in the course", in("01.txt"), func(f map[string][]byte) { replace(ts, f, in("case.json"), `"who":"ra-clerk"`, `"who":"ra-clerk2"`) }},
		{"another opinion in a statement", in("02.sig"), func(f map[string][]byte) { replace(ts, f, in("02.txt"), "材料齐全", "材料不全") }},
		{"the clerk approves", in("02.pem"), func(f map[string][]byte) {
			for _, ext := range []string{".txt", ".sig", ".pem"} {
				f[in("02"+ext)] = f[in("01"+ext)]
			}
		}},
		{"an approval left out", in("case.json"), func(f map[string][]byte) { cut(ts, f, in("case.json"), `{"number":2,`, `{"number":3,`) }},
		{"a line of the trail left out", in("01.txt"), func(f map[string][]byte) { drop(ts, f, "audit/entries.json", "ra.submit") }},
		{"a line of the trail changed", "audit/entries.json", func(f map[string][]byte) { alter(ts, f, "audit/entries.json", "ra-reviewer", "ra-reviewes") }},
		{"the revocation hidden", "status/list.crl", func(f map[string][]byte) { drop(ts, f, "ledger/entries.json", "status") }},
		{"the issue hidden", "ledger/entries.json", func(f map[string][]byte) { drop(ts, f, "ledger/entries.json", "certificate") }},
		{"the escrow hidden", "ledger/entries.json", func(f map[string][]byte) { drop(ts, f, "ledger/entries.json", "escrow") }},
		{"another certificate", "certificates/sign.pem", func(f map[string][]byte) { f["certificates/sign.pem"] = f[in("01.pem")] }},
		{"another list", "status/list.crl", func(f map[string][]byte) { f["status/list.crl"] = f["status/list.crl"][:40] }},
		{"a checkpoint of another log", "ledger/checkpoint", func(f map[string][]byte) { f["ledger/checkpoint"] = f["audit/checkpoint"] }},
		{"a revocation of something else", "cases/" + rev + "/content.json", func(f map[string][]byte) {
			replace(ts, f, "cases/"+rev+"/content.json", "keyCompromise", "superseded")
		}},
	} {
		bad := maps.Clone(files)
		f.change(bad)
		resign(ts, bad)
		repack(ts, "bad.zip", bad)
		if said := verdict(ts, "bad.zip"); !strings.HasPrefix(said, f.names+"：") && !(f.what == "the clerk approves" && strings.HasPrefix(said, in("02."))) {
			ts.Fatalf("%s: want %s, the verifier says %q", f.what, f.names, said)
		}
	}
	resign(ts, files)
	repack(ts, "bad.zip", files)
	if said := verdict(ts, "bad.zip"); said != "" {
		ts.Fatalf("unchanged and signed again it is refused: %s", said)
	}
}

func replace(ts *testscript.TestScript, f map[string][]byte, name, old, by string) {
	if !strings.Contains(string(f[name]), old) {
		ts.Fatalf("%s has no %q", name, old)
	}
	f[name] = []byte(strings.Replace(string(f[name]), old, by, 1))
}

// cut takes the text from one mark to the next out.
func cut(ts *testscript.TestScript, f map[string][]byte, name, from, to string) {
	head, rest, ok1 := strings.Cut(string(f[name]), from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		ts.Fatalf("%s has no %q", name, from)
	}
	f[name] = []byte(head + to + tail)
}

type logged struct {
	Entries []struct {
		Index int64    `json:"index"`
		Leaf  []byte   `json:"leaf"`
		Path  []string `json:"path"`
	} `json:"entries"`
}

// drop takes the entries that have a word in their leaf out.
func drop(ts *testscript.TestScript, f map[string][]byte, name, word string) {
	var l logged
	ts.Check(json.Unmarshal(f[name], &l))
	n := len(l.Entries)
	for i := n - 1; i >= 0; i-- {
		if bytes.Contains(l.Entries[i].Leaf, []byte(word)) {
			l.Entries = slices.Delete(l.Entries, i, i+1)
		}
	}
	if len(l.Entries) == n {
		ts.Fatalf("%s has no entry with %q", name, word)
	}
	data, err := json.Marshal(l)
	ts.Check(err)
	f[name] = data
}

// alter changes leaves.
func alter(ts *testscript.TestScript, f map[string][]byte, name, old, by string) {
	var l logged
	ts.Check(json.Unmarshal(f[name], &l))
	for i := range l.Entries {
		l.Entries[i].Leaf = bytes.ReplaceAll(l.Entries[i].Leaf, []byte(old), []byte(by))
	}
	data, err := json.Marshal(l)
	ts.Check(err)
	f[name] = data
}

// resign makes the manifest true to the files again, with the desk's own key.
func resign(ts *testscript.TestScript, f map[string][]byte) {
	pass, err := os.ReadFile(ts.MkAbs("D/secrets/ra.pass"))
	ts.Check(err)
	device, err := soft.Open(ts.MkAbs("D/ra/keys"), pass)
	ts.Check(err)
	key, err := device.Signer("audit-ra")
	ts.Check(err)
	text := string(f["manifest.json"])
	head, _, ok := strings.Cut(text, `"files":[`)
	if !ok {
		ts.Fatalf("no files in %s", text)
	}
	var refs []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !strings.HasPrefix(name, "manifest.") {
			refs = append(refs, fmt.Sprintf(`{"path":%q,"size":%d,"sm3":%q}`, name, len(f[name]), hex.EncodeToString(alg.Digest(f[name]))))
		}
	}
	f["manifest.json"] = []byte(head + `"files":[` + strings.Join(refs, ",") + `]}`)
	line := fmt.Sprintf("hufu-evidence 1\nsm3 %x\n", alg.Digest(f["manifest.json"]))
	sig, err := alg.Sign(key, []byte(line))
	ts.Check(err)
	f["manifest.sig"] = []byte(line + base64.StdEncoding.EncodeToString(sig) + "\n")
}
