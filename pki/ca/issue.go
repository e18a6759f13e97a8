package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/certlint"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// job is a request in hand: what is on record and what was read from it.
type job struct {
	Job
	app     enroll.Application
	profile profile.Profile
	subject []byte
	point   []byte       // the subscriber's signing key
	encKey  []byte       // the encryption key the centre gave
	bounds  profile.Wish // policies, path length and names of a subordinate CA
	linted  [2]certlint.Linted
	by      *Issuer // whose key signs it, once it is drafted
}

type work struct {
	is      *Issuer
	jobs    []*job
	results []Result

	mu    sync.Mutex
	doors map[string]error // what the gate of a policy said, asked once for a batch
}

func (w *work) passes(ctx context.Context, policy string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err, asked := w.doors[policy]
	if !asked {
		if w.doors == nil {
			w.doors = map[string]error{}
		}
		err = w.is.passes(ctx, policy, w.is.Now())
		w.doors[policy] = err
	}
	return err
}

// parallel runs f for every job still going, on all cores.
func (w *work) parallel(f func(i int, j *job) error) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				if err := f(i, w.jobs[i]); err != nil {
					w.results[i].Err = err
				}
			}
		})
	}
	for i := range w.jobs {
		if w.results[i].Err == nil {
			next <- i
		}
	}
	close(next)
	wg.Wait()
}

// at picks the jobs that stand at a state.
func (w *work) at(s State) (list []*job) {
	for i, j := range w.jobs {
		if w.results[i].Err == nil && j.State == s {
			list = append(list, j)
		}
	}
	return list
}

// admit reads each request, and what is on record of it.
func (w *work) admit(ctx context.Context, requests []enroll.Request, known map[string]Job) {
	w.parallel(func(i int, _ *job) error {
		r := requests[i]
		j := &job{Job: known[r.ID]}
		w.jobs[i] = j
		if j.State == None {
			if err := w.is.admit(ctx, j, r); err != nil {
				return err
			}
			return w.passes(ctx, j.profile.Policy)
		}
		if !bytes.Equal(j.Digest, alg.Digest(r.Content)) {
			return Changed.At("id", Changed.Clause)
		}
		return w.is.read(j, j.Content)
	})
}

// read takes an application apart and checks it against its profile.
func (is *Issuer) read(j *job, content []byte) error {
	if err := enroll.Decode(content, &j.app); err != nil {
		return BadContent.At("content", BadContent.Clause).Because("%v", err)
	}
	p, ok := is.profileOf(j.app.Profile, j.app.Version, j.State != None)
	if !ok || p.Internal {
		return NoProfile.At("profile", NoProfile.Clause).Because("%q 第 %d 版", j.app.Profile, j.app.Version)
	}
	j.profile = p
	req, err := csr.Parse(j.app.CSR)
	if err != nil {
		return BadRequest.At("csr", BadRequest.Clause).Because("%v", err)
	}
	for _, fault := range []*profile.Fault{
		p.CheckSubject(j.app.Subject), p.CheckSAN(j.app.Subject.CN, j.app.SAN), p.CheckRequest(req, j.app.Subject, j.app.SAN), p.CheckDays(j.app.Days),
		p.CheckCodes(j.app.Codes, is.Now()),
	} {
		if fault != nil {
			return BadContent.At(fault.Field, fault.Clause).Because("%s", fault.Why).ToFix(fault.Fix)
		}
	}
	if j.app.Days <= 0 {
		return BadContent.At("days", BadContent.Clause)
	}
	j.subject, j.point = j.app.Subject.Bytes(), req.Point
	return nil
}

