package agree

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/directory"
)

// folder asks a directory over LDAP, anonymously.
type folder struct {
	Directory
	now func() time.Time

	mu   sync.Mutex
	conn *ldap.Conn
}

func (c *folder) Name() string  { return c.Directory.Name }
func (c *folder) Title() string { return c.Directory.Title }

// askMax bounds one question to any channel.
const askMax = 10 * time.Second

func (c *folder) dial() (*ldap.Conn, error) {
	conf := c.TLS
	if u, err := url.Parse(c.URL); conf == nil && err == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	conn, err := ldap.DialURL(c.URL, ldap.DialWithDialer(&net.Dialer{Timeout: askMax}), ldap.DialWithTLSConfig(conf))
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(askMax)
	if c.StartTLS {
		if err := conn.StartTLS(conf); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// search asks over a connection that is kept; a broken one is made anew once.
func (c *folder) search(ctx context.Context, filter string, attrs ...string) (*ldap.SearchResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := ldap.NewSearchRequest(directory.Suffix, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 8, 0, false, filter, attrs, nil)
	for try := 0; ; try++ {
		fresh := c.conn == nil
		if fresh {
			var err error
			if c.conn, err = c.dial(); err != nil {
				return nil, err
			}
		}
		conn := c.conn // what is closed late may be another, or none, by then
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		res, err := c.conn.Search(req)
		stop()
		switch {
		case err == nil:
			return res, nil
		case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			return &ldap.SearchResult{}, nil
		case answered(err):
			return nil, err
		}
		_ = c.conn.Close() // broken already
		if c.conn = nil; fresh || try > 0 || ctx.Err() != nil {
			return nil, err
		}
	}
}

// answered reports whether an error is the server's word, not a broken line.
func answered(err error) bool {
	var e *ldap.Error
	return errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork
}

// Expect: what is published as a digest is not to be found here, nor what is not
// due.
func (c *folder) Expect(s Subject) State {
	if s.Due.After(c.now()) {
		return Absent
	}
	return ifPublic(s)
}

// Ripens tells when that changes by the clock alone.
func (c *folder) Ripens(s Subject) time.Time { return s.Due }

func ifPublic(s Subject) State {
	if s.Scope == "" && !s.Public {
		return Absent
	}
	return expected(s)
}

func (c *folder) Ask(ctx context.Context, s Subject) (Answer, error) {
	if s.Scope != "" {
		return c.list(ctx, s)
	}
	serial := cert.SerialHex(s.Serial)
	res, err := c.search(ctx, "(&(objectClass=pkiUser)(serialNumber="+serial+"))", "userCertificate;binary", "hufuCertificateStatus")
	if err != nil {
		return Answer{}, err
	}
	if len(res.Entries) == 0 {
		return Answer{State: Absent}, nil
	}
	if len(res.Entries) > 1 {
		return Answer{Wrong: fmt.Sprintf("%d 个条目有这个序列号", len(res.Entries))}, nil
	}
	a := Answer{State: Absent, Digest: []byte{}}
	for _, der := range res.Entries[0].GetRawAttributeValues("userCertificate;binary") {
		if k, err := cert.Parse(der); err == nil && k.SerialHex() == serial {
			a.Digest = alg.Digest(der)
		}
	}
	for _, v := range res.Entries[0].GetAttributeValues("hufuCertificateStatus") {
		words := strings.Fields(v)
		switch {
		case len(words) == 2 && words[0] == serial && words[1] == "good":
			a.State = Good
		case len(words) == 4 && words[0] == serial && words[1] == "revoked":
			a.State = Revoked
			a.Reason, err = strconv.Atoi(words[2])
			if a.At, _ = time.Parse("20060102150405Z", words[3]); err != nil || a.At.IsZero() {
				return Answer{Wrong: "状态无法读取：" + v}, nil // that is the finding
			}
		}
	}
	return a, nil
}

func (c *folder) list(ctx context.Context, s Subject) (Answer, error) {
	if s.Issuer == nil {
		return Answer{Silent: true}, nil
	}
	cn, attr := directory.ListPlace(s.Scope)
	res, err := c.search(ctx, "(&(objectClass=cRLDistributionPoint)(cn="+ldap.EscapeFilter(cn)+"))", attr)
	if err != nil {
		return Answer{}, err
	}
	for _, e := range res.Entries {
		for _, der := range e.GetRawAttributeValues(attr) {
			l, err := crl.Parse(der)
			if err != nil || !bytes.Equal(l.Issuer, s.Issuer.Subject) {
				continue // of another CA
			}
			if alg.Verify(s.Issuer.PublicKey(), l.RawTBS, l.Signature) != nil || l.Number == nil {
				return Answer{Wrong: "列表签名无效"}, nil
			}
			return Answer{Number: l.Number.Int64(), Digest: alg.Digest(der)}, nil
		}
	}
	return Answer{Wrong: "没有这份列表"}, nil
}

// bodies asks the public ledger for what lies beside it.
type bodies struct{ source ledger.Source }

func (bodies) Name() string  { return "tiles" }
func (bodies) Title() string { return "账本正文" }

// Expect: what is published as a digest has no body for strangers.
func (bodies) Expect(s Subject) State { return ifPublic(s) }

func (c bodies) Ask(ctx context.Context, s Subject) (Answer, error) {
	if s.Scope != "" {
		s.Public = true
	}
	body, err := c.source.Get(ctx, ledger.BodyPath(s.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return Answer{State: Absent, Wrong: unless(!s.Public, "没有正文")}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	if !bytes.Equal(alg.Digest(body), s.Digest) {
		return Answer{Wrong: "正文不是账本所记的"}, nil
	}
	return Answer{State: expected(s), Number: s.Number, Digest: s.Digest, Reason: s.Reason}, nil
}

// unless is why, unless something is as it should be.
func unless(fine bool, why string) string {
	if fine {
		return ""
	}
	return why
}

// View is the CA's own database, where somebody lets the job look at it.
type View interface {
	Certificate(ctx context.Context, serial []byte) (ca.Issued, error)
}

type database struct{ view View }

func (database) Name() string  { return "database" }
func (database) Title() string { return "CA 数据库" }

func (database) Expect(s Subject) State { return expected(s) }

func (c database) Ask(ctx context.Context, s Subject) (Answer, error) {
	if s.Scope != "" {
		return Answer{Silent: true}, nil
	}
	issued, err := c.view.Certificate(ctx, s.Serial)
	if errors.Is(err, ca.NoCert) {
		return Answer{State: Absent}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	a := Answer{State: Good, Digest: alg.Digest(issued.DER)}
	if issued.Revoked {
		a.State, a.Reason, a.At = Revoked, issued.Reason, issued.RevokedAt
	}
	return a, nil
}
