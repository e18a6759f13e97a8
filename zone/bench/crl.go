package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
)

const (
	revokedMany = 1_000_000
	changedEach = 1000 // revocations between two full lists
)

// crlFull measures a full list of a million entries, from the change of status
// to the signed list on record with its ledger entry, against SM3 over the same
// bytes and one signature.
func (b *bench) crlFull() (Result, error) {
	o, stop, err := b.office("device-sign", false)
	if err != nil {
		return Result{}, err
	}
	defer stop()
	store := o.is.Store.(*castore.Store)
	var ahead atomic.Int64 // the bench's clock runs ahead of the machine's
	o.is.Now = func() time.Time { return b.Now().Add(time.Duration(ahead.Load())) }
	l := &lister{db: store.DB, now: o.is.Now}
	for n := 0; n < revokedMany; n += 50_000 {
		if err := l.revoke(b.ctx, 50_000); err != nil {
			return Result{}, err
		}
	}
	if store.DB.Postgres { // what a server in service has done long ago
		if err := store.DB.Write(b.ctx, func(tx *sqldb.Tx) error { _, err := tx.Exec(`ANALYZE`); return err }); err != nil {
			return Result{}, err
		}
	}
	publisher := (&ca.Publisher{Issuer: o.is}).Start()
	start := b.Now()
	if err := publisher.Publish(b.ctx); err != nil {
		return Result{}, err
	}
	first := b.Now().Sub(start)
	runtime.GC()
	var tbs []byte
	var took [2]time.Duration
	var each, deltas []time.Duration
	heap := uint64(0)
	for round := 0; took[0]+took[1] < time.Duration(b.Seconds)*time.Second || round < 3; round++ {
		ahead.Add(int64(11 * time.Minute))
		if err := l.revoke(b.ctx, changedEach); err != nil {
			return Result{}, err
		}
		if _, err := b.publish(publisher, &deltas, l, ca.Delta); err != nil {
			return Result{}, err
		}
		d, err := b.publish(publisher, &each, l, ca.Full)
		if err != nil {
			return Result{}, err
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapInuse)
		took[0] += d
		if tbs == nil {
			if tbs, err = b.newest(store); err != nil {
				return Result{}, err
			}
		}
		start := b.Now()
		if _, err := alg.Sign(o.is.Key, tbs); err != nil {
			return Result{}, err
		}
		took[1] += b.Now().Sub(start)
	}
	n := float64(len(each))
	r := Result{Path: n / took[0].Seconds(), Floor: n / took[1].Seconds()}
	r.P50, r.P99 = quantiles(each)
	delta, _ := quantiles(deltas)
	r.Conditions = map[string]any{
		"store": b.Store, "entries": revokedMany, "changes_between": changedEach, "list_mb": len(tbs) >> 20, "heap_mb": heap >> 20, "first_all_lists_ms": first.Milliseconds(),
		"delta_p50_ms": delta, "floor": "SM3 over the same bytes and one signature", "path": "full list and its delta, drafted, on record, signed, in the ledger",
	}
	return r, nil
}

// newest is the newest full list as it is published.
func (b *bench) newest(store *castore.Store) (der []byte, err error) {
	var leaf int64
	if err := store.DB.QueryRow(b.ctx, `SELECT s.leaf FROM crl_sealed s JOIN crl c ON c.number = s.number WHERE c.scope = 'full' ORDER BY c.number DESC LIMIT 1`).Scan(&leaf); err != nil {
		return nil, err
	}
	bodies, err := store.Bodies(b.ctx, leaf, leaf+1)
	if err != nil || len(bodies) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%d bodies beside leaf %d", len(bodies), leaf))
	}
	list, err := crl.Parse(bodies[0])
	if err == nil && len(list.Entries) < revokedMany {
		err = fmt.Errorf("%d entries", len(list.Entries))
	}
	return bodies[0], err
}

// publish marks one list as behind and signs what is due.
func (b *bench) publish(p *ca.Publisher, each *[]time.Duration, l *lister, shard int) (time.Duration, error) {
	if err := l.mark(b.ctx, shard); err != nil {
		return 0, err
	}
	start := b.Now()
	err := p.Publish(b.ctx)
	d := b.Now().Sub(start)
	*each = append(*each, d)
	return d, err
}

// lister puts revocations on record in bulk, as castore does one by one.
type lister struct {
	db  *sqldb.DB
	now func() time.Time
	n   int64
}

func (l *lister) mark(ctx context.Context, shard int) error {
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`DELETE FROM dirty`); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO dirty (shard, since) VALUES ($1, $2)`, shard, l.now().UnixMilli())
		return err
	})
}

func (l *lister) revoke(ctx context.Context, many int) error {
	at := l.now().UTC().Truncate(time.Second)
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		revoked, changes := make([][]any, many), make([][]any, many)
		for i := range revoked {
			serial := make([]byte, 16)
			_, _ = rand.Read(serial) // crypto/rand never fails
			serial[0] = serial[0]&0x3F | 0x40
			binary.BigEndian.PutUint32(serial[1:], uint32(l.n)+uint32(i)) // rows in order: the bench's own preparation is no part of the measure
			request := fmt.Sprintf("R%d", l.n+int64(i))
			entry := crl.Entry{Serial: serial, At: at, Reason: 4}.Bytes()
			revoked[i] = []any{serial, ca.ShardOf(serial), request, at.Unix(), entry, at.AddDate(1, 0, 0).Unix()}
			changes[i] = []any{request, serial, at.Unix(), at.UnixMilli(), true, 4, l.n + int64(i) + 1, false}
		}
		l.n += int64(many)
		if err := tx.InsertMany(`INSERT INTO revoked (serial, shard, request, revoked_at, entry, not_after)`, revoked); err != nil {
			return err
		}
		return tx.InsertMany(`INSERT INTO status_change (request, serial, at, changed_at, revoked, reason, seq, was)`, changes)
	})
}
