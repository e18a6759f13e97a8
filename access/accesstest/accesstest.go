// Package accesstest is people who really sign, on a real register, for tests.
// (人员测试件)
package accesstest

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
)

// Database opens a fresh SQLite file with a register of people and a trail.
func Database(t testing.TB) *sqldb.DB {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "site.db"))
}

func open(t testing.TB, source string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), source)
	if err == nil {
		t.Cleanup(func() { _ = db.Close() })
		err = errors.Join(access.Migrate(t.Context(), db), audit.Migrate(t.Context(), db))
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Each runs f on SQLite and, where a server is given, on PostgreSQL; server is
// the URL of one where schemas may be made.
func Each(t *testing.T, server string, f func(t *testing.T, open func(t testing.TB) *sqldb.DB)) {
	t.Run("SQLite", func(t *testing.T) { f(t, Database) })
	t.Run("PostgreSQL", func(t *testing.T) {
		if server == "" {
			t.Skip("HUFU_TEST_POSTGRES is not set")
		}
		admin, err := sql.Open("pgx", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Close() })
		f(t, func(t testing.TB) *sqldb.DB {
			t.Helper()
			name := fmt.Sprintf("site_%x", alg.Digest([]byte(rand.Text()))[:8])
			if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = admin.Exec("DROP SCHEMA " + name + " CASCADE") })
			u, err := url.Parse(server)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set("search_path", name)
			u.RawQuery = q.Encode()
			return open(t, u.String())
		})
	})
}

// Staff is a register and the keys of its people.
type Staff struct {
	*access.People
	keys  map[access.PersonID]*sm2.PrivateKey
	certs map[access.PersonID][]byte
	now   func() time.Time
}

// Open begins an empty register.
func Open(db *sqldb.DB, now func() time.Time) *Staff {
	return &Staff{&access.People{DB: db}, map[access.PersonID]*sm2.PrivateKey{}, map[access.PersonID][]byte{}, now}
}

// Key is a fresh one.
func Key(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Request is a certificate request of a key, PEM.
func Request(t testing.TB, cn string, key *sm2.PrivateKey) string {
	t.Helper()
	der, err := csr.New(dn.Name{C: "CN", CN: cn}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(csr.PEM(der))
}

// Certify is a certificate of a point, good for a year about a time, signed by
// a key that is nobody's in particular.
func Certify(t testing.TB, cn string, point []byte, by *sm2.PrivateKey, at time.Time) []byte {
	t.Helper()
	serial := alg.Digest(point, []byte(rand.Text()))[:16]
	serial[0] = serial[0]&0x7F | 0x40
	d := cert.Draft{Serial: serial, Issuer: dn.Name{C: "CN", CN: "CA"}.Bytes(), Subject: dn.Name{C: "CN", CN: cn}.Bytes(), Point: point,
		NotBefore: at.AddDate(0, -6, 0).UTC().Truncate(time.Second), NotAfter: at.AddDate(0, 6, 0).UTC().Truncate(time.Second), Extensions: []cert.Extension{cert.SKI(point)}}
	der, err := cert.Seal(d.TBS(), by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Hire registers somebody with a key of their own, named as their id.
func (s *Staff) Hire(t testing.TB, id access.PersonID, roles ...access.Role) access.Person {
	t.Helper()
	key := Key(t)
	p, err := access.PersonOf(id, string(id), Certify(t, string(id), alg.Point(&key.PublicKey), key, s.now()), roles...)
	if err == nil {
		err = s.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := s.Add(tx, p, "test", s.now()); return err })
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Forget()
	s.Hold(id, key, p.Cert)
	return p
}

// Hold gives somebody a key and the certificate it goes with.
func (s *Staff) Hold(id access.PersonID, key *sm2.PrivateKey, cert []byte) {
	s.keys[id], s.certs[id] = key, cert
}

// Cert is the certificate somebody holds.
func (s *Staff) Cert(id access.PersonID) []byte { return s.certs[id] }

// Who is somebody as the register has them now, by the certificate they hold.
func (s *Staff) Who(t testing.TB, id access.PersonID) access.Person {
	t.Helper()
	p, err := s.PersonByCert(t.Context(), alg.Digest(s.certs[id]))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Sign signs a text as somebody.
func (s *Staff) Sign(t testing.TB, id access.PersonID, text []byte) []byte {
	t.Helper()
	sig, err := alg.Sign(s.keys[id], text)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Claim signs a statement, on the person's side.
func (s *Staff) Claim(t testing.TB, id access.PersonID, st access.Statement) access.Claim {
	t.Helper()
	return access.Claim{Cert: s.certs[id], At: st.At, Nonce: st.Nonce, Signature: s.Sign(t, id, st.Text())}
}