// admit checks a request that is not on record: content, the people's
// signatures, and the records the law asks for.
func (is *Issuer) admit(ctx context.Context, j *job, r enroll.Request) error {
	if err := is.read(j, r.Content); err != nil {
		return err
	}
	if j.app.ID != r.ID || r.ID == "" || len(r.ID) > 64 {
		return BadContent.At("id", BadContent.Clause)
	}
	a := j.app
	if a.Check.Method == "" || a.Check.Method == "none" || a.Check.By == "" || !enroll.Told(a.Notices) || a.Accord == "" || a.CPS == "" {
		return NoIdentity.At("check", NoIdentity.Clause)
	}
	if err := is.agreed(ctx, r, a); err != nil {
		return err
	}
	if err := is.follow(ctx, j); err != nil {
		return err
	}
	now := is.Now().UTC().Truncate(time.Second)
	j.From, j.To = now.Add(-backdate), now.Add(-backdate).AddDate(0, 0, a.Days)
	if j.To.After(is.Cert.NotAfter) {
		return TooLong.At("validity_days", TooLong.Clause).Because("CA 证书至 %s", is.Cert.NotAfter.Format("2006-01-02"))
	}
	j.ID, j.Content, j.Digest, j.KeyHash, j.Body = r.ID, r.Content, alg.Digest(r.Content), alg.Digest(j.point), a.Body
	return nil
}

// reserve draws serials of 127 random bits (at least 64 are asked for).
func (j *job) reserve() {
	draw := func() []byte {
		b := make([]byte, 16)
		_, _ = rand.Read(b) // crypto/rand never fails
		b[0] = b[0]&0x7F | 0x40
		return b
	}
	j.Serials.Sign = draw()
	if j.pair() {
		j.Serials.Enc = draw()
	}
}

// pair reports whether two certificates are to be signed. A recovery signs one:
// the encryption certificate stays.
func (j *job) pair() bool { return j.profile.Dual && j.Escrow == nil }

// open puts new requests on record. Singles have their drafts already.
func (w *work) open(ctx context.Context) error {
	fresh := w.at(None)
	if len(fresh) == 0 {
		return nil
	}
	err := w.tryOpen(ctx, fresh)
	if err == nil || !own(err) {
		return err
	}
	// One of several is at fault: each by itself finds out which.
	for _, j := range fresh {
		if err = w.tryOpen(ctx, []*job{j}); err == nil {
			continue
		}
		if !own(err) {
			return err
		}
		w.fail(j, err)
	}
	return nil
}

// own reports whether an error is one request's own and no reason to hold up
// its neighbours: a refusal, or a draft that does not lint.
func own(err error) bool {
	var lint *certlint.Failed
	return refusal.Of(err) != nil || errors.As(err, &lint)
}

func (w *work) fail(j *job, err error) {
	for i := range w.jobs {
		if w.jobs[i] == j {
			w.results[i].Err = err
		}
	}
}

func (w *work) tryOpen(ctx context.Context, fresh []*job) error {
	var asks []KeyAsk
	task := newTask()
	jobs := make([]Job, 0, len(fresh))
	for _, j := range fresh {
		j.reserve()
		w.is.takes(j)
		j.State, j.Task = Intended, 0
		if j.profile.Dual {
			j.State, j.Task = Opened, task
			ask := KeyAsk{Serial: j.Serials.Enc, Point: j.point, Name: name(j.app.Subject), From: j.From, To: j.To}
			if j.Escrow != nil {
				ask.Serial, ask.Restore = j.Escrow, true
			}
			asks = append(asks, ask)
		} else if err := w.is.draft(j); err != nil {
			j.State = None
			return err
		}
		jobs = append(jobs, j.Job)
	}
	var ask *Ask
	if len(asks) > 0 {
		message, err := w.is.Keys.Apply(task, asks, w.is.Now())
		if err != nil {
			return fmt.Errorf("asking for keys: %w", err)
		}
		ask = &Ask{task, message}
	}
	if err := w.is.Store.Open(ctx, jobs, ask, w.is.Now()); err != nil {
		for _, j := range fresh {
			j.State = None
		}
		return fmt.Errorf("opening requests: %w", err)
	}
	return nil
}

// newTask numbers a message to the key centre: 62 random bits never repeat.
func newTask() int64 {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // crypto/rand never fails
	var n int64
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	return n&(1<<62-1) | 1
}

