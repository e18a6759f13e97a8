package plant

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/ledger"
)

// ErrSelfTest is returned by a zone that does not serve because a test of
// itself failed. (开机自检, GM/T 0034 §5.3.2)
var ErrSelfTest = errors.New("自检未通过，拒绝服务")

// SelfTest is what a zone makes sure of before it serves: algorithms, keys,
// clock, the heads of its ledgers.
type SelfTest struct {
	Zone    string
	Device  hsm.Device
	Signers []string // labels of keys that must sign
	Masters []string // labels of keys that must wrap
	DB      *sqldb.DB
	Logs    []string // of the database; the audit ledger first
	Now     func() time.Time
}

// backwards is how far the clock may stand behind the newest entry: clocks that
// are set are set by less.
const backwards = 2 * time.Minute

// Run makes every test, writes the result to the audit trail and returns what
// failed.
func (s SelfTest) Run(ctx context.Context) error {
	start := s.Now()
	var failed []string
	trail := true // can still be written to
	for _, t := range []struct {
		name string
		run  func(context.Context) error
	}{{"密码算法", func(context.Context) error { return Algorithms() }}, {"密钥", func(context.Context) error { return s.keys() }}, {"时钟", s.clock}, {"账本头", s.heads}} {
		if err := t.run(ctx); err != nil {
			failed = append(failed, t.name+"："+err.Error())
			trail = trail && t.name != "账本头"
		}
	}
	line := audit.Entry{Start: start, End: s.Now(), Who: "system:selftest", Role: "machine", Item: "system.selftest", Object: s.Zone, Result: audit.Done, Detail: "算法、密钥、时钟、账本头"}
	if len(failed) > 0 {
		line.Result, line.Detail = "selftest.failed", strings.Join(failed, "；")
	}
	if trail {
		if err := s.DB.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) }); err != nil {
			return fmt.Errorf("writing the self-test to the audit trail: %w", err)
		}
	}
	if len(failed) == 0 {
		slog.Info("自检通过", "zone", s.Zone)
		return nil
	}
	return fmt.Errorf("%s%w：%s", s.Zone, ErrSelfTest, line.Detail)
}

// keys has every key of the zone do its work once.
func (s SelfTest) keys() error {
	probe := []byte("hufu self-test")
	for _, label := range s.Signers {
		key, err := s.Device.Signer(label)
		if err != nil {
			return fmt.Errorf("%s 打不开（%w）", label, err)
		}
		pub, ok := key.Public().(*ecdsa.PublicKey)
		if !ok {
			return fmt.Errorf("%s 不是 SM2 密钥", label)
		}
		sig, err := alg.Sign(key, probe)
		if err == nil {
			err = alg.Verify(pub, probe, sig)
		}
		if err != nil {
			return fmt.Errorf("%s 签名后验不过（%w）", label, err)
		}
	}
	for _, label := range s.Masters {
		w, err := s.Device.Wrap(label, probe, probe)
		if err != nil {
			return fmt.Errorf("%s 打不开（%w）", label, err)
		}
		if back, err := s.Device.Unwrap(label, w, probe); err != nil || !bytes.Equal(back, probe) {
			return fmt.Errorf("%s 加密后解不开（%w）", label, errors.Join(err, errMismatch))
		}
	}
	return nil
}

var errMismatch = errors.New("内容不符")

// recent bounds the entries whose times are looked at.
const recent = 1000

func (s SelfTest) clock(ctx context.Context) error {
	var newest int64
	if err := s.DB.QueryRow(ctx, `SELECT COALESCE(MAX(at), 0) FROM (SELECT at FROM audit_entry ORDER BY idx DESC LIMIT $1) AS recent`, recent).Scan(&newest); err != nil {
		return err
	}
	for _, log := range s.Logs {
		head, err := ledger.Head(ctx, s.DB, log)
		if err != nil {
			return err
		}
		leaves, err := ledger.Leaves(ctx, s.DB, log, max(0, head.Size()-1), head.Size())
		if err != nil {
			return err
		}
		for _, l := range leaves {
			if e, err := record.Parse(l); err == nil {
				newest = max(newest, e.At.UnixMilli())
			}
		}
	}
	if last := time.UnixMilli(newest); s.Now().Before(last.Add(-backwards)) {
		return fmt.Errorf("现在是 %s，早于最新记录 %s；请先校准系统时钟", s.Now().UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339))
	}
	return nil
}

func (s SelfTest) heads(ctx context.Context) error {
	for _, log := range s.Logs {
		if err := ledger.Sound(ctx, s.DB, log); err != nil {
			return fmt.Errorf("%w；数据库被改动或损坏，请从备份恢复", err)
		}
	}
	return nil
}

// Algorithms computes the examples of the standards.
func Algorithms() error {
	for _, t := range []struct {
		name string
		ok   func() bool
	}{{"SM3", sm3Works}, {"HMAC-SM3", hmacWorks}, {"SM4", sm4Works}, {"SM4-GCM", gcmWorks}, {"SM2", sm2Works}} {
		if !t.ok() {
			return fmt.Errorf("%s 的标准示例算得不对", t.name)
		}
	}
	return nil
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("plant: " + err.Error()) // the examples are constants
	}
	return b
}

// sm3Works: GB/T 32905 annex A.1.
func sm3Works() bool {
	return bytes.Equal(alg.Digest([]byte("abc")), unhex("66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"))
}

// hmacWorks: the example OpenSSL and GmSSL share.
func hmacWorks() bool {
	var key []byte
	for i := range byte(32) {
		key = append(key, i+1)
	}
	m := hmac.New(func() hash.Hash { return sm3.New() }, key)
	m.Write([]byte(strings.Repeat("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 2)))
	return bytes.Equal(m.Sum(nil), unhex("ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a"))
}

const sm4Key = "0123456789abcdeffedcba9876543210"

// sm4Works: GB/T 32907 annex A.1.
func sm4Works() bool {
	block, err := sm4.NewCipher(unhex(sm4Key))
	if err != nil {
		return false
	}
	out := make([]byte, 16)
	block.Encrypt(out, unhex(sm4Key))
	return bytes.Equal(out, unhex("681edf34d206965e86b3e94f536e4246"))
}

// gcmWorks: RFC 8998 appendix A.1.
func gcmWorks() bool {
	block, err := sm4.NewCipher(unhex(sm4Key))
	if err != nil {
		return false
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return false
	}
	var plain []byte
	for _, c := range []byte{0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0xEE, 0xAA} {
		plain = append(plain, bytes.Repeat([]byte{c}, 8)...)
	}
	nonce, bound := unhex("00001234567800000000abcd"), unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
	want := unhex("17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d" + "83de3541e4c2b58177e065a9bf7b62ec")
	sealed := aead.Seal(nil, nonce, plain, bound)
	back, err := aead.Open(nil, nonce, want, bound)
	return err == nil && bytes.Equal(sealed, want) && bytes.Equal(back, plain)
}

// sm2Works: GB/T 32918.5 annex A.2; the same signature over another message
// must not verify.
func sm2Works() bool {
	pub, err := alg.PublicKey(unhex("04" + "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020" + "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"))
	if err != nil {
		return false
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range []string{"f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3", "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"} {
			b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(append([]byte{0}, unhex(n)...)) })
		}
	})
	sig := b.BytesOrPanic()
	return alg.Verify(pub, []byte("message digest"), sig) == nil && alg.Verify(pub, []byte("message digesu"), sig) != nil
}
