package va

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// A snapshot is magic, header, one section for each shard, and SM3 over the
// digests of all these. Header and sections carry their length before and
// their SM3 after them, so that a restart checks and fills shards side by side
// while it still reads.
const magic = "hufu va snapshot 1\n"

// ErrSnapshot is returned for a snapshot that is damaged. Nothing is lost: the
// ledger has it all.
var ErrSnapshot = errors.New("snapshot of the status index is damaged")

// header is everything but the shards, as JSON.
type header struct {
	Entries     int64         `json:"entries"`
	Frontier    []byte        `json:"frontier"`
	AsOf        int64         `json:"as_of"` // Unix nanoseconds
	Authorities []savedCA     `json:"authorities"`
	CRLs        [][]byte      `json:"crls"` // bodies of ledger entries
	Long        []savedStatus `json:"long"`
}

type savedCA struct {
	Digest []byte `json:"digest"`
	DER    []byte `json:"der,omitempty"`
}

type savedStatus struct {
	Issuer uint8  `json:"issuer"`
	Serial []byte `json:"serial"`
	Status uint64 `json:"status"`
}

// Save writes a snapshot. Status changes go on meanwhile: a shard may hold
// more than the header's entries say, and those entries, applied again after
// Load, come to the same end.
func (r *Responder) Save(w io.Writer) error {
	h := r.header()
	head, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("saving status index: %w", err)
	}
	var digests []byte
	put := func(data []byte) error {
		sum := alg.Digest(data)
		digests = append(digests, sum...)
		for _, part := range [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(data))), data, sum} {
			if _, err := w.Write(part); err != nil {
				return fmt.Errorf("saving status index: %w", err)
			}
		}
		return nil
	}
	if _, err := io.WriteString(w, magic); err != nil {
		return fmt.Errorf("saving status index: %w", err)
	}
	if err := put(head); err != nil {
		return err
	}
	x := r.index.Load()
	var buf []byte
	for i := range x.shards {
		buf = x.shards[i].append(buf[:0], len(h.Authorities))
		if err := put(buf); err != nil {
			return err
		}
	}
	if _, err := w.Write(alg.Digest(digests)); err != nil {
		return fmt.Errorf("saving status index: %w", err)
	}
	return nil
}

func (r *Responder) header() header {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := header{Entries: r.next, Frontier: r.front.Hashes(), AsOf: r.asOf.Load()}
	for _, a := range r.book.Load().list {
		s := savedCA{Digest: a.digest[:]}
		if a.cert != nil {
			s.DER = a.cert.Raw
		}
		h.Authorities = append(h.Authorities, s)
	}
	for _, c := range r.lists.of {
		h.CRLs = append(h.CRLs, c.Bytes())
	}
	x := r.index.Load()
	for n, s := range x.long.of {
		h.Long = append(h.Long, savedStatus{n.issuer, []byte(n.long), uint64(s)})
	}
	return h
}

// append writes the occupied slots in their order: filled in that order again,
// memory is walked from one end to the other. A CA that came after the header
// was made is left out, with the entries that follow it.
func (s *shard) append(b []byte, issuers int) []byte {
	s.RLock()
	defer s.RUnlock()
	for _, one := range s.slots {
		if one.status != 0 && int(one.status.issuer()) < issuers {
			b = append(b, one.key[:]...)
			b = binary.BigEndian.AppendUint64(b, uint64(one.status))
		}
	}
	return b
}

// Load takes up a snapshot, after Start and before the ledger is followed. A
// damaged one is refused and changes nothing.
func (r *Responder) Load(from io.Reader) error {
	got := make([]byte, len(magic))
	if _, err := io.ReadFull(from, got); err != nil || string(got) != magic {
		return fmt.Errorf("%w: not a snapshot", ErrSnapshot)
	}
	var digests []byte
	head, sum, err := section(from, headerMax)
	if err != nil {
		return fmt.Errorf("%w: header: %w", ErrSnapshot, err)
	}
	if !bytes.Equal(alg.Digest(head), sum) {
		return fmt.Errorf("%w: header", ErrSnapshot)
	}
	digests = append(digests, sum...)
	var h header
	if err := json.Unmarshal(head, &h); err != nil {
		return fmt.Errorf("%w: header: %w", ErrSnapshot, err)
	}
	x, sums, err := readShards(from, len(h.Authorities))
	if err != nil {
		return err
	}
	last := make([]byte, ledger.HashSize)
	if _, err := io.ReadFull(from, last); err != nil || !bytes.Equal(last, alg.Digest(append(digests, sums...))) {
		return fmt.Errorf("%w: its parts do not belong together", ErrSnapshot)
	}
	return r.take(h, x)
}

