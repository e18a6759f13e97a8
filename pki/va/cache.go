package va

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// presigned is an answer that may be given again, to the same CertID, as long
// as the certificate has the status it was made from.
type presigned struct {
	answer  Answer
	id      []byte // the CertID's bytes
	of      name
	status  status
	by      *delegate
	refresh time.Time     // from then on a new one is made
	seen    atomic.Uint64 // changes of the index after which the status was compared
}

// given is the answer as it is handed out at some time.
func (p *presigned) given(now time.Time) Answer {
	a := p.answer
	a.Keep = max(a.NextUpdate.Sub(now)/2, 0)
	return a
}

// pack lays what is read together side by side: with many answers, what finding
// one costs is the memory it lies in.
func (p *presigned) pack() {
	n, m := len(p.id), len(p.id)+len(p.answer.ETag)
	all := append(append(append(make([]byte, 0, m+len(p.answer.DER)), p.id...), p.answer.ETag...), p.answer.DER...)
	p.id, p.answer.ETag, p.answer.DER = all[:n:n], all[n:m:m], all[m:]
}

// cache keeps presigned answers by the hash of the CertID they repeat; of two
// with one hash the later stays. A full shard drops any one of its answers: it
// can be signed again.
type cache struct {
	seed   maphash.Seed
	max    int // of one shard
	shards [cacheShards]struct {
		sync.RWMutex
		of map[uint64]*presigned
	}
}

func newCache(limit int) *cache {
	return &cache{seed: maphash.MakeSeed(), max: max(limit/cacheShards, 1)}
}

func (c *cache) get(id []byte) *presigned {
	h := maphash.Bytes(c.seed, id)
	s := &c.shards[h%cacheShards]
	s.RLock()
	p := s.of[h]
	s.RUnlock()
	if p == nil || !bytes.Equal(p.id, id) {
		return nil
	}
	return p
}

func (c *cache) put(p *presigned) {
	p.pack()
	h := maphash.Bytes(c.seed, p.id)
	s := &c.shards[h%cacheShards]
	s.Lock()
	defer s.Unlock()
	if s.of == nil {
		s.of = map[uint64]*presigned{}
	}
	if _, ok := s.of[h]; !ok && len(s.of) >= c.max {
		for other := range s.of {
			delete(s.of, other)
			break
		}
	}
	s.of[h] = p
}

func (c *cache) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.RLock()
		n += len(s.of)
		s.RUnlock()
	}
	return n
}
