package backup_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/zone/backup"
	"github.com/hufu-pki/hufu/zone/cacore"
)

// core is the CA over a folder that nothing else runs on, publishing into the
// service zone's copy of the ledger.
type core struct {
	t      *testing.T
	dir    string
	is     *ca.Issuer
	store  *castore.Store
	sealer *ledger.Sealer
	close  func() error
}

func certOf(t *testing.T, dir, name string) *cert.Certificate {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "certificates", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.FromPEM(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func work(t *testing.T, dir string) *core {
	t.Helper()
	pass, err := os.ReadFile(filepath.Join(dir, "secrets", "ca.pass"))
	if err != nil {
		t.Fatal(err)
	}
	dev, err := soft.Open(filepath.Join(dir, "ca", "keys"), pass)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), filepath.Join(dir, "ca", "ca.db"))
	if err != nil {
		t.Fatal(err)
	}
	op := certOf(t, dir, "operating-ca")
	is, store, err := cacore.Issuer(t.Context(), db, cacore.Config{Device: dev, Cert: op, Root: certOf(t, dir, "root-ca"), Public: "http://127.0.0.1:31502", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	key, err := dev.Signer(cacore.KeyLedger)
	if err != nil {
		t.Fatal(err)
	}
	folder := &ledger.Folder{Dir: filepath.Join(dir, "ra", "ledger"), Key: ledgerKey(t, dir), Origin: cacore.Origin(op)}
	c := &core{t: t, dir: dir, is: is, store: store, close: db.Close}
	c.sealer = (&ledger.Sealer{DB: db, Log: castore.Log, Origin: folder.Origin, Key: key, Targets: []ledger.Target{folder}, Now: time.Now, Bodies: store.Bodies}).Start()
	return c
}

func (c *core) issue(name string) *cert.Certificate {
	c.t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	der, err := c.is.IssueInternal(c.t.Context(), "test-"+name, "server", dn.Name{C: "CN", O: "测试机构", CN: name}, alg.Point(&key.PublicKey))
	if err != nil {
		c.t.Fatal(err)
	}
	k, err := cert.Parse(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return k
}

func (c *core) end(serial []byte, reason int) {
	c.t.Helper()
	if err := c.is.EndInternal(c.t.Context(), cert.SerialHex(serial), serial, reason); err != nil {
		c.t.Fatal(err)
	}
}

// lists signs what is due and returns the highest number on record.
func (c *core) lists() int64 {
	c.t.Helper()
	if err := (&ca.Publisher{Issuer: c.is}).Start().Publish(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	_, n, err := c.store.Count(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// publish tells the world.
func (c *core) publish() {
	c.t.Helper()
	if err := c.sealer.Seal(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *core) done() {
	c.t.Helper()
	if err := c.close(); err != nil {
		c.t.Fatal(err)
	}
}

// hour is an institution that was backed up, went on for an hour and burnt.
type hour struct {
	*saved
	before, lost, ended *cert.Certificate
	dismissed           access.Person
	number              int64  // of the last list
	world               string // the ledger as somebody else has it
	size                int64
}

func anHour(t *testing.T) *hour {
	h := &hour{saved: save(t, 0)}
	c := work(t, h.dir)
	h.before, h.ended = c.issue("备份之前"), c.issue("之后撤销")
	c.lists()
	h.again()

	h.lost = c.issue("失去的一小时")
	c.end(h.ended.Serial.Bytes(), 4)
	var err error
	if h.dismissed, err = (&access.People{DB: c.store.DB}).Current(t.Context(), "ra-producer"); err != nil {
		t.Fatal(err)
	}
	serial := mustCert(t, h.dismissed.Cert).Serial.Bytes()
	c.end(serial, 9)
	h.number = c.lists()
	c.publish()
	head, err := ledger.Head(t.Context(), c.store.DB, castore.Log)
	if err != nil {
		t.Fatal(err)
	}
	h.size = head.Size()
	c.done()
	h.world = filepath.Join(t.TempDir(), "world")
	if err := errors.Join(os.CopyFS(h.world, os.DirFS(filepath.Join(h.dir, "ra", "ledger"))), os.RemoveAll(h.dir)); err != nil {
		t.Fatal(err)
	}
	return h
}

func mustCert(t *testing.T, der []byte) *cert.Certificate {
	t.Helper()
	c, err := cert.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ledgerKey(t *testing.T, dir string) (key *ecdsa.PublicKey) {
	t.Helper()
	dev, err := os.ReadFile(filepath.Join(dir, "secrets", "ca.pass"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := soft.Open(filepath.Join(dir, "ca", "keys"), dev)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Signer(cacore.KeyLedger)
	if err != nil {
		t.Fatal(err)
	}
	return s.Public().(*ecdsa.PublicKey)
}

// The world remembers what the backup does not: every entry that is missing is
// named, taken back, and the ledger goes on where the world last saw it.
func TestTheLostHourComesBackFromTheLedger(t *testing.T) {
	h := anHour(t)
	to, err := h.restore(h.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	rec := backup.Reconciliation{Dir: to, Published: ledger.Dir(h.world), DryRun: true, Now: time.Now}
	told, err := backup.Reconcile(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range told.Entries {
		if e.Kind != "crl" {
			kinds = append(kinds, e.Kind+" "+e.Serial)
		}
	}
	want := []string{"certificate " + h.lost.SerialHex(), "status " + h.ended.SerialHex(), "status " + h.dismissed.Serial}
	if !slices.Equal(kinds, want) || told.Published != h.size || told.Imported {
		t.Errorf("told %v of %d, want %v of %d", kinds, told.Published, want, h.size)
	}
	rec.DryRun = false
	if r, err := backup.Reconcile(t.Context(), rec); err != nil || !r.Imported || len(r.Entries) != len(told.Entries) {
		t.Fatalf("%+v %v", r, err)
	}
	if r, err := backup.Reconcile(t.Context(), rec); err != nil || len(r.Entries) != 0 {
		t.Errorf("asked again: %+v %v", r, err)
	}
	c := work(t, to)
	defer c.done()
	if k, err := c.store.Certificate(t.Context(), h.lost.Serial.Bytes()); err != nil || !bytes.Equal(k.DER, h.lost.Raw) || k.Revoked {
		t.Errorf("the lost certificate: %+v %v", k, err)
	}
	if k, err := c.store.Certificate(t.Context(), h.ended.Serial.Bytes()); err != nil || !k.Revoked || k.Reason != 4 {
		t.Errorf("the lost revocation: %+v %v", k, err)
	}
	for _, db := range []string{"ca/ca.db", "ra/ra.db"} {
		if n := number(t, filepath.Join(to, db), `SELECT COUNT(*) FROM person WHERE id = 'ra-producer' AND ended = 0`); n != 0 {
			t.Errorf("%s: somebody who has left is back", db)
		}
	}
	goesOn(t, h, c, h.world)
}

// goesOn has the CA issue, revoke and list, and publishes to those who
// remember: they accept it, so nothing was forked.
func goesOn(t *testing.T, h *hour, c *core, world string) {
	t.Helper()
	c.issue("之后")
	c.end(h.before.Serial.Bytes(), 5)
	if first := c.lists(); first <= h.number {
		t.Errorf("list %d after list %d", first, h.number)
	}
	if n := number(t, filepath.Join(c.dir, "ca", "ca.db"), `SELECT MIN(c.crl_number) FROM crl_sealed s JOIN crl c ON c.number = s.number WHERE s.leaf >= `+digits(h.size)); n <= h.number {
		t.Errorf("the numbers of lists run back to %d, the world has seen %d", n, h.number)
	}
	folder := &ledger.Folder{Dir: world, Key: ledgerKey(t, c.dir), Origin: cacore.Origin(c.is.Cert)}
	c.sealer.Targets = []ledger.Target{folder}
	c.publish()
	if r, err := ledger.Verify(t.Context(), ledger.Dir(world), folder.Key); err != nil || r.Entries <= h.size {
		t.Errorf("%d entries: %v", r.Entries, err)
	}
}

func digits(n int64) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// A serial the world has seen is not given again, nor a second certificate to
// its key, although the application behind them is lost.
func TestSerialsAndKeysOfTheLostHourStayUsed(t *testing.T) {
	h := anHour(t)
	to := h.withWorld(t)
	c := work(t, to)
	defer c.done()
	open := func(change func(*ca.Job)) error {
		j := ca.Job{ID: "new", State: ca.Intended, Content: []byte("{}"), KeyHash: alg.Digest([]byte("a key")), Serials: ca.Pair{Sign: []byte{0x55, 1}}, From: time.Now(), To: time.Now()}
		change(&j)
		return c.store.Open(t.Context(), []ca.Job{j}, nil, time.Now())
	}
	if err := open(func(j *ca.Job) { j.Serials.Sign = h.lost.Serial.Bytes() }); err == nil {
		t.Error("a serial was given twice")
	}
	if err := open(func(j *ca.Job) { j.KeyHash = alg.Digest(h.lost.Point) }); !errors.Is(err, ca.KeyInUse) {
		t.Errorf("a second certificate for the key: %v", err)
	}
	if err := open(func(*ca.Job) {}); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

func (h *hour) withWorld(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "N")
	r, err := backup.Restore(t.Context(), backup.Restoration{Repo: h.repo, To: to, Keys: h.keys, Published: ledger.Dir(h.world), Now: time.Now})
	if err != nil || r.Missing == nil || !r.Missing.Imported {
		t.Fatalf("%+v %v", r, err)
	}
	return to
}

// Where nobody else has the ledger the hour is gone, but no number of a list is
// used again: the floor lies above all that can have been signed meanwhile.
func TestWithoutAWitnessNumbersStillDoNotRunBackwards(t *testing.T) {
	h := anHour(t)
	to := filepath.Join(t.TempDir(), "N")
	later := func() time.Time { return time.Now().Add(time.Hour) }
	r, err := backup.Restore(t.Context(), backup.Restoration{Repo: h.repo, To: to, Keys: h.keys, Now: later})
	if err != nil {
		t.Fatal(err)
	}
	if r.CRLFloor < h.number+3600*10*18 { // ten rounds a second of all our lists, for an hour
		t.Errorf("the floor is %d", r.CRLFloor)
	}
	c := work(t, to)
	defer c.done()
	c.lists()
	if n := number(t, filepath.Join(to, "ca", "ca.db"), `SELECT MIN(number) FROM (SELECT MAX(crl_number) AS number FROM crl WHERE scope <> 'arl' GROUP BY scope)`); n <= r.CRLFloor {
		t.Errorf("a list has number %d, the floor is %d", n, r.CRLFloor)
	}
}

// A request whose draft was on record in the backup and was signed in the lost
// hour is closed with what the world has: the key signs nothing for it again.
func TestADraftSignedInTheLostHourIsNotSignedAgain(t *testing.T) {
	s := save(t, 0)
	c := work(t, s.dir)
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, subject := alg.Point(&key.PublicKey), dn.Name{C: "CN", O: "测试机构", CN: "中途"}
	ctx, cancel := context.WithCancel(t.Context())
	c.is.Key = stopping{c.is.Key, cancel}
	if _, err := c.is.IssueInternal(ctx, "half", "server", subject, point); err == nil {
		t.Fatal("it was recorded")
	}
	s.again() // the draft is on record, nothing is signed as far as anybody knows
	c.is.Key = c.is.Key.(stopping).Signer
	der, err := c.is.IssueInternal(t.Context(), "half", "server", subject, point)
	if err != nil {
		t.Fatal(err)
	}
	c.publish()
	c.done()
	to := filepath.Join(t.TempDir(), "N")
	r, err := backup.Restore(t.Context(), backup.Restoration{Repo: s.repo, To: to, Keys: s.keys, Published: ledger.Dir(filepath.Join(s.dir, "ra", "ledger")), Now: time.Now})
	if err != nil {
		t.Fatalf("%+v %v", r, err)
	}
	again := work(t, to)
	defer again.done()
	jobs, err := again.store.Jobs(t.Context(), []string{"half"})
	if err != nil || jobs["half"].State != ca.Recorded || !bytes.Equal(jobs["half"].DER.Sign, der) {
		t.Errorf("%+v %v", jobs["half"].State, err)
	}
	if same, err := again.is.IssueInternal(t.Context(), "half", "server", subject, point); err != nil || !bytes.Equal(same, der) {
		t.Errorf("asked again, another certificate: %v", err)
	}
}

// A database that has gone its own way is a fork, and stays down.
func TestAForkIsRefused(t *testing.T) {
	h := anHour(t)
	to, err := h.restore(h.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	c := work(t, to)
	c.issue("分叉")
	c.done()
	rec := backup.Reconciliation{Dir: to, Published: ledger.Dir(h.world), Now: time.Now}
	if _, err := backup.Reconcile(t.Context(), rec); !errors.Is(err, backup.Fork) {
		t.Errorf("got %v", err)
	}
	c = work(t, to) // and longer than what was published
	for range 40 {
		c.issue(rand.Text()[:8])
	}
	c.done()
	if _, err := backup.Reconcile(t.Context(), rec); !errors.Is(err, backup.Fork) {
		t.Errorf("a longer fork: %v", err)
	}
}

func TestALedgerWithoutBodiesIsNotEnough(t *testing.T) {
	h := anHour(t)
	to, err := h.restore(h.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(h.world, "body")); err != nil {
		t.Fatal(err)
	}
	_, err = backup.Reconcile(t.Context(), backup.Reconciliation{Dir: to, Published: ledger.Dir(h.world), Now: time.Now})
	if !errors.Is(err, backup.NoBody) || !strings.Contains(err.Error(), h.lost.SerialHex()) {
		t.Errorf("got %v", err)
	}
	if n := number(t, filepath.Join(to, "ca", "ca.db"), `SELECT COUNT(*) FROM audit_entry WHERE item = 'system.reimport'`); n != 0 {
		t.Error("half of it was taken back")
	}
}

// The service zone remembers more than the restored CA: the CA says so and
// signs nothing until what is missing was taken back.
func TestACoreBehindThePublishedLedgerDoesNotServe(t *testing.T) {
	h := anHour(t)
	to, err := h.restore(h.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	tiles := filepath.Join(to, "ra", "ledger")
	if err := errors.Join(os.RemoveAll(tiles), os.CopyFS(tiles, os.DirFS(h.world))); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), to, func() {}); !errors.Is(err, cacore.ErrBehind) {
		t.Fatalf("got %v", err)
	}
	db := filepath.Join(to, "ca", "ca.db")
	if n := number(t, db, `SELECT COUNT(*) FROM audit_entry WHERE result = 'ca.behind'`); n != 1 {
		t.Errorf("the trail has %d lines about it", n)
	}
	if _, err := backup.Reconcile(t.Context(), backup.Reconciliation{Dir: to, Published: ledger.Dir(tiles), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), to, func() {
		if n := number(t, db, `SELECT COUNT(*) FROM audit_entry WHERE item = 'system.reimport' AND result = '`+audit.Done+`'`); n != 1 {
			t.Errorf("the trail has %d lines about it", n)
		}
	}); err != nil {
		t.Errorf("after it was taken back: %v", err)
	}
}

// stopping is a key whose machine stops as it is used.
type stopping struct {
	crypto.Signer
	stop func()
}

func (s stopping) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.stop()
	return nil, errors.New("the machine stops")
}
