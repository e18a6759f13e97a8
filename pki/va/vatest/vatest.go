// Package vatest is a small CA whose ledger a responder can follow, for tests. (状态服务测试件)
package vatest

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/va"
)

// Origin names the ledger.
const Origin = "test.hufu/ca"

// World is a CA, its responder's certificate and its ledger in a folder.
type World struct {
	T      testing.TB
	Now    func() time.Time
	Dir    string
	CA     *cert.Certificate
	CAKey  *sm2.PrivateKey
	Cert   *cert.Certificate // the responder's
	Key    *sm2.PrivateKey
	LogKey *sm2.PrivateKey
	Folder *ledger.Folder
	Due    time.Time // of certificates to come; zero is at once

	full   int64 // number of the newest full list
	first  int64
	front  ledger.Frontier
	leaves [][]byte
	bodies [][]byte
}

// New makes a CA that has said nothing but its own certificate, unsealed.
func New(t testing.TB, now func() time.Time) *World {
	w := &World{T: t, Now: now, Dir: t.TempDir(), LogKey: key(t)}
	w.CA, w.CAKey = w.Certify("测试 CA", cert.CA(0), cert.KeyUsage(cert.UsageCA))
	w.Cert, w.Key = w.Certify("OCSP", cert.ExtKeyUsage(false, cert.UsageOCSPSigning), cert.NoCheck(), cert.AKI(w.CA.Point))
	w.Folder = &ledger.Folder{Dir: w.Dir, Key: &w.LogKey.PublicKey, Origin: Origin}
	w.Say(record.KindAuthority, w.CA.Raw)
	return w
}

func key(t testing.TB) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Serial is 16 random octets, positive.
func Serial() []byte {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial)
	serial[0] &= 0x7F
	return serial
}

// Certify makes a certificate by the CA; the first one signs itself.
func (w *World) Certify(cn string, ext ...cert.Extension) (*cert.Certificate, *sm2.PrivateKey) {
	w.T.Helper()
	return w.CertifyAs(Serial(), cn, ext...)
}

// CertifyAs is Certify with a serial of choice.
func (w *World) CertifyAs(serial []byte, cn string, ext ...cert.Extension) (*cert.Certificate, *sm2.PrivateKey) {
	w.T.Helper()
	return w.certify(serial, dn.Name{C: "CN", O: "虎符", CN: cn}, ext...)
}

func (w *World) certify(serial []byte, subject dn.Name, ext ...cert.Extension) (*cert.Certificate, *sm2.PrivateKey) {
	w.T.Helper()
	k := key(w.T)
	d := cert.Draft{Serial: serial, Subject: subject.Bytes(), Point: alg.Point(&k.PublicKey),
		NotBefore: w.Now().Add(-time.Hour), NotAfter: w.Now().AddDate(1, 0, 0), Extensions: append(ext, cert.SKI(alg.Point(&k.PublicKey)))}
	d.Issuer = d.Subject
	by := k
	if w.CA != nil {
		d.Issuer, by = w.CA.Subject, w.CAKey
	}
	der, err := cert.Seal(d.TBS(), by)
	if err != nil {
		w.T.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		w.T.Fatal(err)
	}
	return c, k
}

// Say adds an entry.
func (w *World) Say(kind string, body []byte) {
	w.leaves = append(w.leaves, record.Entry{Kind: kind, At: w.Now(), Body: body}.Bytes())
}

// Issue makes a certificate and puts it on record.
func (w *World) Issue(cn string, public bool) *cert.Certificate {
	w.T.Helper()
	c, _ := w.Certify(cn)
	w.Record(c, public)
	return c
}

// Record puts a certificate on record.
func (w *World) Record(c *cert.Certificate, public bool) {
	w.Say(record.KindCertificate, record.Certificate{Issuer: alg.Digest(w.CA.Raw), Serial: c.Serial.Bytes(), Use: "sign", Profile: "device-sign",
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Digest: alg.Digest(c.Raw), Public: public, Due: w.Due}.Bytes())
	w.bodies = append(w.bodies, c.Raw)
}

