package directory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// file is the append-only file of entries: records of length, kind, checksum
// and content. What lies after the last mark is read as well, since applying
// an entry twice changes nothing; a torn tail is cut off.
type file struct {
	f   *os.File
	end int64
}

const (
	fileName = "entries.dat"

	headSize  = 9 // length 4, kind 1, CRC-32 4
	recordMax = 32 << 20
	kindEntry = 1
	kindMark  = 2
	kindHeld  = 3 // of a certificate that waits to be shown
)

func openFile(dir string) (*file, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_CREATE, 0o640)
	return &file{f: f}, err
}

// replay goes through what was written and cuts off a torn tail.
func (v *file) replay(entry, held func(offset int64, body []byte) error, mark func(size int64, hashes []byte) error) (err error) {
	r := bufio.NewReaderSize(v.f, 1<<20)
	for {
		kind, body, ok := readRecord(r)
		if !ok {
			break
		}
		switch {
		case kind == kindEntry:
			err = entry(v.end, body)
		case kind == kindHeld:
			err = held(v.end, body)
		case kind == kindMark && len(body) >= 8:
			err = mark(int64(binary.BigEndian.Uint64(body)), body[8:])
		}
		if err != nil {
			return err
		}
		v.end += headSize + int64(len(body))
	}
	return v.f.Truncate(v.end)
}

// readRecord reads one record; anything torn or damaged ends the file.
func readRecord(r io.Reader) (kind byte, body []byte, ok bool) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, false
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > recordMax || head[4] < kindEntry || head[4] > kindHeld { // zeros a power cut left are no record either
		return 0, nil, false
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil || crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(head[5:]) {
		return 0, nil, false
	}
	return head[4], body, true
}

func (v *file) add(kind byte, body []byte) (int64, error) {
	b := make([]byte, headSize, headSize+len(body))
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	b[4] = kind
	binary.BigEndian.PutUint32(b[5:], crc32.ChecksumIEEE(body))
	at := v.end
	if _, err := v.f.WriteAt(append(b, body...), at); err != nil {
		return 0, err
	}
	v.end += int64(headSize + len(body))
	return at, nil
}

func (v *file) append(body []byte) (int64, error) { return v.add(kindEntry, body) }

func (v *file) mark(size int64, hashes []byte) error {
	_, err := v.add(kindMark, append(binary.BigEndian.AppendUint64(nil, uint64(size)), hashes...))
	return err
}

// guess is read at once: most entries fit, and a second read gets the rest.
const guess = 4096

func (v *file) read(offset int64) ([]byte, error) {
	b := make([]byte, guess)
	n, err := v.f.ReadAt(b, offset)
	if n < headSize {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(b))
	if size+headSize <= n {
		return b[headSize : headSize+size], nil
	}
	if size > recordMax {
		return nil, errors.New("directory: damaged record")
	}
	body := make([]byte, size)
	_, err = v.f.ReadAt(body, offset+headSize)
	return body, err
}

// size is the room a record takes.
func (v *file) size(offset int64) (int64, error) {
	var head [headSize]byte
	_, err := v.f.ReadAt(head[:], offset)
	return headSize + int64(binary.BigEndian.Uint32(head[:])), err
}

// fresh begins an empty file beside the one in use; take puts it in its place.
func fresh(dir string) (*file, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName+".new"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	return &file{f: f}, err
}

func (v *file) take(dir string) error {
	return errors.Join(v.f.Sync(), os.Rename(filepath.Join(dir, fileName+".new"), filepath.Join(dir, fileName)))
}

func (v *file) close() error { return errors.Join(v.f.Sync(), v.f.Close()) }
