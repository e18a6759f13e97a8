package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/wire/enroll"
)

func pointOf(key crypto.Signer) []byte { return alg.Point(key.Public().(*ecdsa.PublicKey)) }

// issue measures issuance against the sum of its bare parts.
func (b *bench) issue(name string) (Result, error) {
	o, stop, err := b.office(name, false)
	if err != nil {
		return Result{}, err
	}
	defer stop()
	var n int
	var took time.Duration
	var each []time.Duration
	cost := cost{dual: o.profile.Dual}
	// About half of the seconds go to the path, the rest to its parts.
	for round := range 4 {
		size := 8
		if round > 0 {
			size = max(4, int(float64(n)/took.Seconds()*float64(b.Seconds)/6)/enroll.BatchMax)
		}
		batches, err := o.stock(size)
		if err != nil {
			return Result{}, err
		}
		d, e, err := o.run(b.ctx, batches, b.Now)
		if err != nil {
			return Result{}, err
		}
		if round > 0 { // the first warms caches
			n, took, each = n+size*enroll.BatchMax, took+d, append(each, e...)
		} else {
			n, took = size*enroll.BatchMax, d
		}
		if err := b.parts(&cost, batches[0][0]); err != nil {
			return Result{}, err
		}
		if round == 0 {
			defer func() { _ = cost.db.Close() }()
		}
	}
	r := Result{Path: float64(n) / took.Seconds(), Floor: cost.rate()}
	r.P50, r.P99 = quantiles(each)
	r.Conditions = map[string]any{
		"store": b.Store, "batch": enroll.BatchMax, "streams": streams, "verify_us": us(cost.verify), "sign_us": us(cost.sign),
		"envelope_us": us(cost.envelope), "insert_us": us(cost.insert), "latency": "of a batch",
		"floor": "1 / (sum of signatures and verifications / cores + bare batched insert)",
	}
	return r, nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// cost is what each part takes alone, the best of the rounds.
type cost struct {
	dual                           bool
	verify, sign, envelope, insert time.Duration
	db                             *sqldb.DB
}

func best(old, now time.Duration) time.Duration {
	if old == 0 || now < old {
		return now
	}
	return old
}

// rate is what the sum of the parts allows on the machine's cores.
func (c cost) rate() float64 {
	work := 3*c.verify + c.sign // request, clerk, reviewer; certificate
	if c.dual {
		// second certificate, envelope with its inner signature, and four signatures
		// and verifications of the messages shared by a batch
		work += c.sign + c.envelope + (2*c.sign+2*c.verify)/enroll.BatchMax
	}
	per := work.Seconds()/float64(runtime.GOMAXPROCS(0)) + c.insert.Seconds()
	return 1 / per
}

// parts measures verification, signature, envelope and bare insert, each alone.
func (b *bench) parts(c *cost, sample enroll.Request) error {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	message := make([]byte, 700)
	sig, err := alg.Sign(key, message)
	if err != nil {
		return err
	}
	each := b.span() / 4
	n, took, _, err := b.during(each, func() (int, error) { return 1, alg.Verify(&key.PublicKey, message, sig) })
	if err != nil {
		return err
	}
	c.verify = best(c.verify, took/time.Duration(n))
	if n, took, _, err = b.during(each, func() (int, error) { _, err := alg.Sign(key, message); return 1, err }); err != nil {
		return err
	}
	c.sign = best(c.sign, took/time.Duration(n))
	if c.dual {
		if err := b.envelope(c, each); err != nil {
			return err
		}
	}
	return b.insert(c, each, len(sample.Content))
}

func (b *bench) envelope(c *cost, each time.Duration) error {
	dev, err := soft.Open(fmt.Sprintf("%s/floor-%d", b.dir, b.Now().UnixNano()), []byte("floor"))
	if err != nil {
		return err
	}
	if err := dev.NewMaster("m"); err != nil {
		return err
	}
	signer, err := dev.Generate("s")
	if err != nil {
		return err
	}
	pair, err := dev.NewPair("m")
	if err != nil {
		return err
	}
	n, took, _, err := b.during(each, func() (int, error) {
		_, err := dev.Envelope("m", pair, pointOf(signer), "s")
		return 1, err
	})
	c.envelope = best(c.envelope, took/time.Duration(n))
	return err
}

// insert writes the rows of a batch as bare as they can be: the same sizes,
// one transaction a batch.
func (b *bench) insert(c *cost, each time.Duration, content int) error {
	if c.db == nil {
		db, err := b.database()
		if err != nil {
			return err
		}
		c.db = db
		bytes := "BLOB"
		if db.Postgres {
			bytes = "BYTEA"
		}
		err = db.Write(b.ctx, func(tx *sqldb.Tx) error {
			for _, table := range []string{"bare_job", "bare_cert", "bare_leaf", "bare_key", "bare_line"} {
				if _, err := tx.Exec(fmt.Sprintf(`CREATE TABLE %s (k %s NOT NULL PRIMARY KEY, v %s NOT NULL)`, table, bytes, bytes)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	certs := 1
	if c.dual {
		certs = 2
	}
	n, took, _, err := b.during(each, func() (int, error) {
		return enroll.BatchMax, c.db.Write(b.ctx, func(tx *sqldb.Tx) error { return bare(tx, certs, content) })
	})
	c.insert = best(c.insert, took/time.Duration(n))
	return err
}

// bare is one batch: for each request its job with content and drafts, its
// key, its certificates, their ledger leaves, its audit line; for a pair also
// the key centre's rows.
func bare(tx *sqldb.Tx, certs, content int) error {
	const der, leaf, line, escrow = 750, 220, 160, 400
	add := func(table string, count, size int) error {
		rows := make([][]any, count)
		for i := range rows {
			k := make([]byte, 16)
			_, _ = rand.Read(k) // crypto/rand never fails
			rows[i] = []any{k, make([]byte, size)}
		}
		return tx.InsertMany("INSERT INTO "+table+" (k, v)", rows)
	}
	n := enroll.BatchMax
	for _, t := range []struct {
		name        string
		count, size int
	}{
		{"bare_job", n, content + certs*650}, {"bare_key", n, 40}, {"bare_cert", n * certs, der}, {"bare_leaf", n * (certs*2 - 1), leaf}, {"bare_line", n, line},
		{"bare_job", n * (certs - 1), escrow},
	} {
		if err := add(t.name, t.count, t.size); err != nil {
			return err
		}
	}
	return nil
}

// auditCost compares issuance with ledger and audit to issuance without.
func (b *bench) auditCost() (Result, error) {
	with, stop1, err := b.office("device-sign", false)
	if err != nil {
		return Result{}, err
	}
	defer stop1()
	without, stop2, err := b.office("device-sign", true)
	if err != nil {
		return Result{}, err
	}
	defer stop2()
	var n [2]int
	var took [2]time.Duration
	var each []time.Duration
	for round := range 6 {
		for side, o := range []*office{with, without} {
			size := 16
			if took[side] > 0 {
				size = max(4, int(float64(n[side])/took[side].Seconds()*float64(b.Seconds)/12)/enroll.BatchMax)
			}
			batches, err := o.stock(size)
			if err != nil {
				return Result{}, err
			}
			d, e, err := o.run(b.ctx, batches, b.Now)
			if err != nil {
				return Result{}, err
			}
			if round == 1 { // the first round warmed both
				n[side], took[side] = 0, 0
			}
			n[side], took[side] = n[side]+size*enroll.BatchMax, took[side]+d
			if side == 0 {
				each = append(each, e...)
			}
		}
	}
	r := Result{Path: float64(n[0]) / took[0].Seconds(), Floor: float64(n[1]) / took[1].Seconds()}
	r.P50, r.P99 = quantiles(each)
	r.Conditions = map[string]any{"store": b.Store, "batch": enroll.BatchMax, "streams": streams, "floor": "the same run without ledger and audit"}
	return r, nil
}

// pool measures filling the key pool.
func (b *bench) pool() (Result, error) {
	set, err := profile.Builtin()
	if err != nil {
		return Result{}, err
	}
	root, err := b.party(nil, set, "root-ca", "根")
	if err != nil {
		return Result{}, err
	}
	identity, err := b.party(&root, set, "server", "密钥管理系统")
	if err != nil {
		return Result{}, err
	}
	v, db, err := b.vault(identity.cert.Raw, nil)
	if err != nil {
		return Result{}, err
	}
	defer db.Close()
	const step = 2000
	high := v.High
	path := func() (int, error) {
		high += step
		next := &km.Vault{Store: v.Store, Device: v.Device, Master: v.Master, Identity: v.Identity, Cert: v.Cert, Now: b.Now, Low: high, High: high}
		return step, next.Fill(b.ctx)
	}
	bareDB, err := b.bareTable()
	if err != nil {
		return Result{}, err
	}
	defer bareDB.Close()
	floor := func() (int, error) { return step, b.barePool(bareDB, v.Device, step) }
	r, err := b.alternate(path, floor)
	r.Conditions = map[string]any{"store": b.Store, "step": step, "latency": "of a step", "floor": "SM2 key generation, SM4-GCM wrap, bare batched insert"}
	return r, err
}

func (b *bench) bareTable() (*sqldb.DB, error) {
	db, err := b.database()
	if err != nil {
		return nil, err
	}
	bytes := "BLOB"
	if db.Postgres {
		bytes = "BYTEA"
	}
	return db, db.Write(b.ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(fmt.Sprintf(`CREATE TABLE bare (id BIGINT NOT NULL PRIMARY KEY, point %s NOT NULL, wrapped %s NOT NULL)`, bytes, bytes))
		return err
	})
}

func (b *bench) barePool(db *sqldb.DB, dev hsm.Device, n int) error {
	pairs := make([]hsm.Pair, n)
	errs := make(chan error, runtime.GOMAXPROCS(0))
	for w := range runtime.GOMAXPROCS(0) {
		go func() {
			var err error
			for i := w; i < n && err == nil; i += runtime.GOMAXPROCS(0) {
				pairs[i], err = dev.NewPair("master")
			}
			errs <- err
		}()
	}
	for range runtime.GOMAXPROCS(0) {
		if err := <-errs; err != nil {
			return err
		}
	}
	return db.Write(b.ctx, func(tx *sqldb.Tx) error {
		rows := make([][]any, n)
		for i, p := range pairs {
			rows[i] = []any{b.Now().UnixNano() + int64(i), p.Point, p.Private.Blob}
		}
		return tx.InsertMany(`INSERT INTO bare (id, point, wrapped)`, rows)
	})
}
