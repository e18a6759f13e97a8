package kmmsg_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/cms"
	"github.com/hufu-pki/hufu/format/kmmsg"
)

// The module as standards.md §2.2 has it, for the standard library's encoder:
// a second opinion on every tag.
type (
	entName struct {
		Hash   pkix.AlgorithmIdentifier
		Name   asn1.RawValue
		Key    []byte
		Serial *big.Int
	}
	appUserInfo struct {
		No       *big.Int
		Key      asn1.RawValue
		From, To time.Time `asn1:"generalized"`
		Name     []byte    `asn1:"optional,explicit,tag:0"`
		Region   string    `asn1:"optional,explicit,tag:1,ia5"`
	}
	applyKeyReq struct {
		Type            pkix.AlgorithmIdentifier
		Len             int
		Asym, Sym, Hash pkix.AlgorithmIdentifier
		User            appUserInfo
	}
	ksRequest struct {
		Version int
		CA      entName
		List    []asn1.RawValue
		At      time.Time `asn1:"generalized"`
		Task    *big.Int
	}
	caRequest struct {
		Signed ksRequest
		Alg    pkix.AlgorithmIdentifier
		Sig    []byte
	}
	retKeyRespond struct {
		No     *big.Int
		Key    asn1.RawValue
		Sealed asn1.RawValue
	}
	errorPkg struct {
		No   int
		Desc string `asn1:"optional,explicit,tag:0,utf8"`
	}
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// party is an entity with a certificate.
func party(t testing.TB, name string, serial int64) (*sm2.PrivateKey, *cert.Certificate) {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &smx509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: at, NotAfter: at.AddDate(1, 0, 0)}
	der, err := smx509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}

func point(t testing.TB) []byte {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return alg.Point(&key.PublicKey)
}

func asks(t testing.TB) []kmmsg.Ask {
	return []kmmsg.Ask{
		{Kind: kmmsg.Apply, Serial: []byte{0x81, 2, 3}, Point: point(t), From: at, To: at.AddDate(1, 0, 0), UserName: "张三", Region: "110000"},
		{Kind: kmmsg.Restore, Serial: []byte{4}, Point: point(t)},
		{Kind: kmmsg.Revoke, Serial: []byte{5}},
	}
}

func request(t testing.TB) ([]byte, *cert.Certificate) {
	t.Helper()
	key, c := party(t, "CA 服务器", 77)
	der, err := kmmsg.Build(c, key, kmmsg.Task(1<<40), asks(t), at)
	if err != nil {
		t.Fatal(err)
	}
	return der, c
}

func unmarshal(t testing.TB, der []byte, v any, params string) {
	t.Helper()
	if rest, err := asn1.UnmarshalWithParams(der, v, params); err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes left", err, len(rest))
	}
}

func TestARequestIsWhatTheModuleSays(t *testing.T) {
	der, c := request(t)
	var m caRequest
	unmarshal(t, der, &m, "")
	if m.Signed.Version != 1 || !m.Signed.At.Equal(at) || m.Signed.Task.Int64() != 1<<40 || len(m.Signed.List) != 3 {
		t.Errorf("%+v", m.Signed)
	}
	if sum := sm3.Sum(c.Point); !bytes.Equal(m.Signed.CA.Key, sum[:]) {
		t.Error("entPubKeyHash is not SM3 over the 65 bytes of the point")
	}
	if m.Signed.CA.Name.Class != asn1.ClassContextSpecific || m.Signed.CA.Name.Tag != 4 || !bytes.Equal(m.Signed.CA.Name.Bytes, c.Subject) {
		t.Error("entName is not the certificate's subject as directoryName")
	}
	var a applyKeyReq
	unmarshal(t, m.Signed.List[0].FullBytes, &a, "tag:0")
	if a.Len != 256 || !a.Asym.Algorithm.Equal(alg.SM2Encrypt) || !a.Sym.Algorithm.Equal(alg.SM4) || string(a.User.Name) != "张三" || a.User.Region != "110000" ||
		a.User.No.Cmp(big.NewInt(0x810203)) != 0 {
		t.Errorf("%+v", a)
	}
	var no struct{ N *big.Int }
	unmarshal(t, m.Signed.List[2].FullBytes, &no, "tag:2")
	if no.N.Int64() != 5 {
		t.Errorf("revoke: %v", no.N)
	}
	raw, err := asn1.Marshal(m.Signed)
	if err != nil {
		t.Fatal(err)
	}
	if !sm2.VerifyASN1WithSM2(c.PublicKey(), nil, raw, m.Sig) {
		t.Error("gmsm does not verify the signature over DER(ksRequest)")
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	der, c := request(t)
	r, err := kmmsg.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(c); err != nil {
		t.Error(err)
	}
	if !r.CA.Is(c) || !bytes.Equal(r.Task, kmmsg.Task(1<<40)) || !r.At.Equal(at) {
		t.Errorf("%+v", r.Request)
	}
	for i, k := range []kmmsg.Kind{kmmsg.Apply, kmmsg.Restore, kmmsg.Revoke} {
		if r.Asks[i].Kind != k || !r.Asks[i].Algorithms.Supported(k) && k != kmmsg.Revoke {
			t.Errorf("request %d: %+v", i, r.Asks[i])
		}
	}
	if !bytes.Equal(r.Bytes(), r.Signed) {
		t.Error("written again it differs")
	}
}

// One implementation in the field tags the CHOICE EXPLICIT (note 3).
func TestTheChoiceIsReadInBothTaggings(t *testing.T) {
	der, c := request(t)
	var m caRequest
	unmarshal(t, der, &m, "")
	for i, one := range m.Signed.List {
		sequence, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: one.Bytes})
		if err != nil {
			t.Fatal(err)
		}
		m.Signed.List[i] = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: one.Tag, IsCompound: true, Bytes: sequence}
	}
	explicit, err := asn1.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := kmmsg.ParseRequest(explicit)
	if err != nil {
		t.Fatal(err)
	}
	want, err := kmmsg.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("the two taggings read differently")
	}
	if err := got.Verify(c); !errors.Is(err, alg.ErrSignature) {
		t.Errorf("other bytes verify with the old signature: %v", err)
	}
}

