package va

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"
)

func serials(n int) []byte {
	b := make([]byte, n*16)
	_, _ = rand.Read(b)
	return b
}

func keep(x *index, serial []byte) {
	x.put(nameOf(0, serial), func(old status) status { return old | good(0) })
}

// design.md §10: at most 64 octets of memory a certificate, at every size.
func TestACertificateTakesAtMost64Octets(t *testing.T) {
	x := new(index)
	all := serials(300_000)
	worst := 0.0
	for i := 0; i < len(all); i += 16 {
		keep(x, all[i:i+16])
		if n := i/16 + 1; n > 50_000 && n%10_000 == 0 {
			_, octets := x.size()
			worst = max(worst, float64(octets)/float64(n))
		}
	}
	if worst > 64 {
		t.Errorf("%.1f octets a certificate", worst)
	}
	t.Logf("at most %.1f octets a certificate", worst)
	for i := 0; i < len(all); i += 16 {
		if x.get(nameOf(0, all[i:i+16])) == 0 || x.get(nameOf(1, all[i:i+16])) != 0 {
			t.Fatalf("serial %x is lost, or another CA's", all[i:i+16])
		}
	}
}

func TestSerialsInARowSpreadAsWellAsRandomOnes(t *testing.T) {
	x := new(index)
	for i := range uint64(100_000) {
		keep(x, binary.BigEndian.AppendUint64(make([]byte, 8), i))
	}
	for i := range x.shards {
		if n := x.shards[i].used; n < 250 || n > 550 {
			t.Fatalf("shard %d holds %d of 100000", i, n)
		}
	}
}

func TestAStatusIsReadBackAsItWasPut(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	s := (good(255) | public).revoke(10, at)
	got := s.single(nil)
	if s.issuer() != 255 || s&public == 0 || got.Reason != 10 || !got.RevokedAt.Equal(at) {
		t.Errorf("%x: %+v", uint64(s), got)
	}
	if s = s.release(); s != good(255)|public {
		t.Errorf("released: %x", uint64(s))
	}
	far := good(0).revoke(1, time.Unix(1<<60, 0)).single(nil)
	if far.RevokedAt.UTC().Year() != 9999 {
		t.Errorf("a time GeneralizedTime cannot say: %v", far.RevokedAt)
	}
}

func TestAFullCacheStaysAtItsBound(t *testing.T) {
	c := newCache(128)
	for i := range uint64(5000) {
		c.put(&presigned{id: binary.BigEndian.AppendUint64(nil, i)})
	}
	if n := c.len(); n > 128 || n < 100 {
		t.Errorf("%d kept", n)
	}
}

func filled(n int) *Responder {
	r := &Responder{Now: time.Now}
	x := new(index)
	all := serials(n)
	for i := 0; i < len(all); i += 16 {
		keep(x, all[i:i+16])
	}
	r.index.Store(x)
	b, _, _ := new(book).with(make([]byte, 32), nil)
	r.book.Store(b)
	return r
}

// Cold start: 20 million must come in under five seconds (design.md §10), so a
// million in under a quarter of one, on two cores.
func BenchmarkLoadMillion(b *testing.B) {
	var saved bytes.Buffer
	if err := filled(1_000_000).Save(&saved); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(saved.Len()))
	for b.Loop() {
		from := bytes.NewReader(saved.Bytes())
		if _, err := from.Seek(int64(len(magic)), 0); err != nil {
			b.Fatal(err)
		}
		if _, _, err := section(from, headerMax); err != nil {
			b.Fatal(err)
		}
		if _, _, err := readShards(from, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndexGet(b *testing.B) {
	r := filled(1_000_000)
	x := r.index.Load()
	all := serials(1024)
	for i := 0; b.Loop(); i++ {
		x.get(nameOf(0, all[i%1024*16:i%1024*16+16]))
	}
}
