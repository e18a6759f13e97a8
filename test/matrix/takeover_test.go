package matrix

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/zone/takeover"
)

// handedOver are two other institutions' CAs: one taken over with its key, whose
// certificate's status may be changed, and one that waits.
func (w *world) handedOver(m map[string]try) {
	taken, key, _ := w.pack("甲机构 CA", 0x20)
	dir := filepath.Join(filepath.Dir(w.e.People), "ca", "keys")
	pass, err := os.ReadFile(filepath.Join(filepath.Dir(w.e.People), "secrets", "ca.pass"))
	if err != nil {
		w.t.Fatal(err)
	}
	device, err := soft.Open(dir, pass)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := device.Import(ca.WardLabel(alg.Point(&key.PublicKey)), key); err != nil {
		w.t.Fatal(err)
	}
	w.done("ca-admin", w.agree("authority.takeover", map[string]string{"manifest": taken, "key": "yes", "reason": "核对"}, "ca-admin", "ca-super"))
	w.matter(m, "ca", "taken.status", map[string]string{"serial": "2001", "do": "freeze", "reason": "核对"}, "ca-admin", "ca-super")
	waiting, _, certs := w.pack("乙机构 CA", 0x21)
	m["ca handover.piece"] = func(r access.Role) string {
		return w.call(holder(r), "POST", "/api/v1/handover/"+waiting+"/2", certs, new([]byte))
	}
	w.matter(m, "ca", "authority.takeover", map[string]string{"manifest": waiting, "key": "no", "reason": "核对"}, "ca-admin", "ca-super")
	w.archive(m)
	for _, step := range []string{"authority.takeover/propose", "taken.status/propose"} {
		asked := m["ca "+step]
		m["ca "+step] = func(r access.Role) string {
			if code := asked(r); code != "ca.handover" && code != "ca.held" { // agreed to meanwhile, which is looked at last
				return code
			}
			return ""
		}
	}
}

// archive is a key archive sealed to the key centre.
func (w *world) archive(m map[string]try) {
	key, user := w.newKey(), w.newKey()
	name, from := dn.Name{C: "CN", O: "样例", CN: "丙机构 CA"}.Bytes(), time.Now().Add(-time.Hour).UTC()
	dir := w.t.TempDir()
	write := func(file string, data []byte, err error) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), data, 0o600)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	seal := func(serial byte, subject []byte, of *sm2.PrivateKey, ext ...cert.Extension) ([]byte, error) {
		return cert.Seal(cert.Draft{Serial: []byte{0x22, serial}, Issuer: name, Subject: subject, NotBefore: from, NotAfter: from.AddDate(2, 0, 0), Point: alg.Point(&of.PublicKey), Extensions: ext}.TBS(), key)
	}
	top, err := seal(0, name, key, cert.KeyUsage(cert.UsageCA), cert.CA(-1))
	write("ca.der", top, err)
	enc, err := seal(1, dn.Name{C: "CN", O: "样例", CN: "旧用户"}.Bytes(), user, cert.KeyUsage(cert.UsageEnc))
	write("enc.der", enc, err)
	list, err := crl.Seal(crl.Draft{Issuer: name, Point: alg.Point(&key.PublicKey), ThisUpdate: from, NextUpdate: from.AddDate(0, 0, 7), Number: 41}.TBS(), key)
	write("list.crl", list, err)
	write("enc.key", keyfile.Plain(user), nil)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(w.e.People), "certificates", "km-identity.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	centre, err := cert.FromPEM(data)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := takeover.Check(dir, takeover.Options{KM: centre, Now: time.Now()})
	if err != nil || len(r.Archives()) != 1 {
		w.t.Fatal(r, err)
	}
	w.matter(m, "km", "km.takeover", json.RawMessage(r.Archives()[0]), "km-admin", "km-super")
	asked := m["km km.takeover/propose"]
	m["km km.takeover/propose"] = func(r access.Role) string {
		if code := asked(r); code != "km.duplicate" { // agreed to meanwhile, which is looked at last
			return code
		}
		return ""
	}
}

func (w *world) newKey() *sm2.PrivateKey {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// pack makes and uploads a package of one certificate.
func (w *world) pack(cn string, no byte) (digest string, key *sm2.PrivateKey, certs []byte) {
	w.t.Helper()
	key = w.newKey()
	user := w.newKey()
	name, from := dn.Name{C: "CN", O: "样例", CN: cn}.Bytes(), time.Now().Add(-time.Hour).UTC()
	seal := func(serial byte, subject []byte, point []byte, ext ...cert.Extension) []byte {
		der, err := cert.Seal(cert.Draft{Serial: []byte{no, serial}, Issuer: name, Subject: subject, NotBefore: from, NotAfter: from.AddDate(2, 0, 0), Point: point, Extensions: ext}.TBS(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		return der
	}
	point := alg.Point(&key.PublicKey)
	top := seal(0, name, point, cert.SKI(point), cert.KeyUsage(cert.UsageCA), cert.CA(-1))
	list, err := crl.Seal(crl.Draft{Issuer: name, Point: point, ThisUpdate: from, NextUpdate: from.AddDate(0, 0, 7), Number: 41}.TBS(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	certs, err = json.Marshal([]handover.Certificate{{DER: seal(1, dn.Name{C: "CN", O: "样例", CN: "旧用户"}.Bytes(), alg.Point(&user.PublicKey)), Use: "sign"}})
	if err != nil {
		w.t.Fatal(err)
	}
	manifest, err := handover.Manifest{Version: 1, CA: top, ListNumber: 41, Certificates: 1, Pieces: []handover.Piece{
		{Kind: handover.List, SM3: handover.Digest(list)}, {Kind: handover.Certificates, SM3: handover.Digest(certs), Count: 1},
	}}.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	digest = handover.Digest(manifest)
	for n, piece := range [][]byte{manifest, list, certs} {
		w.must("ca-admin", "POST", fmt.Sprintf("/api/v1/handover/%s/%d", digest, n), piece, new([]byte))
	}
	return digest, key, certs
}