func TestTheKeyMayBeHashedWhole(t *testing.T) {
	_, c := party(t, "CA", 9)
	e := kmmsg.EntityOf(c)
	e.KeyHash = alg.Digest(c.SPKI)
	if !e.Is(c) {
		t.Error("SM3 of the SubjectPublicKeyInfo is not accepted")
	}
	_, other := party(t, "CA", 9)
	if kmmsg.EntityOf(other).Is(c) {
		t.Error("another key with the same name and serial passes")
	}
	_, renamed := party(t, "CB", 9)
	f := kmmsg.EntityOf(c)
	f.Name = kmmsg.EntityOf(renamed).Name
	if f.Is(c) {
		t.Error("another directory name passes")
	}
}

func TestAnAskersForeignKeyDoesNotSpoilTheMessage(t *testing.T) {
	der, _ := request(t)
	var m caRequest
	unmarshal(t, der, &m, "")
	var a applyKeyReq
	unmarshal(t, m.Signed.List[0].FullBytes, &a, "tag:0")
	rsa, err := asn1.Marshal(struct {
		A pkix.AlgorithmIdentifier
		K asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}}, asn1.BitString{Bytes: []byte{1}, BitLength: 8}})
	if err != nil {
		t.Fatal(err)
	}
	a.User.Key = asn1.RawValue{FullBytes: rsa}
	changed, err := asn1.MarshalWithParams(a, "tag:0")
	if err != nil {
		t.Fatal(err)
	}
	m.Signed.List[0] = asn1.RawValue{FullBytes: changed}
	if der, err = asn1.Marshal(m); err != nil {
		t.Fatal(err)
	}
	r, err := kmmsg.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if r.Asks[0].Point != nil || r.Asks[1].Point == nil {
		t.Error("the RSA key should be missing and its neighbour's there")
	}
}

