package km

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
)

func person(t *testing.T, n int, role access.Role) (access.Person, *sm2.PrivateKey) {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return access.Person{ID: access.PersonID(fmt.Sprint("p", n)), Roles: []access.Role{role}, Point: alg.Point(&key.PublicKey)}, key
}

// Any three of five shares open the seal, two do not, and neither does a share
// of another splitting; each opens with its custodian's key alone.
func TestAQuorumOpensTheSealAndFewerDoNot(t *testing.T) {
	var people []access.Person
	var keys []*sm2.PrivateKey
	for n := range 5 {
		p, k := person(t, n, access.KMForensic)
		people, keys = append(people, p), append(keys, k)
	}
	c, err := NewCustody(3, people)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCustody(3, people)
	if err != nil {
		t.Fatal(err)
	}
	share := func(c Custody, n int) []byte {
		plain, err := sm2.Decrypt(keys[n], c.Shares[string(people[n].ID)])
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	for a := range 5 {
		for b := range 5 {
			for d := range 5 {
				key, err := c.seal([][]byte{share(c, a), share(c, b), share(c, d)})
				if three := a != b && b != d && a != d; three != (err == nil) {
					t.Errorf("shares %d, %d, %d: %v", a, b, d, err)
				}
				if err == nil && string(alg.Point(&key.PublicKey)) != string(c.Seal) {
					t.Error("another key came out")
				}
			}
		}
	}
	if _, err := c.seal([][]byte{share(c, 0), share(c, 1), share(other, 2)}); err == nil {
		t.Error("a share of another splitting was taken")
	}
	if _, err := c.seal([][]byte{share(other, 0), share(other, 1), share(other, 2)}); err == nil {
		t.Error("another secret opened the seal")
	}
	if _, err := sm2.Decrypt(keys[1], c.Shares[string(people[0].ID)]); err == nil {
		t.Error("a custodian opens another's share")
	}
}

// Who could use what they hold cannot be a custodian (GM/T 0034 §10.3).
func TestCustodiansHoldNoOtherPower(t *testing.T) {
	for role, may := range map[access.Role]bool{access.KMSuper: false, access.KMAdmin: false, access.KMOperator: false, access.KMAuditor: true, access.KMForensic: true} {
		var people []access.Person
		for n := range 3 {
			r := access.KMForensic
			if n == 2 {
				r = role
			}
			p, _ := person(t, n, r)
			people = append(people, p)
		}
		if _, err := NewCustody(2, people); (err == nil) != may {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// A package stands or falls with both signatures and every statement in it.
func TestAnAlteredPackageIsRefused(t *testing.T) {
	_, key := person(t, 0, access.KMForensic)
	_, seal := person(t, 1, access.KMForensic)
	point, name := alg.Point(&key.PublicKey), dn.Name{C: "CN", CN: "密钥管理"}.Bytes()
	der, err := cert.Seal(cert.Draft{Serial: []byte{0x41, 1}, Issuer: name, Subject: name, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(1<<32, 0), Point: point, Extensions: []cert.Extension{cert.SKI(point)}}.TBS(), key)
	if err != nil {
		t.Fatal(err)
	}
	statement := "我同意"
	sig, err := alg.Sign(key, []byte(statement))
	if err != nil {
		t.Fatal(err)
	}
	make := func(p Package) Evidence {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		e := Evidence{Package: text}
		if e.Centre, err = alg.Sign(key, text); err != nil {
			t.Fatal(err)
		}
		if e.Seal, err = alg.Sign(seal, text); err != nil {
			t.Fatal(err)
		}
		return e
	}
	good := Package{Version: 1, Warrant: Warrant{Case: "1"}, Centre: der, Signed: []Signed{{statement, sig, der}}}
	whole := make(good)
	if _, err := whole.Check(alg.Point(&seal.PublicKey)); err != nil {
		t.Fatal(err)
	}
	bad := map[string]Evidence{}
	e := whole
	e.Package = []byte(strings.Replace(string(e.Package), `"case":"1"`, `"case":"2"`, 1))
	bad["another case"] = e
	e = whole
	e.Seal = e.Centre
	bad["no seal"] = e
	forged := good
	forged.Signed = []Signed{{"我不同意", sig, der}}
	bad["another statement"] = make(forged)
	for name, e := range bad {
		if _, err := e.Check(alg.Point(&seal.PublicKey)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := whole.Check(point); err == nil {
		t.Error("another seal: taken")
	}
}
