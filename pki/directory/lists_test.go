package directory_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

func TestListsLieWhereTheirDistributionPointsSay(t *testing.T) {
	s := stand(t)
	lists := map[string][]byte{}
	for i, scope := range []string{"full", "shard-3", "arl"} {
		lists[scope] = s.CRL(scope, int64(i+1))
	}
	s.publish()
	for _, x := range []struct{ scope, name, attr string }{
		{"full", "CN=crl,OU=CRL,O=虎符,C=CN", "certificateRevocationList;binary"},
		{"shard-3", "CN=crl3,OU=CRL,O=虎符,C=CN", "certificateRevocationList;binary"},
		{"arl", "CN=arl,OU=ARL,O=虎符,C=CN", "authorityRevocationList;binary"},
	} {
		list, _ := s.search(ldapmsg.Query{Base: x.name, Filter: has(x.attr)})
		if len(list) != 1 || list[0].attrs[x.attr][0] != string(lists[x.scope]) {
			t.Errorf("%s: %v", x.scope, list)
		}
	}
	newer := s.CRL("full", 9)
	s.publish()
	list := s.under(has("certificateRevocationList"))
	if len(list) != 2 || list[0].attrs["certificateRevocationList;binary"][0] != string(newer) {
		t.Error("the newer list did not take the older one's place")
	}
}

// A revocation list of a large authority is far larger than any request.
func TestALargeListIsPublishedAndSurvivesReopening(t *testing.T) {
	s := stand(t)
	src := bodies{}
	big := bytes.Repeat([]byte{0x30}, 1<<20)
	src[ledger.BodyPath(alg.Digest(big))] = big
	s.Say(record.KindCRL, record.CRL{Issuer: alg.Digest(s.CA.Raw), Scope: "full", Number: 1, ThisUpdate: s.World.Now(), NextUpdate: s.World.Now(), Digest: alg.Digest(big)}.Bytes())
	if err := s.Apply(t.Context(), src, s.Take()); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if list := s.under(has("certificateRevocationList")); len(list) != 1 || list[0].attrs["certificateRevocationList;binary"][0] != string(big) {
		t.Errorf("%d entries", len(list))
	}
}

// Lists are replaced often: what was replaced does not fill the disk, and who
// was turning pages finds the same entries in the same order.
func TestReplacedListsDoNotFillTheDisk(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.publish()
	order := names(s.under(has("objectClass")))
	src := bodies{}
	for i := range 12 {
		big := bytes.Repeat([]byte{byte(i)}, 8<<20)
		clear(src)
		src[ledger.BodyPath(alg.Digest(big))] = big
		s.Say(record.KindCRL, record.CRL{Issuer: alg.Digest(s.CA.Raw), Scope: "full", Number: int64(i + 1), ThisUpdate: s.World.Now(), NextUpdate: s.World.Now(), Digest: alg.Digest(big)}.Bytes())
		if err := s.Apply(t.Context(), src, s.Take()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(s.dir, "entries.dat"))
	if err != nil || info.Size() > 40<<20 {
		t.Errorf("the file grew to %d bytes, %v", info.Size(), err)
	}
	at := s.At().Size()
	for _, when := range []string{"running", "reopened"} {
		list := s.under(has("certificateRevocationList"))
		if len(list) != 1 || list[0].attrs["certificateRevocationList;binary"][0][0] != 11 || s.At().Size() != at {
			t.Errorf("%s: the newest list is not there", when)
		}
		if now := names(s.under(has("objectClass"))); !slices.Equal(now[:len(order)], order) {
			t.Errorf("%s: %v\nwas %v", when, now, order)
		}
		s.reopen()
	}
}

func names(list []found) (names []string) {
	for _, f := range list {
		names = append(names, f.name)
	}
	return names
}
