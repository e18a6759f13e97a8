package plant_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/zone/plant"
)

// device is a key that may be out of order.
type device struct {
	crypto.Signer
	down atomic.Bool
}

func (d *device) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if d.down.Load() {
		return nil, errors.New("the device is out of order")
	}
	return d.Signer.Sign(random, digest, opts)
}

// A zone whose audit ledger cannot be sealed warns, then holds its acts back and
// says so on the overview and in the metrics, and goes on by itself.
func TestAZoneHoldsItsActsBackWhileItsTrailCannotBeSealed(t *testing.T) {
	s, _ := zone(t)
	signer, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	now := func() time.Time { return noon.Add(time.Duration(ahead.Load())) }
	ctx, cancel := context.WithCancel(t.Context())
	g := plant.NewGroup(ctx)
	t.Cleanup(func() { cancel(); _ = g.Wait() })
	key, dir := &device{Signer: signer}, filepath.Join(t.TempDir(), "audit")
	files, err := g.Trail(s.DB, "test", dir, key, now)
	if err != nil {
		t.Fatal(err)
	}
	var gauges plant.Gauges
	gauges.Unsealed("test", g)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(&gauges)
	act := func() error {
		return s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return audit.Append(tx, audit.Entry{Start: noon, End: noon, Who: "x", Role: "ra.clerk", Item: "ra.submit", Result: audit.Done})
		})
	}
	stands := func(state string, unsealed float64) {
		t.Helper()
		c := g.SealCheck()
		for i := 0; c.State != state && i < 100; i++ {
			time.Sleep(50 * time.Millisecond)
			c = g.SealCheck()
		}
		if c.State != state || (state == "good") != (c.Advice == "") {
			t.Errorf("the overview says %+v, want %s", c, state)
		}
		all, err := metrics.Gather()
		if err != nil || len(all) != 1 || all[0].GetMetric()[0].GetGauge().GetValue() != unsealed {
			t.Errorf("the metrics say %v, want %v: %v", all, unsealed, err)
		}
	}
	if err := errors.Join(act(), g.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
	stands("good", 0)
	key.down.Store(true)
	if err := act(); err != nil {
		t.Fatal(err)
	}
	if g.Seal(t.Context()) == nil {
		t.Fatal("sealed without a key")
	}
	ahead.Add(int64(30 * time.Second))
	stands("warn", 30)
	if err := act(); err != nil {
		t.Errorf("within the bound: %v", err)
	}
	ahead.Add(int64(30 * time.Second))
	stands("bad", 60)
	if err := act(); !errors.Is(err, audit.Unsealed) {
		t.Errorf("beyond the bound: %v", err)
	}
	key.down.Store(false)
	stands("good", 0)
	if err := act(); err != nil {
		t.Errorf("sealed again: %v", err)
	}
	dated(t, files)
}

// dated checks that an export has real dates.
func dated(t *testing.T, files func(context.Context) ([]byte, error)) {
	t.Helper()
	one, err := files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	if err != nil || len(z.File) < 3 {
		t.Fatal(err)
	}
	for _, f := range z.File {
		if !f.Modified.Equal(noon.Add(time.Minute)) || strings.HasPrefix(f.Name, ".") {
			t.Errorf("%s is of %v", f.Name, f.Modified)
		}
	}
	again, err := files(t.Context())
	if err != nil || !bytes.Equal(one, again) {
		t.Errorf("the same state gives other bytes: %v", err)
	}
}