// answer makes a key centre's answer to the three asks above.
func answer(t testing.TB, asked []byte, change func(*kmmsg.Response)) ([]byte, *cert.Certificate) {
	t.Helper()
	key, c := party(t, "KM", 78)
	req, err := kmmsg.ParseRequest(asked)
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := sm2.EncryptASN1(rand.Reader, &key.PublicKey, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	sealed := cms.Envelope{
		Recipient: cms.Ref{Serial: req.Asks[0].Serial}, SessionKey: cipher, Content: make([]byte, 64),
		Signer: cms.RefOf(c), Cert: c.Raw, Signature: []byte{0x30, 0},
	}.Bytes()
	r := kmmsg.Response{KM: kmmsg.EntityOf(c), At: at, Task: req.Task, Answers: []kmmsg.Answer{
		{Kind: kmmsg.Apply, Serial: req.Asks[0].Serial, Point: point(t), Sealed: sealed},
		{Kind: kmmsg.Failed, ErrNo: 8, ErrDesc: "没有此密钥"},
		{Kind: kmmsg.Revoke, Serial: req.Asks[2].Serial},
	}}
	if change != nil {
		change(&r)
	}
	der, err := r.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return der, c
}

func TestAResponseIsWhatTheModuleSays(t *testing.T) {
	asked, _ := request(t)
	der, _ := answer(t, asked, nil)
	var m caRequest // the two have the same shape
	unmarshal(t, der, &m, "")
	var k retKeyRespond
	unmarshal(t, m.Signed.List[0].FullBytes, &k, "tag:0")
	if _, err := cms.Parse(k.Sealed.FullBytes); err != nil {
		t.Error(err)
	}
	var e errorPkg
	unmarshal(t, m.Signed.List[1].FullBytes, &e, "tag:3")
	if e.No != 8 || e.Desc != "没有此密钥" {
		t.Errorf("%+v", e)
	}
}

func TestTheCATakesResultsInItsOwnOrder(t *testing.T) {
	asked, _ := request(t)
	der, km := answer(t, asked, nil)
	list, err := kmmsg.Check(asked, der, km)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || len(list[0].Content) != 64 || len(list[0].Point) != 65 || list[1].ErrNo != 8 || list[1].Desc != "没有此密钥" ||
		!bytes.Equal(list[1].UserCertNo, []byte{4}) || list[2].ErrNo != 0 {
		t.Errorf("%+v", list)
	}
}

func TestTheCARefusesAnswersThatAreNotItsOwn(t *testing.T) {
	asked, _ := request(t)
	_, stranger := party(t, "KM", 78)
	for name, change := range map[string]func(*kmmsg.Response){
		"another task":             func(r *kmmsg.Response) { r.Task = []byte{1} },
		"another serial":           func(r *kmmsg.Response) { r.Answers[2].Serial = []byte{9} },
		"another order":            func(r *kmmsg.Response) { r.Answers[0], r.Answers[2] = r.Answers[2], r.Answers[0] },
		"one answer too few":       func(r *kmmsg.Response) { r.Answers = r.Answers[:2] },
		"another key centre":       func(r *kmmsg.Response) { r.KM = kmmsg.EntityOf(stranger) },
		"an error without number":  func(r *kmmsg.Response) { r.Answers[1].ErrNo = 0 },
		"a sealed key of 48 bytes": func(r *kmmsg.Response) { r.Answers[0].Sealed = short(t, r.Answers[0].Sealed) },
		"the signing key back": func(r *kmmsg.Response) {
			req, _ := kmmsg.ParseRequest(asked)
			r.Answers[0].Point = req.Asks[0].Point
		},
	} {
		der, km := answer(t, asked, change)
		if _, err := kmmsg.Check(asked, der, km); !errors.Is(err, kmmsg.ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	der, km := answer(t, asked, nil)
	der[len(der)-5] ^= 1
	if _, err := kmmsg.Check(asked, der, km); !errors.Is(err, kmmsg.ErrAnswer) {
		t.Errorf("a changed signature: %v", err)
	}
}

func short(t testing.TB, sealed []byte) []byte {
	e, err := cms.Parse(sealed)
	if err != nil {
		t.Fatal(err)
	}
	e.Content = e.Content[:48]
	return e.Bytes()
}

func TestAnIncompleteRequestIsNotSigned(t *testing.T) {
	key, c := party(t, "CA", 1)
	for name, list := range map[string][]kmmsg.Ask{
		"nothing":        nil,
		"no serial":      {{Kind: kmmsg.Revoke}},
		"no signing key": {{Kind: kmmsg.Apply, Serial: []byte{1}}},
		"too many":       make([]kmmsg.Ask, kmmsg.RequestsMax+1),
	} {
		if _, err := kmmsg.Build(c, key, kmmsg.Task(1), list, at); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	der, c := request(f)
	f.Add(der)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := kmmsg.ParseRequest(der)
		if err != nil {
			return
		}
		if len(r.Asks) == 0 || len(r.Asks) > kmmsg.RequestsMax || !bytes.Contains(der, r.Signed) {
			t.Error("out of bounds")
		}
		_ = r.Verify(c)
	})
}

func FuzzParseResponse(f *testing.F) {
	asked, _ := request(f)
	der, km := answer(f, asked, nil)
	f.Add(der)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := kmmsg.ParseResponse(der); err != nil {
			return
		}
		_, _ = kmmsg.Check(asked, der, km)
	})
}
