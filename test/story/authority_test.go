package story

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/hsm/soft"
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

// rootsigned plays the institution's own root where it is offline: rootsigned
// OUT CSR signs a request for a CA's key with the root's key, which lies beside D.
func rootsigned(ts *testscript.TestScript, _ bool, args []string) {
	pass, err := os.ReadFile(ts.MkAbs("D/secrets/ca.pass"))
	ts.Check(err)
	device, err := soft.Open(ts.MkAbs("D/ca/keys"), pass)
	ts.Check(err)
	key, err := device.Signer("root-ca")
	ts.Check(err)
	root, err := cert.FromPEM([]byte(ts.ReadFile("D/certificates/root-ca.pem")))
	ts.Check(err)
	req, err := csr.Parse([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	from := time.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	der, err := cert.Seal(cert.Draft{
		Serial: alg.Digest(req.Point)[:15], Issuer: root.Subject, Subject: req.Subject, NotBefore: from, NotAfter: from.AddDate(10, 0, 0), Point: req.Point,
		Extensions: []cert.Extension{cert.AKI(root.Point), cert.SKI(req.Point), cert.KeyUsage(cert.UsageCA), cert.CA(0)},
	}.TBS(), key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), cert.PEM(der), 0o644))
}
