package ldappush

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/pki/directory"
)

// Server is an external LDAP server and the account that may write to it.
type Server struct {
	URL      string // ldap://host:port or ldaps://host:port
	StartTLS bool
	TLS      *tls.Config // nil trusts what the system trusts
	Bind     string      // DN of the account
	PassFile string      // its password, read at every connection: it may change
	Base     string      // where our tree begins; directory.Suffix when empty
}

// ErrClear is returned when a password would cross a network for all to read.
var ErrClear = errors.New("口令不得在网络上明文传送：请用 ldaps:// 或 StartTLS（GM/T 0034 §5.3.2）")

// ErrSchema is returned by a server that does not know what our entries are made of.
var ErrSchema = errors.New("目录服务器没有装入虎符的属性与对象类（hufuCertificateHolder），见手册《目录与一致性》")

const (
	dialMax = 10 * time.Second
	askMax  = 60 * time.Second // one operation: the largest list takes a while
	passMax = 4096
)

// session is one connection. Its methods may be called at once: questions
// share the wire.
type session struct {
	conn  *ldap.Conn
	model *directory.Directory
	base  string // folded
	stop  func() bool
}

func (s Server) base() string {
	if s.Base == "" {
		return directory.Suffix
	}
	return s.Base
}

// open connects, binds and looks whether the server knows our schema. The
// session ends with ctx.
func (s Server) open(ctx context.Context, model *directory.Directory) (*session, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("ldap: %w", err)
	}
	if u.Scheme == "ldap" && !s.StartTLS && s.Bind != "" && !loopback(u.Hostname()) {
		return nil, ErrClear
	}
	base, ok := directory.Key(s.base())
	if suffix, _ := directory.Key(directory.Suffix); !ok || base != suffix && !strings.HasSuffix(base, ","+suffix) {
		return nil, fmt.Errorf("ldap: base %q is not at or below %s", s.Base, directory.Suffix)
	}
	conf := s.TLS
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	conn, err := ldap.DialURL(s.URL, ldap.DialWithDialer(&net.Dialer{Timeout: dialMax}), ldap.DialWithTLSConfig(conf))
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(askMax)
	x := &session{conn: conn, model: model, base: base}
	x.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := s.greet(conn, conf); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func (s Server) greet(conn *ldap.Conn, conf *tls.Config) error {
	if s.StartTLS {
		if err := conn.StartTLS(conf); err != nil {
			return err
		}
	}
	if s.Bind != "" {
		pass, err := os.ReadFile(s.PassFile)
		if err != nil {
			return err
		}
		if len(pass) > passMax {
			return fmt.Errorf("%s is no password file", s.PassFile)
		}
		if err := conn.Bind(s.Bind, string(bytes.TrimRight(pass, "\r\n"))); err != nil {
			return err
		}
	}
	return knows(conn)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// knows reads the server's schema. One that does not show it may still do.
func knows(conn *ldap.Conn) error {
	res, err := conn.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", []string{"subschemaSubentry"}, nil))
	if err != nil || len(res.Entries) != 1 {
		return err
	}
	at := res.Entries[0].GetAttributeValue("subschemaSubentry")
	res, err = conn.Search(ldap.NewSearchRequest(at, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=subschema)", []string{"objectClasses"}, nil))
	if at == "" || err != nil || len(res.Entries) != 1 {
		return nil // it does not show its schema; writing will tell
	}
	for _, v := range res.Entries[0].GetAttributeValues("objectClasses") {
		if strings.Contains(v, "hufuCertificateHolder") {
			return nil
		}
	}
	return ErrSchema
}

func (x *session) close() {
	x.stop()
	_ = x.conn.Close() // nothing is owed to the server any more
}

// image is an entry's attributes, folded, each with its values in order.
type image map[string][][]byte

func imageOf(attrs []ldapmsg.Attribute) image {
	m := image{}
	for _, a := range attrs {
		m.add(a.Type, a.Values)
	}
	return m
}

func (m image) add(name string, values [][]byte) {
	k := directory.AttributeKey(name)
	for _, v := range values {
		if k == "objectclass" { // servers write them as their schema does
			v = bytes.ToLower(v)
		}
		m[k] = append(m[k], v)
	}
	slices.SortFunc(m[k], bytes.Compare)
}

// Sum is SM3 over an entry's sorted attribute values: two entries that say the
// same have one sum, in whatever order a server keeps them.
func (m image) sum() []byte {
	var b []byte
	field := func(v []byte) { b = append(fmt.Appendf(b, "%d:", len(v)), v...) }
	for _, k := range m.names() {
		field([]byte(k))
		for _, v := range m[k] {
			field(v)
		}
		b = append(b, ';')
	}
	return alg.Digest(b)
}

func (m image) names() (names []string) {
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// differ names the attributes in which two images differ.
func (m image) differ(o image) (names []string) {
	for _, k := range m.names() {
		if !slices.EqualFunc(m[k], o[k], bytes.Equal) {
			names = append(names, k)
		}
	}
	for _, k := range o.names() {
		if _, ok := m[k]; !ok {
			names = append(names, k)
		}
	}
	return names
}

// container tells entries that others may share with us: that they exist is
// all we ask.
func (m image) container() bool {
	return slices.ContainsFunc(m["objectclass"], func(v []byte) bool {
		return slices.Contains([]string{"country", "organization", "organizationalunit"}, string(v))
	})
}

// read asks for one entry; none is no error.
func (x *session) read(name string) (*ldap.Entry, error) {
	res, err := x.conn.Search(ldap.NewSearchRequest(name, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", []string{"*"}, nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(res.Entries) != 1 {
		return nil, fmt.Errorf("ldap: %d entries named %s", len(res.Entries), name)
	}
	return res.Entries[0], nil
}

func imageOfEntry(e *ldap.Entry) image {
	m := image{}
	for _, a := range e.Attributes {
		m.add(a.Name, a.ByteValues)
	}
	return m
}

// again bounds how often one entry is tried while others write beside us.
const again = 4

// bring makes the server's entry what the ledger says, whatever it was, and
// reports whether anything had to be written. Doing it twice changes nothing.
func (x *session) bring(id uint32) (bool, error) {
	name, attrs, err := x.model.Entry(id)
	if err != nil {
		return false, err
	}
	if key, _ := directory.Key(name); key != x.base && !strings.HasSuffix(key, ","+x.base) {
		return false, nil // above where the server's part begins
	}
	want := imageOf(attrs)
	for range again {
		var have *ldap.Entry
		if have, err = x.read(name); err != nil {
			return false, err
		}
		if have == nil {
			err = x.add(name, attrs)
		} else if want.container() {
			return false, nil
		} else if d := want.differ(imageOfEntry(have)); len(d) == 0 {
			return false, nil
		} else {
			err = x.modify(name, attrs, have, d)
		}
		switch code := codeOf(err); {
		case err == nil:
			return true, nil
		case code == ldap.LDAPResultNoSuchObject: // its parent, or itself since
			if parent, ok := x.parent(name); ok {
				if _, err := x.bring(parent); err != nil {
					return false, err
				}
			}
		case code == ldap.LDAPResultEntryAlreadyExists:
		case have != nil && slices.Contains(reshaped, code):
			if err := x.remove(name); err != nil {
				return false, err
			}
		default:
			return false, err
		}
	}
	return false, fmt.Errorf("ldap: %s does not stay as written: %w", name, err)
}

// reshaped are the codes for an entry whose very shape somebody changed, so
// that it can only be made anew.
var reshaped = []uint16{ldap.LDAPResultObjectClassModsProhibited, ldap.LDAPResultObjectClassViolation, ldap.LDAPResultNamingViolation, ldap.LDAPResultNotAllowedOnRDN}

func codeOf(err error) uint16 {
	var e *ldap.Error
	if errors.As(err, &e) {
		return e.ResultCode
	}
	return ldap.LDAPResultSuccess
}

func (x *session) parent(name string) (uint32, bool) {
	for i := 1; i < len(name); i++ {
		if name[i] == ',' && name[i-1] != '\\' {
			return x.model.Find(name[i+1:])
		}
	}
	return 0, false
}

func (x *session) add(name string, attrs []ldapmsg.Attribute) error {
	req := ldap.NewAddRequest(name, nil)
	for _, a := range attrs {
		req.Attribute(a.Type, texts(a.Values))
	}
	return x.conn.Add(req)
}

// modify replaces the attributes that differ and takes away those that are not ours.
func (x *session) modify(name string, attrs []ldapmsg.Attribute, have *ldap.Entry, differ []string) error {
	req := ldap.NewModifyRequest(name, nil)
	for _, a := range attrs {
		if slices.Contains(differ, directory.AttributeKey(a.Type)) {
			req.Replace(a.Type, texts(a.Values))
		}
	}
	want := imageOf(attrs)
	for _, a := range have.Attributes {
		if _, ok := want[directory.AttributeKey(a.Name)]; !ok {
			req.Delete(a.Name, nil)
		}
	}
	return x.conn.Modify(req)
}

func (x *session) remove(name string) error {
	err := x.conn.Del(ldap.NewDelRequest(name, nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil
	}
	return err
}

func texts(values [][]byte) (list []string) {
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}
