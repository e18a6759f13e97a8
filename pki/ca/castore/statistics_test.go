package castore_test

import (
	"crypto/rand"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/ca/catest"
)

// Certificates stored before the dates had columns get them when the store is
// opened; a record and the list to come that disagree are found.
func TestDatesAreReadOffStoredCertificates(t *testing.T) {
	s := sqlite(t)
	j := catest.Issue(t, s, 3)
	der, from, to := certificate(t)
	err := s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE certificate SET not_before = 0, not_after = 0, der = $1 WHERE serial = $2`, der, j.Serials.Sign)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := castore.Open(t.Context(), s.DB)
	if err != nil {
		t.Fatal(err)
	}
	list, err := again.Statistics(t.Context(), from, from.Add(time.Second), to)
	if err != nil || len(list) != 1 || list[0].Issued != 1 || list[0].Valid != 1 {
		t.Errorf("at its last second: %+v %v", list, err)
	}
	list, err = again.Statistics(t.Context(), from, from.Add(time.Second), to.Add(time.Second))
	if err != nil || len(list) != 1 || list[0].Expired != 1 {
		t.Errorf("a second later: %+v %v", list, err)
	}
	err = s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE certificate SET revoked = $1 WHERE serial = $2`, true, j.Serials.Sign)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	totals, err := again.Totals(t.Context())
	if err != nil || totals.Revoked != 1 || totals.Entries != 0 {
		t.Errorf("%+v %v", totals, err)
	}
}

func certificate(t *testing.T) (der []byte, from, to time.Time) {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, to = when.Add(-time.Hour), when.Add(time.Hour)
	template := &smx509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "张三"}, NotBefore: from, NotAfter: to}
	if der, err = smx509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return der, from, to
}
