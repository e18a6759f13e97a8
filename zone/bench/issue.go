package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/caescrow"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/zone/cacore"
)

func withSchema(store, schema string) string {
	u, err := url.Parse(store)
	if err != nil {
		return store
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// party is a key with its certificate.
type party struct {
	key  *sm2.PrivateKey
	cert *cert.Certificate
	who  access.Person
}

// office is an institution small enough to measure: a CA, a key centre, two
// people at the desk.
type office struct {
	is              *ca.Issuer
	clerk, reviewer party
	profile         profile.Profile
	now             func() time.Time
	asked           atomic.Int64
}

func (b *bench) party(issuer *party, set profile.Set, name, cn string) (party, error) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return party{}, err
	}
	p := set[name]
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // crypto/rand never fails
	serial[0] = serial[0]&0x7F | 0x40
	from := b.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	w := profile.Wish{Serial: serial, NotBefore: from, NotAfter: from.AddDate(0, 0, p.Days.Default), Subject: dn.Name{C: "CN", CN: cn}.Bytes(), Point: alg.Point(&key.PublicKey)}
	var by *cert.Certificate
	signer := key
	if issuer != nil {
		by, signer = issuer.cert, issuer.key
	}
	der, err := cert.Seal(p.Draft(profile.Sign, w, by, ca.Place("http://bench", 0)), signer)
	if err != nil {
		return party{}, err
	}
	c, err := cert.Parse(der)
	return party{key: key, cert: c}, err
}

func (b *bench) office(profileName string, bare bool) (*office, func() error, error) {
	set, err := profile.Builtin()
	if err != nil {
		return nil, nil, err
	}
	root, err := b.party(nil, set, "root-ca", "根")
	if err != nil {
		return nil, nil, err
	}
	names := []string{"operating-ca", "staff", "staff", "server", "server"}
	var made []party
	for i, name := range names {
		by := &root
		if i > 0 {
			by = &made[0]
		}
		p, err := b.party(by, set, name, fmt.Sprintf("%s %d", name, i))
		if err != nil {
			return nil, nil, err
		}
		made = append(made, p)
	}
	o := &office{clerk: made[1], reviewer: made[2], profile: set[profileName], now: b.Now}
	db, err := b.database()
	if err != nil {
		return nil, nil, err
	}
	store, err := castore.Open(b.ctx, db)
	if err != nil {
		return nil, nil, err
	}
	if err := cacore.OpenGates(b.ctx, store, set, "CPS-1", b.Now()); err != nil {
		return nil, nil, err
	}
	store.NoTrail = bare
	people := &access.People{DB: db}
	err = db.Write(b.ctx, func(tx *sqldb.Tx) (err error) {
		if o.clerk.who, err = access.PersonOf("clerk", "录入员", o.clerk.cert.Raw, access.RAClerk); err != nil {
			return err
		}
		if o.reviewer.who, err = access.PersonOf("reviewer", "审核员", o.reviewer.cert.Raw, access.RAReviewer); err != nil {
			return err
		}
		return add(tx, people, b.Now(), o.clerk.who, o.reviewer.who)
	})
	if err != nil {
		return nil, nil, err
	}
	centre, stop, err := b.centre(made[3], made[4])
	if err != nil {
		return nil, nil, err
	}
	o.is = &ca.Issuer{
		Key: made[0].key, Cert: made[0].cert, Root: root.cert, Store: store, Keys: centre, Profiles: set, Gates: store, Public: "http://bench", Now: b.Now,
		Desk: access.Desk{Site: "注册系统", People: people, Now: b.Now},
	}
	return o, func() error { return errors.Join(db.Close(), stop()) }, nil
}

// centre is a key centre with a pool, reached by its messages without a carrier.
func (b *bench) centre(server, identity party) (*caescrow.Centre, func() error, error) {
	vault, db, err := b.vault(identity.cert.Raw, [][]byte{server.cert.Raw})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = vault.Run(ctx) }) // it ends with ctx
	stop := func() error {
		cancel()
		wg.Wait()
		return db.Close()
	}
	km, err := cert.Parse(vault.Cert)
	if err != nil {
		return nil, nil, err
	}
	return &caescrow.Centre{Key: server.key, Cert: server.cert, KM: km, Ask: vault.Answer, Now: b.Now}, stop, nil
}

