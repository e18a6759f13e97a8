package matrix

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
)

// handedOver is another institution's CA, taken over without its key.
func (w *world) handedOver(m map[string]try) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	name, from := dn.Name{C: "CN", O: "样例", CN: "旧机构 CA"}.Bytes(), time.Now().Add(-time.Hour).UTC()
	seal := func(serial byte, subject []byte, point []byte, ext ...cert.Extension) []byte {
		der, err := cert.Seal(cert.Draft{Serial: []byte{0x20, serial}, Issuer: name, Subject: subject, NotBefore: from, NotAfter: from.AddDate(2, 0, 0), Point: point, Extensions: ext}.TBS(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		return der
	}
	holder2, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	point := alg.Point(&key.PublicKey)
	top := seal(0, name, point, cert.SKI(point), cert.KeyUsage(cert.UsageCA), cert.CA(-1))
	list, err := crl.Seal(crl.Draft{Issuer: name, Point: point, ThisUpdate: from, NextUpdate: from.AddDate(0, 0, 7), Number: 41}.TBS(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	certs, err := json.Marshal([]handover.Certificate{{DER: seal(1, dn.Name{C: "CN", O: "样例", CN: "旧用户"}.Bytes(), alg.Point(&holder2.PublicKey)), Use: "sign"}})
	if err != nil {
		w.t.Fatal(err)
	}
	manifest, err := handover.Manifest{Version: 1, CA: top, ListNumber: 41, Certificates: 1, Pieces: []handover.Piece{
		{Kind: handover.List, SM3: handover.Digest(list)}, {Kind: handover.Certificates, SM3: handover.Digest(certs), Count: 1},
	}}.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	at := "/api/v1/handover/" + handover.Digest(manifest)
	for n, piece := range [][]byte{manifest, list, certs} {
		w.must("ca-admin", "POST", fmt.Sprintf("%s/%d", at, n), piece, new([]byte))
	}
	m["ca handover.piece"] = func(r access.Role) string { return w.call(holder(r), "POST", at+"/2", certs, new([]byte)) }
	w.matter(m, "ca", "authority.takeover", map[string]string{"manifest": handover.Digest(manifest), "key": "no", "reason": "核对"}, "ca-admin", "ca-super")
}
