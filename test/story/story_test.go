// Package story drives the built program as its users do. (故事测试)
package story

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	_ "github.com/hufu-pki/hufu/zone/bench" // what the program is made of: when it changes
	_ "github.com/hufu-pki/hufu/zone/desk"  // the stories are told again, not taken
	_ "github.com/hufu-pki/hufu/zone/up"    // from the cache
)

var binary, verifier string

// long tells the stories as well that take long or say again at length what
// shorter ones say.
var long = flag.Bool("long", false, "tell every story")

// atOnce is how many stories are told at once: they wait more than they work.
const atOnce = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "hufu-story")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "hufu")
	verifier = filepath.Join(dir, "evidence-verify")
	for out, from := range map[string]string{binary: "../../cmd/hufu", verifier: "../../tools/evidence-verify"} {
		build := exec.Command("go", "build", "-o", out, from)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building "+from+":", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// Every script in testdata is a story told to the real program.
func TestStories(t *testing.T) {
	for _, tool := range []string{"openssl", "ldapsearch", "curl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s judges these stories and is not installed; ./test.sh installs it", tool)
		}
	}
	sources, err := filepath.Glob("../../tools/evidence-verify/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources { // a program cannot be imported: reading it keeps the cache honest
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("OPENSSL_CONF", "")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "long" {
				return false, fmt.Errorf("no condition %q", cond)
			}
			return *long, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"up": up, "answers": answers, "down": down, "change": change, "serial": serial, "kill9": kill9, "app": app, "get": get, "until": until, "sheet": sheet, "refused": refused,
			"tampered": tampered, "forged": forged, "order": order, "shows": shows, "returned": returned, "tour": tour, "rootsigned": rootsigned,
		},
	})
}

var nextPort atomic.Int32

// firstBase differs from run to run, so that two runs on one machine do not
// want the same ports at once.
var firstBase = rand.IntN(300)

// freeBase finds forty ports nobody listens on, below the ephemeral ones.
func freeBase() int {
	for {
		base := 20000 + (firstBase+int(nextPort.Add(1)))%300*40
		free := true
		for i := range 40 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
			if err != nil {
				free = false
				break
			}
			_ = l.Close()
		}
		if free {
			return base
		}
	}
}

// up starts `hufu up` on folder D and waits until it answers; its endpoints
// become the variables OCSP, LDAP, TILES, RA, BASE.
func up(ts *testscript.TestScript, neg bool, args []string) {
	base := ts.Getenv("BASE")
	if base == "" {
		base = fmt.Sprint(freeBase())
		ts.Setenv("BASE", base)
	}
	dir := ts.MkAbs("D")
	cmd := exec.Command(binary, append([]string{"up", "--dir", dir, "--base-port", base}, args...)...)
	logs, err := os.OpenFile(ts.MkAbs("up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = logs, logs
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ts.Setenv("PID", fmt.Sprint(cmd.Process.Pid))
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = logs.Close()
	})
	held := len(args) > 0 && args[0] == "--quorum"
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, first := os.Stat(filepath.Join(dir, "waiting", "ca.json"))
		_, second := os.Stat(filepath.Join(dir, "waiting", "km.json"))
		if held && first == nil && second == nil { // it waits for its custodians
			return
		}
		data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
		if err == nil {
			var e map[string]string
			ts.Check(json.Unmarshal(data, &e))
			for k, v := range e {
				ts.Setenv(strings.ToUpper(k), v)
			}
			return
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(ts.MkAbs("up.log"))
			ts.Fatalf("up ended: %v\n%s", err, text)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			ts.Fatalf("up did not answer in 20 s")
		}
	}
}

