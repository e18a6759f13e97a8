package va

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/ocsp"
)

// status is what the index knows of one certificate, in eight octets:
//
//	63 kept · 62 revoked · 61 public · 56…59 reason · 48…55 issuer · 0…47 seconds of revocation
//
// A zero status is no certificate.
type status uint64

const (
	kept        status = 1 << 63
	revoked     status = 1 << 62
	public      status = 1 << 61
	reasonShift        = 56
	issuerShift        = 48
	timeMask    status = 1<<issuerShift - 1
)

// timeMax is the last second GeneralizedTime can say: 9999-12-31T23:59:59Z.
const timeMax = 253402300799

func good(issuer uint8) status { return kept | status(issuer)<<issuerShift }

// revoke keeps issuer and publicity and sets the rest.
func (s status) revoke(reason int, at time.Time) status {
	sec := min(max(at.Unix(), 0), timeMax)
	return s.release() | revoked | status(reason&0xF)<<reasonShift | status(sec)
}

func (s status) release() status { return s & (kept | public | status(0xFF)<<issuerShift) }

func (s status) issuer() uint8 { return uint8(s >> issuerShift) }

func (s status) single(id []byte) ocsp.Single {
	switch {
	case s == 0:
		return ocsp.Single{ID: id, State: ocsp.Unknown}
	case s&revoked == 0:
		return ocsp.Single{ID: id, State: ocsp.Good}
	}
	return ocsp.Single{ID: id, State: ocsp.Revoked, Reason: int(s >> reasonShift & 0xF), RevokedAt: time.Unix(int64(s&timeMask), 0)}
}

// name is a certificate's place in the index: its issuer's number and serial.
type name struct {
	issuer uint8
	key    key
	long   string // serial of more than 16 octets, which key cannot hold
}

// key is a serial number as 16 octets: serials are numbers, leading zeros say nothing.
type key [16]byte

func nameOf(issuer uint8, serial []byte) name {
	serial = bytes.TrimLeft(serial, "\x00")
	n := name{issuer: issuer}
	if len(serial) > len(n.key) {
		n.long = string(serial)
		return n
	}
	copy(n.key[len(n.key)-len(serial):], serial)
	return n
}

// index is a hash table of open addressing in 256 shards, 24 octets a slot and
// never less than half full: 30 to 46 octets a certificate, without pointers, so
// that the collector has nothing to walk. There is one writer; readers take a
// shard's read lock.
type index struct {
	shards [shardCount]shard
	long   struct {
		sync.RWMutex
		of map[name]status
	}
}

const (
	shardCount = 256
	slotSize   = 24
	slotsMin   = 16
)

type shard struct {
	sync.RWMutex
	slots []slot
	used  int
}

type slot struct {
	key    key
	status status
}

// hash spreads a name. Serials come from the CA, never from a stranger, so it
// need not be secret; it is fixed so that a snapshot is read in slot order.
func hash(issuer uint8, k key) uint64 {
	a, b := binary.BigEndian.Uint64(k[:8]), binary.BigEndian.Uint64(k[8:])
	hi, lo := bits.Mul64(a^0x9E3779B97F4A7C15, b^0xD1B54A32D192ED03^uint64(issuer)<<56)
	hi, lo = bits.Mul64(hi^lo^a^0x8CB92BA72F3D8DD7, 0xA0761D6478BD642F)
	return hi ^ lo ^ b*0xE7037ED1A0B428DB
}

// get returns the status of a certificate, zero when there is none.
func (x *index) get(n name) status {
	if n.long != "" {
		x.long.RLock()
		defer x.long.RUnlock()
		return x.long.of[n]
	}
	h := hash(n.issuer, n.key)
	s := &x.shards[h>>56]
	s.RLock()
	defer s.RUnlock()
	if len(s.slots) == 0 {
		return 0
	}
	return s.slots[s.find(h, n.issuer, n.key)].status
}

// put changes the status of a certificate to what change makes of it.
func (x *index) put(n name, change func(old status) status) {
	if n.long != "" {
		x.long.Lock()
		defer x.long.Unlock()
		if x.long.of == nil {
			x.long.of = map[name]status{}
		}
		x.long.of[n] = change(x.long.of[n])
		return
	}
	h := hash(n.issuer, n.key)
	s := &x.shards[h>>56]
	s.Lock()
	defer s.Unlock()
	if len(s.slots) == 0 {
		s.slots = make([]slot, slotsMin)
	}
	i := s.find(h, n.issuer, n.key)
	old := s.slots[i].status
	if old == 0 && 5*(s.used+1) > 4*len(s.slots) {
		s.resize(len(s.slots) * 3 / 2)
		i = s.find(h, n.issuer, n.key)
	}
	s.slots[i] = slot{n.key, change(old)}
	if old == 0 {
		s.used++
	}
}

// find returns the slot of a name, or the free one where it would go. A fifth
// of the slots is free, so it ends.
func (s *shard) find(h uint64, issuer uint8, k key) int {
	at, _ := bits.Mul64(h<<8, uint64(len(s.slots)))
	i := int(at)
	for {
		one := &s.slots[i]
		if one.status == 0 || one.key == k && one.status.issuer() == issuer {
			return i
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

func (s *shard) resize(size int) {
	old := s.slots
	s.slots = make([]slot, size)
	for _, one := range old {
		if one.status != 0 {
			s.slots[s.find(hash(one.status.issuer(), one.key), one.status.issuer(), one.key)] = one
		}
	}
}

// size is how many certificates there are and the memory of their slots.
func (x *index) size() (certificates, octets int64) {
	for i := range x.shards {
		s := &x.shards[i]
		s.RLock()
		certificates += int64(s.used)
		octets += int64(len(s.slots)) * slotSize
		s.RUnlock()
	}
	x.long.RLock()
	defer x.long.RUnlock()
	return certificates + int64(len(x.long.of)), octets
}
