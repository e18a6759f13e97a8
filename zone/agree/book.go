package agree

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
)

// book is what the ledger says now: eighty octets and an index for each
// certificate, more only for those whose status changed.
type book struct {
	sync.RWMutex
	seed    maphash.Seed
	certs   []line
	where   map[uint64]int32 // by issuer and serial
	status  map[int32]record.Status
	lists   map[string]record.CRL        // newest of each scope
	issuers []string                     // digests of CA certificates
	cas     map[string]*cert.Certificate // by digest
}

// line is one certificate.
type line struct {
	serial [20]byte
	digest [32]byte
	until  int64 // notAfter, Unix seconds
	due    int64 // when it comes into the directory, Unix seconds; 0 is at once
	shard  int32
	issuer uint8
	size   uint8 // of the serial
	public bool
}

// Subject is something the ledger has spoken of: a certificate or a list.
type Subject struct {
	Serial  []byte            // of a certificate
	Issuer  *cert.Certificate // nil when the ledger does not name it
	Digest  []byte            // SM3 of the certificate or of the list
	Shard   int
	Public  bool
	Until   time.Time
	Revoked bool
	Reason  int
	At      time.Time // of the revocation
	Due     time.Time // when it comes into the directory; zero is at once
	Last    bool      // its CA signs no more: the last list is all there is of its status

	Scope  string // of a list
	Number int64
}

// Name is what people call it.
func (s Subject) Name() string {
	if s.Scope != "" {
		return "列表 " + s.Scope
	}
	return "证书 " + cert.SerialHex(s.Serial)
}

// key names a subject: a certificate's place in the book, or a list's scope.
type key struct {
	at    int32
	scope string
}

func newBook() *book {
	return &book{seed: maphash.MakeSeed(), where: map[uint64]int32{}, status: map[int32]record.Status{}, lists: map[string]record.CRL{}, cas: map[string]*cert.Certificate{}}
}

func (b *book) hash(issuer, serial []byte) uint64 {
	return maphash.Bytes(b.seed, append(append(slices.Clip(issuer), 0), serial...))
}

// take notes an entry of the ledger and says whom it speaks of.
func (b *book) take(e record.Entry) (k key, ok bool, err error) {
	b.Lock()
	defer b.Unlock()
	switch e.Kind {
	case record.KindAuthority:
		c, err := cert.Parse(slices.Clone(e.Body))
		if err == nil {
			b.cas[string(alg.Digest(c.Raw))] = c
		}
		return k, false, err
	case record.KindCertificate:
		c, err := record.ParseCertificate(e.Body)
		if err != nil {
			return k, false, err
		}
		return b.issued(c)
	case record.KindStatus:
		s, err := record.ParseStatus(e.Body)
		if err != nil {
			return k, false, err
		}
		at, ok := b.where[b.hash(s.Issuer, s.Serial)]
		s.Issuer, s.Serial = nil, nil // they would keep the whole bundle
		if ok {
			b.status[at] = s
		}
		return key{at: at}, ok, nil
	case record.KindRelease:
		r, err := record.ParseRelease(e.Body)
		if err != nil {
			return k, false, err
		}
		at, ok := b.where[b.hash(r.Issuer, r.Serial)]
		if ok {
			b.certs[at].due = min(b.certs[at].due, r.At.Unix())
		}
		return key{at: at}, ok, nil
	case record.KindCRL:
		l, err := record.ParseCRL(e.Body)
		if err != nil {
			return k, false, err
		}
		l.Issuer, l.Digest = slices.Clone(l.Issuer), slices.Clone(l.Digest)
		b.lists[l.Scope] = l
		return key{scope: l.Scope}, true, nil
	}
	return k, false, nil
}

func (b *book) issued(c record.Certificate) (key, bool, error) {
	l := line{until: c.NotAfter.Unix(), shard: int32(c.Shard), public: c.Public, size: uint8(len(c.Serial))}
	if len(c.Serial) > len(l.serial) || len(c.Digest) != len(l.digest) {
		return key{}, false, record.ErrSyntax
	}
	copy(l.serial[:], c.Serial)
	copy(l.digest[:], c.Digest)
	if !c.Due.IsZero() {
		l.due = c.Due.Unix()
	}
	n := slices.Index(b.issuers, string(c.Issuer))
	if n < 0 {
		n = len(b.issuers)
		b.issuers = append(b.issuers, string(c.Issuer))
	}
	l.issuer = uint8(n)
	at := int32(len(b.certs))
	b.certs, b.where[b.hash(c.Issuer, c.Serial)] = append(b.certs, l), at
	return key{at: at}, true, nil
}

// subject is what the ledger says of somebody now.
func (b *book) subject(k key) Subject {
	b.RLock()
	defer b.RUnlock()
	if k.scope != "" {
		l := b.lists[k.scope]
		return Subject{Scope: l.Scope, Number: l.Number, Digest: l.Digest, Until: l.NextUpdate, Issuer: b.cas[string(l.Issuer)]}
	}
	l := &b.certs[k.at]
	s := Subject{
		Serial: l.serial[:l.size], Digest: l.digest[:], Shard: int(l.shard), Public: l.public, Until: time.Unix(l.until, 0),
		Issuer: b.cas[b.issuers[l.issuer]],
	}
	if l.due != 0 {
		s.Due = time.Unix(l.due, 0)
	}
	if g := ca.KeyOf(s.Shard); g >= ca.WardFirst { // taken over; with its key it has a list of changes, too
		_, signs := b.lists[ca.ScopeOf(ca.DeltaOf(g))]
		s.Last = !signs
	}
	if st, ok := b.status[k.at]; ok && st.Revoked {
		s.Revoked, s.Reason, s.At = true, st.Reason, st.At
	}
	return s
}

// random is some certificate that was issued.
func (b *book) random(pick func(n int) int) (key, bool) {
	b.RLock()
	defer b.RUnlock()
	if len(b.certs) == 0 {
		return key{}, false
	}
	return key{at: int32(pick(len(b.certs)))}, true
}
