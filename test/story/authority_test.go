package story

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// order writes what is to be agreed on of a subordinate CA: order FILE CSR
// ISSUER PATHLEN POLICY [PERMITTED…].
func order(ts *testscript.TestScript, _ bool, args []string) {
	var path int
	_, err := fmt.Sscan(args[3], &path)
	ts.Check(err)
	data, err := json.Marshal(map[string]any{
		"csr": ts.ReadFile(args[1]), "issuer": args[2], "path_len": path, "days": 3650, "policies": args[4:5], "permitted": args[5:],
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// shows runs a command until its output has a text: shows TEXT command….
func shows(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "PATH="+ts.Getenv("PATH"), "CRL="+ts.Getenv("CRL"), "AIA="+ts.Getenv("AIA"), "OCSP="+ts.Getenv("OCSP"))
		out, _ := cmd.CombinedOutput()
		if strings.Contains(string(out), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %q in %s", args[0], out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// returned writes what another root returned: returned FILE CERT CHAIN.
func returned(ts *testscript.TestScript, _ bool, args []string) {
	data, err := json.Marshal(map[string]string{"certificate": ts.ReadFile(args[1]), "chain": ts.ReadFile(args[2])})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}
