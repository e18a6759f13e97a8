package raevidence

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ra"
)

// entriesFile is entries.json of a log: some of its leaves, each with its path
// to the root of the checkpoint beside it.
type entriesFile struct {
	Entries []entryFile `json:"entries"`
}

type entryFile struct {
	Index int64    `json:"index"`
	Leaf  []byte   `json:"leaf"`
	Path  []string `json:"path"`
}

// reading is a log as of one checkpoint.
type reading struct {
	Log
	note []byte
	cp   ledger.Checkpoint
}

func (l Log) read(ctx context.Context) (reading, error) {
	note, err := l.Source.Get(ctx, ledger.CheckpointPath)
	if err != nil {
		return reading{}, fmt.Errorf("reading checkpoint: %w", err)
	}
	cp, err := ledger.OpenCheckpoint(note, l.Key, l.Origin)
	return reading{l, note, cp}, err
}

// put writes the checkpoint and entries of a log, checking each path: what does
// not prove is not handed out.
func (r reading) put(ctx context.Context, f folder, dir string, indexes []int64) error {
	slices.Sort(indexes)
	out := entriesFile{Entries: []entryFile{}}
	for _, i := range slices.Compact(indexes) {
		leaf, err := ledger.Entry(ctx, r.Source, r.cp.Size, i)
		if err != nil {
			return err
		}
		path, err := ledger.Prove(ctx, r.Source, r.cp.Size, i)
		if err != nil {
			return err
		}
		if !ledger.Included(leaf, i, r.cp.Size, path, r.cp.Root) {
			return fmt.Errorf("%w: entry %d of %s", ledger.ErrFork, i, r.Origin)
		}
		out.Entries = append(out.Entries, entryFile{i, leaf, hexes(path)})
	}
	f.put(dir+"/checkpoint", r.note)
	return f.putJSON(dir+"/entries.json", out)
}

// trail adds the lines about the cases.
func (b *Binder) trail(ctx context.Context, f folder, cases []string) error {
	r, err := b.Audit.read(ctx)
	if err != nil {
		return err
	}
	var indexes []int64
	for _, id := range cases {
		for q := (audit.Query{Object: id, Limit: audit.PageMax}); ; {
			lines, err := b.Trail.List(ctx, q)
			if err != nil {
				return err
			}
			for _, l := range lines {
				if q.Before = l.Index; l.Index < r.cp.Size {
					indexes = append(indexes, l.Index)
				}
			}
			if len(lines) < audit.PageMax || len(indexes) > linesMax || q.Before == 0 {
				break
			}
		}
	}
	return r.put(ctx, f, "audit", indexes)
}

// early is how far before a case was drafted the ledger is looked at: clocks of
// two zones differ by minutes at most.
const early = 24 * time.Hour

// ledger adds what the CA said in public about the certificates, and the newest
// list. The list is taken first: the checkpoint read after it covers it.
func (b *Binder) ledger(ctx context.Context, f folder, rec ra.Record, since time.Time) error {
	lists := b.Lists()
	r, err := b.Public.read(ctx)
	if err != nil {
		return err
	}
	from, err := ledger.Since(ctx, r.Source, r.cp.Size, since.Add(-early))
	if err != nil {
		return err
	}
	s := search{serials: serials(rec)}
	if p, err := b.Desk.Package(rec, nil); p.Sealed != nil && len(s.serials) > 1 {
		if err != nil {
			p.Sealed = rec.Reply.Sealed // not delivered, and on record all the same
		}
		s.escrow = alg.Digest(s.serials[1], p.Sealed)
	}
	if err := ledger.Scan(ctx, r.Source, from, r.cp.Size, s.see); err != nil {
		return err
	}
	if len(s.indexes) == 0 {
		return fmt.Errorf("the ledger of %d entries has none about %s", r.cp.Size, rec.SignSerial)
	}
	if l, ok := lists[s.shard]; ok {
		body, err := ledger.Body(ctx, r.Source, l.Digest)
		if err != nil {
			return fmt.Errorf("reading the list of shard %d: %w", s.shard, err)
		}
		f.put("status/list.crl", body)
		if i := s.list(l.Digest); i >= 0 {
			s.indexes = append(s.indexes, i)
		}
	}
	return r.put(ctx, f, "ledger", s.indexes)
}

// serials are the bytes of both serials; the second is the encryption
// certificate's.
func serials(rec ra.Record) (list [][]byte) {
	for _, s := range []string{rec.SignSerial, rec.EncSerial} {
		if raw, err := hex.DecodeString(s); err == nil && len(raw) > 0 {
			list = append(list, raw)
		}
	}
	return list
}

// search finds a pair's entries. Serials are random, so most leaves are passed
// over without being read.
type search struct {
	serials [][]byte
	escrow  []byte
	indexes []int64
	lists   []listed
	shard   int
}

type listed struct {
	index  int64
	digest []byte
}

func (s *search) see(i int64, leaf []byte) {
	hit := s.escrow != nil && bytes.Contains(leaf, s.escrow) || bytes.Contains(leaf, []byte(record.KindCRL))
	for _, n := range s.serials {
		hit = hit || bytes.Contains(leaf, n)
	}
	if !hit {
		return
	}
	e, err := record.Parse(leaf)
	if err != nil {
		return
	}
	switch e.Kind {
	case record.KindCertificate:
		if c, err := record.ParseCertificate(e.Body); err == nil && s.ours(c.Serial) {
			s.indexes = append(s.indexes, i)
			if bytes.Equal(c.Serial, s.serials[0]) {
				s.shard = c.Shard
			}
		}
	case record.KindStatus:
		if c, err := record.ParseStatus(e.Body); err == nil && s.ours(c.Serial) {
			s.indexes = append(s.indexes, i)
		}
	case record.KindEscrow:
		if bytes.Equal(e.Digest, s.escrow) {
			s.indexes = append(s.indexes, i)
		}
	case record.KindCRL:
		if c, err := record.ParseCRL(e.Body); err == nil {
			s.lists = append(s.lists, listed{i, c.Digest})
		}
	}
}

func (s *search) ours(serial []byte) bool {
	return slices.ContainsFunc(s.serials, func(n []byte) bool { return bytes.Equal(n, serial) })
}

// list is the entry of a list, -1 when it lies before the part looked at.
func (s *search) list(digest []byte) int64 {
	for _, l := range s.lists {
		if bytes.Equal(l.digest, digest) {
			return l.index
		}
	}
	return -1
}
