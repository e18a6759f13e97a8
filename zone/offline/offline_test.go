package offline

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/zone/desk"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// custodian is somebody with a key and a certificate good enough to be named.
func custodian(t *testing.T, cn string) (*cert.Certificate, *desk.Person) {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, name := alg.Point(&key.PublicKey), dn.Name{C: "CN", O: "机构", CN: cn}.Bytes()
	der, err := cert.Seal(cert.Draft{Serial: alg.Digest(point)[:8], Issuer: name, Subject: name, NotBefore: start, NotAfter: start.AddDate(1, 0, 0), Point: point, Extensions: []cert.Extension{cert.SKI(point)}}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, &desk.Person{Name: cn, Key: key, Cert: der}
}

// A root half made is made anew, and one that is made is never made again.
func TestARootIsMadeOnce(t *testing.T) {
	a, _ := custodian(t, "甲")
	b, _ := custodian(t, "乙")
	f := Folder{Dir: t.TempDir(), Now: func() time.Time { return start }}
	p := Plan{Subject: dn.Name{C: "CN", O: "机构", CN: "根"}, Public: "http://pki.test", Threshold: 2, Custodians: []*cert.Certificate{a, b}}
	for _, name := range []string{unfinished, "keys/salt", "out/minutes.txt", "root.db"} { // as a crash leaves it
		if err := write(f.path(name), []byte("half")); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := f.Minutes(); refusal.Of(err) == nil {
		t.Errorf("a root half made has minutes: %v", err)
	}
	root, err := f.Init(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Init(t.Context(), p); refusal.Of(err) == nil || refusal.Of(err).Reason != Made {
		t.Errorf("made again: %v", err)
	}
	if _, again, err := f.charter(); err != nil || string(again.Raw) != string(root.Raw) {
		t.Errorf("another root: %v", err)
	}
	foreign := Folder{Dir: t.TempDir(), Now: f.Now}
	if err := write(foreign.path("keys", "mine"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.Init(t.Context(), p); refusal.Of(err) == nil {
		t.Errorf("a foreign folder was taken: %v", err)
	}
	if _, err := os.Stat(filepath.Join(foreign.Dir, "keys", "mine")); err != nil {
		t.Error("a foreign file is gone")
	}
}

// What was signed is given again whoever opens the key, and a spoilt share opens
// nothing.
func TestARequestIsSignedOnceByAnyQuorum(t *testing.T) {
	a, pa := custodian(t, "甲")
	b, pb := custodian(t, "乙")
	c, pc := custodian(t, "丙")
	f := Folder{Dir: t.TempDir(), Now: func() time.Time { return start }}
	if _, err := f.Init(t.Context(), Plan{Subject: dn.Name{C: "CN", O: "机构", CN: "根"}, Public: "http://pki.test", Threshold: 2, Custodians: []*cert.Certificate{a, b, c}}); err != nil {
		t.Fatal(err)
	}
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	req, err := csr.New(dn.Name{C: "CN", O: "机构", CN: "下级 CA"}.Bytes(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Import(t.Context(), req, ca.AuthorityOrder{Days: 365, Policies: []string{"2.999.1"}})
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for _, present := range [][]*desk.Person{{pa, pb}, {pb, pc}, {pa, pb, pc}} {
		file, err := f.Sign(t.Context(), r.ID, present)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil || first != nil && string(data) != string(first) {
			t.Errorf("another certificate: %v", err)
		}
		first = data
	}
	stranger := *pb
	stranger.Key = pc.Key // who has the certificate but not the key
	if _, err := f.Sign(t.Context(), r.ID, []*desk.Person{pa, &stranger}); refusal.Of(err) == nil || refusal.Of(err).Reason != NoQuorum {
		t.Errorf("opened without the key: %v", err)
	}
}