// fetchKeys asks the key centre for the encryption keys of every opened
// request: the message on record, so a repetition gets the same keys. A centre
// out of reach fails the requests that need it, after one try.
func (w *work) fetchKeys(ctx context.Context) error {
	tasks := map[int64][]*job{}
	for _, j := range w.at(Opened) {
		tasks[j.Task] = append(tasks[j.Task], j)
	}
	var down error
	for task, jobs := range tasks {
		ask, err := w.is.Store.Ask(ctx, task)
		if err != nil {
			return fmt.Errorf("reading task: %w", err)
		}
		var answers []KeyAnswer
		if down == nil {
			if answers, err = w.is.Keys.Send(ctx, ask.Message); err != nil {
				down = fmt.Errorf("asking key centre: %v", err) // not %w: a carrier's refusal is not ours
			}
		}
		var denied []*job
		for _, j := range jobs {
			err := down
			if err == nil {
				err = j.take(answers)
			}
			if err == nil && j.Escrow != nil {
				err = w.is.matches(ctx, j)
			}
			if errors.Is(err, NoKey) {
				denied = append(denied, j)
			}
			if err != nil {
				w.fail(j, err)
			}
		}
		if err := w.abandon(ctx, denied); err != nil {
			return err
		}
	}
	return nil
}

