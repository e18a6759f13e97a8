package ledger_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/ledger"
)

// A tile that stays as it is from one checkpoint to the next is never seen half
// written by those who read while the log is sealed.
func TestAReaderNeverSeesATileHalfWritten(t *testing.T) {
	db := logged(t, 300)
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	s := (&ledger.Sealer{DB: db, Log: "x", Origin: "x", Key: key, Targets: []ledger.Target{&ledger.Folder{Dir: dir, Key: &key.PublicKey, Origin: "x"}}, Now: time.Now}).Start()
	grow := func() {
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := ledger.Append(tx, "x", fmt.Append(nil, time.Now()))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	grow()
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if tile, err := ledger.Dir(dir).Get(context.Background(), ledger.TilePath(1, 0, 1)); err != nil || len(tile) != ledger.HashSize {
					t.Errorf("the tile has %d octets: %v", len(tile), err)
					return
				}
			}
		})
	}
	for range 150 {
		grow()
	}
	cancel()
	readers.Wait()
}
