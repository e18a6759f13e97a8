// Package ldaptest runs OpenLDAP for tests: in a folder of its own, on a
// loopback port, empty. (外部目录测试件)
package ldaptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/pki/directory/ldappush"
)

// Bind is the account that may write.
const (
	Bind     = "cn=publisher,C=CN"
	Password = "only-for-this-test"
)

const conf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include %[1]s/hufu.schema
modulepath /usr/lib/ldap
moduleload back_mdb
loglevel 0
pidfile %[1]s/slapd.pid
sizelimit 500
TLSCertificateFile %[1]s/tls.pem
TLSCertificateKeyFile %[1]s/tls.key
sockbuf_max_incoming_auth 67108864
database mdb
suffix "C=CN"
rootdn "%[2]s"
rootpw %[3]s
access to attrs=userPassword by anonymous auth by * none
access to * by * read
directory %[1]s/db
maxsize 1073741824
dbnosync
index objectClass,serialNumber,cn eq
`

// Slapd is a server.
type Slapd struct {
	T        testing.TB
	URL      string
	Secure   string      // the same over TLS
	TLS      *tls.Config // that trusts it
	PassFile string
	addr     string
	dir      string
	cmd      *exec.Cmd
}

// Tool finds a program of OpenLDAP, or skips the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	for _, p := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(p); err == nil {
			return p
		}
	}
	t.Skipf("%s is not here; ./test.sh installs it", name)
	return ""
}

// Start begins an empty server that ends with the test.
func Start(t testing.TB) *Slapd {
	t.Helper()
	s := &Slapd{T: t, dir: t.TempDir()}
	Tool(t, "slapd")
	s.PassFile = filepath.Join(s.dir, "pass")
	for name, text := range map[string]string{"slapd.conf": fmt.Sprintf(conf, s.dir, Bind, Password), "hufu.schema": ldappush.Schema, "pass": Password + "\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.certify()
	s.addr = s.port()
	s.URL, s.Secure = "ldap://"+s.addr, "ldaps://"+s.port()
	t.Cleanup(s.Stop)
	s.Again()
	return s
}

// port finds a free one.
func (s *Slapd) port() string {
	s.T.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.T.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certify makes a certificate for TLS.
func (s *Slapd) certify() {
	s.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.T.Fatal(err)
	}
	draft := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, draft, draft, &key.PublicKey, key)
	if err != nil {
		s.T.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		s.T.Fatal(err)
	}
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1", RootCAs: x509.NewCertPool()}
	s.TLS.RootCAs.AddCert(c)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.T.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.pem": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			s.T.Fatal(err)
		}
	}
}

// Again starts the server after Stop, with what it had.
func (s *Slapd) Again() {
	s.T.Helper()
	s.cmd = exec.Command(Tool(s.T, "slapd"), "-f", filepath.Join(s.dir, "slapd.conf"), "-h", s.URL+" "+s.Secure, "-d", "0")
	if err := s.cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.T.Fatal("slapd does not answer")
}

// Stop ends the server; doing it twice is harmless.
func (s *Slapd) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // gone already is as good
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Run runs one of OpenLDAP's clients as the account that may write.
func (s *Slapd) Run(tool, stdin string, args ...string) (string, error) {
	return s.RunAs(tool, stdin, append([]string{"-D", Bind, "-w", Password}, args...)...)
}

// RunAs runs one as whoever the arguments say; nobody when they do not.
func (s *Slapd) RunAs(tool, stdin string, args ...string) (string, error) {
	cmd := exec.Command(Tool(s.T, tool), append([]string{"-x", "-H", s.URL}, args...)...)
	cmd.Env = []string{"LDAPNOINIT=1", "LC_ALL=C.UTF-8"}
	if stdin != "" {
		f := filepath.Join(s.dir, "stdin")
		if err := os.WriteFile(f, []byte(stdin), 0o600); err != nil {
			return "", err
		}
		cmd.Args = append(cmd.Args, "-f", f)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
