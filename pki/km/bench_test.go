package km_test

import (
	"crypto/rand"
	"testing"

	"github.com/hufu-pki/hufu/format/kmmsg"
)

func BenchmarkFill(b *testing.B) {
	p := newPlace(b, sqlite(b))
	p.High = b.N
	b.ResetTimer()
	p.fill(b)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
}

func BenchmarkAnswer64(b *testing.B) {
	p := newPlace(b, sqlite(b))
	p.High = 64 * b.N
	p.fill(b)
	o := newOwner(b)
	var requests [][]byte
	for n := range b.N {
		asks := make([]kmmsg.Ask, 64)
		for i := range asks {
			serial := make([]byte, 16)
			_, _ = rand.Read(serial)
			serial[0] = serial[0]&0x7f | 1
			asks[i] = o.apply(serial...)
		}
		p.task = int64(n)
		requests = append(requests, p.request(b, asks...))
	}
	b.ResetTimer()
	for _, r := range requests {
		if _, err := p.Answer(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "pairs/s")
}