func (b *bench) vault(identity []byte, cas [][]byte) (*km.Vault, *sqldb.DB, error) {
	dev, err := soft.Open(filepath.Join(b.dir, fmt.Sprintf("km-keys-%d", b.n)), []byte(rand.Text()))
	if err != nil {
		return nil, nil, err
	}
	key, err := dev.Generate("identity")
	if err != nil {
		return nil, nil, err
	}
	if err := dev.NewMaster("master"); err != nil {
		return nil, nil, err
	}
	db, err := b.database()
	if err != nil {
		return nil, nil, err
	}
	store, err := kmstore.Open(b.ctx, db)
	if err != nil {
		return nil, nil, err
	}
	// The device's own key is the centre's identity: a certificate over it.
	set, err := profile.Builtin()
	if err != nil {
		return nil, nil, err
	}
	own, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	like, err := cert.Parse(identity)
	if err != nil {
		return nil, nil, err
	}
	by := &cert.Certificate{Subject: like.Issuer, Point: alg.Point(&own.PublicKey)}
	p := set["server"]
	w := profile.Wish{Serial: like.Serial.Bytes(), NotBefore: like.NotBefore, NotAfter: like.NotAfter, Subject: like.Subject, Point: pointOf(key)}
	der, err := cert.Seal(p.Draft(profile.Sign, w, by, ca.Place("http://bench", 0)), own)
	if err != nil {
		return nil, nil, err
	}
	v := &km.Vault{Store: store, Device: dev, Master: "master", Identity: "identity", Cert: der, CAs: cas, Now: b.Now, Low: 64, High: 8000 + 4000*b.Seconds}
	return v, db, v.Fill(b.ctx)
}

// request is an application as the desk sends it: checked, signed by two.
func (o *office) request() (enroll.Request, error) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return enroll.Request{}, err
	}
	id := fmt.Sprintf("A%d", o.asked.Add(1))
	subject := dn.Name{C: "CN", ST: "北京市", O: "某某局（样例）", OU: dn.Units{"办公室"}, CN: "样例" + id}
	raw, err := csr.New(subject.Bytes(), key)
	if err != nil {
		return enroll.Request{}, err
	}
	app := enroll.Application{
		ID: id, Profile: o.profile.Name, Version: o.profile.Version, Subject: subject, Days: 365, CSR: raw,
		Identity: enroll.Identity{Kind: o.profile.Identity[0], Masked: "****", Commitment: make([]byte, 32)},
		Check:    enroll.IdentityCheck{Method: "in-person", By: "clerk", At: o.now().UTC().Format(time.RFC3339)},
		Notices:  []string{"conditions", "liability", "holder-data", "scope"}, Accord: "1", CPS: "1",
	}
	r := enroll.Request{ID: id, Content: app.Bytes()}
	for seq, p := range []party{o.clerk, o.reviewer} {
		act := []string{"ra.submit", "ra.approve"}[seq]
		item := access.Item{Kind: ca.IssueKind, ID: id, Seq: seq, Digest: alg.Digest(r.Content)}
		st := o.is.Desk.Draft(p.who, act, act, id, "", []access.Item{item})
		signed, err := st.Sign(p.key, p.cert.Raw)
		if err != nil {
			return r, err
		}
		r.Evidence = append(r.Evidence, enroll.Evidence{Signed: signed, Item: item, Proof: access.ProofOf([]access.Item{item}, 0)})
	}
	return r, nil
}

// stock makes requests ahead, on all cores, outside the measurement.
func (o *office) stock(n int) ([][]enroll.Request, error) {
	batches := make([][]enroll.Request, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				for range enroll.BatchMax {
					r, err := o.request()
					errs[i] = errors.Join(errs[i], err)
					batches[i] = append(batches[i], r)
				}
			}
		})
	}
	wg.Wait()
	return batches, errors.Join(errs...)
}

// streams is how many batches are in hand at once: one waits for the disk
// while another signs.
const streams = 8

// run issues batches, several at a time, and returns how long it took and each
// batch's time.
func (o *office) run(ctx context.Context, batches [][]enroll.Request, now func() time.Time) (time.Duration, []time.Duration, error) {
	work := make(chan []enroll.Request, len(batches))
	for _, b := range batches {
		work <- b
	}
	close(work)
	var mu sync.Mutex
	var each []time.Duration
	var fail error
	var wg sync.WaitGroup
	start := now()
	for range streams {
		wg.Go(func() {
			for b := range work {
				t := now()
				results, err := o.is.Issue(ctx, b)
				for _, r := range results {
					err = errors.Join(err, r.Err)
				}
				mu.Lock()
				each, fail = append(each, now().Sub(t)), errors.Join(fail, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return now().Sub(start), each, fail
}

func add(tx *sqldb.Tx, people *access.People, at time.Time, list ...access.Person) error {
	for _, p := range list {
		if _, err := people.Add(tx, p, "bench", at); err != nil {
			return err
		}
	}
	return nil
}
