package ledger_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/ledger"
)

// device is a key that may be out of order.
type device struct {
	crypto.Signer
	err error
}

func (d *device) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	return d.Signer.Sign(random, digest, opts)
}

// A sealer tells how long it has been failing, whether the key or the place it
// writes to is at fault, and that it works again.
func TestASealerTellsHowLongItHasBeenFailing(t *testing.T) {
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := ledger.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	add := func() {
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := ledger.Append(tx, "x", []byte("leaf")); return err }); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	key, dir := &device{Signer: signer}, filepath.Join(t.TempDir(), "out")
	s := (&ledger.Sealer{DB: db, Log: "x", Origin: "test", Key: key, Targets: []ledger.Target{&ledger.Folder{Dir: dir, Key: &signer.PublicKey, Origin: "test"}}, Now: func() time.Time { return now }}).Start()
	seal := func(works bool, behind time.Duration) {
		t.Helper()
		if err := s.Seal(context.Background()); (err == nil) != works {
			t.Errorf("sealing: %v, want success %v", err, works)
		}
		if got := s.Behind(); got != behind {
			t.Errorf("behind %v, want %v", got, behind)
		}
		now = now.Add(10 * time.Second)
	}
	add()
	seal(true, 0)
	add()
	key.err = errors.New("the device is out of order")
	seal(false, 0)
	seal(false, 10*time.Second)
	key.err = nil
	seal(true, 0)
	if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	seal(false, 0)
	seal(false, 10*time.Second)
	if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	seal(true, 0)
}
