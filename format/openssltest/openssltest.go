// Package openssltest asks OpenSSL about what we write, in tests: a judge who
// knows nothing of us. (独立判定)
package openssltest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Here reports whether OpenSSL is installed; ./test.sh installs it.
func Here() bool {
	_, err := exec.LookPath("openssl")
	return err == nil
}

// Run returns what OpenSSL says to both outputs, and its failure. Without
// OpenSSL the test is skipped.
func Run(t testing.TB, stdin []byte, args ...string) (string, error) {
	t.Helper()
	if !Here() {
		t.Skip("openssl is not installed; ./test.sh installs it")
	}
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Must is Run where a failure of OpenSSL is one of the test.
func Must(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	out, err := Run(t, stdin, args...)
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
