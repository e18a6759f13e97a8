package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/caescrow"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/rastore"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/plant"
)

// Reconciliation compares the CA's database in a folder with the ledger as it
// was published, and takes back what the database lacks.
type Reconciliation struct {
	Dir       string
	Published ledger.Source
	DryRun    bool           // only tell
	Present   []*desk.Person // custodians, where they alone open the CA's keys
	Now       func() time.Time
	Progress  io.Writer
}

// Report says what was missing.
type Report struct {
	Have      int64  `json:"have"`      // entries of the database before
	Published int64  `json:"published"` // entries of the ledger
	Imported  bool   `json:"imported"`
	Entries   []Lost `json:"entries"`
}

// Lost is one entry that the database did not have.
type Lost struct {
	Index   int64     `json:"index"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Serial  string    `json:"serial,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Profile string    `json:"profile,omitempty"`
	Use     string    `json:"use,omitempty"`
	Request string    `json:"request,omitempty"` // the application, if the desk still has it
	Escrow  string    `json:"escrow,omitempty"`  // of an encryption key: "held" or "lost"
	List    string    `json:"list,omitempty"`
}

// lost is a reconciliation in hand.
type lost struct {
	Reconciliation
	ca      *castore.Store
	desk    *rastore.Store
	centre  *kmstore.Store
	set     profile.Set
	missing []castore.Missing
	origins map[string]castore.Origin // by serial, hex
	cases   []ra.Record
	report  Report
}

// Reconcile lists, and unless it is a dry run takes back, the entries that were
// published and are not in the database. Nothing may be running on the folder.
func Reconcile(ctx context.Context, c Reconciliation) (Report, error) {
	release, err := plant.Lock(filepath.Join(c.Dir, "hufu.lock"), "hufu restore")
	if err != nil {
		return Report{}, err
	}
	defer release()
	l := &lost{Reconciliation: c, origins: map[string]castore.Origin{}, report: Report{Entries: []Lost{}}}
	if l.set, err = profile.Builtin(); err != nil {
		return Report{}, err
	}
	err = within(ctx, l.path("ca", "ca.db"), func(caDB *sqldb.DB) error {
		return within(ctx, l.path("ra", "ra.db"), func(raDB *sqldb.DB) error {
			return within(ctx, l.path("km", "km.db"), func(kmDB *sqldb.DB) error {
				return l.run(ctx, caDB, raDB, kmDB)
			})
		})
	})
	return l.report, err
}

func (l *lost) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

func (l *lost) run(ctx context.Context, caDB, raDB, kmDB *sqldb.DB) (err error) {
	var err1, err2, err3 error
	l.ca, err1 = castore.Open(ctx, caDB)
	l.desk, err2 = rastore.Open(ctx, raDB, l.Now)
	l.centre, err3 = kmstore.Open(ctx, kmDB)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	run, err := l.next(ctx)
	if err != nil {
		return err
	}
	for i, leaf := range run.Leaves {
		if err := l.entry(ctx, run.First+int64(i), leaf); err != nil {
			return err
		}
	}
	if l.DryRun || len(l.missing) == 0 {
		return nil
	}
	return l.take(ctx, run)
}

// next verifies that the database is the beginning of the published ledger and
// returns what follows.
func (l *lost) next(ctx context.Context) (ledger.Run, error) {
	key, err := publicKey(l.path("people", "ledger.pem"))
	if err != nil {
		return ledger.Run{}, err
	}
	op, err := certificate(l.path("certificates", "operating-ca.pem"))
	if err != nil {
		return ledger.Run{}, err
	}
	head, err := ledger.Head(ctx, l.ca.DB, castore.Log)
	if err != nil {
		return ledger.Run{}, err
	}
	note, err := l.Published.Get(ctx, ledger.CheckpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.Run{}, NoBody.At("missing", NoBody.Clause).Because("没有检查点")
	}
	if err != nil {
		return ledger.Run{}, err
	}
	cp, err := ledger.OpenCheckpoint(note, key, cacore.Origin(op))
	if err != nil {
		return ledger.Run{}, Forged.At("missing", Forged.Clause).Because("%v", err)
	}
	l.report.Have, l.report.Published = head.Size(), cp.Size
	if cp.Size <= head.Size() { // nothing is missing, if it is the same ledger
		then, _, err := ledger.Recount(ctx, l.ca.DB, castore.Log, cp.Size)
		if err == nil && cp.Size > 0 && !bytes.Equal(then.Root(), cp.Root) {
			err = Fork.At("missing", Fork.Clause).Because("前 %d 条不同", cp.Size)
		}
		return ledger.Run{}, err
	}
	run, err := (&ledger.Follower{Source: l.Published, Key: key, Origin: cp.Origin, At: head}).Next(ctx)
	if errors.Is(err, ledger.ErrFork) {
		err = Fork.At("missing", Fork.Clause).Because("数据库的 %d 条不是已发布 %d 条的开头", head.Size(), cp.Size)
	}
	return run, err
}

