package va

import (
	"hash/maphash"
	"sync"
	"time"
)

// presigned is an answer that may be given again, to the same CertID, as long
// as the certificate has the status it was made from.
type presigned struct {
	answer  Answer
	of      name
	status  status
	by      *delegate
	refresh time.Time // from then on a new one is made
}

// cache keeps presigned answers by the bytes of the CertID they repeat. A full
// shard drops any one of its answers: it can be signed again.
type cache struct {
	seed   maphash.Seed
	max    int // of one shard
	shards [cacheShards]struct {
		sync.RWMutex
		of map[string]*presigned
	}
}

func newCache(limit int) *cache {
	return &cache{seed: maphash.MakeSeed(), max: max(limit/cacheShards, 1)}
}

func (c *cache) get(id []byte) *presigned {
	s := &c.shards[maphash.Bytes(c.seed, id)%cacheShards]
	s.RLock()
	defer s.RUnlock()
	return s.of[string(id)]
}

func (c *cache) put(id []byte, p *presigned) {
	s := &c.shards[maphash.Bytes(c.seed, id)%cacheShards]
	s.Lock()
	defer s.Unlock()
	if s.of == nil {
		s.of = map[string]*presigned{}
	}
	if _, ok := s.of[string(id)]; !ok && len(s.of) >= c.max {
		for other := range s.of {
			delete(s.of, other)
			break
		}
	}
	s.of[string(id)] = p
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
