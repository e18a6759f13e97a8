package story

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Asked to end at any moment of its first start, the program ends cleanly, and
// the next start goes on to where everything works.
func TestAskedToEndAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program many times")
	}
	dir, base := filepath.Join(t.TempDir(), "D"), fmt.Sprint(freeBase())
	run := func() (*exec.Cmd, *bytes.Buffer, chan error) {
		var out bytes.Buffer
		cmd := exec.Command(binary, "up", "--dir", dir, "--base-port", base)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd, &out, ended
	}
	for after := 5 * time.Millisecond; after < 1300*time.Millisecond; after = after * 3 / 2 {
		cmd, out, ended := run()
		time.Sleep(after)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil && !killedBeforeItListened(err) {
				t.Fatalf("asked to end after %v: %v\n%s", after, err, out)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("asked to end after %v, it did not\n%s", after, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "endpoints.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("ended after %v and left its addresses: %v", after, err)
		}
	}
	cmd, out, ended := run()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "endpoints.json")); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the next start: %v\n%s", err, out)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the next start does not answer\n%s", out)
		}
	}
	list := exec.Command(binary, "as", "ra-clerk", "ra", "list", "--dir", dir)
	if text, err := list.CombinedOutput(); err != nil {
		t.Errorf("after all that nobody can work: %v\n%s", err, text)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// killedBeforeItListened is the only other end: in the first milliseconds the
// runtime has not yet taken the signal, and nothing has been written.
func killedBeforeItListened(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}
