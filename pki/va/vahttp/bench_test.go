package vahttp_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/valyala/fasthttp"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/va/vahttp"
	"github.com/hufu-pki/hufu/pki/va/vatest"
)

type fasthttpCtx = fasthttp.RequestCtx

// client sends prepared requests over one connection and reads no more of the
// answers than it must.
type client struct {
	net.Conn
	r *bufio.Reader
}

func (c client) post(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	size := 0
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
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
	_, err := c.r.Discard(size)
	return err
}

const connections = 16

// round sends the requests over every connection and returns how long it took.
func round(b *testing.B, addr string, requests [][]byte) time.Duration {
	b.Helper()
	var conns []client
	for range connections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, client{c, bufio.NewReaderSize(c, 8<<10)})
	}
	start := time.Now()
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() {
			for j := range requests {
				if err := c.post(requests[(i*97+j)%len(requests)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(start)
}

func post(der []byte) []byte {
	return fmt.Appendf(nil, "POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n%s", len(der), der)
}

// floor is the same server with the same bounds, giving fixed bytes; with a key
// it also makes one bare signature a request.
func floor(b *testing.B, body []byte, key *sm2.PrivateKey) string {
	b.Helper()
	server := (&vahttp.Public{}).Server()
	message := make([]byte, 256)
	server.Handler = func(c *fasthttp.RequestCtx) {
		if key != nil {
			if _, err := alg.Sign(key, message); err != nil {
				panic(err)
			}
		}
		c.Response.Header.SetContentType("application/ocsp-response")
		c.Response.SetBodyRaw(body)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	b.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// ratio alternates path and floor in one run, as design.md §10 asks.
func ratio(b *testing.B, path, floor string, requests [][]byte) {
	b.Helper()
	round(b, path, requests)
	round(b, floor, requests)
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		if n++; n%2 == 0 { // neither always comes first
			ours += round(b, path, requests)
			theirs += round(b, floor, requests)
			continue
		}
		theirs += round(b, floor, requests)
		ours += round(b, path, requests)
	}
	each := float64(n * connections * len(requests))
	b.ReportMetric(each/ours.Seconds(), "path/s")
	b.ReportMetric(each/theirs.Seconds(), "floor/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
}

func prepare(b *testing.B, nonce []byte) (s *service, requests [][]byte, size int) {
	b.Helper()
	s = serve(b)
	for range 1000 {
		serial := vatest.Serial()
		s.Say(record.KindCertificate, record.Certificate{Issuer: alg.Digest(s.CA.Raw), Serial: serial, Digest: make([]byte, 32)}.Bytes())
		requests = append(requests, post(ocsp.NewRequest(nonce, ocsp.Ask(alg.SHA1, true, s.CA, serial))))
	}
	s.publish()
	a := s.do("POST", "/ocsp", requests[0][bytes.Index(requests[0], []byte("\r\n\r\n"))+4:])
	_, _ = io.Discard.Write(a.body)
	return s, requests, len(a.body)
}

// Bar: 85 % of the server answering fixed bytes.
func BenchmarkPresigned(b *testing.B) {
	s, requests, size := prepare(b, nil)
	ratio(b, s.url[len("http://"):], floor(b, make([]byte, size), nil), requests)
}

// Bar: 70 %, aim 85 %, of the server with one bare signature a request.
func BenchmarkLive(b *testing.B) {
	s, requests, size := prepare(b, []byte("0123456789abcdef"))
	ratio(b, s.url[len("http://"):], floor(b, make([]byte, size), s.Key), requests[:200])
}
