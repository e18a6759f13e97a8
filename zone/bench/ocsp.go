package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/emmansun/gmsm/sm2"
	"github.com/valyala/fasthttp"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vahttp"
)

// connections is how many clients ask at once.
const connections = 16

// known is how many certificates the status service knows, a tenth revoked.
const known = 10000

// ocsp measures the status service over loopback against the same HTTP server
// giving fixed bytes, for live answers with one bare signature a request.
func (b *bench) ocsp(live bool) (Result, error) {
	resp, issuer, key, err := b.responder()
	if err != nil {
		return Result{}, err
	}
	dir := filepath.Join(b.dir, "public")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Result{}, err
	}
	pub := &vahttp.Public{Responder: resp, Dir: dir, OCSPPath: "/ocsp", Now: b.Now}
	if err := pub.Open(); err != nil {
		return Result{}, err
	}
	defer pub.Close()
	var nonce []byte
	var bare *sm2.PrivateKey
	if live {
		nonce, bare = []byte("0123456789abcdef"), key
	}
	requests := make([][]byte, known)
	for i := range requests {
		der := ocsp.NewRequest(nonce, ocsp.Ask(alg.SHA1, true, issuer, serialOf(i)))
		requests[i] = fmt.Appendf(nil, "POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n%s", len(der), der)
	}
	size := len(resp.Respond(b.ctx, ocsp.NewRequest(nonce, ocsp.Ask(alg.SHA1, true, issuer, serialOf(0)))).DER)
	path, stop1, err := serve(pub.Server())
	if err != nil {
		return Result{}, err
	}
	defer stop1()
	fixed := (&vahttp.Public{}).Server()
	body, message := make([]byte, size), make([]byte, 256)
	fixed.Handler = func(c *fasthttp.RequestCtx) {
		if bare != nil {
			if _, err := alg.Sign(bare, message); err != nil {
				panic(err)
			}
		}
		c.Response.Header.SetContentType("application/ocsp-response")
		c.Response.SetBodyRaw(body)
	}
	floor, stop2, err := serve(fixed)
	if err != nil {
		return Result{}, err
	}
	defer stop2()
	askPath, done1, err := b.asker(path, requests)
	if err != nil {
		return Result{}, err
	}
	defer done1()
	askFloor, done2, err := b.asker(floor, requests)
	if err != nil {
		return Result{}, err
	}
	defer done2()
	if _, err := askPath(); err != nil { // fills the cache of presigned answers
		return Result{}, err
	}
	r, err := b.alternate(askPath, askFloor)
	r.Conditions = map[string]any{"connections": connections, "certificates": known, "answer_bytes": size, "latency": "of a round over all certificates", "client": "in the same process"}
	return r, err
}

func serialOf(i int) []byte {
	s := alg.Digest([]byte("bench"), []byte(strconv.Itoa(i)))[:16]
	s[0] = s[0]&0x7F | 0x40
	return s
}

// responder is a status service that has read its certificates from a ledger.
func (b *bench) responder() (*va.Responder, *cert.Certificate, *sm2.PrivateKey, error) {
	set, err := profile.Builtin()
	if err != nil {
		return nil, nil, nil, err
	}
	root, err := b.party(nil, set, "root-ca", "根")
	if err != nil {
		return nil, nil, nil, err
	}
	op, err := b.party(&root, set, "operating-ca", "运营")
	if err != nil {
		return nil, nil, nil, err
	}
	signer, err := b.party(&op, set, "ocsp", "状态")
	if err != nil {
		return nil, nil, nil, err
	}
	r := &va.Responder{Issuers: [][]byte{op.cert.Raw, root.cert.Raw}, Signer: signer.key, Cert: signer.cert.Raw, Now: b.Now}
	if err := r.Start(); err != nil {
		return nil, nil, nil, err
	}
	run := ledger.Run{}
	issuer, now := alg.Digest(op.cert.Raw), b.Now().UTC()
	for i := range known {
		body := record.Certificate{Issuer: issuer, Serial: serialOf(i), Use: "sign", Profile: "person-dual", NotBefore: now, NotAfter: now.AddDate(1, 0, 0), Digest: make([]byte, 32), Public: true}.Bytes()
		run.Leaves = append(run.Leaves, record.Entry{Kind: record.KindCertificate, At: now, Body: body}.Bytes())
		if i%10 == 0 {
			body := record.Status{Issuer: issuer, Serial: serialOf(i), Revoked: true, Reason: 1, At: now}.Bytes()
			run.Leaves = append(run.Leaves, record.Entry{Kind: record.KindStatus, At: now, Body: body}.Bytes())
		}
	}
	hashes := make([][]byte, len(run.Leaves))
	for i, l := range run.Leaves {
		hashes[i] = ledger.LeafHash(l)
	}
	if run.Frontier, err = run.Frontier.Append(hashes...); err != nil {
		return nil, nil, nil, err
	}
	run.Sealed = ledger.Checkpoint{Size: run.Frontier.Size(), Root: run.Frontier.Root(), At: now}
	return r, op.cert, signer.key, r.Apply(run)
}

func serve(s *fasthttp.Server) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() { _ = s.Serve(l) }() // it ends when the listener is closed
	return l.Addr().String(), func() { _ = l.Close() }, nil
}

// asker asks every request once over all connections, with a client that does
// less work than any server.
func (b *bench) asker(addr string, requests [][]byte) (ask func() (int, error), stop func(), err error) {
	var conns []net.Conn
	var readers []*bufio.Reader
	for range connections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		conns, readers = append(conns, c), append(readers, bufio.NewReaderSize(c, 8<<10))
	}
	ask = func() (int, error) {
		var wg sync.WaitGroup
		errs := make([]error, connections)
		for i, c := range conns {
			wg.Go(func() {
				for j := i; j < len(requests) && errs[i] == nil; j += connections {
					errs[i] = exchange(c, readers[i], requests[j])
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return 0, err
			}
		}
		return len(requests), nil
	}
	return ask, func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}, nil
}

func exchange(c net.Conn, r *bufio.Reader, request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	size := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answer %q", line)
		}
		if len(line) == 2 {
			break
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(n))); err != nil {
				return err
			}
		}
	}
	_, err := r.Discard(size)
	return err
}