// abandon closes the requests the key centre refused: the message on record is
// answered the same for ever, so a corrected request needs one of its own.
func (w *work) abandon(ctx context.Context, denied []*job) error {
	if len(denied) == 0 {
		return nil
	}
	now := w.is.Now()
	var jobs []Job
	var lines []audit.Entry
	for _, j := range denied {
		jobs = append(jobs, j.Job)
		lines = append(lines, audit.Entry{Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.abandon", Object: j.ID, Result: NoKey.Code})
	}
	if err := w.is.Store.Abandon(ctx, jobs, lines); err != nil {
		return fmt.Errorf("closing requests: %w", err)
	}
	return nil
}

// take finds the answer meant for a job and checks that it is usable.
func (j *job) take(answers []KeyAnswer) error {
	want := j.Serials.Enc
	if j.Escrow != nil {
		want = j.Escrow
	}
	for _, a := range answers {
		if !bytes.Equal(trim(a.Serial), trim(want)) {
			continue
		}
		if a.Refused != "" {
			return NoKey.At("enc", NoKey.Clause).Because("%s", a.Refused)
		}
		if _, err := alg.PublicKey(a.Point); err != nil || bytes.Equal(a.Point, j.point) {
			return fmt.Errorf("key centre gave an unusable key for %s", j.ID)
		}
		j.encKey, j.Sealed = a.Point, a.Sealed
		if j.profile.NeedsOriginal() {
			j.Sealed = a.Envelope
		}
		return nil
	}
	return fmt.Errorf("key centre did not answer for %s", j.ID)
}

func trim(serial []byte) []byte { return bytes.TrimLeft(serial, "\x00") }

// takes gives a job to an issuer: its key will sign, and its lists will name. A
// request from before the key begins when the key's certificate does.
func (is *Issuer) takes(j *job) {
	if is.generation > 0 && !j.profile.Own && j.From.Before(is.Cert.NotBefore) {
		j.From = is.Cert.NotBefore
	}
	j.by, j.Shards = is, [2]int{is.shard(j.Serials.Sign)}
	if j.Serials.Enc != nil {
		j.Shards[1] = is.shard(j.Serials.Enc)
	}
}

// drawn finds the shard a draft on record names: there may have been fewer of
// them on its day.
func (is *Issuer) drawn(shard int, tbs []byte) int {
	if shard < 0 || tbs == nil {
		return shard
	}
	c, err := cert.ParseTBS(tbs)
	if err != nil {
		return shard
	}
	for _, url := range c.URLs()["crl"] {
		for n := range ShardsMax {
			if n += is.generation * Stride; url == is.place(n).CRL {
				return n
			}
		}
	}
	return shard
}

// draft makes and lints both certificates of a job.
func (is *Issuer) draft(j *job) error {
	is.takes(j)
	var err error
	if j.TBS.Sign, err = is.prepare(j, profile.Sign, nil); err == nil && j.pair() {
		j.TBS.Enc, err = is.prepare(j, profile.Enc, nil)
	}
	return err
}

// prepare drafts a certificate unless one is on record, and lints it either
// way: what comes back from a database is checked like what goes in.
func (is *Issuer) prepare(j *job, use profile.Use, earlier []byte) ([]byte, error) {
	i, serial, point := 0, j.Serials.Sign, j.point
	if use == profile.Enc {
		i, serial, point = 1, j.Serials.Enc, j.encKey
	}
	x := certlint.Context{Profile: j.profile, Use: use, Issuer: is.Cert, Place: is.place(j.Shards[i]), Wish: j.bounds}
	x.Wish.Serial, x.Wish.NotBefore, x.Wish.NotAfter, x.Wish.Subject, x.Wish.Point = serial, j.From, j.To, j.subject, point
	x.Wish.SAN, x.Wish.Codes = j.app.SAN, j.app.Codes
	tbs := cert.TBS(earlier)
	if earlier == nil {
		tbs = j.profile.Draft(use, x.Wish, is.Cert, x.Place)
	} else if use == profile.Enc {
		c, err := cert.ParseTBS(tbs) // the centre's key is on record in the draft
		if err != nil {
			return nil, err
		}
		x.Wish.Point = c.Point
	}
	l, err := certlint.Check(tbs, x)
	j.linted[i] = l
	return tbs, err
}

// intend puts the drafts of dual requests on record.
func (w *work) intend(ctx context.Context) error {
	opened := w.at(Opened)
	if len(opened) == 0 {
		return nil
	}
	w.parallel(func(_ int, j *job) error {
		if j.State != Opened {
			return nil
		}
		return w.is.draft(j)
	})
	var jobs []Job
	for _, j := range w.at(Opened) {
		if j.State = Intended; j.pair() {
			j.EncKeyHash = alg.Digest(j.encKey)
		}
		jobs = append(jobs, j.Job)
	}
	if len(jobs) == 0 {
		return nil
	}
	if err := w.is.Store.Intend(ctx, jobs, w.is.Now()); err != nil {
		return fmt.Errorf("recording intent: %w", err)
	}
	return nil
}

// record signs what is on record and records what was signed.
func (w *work) record(ctx context.Context) error {
	w.parallel(func(_ int, j *job) error {
		if j.State != Intended {
			return nil
		}
		by, err := w.is.drafted(j)
		if err != nil {
			return err
		}
		return by.sign(j)
	})
	now := w.is.Now()
	var jobs []Job
	var entries []Publication
	var lines []audit.Entry
	for _, j := range w.at(Intended) {
		if err := w.is.recallKey(ctx, j); err != nil {
			return err
		}
		j.State, j.Due = Recorded, j.profile.Due(now)
		jobs = append(jobs, j.Job)
		entries = append(entries, j.by.publish(j, now)...)
		lines = append(lines, audit.Entry{
			Start: now, End: now, Who: "system:ca", Role: "machine", Item: "ca.issue", Object: j.ID,
			Serial: cert.SerialHex(j.Serials.Sign), Result: audit.Done, Detail: j.profile.Name,
		})
	}
	if len(jobs) == 0 {
		return nil
	}
	if err := w.is.Store.Record(ctx, jobs, entries, lines, now); err != nil {
		return fmt.Errorf("recording certificates: %w", err)
	}
	if w.is.Wake != nil {
		w.is.Wake()
	}
	return nil
}

// drafted is whose draft is on record: a key that was replaced since finishes
// what it had drafted, and drafts nothing more.
func (is *Issuer) drafted(j *job) (*Issuer, error) {
	if j.by != nil && j.linted[0].TBS() != nil {
		return j.by, nil
	}
	c, err := cert.ParseTBS(j.TBS.Sign)
	if err != nil {
		return nil, fmt.Errorf("reading the draft of %s: %w", j.ID, err)
	}
	by := is.by(c)
	by.takes(j)
	j.Shards = [2]int{by.drawn(j.Shards[0], j.TBS.Sign), by.drawn(j.Shards[1], j.TBS.Enc)}
	return by, nil
}

func (is *Issuer) sign(j *job) error {
	if j.linted[0].TBS() == nil { // a draft from an earlier run
		if _, err := is.prepare(j, profile.Sign, j.TBS.Sign); err != nil {
			return err
		}
		if j.TBS.Enc != nil {
			if _, err := is.prepare(j, profile.Enc, j.TBS.Enc); err != nil {
				return err
			}
		}
	}
	var err error
	if j.DER.Sign, err = j.linted[0].Seal(is.Key); err != nil {
		return fmt.Errorf("signing for %s: %w", j.ID, err)
	}
	if j.TBS.Enc != nil {
		if j.DER.Enc, err = j.linted[1].Seal(is.Key); err != nil {
			return fmt.Errorf("signing for %s: %w", j.ID, err)
		}
	}
	return nil
}

// recallKey finds the encryption key of a job that was interrupted after the
// centre had answered: it is in the draft, or in the certificate that stays.
func (is *Issuer) recallKey(ctx context.Context, j *job) error {
	switch {
	case j.encKey != nil:
	case j.TBS.Enc != nil:
		c, err := cert.ParseTBS(j.TBS.Enc)
		if err != nil {
			return fmt.Errorf("reading the draft of %s: %w", j.ID, err)
		}
		j.encKey = c.Point
	case j.Escrow != nil:
		enc, err := is.Store.Certificate(ctx, j.Escrow)
		if err != nil {
			return err
		}
		c, err := cert.Parse(enc.DER)
		if err != nil {
			return err
		}
		j.encKey = c.Point
	}
	return nil
}

// handed is the sealed key as every package has it, whatever more the RA is
// given: its digest in public is one the subscriber can recompute.
func (j *job) handed() []byte {
	if !j.profile.NeedsOriginal() {
		return j.Sealed
	}
	e, _, err := sealedkey.Of(j.Sealed, j.encKey)
	if err != nil {
		return j.Sealed // the desk will not deliver it
	}
	return e.Narrow().Bytes()
}

// publish writes the ledger entries of a job: each certificate, and the digest
// of the escrow.
func (is *Issuer) publish(j *job, now time.Time) []Publication {
	issuer := alg.Digest(is.Cert.Raw)
	one := func(der, serial, pair []byte, use profile.Use, shard int) Publication {
		body := record.Certificate{
			Issuer: issuer, Serial: serial, Pair: pair, Use: string(use), Profile: j.profile.Name, NotBefore: j.From, NotAfter: j.To,
			Shard: shard, Digest: alg.Digest(der), Public: j.profile.Publish == profile.PublishFull, Due: j.Due,
		}.Bytes()
		return Publication{record.Entry{Kind: record.KindCertificate, At: now, Body: body}.Bytes(), der}
	}
	if j.Escrow != nil { // what was recovered is told by its digest
		escrow := record.Entry{Kind: record.KindEscrow, At: now, Digest: alg.Digest(j.Escrow, j.handed())}
		return []Publication{one(j.DER.Sign, j.Serials.Sign, j.Escrow, profile.Sign, j.Shards[0]), {Leaf: escrow.Bytes()}}
	}
	list := []Publication{one(j.DER.Sign, j.Serials.Sign, j.Serials.Enc, profile.Sign, j.Shards[0])}
	if j.profile.Usage != "sign" { // whole, so that every reader can check what it issues
		list = append(list, Publication{Leaf: record.Entry{Kind: record.KindAuthority, At: now, Body: j.DER.Sign}.Bytes()})
	}
	if j.DER.Enc != nil {
		escrow := record.Entry{Kind: record.KindEscrow, At: now, Digest: alg.Digest(j.Serials.Enc, j.handed())}
		list = append(list, one(j.DER.Enc, j.Serials.Enc, j.Serials.Sign, profile.Enc, j.Shards[1]), Publication{Leaf: escrow.Bytes()})
	}
	return list
}