// answers waits until a held start answers.
func answers(ts *testscript.TestScript, _ bool, _ []string) {
	for range 400 {
		if data, err := os.ReadFile(ts.MkAbs("D/endpoints.json")); err == nil {
			var e map[string]string
			ts.Check(json.Unmarshal(data, &e))
			for k, v := range e {
				ts.Setenv(strings.ToUpper(k), v)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("it does not answer after the shares were given")
}

// down ends it with SIGTERM and expects endpoints.json to be gone.
func down(ts *testscript.TestScript, _ bool, _ []string) {
	stop(ts, syscall.SIGTERM)
	if _, err := os.Stat(ts.MkAbs("D/endpoints.json")); !errors.Is(err, os.ErrNotExist) {
		ts.Fatalf("endpoints.json is still there: %v", err)
	}
}

// kill9 ends it without warning.
func kill9(ts *testscript.TestScript, _ bool, _ []string) {
	stop(ts, syscall.SIGKILL)
	ts.Check(os.RemoveAll(ts.MkAbs("D/endpoints.json"))) // so that the next up is waited for
}

func stop(ts *testscript.TestScript, sig syscall.Signal) {
	var pid int
	_, err := fmt.Sscan(ts.Getenv("PID"), &pid)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, sig))
	for range 200 {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("process %d does not end", pid)
}

// app writes a sample application: app NAME CN [profile] makes NAME.pem (key),
// NAME.csr and NAME.json.
func app(ts *testscript.TestScript, _ bool, args []string) {
	name, cn, profile := args[0], args[1], "person-dual"
	if len(args) > 2 {
		profile = args[2]
	}
	ts.Check(ts.Exec(binary, "key", "--out", name+".pem", "--csr", name+".csr", "--subject", "/CN="+cn))
	identity := map[string]string{"kind": "resident-id", "number": "11010519491231002X"}
	if !strings.HasPrefix(profile, "person-") {
		identity = map[string]string{"kind": "credit-code", "number": "91350100M000100Y43"}
	}
	data, err := json.Marshal(map[string]any{
		"profile": profile, "identity": identity, "csr": ts.ReadFile(name + ".csr"),
		"subject": map[string]string{"C": "CN", "ST": "北京市", "O": "某某局（样例）", "OU": "办公室", "CN": cn},
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(name+".json"), data, 0o644))
}

// get takes a field of the JSON a command printed: get VAR stdout id
func get(ts *testscript.TestScript, _ bool, args []string) {
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	s, ok := v[args[2]].(string)
	if !ok {
		ts.Fatalf("no %s in %s", args[2], ts.ReadFile(args[1]))
	}
	ts.Setenv(args[0], s)
}

// until waits for a case to come to a state: until ID STATE
func until(ts *testscript.TestScript, _ bool, args []string) {
	comesTo(ts, args[1], "as", "ra-clerk", "--dir", ts.MkAbs("D"), "--json", "ra", "show", args[0])
}

// change waits until a change of the CA's or the key centre's comes to a state:
// change ca|km ID STATE.
func change(ts *testscript.TestScript, _ bool, args []string) {
	who := args[0] + "-super"
	if len(args) > 3 { // where the super administrator cannot look
		who = args[3]
	}
	comesTo(ts, args[2], "as", who, "--dir", ts.MkAbs("D"), "--json", args[0], "change", args[1])
}

func comesTo(ts *testscript.TestScript, want string, show ...string) {
	deadline := time.Now().Add(15 * time.Second)
	for {
		out, err := exec.Command(binary, show...).Output()
		var v struct {
			State string `json:"state"`
		}
		if err == nil && json.Unmarshal(out, &v) == nil && v.State == want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s stands at %q: %v", show[len(show)-1], v.State, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// refused runs a command that must be refused with exit code 1 and one line
// of JSON: refused CODE FIELD command…; FIELD may be "-".
func refused(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(binary, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		ts.Fatalf("want exit 1, got %v: %s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	var r struct{ Code, Field, Clause, Fix, Text string }
	if json.Unmarshal([]byte(lines[len(lines)-1]), &r) != nil || r.Code != args[0] || args[1] != "-" && r.Field != args[1] {
		ts.Fatalf("want %s at %s, got %s", args[0], args[1], stderr.String())
	}
	if r.Clause == "" || r.Fix == "" || r.Text == "" {
		ts.Fatalf("a refusal names clause, fix and text: %s", stderr.String())
	}
}

// sheet writes rows.csv: sheet FILE GOOD BAD — good rows with fresh keys, then
// one bad row of each kind.
func sheet(ts *testscript.TestScript, _ bool, args []string) {
	var good int
	_, err := fmt.Sscan(args[1], &good)
	ts.Check(err)
	var b strings.Builder
	b.WriteString("profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr\n")
	row := func(profile, c, cn, number, request string) {
		fmt.Fprintf(&b, "%s,%s,北京市,,某某局（样例）,办公室,%s,resident-id,%s,%s\n", profile, c, cn, number, request)
	}
	first := ""
	for i := range good {
		name := fmt.Sprintf("row%d", i)
		ts.Check(ts.Exec(binary, "key", "--out", name+".pem", "--csr", name+".csr", "--subject", ""))
		request := oneLine(ts.ReadFile(name + ".csr"))
		if i == 0 {
			first = request
		}
		row("person-dual", "CN", fmt.Sprintf("样例%d", i), "11010519491231002X", request)
	}
	row("person-dual", "CN", "密钥重复", "11010519491231002X", first)
	row("person-dual", "CN", "号码错误", "110105194912310021", first)
	row("no-such", "CN", "没有模板", "11010519491231002X", first)
	row("person-dual", "US", "国家错误", "11010519491231002X", first)
	row("person-dual", "CN", "请求损坏", "11010519491231002X", "AAAA"+first)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

func oneLine(pem string) string {
	var b strings.Builder
	for line := range strings.Lines(pem) {
		if !strings.HasPrefix(line, "-----") {
			b.WriteString(strings.TrimSpace(line))
		}
	}
	return b.String()
}

// serial puts a certificate's serial into a variable: serial NAME FILE.pem.
func serial(ts *testscript.TestScript, _ bool, args []string) {
	out, err := exec.Command("openssl", "x509", "-in", ts.MkAbs(args[1]), "-noout", "-serial").Output()
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimPrefix(strings.TrimSpace(string(out)), "serial="))
}
