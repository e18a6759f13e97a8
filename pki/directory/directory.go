// Package directory publishes certificates and revocation lists for whoever
// looks them up. (目录服务)
//
// It is a reader of the ledger: entries are built from what the CA published
// in full, kept pre-encoded in one append-only file, and found by hash indexes
// in memory. Certificates published as digest only are not in it (GM/T 0034
// §5.3.5, RFC 4523).
package directory

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
)

// Suffix is the ancestor of every entry.
const Suffix = "C=CN"

// Directory answers searches. Its methods may be called at once; one writer
// applies what the ledger says.
type Directory struct {
	mu    sync.RWMutex
	dir   string
	file  *file
	dead  int64 // bytes of the file that newer versions have replaced
	at    ledger.Frontier
	byDN  map[uint64]uint32   // entry by folded name
	bySN  map[uint64]uint32   // user entry by certificate serial
	byCN  map[uint64][]uint32 // user entries by folded cn
	place []int64             // offset of an entry's newest version
	up    []uint32            // an entry's parent
	org   string              // of the CA
	wake  chan struct{}
	seed  maphash.Seed
	waits map[string]waiting // certificates that are not due, by serial

	Now func() time.Time // certificates are due by it
	// Applied, when set before Run, is called after every run of the ledger: whoever
	// takes entries further need not look by the clock.
	Applied func()
}

// top is the parent of the suffix.
const top = ^uint32(0)

// Open opens, or begins, a directory in a folder. now is the clock certificates
// are due by.
func Open(dir string, now func() time.Time) (*Directory, error) {
	d := &Directory{dir: dir, Now: now, byDN: map[uint64]uint32{}, bySN: map[uint64]uint32{}, byCN: map[uint64][]uint32{}, wake: make(chan struct{}, 1), seed: maphash.MakeSeed(), waits: map[string]waiting{}}
	var err error
	if d.file, err = openFile(dir); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	err = d.file.replay(func(offset int64, body []byte) error {
		e, err := d.look(body)
		if err != nil {
			return err
		}
		return d.index(offset, e)
	}, d.replayHeld, func(size int64, hashes []byte) (err error) {
		d.at, err = ledger.FrontierOf(size, hashes)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("directory: %w", err), d.file.close())
	}
	if len(d.place) == 0 {
		err = d.put(Suffix, []ldapmsg.Attribute{text("objectClass", "top", "country"), text("c", "CN")})
	}
	return d, err
}

// Close closes the file.
func (d *Directory) Close() error { return d.file.close() }

// At is how far the directory has read the ledger.
func (d *Directory) At() ledger.Frontier {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.at
}

// Wake makes Run look at the ledger at once. It never blocks.
func (d *Directory) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run follows the ledger until ctx ends. When the ledger is in trouble it goes
// on answering from what it has.
func (d *Directory) Run(ctx context.Context, f *ledger.Follower, every time.Duration) {
	said := ""
	for {
		if err := d.follow(ctx, f); err != nil && ctx.Err() == nil {
			if err.Error() != said {
				slog.Error("directory cannot follow the ledger; going on with what it has", "err", err)
			}
			said = err.Error()
		} else {
			said = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-time.After(every):
		}
	}
}

func (d *Directory) follow(ctx context.Context, f *ledger.Follower) error {
	run, err := f.Next(ctx)
	if err == nil && len(run.Leaves) > 0 {
		if err = d.Apply(ctx, f.Source, run); err == nil {
			f.At = run.Frontier
		}
	}
	shown, trouble := d.Due() // what is due is due although the ledger is in trouble
	if d.Applied != nil && (shown > 0 || err == nil && len(run.Leaves) > 0) {
		d.Applied()
	}
	return errors.Join(err, trouble)
}

// Apply takes a verified run of the ledger. Bodies are fetched before anything
// is locked; applying a run twice changes nothing.
func (d *Directory) Apply(ctx context.Context, src ledger.Source, run ledger.Run) error {
	for i, leaf := range run.Leaves {
		e, err := record.Parse(leaf)
		if err == nil {
			err = d.entry(ctx, src, e)
		}
		if errors.Is(err, fs.ErrNotExist) || err != nil && ctx.Err() != nil {
			return fmt.Errorf("entry %d: %w", run.First+int64(i), err) // bodies come later: ask again
		}
		if err != nil {
			slog.Error("directory passes over an entry", "entry", run.First+int64(i), "err", err)
		}
	}
	d.mu.Lock()
	d.at = run.Frontier
	err := d.file.mark(run.Frontier.Size(), run.Frontier.Hashes())
	d.mu.Unlock()
	if err == nil && d.dead > slack+d.file.end/2 {
		err = d.compact()
	}
	return err
}

