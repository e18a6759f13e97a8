package takeover_test

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/zone/takeover"
)

var now = time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)

// house is an institution that hands over.
type house struct {
	t    *testing.T
	dir  string
	key  *sm2.PrivateKey
	name []byte
	cert []byte
}

func key(t *testing.T) *sm2.PrivateKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newHouse(t *testing.T, revoked ...byte) *house {
	h := &house{t: t, dir: t.TempDir(), key: key(t), name: dn.Name{C: "CN", O: "旧机构", CN: "旧机构 CA"}.Bytes()}
	h.cert = h.issue(1, "", h.key, cert.KeyUsage(cert.UsageCA), cert.CA(-1))
	var entries []byte
	for _, n := range revoked {
		entries = append(entries, crl.Entry{Serial: []byte{0x10, n}, At: now, Reason: 1}.Bytes()...)
	}
	list, err := crl.Seal(crl.Draft{Issuer: h.name, Point: alg.Point(&h.key.PublicKey), ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 7), Number: 41, Entries: entries}.TBS(), h.key)
	if err != nil {
		t.Fatal(err)
	}
	h.write("ca.der", h.cert)
	h.write("last.crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list}))
	return h
}

func (h *house) write(name string, data []byte) {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) issue(serial byte, holder string, of *sm2.PrivateKey, ext ...cert.Extension) []byte {
	h.t.Helper()
	subject := h.name
	if holder != "" {
		subject = dn.Name{C: "CN", O: "旧机构", CN: holder}.Bytes()
	}
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x10, serial}, Issuer: h.name, Subject: subject, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), Point: alg.Point(&of.PublicKey), Extensions: ext}.TBS(), h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	return der
}

func (h *house) check(o takeover.Options) *takeover.Report {
	h.t.Helper()
	o.Now = now
	r, err := takeover.Check(h.dir, o)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// why collects what does not fit.
func why(r *takeover.Report, kind string) (list []string) {
	for _, i := range r.Items {
		if i.Kind == kind && !i.Fits {
			list = append(list, i.Serial+" "+i.Why)
		}
	}
	return list
}

// certsOnly is PKCS#7 with certificates and nothing signed.
func certsOnly(list ...[]byte) []byte {
	var b cryptobyte.Builder
	explicit := tag.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 2})
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(tag.SET, func(*cryptobyte.Builder) {})
				b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 1}) })
				b.AddASN1(explicit, func(b *cryptobyte.Builder) {
					for _, c := range list {
						b.AddBytes(c)
					}
				})
				b.AddASN1(tag.SET, func(*cryptobyte.Builder) {})
			})
		})
	})
	return b.BytesOrPanic()
}

// DER, a bundle of PEM and PKCS#7 are read alike; the same certificate in two
// places counts once, and halves of a pair are packed side by side.
func TestFormatsThatAreHandedOver(t *testing.T) {
	h := newHouse(t, 4)
	enc := key(t)
	h.write("a.der", h.issue(2, "甲", key(t), cert.KeyUsage(cert.UsageSign)))
	same := h.issue(3, "甲", enc, cert.KeyUsage(cert.UsageEnc))
	h.write("certs/bundle.pem", slices.Concat(cert.PEM(same), cert.PEM(h.issue(4, "乙", key(t)))))
	h.write("certs/all.p7b", certsOnly(same, h.issue(5, "丙", key(t))))
	sealed, err := keyfile.Encrypt(enc, []byte("pass"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("keys/1.key", sealed)
	r := h.check(takeover.Options{Pass: []byte("pass")})
	if r.Misfits() != 0 || r.Certificates != 4 || r.Revoked != 1 || r.ListNumber != 41 || r.Key {
		t.Errorf("%+v", r)
	}
	if len(r.Cannot) != 1 {
		t.Errorf("%v", r.Cannot)
	}
	pieces := r.Pieces()
	m, err := handover.Read(pieces[0])
	if err != nil || handover.Digest(pieces[0]) != r.Manifest || len(m.Pieces) != len(pieces)-1 {
		t.Fatalf("%+v %v", m, err)
	}
	list, err := handover.ReadCertificates(pieces[2])
	if err != nil || len(list) != 4 || list[0].Pair != "1003" || list[1].Pair != "1002" || list[1].Use != "enc" {
		t.Errorf("%+v %v", list, err)
	}
	again, err := json.Marshal(h.check(takeover.Options{Pass: []byte("pass")}).Manifest)
	if err != nil || string(again) != `"`+r.Manifest+`"` {
		t.Errorf("another manifest the second time: %s", again)
	}
	if got := why(h.check(takeover.Options{}), "key"); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "口令不符") }) {
		t.Errorf("without the passphrase: %v", got)
	}
}

// Whatever may be a revoked certificate taken for a good one is left out.
func TestWhatDoesNotFit(t *testing.T) {
	h := newHouse(t, 4)
	signing := key(t)
	h.write("2.der", h.issue(2, "甲", signing, cert.KeyUsage(cert.UsageSign)))
	h.write("3a.der", h.issue(3, "乙", key(t)))
	h.write("3b.der", h.issue(3, "丙", key(t)))
	h.write("4.der", h.issue(4, "丁", key(t)))
	forged := newHouse(t).issue(6, "戊", key(t))
	h.write("6.der", forged)
	h.write("7.der", h.issue(7, "己", key(t)))
	h.write("index.txt", []byte("V\t270101000000Z\t\t1002\tunknown\t/CN=a\nV\t270101000000Z\t\t1004\tunknown\t/CN=d\nR\t270101000000Z\t260101000000Z\t1007\tunknown\t/CN=f\nV\t270101000000Z\t\t1008\tunknown\t/CN=g\nnonsense\n"))
	h.write("sign.key", keyfile.Plain(signing))
	h.write("junk.bin", []byte{1, 2, 3})
	r := h.check(takeover.Options{})
	got := strings.Join(slices.Concat(why(r, "certificate"), why(r, "index"), why(r, "key"), why(r, "file")), "\n")
	for _, want := range []string{"1003 序列号重复", "1004 撤销列表中已撤销，CA 数据库记为有效", "1006 签名不能", "1007 CA 数据库记为已撤销", "1008 第 4 行：没有证书文件", "第 5 行无法读取", "1002 是签名证书的私钥", "不是证书、撤销列表、私钥或表格"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not told:\n%s", want, got)
		}
	}
	if r.Certificates != 1 {
		t.Errorf("%d certificates fit", r.Certificates)
	}
}

// A folder beyond the bounds is refused as a whole.
func TestAFolderHasBounds(t *testing.T) {
	h := newHouse(t)
	h.write("2.der", h.issue(2, "甲", key(t)))
	if _, err := takeover.Check(h.dir, takeover.Options{Now: now, Limits: takeover.Limits{Files: 2, Depth: 4}}); !errors.Is(err, takeover.TooMuch) {
		t.Errorf("files: %v", err)
	}
	h.write("a/b/c.der", []byte{1})
	if _, err := takeover.Check(h.dir, takeover.Options{Now: now, Limits: takeover.Limits{Files: 20, Depth: 1}}); !errors.Is(err, takeover.TooMuch) {
		t.Errorf("depth: %v", err)
	}
}
