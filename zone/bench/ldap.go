package bench

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldapserver"
)

// entries is how many people the directories hold.
const entries = 100_000

// holder is one entry of both directories.
type holder struct {
	cn, serial string
	der        []byte
}

// ldap measures our directory against slapd with the same entries.
func (b *bench) ldap(bySerial bool) (Result, error) {
	slapd, slapadd, err := slapdTools()
	if err != nil {
		return Result{}, err
	}
	people, src, run, org, err := b.holders()
	if err != nil {
		return Result{}, err
	}
	ours, stop1, err := b.ourDirectory(src, run)
	if err != nil {
		return Result{}, err
	}
	defer stop1()
	theirs, stop2, err := b.slapd(slapd, slapadd, people, org)
	if err != nil {
		return Result{}, err
	}
	defer stop2()
	var requests [][]byte
	for i := 0; i < len(people); i += 10 { // spread over the whole
		p := people[i]
		name := fmt.Sprintf("CN=%s+serialNumber=%s,OU=Users,O=%s,C=CN", p.cn, p.serial, org)
		if bySerial {
			requests = append(requests, searchRequest("C=CN", 2, "serialNumber", p.serial))
		} else {
			requests = append(requests, searchRequest(name, 0, "", ""))
		}
	}
	askOurs, done1, err := b.ldapAsker(ours, requests)
	if err != nil {
		return Result{}, err
	}
	defer done1()
	askTheirs, done2, err := b.ldapAsker(theirs, requests)
	if err != nil {
		return Result{}, err
	}
	defer done2()
	for _, warm := range []func() (int, error){askOurs, askTheirs} {
		if _, err := warm(); err != nil {
			return Result{}, err
		}
	}
	r, err := b.alternate(askOurs, askTheirs)
	r.Conditions = map[string]any{"entries": entries, "connections": connections, "floor": "OpenLDAP slapd, back-mdb, loglevel 0", "latency": "of a round of requests", "round": len(requests)}
	return r, err
}

func slapdTools() (slapd, slapadd string, err error) {
	find := func(name string) (string, error) {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
		p := "/usr/sbin/" + name
		if _, err := os.Stat(p); err != nil {
			return "", &Missing{"slapd"}
		}
		return p, nil
	}
	if slapd, err = find("slapd"); err == nil {
		slapadd, err = find("slapadd")
	}
	return slapd, slapadd, err
}

// bodies is a ledger's bodies in memory.
type bodies map[string][]byte

func (m bodies) Get(_ context.Context, path string) ([]byte, error) {
	if b, ok := m[path]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("%s: %w", path, os.ErrNotExist)
}

// holders certifies a hundred thousand sample people.
func (b *bench) holders() (people []holder, src bodies, run ledger.Run, org string, err error) {
	set, err := profile.Builtin()
	if err != nil {
		return nil, nil, run, "", err
	}
	org = "BenchCA"
	root, err := b.party(nil, set, "root-ca", "root")
	if err != nil {
		return nil, nil, run, "", err
	}
	op, err := b.party(&root, set, "operating-ca", org) // no O in its name: the CN serves
	if err != nil {
		return nil, nil, run, "", err
	}
	now := b.Now().UTC().Truncate(time.Second)
	src = bodies{}
	run.Leaves = append(run.Leaves, record.Entry{Kind: record.KindAuthority, At: now, Body: op.cert.Raw}.Bytes())
	people = make([]holder, entries)
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for w := range errs {
		wg.Go(func() {
			for i := w; i < entries && errs[w] == nil; i += len(errs) {
				serial := serialOf(i)
				cn := fmt.Sprintf("person%06d", i)
				wish := profile.Wish{Serial: serial, NotBefore: now, NotAfter: now.AddDate(1, 0, 0), Subject: dn.Name{C: "CN", O: org, CN: cn}.Bytes(), Point: op.cert.Point}
				var der []byte
				der, errs[w] = cert.Seal(set["person-dual"].Draft(profile.Sign, wish, op.cert, ca.Place("http://bench", 0)), op.key)
				people[i] = holder{cn, cert.SerialHex(serial), der}
			}
		})
	}
	wg.Wait()
	issuer := alg.Digest(op.cert.Raw)
	for i, p := range people {
		digest := alg.Digest(p.der)
		src[ledger.BodyPath(digest)] = p.der
		body := record.Certificate{Issuer: issuer, Serial: serialOf(i), Use: "sign", Profile: "person-dual", NotBefore: now, NotAfter: now.AddDate(1, 0, 0), Digest: digest, Public: true}.Bytes()
		run.Leaves = append(run.Leaves, record.Entry{Kind: record.KindCertificate, At: now, Body: body}.Bytes())
	}
	return people, src, run, org, errors.Join(errs...)
}