// slack is what the file may hold of older versions, besides half of it.
const slack = 32 << 20

// compact writes the newest versions to a new file: lists are replaced often
// and are large. Searches go on meanwhile; only the writer, who is here, writes.
func (d *Directory) compact() error {
	n, err := fresh(d.dir)
	if err != nil {
		return err
	}
	place := make([]int64, len(d.place))
	for id := range place {
		body, err := d.file.read(d.place[id])
		if err == nil {
			place[id], err = n.append(body)
		}
		if err != nil {
			return errors.Join(err, n.close())
		}
	}
	waits := make(map[string]waiting, len(d.waits))
	for serial, w := range d.waits {
		body, err := d.file.read(w.offset)
		if err == nil {
			w.offset, err = n.add(kindHeld, body)
		}
		if err != nil {
			return errors.Join(err, n.close())
		}
		waits[serial] = w
	}
	if err := errors.Join(n.mark(d.at.Size(), d.at.Hashes()), n.take(d.dir)); err != nil {
		return errors.Join(err, n.close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.file
	d.file, d.place, d.waits, d.dead = n, place, waits, 0
	return old.close()
}

func (d *Directory) entry(ctx context.Context, src ledger.Source, e record.Entry) error {
	switch e.Kind {
	case record.KindAuthority:
		return d.authority(e.Body)
	case record.KindCertificate:
		c, err := record.ParseCertificate(e.Body)
		if err != nil || !c.Public {
			return err
		}
		der, err := ledger.Body(ctx, src, c.Digest)
		if err != nil {
			return err
		}
		if c.Due.After(d.Now()) {
			return d.hold(c, held{entry: e.Body, der: der})
		}
		return d.certificate(c, der)
	case record.KindRelease:
		r, err := record.ParseRelease(e.Body)
		if err != nil {
			return err
		}
		return d.show(cert.SerialHex(r.Serial))
	case record.KindStatus:
		s, err := record.ParseStatus(e.Body)
		if err != nil {
			return err
		}
		return d.status(s)
	case record.KindCRL:
		l, err := record.ParseCRL(e.Body)
		if err != nil {
			return err
		}
		der, err := ledger.Body(ctx, src, l.Digest)
		if err != nil {
			return err
		}
		return d.list(l, der)
	}
	return nil
}

func text(name string, values ...string) ldapmsg.Attribute {
	a := ldapmsg.Attribute{Type: name}
	for _, v := range values {
		if v != "" {
			a.Values = append(a.Values, []byte(v))
		}
	}
	return a
}

// authority publishes a CA certificate and, with the first, the tree around it.
func (d *Directory) authority(der []byte) error {
	c, err := cert.Parse(der)
	if err != nil {
		return err
	}
	n, err := dn.Parse(c.Subject)
	if err != nil {
		return err
	}
	if err := d.tree(organisation(n)); err != nil {
		return err
	}
	serials, ders := [][]byte{[]byte(c.SerialHex())}, [][]byte{der}
	for _, a := range d.attrs(d.authorityName(n)) { // an earlier certificate of the same name stays beside it
		for _, v := range a.Values {
			switch {
			case a.Type == "serialNumber" && !bytes.Equal(v, serials[0]):
				serials = append(serials, v)
			case a.Type == "cACertificate;binary" && !bytes.Equal(v, der):
				ders = append(ders, v)
			}
		}
	}
	return d.put(d.authorityName(n), []ldapmsg.Attribute{
		text("objectClass", "top", "applicationProcess", "pkiCA", "hufuCertificateHolder"), text("cn", n.CN), text("o", n.O),
		{Type: "serialNumber", Values: serials}, {Type: "cACertificate;binary", Values: ders},
	})
}

func (d *Directory) base() string { return "O=" + escape(d.org) + "," + Suffix }

// tree makes the containers of a CA's organisation that are not there.
func (d *Directory) tree(org string) error {
	d.mu.Lock()
	if d.org == "" {
		d.org = org
	}
	d.mu.Unlock()
	if _, ok := d.Find(d.base()); !ok {
		if err := d.put(d.base(), []ldapmsg.Attribute{text("objectClass", "top", "organization"), text("o", org)}); err != nil {
			return err
		}
	}
	for _, ou := range containers { // a torn file may have kept some of them
		if _, ok := d.Find("OU=" + ou + "," + d.base()); ok {
			continue
		}
		if err := d.put("OU="+ou+","+d.base(), []ldapmsg.Attribute{text("objectClass", "top", "organizationalUnit"), text("ou", ou)}); err != nil {
			return err
		}
	}
	return nil
}

// certificate puts a certificate on its holder's entry, which both of a pair share.
func (d *Directory) certificate(c record.Certificate, der []byte) error {
	parsed, err := cert.Parse(der)
	if err != nil {
		return err
	}
	n, err := dn.Parse(parsed.Subject)
	if err != nil {
		return err
	}
	serial := cert.SerialHex(c.Serial)
	first := serial
	if len(c.Pair) > 0 && c.Use == "enc" {
		first = cert.SerialHex(c.Pair)
	}
	name := fmt.Sprintf("CN=%s+serialNumber=%s,OU=Users,%s", escape(n.CN), first, d.base())
	attrs := d.attrs(name)
	if attrs == nil {
		attrs = []ldapmsg.Attribute{
			text("objectClass", "top", "person", "organizationalPerson", "inetOrgPerson", "pkiUser", "hufuCertificateHolder"),
			text("cn", n.CN), text("sn", n.CN), text("serialNumber"), text("userCertificate;binary"), text("hufuCertificateStatus"),
			text("o", n.O), text("ou", distinct(n.OU)...), text("l", n.L), text("st", n.ST), text("c", n.C), text("mail", n.E), text("hufuProfile", c.Profile),
		}
		attrs = slices.DeleteFunc(attrs, func(a ldapmsg.Attribute) bool {
			return len(a.Values) == 0 && !slices.Contains([]string{"serialNumber", "userCertificate;binary", "hufuCertificateStatus"}, a.Type)
		})
	}
	for i := range attrs {
		var v []byte
		switch attrs[i].Type {
		case "serialNumber":
			v = []byte(serial)
		case "userCertificate;binary":
			v = der
		case "hufuCertificateStatus":
			v = []byte(serial + " good")
		default:
			continue
		}
		if slices.ContainsFunc(attrs[i].Values, func(have []byte) bool {
			return bytes.Equal(have, v) || attrs[i].Type == "hufuCertificateStatus" && bytes.HasPrefix(have, []byte(serial+" "))
		}) {
			continue
		}
		attrs[i].Values = append(attrs[i].Values, v)
	}
	return d.put(name, attrs)
}

// status notes a change on the holder's entry, if the certificate is public, and
// with one that is not due.
func (d *Directory) status(s record.Status) error {
	h, c, waits, err := d.heldOf(cert.SerialHex(s.Serial))
	if err == nil && waits {
		h.status = s.Bytes()
		err = d.hold(c, h)
	}
	if err != nil {
		return err
	}
	return d.shownStatus(s)
}

func (d *Directory) shownStatus(s record.Status) error {
	serial := cert.SerialHex(s.Serial)
	d.mu.RLock()
	id, ok := d.bySN[d.hash("sn", serial)]
	d.mu.RUnlock()
	if !ok {
		return nil
	}
	body, err := d.read(id)
	if err != nil {
		return err
	}
	name, attrs, err := ldapmsg.ReadEntry(body)
	if err != nil {
		return err
	}
	line := serial + " good"
	if s.Revoked {
		line = fmt.Sprintf("%s revoked %d %s", serial, s.Reason, s.At.UTC().Format("20060102150405Z"))
	}
	for i := range attrs {
		for j, v := range attrs[i].Values {
			if attrs[i].Type == "hufuCertificateStatus" && bytes.HasPrefix(v, []byte(serial+" ")) {
				attrs[i].Values[j] = []byte(line)
			}
		}
	}
	return d.put(name, attrs)
}

// list publishes a revocation list where its distribution point says; what else
// lies there stays.
func (d *Directory) list(l record.CRL, der []byte) error {
	p := placeOf(l.Scope)
	attrs := slices.DeleteFunc(d.attrs(d.listName(p)), func(a ldapmsg.Attribute) bool { return a.Type == "objectClass" || a.Type == "cn" || a.Type == p.attr })
	kinds := text("objectClass", "top", "cRLDistributionPoint")
	attrs = append([]ldapmsg.Attribute{kinds, text("cn", p.cn)}, append(attrs, ldapmsg.Attribute{Type: p.attr, Values: [][]byte{der}})...)
	if slices.ContainsFunc(attrs, func(a ldapmsg.Attribute) bool { return a.Type == attrDelta }) {
		attrs[0] = text("objectClass", "top", "cRLDistributionPoint", "deltaCRL")
	}
	return d.put(d.listName(p), attrs)
}

func (d *Directory) attrs(name string) []ldapmsg.Attribute {
	id, ok := d.Find(name)
	if !ok {
		return nil
	}
	body, err := d.read(id)
	if err != nil {
		return nil
	}
	_, attrs, err := ldapmsg.ReadEntry(body)
	if err != nil {
		return nil
	}
	for i := range attrs { // the values lie in the buffer that was read
		attrs[i].Values = slices.Clone(attrs[i].Values)
	}
	return attrs
}

// put writes an entry, new or in place of an older version. What could not be
// found again is not written.
func (d *Directory) put(name string, attrs []ldapmsg.Attribute) error {
	body := ldapmsg.EntryBody(name, attrs)
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.look(body)
	if err != nil {
		return err
	}
	offset, err := d.file.append(body)
	if err != nil {
		return err
	}
	return d.index(offset, e)
}

// seen is an entry that has a place in the tree.
type seen struct {
	rdns   []string
	attrs  []ldapmsg.Attribute
	key    uint64
	parent uint32
}

// look finds an entry's place. The caller holds the lock.
func (d *Directory) look(body []byte) (e seen, err error) {
	name, attrs, err := ldapmsg.ReadEntry(body)
	if err != nil {
		return e, err
	}
	rdns, ok := parseDN(name)
	if !ok || len(rdns) == 0 {
		return e, fmt.Errorf("name %q", name)
	}
	e = seen{rdns, attrs, d.hash("dn", strings.Join(rdns, ",")), top}
	if len(rdns) > 1 {
		if e.parent, ok = d.byDN[d.hash("dn", strings.Join(rdns[1:], ","))]; !ok {
			return e, fmt.Errorf("%q has no parent", name)
		}
	}
	return e, nil
}

// index makes an entry findable. The caller holds the lock.
func (d *Directory) index(offset int64, e seen) error {
	if len(e.rdns) == 2 && strings.HasPrefix(e.rdns[0], "o=") && d.org == "" {
		for _, a := range e.attrs {
			if a.Type == "o" {
				d.org = string(a.Values[0])
			}
		}
	}
	id, known := d.byDN[e.key]
	if !known {
		id = uint32(len(d.place))
		d.byDN[e.key] = id
		d.place, d.up = append(d.place, 0), append(d.up, e.parent)
	} else {
		n, err := d.file.size(d.place[id])
		if err != nil {
			return err
		}
		d.dead += n
	}
	d.place[id] = offset
	for _, a := range e.attrs {
		for _, v := range a.Values {
			switch k := AttributeKey(a.Type); {
			case k == "serialnumber":
				d.bySN[d.hash("sn", strings.ToUpper(string(v)))] = id
			case k == "cn" && !known:
				h := d.hash("cn", fold(string(v)))
				d.byCN[h] = append(d.byCN[h], id)
			}
		}
	}
	return nil
}

// Find is the number of the entry of that name, however it is written.
func (d *Directory) Find(name string) (uint32, bool) {
	rdns, ok := parseDN(name)
	if !ok {
		return 0, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	id, ok := d.byDN[d.hash("dn", strings.Join(rdns, ","))]
	return id, ok
}

func (d *Directory) read(id uint32) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.file.read(d.place[id])
}

// hash is of a kind and a value. It differs from process to process, so nobody
// can choose a name that falls on another's.
func (d *Directory) hash(kind, value string) uint64 { return maphash.String(d.seed, kind+":"+value) }

// serialKey folds a serial as people write it: case, colons, blanks.
func serialKey(v string) string {
	v = strings.Map(func(r rune) rune {
		if r == ':' || r == ' ' {
			return -1
		}
		return unicode.ToUpper(r)
	}, v)
	if raw, err := hex.DecodeString(v); err == nil && len(raw) > 0 {
		return cert.SerialHex(raw)
	}
	return v
}
