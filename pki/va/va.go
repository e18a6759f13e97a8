// Package va answers whether a certificate is valid now. (证书状态服务)
//
// It is a reader of the ledger: it asks nothing of the CA, keeps a compact
// index of every certificate's status, and goes on answering from the last good
// state when the core is away. Answers to questions without a nonce are signed
// once and given again until the status changes or half their time is over.
package va

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// Responder answers for the CAs that share the name of the one that issued its
// certificate. Set the fields, then call Start; its methods may be called at once.
type Responder struct {
	Issuers    [][]byte      // DER certificates of CAs, beside those the ledger names
	Signer     crypto.Signer // the responder's key
	Cert       []byte        // DER, issued directly by the CA for signing OCSP
	Others     []Delegation  // for CAs of other names, such as the root
	Now        func() time.Time
	TTL        time.Duration // how long an answer holds; an hour when 0
	CacheMax   int           // presigned answers kept; 32 Ki when 0
	SignedOnly bool          // refuse questions that no certificate holder of the institution signed
	// Extended says revoked, not unknown, of serials that were never issued (RFC
	// 6960 §2.2), as long as the ledger was read just now.
	Extended bool

	delegates atomic.Pointer[[]*delegate] // one for each key of a CA answered for, the first first
	book      atomic.Pointer[book]
	index     atomic.Pointer[index]
	changes   atomic.Uint64 // grows after every change of the index, never 0
	cache     *cache
	seats     chan struct{}
	wake      chan struct{}
	asOf      atomic.Int64 // when the state was last known to be the ledger's, Unix nanoseconds
	signing   trouble
	reading   trouble

	mu    sync.Mutex // held by the one writer
	next  int64      // entries applied
	front ledger.Frontier
	lists lists
}

// lists are the newest revocation lists by scope.
type lists struct {
	sync.RWMutex
	of map[string]record.CRL
}

// Delegation is a further right to sign answers: key and DER certificate.
type Delegation struct {
	Signer crypto.Signer
	Cert   []byte
}

// delegate is the right to sign answers.
type delegate struct {
	key  crypto.Signer
	cert *cert.Certificate
}