func certificate(name string) (*cert.Certificate, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return cert.FromPEM(data)
}

// entry looks at one missing entry: what it is, what lies beside it.
func (l *lost) entry(ctx context.Context, index int64, leaf []byte) error {
	e, err := record.Parse(leaf)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	m := castore.Missing{Index: index, Leaf: leaf, Entry: e}
	line := Lost{Index: index, At: e.At, Kind: e.Kind}
	switch e.Kind {
	case record.KindCertificate:
		err = l.issued(ctx, &m, &line)
	case record.KindStatus:
		var s record.Status
		s, err = record.ParseStatus(e.Body)
		line.Serial = cert.SerialHex(s.Serial)
		l.changed(line.Serial, s)
	case record.KindRelease:
		var r record.Release
		r, err = record.ParseRelease(e.Body)
		line.Serial = cert.SerialHex(r.Serial)
	case record.KindCRL:
		var c record.CRL
		if c, err = record.ParseCRL(e.Body); err == nil {
			line.List = fmt.Sprintf("%s #%d", c.Scope, c.Number)
			m.Body, err = l.body(ctx, c.Digest, line.List)
		}
	}
	l.missing, l.report.Entries = append(l.missing, m), append(l.report.Entries, line)
	return err
}

func (l *lost) body(ctx context.Context, digest []byte, what string) ([]byte, error) {
	body, err := ledger.Body(ctx, l.Published, digest)
	if errors.Is(err, fs.ErrNotExist) {
		err = NoBody.At("missing", NoBody.Clause).Because("%s", what)
	}
	return body, err
}

func (l *lost) issued(ctx context.Context, m *castore.Missing, line *Lost) error {
	r, err := record.ParseCertificate(m.Entry.Body)
	if err != nil {
		return err
	}
	line.Serial, line.Profile, line.Use = cert.SerialHex(r.Serial), r.Profile, r.Use
	if m.Body, err = l.body(ctx, r.Digest, "证书 "+line.Serial); err != nil {
		return err
	}
	c, err := cert.Parse(m.Body)
	if err != nil {
		return err
	}
	name, err := dn.Parse(c.Subject)
	if err != nil {
		return err
	}
	line.Subject = name.CN
	if r.Use == "enc" {
		held, err := l.centre.Holds(ctx, r.Serial)
		if line.Escrow = "lost"; held {
			line.Escrow = "held"
		}
		l.second(r, m.Body)
		return err
	}
	id, content, err := l.desk.Pending(ctx, alg.Digest(c.Point))
	if err != nil {
		return err
	}
	line.Request = id
	if id == "" && !l.set[r.Profile].Internal { // nobody applies for the institution's own
		id, content = l.invent(r, c, name, m.Entry.At)
	}
	l.origins[line.Serial] = castore.Origin{ID: id, Content: content}
	return nil
}

// invent makes the case of a certificate whose application is lost, with
// nothing in it that the certificate does not say itself.
func (l *lost) invent(r record.Certificate, c *cert.Certificate, name dn.Name, at time.Time) (id string, content []byte) {
	serial := cert.SerialHex(r.Serial)
	app := enroll.Application{ID: "restored-" + serial, Profile: r.Profile, Version: l.set[r.Profile].Version, Subject: name, Days: int(r.NotAfter.Sub(r.NotBefore).Hours() / 24)}
	l.cases = append(l.cases, ra.Record{
		Case:    casework.Case{ID: app.ID, Kind: ra.IssueKind.Name, State: ra.Issued},
		Content: app.Bytes(), Title: name.CN, Profile: r.Profile, KeyHash: alg.Digest(c.Point), CreatedBy: "system:restore", CreatedAt: at, UpdatedAt: at,
		Reply: enroll.Reply{Sign: c.Raw}, SignSerial: serial,
	})
	return app.ID, app.Bytes()
}

