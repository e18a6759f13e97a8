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
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
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

// pack makes and uploads a package of one certificate.
func (w *world) pack(cn string, no byte) (digest string, key *sm2.PrivateKey, certs []byte) {
	w.t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	user, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
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