// Start checks the responder's certificate and prepares the rest.
func (r *Responder) Start() error {
	r.cache = newCache(cmpOr(r.CacheMax, cacheMax))
	r.seats, r.wake = make(chan struct{}, seats), make(chan struct{}, 1)
	r.lists.of = map[string]record.CRL{}
	r.index.Store(new(index))
	r.changes.Store(1)
	r.book.Store(new(book))
	r.delegates.Store(new([]*delegate))
	for _, d := range append([]Delegation{{r.Signer, r.Cert}}, r.Others...) {
		if err := r.Renew(d.Signer, d.Cert); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, der := range r.Issuers {
		if err := r.authority(der); err != nil {
			return fmt.Errorf("issuer: %w", err)
		}
	}
	return nil
}

func cmpOr(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Renew gives the responder another certificate, as happens often: it is short-lived
// because nobody can ask for its status (RFC 6960 §4.2.2.2.1). It takes the
// place of the one that the same key of the same CA issued, if there is one.
func (r *Responder) Renew(key crypto.Signer, der []byte) error {
	d, err := delegated(key, der)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(*r.delegates.Load())
	if i := slices.IndexFunc(list, d.beside); i >= 0 {
		list[i] = d
	} else {
		list = append(list, d)
	}
	r.delegates.Store(&list)
	r.book.Store(r.book.Load().serve(list))
	return nil
}

// Delegated is the certificate under which answers about what a CA certificate's
// key issued are signed; nil when its own key has certified no responder.
func (r *Responder) Delegated(ca *cert.Certificate) *cert.Certificate {
	for _, d := range *r.delegates.Load() {
		if d.of(ca) {
			return d.cert
		}
	}
	return nil
}

// delegated checks that a certificate gives the right to sign answers.
func delegated(key crypto.Signer, der []byte) (*delegate, error) {
	c, err := cert.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("responder's certificate: %w", err)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !bytes.Equal(alg.Point(pub), c.Point) {
		return nil, errors.New("responder's certificate: it is for another key")
	}
	if !ocsp.Delegated(c) {
		return nil, errors.New("responder's certificate: it is not for signing OCSP")
	}
	return &delegate{key, c}, nil
}

// of reports whether a CA certificate's key issued the delegation.
func (d *delegate) of(ca *cert.Certificate) bool {
	e, ok := d.cert.Extension(cert.AuthorityKeyID)
	return bytes.Equal(d.cert.Issuer, ca.Subject) && ok && bytes.Equal(e.Value, cert.AKI(ca.Point).Value)
}

// beside reports whether another delegation is of the same key of a CA.
func (d *delegate) beside(o *delegate) bool {
	a, _ := d.cert.Extension(cert.AuthorityKeyID)
	b, _ := o.cert.Extension(cert.AuthorityKeyID)
	return bytes.Equal(d.cert.Issuer, o.cert.Issuer) && bytes.Equal(a.Value, b.Value)
}

// speaks is who signs answers about a CA's certificates (RFC 6960 §4.2.2.2): who
// has it from the key that issued them. Strict clients refuse another's word, so
// until that key has certified somebody it is nobody.
func (r *Responder) speaks(of name) *delegate {
	if b := r.book.Load(); int(of.issuer) < len(b.by) && b.by[of.issuer] != nil {
		return b.by[of.issuer]
	}
	return (*r.delegates.Load())[0]
}

// Answer is what goes back to the asker.
type Answer struct {
	DER        []byte
	Code       ocsp.Code
	Live       bool // made for this question: nobody may give it to another
	ThisUpdate time.Time
	NextUpdate time.Time
	Keep       time.Duration // how long it may be kept without asking again, if it is not live
	ETag       []byte        // of an answer that is not live: SM3 of the DER in quotes
	Err        error         // why Code is not Successful
}

func failure(code ocsp.Code, err error) Answer {
	return Answer{DER: ocsp.Failure(code), Code: code, Live: true, Err: err}
}

// Reasons for an answer that is only a code.
var (
	errForeign = errors.New("no certificate asked for is of a CA answered for here")
	errAsker   = errors.New("the signer of the request is not a valid certificate holder of this institution")
	errNobody  = errors.New("the key that issued the certificate has certified no responder yet")
	errUnread  = errors.New("the ledger has not been read yet")
	errSeats   = errors.New("too many signatures are being made")
)

// Respond answers a DER question.
func (r *Responder) Respond(ctx context.Context, der []byte) Answer {
	now := r.Now()
	var stale *presigned
	if id, ok := ocsp.Sole(der); ok && !r.SignedOnly {
		p, fresh := r.presigned(id, now)
		if fresh {
			return p.given(now)
		}
		stale = p
	}
	req, err := ocsp.ParseRequest(der)
	if err != nil {
		return failure(ocsp.MalformedRequest, err)
	}
	if code, err := r.admit(req, now); err != nil {
		return failure(code, err)
	}
	a := r.answer(ctx, req, now)
	if a.Code != ocsp.Successful && stale != nil && now.Before(stale.answer.NextUpdate) {
		return stale.given(now) // the device is away; what it signed before still holds
	}
	return a
}

// presigned finds an answer that still says the truth, and whether it is fresh.
// The status is compared at the first use after any change, so that no change
// can be overtaken by an answer being signed at that moment.
func (r *Responder) presigned(id []byte, now time.Time) (p *presigned, fresh bool) {
	p = r.cache.get(id)
	if p == nil {
		return nil, false
	}
	if at := r.changes.Load(); p.seen.Load() != at { // something has changed; did this?
		if r.index.Load().get(p.of) != p.status {
			return nil, false
		}
		p.seen.Store(at)
	}
	return p, now.Before(p.refresh) && p.by == r.speaks(p.of)
}

// admit checks who asks. A signature is checked whenever there is one (GM/T
// 0034 §5.3.6.2); whose it is matters when only holders may ask.
func (r *Responder) admit(req *ocsp.Request, now time.Time) (ocsp.Code, error) {
	if !req.Signed {
		if r.SignedOnly {
			return ocsp.SigRequired, errors.New("only signed requests are answered")
		}
		return ocsp.Successful, nil
	}
	signer, err := req.Verify()
	if err != nil {
		return ocsp.Unauthorized, err
	}
	if r.SignedOnly && !r.holder(signer, now) {
		return ocsp.Unauthorized, errAsker
	}
	return ocsp.Successful, nil
}

// holder reports whether a certificate is one of ours and good.
func (r *Responder) holder(c *cert.Certificate, now time.Time) bool {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return false
	}
	b := r.book.Load()
	for _, n := range b.named(c.Issuer) {
		s := r.index.Load().get(nameOf(n, c.Serial.Bytes()))
		if s != 0 && s&revoked == 0 && c.SignedBy(b.list[n].cert) == nil {
			return true
		}
	}
	return false
}

// find returns the status of a certificate; ours is false for a foreign issuer.
func (r *Responder) find(id ocsp.CertID) (of name, s status, ours bool) {
	for _, n := range r.book.Load().issuers(id) {
		of, ours = nameOf(n, id.Serial), true
		if s = r.index.Load().get(of); s != 0 {
			return of, s, true
		}
	}
	return of, 0, ours
}

func (r *Responder) answer(ctx context.Context, req *ocsp.Request, now time.Time) Answer {
	d := (*r.delegates.Load())[0]
	for _, id := range req.IDs {
		if of, _, ours := r.find(id); ours {
			d = r.speaks(of)
			break
		}
	}
	if d == nobody {
		return failure(ocsp.TryLater, errNobody)
	}
	asOf := r.asOf.Load()
	// What is known was true when the ledger was last read, not later, and the
	// answer says so; it holds no longer than the responder's certificate.
	this := time.Unix(0, min(asOf, now.UnixNano())).Truncate(time.Second)
	next := now.Add(r.ttl()).Truncate(time.Second)
	if next.After(d.cert.NotAfter) {
		next = d.cert.NotAfter
	}
	draft := ocsp.Draft{Responder: d.cert.Subject, ProducedAt: now, Nonce: req.Nonce, Singles: make([]ocsp.Single, len(req.IDs))}
	var of name
	var s status
	served := false
	for i, id := range req.IDs {
		var ours bool
		of, s, ours = r.find(id)
		if ours && r.speaks(of) != d { // another's to say: to be asked for by itself
			s, ours = 0, false
		}
		served = served || ours
		draft.Singles[i] = r.single(id.Raw, of, s)
		if s == 0 && ours && r.Extended && now.Sub(time.Unix(0, asOf)) < extendedWithin {
			draft.Singles[i], draft.Extended = ocsp.NeverIssued(id.Raw), true
		}
		draft.Singles[i].ThisUpdate, draft.Singles[i].NextUpdate = this, next
	}
	if !served {
		return failure(ocsp.Unauthorized, errForeign)
	}
	if asOf == 0 {
		return failure(ocsp.TryLater, errUnread)
	}
	a := r.sign(ctx, d, draft, now)
	if a.Code != ocsp.Successful {
		return a
	}
	a.ThisUpdate, a.NextUpdate = this, next
	// Strangers can invent unknown serials without end; only those on record
	// are worth a place.
	if len(req.IDs) > 1 || req.Nonce != nil || req.Signed || s == 0 {
		a.Live = true
		return a
	}
	a.ETag = fmt.Appendf(nil, `"%x"`, alg.Digest(a.DER))
	p := &presigned{answer: a, id: req.IDs[0].Raw, of: of, status: s, by: d, refresh: now.Add(next.Sub(now) / 2)}
	r.cache.put(p)
	return p.given(now)
}

// single is the answer about one certificate. Whatever was ever issued is
// answered for without end, so the archive goes back to the CA's beginning.
func (r *Responder) single(id []byte, of name, s status) ocsp.Single {
	a := s.single(id)
	if list := r.book.Load().list; s != 0 && int(of.issuer) < len(list) && list[of.issuer].cert != nil {
		a.Cutoff = list[of.issuer].cert.NotBefore
	}
	return a
}

func (r *Responder) ttl() time.Duration {
	if r.TTL > 0 {
		return r.TTL
	}
	return ttl
}

func (r *Responder) sign(ctx context.Context, d *delegate, draft ocsp.Draft, now time.Time) Answer {
	if !now.Before(d.cert.NotAfter) || now.Before(d.cert.NotBefore) {
		err := errors.New("the responder's certificate is not valid now")
		r.signing.set(err, now)
		return failure(ocsp.InternalError, err)
	}
	if err := r.sit(ctx); err != nil {
		return failure(ocsp.TryLater, err)
	}
	defer func() { <-r.seats }()
	der, err := ocsp.Seal(draft.TBS(), d.cert.Raw, d.key)
	r.signing.set(err, now)
	if err != nil {
		return failure(ocsp.InternalError, fmt.Errorf("signing answer: %w", err))
	}
	return Answer{DER: der}
}

func (r *Responder) sit(ctx context.Context) error {
	select {
	case r.seats <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(seatWait)
	defer wait.Stop()
	select {
	case r.seats <- struct{}{}:
		return nil
	case <-wait.C:
		return errSeats
	case <-ctx.Done():
		return ctx.Err()
	}
}

// trouble remembers what goes wrong and logs it once, then now and then.
type trouble struct {
	now atomic.Pointer[incident]
}

type incident struct {
	err    error
	logged time.Time
}

func (t *trouble) set(err error, now time.Time) {
	last := t.now.Load()
	if err == nil {
		if last != nil && t.now.CompareAndSwap(last, nil) {
			slog.Info("status service is well again", "was", last.err)
		}
		return
	}
	if last != nil && last.err.Error() == err.Error() && now.Sub(last.logged) < repeatAfter {
		return
	}
	if t.now.CompareAndSwap(last, &incident{err, now}) {
		slog.Error("status service", "err", err)
	}
}

func (t *trouble) get() error {
	if last := t.now.Load(); last != nil {
		return last.err
	}
	return nil
}