// section reads length, data and digest. Memory grows with what is there, not
// with what a damaged length claims.
func section(from io.Reader, limit int64) (data, sum []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, nil, err
	}
	n := int64(binary.BigEndian.Uint32(size[:]))
	if n > limit {
		return nil, nil, fmt.Errorf("%d octets", n)
	}
	var b bytes.Buffer
	b.Grow(int(min(n+ledger.HashSize, 4<<20)))
	if _, err := io.CopyN(&b, from, n+ledger.HashSize); err != nil {
		return nil, nil, err
	}
	return b.Bytes()[:n], b.Bytes()[n:], nil
}

// sectionMax bounds one shard: 2³² certificates in all, more than one CA issues.
const sectionMax = 1 << 24 * slotSize

func readShards(from io.Reader, issuers int) (x *index, sums []byte, err error) {
	type job struct {
		shard     int
		data, sum []byte
	}
	x = new(index)
	jobs := make(chan job)
	broken := make(chan error, shardCount)
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for j := range jobs {
				if !bytes.Equal(alg.Digest(j.data), j.sum) {
					broken <- fmt.Errorf("%w: shard %d", ErrSnapshot, j.shard)
				} else if err := x.fill(j.shard, j.data, issuers); err != nil {
					broken <- err
				}
			}
		})
	}
	for i := range shardCount {
		data, sum, readErr := section(from, sectionMax)
		if readErr != nil {
			err = fmt.Errorf("%w: shard %d: %w", ErrSnapshot, i, readErr)
			break
		}
		sums = append(sums, sum...)
		jobs <- job{i, data, sum}
	}
	close(jobs)
	work.Wait()
	close(broken)
	return x, sums, errors.Join(err, <-broken)
}

// fill rebuilds one shard with the same slack it would have after growing.
func (x *index) fill(n int, data []byte, issuers int) error {
	count := len(data) / slotSize
	if len(data)%slotSize != 0 {
		return fmt.Errorf("%w: shard %d is cut", ErrSnapshot, n)
	}
	s := &x.shards[n]
	s.slots = make([]slot, max(slotsMin, count*3/2))
	for ; len(data) > 0; data = data[slotSize:] {
		one := slot{status: status(binary.BigEndian.Uint64(data[len(key{}):]))}
		copy(one.key[:], data)
		issuer := one.status.issuer()
		h := hash(issuer, one.key)
		if one.status&kept == 0 || int(issuer) >= issuers || int(h>>56) != n {
			return fmt.Errorf("%w: shard %d has what belongs elsewhere", ErrSnapshot, n)
		}
		s.slots[s.find(h, issuer, one.key)] = one
	}
	s.used = count
	return nil
}

func (r *Responder) take(h header, x *index) error {
	front, err := ledger.FrontierOf(h.Entries, h.Frontier)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	b := new(book)
	for _, a := range h.Authorities {
		var c *cert.Certificate
		if a.DER != nil {
			if c, err = cert.Parse(a.DER); err != nil {
				return fmt.Errorf("%w: %w", ErrSnapshot, err)
			}
		}
		if b, _, err = b.with(a.Digest, c); err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
	}
	crls := map[string]record.CRL{}
	for _, body := range h.CRLs {
		c, err := record.ParseCRL(body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		crls[c.Scope] = c
	}
	for _, s := range h.Long {
		if int(s.Issuer) >= len(h.Authorities) || status(s.Status)&kept == 0 || len(s.Serial) <= len(key{}) {
			return fmt.Errorf("%w: long serials", ErrSnapshot)
		}
		x.put(nameOf(s.Issuer, s.Serial), func(status) status { return status(s.Status) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	configured := r.book.Load().list
	for _, a := range configured {
		if b, _, err = b.with(a.digest[:], a.cert); err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
	}
	r.lists.Lock()
	defer r.lists.Unlock()
	r.next, r.front, r.lists.of = h.Entries, front, crls
	r.index.Store(x)
	r.changes.Add(1)
	r.book.Store(b.serve(*r.delegates.Load()))
	r.asOf.Store(min(h.AsOf, r.Now().UnixNano()))
	return nil
}