func (b *bench) ourDirectory(src bodies, run ledger.Run) (addr string, stop func(), err error) {
	d, err := directory.Open(filepath.Join(b.dir, "directory"), b.Now)
	if err != nil {
		return "", nil, err
	}
	if err := d.Apply(b.ctx, src, run); err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&ldapserver.Server{Directory: d, Now: b.Now}).Serve(ctx, l) // it ends with ctx
	}()
	return l.Addr().String(), func() {
		cancel()
		<-done
		_ = d.Close()
	}, nil
}

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
attributetype ( 2.999.1.3.1 NAME 'hufuCertificateStatus' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 2.999.1.3.2 NAME 'hufuProfile' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 2.999.1.3.3 NAME 'hufuCertificateHolder' SUP top AUXILIARY MAY ( serialNumber $ hufuCertificateStatus $ hufuProfile $ c $ o ) )
loglevel 0
pidfile %[1]s/slapd.pid
database mdb
maxsize 2147483648
suffix "C=CN"
directory %[1]s/db
index objectClass,cn,serialNumber eq
dbnosync
`

// slapd starts OpenLDAP with the same entries and nothing to log.
func (b *bench) slapd(slapd, slapadd string, people []holder, org string) (addr string, stop func(), err error) {
	dir := filepath.Join(b.dir, "slapd")
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		return "", nil, err
	}
	conf, ldif := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "people.ldif")
	if err := os.WriteFile(conf, fmt.Appendf(nil, slapdConf, dir), 0o600); err != nil {
		return "", nil, err
	}
	var t strings.Builder
	fmt.Fprintf(&t, "dn: C=CN\nobjectClass: country\nc: CN\n\ndn: O=%s,C=CN\nobjectClass: organization\no: %s\n\ndn: OU=Users,O=%s,C=CN\nobjectClass: organizationalUnit\nou: Users\n\n", org, org, org)
	for _, p := range people {
		fmt.Fprintf(&t, "dn: CN=%s+serialNumber=%s,OU=Users,O=%s,C=CN\nobjectClass: inetOrgPerson\nobjectClass: hufuCertificateHolder\ncn: %s\nsn: %s\nserialNumber: %s\no: %s\nc: CN\nhufuProfile: person-dual\nhufuCertificateStatus: %s good\nuserCertificate;binary:: %s\n\n",
			p.cn, p.serial, org, p.cn, p.cn, p.serial, org, p.serial, base64.StdEncoding.EncodeToString(p.der))
	}
	if err := os.WriteFile(ldif, []byte(t.String()), 0o600); err != nil {
		return "", nil, err
	}
	if out, err := exec.CommandContext(b.ctx, slapadd, "-q", "-f", conf, "-l", ldif).CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("slapadd: %w: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(b.ctx, slapd, "-f", conf, "-h", "ldap://"+addr, "-d", "0")
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for range 100 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return addr, stop, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("slapd does not answer")
}

// searchRequest pre-encodes a search: base object with a presence filter, or
// subtree with an equality filter.
func searchRequest(base string, scope byte, attr, value string) []byte {
	tlv := func(tag byte, body ...byte) []byte {
		if len(body) < 128 {
			return append([]byte{tag, byte(len(body))}, body...)
		}
		return append(binary.BigEndian.AppendUint16([]byte{tag, 0x82}, uint16(len(body))), body...)
	}
	filter := tlv(0x87, []byte("objectClass")...)
	if attr != "" {
		filter = tlv(0xA3, append(tlv(4, []byte(attr)...), tlv(4, []byte(value)...)...)...)
	}
	var op []byte
	for _, part := range [][]byte{tlv(4, []byte(base)...), {0x0A, 1, scope}, {0x0A, 1, 0}, {2, 1, 0}, {2, 1, 0}, {1, 1, 0}, filter, {0x30, 0}} {
		op = append(op, part...)
	}
	return tlv(0x30, append([]byte{2, 1, 7}, tlv(0x63, op...)...)...)
}

// ldapAsker asks every request once over all connections and expects one entry each.
func (b *bench) ldapAsker(addr string, requests [][]byte) (ask func() (int, error), stop func(), err error) {
	var conns []net.Conn
	var readers []*bufio.Reader
	for range connections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		conns, readers = append(conns, c), append(readers, bufio.NewReaderSize(c, 16<<10))
	}
	ask = func() (int, error) {
		var wg sync.WaitGroup
		errs := make([]error, connections)
		for i, c := range conns {
			wg.Go(func() {
				for j := i; j < len(requests) && errs[i] == nil; j += connections {
					if _, errs[i] = c.Write(requests[j]); errs[i] == nil {
						errs[i] = oneEntry(readers[i])
					}
				}
			})
		}
		wg.Wait()
		return len(requests), errors.Join(errs...)
	}
	return ask, func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}, nil
}

// oneEntry reads messages up to the result that ends the search.
func oneEntry(r *bufio.Reader) error {
	for found := 0; ; {
		head, err := r.Peek(6)
		if err != nil {
			return err
		}
		n, size := int(head[1]), 2
		if n >= 0x80 {
			size = 2 + n&0x7F
			n = 0
			for _, c := range head[2:min(size, len(head))] {
				n = n<<8 | int(c)
			}
		}
		body := make([]byte, size+n)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		switch op := body[size+3]; op { // after the one-byte message id
		case 0x64:
			found++
		case 0x65:
			if found != 1 {
				return fmt.Errorf("%d entries for one request", found)
			}
			return nil
		default:
			return fmt.Errorf("answer %x", op)
		}
	}
}
