// Package bench measures paths against the floor they stand on. (性能测量)
//
// Path and floor run in one process, turn about, on the same machine and
// store, and only their ratio is compared with anything (docs/adr). This is
// the one place that may leave out ledger and audit, to measure what they cost.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
)

// Options say how long to measure and on which store.
type Options struct {
	Store   string // "sqlite", or a postgres:// URL
	Seconds int
	Now     func() time.Time
}

// Result is one measurement: rates a second, ratio = path / floor.
type Result struct {
	Name       string         `json:"name"`
	Path       float64        `json:"path_per_s"`
	Floor      float64        `json:"floor_per_s"`
	Ratio      float64        `json:"ratio"`
	P50        float64        `json:"p50_ms"`
	P99        float64        `json:"p99_ms"`
	Conditions map[string]any `json:"conditions"`
}

// Missing names a package an engine needs that is not installed.
type Missing struct{ Package string }

func (m *Missing) Error() string { return "未安装 " + m.Package + "：apt install " + m.Package }

// ErrName is returned for a name that is no measurement.
var ErrName = errors.New("no such measurement")

// ErrStore is returned for a store nobody here can open.
var ErrStore = errors.New("no such store")

// All are the measurements and what they compare.
var All = []struct{ Name, What string }{
	{"issue-single", "单证书签发：Issuer.Issue 到落盘，对照各次签名验签之和与裸批量写入"},
	{"issue-dual", "双证书签发：含密钥管理信封与报文，对照同上"},
	{"ocsp-presigned", "OCSP 预签名应答，对照 fasthttp 返回同样大小的固定字节"},
	{"ocsp-live", "OCSP 现签应答，对照 fasthttp 加一次裸 SM2 签名"},
	{"ldap-dn", "LDAP 按 DN 读取，对照 slapd 同样的 10 万条"},
	{"ldap-serial", "LDAP 按序列号查询，对照 slapd 同样的 10 万条"},
	{"km-pool", "密钥池生成、包裹、落盘，对照密钥生成加 SM4-GCM 加裸批量写入"},
	{"crl-full", "一百万条的全量 CRL：增量生成、先落盘后签名、入账本，对照同样字节的 SM3 加一次签名"},
	{"audit-cost", "有账本与审计的签发，对照没有的"},
}

// Run measures one path.
func Run(ctx context.Context, name string, o Options) (Result, error) {
	if o.Store != "" && o.Store != "sqlite" && !strings.HasPrefix(o.Store, "postgres://") && !strings.HasPrefix(o.Store, "postgresql://") {
		return Result{}, ErrStore
	}
	dir, err := os.MkdirTemp("", "hufu-bench")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	b := &bench{Options: o, ctx: ctx, dir: dir}
	var r Result
	switch name {
	case "issue-single":
		r, err = b.issue("device-sign")
	case "issue-dual":
		r, err = b.issue("person-dual")
	case "audit-cost":
		r, err = b.auditCost()
	case "crl-full":
		r, err = b.crlFull()
	case "km-pool":
		r, err = b.pool()
	case "ocsp-presigned":
		r, err = b.ocsp(false)
	case "ocsp-live":
		r, err = b.ocsp(true)
	case "ldap-dn":
		r, err = b.ldap(false)
	case "ldap-serial":
		r, err = b.ldap(true)
	default:
		return r, fmt.Errorf("%w: %q", ErrName, name)
	}
	r.Name = name
	if r.Floor > 0 {
		r.Ratio = r.Path / r.Floor
	}
	if r.Conditions == nil {
		r.Conditions = map[string]any{}
	}
	r.Conditions["cores"], r.Conditions["go"], r.Conditions["seconds"] = runtime.GOMAXPROCS(0), runtime.Version(), o.Seconds
	return r, err
}

type bench struct {
	Options
	ctx context.Context
	dir string
	n   int // databases opened
}

// database opens an empty store: a file, or a schema of its own.
func (b *bench) database() (*sqldb.DB, error) {
	b.n++
	if b.Store == "" || b.Store == "sqlite" {
		return sqldb.Open(b.ctx, fmt.Sprintf("%s/bench%d.db", b.dir, b.n))
	}
	admin, err := sqldb.Open(b.ctx, b.Store)
	if err != nil {
		return nil, err
	}
	schema := fmt.Sprintf("hufu_bench_%d_%d", os.Getpid(), b.n)
	err = admin.Write(b.ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec("CREATE SCHEMA " + schema)
		return err
	})
	if err = errors.Join(err, admin.Close()); err != nil {
		return nil, err
	}
	return sqldb.Open(b.ctx, withSchema(b.Store, schema))
}

// span is the time each side gets in turn.
func (b *bench) span() time.Duration { return time.Duration(b.Seconds) * time.Second / 8 }

// during calls f until d has passed and returns how many it did, how long it
// took, and each call's time.
func (b *bench) during(d time.Duration, f func() (int, error)) (n int, took time.Duration, each []time.Duration, err error) {
	start := b.Now()
	for last := start; took < d; {
		k, err := f()
		if err != nil {
			return n, took, each, err
		}
		now := b.Now()
		n, each, took, last = n+k, append(each, now.Sub(last)), now.Sub(start), now
	}
	return n, took, each, nil
}

// alternate measures path and floor turn about, four spans each.
func (b *bench) alternate(path, floor func() (int, error)) (r Result, err error) {
	var n [2]int
	var took [2]time.Duration
	var all []time.Duration
	for turn := range 8 {
		side := turn % 2
		f := path
		if side == 1 {
			f = floor
		}
		k, d, each, err := b.during(b.span(), f)
		if err != nil {
			return r, err
		}
		n[side], took[side] = n[side]+k, took[side]+d
		if side == 0 {
			all = append(all, each...)
		}
	}
	r.Path, r.Floor = float64(n[0])/took[0].Seconds(), float64(n[1])/took[1].Seconds()
	r.P50, r.P99 = quantiles(all)
	return r, nil
}

func quantiles(all []time.Duration) (p50, p99 float64) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return ms(all[len(all)/2]), ms(all[len(all)*99/100])
}