// Pair issues a signing and an encryption certificate for one subject.
func (w *World) Pair(subject dn.Name, public bool) (sign, enc *cert.Certificate) {
	w.T.Helper()
	sign, _ = w.certify(Serial(), subject)
	enc, _ = w.certify(Serial(), subject)
	for use, pair := range map[string][2]*cert.Certificate{"sign": {sign, enc}, "enc": {enc, sign}} {
		c, other := pair[0], pair[1]
		w.Say(record.KindCertificate, record.Certificate{Issuer: alg.Digest(w.CA.Raw), Serial: c.Serial.Bytes(), Pair: other.Serial.Bytes(), Use: use, Profile: "person-dual",
			NotBefore: c.NotBefore, NotAfter: c.NotAfter, Digest: alg.Digest(c.Raw), Public: public, Due: w.Due}.Bytes())
		w.bodies = append(w.bodies, c.Raw)
	}
	return sign, enc
}

// Revoke changes a status.
func (w *World) Revoke(c *cert.Certificate, reason int) {
	w.Say(record.KindStatus, record.Status{Issuer: alg.Digest(w.CA.Raw), Serial: c.Serial.Bytes(), Revoked: true, Reason: reason, At: w.Now()}.Bytes())
}

// Early has a certificate come into the directory before it is due.
func (w *World) Early(c *cert.Certificate) {
	w.Say(record.KindRelease, record.Release{Issuer: alg.Digest(w.CA.Raw), Serial: c.Serial.Bytes(), At: w.Now()}.Bytes())
}

// Release ends a hold.
func (w *World) Release(c *cert.Certificate) {
	w.Say(record.KindStatus, record.Status{Issuer: alg.Digest(w.CA.Raw), Serial: c.Serial.Bytes(), At: w.Now()}.Bytes())
}

// CRL signs a list, empty unless entries are given, and puts it on record. A
// delta list goes on from the full list before.
func (w *World) CRL(scope string, number int64, entries ...crl.Entry) []byte {
	w.T.Helper()
	d := crl.Draft{Issuer: w.CA.Subject, Point: w.CA.Point, ThisUpdate: w.Now(), NextUpdate: w.Now().Add(time.Hour), Number: number}
	switch scope {
	case "full":
		w.full = number
	case "delta":
		d.Base = w.full
	}
	for _, e := range entries {
		d.Entries = append(d.Entries, e.Bytes()...)
	}
	der, err := crl.Seal(d.TBS(), w.CAKey)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Say(record.KindCRL, record.CRL{Issuer: alg.Digest(w.CA.Raw), Scope: scope, Number: number, ThisUpdate: d.ThisUpdate,
		NextUpdate: d.NextUpdate, Digest: alg.Digest(der)}.Bytes())
	w.bodies = append(w.bodies, der)
	return der
}

// Take returns what was said since the last Take or Seal as a run.
func (w *World) Take() ledger.Run {
	w.T.Helper()
	hashes := make([][]byte, len(w.leaves))
	for i, l := range w.leaves {
		hashes[i] = ledger.LeafHash(l)
	}
	front, err := w.front.Append(hashes...)
	if err != nil {
		w.T.Fatal(err)
	}
	run := ledger.Run{First: w.first, Leaves: w.leaves, Frontier: front}
	w.first, w.front, w.leaves = front.Size(), front, nil
	return run
}

// Seal publishes what was said in the folder.
func (w *World) Seal() {
	w.T.Helper()
	run := w.Take()
	ctx := w.T.Context()
	if err := w.Folder.Put(ctx, ledger.Batch{First: run.First, Leaves: run.Leaves, Bodies: w.bodies}); err != nil {
		w.T.Fatal(err)
	}
	w.bodies = nil
	note, err := ledger.Checkpoint{Origin: Origin, Size: run.Frontier.Size(), Root: run.Frontier.Root(), At: w.Now().UTC()}.Sign(w.LogKey)
	if err != nil {
		w.T.Fatal(err)
	}
	if err := w.Folder.Seal(ctx, bytes.Clone(note)); err != nil {
		w.T.Fatal(err)
	}
}

// Follower reads the folder from the start.
func (w *World) Follower() *ledger.Follower {
	return &ledger.Follower{Source: ledger.Dir(w.Dir), Key: &w.LogKey.PublicKey, Origin: Origin}
}

// Responder is a started one, which has read nothing.
func (w *World) Responder() *va.Responder {
	w.T.Helper()
	r := &va.Responder{Signer: w.Key, Cert: w.Cert.Raw, Now: w.Now}
	if err := r.Start(); err != nil {
		w.T.Fatal(err)
	}
	return r
}