// second adds the encryption certificate to the case of its pair.
func (l *lost) second(r record.Certificate, der []byte) {
	for i := range l.cases {
		if l.cases[i].SignSerial == cert.SerialHex(r.Pair) {
			l.cases[i].Reply.Enc, l.cases[i].EncSerial = der, cert.SerialHex(r.Serial)
		}
	}
}

func (l *lost) changed(serial string, s record.Status) {
	for i := range l.cases {
		if l.cases[i].SignSerial != serial {
			continue
		}
		switch {
		case !s.Revoked:
			l.cases[i].State = ra.Issued
		case s.Reason == onHold:
			l.cases[i].State = ra.IssuedHeld
		default:
			l.cases[i].State = ra.Revoked
		}
	}
}

const onHold = 6 // RFC 5280 §5.3.1

// take puts everything on record: first the desk's cases, which a repetition
// leaves as they are, then the CA's in one transaction.
func (l *lost) take(ctx context.Context, run ledger.Run) error {
	now := l.Now()
	line := audit.Entry{
		Start: now, End: now, Who: "system:restore", Role: "machine", Item: "system.reimport", Result: audit.Done,
		Object: fmt.Sprintf("账本 %d 至 %d", run.First, run.Sealed.Size-1), Detail: fmt.Sprintf("从已发布账本补回 %d 条，根 %x", len(l.missing), run.Sealed.Root),
	}
	if err := l.desk.Reimport(ctx, l.cases, line); err != nil {
		return err
	}
	if err := l.dismiss(ctx, now); err != nil {
		return err
	}
	from := func(c *cert.Certificate) castore.Origin { return l.origins[c.SerialHex()] }
	if err := l.ca.Reimport(ctx, l.missing, from, l.retire, line); err != nil {
		return err
	}
	l.report.Imported = true
	return nil
}

// dismiss takes people off the registers whose certificates were revoked since:
// the ledger is the only one who remembers that they left.
func (l *lost) dismiss(ctx context.Context, now time.Time) error {
	for _, m := range l.missing {
		if m.Entry.Kind != record.KindStatus {
			continue
		}
		s, err := record.ParseStatus(m.Entry.Body)
		if err != nil {
			return err
		}
		c, err := l.ca.Certificate(ctx, s.Serial)
		if errors.Is(err, ca.NoCert) || err == nil && (!s.Revoked || s.Reason == onHold || !l.set[c.Profile].Internal) {
			continue
		}
		if err != nil {
			return err
		}
		for _, db := range []*sqldb.DB{l.ca.DB, l.desk.DB} {
			if err := dismiss(ctx, db, alg.Digest(c.DER), now); err != nil {
				return err
			}
		}
	}
	return nil
}

func dismiss(ctx context.Context, db *sqldb.DB, digest []byte, now time.Time) error {
	people := &access.People{DB: db}
	p, err := people.PersonByCert(ctx, digest)
	if errors.Is(err, access.NoSuchPerson) || err == nil && !p.Ended.IsZero() {
		return nil // a server's, or another system's
	}
	if err != nil {
		return err
	}
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := people.End(tx, p.ID, now); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{
			Start: now, End: now, Who: "system:restore", Role: "machine", Item: "person.end", Object: string(p.ID), Serial: p.Serial, Result: audit.Done, Detail: "备份之后证书已撤销，见公开账本",
		})
	})
}

// retire writes the message that retires keys at the centre, as the CA would.
func (l *lost) retire(serials [][]byte) (*ca.Ask, error) {
	dev, err := device(l.Dir, "ca", l.Present)
	if err != nil {
		return nil, err
	}
	key, err := dev.Signer(cacore.KeyServer)
	if err != nil {
		return nil, err
	}
	self, err := certificate(l.path("certificates", "ca-server.pem"))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b) // crypto/rand never fails
	task := int64(binary.BigEndian.Uint64(b)&(1<<62-1) | 1)
	message, err := (&caescrow.Centre{Key: key, Cert: self}).Retire(task, serials, l.Now())
	return &ca.Ask{Task: task, Message: message}, err
}
