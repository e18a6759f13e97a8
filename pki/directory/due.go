package directory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
)

// waiting is a certificate that is not due: where it lies in the file, and since
// when it may be shown.
type waiting struct {
	due    time.Time
	offset int64
}

// held is the content of a waiting certificate's record: what the ledger said of
// it, the certificate, and its status where that has changed. A record with the
// first alone says that it waits no more.
type held struct{ entry, der, status []byte }

func (h held) bytes() (b []byte) {
	for _, part := range [][]byte{h.entry, h.der, h.status} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return b
}

func readHeld(b []byte) (h held, err error) {
	for _, part := range []*[]byte{&h.entry, &h.der, &h.status} {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return h, errors.New("directory: damaged record of a certificate that waits")
		}
		n := binary.BigEndian.Uint32(b)
		*part, b = b[4:4+n], b[4+n:]
	}
	return h, nil
}

// hold puts a certificate aside until it is due, or its new status with it.
func (d *Directory) hold(c record.Certificate, h held) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	offset, err := d.file.add(kindHeld, h.bytes())
	if err != nil {
		return err
	}
	return d.note(offset, c, len(h.der) > 0)
}

// note keeps where a waiting certificate lies, or forgets it. The caller holds
// the lock.
func (d *Directory) note(offset int64, c record.Certificate, waits bool) error {
	serial := cert.SerialHex(c.Serial)
	if before, ok := d.waits[serial]; ok {
		n, err := d.file.size(before.offset)
		if err != nil {
			return err
		}
		d.dead += n
	}
	if delete(d.waits, serial); waits {
		d.waits[serial] = waiting{c.Due, offset}
	}
	return nil
}

// replayHeld takes up a record of a waiting certificate.
func (d *Directory) replayHeld(offset int64, body []byte) error {
	h, err := readHeld(body)
	if err != nil {
		return err
	}
	c, err := record.ParseCertificate(h.entry)
	if err != nil {
		return err
	}
	return d.note(offset, c, len(h.der) > 0)
}

// heldOf reads what is kept of a waiting certificate.
func (d *Directory) heldOf(serial string) (h held, c record.Certificate, ok bool, err error) {
	d.mu.RLock()
	w, ok := d.waits[serial]
	var body []byte
	if ok {
		body, err = d.file.read(w.offset)
	}
	d.mu.RUnlock()
	if !ok || err != nil {
		return h, c, ok, err
	}
	if h, err = readHeld(body); err == nil {
		c, err = record.ParseCertificate(h.entry)
	}
	return h, c, true, err
}

// Due shows what has come due, and says how much that was. What it does is done
// again after a crash, and changes nothing more. Only the writer calls it.
// (定时发布)
func (d *Directory) Due() (n int, err error) {
	now := d.Now()
	d.mu.RLock()
	var ripe []string
	for serial, w := range d.waits {
		if !w.due.After(now) {
			ripe = append(ripe, serial)
		}
	}
	d.mu.RUnlock()
	for _, serial := range ripe { // one that cannot be shown holds up no other
		if bad := d.show(serial); bad != nil {
			err = errors.Join(err, fmt.Errorf("directory: showing %s: %w", serial, bad))
			continue
		}
		n++
	}
	return n, err
}

// show puts a waiting certificate on its holder's entry, with the status it has
// come to meanwhile; one that does not wait stays as it is.
func (d *Directory) show(serial string) error {
	h, c, ok, err := d.heldOf(serial)
	if err != nil || !ok {
		return err
	}
	if err := d.certificate(c, h.der); err != nil {
		return err
	}
	if len(h.status) > 0 {
		s, err := record.ParseStatus(h.status)
		if err == nil {
			err = d.shownStatus(s)
		}
		if err != nil {
			return err
		}
	}
	return d.hold(c, held{entry: h.entry})
}

// Waits tells when a certificate that is not in the directory yet is due; ok is
// false for any other.
func (d *Directory) Waits(serial string) (due time.Time, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	w, ok := d.waits[serialKey(serial)]
	return w.due, ok
}

// Waiting are the serials of certificates that are not due.
func (d *Directory) Waiting() (serials []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for serial := range d.waits {
		serials = append(serials, serial)
	}
	return serials
}

// Shown are the entries that hold a certificate.
func (d *Directory) Shown(serial string) []uint32 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.serial(serial)
}
